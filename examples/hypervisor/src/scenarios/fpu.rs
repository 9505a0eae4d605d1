//! The guest's floating-point and vector registers, and the host's: neither sees the other's.

use alloc::vec::Vec;
use core::arch::asm;

use super::machine::{Machine, judge, print_output, unexpected};
use super::{Outcome, check, refused};
use crate::guests::{self, Guest};
use crate::vm::{Exit, Vm, VmCpu};

/// RDI, where the guest expects its number.
pub const NUMBER_REGISTER: usize = 7;

/// A guest that looks at its registers after every exit, while the host uses them all.
pub fn fpu() -> Outcome {
    Machine::new(guests::fpu())?.run(|_, _, exit| match exit {
        Exit::Yield => {
            use_all_registers();
            check(control_words() == (0x1F80, 0x037F), || "the host's control words are not its own".into())
        }
        other => unexpected(&other),
    })
}

/// Two vCPUs take turns on one CPU, with different numbers in all their registers.
pub fn alternating() -> Outcome {
    take_turns(guests::numbered())
}

/// The same with everything that XSAVE manages.
pub fn vectors() -> Outcome {
    take_turns(guests::vectors())
}

/// A guest whose PKRU keeps it from its own memory.
pub fn protection_keys() -> Outcome {
    Machine::new(guests::protection_keys())?.run(|_, _, exit| match exit {
        Exit::Yield => {
            use_all_registers();
            Ok(())
        }
        other => unexpected(&other),
    })
}

fn take_turns(guest: Guest) -> Outcome {
    let vm = Vm::new()?;
    let mut cpus = Vec::new();
    for number in 0..2 {
        let mut cpu = VmCpu::new(&vm, number, guest).map_err(refused)?;
        cpu.set_register(NUMBER_REGISTER, number as u64 + 1);
        cpus.push(cpu);
    }
    let mut verdicts = [None; 2];
    while verdicts.iter().any(Option::is_none) {
        for (cpu, verdict) in cpus.iter_mut().zip(&mut verdicts) {
            if verdict.is_some() {
                continue;
            }
            match cpu.run(&vm)? {
                Exit::Yield => use_all_registers(),
                Exit::Done(value) => *verdict = Some(value),
                other => unexpected(&other)?,
            }
        }
    }
    cpus.iter().for_each(print_output);
    verdicts.into_iter().flatten().try_for_each(judge)
}

/// Puts something else into every register that a function may change.
fn use_all_registers() {
    // SAFETY: all that changes is declared, or is as the calling convention wants it afterwards: an empty x87 stack.
    unsafe {
        asm!(
            "pcmpeqd xmm0, xmm0",
            "movdqa xmm1, xmm0", "movdqa xmm2, xmm0", "movdqa xmm3, xmm0", "movdqa xmm4, xmm0", "movdqa xmm5, xmm0",
            "movdqa xmm6, xmm0", "movdqa xmm7, xmm0", "movdqa xmm8, xmm0", "movdqa xmm9, xmm0", "movdqa xmm10, xmm0",
            "movdqa xmm11, xmm0", "movdqa xmm12, xmm0", "movdqa xmm13, xmm0", "movdqa xmm14, xmm0",
            "movdqa xmm15, xmm0",
            "fldl2e", "fldl2e", "fldl2e", "fldl2e", "fldl2e", "fldl2e", "fldl2e", "fldl2e",
            "fstp st(0)", "fstp st(0)", "fstp st(0)", "fstp st(0)", "fstp st(0)", "fstp st(0)", "fstp st(0)",
            "fstp st(0)",
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _,
            out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _,
            out("xmm13") _, out("xmm14") _, out("xmm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _, out("st(4)") _, out("st(5)") _,
            out("st(6)") _, out("st(7)") _,
            options(nomem, nostack)
        );
    }
}

/// MXCSR without its sticky flags, and the x87 control word.
fn control_words() -> (u32, u16) {
    let (mut mxcsr, mut control) = (0u32, 0u16);
    // SAFETY: both instructions only store, to the two variables.
    unsafe {
        asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &raw mut mxcsr, in(reg) &raw mut control,
             options(nostack, preserves_flags));
    }
    (mxcsr & !0x3F, control)
}
