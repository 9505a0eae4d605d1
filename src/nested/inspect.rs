//! Which entry a CPU does not accept, and why.
//!
//! SDM volume 3C, "EPT Misconfigurations"; APM volume 2, "Nested versus Guest Page Faults, Fault Ordering" (RSV).

use core::fmt;

use memory_addr::PhysAddr;

use super::{
    BOTTOM_SHIFT, NestedCapabilities, NestedFormat, TOP_SHIFT,
    format::{GPA_BITS, entry_offset},
};
use crate::{
    frame::FrameSource,
    spec::{
        intel::structures::{EptEntry, EptMemoryType},
        x86::registers::PageTableEntry,
    },
};

/// The CPU met an entry of the nested page table that says what no entry may say. Running the guest again meets it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misconfiguration {
    /// The guest-physical address whose translation met it.
    pub gpa: u64,
    /// The level of the table that the entry is in: 4 for the root, 1 for the lowest. 0: the walk finds nothing wrong any more, or
    /// there is no table.
    pub level: u8,
    /// The entry.
    pub entry: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// EPT: it may be written and not read.
    WriteWithoutRead,
    /// EPT: it may be executed and not read, which this CPU does not have.
    ExecuteOnly,
    /// A bit is set that is reserved.
    ReservedBits,
    /// The physical address has more bits than the CPU's addresses, or is not aligned to the size of the page.
    Address,
    /// EPT: the memory type does not exist.
    MemoryType,
    /// It is a page where this CPU has none of that size.
    PageSize,
    /// Nothing that the library knows of.
    Unknown,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WriteWithoutRead => "it may be written and not read",
            Self::ExecuteOnly => "it may be executed and not read, which this CPU does not have",
            Self::ReservedBits => "a reserved bit is set",
            Self::Address => "the physical address is too large, or not aligned to the size of the page",
            Self::MemoryType => "the memory type does not exist",
            Self::PageSize => "this CPU has no pages of that size",
            Self::Unknown => "nothing is known to be wrong",
        })
    }
}

impl fmt::Display for Misconfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gpa, level, entry, problem } = self;
        write!(f, "the nested page table's entry {entry:#x} on level {level}, for address {gpa:#x}: {problem}")
    }
}

/// Walks a table as the CPU did, up to the entry that it does not accept.
///
/// # Safety
/// As [`GuestMemory::new`](crate::guest::memory::GuestMemory::new): the tables stay allocated meanwhile.
pub(crate) unsafe fn inspect<S: FrameSource>(
    root: Option<u64>,
    gpa: u64,
    capabilities: &NestedCapabilities,
) -> Misconfiguration {
    let unknown = Misconfiguration { gpa, level: 0, entry: 0, problem: Problem::Unknown };
    let Some(root) = root.filter(|_| gpa >> GPA_BITS == 0) else { return unknown };
    let format = capabilities.format.entries();
    let (mut table, mut shift) = (PhysAddr::from(root as usize), TOP_SHIFT);
    loop {
        let at = S::phys_to_virt(table).as_ptr().wrapping_add(entry_offset(gpa, shift)).cast::<u64>();
        // SAFETY: in a table of 4096 bytes, which stays allocated as the caller promises, at a multiple of 8.
        let entry = unsafe { at.read_volatile() };
        if entry & format.present == 0 {
            return unknown;
        }
        if let Some(problem) = problem_of(entry, shift, capabilities) {
            let level = ((shift - BOTTOM_SHIFT) / 9 + 1) as u8;
            return Misconfiguration { gpa, level, entry, problem };
        }
        if shift == BOTTOM_SHIFT || entry & format.large != 0 {
            return unknown;
        }
        table = PhysAddr::from((entry & format.address) as usize);
        shift -= 9;
    }
}

/// What is wrong with an entry that is present.
fn problem_of(entry: u64, shift: u32, capabilities: &NestedCapabilities) -> Option<Problem> {
    let small = shift == BOTTOM_SHIFT;
    let large = !small && entry & capabilities.format.entries().large != 0;
    let beyond = !0 << capabilities.physical_bits.min(52);
    let unaligned = if large { 1_u64.wrapping_shl(shift).wrapping_sub(1) } else { 0 };
    let sizes_known = shift <= capabilities.largest_page.shift();
    match capabilities.format {
        NestedFormat::Ept => {
            let word = EptEntry::from_bits(entry);
            let address = EptEntry::ADDRESS_PAGE_MASK.bits();
            if word.contains(EptEntry::WRITE) && !word.contains(EptEntry::READ) {
                return Some(Problem::WriteWithoutRead);
            }
            if !word.contains(EptEntry::READ) && !capabilities.execute_only {
                return Some(Problem::ExecuteOnly);
            }
            if large && shift == TOP_SHIFT {
                return Some(Problem::ReservedBits);
            }
            if large && !sizes_known {
                return Some(Problem::PageSize);
            }
            if entry & address & (beyond | unaligned) != 0 {
                return Some(Problem::Address);
            }
            if !small && !large {
                // The type's bits and the ignore-PAT bit are reserved in what references a table.
                let reserved = EptEntry::MEMORY_TYPE_MASK.bits() | EptEntry::IGNORE_PAT.bits();
                return (entry & reserved != 0).then_some(Problem::ReservedBits);
            }
            let exists = matches!(
                word.memory_type(),
                EptMemoryType::UC | EptMemoryType::WC | EptMemoryType::WT | EptMemoryType::WP | EptMemoryType::WB
            );
            (!exists).then_some(Problem::MemoryType)
        }
        NestedFormat::Npt => {
            let address = PageTableEntry::ADDRESS_PAGE_MASK.bits();
            // The lowest bit of a large page's address is PAT.
            let unaligned = unaligned & !super::caching::PAT_LARGE;
            if large && shift == TOP_SHIFT || entry & PageTableEntry::NX.bits() != 0 && !capabilities.execute_disable {
                return Some(Problem::ReservedBits);
            }
            if large && !sizes_known {
                return Some(Problem::PageSize);
            }
            (entry & address & (beyond | unaligned) != 0).then_some(Problem::Address)
        }
    }
}
