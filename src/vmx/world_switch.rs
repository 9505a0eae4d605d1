//! From host to guest and back: SDM volume 3, chapters "VM Entries" and "VM Exits".
//!
//! The CPU switches RIP, RSP, RFLAGS, segments and control registers with the VMCS; the other general-purpose registers are
//! ours to switch, and on a host whose code uses SSE the legacy floating-point registers too.

use core::{
    arch::{asm, naked_asm},
    mem::offset_of,
};

use crate::{
    guest::{
        registers::GuestRegisters,
        return_stack::{self, fill_return_stack},
        xstate::HOST_USES_SSE,
    },
    spec::intel::vmcs::{HOST_RIP, HOST_RSP},
};

/// What the world switch needs besides the guest's registers.
#[repr(C)]
pub(super) struct Context {
    /// What the HOST_RSP field holds; 0 when it and HOST_RIP have to be written.
    pub(super) host_rsp: u64,
    /// Where FXSAVE and FXRSTOR keep the guest's x87 and SSE registers.
    pub(super) legacy_region: *mut u8,
    /// Whether exits fill the return stack buffer. It counts when HOST_RIP is written: whoever changes it sets `host_rsp` to 0.
    pub(super) fills_return_stack: bool,
}

/// The MXCSR with which host code runs: its reset value, all exceptions masked.
static HOST_MXCSR: u32 = crate::guest::xstate::DEFAULT_MXCSR;

/// Enters the guest and comes back at its exit. The result is false when VMLAUNCH or VMRESUME itself failed; otherwise the
/// exit reason says what happened (it may still be a refusal of the guest's state).
///
/// # Safety
/// Host interrupts are off. The current VMCS belongs to the vCPU that the arguments are parts of; its host state is this
/// CPU's, and its controls keep the guest from host resources. `launched` is its launch state. `context.host_rsp` is what
/// its HOST_RSP field holds, and its HOST_RIP was written by this function, or `context.host_rsp` is 0.
#[inline(always)]
pub(super) unsafe fn enter(registers: *mut GuestRegisters, launched: bool, context: *mut Context) -> bool {
    let entered: u8;
    // SAFETY: the caller's promise is what the callee needs. The callee has a calling convention of its own: it keeps RSP,
    // RBP and RBX, and all others are declared as changed here, so that they are saved once per `run` and not per entry.
    unsafe {
        asm!(
            "call {switch}",
            switch = sym switch,
            inout("rdi") registers => _, inout("rsi") u64::from(launched) => _, inout("rdx") context => _,
            out("al") entered, out("rcx") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _, clobber_abi("sysv64"),
        );
    }
    entered != 0
}

/// The body of [`enter`], with its arguments in RDI, RSI and RDX and its result in AL.
///
/// # Safety
/// As for [`enter`], which is the only one to know its calling convention.
#[unsafe(naked)]
unsafe extern "C" fn switch() {
    naked_asm!(
        "push rbp", "push rbx",
        ".if {sse}",
        "push qword ptr [rdx + {legacy_region}]",
        ".endif",
        "push rdi", // the registers: found at [rsp] after the exit
        "cmp rsp, [rdx + {host_rsp}]",
        "jne 4f",
        "2:",
        ".if {sse}",
        "mov rax, [rsp + 8]",
        "fxrstor64 [rax]",
        ".endif",
        "test sil, sil", // none of the loads below changes the flags
        "mov rax, [rdi + {rax}]", "mov rcx, [rdi + {rcx}]", "mov rdx, [rdi + {rdx}]", "mov rbx, [rdi + {rbx}]",
        "mov rbp, [rdi + {rbp}]", "mov rsi, [rdi + {rsi}]",
        "mov r8, [rdi + {r8}]", "mov r9, [rdi + {r9}]", "mov r10, [rdi + {r10}]", "mov r11, [rdi + {r11}]",
        "mov r12, [rdi + {r12}]", "mov r13, [rdi + {r13}]", "mov r14, [rdi + {r14}]", "mov r15, [rdi + {r15}]",
        "mov rdi, [rdi + {rdi}]",
        "jz 3f",
        "vmresume",
        "jmp 5f",
        "3:",
        "vmlaunch",
        // Only a failed instruction comes here. No guest state was loaded, and RSP is what it was.
        "5:",
        "pop rdi",
        ".if {sse}",
        "pop rax",
        ".endif",
        "xor eax, eax",
        "jmp 6f",
        // The stack is not where it was at the last entry, or this VMCS was never entered.
        "4:",
        "mov eax, {host_rsp_field}",
        "vmwrite rax, rsp",
        "mov [rdx + {host_rsp}], rsp",
        "lea rcx, [rip + 7f]",
        "lea r8, [rip + 8f]",
        "cmp byte ptr [rdx + {fills_return_stack}], 0",
        "cmovne rcx, r8",
        "mov eax, {host_rip_field}",
        "vmwrite rax, rcx",
        "jmp 2b",
        // HOST_RIP where exits fill the return stack buffer.
        "8:",
        fill_return_stack!(),
        // HOST_RIP. RSP is HOST_RSP; all other general-purpose registers are the guest's.
        "7:",
        "xchg rdi, [rsp]",
        "mov [rdi + {rax}], rax", "mov [rdi + {rcx}], rcx", "mov [rdi + {rdx}], rdx", "mov [rdi + {rbx}], rbx",
        "mov [rdi + {rbp}], rbp", "mov [rdi + {rsi}], rsi",
        "mov [rdi + {r8}], r8", "mov [rdi + {r9}], r9", "mov [rdi + {r10}], r10", "mov [rdi + {r11}], r11",
        "mov [rdi + {r12}], r12", "mov [rdi + {r13}], r13", "mov [rdi + {r14}], r14", "mov [rdi + {r15}], r15",
        "pop qword ptr [rdi + {rdi}]",
        ".if {sse}",
        "pop rax",
        "fxsave64 [rax]",
        ".endif",
        "mov eax, 1",
        "6:",
        ".if {sse}",
        "ldmxcsr [rip + {host_mxcsr}]",
        ".endif",
        "pop rbx", "pop rbp",
        "ret",
        sse = const HOST_USES_SSE as u8,
        host_mxcsr = sym HOST_MXCSR,
        host_rsp = const offset_of!(Context, host_rsp),
        legacy_region = const offset_of!(Context, legacy_region),
        fills_return_stack = const offset_of!(Context, fills_return_stack),
        entries = const return_stack::ENTRIES,
        bytes = const return_stack::BYTES,
        host_rsp_field = const HOST_RSP.encoding(),
        host_rip_field = const HOST_RIP.encoding(),
        rax = const offset_of!(GuestRegisters, rax), rcx = const offset_of!(GuestRegisters, rcx),
        rdx = const offset_of!(GuestRegisters, rdx), rbx = const offset_of!(GuestRegisters, rbx),
        rbp = const offset_of!(GuestRegisters, rbp), rsi = const offset_of!(GuestRegisters, rsi),
        rdi = const offset_of!(GuestRegisters, rdi), r8 = const offset_of!(GuestRegisters, r8),
        r9 = const offset_of!(GuestRegisters, r9), r10 = const offset_of!(GuestRegisters, r10),
        r11 = const offset_of!(GuestRegisters, r11), r12 = const offset_of!(GuestRegisters, r12),
        r13 = const offset_of!(GuestRegisters, r13), r14 = const offset_of!(GuestRegisters, r14),
        r15 = const offset_of!(GuestRegisters, r15),
    )
}
