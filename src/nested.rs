//! A nested page table (EPT or NPT) for embedders that have none of their own.
//!
//! SDM volume 3C, "The Extended Page Table Mechanism (EPT)"; APM volume 2, "Nested Paging". `docs/memory.md` in the repository
//! tells the whole: permissions, memory types, dirty logging, and how to take memory away from a guest that runs.
//!
//! ```no_run
//! # use x86_vcpu::{Vcpu, Result, nested::*};
//! # fn memory_of_a_guest(vcpu: &mut Vcpu, ram: memory_addr::PhysAddr) -> Result<NestedTable> {
//! let mut table: NestedTable = NestedTable::new(x86_vcpu::nested_capabilities()?)?;
//! table.map(0, ram, 64 << 20, Permissions::ALL, MemoryType::WriteBack)?;
//! // SAFETY: the table maps the guest's memory alone, and the caller keeps both as long as the vCPU.
//! unsafe { vcpu.set_nested_table(&table) }?;
//! # Ok(table)
//! # }
//! ```

mod caching;
mod capabilities;
mod change;
mod dirty;
mod ept;
mod flags;
pub(crate) mod format;
mod inspect;
#[cfg(test)]
pub(crate) mod mock;
mod npt;
mod slot;
#[cfg(test)]
mod tests;

use core::{fmt, mem};

use memory_addr::PhysAddr;

pub use self::{
    caching::{Caching, MemoryType},
    capabilities::NestedCapabilities,
    dirty::DirtyLog,
    flags::Leaves,
    format::NestedFormat,
    inspect::{Misconfiguration, Problem},
};
use self::{
    change::Retired,
    format::{GPA_BITS, LEVELS},
    slot::{Content, Logging, Slot},
};
pub(crate) use self::{dirty::answer_write, inspect::inspect};
use crate::{
    Error, Result,
    frame::{FrameSource, HostFrames, PhysFrame},
};

/// What a guest may do with a page.
///
/// A page that can be written can be read: the CPUs know no others. One that can be executed and not read exists with EPT, on
/// most CPUs ([`NestedCapabilities::execute_only`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Read data.
    pub read: bool,
    /// Write data.
    pub write: bool,
    /// Fetch instructions.
    pub execute: bool,
}

impl Permissions {
    /// Reading only.
    pub const READ: Self = Self { read: true, write: false, execute: false };
    /// Reading and writing.
    pub const READ_WRITE: Self = Self { read: true, write: true, execute: false };
    /// Reading and executing.
    pub const READ_EXECUTE: Self = Self { read: true, write: false, execute: true };
    /// Executing only.
    pub const EXECUTE: Self = Self { read: false, write: false, execute: true };
    /// Everything.
    pub const ALL: Self = Self { read: true, write: true, execute: true };

    /// Whether everything that `other` permits is permitted.
    fn include(self, other: Self) -> bool {
        self.read >= other.read && self.write >= other.write && self.execute >= other.execute
    }
}

/// The sizes of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageSize {
    /// 4 KiB.
    Size4K,
    /// 2 MiB.
    Size2M,
    /// 1 GiB. Not every CPU has them: bit 17 of IA32_VMX_EPT_VPID_CAP, CPUID Fn8000_0001 EDX Page1GB.
    Size1G,
}

impl PageSize {
    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    const fn shift(self) -> u32 {
        match self {
            Self::Size4K => 12,
            Self::Size2M => 21,
            Self::Size1G => 30,
        }
    }
}

/// What a nested page table says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The host-physical address.
    pub hpa: u64,
    /// What the guest may do there.
    pub permissions: Permissions,
    /// How it is cached.
    pub memory_type: MemoryType,
    /// Whether the guest's PAT is ignored.
    pub ignore_pat: bool,
    /// The CPU has used the page since the flag was cleared. Means something with
    /// [`NestedCapabilities::accessed_dirty`] alone.
    pub accessed: bool,
    /// The CPU has written to the page since the flag was cleared; as `accessed`.
    pub dirty: bool,
    /// The size of the page that the address lies in.
    pub size: PageSize,
}

/// A nested page table of four levels. Its frames are given back when it is dropped; what it maps is not its own.
///
/// A CPU may go on using what it found before a change. Adding mappings and permissions needs nothing; whatever takes
/// something away makes the table [stale](NestedTable::is_stale): before the memory that was mapped is used for anything else,
/// every vCPU that uses the table has to forget what it knows
/// ([`VcpuHandle::forget_nested_translations`](crate::VcpuHandle::forget_nested_translations)). Tables that became empty stay
/// until then too.
pub struct NestedTable<S: FrameSource = HostFrames> {
    root: PhysFrame<S>,
    capabilities: NestedCapabilities,
    largest: PageSize,
    /// The addresses below are mapped by the short way; 0 when that would miss something.
    short_way_end: u64,
    /// The log, if dirty pages are logged.
    log: Option<DirtyLog<S>>,
    stale: bool,
    retired: Retired<S>,
}

const BAD_RANGE: Error = Error::InvalidInput("a nested mapping is not of whole 4 KiB pages within 48 bits");
const OVERLAP: Error = Error::InvalidInput("a nested mapping overlaps an existing one");
const HOLE: Error = Error::InvalidInput("the range has parts that the nested page table does not map");

/// The lowest address bit that selects an entry of the level-4 table, and of the lowest table.
const TOP_SHIFT: u32 = 12 + 9 * (LEVELS - 1);
const BOTTOM_SHIFT: u32 = 12;

impl<S: FrameSource> NestedTable<S> {
    /// An empty table for CPUs with these capabilities, or for all CPUs with a format. It will use the largest pages there are.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; [`Error::Unsupported`] on AMD when the host's IA32_PAT does not begin with write-back memory.
    pub fn new(capabilities: impl Into<NestedCapabilities>) -> Result<Self> {
        let capabilities = capabilities.into();
        if capabilities.format == NestedFormat::Npt && capabilities.pat_entry(MemoryType::WriteBack) != Ok(0) {
            return Err(Error::Unsupported("a host whose IA32_PAT does not begin with write-back memory"));
        }
        Ok(Self {
            root: PhysFrame::alloc_zero()?,
            capabilities,
            largest: capabilities.largest_page,
            short_way_end: 1 << GPA_BITS,
            log: None,
            stale: false,
            retired: Retired::default(),
        })
    }

    /// Sets the largest page that later calls of [`map`](NestedTable::map) and [`merge`](NestedTable::merge) use.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the CPU has none so large.
    pub fn set_largest_page(&mut self, largest: PageSize) -> Result {
        if largest > self.capabilities.largest_page {
            return Err(Error::Unsupported("nested pages of that size"));
        }
        self.largest = largest;
        Ok(())
    }

    /// What the table may say.
    pub fn capabilities(&self) -> &NestedCapabilities {
        &self.capabilities
    }

    /// The physical address of the level-4 table.
    pub fn root(&self) -> PhysAddr {
        self.root.start_paddr()
    }

    /// The format of the entries.
    pub fn format(&self) -> NestedFormat {
        self.capabilities.format
    }

    /// Maps `size` bytes at `gpa` to those at `hpa`, by the largest pages that fit. May be called while the guest runs.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when an address or the size is no multiple of 4096, out of range, or a part is mapped already, and
    /// for permissions that no CPU has; [`Error::Unsupported`] for permissions and memory types that this one does not have;
    /// [`Error::NoMemory`] when there is no frame for a table. Nothing is mapped then; tables that were allocated stay and
    /// serve later calls.
    #[inline]
    pub fn map(
        &mut self,
        gpa: u64,
        hpa: PhysAddr,
        size: u64,
        permissions: Permissions,
        caching: impl Into<Caching>,
    ) -> Result {
        let (hpa, caching) = (hpa.as_usize() as u64, caching.into());
        let one_page = size == PageSize::Size4K.bytes() && (gpa | hpa) & 0xfff == 0;
        let ordinary = caching == Caching::WRITE_BACK && permissions.read && permissions.execute;
        let short = one_page && ordinary && gpa < self.short_way_end && hpa >> 52 == 0;
        if short && self.map_page(gpa, hpa, permissions) {
            return Ok(());
        }
        self.map_range(gpa, hpa, size, permissions, caching)
    }

    /// One page where the tables are there already, as answering a nested page fault mostly is; false if it is not so.
    #[inline]
    fn map_page(&mut self, gpa: u64, hpa: u64, permissions: Permissions) -> bool {
        let slot = self.slot(gpa, BOTTOM_SHIFT);
        let free = slot.shift() == BOTTOM_SHIFT && slot.content() == Content::Nothing;
        if free {
            slot.set_leaf(hpa, permissions, self.format().entries().write_back, Logging::Off);
        }
        free
    }

    #[inline(never)]
    fn map_range(&mut self, gpa: u64, hpa: u64, size: u64, permissions: Permissions, caching: Caching) -> Result {
        let end = range_end(gpa, size)?;
        check_hpa(hpa, size)?;
        self.capabilities.check_permissions(permissions)?;
        let types = caching::encode(caching, &self.capabilities)?;
        let mut at = gpa;
        while at < end {
            let slot = self.slot(at, BOTTOM_SHIFT);
            if slot.content() != Content::Nothing {
                return Err(OVERLAP);
            }
            at = slot.end(at);
        }
        let mut at = gpa;
        while at < end {
            match self.map_one(
                at,
                hpa.wrapping_add(at.wrapping_sub(gpa)),
                end.wrapping_sub(at),
                |slot, hpa, logging| {
                    slot.set_leaf_with(hpa, permissions, types, logging);
                },
            ) {
                Ok(bytes) => at = at.wrapping_add(bytes),
                Err(error) => {
                    self.clear(gpa, at);
                    return Err(error);
                }
            }
        }
        if let Some(log) = &self.log {
            // What appears there is as new as what is written.
            log.mark(gpa, size);
        }
        Ok(())
    }

    /// Takes away what is mapped in a range. Parts that are not mapped are passed over.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a bad range; [`Error::NoMemory`] when a large page that lies partly in it cannot be split:
    /// then nothing is unmapped.
    pub fn unmap(&mut self, gpa: u64, size: u64) -> Result {
        let end = range_end(gpa, size)?;
        self.split_at(gpa)?;
        self.split_at(end)?;
        self.clear(gpa, end);
        Ok(())
    }

    /// Changes the permissions of a range.
    ///
    /// # Errors
    /// As [`unmap`](NestedTable::unmap), and [`Error::InvalidInput`] when a part is not mapped, or permissions do not exist;
    /// [`Error::Unsupported`] for permissions that this CPU does not have. Nothing is changed then.
    pub fn protect(&mut self, gpa: u64, size: u64, permissions: Permissions) -> Result {
        let end = range_end(gpa, size)?;
        self.capabilities.check_permissions(permissions)?;
        self.check_mapped(gpa, end)?;
        self.split_at(gpa)?;
        self.split_at(end)?;
        let mut at = gpa;
        while at < end {
            let slot = self.slot(at, BOTTOM_SHIFT);
            let fewer = slot.permissions().is_some_and(|now| !permissions.include(now));
            // Writes that were permitted may have to be logged now.
            let logging = self.logging_at(at);
            self.stale |= fewer || logging != Logging::Off;
            slot.set_permissions(permissions, logging);
            at = slot.end(at);
        }
        Ok(())
    }

    /// That all of a range is mapped.
    fn check_mapped(&self, gpa: u64, end: u64) -> Result {
        let mut at = gpa;
        while at < end {
            let slot = self.slot(at, BOTTOM_SHIFT);
            if slot.content() != Content::Leaf {
                return Err(HOLE);
            }
            at = slot.end(at);
        }
        Ok(())
    }

    /// Whether something was taken away since [`forgotten`](NestedTable::forgotten) was called last, so that CPUs may know
    /// translations that the table does not have.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Tells that every vCPU has forgotten what it knew when the table was changed last: tables that
    /// [`merge`](NestedTable::merge) took out are given back.
    ///
    /// # Safety
    /// It is so: since the last change, each vCPU that uses this table has forgotten
    /// ([`VcpuHandle::has_forgotten`](crate::VcpuHandle::has_forgotten)), or is not in `run` and will before it runs again.
    pub unsafe fn forgotten(&mut self) {
        self.stale = false;
        self.retired.free();
    }

    /// What the table says of an address, if it maps it.
    pub fn translate(&self, gpa: u64) -> Option<Translation> {
        if gpa >> GPA_BITS != 0 {
            return None;
        }
        self.slot(gpa, BOTTOM_SHIFT).translation(gpa, &self.capabilities)
    }

    /// Descends to the entry for `gpa` in a table whose entries select address bits from `shift` on, or to the first entry
    /// on the way that is not a table.
    #[inline]
    fn slot(&self, gpa: u64, shift: u32) -> Slot {
        let mut slot = Slot::of_table::<S>(self.format(), self.root.start_paddr(), gpa, TOP_SHIFT);
        while slot.shift() > shift {
            match slot.table() {
                Some(table) => slot = Slot::of_table::<S>(self.format(), table, gpa, slot.shift() - 9),
                None => break,
            }
        }
        slot
    }

    /// The entry that maps an address, as it stands.
    #[cfg(test)]
    pub(crate) fn leaf_entry(&self, gpa: u64) -> u64 {
        let slot = self.slot(gpa, BOTTOM_SHIFT);
        // SAFETY: a slot of a living table.
        unsafe { slot.entry().read() }
    }

    /// Maps the largest page that fits at `gpa`, where nothing is mapped, and says how large it is.
    fn map_one(&mut self, gpa: u64, hpa: u64, left: u64, set: impl Fn(&Slot, u64, Logging)) -> Result<u64> {
        let logging = self.logging_at(gpa);
        for size in [PageSize::Size1G, PageSize::Size2M, PageSize::Size4K] {
            let fits = (gpa | hpa) & (size.bytes() - 1) == 0 && size.bytes() <= left;
            let logged = self.log.as_ref().is_some_and(|log| log.meets(gpa, size.bytes()));
            if size > self.largest || !fits || logged && size != PageSize::Size4K {
                continue;
            }
            let mut slot = self.slot(gpa, size.shift());
            while slot.shift() > size.shift() {
                self.grow(&slot)?;
                slot = self.slot(gpa, size.shift());
            }
            // A table may hang here that earlier mappings left behind: the CPU may still be using it, so smaller pages go in.
            if slot.content() == Content::Nothing {
                set(&slot, hpa, logging);
                return Ok(size.bytes());
            }
        }
        // Reached only if 4 KiB were mapped already.
        Err(OVERLAP)
    }

    /// Hangs a new table into a slot: an empty one where nothing was, or one that says the same as the leaf that was there.
    fn grow(&mut self, slot: &Slot) -> Result {
        let table = PhysFrame::<S>::alloc_zero()?;
        slot.split_into::<S>(self.format(), table.start_paddr());
        // From now on the tree owns it; `drop` finds it there.
        mem::forget(table);
        Ok(())
    }

    /// Splits large pages until none reaches across `gpa`.
    fn split_at(&mut self, gpa: u64) -> Result {
        if gpa >> GPA_BITS != 0 {
            return Ok(());
        }
        loop {
            let slot = self.slot(gpa, BOTTOM_SHIFT);
            if slot.content() != Content::Leaf || slot.begin(gpa) == gpa {
                return Ok(());
            }
            self.grow(&slot)?;
        }
    }

    /// Clears all leaves from `gpa` to `end`; none of them reaches beyond.
    fn clear(&mut self, gpa: u64, end: u64) {
        let mut at = gpa;
        while at < end {
            let slot = self.slot(at, BOTTOM_SHIFT);
            if slot.content() == Content::Leaf {
                slot.clear();
                self.stale = true;
            }
            at = slot.end(at);
        }
    }
}

impl<S: FrameSource> Drop for NestedTable<S> {
    fn drop(&mut self) {
        self.retired.free();
        free_below::<S>(self.format(), self.root.start_paddr(), TOP_SHIFT);
    }
}

/// Gives back all tables that hang below a table. The depth is bounded by the levels.
fn free_below<S: FrameSource>(format: NestedFormat, table: PhysAddr, shift: u32) {
    if shift <= BOTTOM_SHIFT {
        return;
    }
    for index in 0..512 {
        if let Some(below) = Slot::of_table::<S>(format, table, index << shift, shift).table() {
            free_below::<S>(format, below, shift - 9);
            S::dealloc_frame(below);
        }
    }
}

fn range_end(gpa: u64, size: u64) -> Result<u64> {
    match gpa.checked_add(size) {
        Some(end) if end <= 1 << GPA_BITS && (gpa | size) & 0xfff == 0 => Ok(end),
        _ => Err(BAD_RANGE),
    }
}

fn check_hpa(hpa: u64, size: u64) -> Result {
    // Host-physical addresses have at most 52 bits.
    let fits = hpa & 0xfff == 0 && hpa.checked_add(size).is_some_and(|end| end <= 1 << 52);
    if fits { Ok(()) } else { Err(BAD_RANGE) }
}

impl<S: FrameSource> fmt::Debug for NestedTable<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NestedTable({:?} at {:#x})", self.format(), self.root())
    }
}
