//! The CPU's VMCS, by VMREAD and VMWRITE.

use core::arch::asm;

use super::{Backend, VmFail};
use crate::spec::FieldValue;
use crate::spec::intel::exits::InstructionError;
use crate::spec::intel::vmcs::VM_INSTRUCTION_ERROR;

/// The current VMCS of this CPU.
pub struct Hardware(());

impl Hardware {
    /// # Safety
    ///
    /// As for [`super::Vmcs::assume_current`], for as long as the value exists.
    #[inline(always)]
    pub(super) unsafe fn assume_current() -> Self {
        Hardware(())
    }
}

impl Backend for Hardware {
    // A failing VMREAD leaves its destination alone, hence the 0 before; checking the flags would cost more.
    #[inline(always)]
    fn read(&self, encoding: u32) -> u64 {
        let mut value = 0_u64;
        // SAFETY: whoever made `self` vouches for a current VMCS. VMREAD changes nothing but the register and the flags.
        unsafe {
            asm!("vmread {value}, {field}", value = inout(reg) value, field = in(reg) u64::from(encoding),
                options(nomem, nostack));
        }
        value
    }

    #[inline(always)]
    fn write(&self, encoding: u32, value: u64) {
        // SAFETY: whoever made `self` vouches for a current VMCS that is theirs to change.
        unsafe {
            asm!("vmwrite {field}, {value}", field = in(reg) u64::from(encoding), value = in(reg) value,
                options(nomem, nostack));
        }
    }

    #[inline(always)]
    fn try_write(&self, encoding: u32, value: u64) -> Result<(), VmFail> {
        // SAFETY: as in `write`.
        unsafe {
            // CF or ZF: VMfailInvalid or VMfailValid.
            asm!("vmwrite {field}, {value}", "jbe {failed}",
                field = in(reg) u64::from(encoding), value = in(reg) value,
                failed = label { return Err(self.failure()) },
                options(nomem, nostack));
        }
        Ok(())
    }
}

impl Hardware {
    /// Why the last VMX instruction failed. Without a current VMCS the field reads as 0, which is no error's number.
    #[cold]
    fn failure(&self) -> VmFail {
        match InstructionError::from_raw(self.read(VM_INSTRUCTION_ERROR.encoding())) {
            InstructionError(0) => VmFail::Invalid,
            error => VmFail::Valid(error),
        }
    }
}
