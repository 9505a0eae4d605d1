//! How a VMX instruction says that it failed.

use crate::{Error, VmxInstruction, spec::intel::exits::InstructionError};

/// The failure of a VMX instruction: VMfailInvalid or VMfailValid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmFail {
    /// There is no current VMCS, so the CPU could not say why.
    Invalid,
    /// The VM-instruction error field of the current VMCS says why.
    Valid(InstructionError),
}

impl VmFail {
    /// The error for a failure of this instruction.
    pub(super) fn of(self, mnemonic: &'static str) -> Error {
        let error = match self {
            Self::Invalid => 0,
            Self::Valid(InstructionError(number)) => number,
        };
        Error::Vmx(VmxInstruction { mnemonic, error })
    }
}
