//! How a page is cached.
//!
//! SDM volume 3C, "EPT and Memory Typing"; APM volume 2, "Guest PAT, Memory Typing with Nested Paging".

use super::{NestedCapabilities, NestedFormat};
use crate::{
    Error, Result,
    spec::{
        intel::structures::{EptEntry, EptMemoryType},
        x86::{paging::LargePageEntry, registers::PageTableEntry},
    },
};

/// The memory type that a nested page table gives a page.
///
/// The guest's PAT is combined with it, as the manuals' tables say, so that a guest can make its own memory weaker but never a
/// device cacheable; [`Caching::ignoring_pat`] leaves the guest no say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryType {
    /// WB: ordinary memory.
    WriteBack,
    /// WT.
    WriteThrough,
    /// WC: a frame buffer.
    WriteCombining,
    /// WP.
    WriteProtected,
    /// UC: a device that is passed through. The library does not touch such memory itself.
    Uncacheable,
}

/// A memory type, and whether the guest's PAT has a say. A [`MemoryType`] alone lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caching {
    /// The memory type.
    pub memory_type: MemoryType,
    /// Whether the guest's PAT is ignored, which only EPT can.
    pub ignore_pat: bool,
}

impl Caching {
    /// Ordinary memory.
    pub(super) const WRITE_BACK: Self = Self { memory_type: MemoryType::WriteBack, ignore_pat: false };

    /// This memory type, whatever the guest's PAT says. EPT alone can express it.
    pub const fn ignoring_pat(memory_type: MemoryType) -> Self {
        Self { memory_type, ignore_pat: true }
    }
}

impl From<MemoryType> for Caching {
    #[inline]
    fn from(memory_type: MemoryType) -> Self {
        Self { memory_type, ignore_pat: false }
    }
}

/// Where the PAT bit is in a 4 KiB page's entry: the place of PS in the others.
const PAT_SMALL: u64 = PageTableEntry::PS.bits();
/// Where it is in a larger page's.
pub(super) const PAT_LARGE: u64 = LargePageEntry::PAT.bits();

const PWT: u64 = PageTableEntry::PWT.bits();
const PCD: u64 = PageTableEntry::PCD.bits();

/// The bits of a leaf for it: of a 4 KiB page, and of a larger one.
pub(super) fn encode(caching: Caching, capabilities: &NestedCapabilities) -> Result<CachingBits> {
    match capabilities.format {
        NestedFormat::Ept => {
            let memory_type = match caching.memory_type {
                MemoryType::WriteBack => EptMemoryType::WB,
                MemoryType::WriteThrough => EptMemoryType::WT,
                MemoryType::WriteCombining => EptMemoryType::WC,
                MemoryType::WriteProtected => EptMemoryType::WP,
                MemoryType::Uncacheable => EptMemoryType::UC,
            };
            let entry = EptEntry::empty().with_memory_type(memory_type).bits();
            let bits = entry | if caching.ignore_pat { EptEntry::IGNORE_PAT.bits() } else { 0 };
            Ok(CachingBits { small: bits, large: bits })
        }
        NestedFormat::Npt if caching.ignore_pat => {
            Err(Error::Unsupported("ignoring the guest's PAT (NPT has no such bit)"))
        }
        NestedFormat::Npt => {
            let index = capabilities.pat_entry(caching.memory_type)?;
            let bit = |number: u8, bit: u64| if index & 1 << number != 0 { bit } else { 0 };
            let bits = bit(0, PWT) | bit(1, PCD);
            Ok(CachingBits { small: bits | bit(2, PAT_SMALL), large: bits | bit(2, PAT_LARGE) })
        }
    }
}

/// See [`encode`].
#[derive(Clone, Copy)]
pub(super) struct CachingBits {
    pub small: u64,
    pub large: u64,
}

/// What a leaf says. A memory type that no table of this library has, which somebody else's may, counts as uncacheable.
pub(super) fn decode(value: u64, small: bool, capabilities: &NestedCapabilities) -> Caching {
    match capabilities.format {
        NestedFormat::Ept => {
            let entry = EptEntry::from_bits(value);
            let memory_type = match entry.memory_type() {
                EptMemoryType::WB => MemoryType::WriteBack,
                EptMemoryType::WT => MemoryType::WriteThrough,
                EptMemoryType::WC => MemoryType::WriteCombining,
                EptMemoryType::WP => MemoryType::WriteProtected,
                _ => MemoryType::Uncacheable,
            };
            Caching { memory_type, ignore_pat: entry.contains(EptEntry::IGNORE_PAT) }
        }
        NestedFormat::Npt => {
            let bit = |bit: u64, number: u8| if value & bit != 0 { 1 << number } else { 0 };
            let index = bit(PWT, 0) | bit(PCD, 1) | bit(if small { PAT_SMALL } else { PAT_LARGE }, 2);
            let types = [
                MemoryType::WriteBack,
                MemoryType::WriteThrough,
                MemoryType::WriteCombining,
                MemoryType::WriteProtected,
            ];
            let found = types.into_iter().find(|memory_type| capabilities.pat_entry(*memory_type) == Ok(index));
            found.unwrap_or(MemoryType::Uncacheable).into()
        }
    }
}

/// The same leaf bits for pages of 4 KiB that a larger page with this entry had, and the reverse.
pub(super) fn to_small(value: u64, format: NestedFormat) -> u64 {
    match format {
        // The bit has another meaning in 4 KiB entries.
        NestedFormat::Ept => value & !EptEntry::PAGE.bits(),
        NestedFormat::Npt => {
            let pat = if value & PAT_LARGE != 0 { PAT_SMALL } else { 0 };
            value & !(PageTableEntry::PS.bits() | PAT_LARGE) | pat
        }
    }
}

/// The bits of a larger page's entry of those of a 4 KiB page.
pub(super) fn to_large(value: u64, format: NestedFormat) -> u64 {
    match format {
        NestedFormat::Ept => value | EptEntry::PAGE.bits(),
        NestedFormat::Npt => {
            let pat = if value & PAT_SMALL != 0 { PAT_LARGE } else { 0 };
            value | PageTableEntry::PS.bits() | pat
        }
    }
}
