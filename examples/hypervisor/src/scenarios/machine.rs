//! A virtual machine with one vCPU, from its start until its guest ends.

use alloc::format;
use alloc::string::{String, ToString};

use super::{Outcome, Reason, refused};
use crate::guests::Guest;
use crate::print;
use crate::vm::{Exit, Vm, VmCpu};

/// The guest's verdict that all is well.
pub const PASSED: u8 = 0;
/// The guest's verdict that the CPU has not what it is about.
const NOT_APPLICABLE: u8 = 1;

/// A virtual machine with one vCPU.
pub struct Machine {
    /// Its vCPU; dropped first, because it uses the machine's memory.
    pub cpu: VmCpu,
    /// The virtual machine.
    pub vm: Vm,
}

impl Machine {
    /// A machine whose vCPU starts at `guest`.
    pub fn new(guest: Guest) -> Result<Self, Reason> {
        let vm = Vm::new()?;
        let cpu = VmCpu::new(&vm, 0, guest).map_err(refused)?;
        Ok(Self { vm, cpu })
    }

    /// Runs the guest to its end, with `handle` for everything that it and its devices do not settle between them.
    pub fn run(mut self, mut handle: impl FnMut(&Vm, &mut VmCpu, Exit) -> Outcome) -> Outcome {
        let outcome = loop {
            match self.cpu.run(&self.vm) {
                Ok(Exit::Done(verdict)) => break judge(verdict),
                Ok(exit) => {
                    if let Err(reason) = handle(&self.vm, &mut self.cpu, exit) {
                        break Err(reason);
                    }
                }
                Err(error) => break Err(error.into()),
            }
        };
        print_output(&self.cpu);
        outcome
    }
}

/// What the guest's verdict means.
pub fn judge(verdict: u8) -> Outcome {
    match verdict {
        PASSED => Ok(()),
        NOT_APPLICABLE => Err(Reason::Skipped("the CPU does not have it".to_string())),
        other => Err(Reason::Failed(format!("the guest ended with {other}"))),
    }
}

/// What a scenario does not expect. An interrupt of the host may come at any time, though.
pub fn unexpected(exit: &Exit) -> Outcome {
    match exit {
        Exit::Interrupt => Ok(()),
        other => Err(Reason::Failed(format!("unexpected: {other:x?}"))),
    }
}

/// Prints what the guest printed, a `> ` before each line.
pub fn print_output(cpu: &VmCpu) {
    let text = String::from_utf8_lossy(&cpu.output);
    for line in text.lines() {
        print!("> {line}\n");
    }
}
