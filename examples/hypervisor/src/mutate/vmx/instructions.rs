//! VMCLEAR, VMPTRLD, VMREAD, VMWRITE.

use core::arch::asm;

/// Makes a VMCS inactive and not launched.
///
/// # Safety
/// This CPU is in VMX operation, and the region is a VMCS region of the caller's.
pub unsafe fn vmclear(region: u64) -> Result<(), ()> {
    let failed: u8;
    // SAFETY: the caller's promise.
    unsafe { asm!("vmclear [{}]", "setbe {}", in(reg) &raw const region, out(reg_byte) failed, options(nostack)) };
    if failed == 0 { Ok(()) } else { Err(()) }
}

/// Makes a VMCS current.
///
/// # Safety
/// As for [`vmclear`].
pub unsafe fn vmptrld(region: u64) -> Result<(), ()> {
    let failed: u8;
    // SAFETY: the caller's promise.
    unsafe { asm!("vmptrld [{}]", "setbe {}", in(reg) &raw const region, out(reg_byte) failed, options(nostack)) };
    if failed == 0 { Ok(()) } else { Err(()) }
}

/// A field of the current VMCS, if it has it.
pub fn vmread(encoding: u32) -> Option<u64> {
    let (value, failed): (u64, u8);
    // SAFETY: this CPU is in VMX operation since `virtualization::enable`. A field that is not there is an error.
    unsafe {
        asm!("vmread {value}, {field}", "setbe {failed}", field = in(reg) u64::from(encoding), value = out(reg) value,
            failed = out(reg_byte) failed, options(nostack));
    }
    (failed == 0).then_some(value)
}

/// Sets a field of the current VMCS, which has it.
pub fn vmwrite(encoding: u32, value: u64) {
    // SAFETY: as above; the current VMCS is the harness's own.
    unsafe {
        asm!("vmwrite {field}, {value}", field = in(reg) u64::from(encoding), value = in(reg) value, options(nostack));
    }
}
