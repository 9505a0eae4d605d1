//! The VMX instructions, each in a function that says whether it worked.
//!
//! Intel SDM volume 3, chapter "VMX Instruction Reference", "Conventions": CF says VMfailInvalid, ZF VMfailValid.

use core::{arch::asm, mem::MaybeUninit};

use crate::{
    Error, Result, VmxInstruction,
    spec::intel::{
        structures::{InveptType, InvvpidType},
        vmcs::VM_INSTRUCTION_ERROR,
    },
};

/// What INVEPT and INVVPID read from memory.
#[repr(C, align(16))]
struct Descriptor([u64; 2]);

macro_rules! vmx {
    ($mnemonic:literal, $template:literal $(, $($operands:tt)*)?) => {{
        let (invalid, valid): (u8, u8);
        // SAFETY: the caller of the enclosing function vouches for VMX operation and for the operand.
        unsafe { asm!($template, "setc {invalid}", "setz {valid}", $($($operands)*,)? invalid = out(reg_byte) invalid, valid = out(reg_byte) valid) };
        check($mnemonic, invalid != 0, valid != 0)
    }};
}

fn check(mnemonic: &'static str, invalid: bool, valid: bool) -> Result {
    if invalid {
        Err(Error::Vmx(VmxInstruction { mnemonic, error: 0 }))
    } else if valid {
        Err(Error::Vmx(VmxInstruction { mnemonic, error: instruction_error() }))
    } else {
        Ok(())
    }
}

/// The VM-instruction error of the current VMCS. Only right after VMfailValid.
pub(super) fn instruction_error() -> u32 {
    crate::count::vmread();
    let mut value: u64 = 0;
    // SAFETY: VMfailValid says that there is a current VMCS, and every VMCS has this field.
    unsafe {
        asm!("vmread {}, {}", inout(reg) value, in(reg) u64::from(VM_INSTRUCTION_ERROR.encoding()), options(nomem, nostack));
    }
    value as u32
}

/// # Safety
/// CR4.VMXE is 1, and the physical address is that of a VMXON region which stays as it is until VMXOFF.
pub(super) unsafe fn vmxon(region: u64) -> Result {
    vmx!("VMXON", "vmxon [{}]", in(reg) &raw const region)
}

/// # Safety
/// This CPU is in VMX operation, and no vCPU is bound to it.
pub(super) unsafe fn vmxoff() -> Result {
    vmx!("VMXOFF", "vmxoff")
}

/// # Safety
/// This CPU is in VMX operation, and the physical address is that of a VMCS region that is not active on another CPU.
pub(super) unsafe fn vmclear(region: u64) -> Result {
    vmx!("VMCLEAR", "vmclear [{}]", in(reg) &raw const region)
}

/// # Safety
/// As for [`vmclear`]; the code that uses the current VMCS must expect this one.
pub(super) unsafe fn vmptrld(region: u64) -> Result {
    vmx!("VMPTRLD", "vmptrld [{}]", in(reg) &raw const region)
}

/// The physical address of the current VMCS, all ones when there is none.
///
/// # Safety
/// This CPU is in VMX operation.
#[inline(always)]
pub(super) unsafe fn vmptrst() -> u64 {
    let mut region = MaybeUninit::<u64>::uninit();
    // SAFETY: the caller vouches for VMX operation, where the instruction always succeeds and stores 8 bytes.
    unsafe {
        asm!("vmptrst [{}]", in(reg) region.as_mut_ptr(), options(nostack));
        region.assume_init()
    }
}

/// Forgets translations that were derived from EPT.
///
/// # Safety
/// This CPU is in VMX operation and supports this type of INVEPT.
pub(super) unsafe fn invept(kind: InveptType, eptp: u64) -> Result {
    let descriptor = Descriptor([eptp, 0]);
    vmx!("INVEPT", "invept {}, [{}]", in(reg) kind.0, in(reg) &raw const descriptor)
}

/// Forgets translations that are tagged with a VPID.
///
/// # Safety
/// This CPU is in VMX operation and supports this type of INVVPID.
pub(super) unsafe fn invvpid(kind: InvvpidType, vpid: u16) -> Result {
    let descriptor = Descriptor([u64::from(vpid), 0]);
    vmx!("INVVPID", "invvpid {}, [{}]", in(reg) kind.0, in(reg) &raw const descriptor)
}
