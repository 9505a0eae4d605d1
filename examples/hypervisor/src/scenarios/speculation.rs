//! The guest's controls of speculation, and the host's.

use alloc::format;

use x86_vcpu::SpeculationPolicy;

use super::machine::{Machine, unexpected};
use super::{Outcome, check};
use crate::guests;
use crate::vm::Exit;

const IA32_SPEC_CTRL: u32 = 0x48;

/// A guest uses its controls, under a policy that does nothing and under one that does all the CPU can.
pub fn speculation() -> Outcome {
    let mut machine = Machine::new(guests::speculation())?;
    let policy = machine.cpu.inner().speculation_policy();
    check(policy == SpeculationPolicy::for_this_cpu(), || format!("the default is {policy:?}"))?;
    machine.run(|_, cpu, exit| match exit {
        Exit::Yield => {
            let mut all = SpeculationPolicy::NONE;
            (all.flush_l1d, all.clear_buffers, all.barrier_between_vcpus) = (true, true, true);
            all.fill_return_stack = true;
            cpu.inner().set_speculation_policy(all);
            // SAFETY: the guest yields only where CPUID says that there is the register.
            let host = unsafe { rdmsr(IA32_SPEC_CTRL) };
            check(host == 0, || format!("the host runs with the guest's {host:#x}"))
        }
        other => unexpected(&other),
    })
}

/// Exits that fill the return stack buffer, on any CPU: the guest sees no difference, and the policy changes between two runs.
pub fn return_stack() -> Outcome {
    let mut machine = Machine::new(guests::long())?;
    let mut policy = SpeculationPolicy::NONE;
    policy.fill_return_stack = true;
    machine.cpu.inner().set_speculation_policy(policy);
    machine.run(|_, cpu, exit| match exit {
        Exit::Yield => {
            let mut policy = cpu.inner().speculation_policy();
            policy.fill_return_stack = !policy.fill_return_stack;
            cpu.inner().set_speculation_policy(policy);
            Ok(())
        }
        other => unexpected(&other),
    })
}

/// # Safety
/// The CPU must have the register.
unsafe fn rdmsr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller's promise; the image runs in ring 0.
    unsafe {
        core::arch::asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high,
                         options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}
