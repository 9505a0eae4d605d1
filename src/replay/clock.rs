//! The one place where the library reads the host's time for a vCPU.

use core::cell::Cell;

use crate::host;

/// The host's time, or the moment that a recording has fixed: all of what one exit leads to happens at one time.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    fixed: Option<u64>,
    used: Cell<bool>,
    replaying: bool,
}

impl Clock {
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match self.fixed {
            None => host::timestamp(),
            Some(time) => {
                self.used.set(true);
                time
            }
        }
    }

    /// From now on it is this time.
    pub(crate) fn fix(&mut self, time: u64) {
        self.fixed = Some(time);
        self.used.set(false);
    }

    /// Time goes on. The moment that it was, if anybody wanted to know.
    pub(crate) fn release(&mut self) -> Option<u64> {
        let time = self.fixed.take();
        if self.used.get() { time } else { None }
    }

    /// Whether the guest's timers are a log's business, and not the host's.
    pub(crate) fn is_replaying(&self) -> bool {
        self.replaying
    }

    pub(crate) fn set_replaying(&mut self, on: bool) {
        self.replaying = on;
    }
}
