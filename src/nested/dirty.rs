//! Which pages a guest writes to.
//!
//! SDM volume 3C, "Page-Modification Logging". Where the CPU does not log, pages are write-protected, and the fault of the first
//! write to each is answered inside `run`: the guest and the VMM see no difference.
//!
//! The order of things is what makes it right without locks. Who writes first opens the page and then marks it; who collects
//! first takes the mark and then closes the page. So a page that is open has a mark, or gets one before its writer's vCPU enters
//! the guest again.

use core::{
    fmt,
    marker::PhantomData,
    mem,
    ptr::NonNull,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use memory_addr::PhysAddr;

use super::{
    BAD_RANGE, BOTTOM_SHIFT, NestedCapabilities, NestedFormat, NestedTable, TOP_SHIFT,
    format::GPA_BITS,
    range_end,
    slot::{Logging, Slot},
};
use crate::{
    Error, Result,
    frame::{FrameSource, HostFrames, PhysFrame},
};

/// How many frames of marks a log can have.
const MOST_FRAMES: usize = 480;
/// The pages of guest memory that a frame has marks for.
const PAGES_IN_FRAME: u64 = 4096 * 8;

/// In the log's first frame.
#[repr(C)]
struct Header {
    /// How many own the frames.
    owners: AtomicUsize,
    first_page: u64,
    pages: u64,
    logging: Logging,
    frames: usize,
    marks: [PhysAddr; MOST_FRAMES],
}

const _: () = assert!(size_of::<Header>() <= 4096);

/// The marks of the dirty pages in a range of guest-physical memory: a bit for each 4 KiB.
///
/// A log is shared by the nested page table and by the vCPUs that use it
/// ([`Vcpu::set_dirty_log`](crate::Vcpu::set_dirty_log)); a clone is another owner of the same marks.
///
/// ```no_run
/// # use x86_vcpu::{Vcpu, Result, nested::*};
/// # fn copy(page: u64) {}
/// # fn everyone_forgets() {}
/// # fn migrate(table: &mut NestedTable, vcpus: &mut [Vcpu]) -> Result {
/// let log = DirtyLog::new(table.capabilities(), 0, 64 << 20)?;
/// for vcpu in vcpus {
///     vcpu.set_dirty_log(Some(&log))?;
/// }
/// table.start_dirty_log(&log)?;
/// // … the guest runs; then, as often as the VMM likes:
/// let mut pages = Vec::new();
/// table.collect_dirty(|gpa| pages.push(gpa))?;
/// everyone_forgets(); // VcpuHandle::forget_nested_translations, and kicks
/// pages.into_iter().for_each(copy);
/// # Ok(())
/// # }
/// ```
pub struct DirtyLog<S: FrameSource = HostFrames> {
    header: NonNull<Header>,
    frame: PhysAddr,
    _source: PhantomData<S>,
}

// SAFETY: the header is not written after `new`, but for the count of owners, which is atomic as the marks are; all of it lives
// until the last owner is gone.
unsafe impl<S: FrameSource> Send for DirtyLog<S> {}
// SAFETY: as above.
unsafe impl<S: FrameSource> Sync for DirtyLog<S> {}

impl<S: FrameSource> DirtyLog<S> {
    /// A log without marks for a range of at most 60 GiB, in the way that these CPUs log.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a bad range, [`Error::NoMemory`].
    pub fn new(capabilities: &NestedCapabilities, gpa: u64, size: u64) -> Result<Self> {
        let logs_itself = capabilities.page_modification_log && capabilities.accessed_dirty;
        Self::with(if logs_itself { Logging::Dirty } else { Logging::WriteProtection }, gpa, size)
    }

    /// The same by write protection, which every CPU has.
    ///
    /// # Errors
    /// As [`new`](DirtyLog::new).
    pub fn by_write_protection(gpa: u64, size: u64) -> Result<Self> {
        Self::with(Logging::WriteProtection, gpa, size)
    }

    pub(super) fn with(logging: Logging, gpa: u64, size: u64) -> Result<Self> {
        range_end(gpa, size)?;
        let (first_page, pages) = (gpa >> 12, size >> 12);
        let frames = pages.div_ceil(PAGES_IN_FRAME);
        if pages == 0 || frames > MOST_FRAMES as u64 {
            return Err(BAD_RANGE);
        }
        let frame = PhysFrame::<S>::alloc_zero()?;
        let header = frame.as_mut_ptr().cast::<Header>();
        let marks = [PhysAddr::from(0); MOST_FRAMES];
        // SAFETY: the frame is ours, large enough for a `Header` and aligned to more than it needs.
        unsafe {
            header.write(Header { owners: AtomicUsize::new(1), first_page, pages, logging, frames: 0, marks });
        }
        let address = frame.start_paddr();
        mem::forget(frame);
        // SAFETY: a frame's address is never null.
        let header = unsafe { NonNull::new_unchecked(header) };
        // From here on `drop` gives back what there is.
        let log = Self { header, frame: address, _source: PhantomData };
        for index in 0..frames as usize {
            let marks = PhysFrame::<S>::alloc_zero()?;
            // SAFETY: nobody else knows of the header yet.
            let header = unsafe { &mut *log.header.as_ptr() };
            if let Some(slot) = header.marks.get_mut(index) {
                *slot = marks.start_paddr();
                header.frames = index + 1;
                mem::forget(marks);
            }
        }
        Ok(log)
    }

    fn header(&self) -> &Header {
        // SAFETY: it lives as long as any owner does, and `self` is one.
        unsafe { self.header.as_ref() }
    }

    pub(super) fn logging(&self) -> Logging {
        self.header().logging
    }

    /// Whether the CPU logs (PML), and not write protection.
    pub fn uses_page_modification_log(&self) -> bool {
        self.logging() == Logging::Dirty
    }

    /// Whether some of it lies in the log's range.
    pub(super) fn meets(&self, gpa: u64, size: u64) -> bool {
        let header = self.header();
        let end = header.first_page.wrapping_add(header.pages) << 12;
        gpa < end && gpa.saturating_add(size) > header.first_page << 12
    }

    fn range(&self) -> (u64, u64) {
        (self.header().first_page << 12, self.header().pages << 12)
    }

    /// The 64 marks that begin at a page of the log.
    fn word(&self, page: u64) -> Option<&AtomicU64> {
        let header = self.header();
        if page >= header.pages {
            return None;
        }
        let frame = *header.marks.get((page / PAGES_IN_FRAME) as usize)?;
        let word = (page % PAGES_IN_FRAME / 64) as usize;
        // SAFETY: a frame of marks, which lives as long as any owner does; the word is one of its 512.
        Some(unsafe { AtomicU64::from_ptr(S::phys_to_virt(frame).as_mut_ptr().cast::<u64>().add(word)) })
    }

    /// Marks one page as dirty; nothing when it is outside the range.
    pub(crate) fn mark_page(&self, gpa: u64) {
        let page = (gpa >> 12).wrapping_sub(self.header().first_page);
        if let Some(word) = self.word(page) {
            word.fetch_or(1 << (page & 63), Ordering::AcqRel);
        }
    }

    /// Marks pages as dirty: what the VMM itself wrote to the guest's memory. Parts outside the range are passed over.
    pub fn mark(&self, gpa: u64, size: u64) {
        let (start, length) = self.range();
        let first = gpa.max(start) >> 12;
        // The log's range was checked when it was made.
        let end = gpa.saturating_add(size).min(start.wrapping_add(length)).div_ceil(4096);
        for page in first..end {
            self.mark_page(page << 12);
        }
    }

    /// Takes the marks, and calls `page` with the guest-physical address of each page that had one.
    fn take(&self, mut page: impl FnMut(u64)) {
        let header = self.header();
        let mut at = 0;
        while let Some(word) = self.word(at) {
            if word.load(Ordering::Relaxed) != 0 {
                let mut marks = word.swap(0, Ordering::AcqRel);
                while marks != 0 {
                    let bit = u64::from(marks.trailing_zeros());
                    marks &= marks - 1;
                    page(header.first_page.wrapping_add(at).wrapping_add(bit) << 12);
                }
            }
            at = at.wrapping_add(64);
        }
    }
}

impl<S: FrameSource> Clone for DirtyLog<S> {
    fn clone(&self) -> Self {
        self.header().owners.fetch_add(1, Ordering::Relaxed);
        Self { header: self.header, frame: self.frame, _source: PhantomData }
    }
}

impl<S: FrameSource> Drop for DirtyLog<S> {
    fn drop(&mut self) {
        // Release: what this owner did is before the last owner's freeing; acquire: and the last one sees it.
        if self.header().owners.fetch_sub(1, Ordering::AcqRel) == 1 {
            let header = self.header();
            header.marks.iter().take(header.frames).for_each(|frame| S::dealloc_frame(*frame));
            S::dealloc_frame(self.frame);
        }
    }
}

impl<S: FrameSource> fmt::Debug for DirtyLog<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gpa, size) = self.range();
        write!(f, "DirtyLog({size:#x} bytes from {gpa:#x}, {:?})", self.logging())
    }
}

impl<S: FrameSource> NestedTable<S> {
    /// Starts to log the writes to a log's range: large pages in it are split, and none of its pages counts as dirty. Pages that
    /// are mapped there later are logged too. CPUs log reliably once they have forgotten their translations
    /// ([`is_stale`](NestedTable::is_stale)).
    ///
    /// # Errors
    /// [`Error::BadState`] when another log is in use, [`Error::NoMemory`] when a page cannot be split: nothing is logged then;
    /// pages that were split stay so.
    pub fn start_dirty_log(&mut self, log: &DirtyLog<S>) -> Result {
        if self.log.is_some() {
            return Err(Error::BadState("dirty pages are being logged already"));
        }
        if log.uses_page_modification_log() && !self.capabilities.accessed_dirty {
            return Err(Error::InvalidInput("the log is for CPUs that set dirty flags"));
        }
        let (gpa, size) = log.range();
        let end = range_end(gpa, size)?;
        let mut at = gpa;
        while at < end {
            let slot = self.slot(at, BOTTOM_SHIFT);
            if slot.shift() != BOTTOM_SHIFT && slot.leaf().is_some() {
                self.grow(&slot)?;
            } else {
                at = slot.end(at);
            }
        }
        self.log = Some(log.clone());
        self.short_way_end = 0;
        self.set_logging(gpa, end, log.logging());
        Ok(())
    }

    /// Ends the logging: every page is as it was, but for its size, which [`merge`](NestedTable::merge) mends. Marks stay in the
    /// log.
    pub fn stop_dirty_log(&mut self) {
        let Some(log) = self.log.take() else { return };
        self.short_way_end = 1 << GPA_BITS;
        let (gpa, size) = log.range();
        if let Ok(end) = range_end(gpa, size) {
            self.set_logging(gpa, end, Logging::Off);
        }
    }

    /// Takes the marks of the log, and calls `page` with the guest-physical address of each dirty page. From now on writes to
    /// these pages are logged anew, as soon as every vCPU has forgotten its translations ([`is_stale`](NestedTable::is_stale)): the
    /// VMM lets them forget *before* it reads the pages. With page-modification logging that also brings what the CPUs have
    /// logged and not told yet; a vCPU that is not in `run` has told everything.
    ///
    /// # Errors
    /// [`Error::BadState`] when nothing is being logged.
    pub fn collect_dirty(&mut self, mut page: impl FnMut(u64)) -> Result {
        let Some(log) = self.log.clone() else { return Err(Error::BadState("dirty pages are not being logged")) };
        let mut stale = false;
        log.take(|gpa| {
            stale |= self.slot(gpa, BOTTOM_SHIFT).set_logging(log.logging());
            page(gpa);
        });
        self.stale |= stale;
        Ok(())
    }

    fn set_logging(&mut self, gpa: u64, end: u64, logging: Logging) {
        let mut at = gpa;
        while at < end {
            let slot = self.slot(at, BOTTOM_SHIFT);
            // Permitting writes that were not takes nothing away.
            self.stale |= slot.set_logging(logging) && logging != Logging::Off;
            at = slot.end(at);
        }
    }

    /// How writes to a page are logged.
    pub(super) fn logging_at(&self, gpa: u64) -> Logging {
        match &self.log {
            Some(log) if log.meets(gpa, 1) => log.logging(),
            _ => Logging::Off,
        }
    }
}

/// Answers the fault of a write to a page that is only closed because its writes are logged. False: the fault has another
/// reason.
///
/// # Safety
/// `root` is that of a nested page table of this format, whose tables stay allocated meanwhile.
pub(crate) unsafe fn answer_write<S: FrameSource>(
    log: &DirtyLog<S>,
    root: Option<u64>,
    format: NestedFormat,
    gpa: u64,
) -> bool {
    let Some(root) = root.filter(|_| gpa >> GPA_BITS == 0) else { return false };
    let mut slot = Slot::of_table::<S>(format, PhysAddr::from(root as usize), gpa, TOP_SHIFT);
    while slot.shift() > BOTTOM_SHIFT {
        match slot.table() {
            Some(table) => slot = Slot::of_table::<S>(format, table, gpa, slot.shift() - 9),
            None => break,
        }
    }
    if !slot.is_logged() || !slot.permit_logged_write() {
        return false;
    }
    log.mark_page(gpa);
    true
}
