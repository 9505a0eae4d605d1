//! A state for tests.

use super::EntryState;

/// Fields with their values; nothing else is known.
pub(crate) struct Known(pub &'static [(u32, u64)]);

impl EntryState for Known {
    fn field(&self, number: u32, _bytes: u32) -> Option<u64> {
        self.0.iter().find(|(field, _)| *field == number).map(|(_, value)| *value)
    }

    fn memory(&self, _address: u64, _bytes: u32) -> Option<u64> {
        None
    }
}
