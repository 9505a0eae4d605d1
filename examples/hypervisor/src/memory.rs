//! Physical memory, and who uses what.
//!
//! | from | what |
//! |---|---|
//! | 8000h | the other CPUs' first instructions, while they start |
//! | 8F000h | the ROM's information block and the command line |
//! | 1 MiB | the image, with its static data and stacks |
//! | 8 MiB | the heap ([`heap`](crate::heap)) |
//! | 16 MiB | frames: the vCPUs' structures, nested page tables, guest memory |
//!
//! All of it is mapped one to one. 80 MiB are enough; nobody is asked how much there is.

use core::ops::Range;

use spin::Mutex;

/// Where the heap lies.
pub const HEAP: Range<usize> = 0x0080_0000..0x0100_0000;
const FRAMES: Range<usize> = 0x0100_0000..0x0500_0000;

/// The size of a frame and of a page.
pub const FRAME_SIZE: usize = 4096;
const FRAME_COUNT: usize = (FRAMES.end - FRAMES.start) / FRAME_SIZE;
const WORD_BITS: usize = u64::BITS as usize;

static ALLOCATOR: Mutex<FrameAllocator> =
    Mutex::new(FrameAllocator { used: [0; FRAME_COUNT / WORD_BITS], allocated: 0, freed: 0, until_failure: None });

/// Gives the lowest free frame, so that a fresh machine gives consecutive ones.
struct FrameAllocator {
    /// A bit for each frame.
    used: [u64; FRAME_COUNT / WORD_BITS],
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

/// Takes `count` consecutive frames; the physical address of the first.
pub fn allocate_frames(count: usize) -> Option<usize> {
    let mut allocator = ALLOCATOR.lock();
    if let Some(remaining) = &mut allocator.until_failure {
        *remaining = remaining.checked_sub(1)?;
    }
    let first = allocator.find(count)?;
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

    fn find(&self, count: usize) -> Option<usize> {
        let start = self.used.iter().position(|word| *word != u64::MAX)? * WORD_BITS;
        let mut free = 0;
        for frame in start..FRAME_COUNT {
            free = if self.is_used(frame) { 0 } else { free + 1 };
            if free == count {
                return Some(frame + 1 - count);
            }
        }
        None
    }
}
