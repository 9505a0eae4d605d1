//! Physically consecutive frames, which SVM's permission maps need (8 and 12 KiB) and a source of single frames does not
//! promise.
//!
//! They come from the allocator that the embedder registered for them, if it did. Else frames are taken from the ordinary
//! source until some of them happen to be consecutive, and the others are given back: allocators that hand out memory in
//! order, upwards or downwards, give such frames at once. Only one CPU searches at a time: two that took frames by turns
//! would get every second one each.

use core::{
    fmt, hint,
    marker::PhantomData,
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use memory_addr::{MemoryAddr, PAGE_SIZE_4K, PhysAddr};

use super::{FrameSource, HostFrames};
use crate::{Error, Result};

/// How many frames are taken at most in search of consecutive ones.
const ATTEMPTS: usize = 64;
/// How often the search is begun again, with all frames given back, because others take frames meanwhile.
const SEARCHES: usize = 4;
/// How long another CPU's search is waited for. It takes a few allocations; one that was interrupted is not waited for
/// until it goes on, which it might do only after this one.
const SPINS: usize = 1 << 22;

/// An allocator of consecutive frames, for [`register_contiguous_allocator`].
///
/// What it hands out must be visible through [`PhysFrameIf::phys_to_virt`](crate::PhysFrameIf::phys_to_virt), as single
/// frames are.
#[derive(Clone, Copy)]
pub struct ContiguousAllocator {
    /// Takes so many consecutive 4 KiB frames, and returns the address of the first.
    pub alloc: fn(frames: usize) -> Option<PhysAddr>,
    /// Gives back what `alloc` returned for the same number.
    pub dealloc: fn(first: PhysAddr, frames: usize),
}

static REGISTERED: AtomicPtr<ContiguousAllocator> = AtomicPtr::new(ptr::null_mut());

/// Makes vCPUs on AMD take their permission maps (3 and 2 consecutive frames for each) from `allocator`.
///
/// Without one they are searched for among the frames that [`PhysFrameIf`](crate::PhysFrameIf) gives. What an earlier one
/// gave out goes back to it.
///
/// # Safety
/// `allocator` must hand out memory that nobody else uses until it is given back, aligned to 4 KiB.
pub unsafe fn register_contiguous_allocator(allocator: &'static ContiguousAllocator) {
    REGISTERED.store(ptr::from_ref(allocator).cast_mut(), Ordering::Release);
}

fn registered() -> Option<&'static ContiguousAllocator> {
    // SAFETY: the pointer is null or comes from a reference that lives forever, and nobody writes through it.
    unsafe { REGISTERED.load(Ordering::Acquire).as_ref() }
}

/// `N` consecutive frames that are given back when they are dropped.
pub(crate) struct ContiguousFrames<const N: usize, S: FrameSource = HostFrames> {
    first: PhysAddr,
    /// Where they go back to; `None` for the source of single frames.
    allocator: Option<&'static ContiguousAllocator>,
    _source: PhantomData<S>,
}

// SAFETY: as for a single frame: memory that this value alone owns, without a tie to a thread.
unsafe impl<const N: usize, S: FrameSource> Send for ContiguousFrames<N, S> {}

impl<const N: usize, S: FrameSource> ContiguousFrames<N, S> {
    /// Takes them and fills them with one byte.
    ///
    /// # Errors
    /// [`Error::NoMemory`] when the source is exhausted, [`Error::NoContiguousMemory`] when it has no consecutive frames.
    /// Nothing stays allocated.
    pub(crate) fn alloc(fill: u8) -> Result<Self> {
        Self::alloc_from(registered(), fill)
    }

    fn alloc_from(allocator: Option<&'static ContiguousAllocator>, fill: u8) -> Result<Self> {
        let mut frames = match allocator.and_then(|allocator| from_allocator(allocator, N)) {
            Some(first) => Self { first, allocator, _source: PhantomData },
            None => Self { first: search_alone::<N, S>()?, allocator: None, _source: PhantomData },
        };
        for index in 0..N {
            // SAFETY: a frame of ours, 4096 writable bytes that nobody else uses.
            unsafe { frames.frame(index).write_bytes(fill, PAGE_SIZE_4K) };
        }
        Ok(frames)
    }

    /// Fills all frames with one byte.
    pub(crate) fn fill(&mut self, byte: u8) {
        for index in 0..N {
            // SAFETY: a frame of ours, 4096 writable bytes; `&mut self` excludes other users of this value's own.
            unsafe { self.frame(index).write_bytes(byte, PAGE_SIZE_4K) };
        }
    }

    /// The physical address of the first byte.
    pub(crate) fn address(&self) -> u64 {
        self.first.as_usize() as u64
    }

    /// The byte at `offset`; `None` behind the end.
    pub(crate) fn byte_mut(&mut self, offset: usize) -> Option<&mut u8> {
        let (index, within) = (offset / PAGE_SIZE_4K, offset % PAGE_SIZE_4K);
        // SAFETY: the frame was filled when it was taken, `within` lies in it, and `&mut self` makes the reference the only
        // one.
        (index < N).then(|| unsafe { &mut *self.frame(index).add(within) })
    }

    /// Where the host sees one of the frames: they need not be consecutive there.
    fn frame(&mut self, index: usize) -> *mut u8 {
        // One of the frames that were allocated together.
        let offset = index.wrapping_mul(PAGE_SIZE_4K);
        S::phys_to_virt(PhysAddr::from(self.first.as_usize().wrapping_add(offset))).as_mut_ptr()
    }
}

impl<const N: usize, S: FrameSource> Drop for ContiguousFrames<N, S> {
    fn drop(&mut self) {
        match self.allocator {
            Some(allocator) => (allocator.dealloc)(self.first, N),
            None => (0..N).for_each(|index| S::dealloc_frame(self.first + index * PAGE_SIZE_4K)),
        }
    }
}

impl<const N: usize, S: FrameSource> fmt::Debug for ContiguousFrames<N, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContiguousFrames({:#x}, {N})", self.first)
    }
}

/// What the registered allocator gives, unless it cannot be used.
fn from_allocator(allocator: &ContiguousAllocator, count: usize) -> Option<PhysAddr> {
    let first = (allocator.alloc)(count)?;
    if first.as_usize() != 0 && first.is_aligned_4k() {
        return Some(first);
    }
    (allocator.dealloc)(first, count);
    None
}

/// A search is under way on some CPU.
static SEARCHING: AtomicBool = AtomicBool::new(false);

/// The right to search, unless it took too long to get.
struct Search(bool);

impl Search {
    fn begin() -> Self {
        Self((0..SPINS).any(|_| {
            let taken = !SEARCHING.load(Ordering::Relaxed)
                && SEARCHING.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok();
            if !taken {
                hint::spin_loop();
            }
            taken
        }))
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        if self.0 {
            SEARCHING.store(false, Ordering::Release);
        }
    }
}

/// [`search`], undisturbed by other searches, and again where other users of the source may have disturbed it.
fn search_alone<const N: usize, S: FrameSource>() -> Result<PhysAddr> {
    let _alone = Search::begin();
    let mut found = search::<N, S>();
    for _ in 1..SEARCHES {
        if !matches!(found, Err(Error::NoContiguousMemory { .. })) {
            break;
        }
        found = search::<N, S>();
    }
    found
}

/// Takes frames, in ascending order of their addresses, until `N` are consecutive.
fn search<const N: usize, S: FrameSource>() -> Result<PhysAddr> {
    let mut taken = [PhysAddr::from(0); ATTEMPTS];
    let mut count = 0;
    let mut found = Err(Error::NoContiguousMemory { frames: N });
    while count < ATTEMPTS {
        let Some(frame) = S::alloc_frame() else {
            found = Err(Error::NoMemory);
            break;
        };
        let at = taken[..count].partition_point(|other| *other < frame);
        taken[at..=count].rotate_right(1);
        taken[at] = frame;
        count += 1;
        // Only a run that the new frame belongs to can be new.
        if let Some(start) = run_around(&taken[..count], at, N) {
            found = Ok(start);
            break;
        }
    }
    let keep = found.ok().map_or(0..0, |start| start..start + N);
    for (index, frame) in taken[..count].iter().enumerate() {
        if !keep.contains(&index) {
            S::dealloc_frame(*frame);
        }
    }
    found.map(|start| taken[start])
}

/// Where `length` consecutive usable frames start among the sorted ones, if the one at `at` is in such a run.
fn run_around(sorted: &[PhysAddr], at: usize, length: usize) -> Option<usize> {
    let follows = |index: usize| sorted[index].as_usize() + PAGE_SIZE_4K == sorted[index + 1].as_usize();
    // Physical frame 0 is not used, as for single frames.
    let usable = |index: usize| sorted[index].as_usize() != 0 && sorted[index].is_aligned_4k();
    if !usable(at) {
        return None;
    }
    let mut start = at;
    while start > 0 && at + 1 - start < length && follows(start - 1) && usable(start - 1) {
        start -= 1;
    }
    let mut end = at;
    while end + 1 < sorted.len() && end + 1 - start < length && follows(end) {
        end += 1;
    }
    (end + 1 - start == length).then_some(start)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{
        alloc::{Layout, alloc_zeroed},
        cell::RefCell,
        sync::{Mutex, atomic::AtomicUsize},
        thread,
        time::{Duration, Instant},
        vec::Vec,
    };

    use memory_addr::VirtAddr;

    use super::*;

    const FRAMES: usize = 200;

    std::thread_local! {
        /// The frames that are free, in the order in which they are given out (from the end), and where frame 0 lies.
        static FREE: RefCell<(Vec<usize>, usize)> = const { RefCell::new((Vec::new(), 0)) };
    }

    /// Frames of this thread.
    struct Test;

    // SAFETY: the frames are parts of one allocation that is never freed, and `FREE` holds each number once.
    unsafe impl FrameSource for Test {
        fn alloc_frame() -> Option<PhysAddr> {
            FREE.with_borrow_mut(|(free, base)| free.pop().map(|number| PhysAddr::from(*base + number * PAGE_SIZE_4K)))
        }
        fn dealloc_frame(paddr: PhysAddr) {
            FREE.with_borrow_mut(|(free, base)| {
                let number = (paddr.as_usize() - *base) / PAGE_SIZE_4K;
                assert!(!free.contains(&number), "freed twice");
                free.push(number);
            });
        }
        fn phys_to_virt(paddr: PhysAddr) -> VirtAddr {
            VirtAddr::from(paddr.as_usize())
        }
    }

    /// Makes these frames free, to be taken in this order.
    fn free_frames(numbers: impl IntoIterator<Item = usize>) {
        let layout = Layout::from_size_align(FRAMES * PAGE_SIZE_4K, PAGE_SIZE_4K).expect("a valid layout");
        // SAFETY: the layout has a size.
        let base = unsafe { alloc_zeroed(layout) }.addr();
        let mut free: Vec<usize> = numbers.into_iter().collect();
        free.reverse();
        FREE.set((free, base));
    }

    fn free_now() -> usize {
        FREE.with_borrow(|(free, _)| free.len())
    }

    fn number(address: u64) -> usize {
        FREE.with_borrow(|(_, base)| (address as usize - base) / PAGE_SIZE_4K)
    }

    #[test]
    fn ascending_and_descending_sources_give_them_at_once() {
        free_frames(10..100);
        let maps = ContiguousFrames::<3, Test>::alloc_from(None, 0xff).expect("ascending");
        assert_eq!((number(maps.address()), free_now()), (10, 87));
        drop(maps);
        assert_eq!(free_now(), 90);
        free_frames((10..100).rev());
        let maps = ContiguousFrames::<2, Test>::alloc_from(None, 0).expect("descending");
        assert_eq!((number(maps.address()), free_now()), (98, 88));
    }

    #[test]
    fn a_run_is_found_among_scattered_frames() {
        free_frames([5, 1, 9, 6, 20, 3, 22, 21, 7]);
        let maps = ContiguousFrames::<3, Test>::alloc_from(None, 0xff).expect("20, 21, 22");
        assert_eq!((number(maps.address()), free_now()), (20, 6));
        drop(maps);
        assert_eq!(free_now(), 9);
    }

    #[test]
    fn without_a_run_nothing_stays_taken() {
        free_frames((0..FRAMES).filter(|number| number % 2 == 0));
        let error = ContiguousFrames::<2, Test>::alloc_from(None, 0).expect_err("only every second frame is free");
        assert_eq!((error, free_now()), (Error::NoContiguousMemory { frames: 2 }, FRAMES / 2));
        free_frames([1, 3]);
        assert_eq!(ContiguousFrames::<2, Test>::alloc_from(None, 0).expect_err("two frames"), Error::NoMemory);
        assert_eq!(free_now(), 2);
    }

    /// How many frames of `Shared` were taken so far, and which are free, the lowest first to go.
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    static SHARED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

    /// Frames of all threads, which take them by turns whenever more than one wants them.
    struct Shared;

    // SAFETY: the frames are never looked into, and `SHARED` holds each once.
    unsafe impl FrameSource for Shared {
        fn alloc_frame() -> Option<PhysAddr> {
            let frame = SHARED.lock().expect("no panic").pop();
            let turn = TAKEN.fetch_add(1, Ordering::SeqCst) + 1;
            let until = Instant::now() + Duration::from_millis(2);
            while TAKEN.load(Ordering::SeqCst) == turn && Instant::now() < until {
                thread::yield_now();
            }
            frame.map(PhysAddr::from)
        }
        fn dealloc_frame(paddr: PhysAddr) {
            let mut free = SHARED.lock().expect("no panic");
            free.push(paddr.as_usize());
            free.sort_unstable_by(|one, other| other.cmp(one));
        }
        fn phys_to_virt(_: PhysAddr) -> VirtAddr {
            unreachable!("nobody looks into them")
        }
    }

    #[test]
    fn searches_on_several_cpus_do_not_starve_each_other() {
        SHARED.lock().expect("no panic").extend((1..=400).rev().map(|number| number * PAGE_SIZE_4K));
        let found = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..4).map(|_| search_alone::<3, Shared>()).collect::<Result<Vec<_>>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic").expect("enough frames")).collect()
        });
        let found: Vec<PhysAddr> = found;
        let mut frames: Vec<_> =
            found.iter().flat_map(|first| (0..3).map(|index| *first + index * PAGE_SIZE_4K)).collect();
        frames.sort_unstable();
        frames.dedup();
        assert_eq!((frames.len(), SHARED.lock().expect("no panic").len()), (48, 352));
    }

    #[test]
    fn every_byte_is_filled_and_reachable() {
        free_frames(0..10);
        let mut maps = ContiguousFrames::<2, Test>::alloc_from(None, 0xa5).expect("consecutive frames");
        assert!((0..2 * PAGE_SIZE_4K).all(|offset| maps.byte_mut(offset).is_some_and(|byte| *byte == 0xa5)));
        assert!(maps.byte_mut(2 * PAGE_SIZE_4K).is_none());
    }

    #[test]
    fn a_registered_allocator_comes_first() {
        static ODD: ContiguousAllocator = ContiguousAllocator {
            alloc: |_| {
                Test::alloc_frame().and(FREE.with_borrow(|(_, base)| Some(PhysAddr::from(*base + 100 * PAGE_SIZE_4K))))
            },
            dealloc: |first, frames| {
                assert_eq!((number(first.as_usize() as u64), frames), (100, 3));
                Test::dealloc_frame(FREE.with_borrow(|(_, base)| PhysAddr::from(*base)));
            },
        };
        static NONE: ContiguousAllocator = ContiguousAllocator { alloc: |_| None, dealloc: |_, _| unreachable!() };
        free_frames([0]);
        let maps = ContiguousFrames::<3, Test>::alloc_from(Some(&ODD), 0).expect("from the allocator");
        assert_eq!((number(maps.address()), free_now()), (100, 0));
        drop(maps);
        assert_eq!(free_now(), 1);
        free_frames(0..3);
        let maps = ContiguousFrames::<3, Test>::alloc_from(Some(&NONE), 0).expect("from single frames");
        assert_eq!(number(maps.address()), 0);
    }
}
