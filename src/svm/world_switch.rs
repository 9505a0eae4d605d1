//! From host to guest and back: APM volume 2, "VMRUN Instruction", "#VMEXIT".
//!
//! VMRUN switches RIP, RSP, RAX, RFLAGS, CS, SS, DS, ES, GDTR, IDTR and the control registers. VMLOAD and VMSAVE switch FS, GS,
//! TR, LDTR and what belongs to SYSCALL and SYSENTER; as nothing of that is needed between two exits, it is done at the edges
//! of `run`. The other general-purpose registers are ours to switch at each entry, and on a host whose code uses SSE the
//! legacy floating-point registers too.
//!
//! Who holds interrupts when: from [`enter_world`] to [`leave_world`] GIF is 0, so that no handler of the host ever runs with
//! the guest's FS, GS and TR. IF is 1 meanwhile: with V_INTR_MASKING the host's IF decides whether an interrupt makes the
//! guest exit. It stays pending then, and the host takes it when GIF and its own IF are 1 again.

use core::{
    arch::{asm, naked_asm},
    mem::offset_of,
};

use super::instructions::{clgi, stgi, vmload, vmsave};
use crate::{
    guest::{
        registers::GuestRegisters,
        return_stack::{self, fill_return_stack},
        xstate::HOST_USES_SSE,
    },
    host::InterruptsOff,
};

/// The MXCSR with which host code runs: its reset value, all exceptions masked.
static HOST_MXCSR: u32 = crate::guest::xstate::DEFAULT_MXCSR;

/// Puts the guest's FS, GS, TR and the like in the place of the host's, with everything held back.
///
/// # Safety
/// SVM is enabled on this CPU and host interrupts are off. `host` and `guest` are the physical addresses of two VMCBs, the
/// second with a guest's state. Until [`leave_world`] no code runs that depends on the host's FS, GS, TR, LDTR, or SYSCALL
/// registers.
#[inline(always)]
pub(super) unsafe fn enter_world(host: u64, guest: u64) {
    // SAFETY: the caller's promises. With GIF 0, IF lets nothing in.
    unsafe {
        clgi();
        asm!("sti", options(nostack, preserves_flags));
        vmsave(host);
        vmload(guest);
    }
}

/// The reverse.
///
/// # Safety
/// As for [`enter_world`], which was called before with the same addresses.
#[inline(always)]
pub(super) unsafe fn leave_world(host: u64, guest: u64) {
    // SAFETY: the caller's promises; afterwards the host's state is complete, and its interrupts are off as before.
    unsafe {
        vmsave(guest);
        vmload(host);
        asm!("cli", options(nostack, preserves_flags));
        stgi();
    }
}

/// As [`leave_world`], after which interrupts are as they were before `interrupts_off`.
///
/// # Safety
/// As for [`leave_world`].
#[inline(always)]
pub(super) unsafe fn leave_world_for_good(host: u64, guest: u64, interrupts_off: InterruptsOff) {
    // SAFETY: as in `leave_world`. IF has been 1 since `enter_world`; whether it may stay so is decided while GIF is 0.
    unsafe {
        vmsave(guest);
        vmload(host);
        if !interrupts_off.were_on() {
            asm!("cli", options(nostack, preserves_flags));
        }
        stgi();
    }
    core::mem::forget(interrupts_off);
}

/// `switch` or `switch_and_fill`. They change all general-purpose registers but RBX, RBP and RSP, and the vector and x87
/// registers with those that a call may change: so the compiler keeps what it needs elsewhere, and only that.
macro_rules! call {
    ($switch:ident, $registers:expr, $vmcb:expr, $legacy_region:expr) => {
        asm!(
            "call {switch}",
            switch = sym $switch,
            inout("rdi") $registers => _, inout("rsi") $vmcb => _, inout("rdx") $legacy_region => _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            clobber_abi("sysv64"),
        )
    };
}

/// Runs `f` with the host's FS, GS and TR, and the guest's in its VMCB; GIF stays 0.
///
/// # Safety
/// Between [`enter_world`] and [`leave_world`], with the same addresses.
#[inline]
pub(super) unsafe fn with_host_segments<R>(host: u64, guest: u64, f: impl FnOnce() -> R) -> R {
    // SAFETY: the caller's promises. The host's state is in its VMCB since `enter_world`.
    unsafe {
        vmsave(guest);
        vmload(host);
    }
    let result = f();
    // SAFETY: as above.
    unsafe { vmload(guest) };
    result
}

/// Enters the guest and comes back at its exit.
///
/// # Safety
/// Between [`enter_world`] and [`leave_world`]. `vmcb` is the physical address of the VMCB of the vCPU that `registers` and
/// `legacy_region` are parts of, whose controls keep the guest from host resources. No reference to it exists.
#[inline(always)]
pub(super) unsafe fn enter(registers: *mut GuestRegisters, vmcb: u64, legacy_region: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { call!(switch, registers, vmcb, legacy_region) }
}

/// As [`enter`], and fills the return stack buffer at the exit.
///
/// # Safety
/// As for [`enter`].
#[inline(never)]
pub(super) unsafe fn enter_and_fill(registers: *mut GuestRegisters, vmcb: u64, legacy_region: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { call!(switch_and_fill, registers, vmcb, legacy_region) }
}

// What [`enter`] calls, with a convention of its own: RDI is the address of the registers, RSI the VMCB, RDX the legacy
// region; RBX, RBP and RSP are preserved.
macro_rules! switches {
    ($($(#[$doc:meta])* $name:ident($at_exit:expr $(, $operand:ident = $value:expr)*);)*) => {$(
$(#[$doc])*
#[unsafe(naked)]
unsafe extern "C" fn $name() {
    naked_asm!(
        "push rbp",
        "push rbx",
        ".if {sse}",
        "fxrstor64 [rdx]",
        "push rdx", // where the floating-point registers go, and ...
        ".endif",
        "push rdi", // ... the others: found at [rsp] after the exit
        "mov rax, rsi",
        "mov rcx, [rdi + {rcx}]", "mov rdx, [rdi + {rdx}]", "mov rbx, [rdi + {rbx}]", "mov rbp, [rdi + {rbp}]",
        "mov rsi, [rdi + {rsi}]",
        "mov r8, [rdi + {r8}]", "mov r9, [rdi + {r9}]", "mov r10, [rdi + {r10}]", "mov r11, [rdi + {r11}]",
        "mov r12, [rdi + {r12}]", "mov r13, [rdi + {r13}]", "mov r14, [rdi + {r14}]", "mov r15, [rdi + {r15}]",
        "mov rdi, [rdi + {rdi}]",
        "vmrun rax",
        $at_exit,
        // RSP and RAX are the host's again; all other general-purpose registers are the guest's.
        "pop rax",
        "mov [rax + {rcx}], rcx", "mov [rax + {rdx}], rdx", "mov [rax + {rbx}], rbx", "mov [rax + {rbp}], rbp",
        "mov [rax + {rsi}], rsi", "mov [rax + {rdi}], rdi",
        "mov [rax + {r8}], r8", "mov [rax + {r9}], r9", "mov [rax + {r10}], r10", "mov [rax + {r11}], r11",
        "mov [rax + {r12}], r12", "mov [rax + {r13}], r13", "mov [rax + {r14}], r14", "mov [rax + {r15}], r15",
        ".if {sse}",
        "pop rdx",
        "fxsave64 [rdx]",
        "ldmxcsr [rip + {host_mxcsr}]",
        ".endif",
        "pop rbx",
        "pop rbp",
        "ret",
        sse = const HOST_USES_SSE as u8,
        host_mxcsr = sym HOST_MXCSR,
        rcx = const offset_of!(GuestRegisters, rcx), rdx = const offset_of!(GuestRegisters, rdx),
        rbx = const offset_of!(GuestRegisters, rbx), rbp = const offset_of!(GuestRegisters, rbp),
        rsi = const offset_of!(GuestRegisters, rsi), rdi = const offset_of!(GuestRegisters, rdi),
        r8 = const offset_of!(GuestRegisters, r8), r9 = const offset_of!(GuestRegisters, r9),
        r10 = const offset_of!(GuestRegisters, r10), r11 = const offset_of!(GuestRegisters, r11),
        r12 = const offset_of!(GuestRegisters, r12), r13 = const offset_of!(GuestRegisters, r13),
        r14 = const offset_of!(GuestRegisters, r14), r15 = const offset_of!(GuestRegisters, r15),
        $($operand = const $value,)*
    )
}
    )*};
}

switches! {
    /// As [`enter`] needs it.
    switch("");
    /// With the return stack buffer filled before the first return.
    switch_and_fill(fill_return_stack!(), entries = return_stack::ENTRIES, bytes = return_stack::BYTES);
}
