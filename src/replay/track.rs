//! Counting the guest's instructions, from one exit to the next disturbance.
//!
//! The host's time-stamp counter is read before each entry and after its exit. Where it counts instructions, the difference is
//! what the guest has executed, and what the world switch takes: the same each time, and measured once, by an entry that
//! stops before the guest's first instruction.

use super::engine::{Happened, Step};
use crate::{Error, Result};

/// How often an entry may fail to measure: one whose first instruction is not mapped yet does.
const ATTEMPTS: u8 = 4;

/// How far the guest is from the last exit or position.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Track {
    /// What the counter shows of an entry in which the guest executes nothing.
    overhead: Option<u64>,
    /// How many entries were to measure it, and did not stop there.
    failures: u8,
    /// The guest's instructions since then.
    pub(super) instructions: u64,
    /// Whether the guest was entered, and disturbed.
    pub(super) disturbed: bool,
}

impl Track {
    /// The guest is where the log knows of it.
    pub(super) fn anchor(&mut self) {
        self.instructions = 0;
        self.disturbed = false;
    }

    /// The guest has been entered.
    pub(super) fn entered(&mut self, step: &Step) {
        // An entry that was to measure has executed nothing when the host disturbs it.
        let executed = step.ticks.saturating_sub(self.overhead.unwrap_or(step.ticks));
        self.instructions = self.instructions.saturating_add(executed);
        if let Happened::Host(_) = step.happened {
            self.disturbed = true;
        }
    }

    /// Whether the next entry has to be one that stops before the guest's first instruction.
    pub(super) fn has_to_measure(&self) -> bool {
        self.overhead.is_none() && self.failures < ATTEMPTS
    }

    /// That entry has gone on to an exit.
    pub(super) fn not_measured(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// Whether the guest's instructions are counted.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a CPU that does not stop where it is to: there the guest cannot be brought to a place.
    pub(super) fn check(&self) -> Result {
        let counts = self.overhead.is_some();
        counts.then_some(()).ok_or(Error::Unsupported("a breakpoint of the host's in a guest (DR7 loaded by VM entry)"))
    }

    /// That entry has stopped.
    pub(super) fn measured(&mut self, step: &Step) {
        self.overhead = Some(step.ticks);
    }
}
