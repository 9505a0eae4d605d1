//! What this CPU's nested paging can do.

use super::{MemoryType, NestedFormat, PageSize, Permissions};
use crate::{
    Error, Result,
    spec::x86::msrs::{IA32_PAT_RESET, PatMemoryType},
};

/// What a nested page table may say on a CPU: made by [`nested_capabilities`](crate::nested_capabilities), or of a format alone,
/// which gives what every CPU with it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NestedCapabilities {
    /// The format of the entries.
    pub format: NestedFormat,
    /// The largest pages. EPT: bits 16 and 17 of IA32_VMX_EPT_VPID_CAP; NPT: CPUID Fn8000_0001 EDX Page1GB.
    pub largest_page: PageSize,
    /// Whether a page may be executable and not readable: EPT on most CPUs, never NPT.
    pub execute_only: bool,
    /// Whether a page may be not executable: always with EPT; with NPT when the host has set EFER.NXE.
    pub execute_disable: bool,
    /// Whether the CPU sets accessed and dirty flags: always with NPT; EPT: bit 21 of IA32_VMX_EPT_VPID_CAP.
    pub accessed_dirty: bool,
    /// Whether the CPU logs the pages that it makes dirty (PML, with EPT on some CPUs).
    pub page_modification_log: bool,
    /// How many bits physical addresses have.
    pub physical_bits: u8,
    /// The host's IA32_PAT, from which entries of NPT choose their memory type.
    pub host_pat: u64,
}

impl From<NestedFormat> for NestedCapabilities {
    fn from(format: NestedFormat) -> Self {
        Self {
            format,
            largest_page: PageSize::Size2M,
            execute_only: false,
            execute_disable: true,
            accessed_dirty: format == NestedFormat::Npt,
            page_modification_log: false,
            physical_bits: 52,
            host_pat: IA32_PAT_RESET,
        }
    }
}

impl NestedCapabilities {
    /// Whether an entry may say this.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for what no CPU can express, [`Error::Unsupported`] for what this one cannot.
    pub(super) fn check_permissions(&self, permissions: Permissions) -> Result {
        match permissions {
            Permissions { read: true, execute: true, .. } => Ok(()),
            Permissions { read: true, execute: false, .. } if self.execute_disable => Ok(()),
            Permissions { read: true, .. } => {
                Err(Error::Unsupported("pages that are not executable (the host's EFER.NXE)"))
            }
            Permissions { write: false, execute: true, .. } if self.execute_only => Ok(()),
            Permissions { write: false, execute: true, .. } => Err(Error::Unsupported("execute-only pages")),
            _ => Err(Error::InvalidInput("a nested mapping that cannot be read has to be execute-only")),
        }
    }

    /// The entry of the host's PAT that selects a memory type.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when none does.
    pub(super) fn pat_entry(&self, memory_type: MemoryType) -> Result<u8> {
        let wanted = match memory_type {
            MemoryType::WriteBack => PatMemoryType::WB,
            MemoryType::WriteThrough => PatMemoryType::WT,
            MemoryType::WriteCombining => PatMemoryType::WC,
            MemoryType::WriteProtected => PatMemoryType::WP,
            MemoryType::Uncacheable => PatMemoryType::UC,
        };
        let entries = self.host_pat.to_le_bytes();
        // Entries with both PWT and PCD are for devices, which the library knows by them and does not touch.
        let is_device = |index: u8| index & 3 == 3;
        let uncacheable = memory_type == MemoryType::Uncacheable;
        (0..8)
            .zip(entries)
            .find(|(index, entry)| *entry == wanted.0 && is_device(*index) == uncacheable)
            .map(|(index, _)| index)
            .ok_or(Error::Unsupported("a memory type that the host's IA32_PAT does not have where it can be used"))
    }
}
