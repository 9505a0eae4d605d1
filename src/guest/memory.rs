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
    ptr,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use memory_addr::PhysAddr;

use crate::{
    exit::Access,
    frame::{FrameSource, HostFrames},
    nested::{
        NestedFormat,
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

/// The leaf that was used last: one virtually contiguous piece of memory.
struct Leaf {
    /// Its guest-physical base; odd, so that nothing matches, as long as there is none.
    base: u64,
    /// Its size less one.
    offset_mask: u64,
    /// What to add to a guest-physical address to get the host's virtual one.
    delta: usize,
    /// The rights of the whole walk, in the form in which set bits permit.
    allowed: u64,
    /// The leaf entry, and what it held.
    entry: *mut u64,
    value: u64,
}

/// The table of the lowest level that was used last. It serves 2 MiB of guest-physical memory, so that guests whose memory is
/// mapped by 4 KiB pages do not pay for four levels at each access.
struct LowestTable {
    /// The guest-physical address of what it serves, shifted right by 21; too large for an address as long as there is none.
    region: u64,
    table: *mut u8,
    allowed: u64,
}

/// A guest's memory for the time of one exit.
///
/// It remembers translations, so it must not live longer than the nested page table stays as it is: a value is made when an
/// exit is handled and dropped before the VMM is asked anything.
pub struct GuestMemory<'a, S: FrameSource = HostFrames> {
    root: PhysAddr,
    format: &'static EntryFormat,
    accessed_dirty: bool,
    refuse_uncacheable: bool,
    leaf: Leaf,
    lowest: LowestTable,
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
            format: nested.format.entries(),
            accessed_dirty: nested.accessed_dirty,
            refuse_uncacheable: nested.refuse_uncacheable,
            leaf: Leaf { base: NO_LEAF, offset_mask: 0, delta: 0, allowed: 0, entry: ptr::null_mut(), value: 0 },
            lowest: LowestTable { region: NO_REGION, table: ptr::null_mut(), allowed: 0 },
            _exit: PhantomData,
        }
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
            let (at, length) = self.piece(want, gpa, bytes.len())?;
            let (now, rest) = bytes.split_at_mut(length);
            for (offset, byte) in now.iter_mut().enumerate() {
                // SAFETY: `piece` found `length` bytes of memory at `at` in one page that the guest may read.
                *byte = unsafe { at.wrapping_add(offset).read_volatile() };
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
            let (at, length) = self.piece(Want::Write, gpa, bytes.len())?;
            self.mark_dirty();
            let (now, rest) = bytes.split_at(length);
            for (offset, byte) in now.iter().enumerate() {
                // SAFETY: `piece` found `length` bytes of memory at `at` in one page that the guest may write. The host
                // holds no references to guest memory.
                unsafe { at.wrapping_add(offset).write_volatile(*byte) };
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

    /// Reads 16 bytes of code that lie within one page.
    ///
    /// # Errors
    /// As [`GuestMemory::read_code`]; also when they do not lie within one page.
    #[inline]
    pub(crate) fn read_code_16(&mut self, gpa: u64) -> Result<[u8; 16], MemoryFault> {
        if gpa & 0xfff > 0x1000 - 16 {
            return Err(fault(Want::Fetch, gpa, MemoryFaultReason::NotMapped));
        }
        let at = self.locate(Want::Fetch, gpa)?.cast::<Unaligned<u64>>();
        // SAFETY: `locate` found memory at `at` that the guest may execute, and 16 bytes from there are in the same page.
        let (Unaligned(low), Unaligned(high)) = unsafe { (at.read_volatile(), at.wrapping_add(1).read_volatile()) };
        Ok((u128::from(high) << 64 | u128::from(low)).to_le_bytes())
    }

    /// Sets bits of an aligned number of 64 bits if it still holds `expected`. Says whether it did.
    ///
    /// # Errors
    /// When the nested page table does not allow the write.
    pub(crate) fn set_bits_u64(&mut self, gpa: u64, expected: u64, bits: u64) -> Result<bool, MemoryFault> {
        let at = self.locate(Want::Write, gpa & !7)?;
        self.mark_dirty();
        // SAFETY: `locate` found memory that the guest may write, 8-byte aligned because pages are and `gpa` is. The guest's
        // CPUs access it atomically, the host only here and by volatile reads.
        let entry = unsafe { AtomicU64::from_ptr(at.cast()) };
        Ok(entry.compare_exchange(expected, expected | bits, Ordering::AcqRel, Ordering::Relaxed).is_ok())
    }

    /// As [`GuestMemory::set_bits_u64`], for 32 bits.
    pub(crate) fn set_bits_u32(&mut self, gpa: u64, expected: u32, bits: u32) -> Result<bool, MemoryFault> {
        let at = self.locate(Want::Write, gpa & !3)?;
        self.mark_dirty();
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

    /// Finds the first piece of `length` bytes that lies in one 4 KiB page.
    fn piece(&mut self, want: Want, gpa: u64, length: usize) -> Result<(*mut u8, usize), MemoryFault> {
        let in_page = 0x1000 - (gpa & 0xfff) as usize;
        Ok((self.locate(want, gpa)?, length.min(in_page)))
    }

    /// Finds where the host sees `gpa`. What is returned is valid to the end of its 4 KiB page.
    #[inline]
    fn locate(&mut self, want: Want, gpa: u64) -> Result<*mut u8, MemoryFault> {
        let needed = self.needed(want);
        if gpa & !self.leaf.offset_mask == self.leaf.base && self.leaf.allowed & needed == needed {
            return Ok(self.leaf.delta.wrapping_add(gpa as usize) as *mut u8);
        }
        self.find(needed, gpa).map_err(|reason| fault(want, gpa, reason))
    }

    #[inline]
    fn needed(&self, want: Want) -> u64 {
        match want {
            Want::Read => self.format.read,
            Want::Write => self.format.write,
            Want::Fetch => self.format.execute,
        }
    }

    /// Walks the nested page table and remembers the leaf.
    fn find(&mut self, needed: u64, gpa: u64) -> Result<*mut u8, MemoryFaultReason> {
        let format = self.format;
        let (mut table, mut allowed) = if gpa >> 21 == self.lowest.region {
            (self.lowest.table, self.lowest.allowed)
        } else {
            if gpa >> GPA_BITS != 0 {
                return Err(MemoryFaultReason::NotMapped);
            }
            let mut table: *mut u8 = S::phys_to_virt(self.root).as_mut_ptr();
            let mut allowed = u64::MAX;
            for shift in [39, 30, 21] {
                let entry = table.wrapping_add(entry_offset(gpa, shift)).cast::<u64>();
                // SAFETY: `table` is one of the tables below the root, of 4096 bytes, and the offset is below that and a
                // multiple of 8. The CPU and the VMM may change entries; a volatile read sees some value that it held.
                let value = unsafe { entry.read_volatile() };
                allowed &= value ^ format.inverted;
                if allowed & needed != needed {
                    return Err(absent_or_denied(format, value));
                }
                // A level-4 entry has no leaf form: the bit is reserved there.
                if value & format.large != 0 {
                    return if shift == 39 {
                        Err(MemoryFaultReason::NotMapped)
                    } else {
                        self.remember(gpa, (1 << shift) - 1, entry, value, allowed)
                    };
                }
                table = S::phys_to_virt(PhysAddr::from((value & format.address) as usize)).as_mut_ptr();
            }
            self.lowest = LowestTable { region: gpa >> 21, table, allowed };
            (table, allowed)
        };
        table = table.wrapping_add(entry_offset(gpa, 12));
        let entry = table.cast::<u64>();
        // SAFETY: as above; the remembered table is still one, as the maker of this value promised.
        let value = unsafe { entry.read_volatile() };
        allowed &= value ^ format.inverted;
        if allowed & needed != needed {
            return Err(absent_or_denied(format, value));
        }
        self.remember(gpa, 0xfff, entry, value, allowed)
    }

    #[inline]
    fn remember(
        &mut self,
        gpa: u64,
        offset_mask: u64,
        entry: *mut u64,
        value: u64,
        allowed: u64,
    ) -> Result<*mut u8, MemoryFaultReason> {
        if self.refuse_uncacheable && value & self.format.memory_type == self.format.uncacheable {
            return Err(MemoryFaultReason::Device);
        }
        let page = (value & self.format.address & !offset_mask | gpa & offset_mask & !0xfff) as usize;
        let at = S::phys_to_virt(PhysAddr::from(page)).as_usize();
        let base = gpa & !offset_mask;
        self.leaf = Leaf { base, offset_mask, delta: at.wrapping_sub((gpa & !0xfff) as usize), allowed, entry, value };
        Ok(at.wrapping_add((gpa & 0xfff) as usize) as *mut u8)
    }

    /// Sets the accessed and dirty bits of the leaf that was used last, as the CPU would have.
    #[inline]
    fn mark_dirty(&mut self) {
        let bits = self.format.accessed | self.format.dirty;
        if self.accessed_dirty && self.leaf.value & bits != bits {
            // SAFETY: a leaf was found before, and its entry is 8 aligned bytes in a table that stays allocated for `'a`.
            let entry = unsafe { AtomicU64::from_ptr(self.leaf.entry) };
            // If the VMM changed the entry meanwhile, its new value is left alone: what it unmapped it considers clean only
            // after it has stopped this vCPU.
            let _ = entry.compare_exchange(self.leaf.value, self.leaf.value | bits, Ordering::AcqRel, Ordering::Relaxed);
            self.leaf.value |= bits;
        }
    }
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
