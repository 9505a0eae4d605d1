//! Physical memory, and who uses what.
//!
//! | from | what |
//! |---|---|
//! | 8000h | the other CPUs' first instructions, while they start |
//! | 8F000h | in Bochs: the multiboot information block and the command line |
//! | 1 MiB | the image, with its static data and stacks |
//! | 8 MiB | the heap ([`heap`](crate::heap)) |
//! | 16 MiB | frames: the vCPUs' structures, nested page tables, guest memory; and the loader's module somewhere among them |
//!
//! All of it is mapped one to one. The loader, or the command line, says where memory ends; when neither does, 80 MiB are
//! taken to be there.

use core::ops::Range;

use spin::Mutex;

/// Where the heap lies.
pub const HEAP: Range<usize> = 0x0080_0000..0x0100_0000;
/// Where frames may lie: from the heap to where the devices begin.
const FRAMES: Range<usize> = 0x0100_0000..0xC000_0000;
/// Where what is mapped one to one ends.
pub const MAPPED: usize = 1 << 32;
/// Where memory ends if nobody knows.
const UNKNOWN_END: usize = 0x0500_0000;

/// The size of a frame and of a page.
pub const FRAME_SIZE: usize = 4096;
const FRAME_COUNT: usize = (FRAMES.end - FRAMES.start) / FRAME_SIZE;
const WORD_BITS: usize = u64::BITS as usize;

static ALLOCATOR: Mutex<FrameAllocator> = Mutex::new(FrameAllocator {
    used: [0; FRAME_COUNT / WORD_BITS],
    count: 0,
    allocated: 0,
    freed: 0,
    until_failure: None,
});

/// Gives the lowest free frame, so that a fresh machine gives consecutive ones.
struct FrameAllocator {
    /// A bit for each frame.
    used: [u64; FRAME_COUNT / WORD_BITS],
    /// How many frames there are.
    count: usize,
    allocated: u64,
    freed: u64,
    /// When set: how many more allocations succeed.
    until_failure: Option<u64>,
}

/// How often frames were taken and given back since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameCounts {
    /// Frames taken.
    pub allocated: u64,
    /// Frames given back.
    pub freed: u64,
}

/// Says where memory ends (0: nobody knows), and which of it is occupied.
pub fn init(end: usize, occupied: &Range<usize>) {
    let end = if end == 0 { UNKNOWN_END } else { end.clamp(FRAMES.start, FRAMES.end) };
    let mut allocator = ALLOCATOR.lock();
    allocator.count = (end - FRAMES.start) / FRAME_SIZE;
    let first = occupied.start.saturating_sub(FRAMES.start) / FRAME_SIZE;
    let last = occupied.end.saturating_sub(FRAMES.start).div_ceil(FRAME_SIZE).min(allocator.count);
    (first..last).for_each(|frame| allocator.set(frame, true));
}

/// Where the memory ends that the image uses.
pub fn end() -> usize {
    FRAMES.start + ALLOCATOR.lock().count * FRAME_SIZE
}

/// How many bytes of frames are free.
pub fn free_bytes() -> usize {
    let allocator = ALLOCATOR.lock();
    (0..allocator.count).filter(|frame| !allocator.is_used(*frame)).count() * FRAME_SIZE
}

/// Takes `count` consecutive frames; the physical address of the first.
pub fn allocate_frames(count: usize) -> Option<usize> {
    allocate_aligned(count, 1)
}

/// Takes `count` consecutive frames, at an address that is a multiple of `alignment` frames (a power of two).
pub fn allocate_aligned(count: usize, alignment: usize) -> Option<usize> {
    let mut allocator = ALLOCATOR.lock();
    if let Some(remaining) = &mut allocator.until_failure {
        *remaining = remaining.checked_sub(1)?;
    }
    let first = allocator.find(count, alignment)?;
    (first..first + count).for_each(|frame| allocator.set(frame, true));
    allocator.allocated += count as u64;
    Some(FRAMES.start + first * FRAME_SIZE)
}

/// Gives `count` consecutive frames back.
///
/// # Panics
/// When one of them is not in use: somebody gives back twice, or what was never taken.
pub fn free_frames(address: usize, count: usize) {
    assert!(address.is_multiple_of(FRAME_SIZE) && FRAMES.contains(&address), "{address:#x} is not a frame");
    let mut allocator = ALLOCATOR.lock();
    let first = (address - FRAMES.start) / FRAME_SIZE;
    for frame in first..first + count {
        assert!(allocator.is_used(frame), "the frame at {address:#x} is free already");
        allocator.set(frame, false);
    }
    allocator.freed += count as u64;
}

/// The counts so far.
pub fn frame_counts() -> FrameCounts {
    let allocator = ALLOCATOR.lock();
    FrameCounts { allocated: allocator.allocated, freed: allocator.freed }
}

/// Runs `body` with an allocator that fails after `successes` allocations.
pub fn with_failure_after<T>(successes: u64, body: impl FnOnce() -> T) -> T {
    ALLOCATOR.lock().until_failure = Some(successes);
    let result = body();
    ALLOCATOR.lock().until_failure = None;
    result
}

impl FrameAllocator {
    fn is_used(&self, frame: usize) -> bool {
        self.used[frame / WORD_BITS] & 1 << (frame % WORD_BITS) != 0
    }

    fn set(&mut self, frame: usize, used: bool) {
        let bit = 1 << (frame % WORD_BITS);
        let word = &mut self.used[frame / WORD_BITS];
        *word = if used { *word | bit } else { *word & !bit };
    }

    fn find(&self, count: usize, alignment: usize) -> Option<usize> {
        let start = self.used.iter().position(|word| *word != u64::MAX)? * WORD_BITS;
        let mut first = start.next_multiple_of(alignment);
        let mut frame = first;
        while frame < self.count {
            if self.is_used(frame) {
                first = (frame + 1).next_multiple_of(alignment);
                frame = first;
                continue;
            }
            frame += 1;
            if frame - first == count {
                return Some(first);
            }
        }
        None
    }
}
