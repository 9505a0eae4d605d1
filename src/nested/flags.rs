//! Looking through what is mapped, and the flags that the CPU sets when it uses a page.
//!
//! SDM volume 3C, "Accessed and Dirty Flags for EPT"; APM volume 2, "Nested Paging".

use super::{BOTTOM_SHIFT, NestedTable, Translation, range_end};
use crate::{
    Error, Result,
    frame::{FrameSource, HostFrames},
};

/// The pages that a table maps in a range, by address: see [`NestedTable::leaves`].
#[derive(Debug)]
pub struct Leaves<'a, S: FrameSource = HostFrames> {
    table: &'a NestedTable<S>,
    at: u64,
    end: u64,
}

impl<S: FrameSource> Iterator for Leaves<'_, S> {
    type Item = (u64, Translation);

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.end {
            let slot = self.table.slot(self.at, BOTTOM_SHIFT);
            let begin = slot.begin(self.at);
            self.at = slot.end(self.at);
            if let Some(translation) = slot.translation(begin, &self.table.capabilities) {
                return Some((begin, translation));
            }
        }
        None
    }
}

impl<S: FrameSource> NestedTable<S> {
    /// The pages that lie in a range, at least in part, with the first address of each.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a bad range.
    pub fn leaves(&self, gpa: u64, size: u64) -> Result<Leaves<'_, S>> {
        Ok(Leaves { table: self, at: gpa, end: range_end(gpa, size)? })
    }

    /// Clears the accessed flags of the pages that lie in a range, at least in part. A CPU that knows a page already sets its
    /// flag again only after it has forgotten its translations ([`is_stale`](NestedTable::is_stale)).
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a bad range, [`Error::Unsupported`] when the CPU sets no such flags.
    pub fn clear_accessed(&mut self, gpa: u64, size: u64) -> Result {
        self.clear_flags(gpa, size, true, false)
    }

    /// The same for the dirty flags. A log of dirty pages ([`start_dirty_log`](NestedTable::start_dirty_log)) needs none of this,
    /// and loses what is cleared here.
    ///
    /// # Errors
    /// As [`clear_accessed`](NestedTable::clear_accessed).
    pub fn clear_dirty(&mut self, gpa: u64, size: u64) -> Result {
        self.clear_flags(gpa, size, false, true)
    }

    fn clear_flags(&mut self, gpa: u64, size: u64, accessed: bool, dirty: bool) -> Result {
        let end = range_end(gpa, size)?;
        if !self.capabilities.accessed_dirty {
            return Err(Error::Unsupported("accessed and dirty flags in nested page tables"));
        }
        let mut at = gpa;
        while at < end {
            let slot = self.slot(at, BOTTOM_SHIFT);
            self.stale |= slot.clear_flags(accessed, dirty);
            at = slot.end(at);
        }
        Ok(())
    }
}
