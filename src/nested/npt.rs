//! Entries of AMD's nested page tables: those of long-mode paging.
//!
//! APM volume 2, "Nested Paging": the CPU walks them as a user access, so U/S must be 1 at every level.

use super::format::{EntryFormat, lowest};
use crate::spec::x86::registers::PageTableEntry;

const PRESENT: u64 = PageTableEntry::P.bits();
const WRITABLE: u64 = PageTableEntry::RW.bits();
const USER: u64 = PageTableEntry::US.bits();
const NO_EXECUTE: u64 = PageTableEntry::NX.bits();

/// PWT and PCD, with the PAT bit, select an entry of the host's PAT; 0 is write-back and both are strong uncacheable at reset, and
/// in every PAT that keeps the compatible entries. Tables are not made for hosts with another one.
const MEMORY_TYPE: u64 = PageTableEntry::PWT.bits() | PageTableEntry::PCD.bits();

/// See [`EntryFormat`].
pub(super) static FORMAT: EntryFormat = EntryFormat {
    inverted: NO_EXECUTE,
    present: PRESENT,
    read: PRESENT | USER,
    write: PRESENT | USER | WRITABLE,
    execute: PRESENT | USER | NO_EXECUTE,
    table: PRESENT | USER | WRITABLE,
    large: PageTableEntry::PS.bits(),
    address: PageTableEntry::ADDRESS_PAGE_MASK.bits(),
    accessed: PageTableEntry::A.bits(),
    dirty: PageTableEntry::D.bits(),
    memory_type: MEMORY_TYPE,
    write_back: 0,
    uncacheable: MEMORY_TYPE,
    logged: lowest(PageTableEntry::IGNORED_58_52_MASK.bits()),
};
