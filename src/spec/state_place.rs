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
