//! Entries of Intel's extended page tables.
//!
//! SDM volume 3C, "The Extended Page Table Mechanism (EPT)".

use super::format::{EntryFormat, lowest};
use crate::spec::intel::structures::{EptEntry, EptMemoryType};

const RIGHTS: u64 = EptEntry::READ.bits() | EptEntry::WRITE.bits() | EptEntry::EXECUTE.bits();

/// See [`EntryFormat`].
pub(super) static FORMAT: EntryFormat = EntryFormat {
    inverted: 0,
    present: RIGHTS,
    read: EptEntry::READ.bits(),
    write: EptEntry::WRITE.bits(),
    execute: EptEntry::EXECUTE.bits(),
    table: RIGHTS,
    large: EptEntry::PAGE.bits(),
    address: EptEntry::ADDRESS_PAGE_MASK.bits(),
    accessed: EptEntry::ACCESSED.bits(),
    dirty: EptEntry::DIRTY.bits(),
    memory_type: EptEntry::MEMORY_TYPE_MASK.bits(),
    write_back: EptEntry::empty().with_memory_type(EptMemoryType::WB).bits(),
    uncacheable: EptEntry::empty().with_memory_type(EptMemoryType::UC).bits(),
    logged: lowest(EptEntry::IGNORED_56_52_MASK.bits()),
};
