//! A frame with several owners.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};

use memory_addr::{PAGE_SIZE_4K, PhysAddr};

use super::{FrameSource, HostFrames, PhysFrame};
use crate::Result;

/// What stands in the frame.
#[repr(C)]
struct Content<T> {
    owners: AtomicUsize,
    frame: PhysAddr,
    value: T,
}

/// A value in a frame that its last owner gives back: what vCPUs on several CPUs share, without a heap.
pub(crate) struct Shared<T, S: FrameSource = HostFrames> {
    content: NonNull<Content<T>>,
    _source: core::marker::PhantomData<(T, S)>,
}

// SAFETY: owners give shared references to the value, which is dropped by whoever is the last one, on whatever thread.
unsafe impl<T: Send + Sync, S: FrameSource> Send for Shared<T, S> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync, S: FrameSource> Sync for Shared<T, S> {}

impl<T, S: FrameSource> Shared<T, S> {
    const FITS: () = assert!(size_of::<Content<T>>() <= PAGE_SIZE_4K && align_of::<Content<T>>() <= PAGE_SIZE_4K);

    /// Moves `value` into a new frame.
    ///
    /// # Errors
    /// [`Error::NoMemory`](crate::Error::NoMemory).
    pub(crate) fn new(value: T) -> Result<Self> {
        let () = Self::FITS;
        let frame = PhysFrame::<S>::alloc()?;
        let content = Content { owners: AtomicUsize::new(1), frame: frame.start_paddr(), value };
        let pointer = frame.as_non_null().cast::<Content<T>>();
        // SAFETY: the frame is 4096 bytes, aligned to 4096, ours alone, and the content fits in (checked at compile time).
        unsafe { pointer.write(content) };
        // The last owner gives it back, see `drop`.
        core::mem::forget(frame);
        Ok(Self { content: pointer, _source: core::marker::PhantomData })
    }

    fn content(&self) -> &Content<T> {
        // SAFETY: the frame lives as long as any owner does, and `self` is one; nobody has a unique reference before.
        unsafe { self.content.as_ref() }
    }

    /// Gives the ownership away, as an address that is not null.
    pub(crate) fn into_raw(self) -> *mut () {
        let pointer = self.content.as_ptr().cast();
        core::mem::forget(self);
        pointer
    }

    /// The owner that [`into_raw`](Self::into_raw) gave away.
    ///
    /// # Safety
    /// `pointer` comes of `into_raw` of the same types, and is taken back once.
    pub(crate) unsafe fn from_raw(pointer: *mut ()) -> Self {
        // SAFETY: `into_raw` gives no null pointer.
        let content = unsafe { NonNull::new_unchecked(pointer.cast()) };
        Self { content, _source: core::marker::PhantomData }
    }
}

impl<T, S: FrameSource> core::ops::Deref for Shared<T, S> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.content().value
    }
}

impl<T, S: FrameSource> Clone for Shared<T, S> {
    fn clone(&self) -> Self {
        self.content().owners.fetch_add(1, Ordering::Relaxed);
        Self { content: self.content, _source: core::marker::PhantomData }
    }
}

impl<T, S: FrameSource> Drop for Shared<T, S> {
    fn drop(&mut self) {
        // Release: what this owner did is before the last owner's freeing; acquire: and the last one sees it.
        if self.content().owners.fetch_sub(1, Ordering::AcqRel) == 1 {
            let frame = self.content().frame;
            // SAFETY: this was the last owner, so nobody refers to the value any more.
            unsafe { core::ptr::drop_in_place(&raw mut (*self.content.as_ptr()).value) };
            S::dealloc_frame(frame);
        }
    }
}
