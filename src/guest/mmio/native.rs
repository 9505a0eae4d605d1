//! Lets the test's own CPU execute an instruction, to compare the emulation with.

extern crate std;

use core::arch::{asm, global_asm};
use std::sync::{Mutex, MutexGuard};

use crate::guest::registers::GuestRegisters;

/// What an instruction starts from and leaves. RSP is not part of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub registers: GuestRegisters,
    pub rflags: u64,
    /// Where the instruction stands.
    code: u64,
    pub vectors: [[u8; 16]; 16],
}

// `run(state)`: loads everything but RSP, jumps to the code, and comes back at `back` by a jump that follows the instruction.
global_asm!(
    ".pushsection .text",
    "x86_vcpu_test_run:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rip + x86_vcpu_test_state], rdi",
    "movups xmm0, [rdi + 144]",
    "movups xmm1, [rdi + 160]",
    "movups xmm2, [rdi + 176]",
    "movups xmm3, [rdi + 192]",
    "movups xmm4, [rdi + 208]",
    "movups xmm5, [rdi + 224]",
    "movups xmm6, [rdi + 240]",
    "movups xmm7, [rdi + 256]",
    "movups xmm8, [rdi + 272]",
    "movups xmm9, [rdi + 288]",
    "movups xmm10, [rdi + 304]",
    "movups xmm11, [rdi + 320]",
    "movups xmm12, [rdi + 336]",
    "movups xmm13, [rdi + 352]",
    "movups xmm14, [rdi + 368]",
    "movups xmm15, [rdi + 384]",
    "push [rdi + 128]",
    "popfq",
    "mov rax, [rdi]",
    "mov rcx, [rdi + 8]",
    "mov rdx, [rdi + 16]",
    "mov rbx, [rdi + 24]",
    "mov rbp, [rdi + 40]",
    "mov rsi, [rdi + 48]",
    "mov r8, [rdi + 64]",
    "mov r9, [rdi + 72]",
    "mov r10, [rdi + 80]",
    "mov r11, [rdi + 88]",
    "mov r12, [rdi + 96]",
    "mov r13, [rdi + 104]",
    "mov r14, [rdi + 112]",
    "mov r15, [rdi + 120]",
    "push [rdi + 136]",
    "mov rdi, [rdi + 56]",
    "ret",
    "x86_vcpu_test_back:",
    "push rdi",
    "mov rdi, [rip + x86_vcpu_test_state]",
    "pop [rdi + 56]",
    "pushfq",
    "pop [rdi + 128]",
    "cld",
    "movups [rdi + 144], xmm0",
    "movups [rdi + 160], xmm1",
    "movups [rdi + 176], xmm2",
    "movups [rdi + 192], xmm3",
    "movups [rdi + 208], xmm4",
    "movups [rdi + 224], xmm5",
    "movups [rdi + 240], xmm6",
    "movups [rdi + 256], xmm7",
    "movups [rdi + 272], xmm8",
    "movups [rdi + 288], xmm9",
    "movups [rdi + 304], xmm10",
    "movups [rdi + 320], xmm11",
    "movups [rdi + 336], xmm12",
    "movups [rdi + 352], xmm13",
    "movups [rdi + 368], xmm14",
    "movups [rdi + 384], xmm15",
    "mov [rdi], rax",
    "mov [rdi + 8], rcx",
    "mov [rdi + 16], rdx",
    "mov [rdi + 24], rbx",
    "mov [rdi + 40], rbp",
    "mov [rdi + 48], rsi",
    "mov [rdi + 64], r8",
    "mov [rdi + 72], r9",
    "mov [rdi + 80], r10",
    "mov [rdi + 88], r11",
    "mov [rdi + 96], r12",
    "mov [rdi + 104], r13",
    "mov [rdi + 112], r14",
    "mov [rdi + 120], r15",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    ".popsection",
    ".pushsection .bss",
    ".balign 8",
    "x86_vcpu_test_state: .skip 8",
    ".popsection",
);

unsafe extern "C" {
    fn x86_vcpu_test_run(state: *mut State);
    fn x86_vcpu_test_back();
}

/// One page to execute from; the lock because there is one place for the state.
pub(super) struct Cpu {
    page: *mut u8,
    _lock: MutexGuard<'static, ()>,
}

static LOCK: Mutex<()> = Mutex::new(());

impl Cpu {
    pub fn new() -> Self {
        let lock = LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let page: isize;
        // SAFETY: mmap(NULL, 4096, READ | WRITE | EXEC, PRIVATE | ANONYMOUS, -1, 0) of Linux, which changes nothing that
        // exists.
        unsafe {
            asm!(
                "syscall", inlateout("rax") 9_isize => page, in("rdi") 0, in("rsi") 4096, in("rdx") 7, in("r10") 0x22,
                in("r8") -1, in("r9") 0, lateout("rcx") _, lateout("r11") _, options(nostack),
            );
        }
        assert!(page > 0, "no executable memory");
        Self { page: page as *mut u8, _lock: lock }
    }

    /// Executes one instruction.
    ///
    /// # Safety
    /// It must access only memory that is the test's, and neither jump nor use RSP.
    pub unsafe fn execute(&self, instruction: &[u8], state: &mut State) {
        assert!(instruction.len() <= 15);
        // SAFETY: a page of 4096 bytes. Behind the instruction comes `jmp [rip]` with the address to come back to.
        unsafe {
            self.page.copy_from(instruction.as_ptr(), instruction.len());
            let behind = self.page.add(instruction.len());
            behind.cast::<[u8; 6]>().write([0xff, 0x25, 0, 0, 0, 0]);
            behind.add(6).cast::<u64>().write_unaligned(x86_vcpu_test_back as *const () as u64);
        }
        state.code = self.page as u64;
        // SAFETY: the assembly above saves what the calling convention wants saved; the caller answers for the instruction.
        unsafe { x86_vcpu_test_run(state) };
    }
}
