//! A VMCS field without its types.

use super::intel::conditions::AllowedControls;

/// What is known of a VMCS field, for tables over all of them.
#[derive(Clone, Copy, Debug)]
pub struct FieldInfo {
    name: &'static str,
    encoding: u32,
    writable: bool,
    exists: fn(&AllowedControls) -> bool,
}

/// The width of a VMCS field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 16 bits.
    W16,
    /// 64 bits.
    W64,
    /// 32 bits.
    W32,
    /// As wide as a register: 64 bits.
    Natural,
}

/// The part of the VMCS that a field belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Control fields.
    Control,
    /// VM-exit information.
    ExitInfo,
    /// Guest state.
    Guest,
    /// Host state.
    Host,
}

impl FieldInfo {
    pub(super) const fn new(
        name: &'static str,
        encoding: u32,
        writable: bool,
        exists: fn(&AllowedControls) -> bool,
    ) -> Self {
        FieldInfo { name, encoding, writable, exists }
    }

    /// The name of its constant.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What VMREAD and VMWRITE take.
    pub const fn encoding(&self) -> u32 {
        self.encoding
    }

    /// Whether VMWRITE may change it.
    pub const fn is_writable(&self) -> bool {
        self.writable
    }

    /// How wide it is: bits 14:13 of the encoding.
    pub const fn width(&self) -> Width {
        match self.encoding >> 13 & 3 {
            0 => Width::W16,
            1 => Width::W64,
            2 => Width::W32,
            _ => Width::Natural,
        }
    }

    /// The part of the VMCS: bits 11:10 of the encoding.
    pub const fn group(&self) -> Group {
        match self.encoding >> 10 & 3 {
            0 => Group::Control,
            1 => Group::ExitInfo,
            2 => Group::Guest,
            _ => Group::Host,
        }
    }

    /// Whether a CPU that allows these controls to be 1 has it.
    pub fn exists(&self, allowed: &AllowedControls) -> bool {
        (self.exists)(allowed)
    }
}
