//! What EPT and NPT entries have in common, as data: both are four levels of 512 entries of 8 bytes.

use super::{ept, npt};

/// The two formats of nested page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NestedFormat {
    /// Intel's extended page tables.
    Ept,
    /// AMD's nested page tables: the format of ordinary long-mode page tables, walked as a user access.
    Npt,
}

impl NestedFormat {
    /// How this format's entries say what both can say.
    #[inline]
    pub(crate) const fn entries(self) -> &'static EntryFormat {
        match self {
            Self::Ept => &ept::FORMAT,
            Self::Npt => &npt::FORMAT,
        }
    }
}

/// How the entries of one format are laid out. The masks hold for all four levels.
#[derive(Debug)]
pub(crate) struct EntryFormat {
    /// Bits that permit something by being 0. `entry ^ inverted` is the form in which a set bit always permits, so that
    /// the rights of a walk are the AND of its entries. The masks below are about that form.
    pub inverted: u64,
    /// An entry is not in use when these are all 0 (in the entry as it stands).
    pub present: u64,
    /// Needed for data reads.
    pub read: u64,
    /// Needed for data writes.
    pub write: u64,
    /// Needed for instruction fetches.
    pub execute: u64,
    /// What an entry that points at a table holds besides the address, in the form as it stands: it permits everything.
    pub table: u64,
    /// Marks a leaf above the lowest level.
    pub large: u64,
    /// The bits that hold a physical address.
    pub address: u64,
    /// Set by the CPU when it used a leaf.
    pub accessed: u64,
    /// Set by the CPU when it wrote through a leaf.
    pub dirty: u64,
    /// The bits that hold a leaf's memory type.
    pub memory_type: u64,
    /// Their value for ordinary memory.
    pub write_back: u64,
    /// Their value for devices.
    pub uncacheable: u64,
    /// Ours, in a leaf: a write is permitted but has to be logged first, so that the CPU is not permitted to write, or it
    /// logs by itself.
    pub logged: u64,
}

/// The lowest bit of a mask.
pub(super) const fn lowest(mask: u64) -> u64 {
    mask & mask.wrapping_neg()
}

/// Levels of a table. An address has 9 bits for each and 12 for the offset.
pub(crate) const LEVELS: u32 = 4;
/// The guest-physical addresses that four levels can tell apart.
pub(crate) const GPA_BITS: u32 = 12 + 9 * LEVELS;

/// The offset of the entry for `gpa` in its table of 512 entries, where `shift` is the lowest address bit of that level.
#[inline]
pub(crate) const fn entry_offset(gpa: u64, shift: u32) -> usize {
    ((gpa.wrapping_shr(shift) & 0x1ff) << 3) as usize
}
