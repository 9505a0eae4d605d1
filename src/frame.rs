//! Physical memory: the three functions that an embedder gives, and frames that free themselves.

#[cfg(feature = "amd")]
mod contiguous;
mod shared;

use core::{fmt, marker::PhantomData, ptr::NonNull};

use memory_addr::{MemoryAddr, PAGE_SIZE_4K, PhysAddr, VirtAddr};

#[cfg(feature = "amd")]
pub(crate) use self::contiguous::ContiguousFrames;
#[cfg(feature = "amd")]
pub use self::contiguous::{ContiguousAllocator, register_contiguous_allocator};
pub(crate) use self::shared::Shared;
use crate::{Error, Result};

/// What the embedder provides: 4 KiB frames of physical memory, and where the host sees them.
///
/// Implemented once in the final program with [`crate_interface::impl_interface`]. The feature `axvisor` brings an
/// implementation over `axvisor_api`.
#[crate_interface::def_interface]
pub trait PhysFrameIf {
    /// Takes a 4 KiB frame, aligned to 4 KiB, out of the host's use; `None` when there is none. Its content is arbitrary.
    fn alloc_frame() -> Option<PhysAddr>;
    /// Gives back a frame that [`alloc_frame`](PhysFrameIf::alloc_frame) returned.
    fn dealloc_frame(paddr: PhysAddr);
    /// Where the host can read and write the given physical address: valid for every frame that was allocated here and
    /// for all memory that the embedder maps into a guest.
    fn phys_to_virt(paddr: PhysAddr) -> VirtAddr;
}

/// A source of frames as a zero-sized type, so that tests can give their own and make it fail.
///
/// # Safety
/// What `alloc_frame` returns must be 4 KiB of memory, aligned to 4 KiB, that nobody else uses until `dealloc_frame`, and
/// `phys_to_virt` must give an address at which it can be read and written.
pub unsafe trait FrameSource: 'static {
    /// As [`PhysFrameIf::alloc_frame`].
    fn alloc_frame() -> Option<PhysAddr>;
    /// As [`PhysFrameIf::dealloc_frame`].
    fn dealloc_frame(paddr: PhysAddr);
    /// As [`PhysFrameIf::phys_to_virt`].
    fn phys_to_virt(paddr: PhysAddr) -> VirtAddr;
}

/// The embedder's frames: the [`FrameSource`] over its [`PhysFrameIf`].
#[derive(Clone, Copy, Debug)]
pub struct HostFrames;

// SAFETY: these are the promises of `PhysFrameIf`, which the embedder made by implementing it.
unsafe impl FrameSource for HostFrames {
    fn alloc_frame() -> Option<PhysAddr> {
        crate_interface::call_interface!(PhysFrameIf::alloc_frame)
    }
    fn dealloc_frame(paddr: PhysAddr) {
        crate_interface::call_interface!(PhysFrameIf::dealloc_frame, paddr)
    }
    fn phys_to_virt(paddr: PhysAddr) -> VirtAddr {
        crate_interface::call_interface!(PhysFrameIf::phys_to_virt, paddr)
    }
}

/// So many bytes, 8 at most, lowest first. Hardware may write them meanwhile.
///
/// # Safety
/// They are readable.
#[cfg_attr(not(feature = "vmx"), allow(dead_code, reason = "used by the other vendor"))]
pub(crate) unsafe fn read_bytes(place: *const u8, bytes: u32) -> u64 {
    let mut value = [0; 8];
    for (offset, byte) in value.iter_mut().enumerate().take(bytes as usize) {
        // SAFETY: the caller's promise.
        *byte = unsafe { place.add(offset).read_volatile() };
    }
    u64::from_le_bytes(value)
}

/// A frame of physical memory that is given back when it is dropped.
pub struct PhysFrame<S: FrameSource = HostFrames> {
    paddr: PhysAddr,
    /// Remembered, so that the hot paths do not translate again.
    virt: NonNull<u8>,
    _source: PhantomData<S>,
}

// SAFETY: a frame is memory that this value alone owns; it has no tie to the thread that allocated it.
unsafe impl<S: FrameSource> Send for PhysFrame<S> {}
// SAFETY: a shared reference gives only addresses away; whoever dereferences them argues for it.
unsafe impl<S: FrameSource> Sync for PhysFrame<S> {}

impl<S: FrameSource> PhysFrame<S> {
    /// Takes a frame with arbitrary content.
    ///
    /// # Errors
    /// [`Error::NoMemory`] when the source has none, or gave one that cannot be used (null or misaligned).
    pub fn alloc() -> Result<Self> {
        let paddr = S::alloc_frame().ok_or(Error::NoMemory)?;
        let virt = S::phys_to_virt(paddr);
        match NonNull::new(virt.as_mut_ptr()) {
            // Physical frame 0 is refused too: hardware takes a null pointer in several fields for "none".
            Some(virt) if paddr.as_usize() != 0 && paddr.is_aligned_4k() => {
                Ok(Self { paddr, virt, _source: PhantomData })
            }
            _ => {
                S::dealloc_frame(paddr);
                Err(Error::NoMemory)
            }
        }
    }

    /// Takes a frame and fills it with zeros.
    ///
    /// # Errors
    /// As [`PhysFrame::alloc`].
    pub fn alloc_zero() -> Result<Self> {
        let mut frame = Self::alloc()?;
        frame.fill(0);
        Ok(frame)
    }

    /// Owns a frame again whose value was forgotten. The caller's promise: `paddr` is that of such a frame, and nobody else owns
    /// it.
    pub(crate) fn adopt(paddr: PhysAddr) -> Self {
        // `alloc` has refused frames without an address.
        let virt = NonNull::new(S::phys_to_virt(paddr).as_mut_ptr()).unwrap_or(NonNull::dangling());
        Self { paddr, virt, _source: PhantomData }
    }

    /// The physical address of its first byte.
    pub fn start_paddr(&self) -> PhysAddr {
        self.paddr
    }

    /// The physical address of its first byte, as hardware wants it in a 64-bit field.
    pub(crate) fn address(&self) -> u64 {
        self.paddr.as_usize() as u64
    }

    /// Where the host sees it: 4096 bytes, aligned to 4096, valid as long as this value lives.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.virt.as_ptr()
    }

    /// The same pointer, by its type not null.
    pub(crate) fn as_non_null(&self) -> NonNull<u8> {
        self.virt
    }

    /// What is at this physical address, if it is in the frame: so many bytes, 8 at most.
    #[cfg_attr(not(feature = "vmx"), allow(dead_code, reason = "used by the other vendor"))]
    pub(crate) fn peek(&self, address: u64, bytes: u32) -> Option<u64> {
        let start = address.checked_sub(self.address())? as usize;
        let bytes = (bytes as usize).min(8);
        if start > PAGE_SIZE_4K - bytes {
            return None;
        }
        // SAFETY: inside the frame, which is readable as long as this value lives.
        Some(unsafe { read_bytes(self.virt.as_ptr().add(start), bytes as u32) })
    }

    /// Fills it with one byte.
    pub fn fill(&mut self, byte: u8) {
        // SAFETY: the source promised 4096 writable bytes that nobody else uses, and `&mut self` excludes other users of
        // this value's own.
        unsafe { self.virt.as_ptr().write_bytes(byte, PAGE_SIZE_4K) }
    }
}

impl<S: FrameSource> Drop for PhysFrame<S> {
    fn drop(&mut self) {
        S::dealloc_frame(self.paddr);
    }
}

impl<S: FrameSource> fmt::Debug for PhysFrame<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhysFrame({:#x})", self.paddr)
    }
}

/// A value of type `T` that lives at the start of a frame of its own, because hardware or other CPUs point at it.
pub(crate) struct Framed<T, S: FrameSource = HostFrames> {
    frame: PhysFrame<S>,
    _value: PhantomData<T>,
}

impl<T, S: FrameSource> Framed<T, S> {
    const FITS: () =
        assert!(size_of::<T>() <= PAGE_SIZE_4K && align_of::<T>() <= PAGE_SIZE_4K && !core::mem::needs_drop::<T>());

    /// Moves `value` into a new frame; the rest of the frame is zero.
    pub(crate) fn new(value: T) -> Result<Self> {
        let () = Self::FITS;
        let frame = PhysFrame::alloc_zero()?;
        // SAFETY: the frame is 4096 bytes, aligned to 4096, ours alone, and `T` fits in (checked at compile time).
        unsafe { frame.as_mut_ptr().cast::<T>().write(value) };
        Ok(Self { frame, _value: PhantomData })
    }

    /// Where the value lives; stable as long as `self` lives, also when `self` moves.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.frame.as_mut_ptr().cast()
    }
}

impl<T, S: FrameSource> core::ops::Deref for Framed<T, S> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: `new` put a `T` there, the frame lives as long as `self`, and writes need `&mut self`.
        unsafe { &*self.as_ptr() }
    }
}

impl<T, S: FrameSource> core::ops::DerefMut for Framed<T, S> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference.
        unsafe { &mut *self.as_ptr() }
    }
}
