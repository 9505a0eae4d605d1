//! The global allocator, which `axvcpu` and the device model need; the library itself needs none.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};

use linked_list_allocator::Heap;
use spin::Mutex;

use crate::memory::HEAP;

struct LockedHeap(Mutex<Heap>);

#[global_allocator]
static ALLOCATOR: LockedHeap = LockedHeap(Mutex::new(Heap::empty()));

/// Gives the heap its memory.
///
/// # Safety
/// Called once, before the first allocation.
pub unsafe fn init() {
    // SAFETY: nobody else uses the range, which is mapped (see `memory`).
    unsafe { ALLOCATOR.0.lock().init(HEAP.start as *mut u8, HEAP.len()) };
}

// SAFETY: `Heap` gives out disjoint blocks of the size and alignment asked for; the lock makes it usable from all CPUs,
// and no interrupt handler allocates.
unsafe impl GlobalAlloc for LockedHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().allocate_first_fit(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: the caller promises that the block was given out with this layout.
            unsafe { self.0.lock().deallocate(block, layout) };
        }
    }
}
