//! What ends a guest: a triple fault of its own, or state with which it cannot be entered.

use alloc::format;

use x86_vcpu::guest::registers::SystemRegisters;
use x86_vcpu::spec::x86::registers::Cr4;

use super::machine::{Machine, print_output, unexpected};
use super::{Outcome, Reason, check};
use crate::guests;
use crate::vm::Exit;

/// A guest without handlers for its exceptions.
pub fn triple_fault() -> Outcome {
    let mut machine = Machine::new(guests::triple_fault())?;
    let exit = machine.cpu.run(&machine.vm)?;
    print_output(&machine.cpu);
    check(exit == Exit::Shutdown, || format!("expected a shutdown, not {exit:x?}"))
}

/// The VMM sets state that no CPU accepts (64-bit mode without PAE), sees the entry fail, and mends it; the guest goes on.
pub fn entry_failure() -> Outcome {
    let mut sound: Option<SystemRegisters> = None;
    let mut failures = 0;
    let outcome = Machine::new(guests::entry_failure())?.run(|_, cpu, exit| match exit {
        Exit::Yield => {
            let state = cpu.inner().system()?;
            sound = Some(state);
            Ok(cpu.inner().set_system(&SystemRegisters { cr4: state.cr4.without(Cr4::PAE), ..state })?)
        }
        Exit::EntryFailure => {
            failures += 1;
            let cr4 = sound.ok_or_else(|| Reason::Failed("it failed too early".into()))?.cr4;
            let state = cpu.inner().system()?;
            Ok(cpu.inner().set_system(&SystemRegisters { cr4, ..state })?)
        }
        other => unexpected(&other),
    });
    outcome?;
    check(failures == 1, || format!("{failures} entries failed"))
}
