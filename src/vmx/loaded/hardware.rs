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
    // Of a field that exists a VMREAD from the current VMCS cannot fail. One that failed would leave its destination as it
    // was: an arbitrary number, not undefined behaviour.
    #[inline(always)]
    fn read(&self, encoding: u32) -> u64 {
        crate::count::vmread();
        let value: u64;
        // SAFETY: whoever made `self` vouches for a current VMCS. VMREAD changes nothing but the register and the flags.
        unsafe {
            asm!("vmread {value}, {field}", value = out(reg) value, field = in(reg) u64::from(encoding),
                options(nomem, nostack));
        }
        value
    }

    fn try_read(&self, encoding: u32) -> Result<u64, VmFail> {
        crate::count::vmread();
        let mut value = 0_u64;
        let failed: u8;
        // SAFETY: as in `read`.
        unsafe {
            // CF or ZF: VMfailInvalid or VMfailValid.
            asm!("vmread {value}, {field}", "setbe {failed}",
                value = inout(reg) value, field = in(reg) u64::from(encoding), failed = out(reg_byte) failed,
                options(nomem, nostack));
        }
        if failed == 0 { Ok(value) } else { Err(self.failure()) }
    }

    #[inline(always)]
    fn write(&self, encoding: u32, value: u64) {
        crate::count::vmwrite();
        // SAFETY: whoever made `self` vouches for a current VMCS that is theirs to change.
        unsafe {
            asm!("vmwrite {field}, {value}", field = in(reg) u64::from(encoding), value = in(reg) value,
                options(nomem, nostack));
        }
    }

    #[inline(always)]
    fn try_write(&self, encoding: u32, value: u64) -> Result<(), VmFail> {
        crate::count::vmwrite();
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
    /// Why the last VMX instruction failed.
    #[cold]
    fn failure(&self) -> VmFail {
        crate::count::vmread();
        // Without a current VMCS this VMREAD fails too and leaves the 0, which is no error's number.
        let mut error = 0_u64;
        // SAFETY: as in `read`.
        unsafe {
            asm!("vmread {error}, {field}", error = inout(reg) error,
                field = in(reg) u64::from(VM_INSTRUCTION_ERROR.encoding()), options(nomem, nostack));
        }
        match InstructionError::from_raw(error) {
            InstructionError(0) => VmFail::Invalid,
            error => VmFail::Valid(error),
        }
    }
}
