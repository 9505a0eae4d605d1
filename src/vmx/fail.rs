//! How a VMX instruction says that it failed.

use crate::spec::intel::exits::InstructionError;

/// The failure of a VMX instruction: VMfailInvalid or VMfailValid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmFail {
    /// There is no current VMCS, so the CPU could not say why.
    Invalid,
    /// The VM-instruction error field of the current VMCS says why.
    Valid(InstructionError),
}
