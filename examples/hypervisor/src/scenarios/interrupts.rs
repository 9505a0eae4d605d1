//! Interrupts from the VMM: those that end HLT, and those that cannot be masked.

use super::Outcome;
use super::machine::{Machine, unexpected};
use crate::guests;
use crate::vm::Exit;

/// The vector that wakes the guest.
const WAKE: u8 = 0x30;

/// A guest that halts until the VMM injects an interrupt.
pub fn halt() -> Outcome {
    Machine::new(guests::halt())?.run(|_, cpu, exit| match exit {
        Exit::Halt => Ok(cpu.inject_interrupt(WAKE)?),
        other => unexpected(&other),
    })
}

/// A guest that gets an NMI whenever it lets the VMM do something.
pub fn nmi() -> Outcome {
    Machine::new(guests::nmi())?.run(|_, cpu, exit| match exit {
        Exit::Yield => {
            cpu.inner().inject_nmi();
            Ok(())
        }
        other => unexpected(&other),
    })
}
