//! The guest's memory as the CPU sees it: through the nested page table.
//!
//! Another CPU of the guest, or the VMM, may write the same memory at any time. So nothing here makes a reference to guest
//! memory: it is copied with volatile accesses, and a value that was read once is not read again to be checked.

#[cfg(test)]
pub(crate) mod test_guest;
#[cfg(test)]
mod tests;

use core::{
    marker::PhantomData,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use memory_addr::PhysAddr;

use crate::{
    exit::Access,
    frame::{FrameSource, HostFrames},
    nested::{
        DirtyLog, NestedFormat, answer_write,
        format::{EntryFormat, GPA_BITS, entry_offset},
    },
};

/// A nested page table, and what has to be known to walk it in the CPU's stead.
#[derive(Clone, Copy, Debug)]
pub struct NestedRoot {
    /// The physical address of the level-4 table.
    pub root: PhysAddr,
    /// The format of its entries.
    pub format: NestedFormat,
    /// Whether the CPU sets accessed and dirty bits in it (always with NPT; EPT where the EPT pointer says so). Then
    /// writes on the guest's behalf set them too.
    pub accessed_dirty: bool,
    /// Whether pages that are mapped uncacheable are devices of the host that the library must not touch.
    pub refuse_uncacheable: bool,
}

/// Why guest memory could not be accessed on the guest's behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryFault {
    /// The guest-physical address.
    pub gpa: u64,
    /// What the access wanted.
    pub access: Access,
    /// What stood in its way.
    pub reason: MemoryFaultReason,
}

/// See [`MemoryFault::reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFaultReason {
    /// The nested page table maps nothing there.
    NotMapped,
    /// It maps something that may not be accessed in this way.
    NotPermitted,
    /// It maps a device ([`NestedRoot::refuse_uncacheable`]).
    Device,
}

/// What an access wants of the nested page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Read,
    Write,
    Fetch,
}

/// The leaf that was used last: one piece of memory for guest and host.
struct Leaf {
    /// Its guest-physical base if it can be read; odd, so that nothing matches, if it cannot or there is none.
    read_base: u64,
    /// The same if it can be executed.
    fetch_base: u64,
    /// The bits of an address that tell it from other leaves.
    mask: u64,
    /// What to add to a guest-physical address to get the host's virtual one.
    delta: usize,
}

/// A leaf entry where it stands, and what it held.
struct LeafEntry {
    entry: *mut u64,
    value: u64,
}

/// The table of the lowest level that was used last. It serves 2 MiB of guest-physical memory, so that guests whose memory is
/// mapped by 4 KiB pages do not pay for four levels at each access.
struct LowestTable {
    /// The guest-physical address of what it serves, shifted right by 21; too large for an address as long as there is none.
    /// There is none either if the levels above do not allow to read and to execute: then the table alone cannot tell.
    region: u64,
    table: *mut u8,
}

/// A guest's memory for the time of one exit.
///
/// It remembers translations, so it must not live longer than the nested page table stays as it is: a value is made when an
/// exit is handled and dropped before the VMM is asked anything.
pub struct GuestMemory<'a, S: FrameSource = HostFrames> {
    root: PhysAddr,
    kind: NestedFormat,
    format: &'static EntryFormat,
    accessed_dirty: bool,
    refuse_uncacheable: bool,
    leaf: Leaf,
    lowest: LowestTable,
    /// Where writes are marked, if dirty pages are logged; lives as long as `'a`.
    log: Option<NonNull<DirtyLog<S>>>,
    /// Why the last access failed.
    reason: MemoryFaultReason,
    _exit: PhantomData<&'a S>,
}

/// Lets unaligned numbers be read and written by one volatile access.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Unaligned<T>(T);

const NO_LEAF: u64 = 1;
const NO_REGION: u64 = u64::MAX;

impl<'a, S: FrameSource> GuestMemory<'a, S> {
    /// A guest's memory behind a nested page table.
    ///
    /// # Safety
    /// For `'a`, `nested.root` is the root of a table of that format, and the frames of the table and of every leaf stay
    /// allocated. Each can be reached through `S::phys_to_virt`, except leaves that are mapped uncacheable when
    /// `nested.refuse_uncacheable` is set; the host sees the memory of a leaf as one piece. Entries may change meanwhile, as the CPU allows them to, as long as no frame that
    /// was reachable is reused before `'a` ends.
    #[inline]
    pub unsafe fn new(nested: NestedRoot) -> Self {
        Self {
            root: nested.root,
            kind: nested.format,
            format: nested.format.entries(),
            accessed_dirty: nested.accessed_dirty,
            refuse_uncacheable: nested.refuse_uncacheable,
            leaf: Leaf { read_base: NO_LEAF, fetch_base: NO_LEAF, mask: u64::MAX - 1, delta: 0 },
            lowest: LowestTable { region: NO_REGION, table: ptr::null_mut() },
            log: None,
            reason: MemoryFaultReason::NotMapped,
            _exit: PhantomData,
        }
    }

    /// Writes are marked in this log, and may be made to pages that are closed for its sake.
    ///
    /// # Safety
    /// The log lives as long as `'a`.
    #[inline]
    pub(crate) unsafe fn with_log(self, log: Option<NonNull<DirtyLog<S>>>) -> Self {
        Self { log, ..self }
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// When the nested page table does not allow it. `bytes` may have been filled in part.
    pub fn read(&mut self, gpa: u64, bytes: &mut [u8]) -> Result<(), MemoryFault> {
        self.read_as(Want::Read, gpa, bytes)
    }

    /// Reads bytes of an instruction: the page has to be executable, and need not be readable.
    ///
    /// # Errors
    /// As [`GuestMemory::read`].
    pub fn read_code(&mut self, gpa: u64, bytes: &mut [u8]) -> Result<(), MemoryFault> {
        self.read_as(Want::Fetch, gpa, bytes)
    }

    fn read_as(&mut self, want: Want, mut gpa: u64, mut bytes: &mut [u8]) -> Result<(), MemoryFault> {
        while !bytes.is_empty() {
            let at = self.locate(want, gpa)?;
            let length = bytes.len().min(in_page(gpa));
            let (now, rest) = bytes.split_at_mut(length);
            let mut at = at;
            for byte in now {
                // SAFETY: `locate` found memory at `at` that the guest may read, to the end of its page.
                *byte = unsafe { at.read_volatile() };
                at = at.wrapping_add(1);
            }
            bytes = rest;
            gpa = gpa.wrapping_add(length as u64);
        }
        Ok(())
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// When the nested page table does not allow it. What lies in pages before the one at fault has been written.
    pub fn write(&mut self, mut gpa: u64, mut bytes: &[u8]) -> Result<(), MemoryFault> {
        while !bytes.is_empty() {
            let at = self.locate_for_write(gpa)?;
            let length = bytes.len().min(in_page(gpa));
            let (now, rest) = bytes.split_at(length);
            let mut at = at;
            for byte in now {
                // SAFETY: `locate_for_write` found memory that the guest may write, to the end of its page. The host
                // holds no references to guest memory.
                unsafe { at.write_volatile(*byte) };
                at = at.wrapping_add(1);
            }
            bytes = rest;
            gpa = gpa.wrapping_add(length as u64);
        }
        Ok(())
    }

    /// Reads a little-endian number of 64 bits, by one access if it lies within a page.
    ///
    /// # Errors
    /// As [`GuestMemory::read`].
    #[inline]
    pub fn read_u64(&mut self, gpa: u64) -> Result<u64, MemoryFault> {
        if gpa & 0xfff > 0x1000 - 8 {
            let mut bytes = [0; 8];
            return self.read(gpa, &mut bytes).map(|()| u64::from_le_bytes(bytes));
        }
        let at = self.locate(Want::Read, gpa)?;
        // SAFETY: `locate` found memory at `at` that the guest may read, and 8 bytes from there are in the same page.
        let Unaligned(value) = unsafe { at.cast::<Unaligned<u64>>().read_volatile() };
        Ok(value)
    }

    /// Reads a little-endian number of 32 bits, by one access if it lies within a page.
    ///
    /// # Errors
    /// As [`GuestMemory::read`].
    #[inline]
    pub fn read_u32(&mut self, gpa: u64) -> Result<u32, MemoryFault> {
        if gpa & 0xfff > 0x1000 - 4 {
            let mut bytes = [0; 4];
            return self.read(gpa, &mut bytes).map(|()| u32::from_le_bytes(bytes));
        }
        let at = self.locate(Want::Read, gpa)?;
        // SAFETY: `locate` found memory at `at` that the guest may read, and 4 bytes from there are in the same page.
        let Unaligned(value) = unsafe { at.cast::<Unaligned<u32>>().read_volatile() };
        Ok(value)
    }

    /// Reads a paging-structure entry: 8 aligned bytes. `None` when the nested page table does not allow it; then
    /// [`GuestMemory::read_u64`] says why.
    #[inline(always)]
    pub(crate) fn read_entry(&mut self, gpa: u64) -> Option<u64> {
        let at = self.try_locate(Want::Read, gpa & !7)?;
        // SAFETY: `try_locate` found memory that the guest may read, and 8 aligned bytes do not leave its page.
        Some(unsafe { at.cast::<u64>().read_volatile() })
    }

    /// Where the host sees the code at `gpa`, up to the end of its page.
    ///
    /// # Errors
    /// As [`GuestMemory::read_code`].
    #[cfg(feature = "amd")]
    pub(crate) fn code_at(&mut self, gpa: u64) -> Result<*const u8, MemoryFault> {
        self.locate(Want::Fetch, gpa).map(|at| at.cast_const())
    }

    /// Reads 16 bytes of code that lie within one page, as two little-endian numbers.
    ///
    /// # Errors
    /// As [`GuestMemory::read_code`]; also when they do not lie within one page.
    #[inline]
    pub(crate) fn read_code_16(&mut self, gpa: u64) -> Result<[u64; 2], MemoryFault> {
        if gpa & 0xfff > 0x1000 - 16 {
            return Err(fault(Want::Fetch, gpa, MemoryFaultReason::NotMapped));
        }
        let at = self.locate(Want::Fetch, gpa)?.cast::<Unaligned<u64>>();
        // SAFETY: `locate` found memory at `at` that the guest may execute, and 16 bytes from there are in the same page.
        let (Unaligned(low), Unaligned(high)) = unsafe { (at.read_volatile(), at.wrapping_add(1).read_volatile()) };
        Ok([low, high])
    }

    /// Sets bits of an aligned number of 64 bits if it still holds `expected`. Says whether it did.
    ///
    /// # Errors
    /// When the nested page table does not allow the write.
    pub(crate) fn set_bits_u64(&mut self, gpa: u64, expected: u64, bits: u64) -> Result<bool, MemoryFault> {
        let at = self.locate_for_write(gpa & !7)?;
        // SAFETY: `locate_for_write` found memory that the guest may write, 8-byte aligned because pages are and `gpa` is. The guest's
        // CPUs access it atomically, the host only here and by volatile reads.
        let entry = unsafe { AtomicU64::from_ptr(at.cast()) };
        Ok(entry.compare_exchange(expected, expected | bits, Ordering::AcqRel, Ordering::Relaxed).is_ok())
    }

    /// As [`GuestMemory::set_bits_u64`], for 32 bits.
    pub(crate) fn set_bits_u32(&mut self, gpa: u64, expected: u32, bits: u32) -> Result<bool, MemoryFault> {
        let at = self.locate_for_write(gpa & !3)?;
        // SAFETY: as in `set_bits_u64`, with 4 bytes.
        let entry = unsafe { AtomicU32::from_ptr(at.cast()) };
        Ok(entry.compare_exchange(expected, expected | bits, Ordering::AcqRel, Ordering::Relaxed).is_ok())
    }

    /// Says whether an access would succeed, without doing it.
    ///
    /// # Errors
    /// When it would not.
    pub(crate) fn probe(&mut self, want: Want, gpa: u64) -> Result<(), MemoryFault> {
        self.locate(want, gpa).map(|_| ())
    }

    /// Finds where the host sees `gpa`. What is returned is valid to the end of its 4 KiB page.
    #[inline]
    fn locate(&mut self, want: Want, gpa: u64) -> Result<*mut u8, MemoryFault> {
        self.try_locate(want, gpa).ok_or_else(|| fault(want, gpa, self.reason))
    }

    /// The same; a failure leaves its reason in `self`, so that success costs one register.
    #[inline(always)]
    fn try_locate(&mut self, want: Want, gpa: u64) -> Option<*mut u8> {
        let base = match want {
            Want::Read => self.leaf.read_base,
            Want::Fetch => self.leaf.fetch_base,
            Want::Write => NO_LEAF,
        };
        if gpa & self.leaf.mask == base {
            return Some(self.leaf.delta.wrapping_add(gpa as usize) as *mut u8);
        }
        if gpa >> 21 == self.lowest.region {
            return self.locate_in_lowest(want, gpa);
        }
        self.find(want, gpa).map(NonNull::as_ptr)
    }

    /// Looks a page up in the table that was used last. The page is not remembered: who reads tables and code in pages of
    /// 4 KiB seldom reads the same one twice.
    #[inline(always)]
    fn locate_in_lowest(&mut self, want: Want, gpa: u64) -> Option<*mut u8> {
        let entry = self.lowest.table.wrapping_add(entry_offset(gpa, 12)).cast::<u64>();
        // SAFETY: as in `walk`; a remembered table is still one, as the maker of this value promised.
        let value = unsafe { entry.read_volatile() };
        let needed = self.needed(want);
        if (value ^ self.format.inverted) & needed != needed {
            self.reason = absent_or_denied(self.format, value);
            return None;
        }
        if self.is_refused(value) {
            self.reason = MemoryFaultReason::Device;
            return None;
        }
        let page = S::phys_to_virt(PhysAddr::from((value & self.format.address) as usize));
        Some(page.as_mut_ptr().wrapping_add((gpa & 0xfff) as usize))
    }

    #[inline(always)]
    fn needed(&self, want: Want) -> u64 {
        match want {
            Want::Read => self.format.read,
            Want::Write => self.format.write,
            Want::Fetch => self.format.execute,
        }
    }

    #[inline(always)]
    fn is_refused(&self, value: u64) -> bool {
        self.refuse_uncacheable && value & self.format.memory_type == self.format.uncacheable
    }

    /// Finds where the host sees `gpa` for writing, and sets the accessed and dirty bits of its leaf as the CPU would have.
    fn locate_for_write(&mut self, gpa: u64) -> Result<*mut u8, MemoryFault> {
        let mut found = self.walk(self.format.write, gpa);
        if let Some(log) = self.log {
            // SAFETY: it lives as long as `'a`, as the maker of this value promised.
            let log = unsafe { log.as_ref() };
            // SAFETY: the table is what `new` was promised.
            let opened = unsafe { answer_write(log, Some(self.root.as_usize() as u64), self.kind, gpa) };
            if opened && found.is_none() {
                found = self.walk(self.format.write, gpa);
            } else if found.is_some() {
                log.mark_page(gpa);
            }
        }
        let Some((at, leaf)) = found else { return Err(fault(Want::Write, gpa, self.reason)) };
        let bits = self.format.accessed | self.format.dirty;
        if self.accessed_dirty && leaf.value & bits != bits {
            // SAFETY: the entry is 8 aligned bytes in a table that stays allocated for `'a`; CPUs and the VMM access it as
            // we do.
            let entry = unsafe { AtomicU64::from_ptr(leaf.entry) };
            // If the VMM changed the entry meanwhile, its new value is left alone: what it unmapped it considers clean only
            // after it has stopped this vCPU.
            let _ = entry.compare_exchange(leaf.value, leaf.value | bits, Ordering::AcqRel, Ordering::Relaxed);
        }
        Ok(at.as_ptr())
    }

    #[inline(never)]
    fn find(&mut self, want: Want, gpa: u64) -> Option<NonNull<u8>> {
        self.walk(self.needed(want), gpa).map(|(at, _)| at)
    }

    /// Walks the nested page table from its root, and remembers what it finds.
    #[inline(always)]
    fn walk(&mut self, needed: u64, gpa: u64) -> Option<(NonNull<u8>, LeafEntry)> {
        let format = self.format;
        if gpa >> GPA_BITS != 0 {
            self.reason = MemoryFaultReason::NotMapped;
            return None;
        }
        let mut table: *mut u8 = S::phys_to_virt(self.root).as_mut_ptr();
        let mut allowed = u64::MAX;
        for shift in [39, 30, 21] {
            let entry = table.wrapping_add(entry_offset(gpa, shift)).cast::<u64>();
            // SAFETY: `table` is one of the tables from the root on, of 4096 bytes, and the offset is below that and a
            // multiple of 8. The CPU and the VMM may change entries; a volatile read sees some value that it held.
            let value = unsafe { entry.read_volatile() };
            allowed &= value ^ format.inverted;
            if allowed & needed != needed {
                self.reason = absent_or_denied(format, value);
                return None;
            }
            // A level-4 entry has no leaf form: the bit is reserved there.
            if value & format.large != 0 {
                if shift == 39 {
                    self.reason = MemoryFaultReason::NotMapped;
                    return None;
                }
                return self.remember(gpa, u64::MAX << shift, LeafEntry { entry, value }, allowed);
            }
            table = S::phys_to_virt(PhysAddr::from((value & format.address) as usize)).as_mut_ptr();
        }
        let both = format.read | format.execute;
        self.lowest = LowestTable { region: if allowed & both == both { gpa >> 21 } else { NO_REGION }, table };
        let entry = table.wrapping_add(entry_offset(gpa, 12)).cast::<u64>();
        // SAFETY: as above.
        let value = unsafe { entry.read_volatile() };
        allowed &= value ^ format.inverted;
        if allowed & needed != needed {
            self.reason = absent_or_denied(format, value);
            return None;
        }
        self.remember(gpa, !0xfff, LeafEntry { entry, value }, allowed)
    }

    #[inline(always)]
    fn remember(&mut self, gpa: u64, mask: u64, leaf: LeafEntry, allowed: u64) -> Option<(NonNull<u8>, LeafEntry)> {
        if self.is_refused(leaf.value) {
            self.reason = MemoryFaultReason::Device;
            return None;
        }
        let page = leaf.value & self.format.address & mask | gpa & !mask & !0xfff;
        let page = S::phys_to_virt(PhysAddr::from(page as usize)).as_usize();
        let delta = page.wrapping_sub((gpa & !0xfff) as usize);
        let base = |needed: u64| if allowed & needed == needed { gpa & mask } else { NO_LEAF };
        self.leaf = Leaf { read_base: base(self.format.read), fetch_base: base(self.format.execute), mask, delta };
        // A page at address 0 of the host cannot be reached.
        Some((NonNull::new(delta.wrapping_add(gpa as usize) as *mut u8)?, leaf))
    }
}

/// How many bytes of its 4 KiB page follow an address.
fn in_page(gpa: u64) -> usize {
    0x1000 - (gpa & 0xfff) as usize
}

#[cold]
fn absent_or_denied(format: &EntryFormat, value: u64) -> MemoryFaultReason {
    if value & format.present == 0 { MemoryFaultReason::NotMapped } else { MemoryFaultReason::NotPermitted }
}

#[cold]
fn fault(want: Want, gpa: u64, reason: MemoryFaultReason) -> MemoryFault {
    let access = Access { read: want == Want::Read, write: want == Want::Write, fetch: want == Want::Fetch };
    MemoryFault { gpa, access, reason }
}
