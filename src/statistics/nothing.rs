//! The build without statistics.

use core::marker::PhantomData;

use crate::{Result, frame::FrameSource};

/// Nothing is counted.
pub(crate) struct Statistics<S: FrameSource>(PhantomData<S>);

#[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "the other build's signatures")]
impl<S: FrameSource> Statistics<S> {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(PhantomData))
    }

    #[inline(always)]
    pub(crate) fn arrive(&mut self) {}

    #[inline(always)]
    pub(crate) fn enter_run(&mut self) {}

    #[inline(always)]
    pub(crate) fn leave_run(&mut self) {}

    #[inline(always)]
    pub(crate) fn enter_guest(&mut self) -> Option<u64> {
        None
    }

    #[inline(always)]
    pub(crate) fn exited(&mut self, _code: impl FnOnce() -> u64) -> Option<u64> {
        None
    }

    #[inline(always)]
    pub(crate) fn left_to_vmm(&mut self) {}
}
