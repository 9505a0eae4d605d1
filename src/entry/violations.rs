//! One broken rule after the other.

use core::{fmt, slice};

use super::{EntryCapabilities, EntryCheck, EntryState, Violation};

/// The rules that a state breaks, in the order of the tables. Each is looked for when it is asked for.
pub struct Violations<'a> {
    state: &'a dyn EntryState,
    capabilities: &'a dyn EntryCapabilities,
    checks: slice::Iter<'static, &'static EntryCheck>,
    /// The rule of which more entries may break it, and the first of them.
    more: Option<(&'static EntryCheck, u32)>,
}

impl<'a> Violations<'a> {
    /// Of these rules.
    pub fn of(
        checks: &'static [&'static EntryCheck],
        state: &'a dyn EntryState,
        capabilities: &'a dyn EntryCapabilities,
    ) -> Self {
        Violations { state, capabilities, checks: checks.iter(), more: None }
    }
}

impl Iterator for Violations<'_> {
    type Item = Violation;

    fn next(&mut self) -> Option<Violation> {
        loop {
            let (check, start) = match self.more.take() {
                Some(more) => more,
                None => (*self.checks.next()?, 0),
            };
            if let Some(violation) = check.broken(self.state, self.capabilities, start) {
                self.more = violation.entry.map(|entry| (check, entry.saturating_add(1)));
                return Some(violation);
            }
        }
    }
}

impl fmt::Debug for Violations<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Violations").field("left", &self.checks.as_slice().len()).finish_non_exhaustive()
    }
}
