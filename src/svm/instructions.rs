//! The SVM instructions, other than VMRUN: APM volume 2, "SVM Instruction Set Reference" and "Global Interrupt Flag, STGI and
//! CLGI Instructions".

use core::arch::asm;

/// Holds back interrupts, NMIs, SMIs, INIT and machine checks until [`stgi`].
///
/// # Safety
/// EFER.SVME is 1.
#[inline(always)]
pub(super) unsafe fn clgi() {
    // SAFETY: the caller's promise. Not `nomem`: memory accesses of the part in between stay there.
    unsafe { asm!("clgi", options(nostack, preserves_flags)) };
}

/// Lets interrupts and the like in again.
///
/// # Safety
/// EFER.SVME is 1, and the host's state is complete: its FS, GS and TR.
#[inline(always)]
pub(super) unsafe fn stgi() {
    // SAFETY: the caller's promise.
    unsafe { asm!("stgi", options(nostack, preserves_flags)) };
}

/// Loads FS, GS, TR, LDTR, KernelGsBase and the SYSCALL and SYSENTER registers from the VMCB at a physical address.
///
/// # Safety
/// EFER.SVME is 1 and GIF is 0. The VMCB holds what [`vmsave`] stored, or a guest's state; in the second case no host code
/// that depends on these registers runs until the host's are loaded again.
#[inline(always)]
pub(super) unsafe fn vmload(vmcb: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("vmload rax", in("rax") vmcb, options(nostack, preserves_flags)) };
}

/// Stores what [`vmload`] loads.
///
/// # Safety
/// EFER.SVME is 1, and the physical address is that of a frame for this.
#[inline(always)]
pub(super) unsafe fn vmsave(vmcb: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("vmsave rax", in("rax") vmcb, options(nostack, preserves_flags)) };
}
