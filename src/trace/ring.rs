//! The memory of a trace: records in one frame, or in as many as it takes.

use memory_addr::PAGE_SIZE_4K;

use crate::{
    Error, Result,
    frame::{FrameSource, Framed, PhysFrame},
};

/// What is kept of an exit: words as the CPU has them, which somebody who looks puts in words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Record {
    /// The time-stamp counter before the entry that the exit ended, and right after the exit.
    pub(super) entered: u64,
    pub(super) exited: u64,
    pub(super) rip: u64,
    /// What an older exit has left there, if this one has no information.
    pub(super) info: [u64; 2],
    /// What was moved, where `marks` says that there is something.
    pub(super) value: u64,
    /// VMX: the exit-reason word. SVM: the lower half of the exit code.
    pub(super) code: u32,
    pub(super) marks: Marks,
    pub(super) eax: u32,
    pub(super) ecx: u32,
}

/// What became of an exit: written as one word where there is nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(4))]
pub(super) struct Marks {
    /// The number of the [`Answer`](crate::exit::Answer).
    pub(super) answer: u8,
    /// Whether there is a value.
    pub(super) has_value: bool,
    /// The type of the event that the next entry injected, with [`INJECTED`] if it injected one.
    pub(super) event_type: u8,
    /// Its vector.
    pub(super) event_vector: u8,
}

/// There is an event. No type has this bit.
pub(super) const INJECTED: u8 = 1 << 7;

/// The records of a frame.
const PER_FRAME: usize = PAGE_SIZE_4K / size_of::<Record>();
/// What one frame holds: the length of a trace when nobody says another one.
pub(crate) const ONE_FRAME: usize = PER_FRAME;

/// A frame of them.
type Block<S> = Framed<[Record; PER_FRAME], S>;

/// The last exits.
pub(super) struct Ring<S: FrameSource> {
    /// The newest record, which is in `current`; before the first one, that frame's last record.
    newest: *mut Record,
    /// How many exits there were before the one in this frame's first record.
    before: u64,
    /// How many exits are kept. There may be room for more, up to whole frames.
    length: usize,
    /// The frame with the newest record.
    current: Block<S>,
    /// The other frames, if there are more.
    others: Option<Others<S>>,
}

// SAFETY: `newest` points into a frame that the ring owns, as the frames' own pointers do.
unsafe impl<S: FrameSource> Send for Ring<S> where Block<S>: Send {}
// SAFETY: as above; it is followed with `&mut self` only.
unsafe impl<S: FrameSource> Sync for Ring<S> where Block<S>: Sync {}

impl<S: FrameSource> Ring<S> {
    /// Room for so many exits, at least one.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; [`Error::InvalidInput`] for more than [`MOST`].
    pub(super) fn new(length: usize) -> Result<Self> {
        if length > MOST {
            return Err(Error::InvalidInput("a trace of that many exits"));
        }
        let frames = length.div_ceil(PER_FRAME);
        let current = block()?;
        Ok(Self {
            newest: first(&current).wrapping_add(PER_FRAME - 1),
            before: 0_u64.wrapping_sub(PER_FRAME as u64),
            length,
            current,
            others: if frames > 1 { Some(Others::new(frames)?) } else { None },
        })
    }

    /// The place for one more exit, in which one may stand that is kept no longer.
    #[inline(always)]
    pub(super) fn next(&mut self) -> &mut Record {
        let mut next = self.newest.wrapping_add(1);
        if next.addr().is_multiple_of(PAGE_SIZE_4K) {
            next = self.turn_over();
        }
        self.newest = next;
        self.newest()
    }

    /// The last exit, or before the first one some memory.
    #[inline(always)]
    pub(super) fn newest(&mut self) -> &mut Record {
        // SAFETY: a frame is 4096 bytes, aligned to 4096, and full of records: `newest` has one of `current`'s, from `new` on and
        // after each step by one, which begins again where the next would be in another page. `&mut self` makes this the only reference.
        unsafe { &mut *self.newest }
    }

    /// The frame is full. The first record of the next one.
    #[cold]
    #[inline(never)]
    fn turn_over(&mut self) -> *mut Record {
        // Before the very first exit nothing is full.
        if self.count() != 0
            && let Some(others) = &mut self.others
        {
            others.turn_over(&mut self.current);
        }
        self.before = self.before.wrapping_add(PER_FRAME as u64);
        first(&self.current)
    }

    /// How many exits there were.
    pub(super) fn count(&self) -> u64 {
        let newest = self.newest.addr().wrapping_sub(first(&self.current).addr()) / size_of::<Record>();
        self.before.wrapping_add(newest as u64).wrapping_add(1)
    }

    /// The number of the oldest exit that is kept; the first one ever is 0.
    pub(super) fn oldest(&self) -> u64 {
        self.count().saturating_sub(self.length as u64)
    }

    /// The exit with this number, if it is kept.
    pub(super) fn get(&self, number: u64) -> Option<&Record> {
        if !(self.oldest()..self.count()).contains(&number) {
            return None;
        }
        let room = self.length.div_ceil(PER_FRAME).saturating_mul(PER_FRAME);
        let place = number.checked_rem(room as u64)? as usize;
        let (frame, index) = (place / PER_FRAME, place % PER_FRAME);
        let block = match &self.others {
            Some(others) if frame != others.current => others.slots().get(frame)?.as_ref()?,
            _ => &self.current,
        };
        block.get(index)
    }
}

fn first<S: FrameSource>(block: &Block<S>) -> *mut Record {
    block.as_ptr().cast()
}

fn block<S: FrameSource>() -> Result<Block<S>> {
    Framed::new([Record::default(); PER_FRAME])
}

/// A place for a frame.
type Slot<S> = Option<Block<S>>;
/// How many frames there can be: their places fill one.
const FRAMES: usize = PAGE_SIZE_4K / size_of::<Slot<crate::HostFrames>>();
/// The most exits that are kept.
pub(super) const MOST: usize = FRAMES * PER_FRAME;

/// All frames but the one that is being filled, in the order in which they are.
struct Others<S: FrameSource> {
    /// An array of [`FRAMES`] slots.
    slots: PhysFrame<S>,
    /// How many frames there are, the current one included.
    frames: usize,
    /// The slot of the current frame, which is empty.
    current: usize,
}

impl<S: FrameSource> Others<S> {
    fn new(frames: usize) -> Result<Self> {
        let slots = PhysFrame::alloc()?;
        // SAFETY: a frame is 4096 bytes, aligned to 4096, and ours alone; the array is that large at most.
        unsafe { slots.as_mut_ptr().cast::<[Slot<S>; FRAMES]>().write([const { None }; FRAMES]) };
        let mut others = Self { slots, frames, current: 0 };
        for slot in others.slots_mut().iter_mut().take(frames).skip(1) {
            *slot = Some(block()?);
        }
        Ok(others)
    }

    fn slots(&self) -> &[Slot<S>; FRAMES] {
        // SAFETY: `new` has put the array there; it lives as long as the frame does, and changes need `&mut self`.
        unsafe { &*self.slots.as_mut_ptr().cast() }
    }

    fn slots_mut(&mut self) -> &mut [Slot<S>; FRAMES] {
        // SAFETY: as in `slots`; `&mut self` makes this the only reference.
        unsafe { &mut *self.slots.as_mut_ptr().cast() }
    }

    /// Goes on to the next frame.
    fn turn_over(&mut self, current: &mut Block<S>) {
        let old = self.current;
        let next = if old.wrapping_add(1) < self.frames { old.wrapping_add(1) } else { 0 };
        let Some(block) = self.slots_mut().get_mut(next).and_then(Option::take) else { return };
        let full = core::mem::replace(current, block);
        if let Some(slot) = self.slots_mut().get_mut(old) {
            *slot = Some(full);
        }
        self.current = next;
    }
}

impl<S: FrameSource> Drop for Others<S> {
    fn drop(&mut self) {
        for slot in self.slots_mut() {
            *slot = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::nested::mock::MockFrames;

    fn ring(length: usize) -> Ring<MockFrames> {
        Ring::new(length).expect("frames")
    }

    fn record(ring: &mut Ring<MockFrames>, number: u64) {
        *ring.next() = Record { rip: number, ..Record::default() };
    }

    fn kept(ring: &Ring<MockFrames>) -> Vec<u64> {
        (ring.oldest()..ring.count()).map(|number| ring.get(number).expect("it is kept").rip).collect()
    }

    #[test]
    fn a_record_is_a_cache_line() {
        assert_eq!((size_of::<Record>(), PER_FRAME, MOST), (64, 64, 16384));
        assert_eq!(size_of::<Slot<MockFrames>>(), size_of::<Slot<crate::HostFrames>>());
    }

    #[test]
    fn the_last_ones_are_kept() {
        // One, less than a frame, one frame, two whose second is not full, whole ones, and many.
        for length in [1, 2, 3, 63, 64, 65, 100, 128, 129, 64 * 7 + 1] {
            let mut ring = ring(length);
            assert_eq!((ring.count(), kept(&ring)), (0, Vec::new()));
            for number in 0..3 * length as u64 + 5 {
                record(&mut ring, number);
                assert_eq!(ring.newest().rip, number);
                let all: Vec<u64> = (0..=number).collect();
                assert_eq!(kept(&ring), all[all.len().saturating_sub(length)..], "{length} after {number}");
                assert_eq!(ring.count(), number + 1);
                assert!(ring.get(number + 1).is_none());
                assert!(ring.oldest().checked_sub(1).is_none_or(|gone| ring.get(gone).is_none()));
            }
        }
    }

    #[test]
    fn a_trace_has_a_limit() {
        assert!(matches!(Ring::<MockFrames>::new(MOST + 1), Err(Error::InvalidInput(_))));
        assert!(matches!(Ring::<MockFrames>::new(usize::MAX), Err(Error::InvalidInput(_))));
        let mut ring = ring(MOST);
        for number in 0..MOST as u64 + 1 {
            record(&mut ring, number);
        }
        assert_eq!(kept(&ring).first(), Some(&1));
    }
}
