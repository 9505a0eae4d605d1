//! Changes of what is mapped already: other memory in the same place, and pages put together again.

use core::mem;

use memory_addr::PhysAddr;

use super::{
    BOTTOM_SHIFT, NestedTable, PageSize, check_hpa, range_end,
    slot::{Content, Slot},
};
use crate::{
    Result,
    frame::{FrameSource, PhysFrame},
};

/// How many addresses a frame holds beside the next one's.
const IN_A_FRAME: usize = 511;

/// Tables that are no longer part of the tree, and that CPUs may still be using. They are listed in frames of their own, because
/// nothing may be written into them.
pub(super) struct Retired<S: FrameSource> {
    list: Option<PhysFrame<S>>,
    /// How many addresses the first frame of the list holds.
    count: usize,
}

impl<S: FrameSource> Default for Retired<S> {
    fn default() -> Self {
        Self { list: None, count: 0 }
    }
}

impl<S: FrameSource> Retired<S> {
    /// Makes room for one more.
    fn reserve(&mut self) -> Result {
        if self.list.is_some() && self.count < IN_A_FRAME {
            return Ok(());
        }
        let frame = PhysFrame::<S>::alloc()?;
        let next = self.list.take().map_or(0, |list| {
            let address = list.start_paddr().as_usize();
            mem::forget(list);
            address
        });
        // SAFETY: the frame is ours; the first of its 512 words holds the address of the next one.
        unsafe { frame.as_mut_ptr().cast::<usize>().write(next) };
        self.list = Some(frame);
        self.count = 0;
        Ok(())
    }

    /// Takes a table in, for which there is room.
    fn push(&mut self, table: PhysAddr) {
        let Some(frame) = self.list.as_ref().filter(|_| self.count < IN_A_FRAME) else { return };
        // SAFETY: the frame is ours, and the index is at most 511.
        unsafe { frame.as_mut_ptr().cast::<usize>().add(1 + self.count).write(table.as_usize()) };
        self.count += 1;
    }

    /// Gives all of them back.
    pub fn free(&mut self) {
        let mut count = mem::take(&mut self.count);
        let mut first = self.list.take();
        while let Some(frame) = first {
            let words = frame.as_mut_ptr().cast::<usize>();
            for index in 1..=count {
                // SAFETY: `push` wrote these words.
                S::dealloc_frame(PhysAddr::from(unsafe { words.add(index).read() }));
            }
            // SAFETY: `reserve` wrote it.
            let next = unsafe { words.read() };
            first = (next != 0).then(|| PhysFrame::adopt(PhysAddr::from(next)));
            // Only the first one may have room left.
            count = IN_A_FRAME;
        }
    }
}

impl<S: FrameSource> NestedTable<S> {
    /// Puts other memory in the place of what is mapped, with the same permissions and memory type. The guest sees the one or
    /// the other, never nothing.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) when an address or the size is no multiple of 4096, out of range, or a
    /// part is not mapped; [`Error::NoMemory`](crate::Error::NoMemory) when a large page cannot be split. Nothing is changed then.
    pub fn remap(&mut self, gpa: u64, hpa: PhysAddr, size: u64) -> Result {
        let end = range_end(gpa, size)?;
        let hpa = hpa.as_usize() as u64;
        check_hpa(hpa, size)?;
        self.check_mapped(gpa, end)?;
        self.split_at(gpa)?;
        self.split_at(end)?;
        // Both ranges were checked: neither ends beyond 52 bits.
        let target = |at: u64| hpa.wrapping_add(at.wrapping_sub(gpa));
        let mut at = gpa;
        while at < end {
            let slot = self.slot(at, BOTTOM_SHIFT);
            if target(at) & slot.offset_bits() != 0 {
                self.grow(&slot)?;
            } else {
                at = slot.end(at);
            }
        }
        let mut at = gpa;
        while at < end {
            let slot = self.slot(at, BOTTOM_SHIFT);
            slot.set_address(target(at));
            at = slot.end(at);
        }
        self.stale = true;
        if let Some(log) = &self.log {
            log.mark(gpa, size);
        }
        Ok(())
    }

    /// Puts small pages of a range together where one large page says the same, and takes out tables that became empty. Says how
    /// many tables became needless; they are given back by [`forgotten`](NestedTable::forgotten).
    ///
    /// The large pages count as accessed and dirty. Pages of which writes are logged stay as they are.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) for a bad range, [`Error::NoMemory`](crate::Error::NoMemory) when there is
    /// no frame for the list of such tables. What was done until then stays done.
    pub fn merge(&mut self, gpa: u64, size: u64) -> Result<usize> {
        let end = range_end(gpa, size)?;
        let mut merged = 0_usize;
        for large in [PageSize::Size2M, PageSize::Size1G] {
            // No range ends beyond 52 bits.
            let mut at = gpa.wrapping_add(large.bytes() - 1) & !(large.bytes() - 1);
            while at < end && end.wrapping_sub(at) >= large.bytes() {
                merged = merged.wrapping_add(usize::from(self.merge_one(at, large)?));
                at = at.wrapping_add(large.bytes());
            }
        }
        Ok(merged)
    }

    fn merge_one(&mut self, gpa: u64, large: PageSize) -> Result<bool> {
        let slot: Slot = self.slot(gpa, large.shift());
        if slot.shift() != large.shift() || slot.content() != Content::Table {
            return Ok(false);
        }
        let mut capabilities = self.capabilities;
        capabilities.largest_page = self.largest;
        let (Some(value), Some(table)) = (slot.merged::<S>(self.format(), &capabilities), slot.table()) else {
            return Ok(false);
        };
        self.retired.reserve()?;
        slot.replace(value);
        self.retired.push(table);
        self.stale = true;
        Ok(true)
    }
}
