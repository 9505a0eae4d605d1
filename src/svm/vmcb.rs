//! The virtual machine control block of a vCPU: APM volume 2, "Virtual Machine Control Block".

use core::ops::{Deref, DerefMut};

use memory_addr::PAGE_SIZE_4K;

use crate::{
    Result,
    frame::{FrameSource, HostFrames, PhysFrame},
    spec::amd::vmcb::Vmcb,
};

/// A VMCB in a frame of its own. Between two calls of the world switch it is ordinary memory.
pub(super) struct VmcbFrame<S: FrameSource = HostFrames>(PhysFrame<S>);

impl<S: FrameSource> VmcbFrame<S> {
    /// All zero.
    pub(super) fn new() -> Result<Self> {
        PhysFrame::alloc_zero().map(Self)
    }

    /// The physical address that VMRUN, VMLOAD and VMSAVE take.
    #[inline(always)]
    pub(super) fn address(&self) -> u64 {
        self.0.address()
    }

    /// What it is made of.
    pub(super) fn bytes(&self) -> &[u8; PAGE_SIZE_4K] {
        // SAFETY: as in `deref`.
        unsafe { &*self.0.as_mut_ptr().cast() }
    }

    /// What it is made of, to change it: no clean bit is taken away.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8; PAGE_SIZE_4K] {
        // SAFETY: as in `deref_mut`.
        unsafe { &mut *self.0.as_mut_ptr().cast() }
    }

    /// Copies everything from another.
    pub(super) fn copy_from(&mut self, other: &Self) {
        // SAFETY: two frames of 4096 bytes, both ours; `&mut self` says that they are different ones.
        unsafe { self.0.as_mut_ptr().copy_from_nonoverlapping(other.0.as_mut_ptr(), PAGE_SIZE_4K) };
    }
}

impl<S: FrameSource> Deref for VmcbFrame<S> {
    type Target = Vmcb;
    #[inline(always)]
    fn deref(&self) -> &Vmcb {
        // SAFETY: the frame has the size and alignment of a `Vmcb`, and every byte pattern is one: its members are integers.
        // The CPU writes it only in the world switch, during which no reference to it exists.
        unsafe { &*self.0.as_mut_ptr().cast() }
    }
}

impl<S: FrameSource> DerefMut for VmcbFrame<S> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Vmcb {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference.
        unsafe { &mut *self.0.as_mut_ptr().cast() }
    }
}
