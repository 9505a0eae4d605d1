//! The host's own interrupts, while a guest runs that never exits.

use super::Outcome;
use super::machine::{Machine, unexpected};
use crate::vm::{Exit, SCRATCH};
use crate::{apic, cpu, guests, interrupts};

/// How often the host is interrupted before the guest is told to go on.
const TICKS: u64 = 3;
/// The time between two of them: longer than what handling one takes, in emulators that count instructions.
const PERIOD: u64 = 200_000;

/// A guest that spins until the VMM writes to its memory, which happens after some timer interrupts.
pub fn host_timer() -> Outcome {
    let machine = Machine::new(guests::host_timer())?;
    let mut start = interrupts::ticks();
    apic::start_timer(PERIOD);
    let outcome = machine.run(|vm, _, exit| match exit {
        Exit::Interrupt => {
            if interrupts::ticks() >= start + TICKS {
                vm.memory.lock().write_u32(SCRATCH, 1);
            }
            Ok(())
        }
        // The second half begins.
        Exit::Yield => {
            start = interrupts::ticks();
            Ok(())
        }
        other => unexpected(&other),
    });
    apic::stop_timer();
    // The last one may still be on its way.
    cpu::take_pending_interrupts();
    outcome
}
