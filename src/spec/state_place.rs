//! Where the two vendors keep the same state of a guest.

/// A piece of guest state, and where each vendor keeps it; nowhere is an empty list.
#[derive(Clone, Copy, Debug)]
pub struct StatePlace {
    /// Our name of it.
    pub name: &'static str,
    /// The encodings of VMCS fields.
    pub vmcs: &'static [u32],
    /// Members of the VMCB.
    pub vmcb: &'static [VmcbPlace],
}

/// Bytes of the VMCB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmcbPlace {
    /// From the start of the VMCB, in bytes.
    pub offset: u16,
    /// In bytes.
    pub size: u16,
}

/// What is known of a member of the VMCB, for tables over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmcbMember {
    /// `control.NAME` or `save.NAME`.
    pub name: &'static str,
    /// From the start of the VMCB, in bytes.
    pub offset: u16,
    /// In bytes.
    pub size: u16,
    /// Whether the manual reserves it.
    pub reserved: bool,
}
