//! HLT, and interrupts that end it.

use super::Outcome;
use super::session::{Session, unexpected};
use crate::guests;
use crate::vm::Exit;

/// The vector that wakes the guest.
const WAKE: u8 = 0x30;

/// A guest that halts until the VMM injects an interrupt.
pub fn halt() -> Outcome {
    Session::new(guests::halt())?.run(|_, cpu, exit| match exit {
        Exit::Halt => Ok(cpu.inject_interrupt(WAKE)?),
        other => unexpected(&other),
    })
}
