//! What ends a guest: a triple fault of its own, or state with which it cannot be entered.

use alloc::format;

use x86_vcpu::guest::registers::SystemRegisters;
use x86_vcpu::spec::x86::registers::Cr4;

use super::machine::{Machine, print_output, unexpected};
use super::{Outcome, check};
use crate::guests;
use crate::vm::{Exit, VmCpu};

/// A guest without handlers for its exceptions.
pub fn triple_fault() -> Outcome {
    let mut machine = Machine::new(guests::triple_fault())?;
    let exit = machine.cpu.run(&machine.vm)?;
    print_output(&machine.cpu);
    check(exit == Exit::Shutdown, || format!("expected a shutdown, not {exit:x?}"))
}

/// The VMM sets state that no CPU accepts (64-bit mode without PAE), sees the entry fail, and mends it; the guest goes on.
/// Once before the guest has run at all, and once afterwards: a failed launch is no launch.
pub fn entry_failure() -> Outcome {
    let mut machine = Machine::new(guests::entry_failure())?;
    let sound = machine.cpu.inner().system()?.cr4;
    set_cr4(&mut machine.cpu, sound.without(Cr4::PAE))?;
    let mut failures = 0;
    let outcome = machine.run(|_, cpu, exit| match exit {
        Exit::Yield => set_cr4(cpu, sound.without(Cr4::PAE)),
        Exit::EntryFailure => {
            failures += 1;
            set_cr4(cpu, sound)
        }
        other => unexpected(&other),
    });
    outcome?;
    check(failures == 2, || format!("{failures} entries failed"))
}

fn set_cr4(cpu: &mut VmCpu, cr4: Cr4) -> Outcome {
    let state = cpu.inner().system()?;
    Ok(cpu.inner().set_system(&SystemRegisters { cr4, ..state })?)
}
