//! A nested page table (EPT or NPT) for embedders that have none of their own.
//!
//! SDM volume 3C, "The Extended Page Table Mechanism (EPT)"; APM volume 2, "Nested Paging".
//!
//! ```no_run
//! # use x86_vcpu::{Vcpu, Result, nested::*};
//! # fn memory_of_a_guest(vcpu: &mut Vcpu, ram: memory_addr::PhysAddr) -> Result<NestedTable> {
//! let mut table: NestedTable = NestedTable::new(x86_vcpu::nested_format()?)?;
//! table.map(0, ram, 64 << 20, Permissions::ALL, MemoryType::WriteBack)?;
//! // SAFETY: the table maps the guest's memory alone, and the caller keeps both as long as the vCPU.
//! unsafe { vcpu.set_nested_root(table.root()) }?;
//! # Ok(table)
//! # }
//! ```

mod ept;
pub(crate) mod format;
#[cfg(test)]
pub(crate) mod mock;
mod npt;
mod slot;
#[cfg(test)]
mod tests;

use core::{fmt, mem};

use memory_addr::PhysAddr;

pub use self::format::NestedFormat;
use self::{
    format::{GPA_BITS, LEVELS},
    slot::{Content, Slot},
};
use crate::{
    Error, Result,
    frame::{FrameSource, HostFrames, PhysFrame},
};

/// What a guest may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Fetch instructions.
    pub execute: bool,
    /// Write data. Every page can be read: NPT knows no others, and EPT only on some CPUs.
    pub write: bool,
}

impl Permissions {
    /// Reading only.
    pub const READ: Self = Self { execute: false, write: false };
    /// Reading and writing.
    pub const READ_WRITE: Self = Self { execute: false, write: true };
    /// Reading and executing.
    pub const READ_EXECUTE: Self = Self { execute: true, write: false };
    /// Everything.
    pub const ALL: Self = Self { execute: true, write: true };
}

/// How the CPU caches a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryType {
    /// Ordinary memory. The guest's own PAT may make it weaker.
    WriteBack,
    /// A device that is passed through.
    Uncacheable,
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
    /// The size of the page that the address lies in.
    pub size: PageSize,
}

/// A nested page table of four levels. Its frames are given back when it is dropped; what it maps is not its own.
///
/// A CPU may go on using what it found before a change: after [`unmap`](NestedTable::unmap) and
/// [`protect`](NestedTable::protect) (not after [`map`](NestedTable::map)) its translations have to be flushed before the
/// memory is used for anything else. Tables that became empty stay until the whole is dropped, for the same reason.
pub struct NestedTable<S: FrameSource = HostFrames> {
    root: PhysFrame<S>,
    format: NestedFormat,
    largest: PageSize,
}

const BAD_RANGE: Error = Error::InvalidInput("a nested mapping is not of whole 4 KiB pages within 48 bits");
const OVERLAP: Error = Error::InvalidInput("a nested mapping overlaps an existing one");
const HOLE: Error = Error::InvalidInput("the range has parts that the nested page table does not map");

/// The lowest address bit that selects an entry of the level-4 table, and of the lowest table.
const TOP_SHIFT: u32 = 12 + 9 * (LEVELS - 1);
const BOTTOM_SHIFT: u32 = 12;

impl<S: FrameSource> NestedTable<S> {
    /// An empty table. It will use pages of up to 2 MiB.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn new(format: NestedFormat) -> Result<Self> {
        Ok(Self { root: PhysFrame::alloc_zero()?, format, largest: PageSize::Size2M })
    }

    /// Sets the largest page that later calls of [`map`](NestedTable::map) use.
    pub fn set_largest_page(&mut self, largest: PageSize) {
        self.largest = largest;
    }

    /// The physical address of the level-4 table.
    pub fn root(&self) -> PhysAddr {
        self.root.start_paddr()
    }

    /// The format of the entries.
    pub fn format(&self) -> NestedFormat {
        self.format
    }

    /// Maps `size` bytes at `gpa` to those at `hpa`, by the largest pages that fit. May be called while the guest runs.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when an address or the size is no multiple of 4096, out of range, or a part is mapped already;
    /// [`Error::NoMemory`] when there is no frame for a table. Nothing is mapped then; tables that were allocated stay and
    /// serve later calls.
    #[inline]
    pub fn map(
        &mut self,
        gpa: u64,
        hpa: PhysAddr,
        size: u64,
        permissions: Permissions,
        memory_type: MemoryType,
    ) -> Result {
        let hpa = hpa.as_usize() as u64;
        let one_page = size == PageSize::Size4K.bytes() && (gpa | hpa) & 0xfff == 0;
        if one_page && gpa >> GPA_BITS == 0 && hpa >> 52 == 0 && self.map_page(gpa, hpa, permissions, memory_type) {
            return Ok(());
        }
        self.map_range(gpa, hpa, size, permissions, memory_type)
    }

    /// One page where the tables are there already, as answering a nested page fault mostly is; false if it is not so.
    #[inline]
    fn map_page(&mut self, gpa: u64, hpa: u64, permissions: Permissions, memory_type: MemoryType) -> bool {
        let slot = self.slot(gpa, BOTTOM_SHIFT);
        let free = slot.shift() == BOTTOM_SHIFT && slot.content() == Content::Nothing;
        if free {
            slot.set_leaf(hpa, permissions, memory_type);
        }
        free
    }

    #[inline(never)]
    fn map_range(
        &mut self,
        gpa: u64,
        hpa: u64,
        size: u64,
        permissions: Permissions,
        memory_type: MemoryType,
    ) -> Result {
        let end = range_end(gpa, size)?;
        // Host-physical addresses have at most 52 bits.
        if hpa & 0xfff != 0 || hpa.checked_add(size).is_none_or(|end| end > 1 << 52) {
            return Err(BAD_RANGE);
        }
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
            match self.map_one(at, hpa + (at - gpa), end - at, permissions, memory_type) {
                Ok(bytes) => at += bytes,
                Err(error) => {
                    self.clear(gpa, at);
                    return Err(error);
                }
            }
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
    /// As [`unmap`](NestedTable::unmap), and [`Error::InvalidInput`] when a part is not mapped. Nothing is changed then.
    pub fn protect(&mut self, gpa: u64, size: u64, permissions: Permissions) -> Result {
        let end = range_end(gpa, size)?;
        let mut at = gpa;
        while at < end {
            let slot = self.slot(at, BOTTOM_SHIFT);
            if slot.content() != Content::Leaf {
                return Err(HOLE);
            }
            at = slot.end(at);
        }
        self.split_at(gpa)?;
        self.split_at(end)?;
        let mut at = gpa;
        while at < end {
            let slot = self.slot(at, BOTTOM_SHIFT);
            slot.set_permissions(permissions);
            at = slot.end(at);
        }
        Ok(())
    }

    /// What the table says of an address, if it maps it.
    pub fn translate(&self, gpa: u64) -> Option<Translation> {
        if gpa >> GPA_BITS != 0 {
            return None;
        }
        self.slot(gpa, BOTTOM_SHIFT).translation(gpa)
    }

    /// Descends to the entry for `gpa` in a table whose entries select address bits from `shift` on, or to the first entry
    /// on the way that is not a table.
    #[inline]
    fn slot(&self, gpa: u64, shift: u32) -> Slot {
        let mut slot = Slot::of_table::<S>(self.format, self.root.start_paddr(), gpa, TOP_SHIFT);
        while slot.shift() > shift {
            match slot.table() {
                Some(table) => slot = Slot::of_table::<S>(self.format, table, gpa, slot.shift() - 9),
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
    fn map_one(
        &mut self,
        gpa: u64,
        hpa: u64,
        left: u64,
        permissions: Permissions,
        memory_type: MemoryType,
    ) -> Result<u64> {
        for size in [PageSize::Size1G, PageSize::Size2M, PageSize::Size4K] {
            let fits = (gpa | hpa) & (size.bytes() - 1) == 0 && size.bytes() <= left;
            if size > self.largest || !fits {
                continue;
            }
            let mut slot = self.slot(gpa, size.shift());
            while slot.shift() > size.shift() {
                self.grow(&slot)?;
                slot = self.slot(gpa, size.shift());
            }
            // A table may hang here that earlier mappings left behind: the CPU may still be using it, so smaller pages go in.
            if slot.content() == Content::Nothing {
                slot.set_leaf(hpa, permissions, memory_type);
                return Ok(size.bytes());
            }
        }
        // Reached only if 4 KiB were mapped already.
        Err(OVERLAP)
    }

    /// Hangs a new table into a slot: an empty one where nothing was, or one that says the same as the leaf that was there.
    fn grow(&mut self, slot: &Slot) -> Result {
        let table = PhysFrame::<S>::alloc_zero()?;
        slot.fill_split::<S>(table.start_paddr());
        slot.set_table(table.start_paddr());
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
            }
            at = slot.end(at);
        }
    }
}

impl<S: FrameSource> Drop for NestedTable<S> {
    fn drop(&mut self) {
        free_below::<S>(self.format, self.root.start_paddr(), TOP_SHIFT);
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

impl<S: FrameSource> fmt::Debug for NestedTable<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NestedTable({:?} at {:#x})", self.format, self.root())
    }
}
