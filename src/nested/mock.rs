//! Frames for tests: of the test's own thread, counted, and as few as the test likes.

extern crate std;

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    cell::RefCell,
    collections::BTreeSet,
    thread_local,
};

use memory_addr::{PhysAddr, VirtAddr};

use crate::frame::FrameSource;

/// Physical addresses are the process's virtual ones.
#[derive(Debug)]
pub(crate) struct MockFrames;

struct State {
    live: BTreeSet<usize>,
    left: usize,
}

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State { live: BTreeSet::new(), left: usize::MAX }) };
}

const FRAME: Layout = match Layout::from_size_align(4096, 4096) {
    Ok(layout) => layout,
    Err(_) => panic!("a frame has a layout"),
};

impl MockFrames {
    /// Lets so many more allocations succeed.
    pub fn limit(left: usize) {
        STATE.with_borrow_mut(|state| state.left = left);
    }

    /// How many frames are allocated.
    pub fn live() -> usize {
        STATE.with_borrow(|state| state.live.len())
    }

    /// Gives back what [`MockFrames::leak`] gave.
    pub fn unleak(paddr: PhysAddr, size: usize, align: usize) {
        let layout = Layout::from_size_align(size, align).expect("a layout");
        // SAFETY: tests call it once, with what `leak` was called with.
        unsafe { dealloc(paddr.as_usize() as *mut u8, layout) }
    }

    /// Memory of that size, aligned to `align`, for what a guest has for RAM.
    pub fn leak(size: usize, align: usize) -> PhysAddr {
        let layout = Layout::from_size_align(size, align).expect("a layout");
        // SAFETY: no test asks for size 0.
        let pointer = unsafe { alloc_zeroed(layout) };
        assert!(!pointer.is_null());
        PhysAddr::from(pointer as usize)
    }
}

// SAFETY: the allocator gives 4096 aligned bytes that are used only here, at the same address as physical one.
unsafe impl FrameSource for MockFrames {
    fn alloc_frame() -> Option<PhysAddr> {
        STATE.with_borrow_mut(|state| {
            state.left = state.left.checked_sub(1)?;
            // SAFETY: the layout's size is not 0.
            let frame = unsafe { alloc_zeroed(FRAME) };
            // What a frame holds is arbitrary.
            // SAFETY: it was just allocated with this size.
            unsafe { frame.write_bytes(0xa5, FRAME.size()) };
            assert!(state.live.insert(frame as usize));
            Some(PhysAddr::from(frame as usize))
        })
    }

    fn dealloc_frame(paddr: PhysAddr) {
        STATE.with_borrow_mut(|state| {
            assert!(state.live.remove(&paddr.as_usize()), "{paddr:#x} was not allocated, or is freed twice");
        });
        // SAFETY: it was in the set, so `alloc_frame` allocated it with this layout and nobody freed it.
        unsafe { dealloc(paddr.as_usize() as *mut u8, FRAME) }
    }

    fn phys_to_virt(paddr: PhysAddr) -> VirtAddr {
        VirtAddr::from(paddr.as_usize())
    }
}
