//! The build without a trace.

use core::marker::PhantomData;

use crate::{Result, VcpuConfig, exit::VmExit, frame::FrameSource, guest::events::Event, observer::Exited};

/// Nothing is recorded.
pub(crate) struct Trace<S: FrameSource>(PhantomData<S>);

#[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "the other build's signatures")]
impl<S: FrameSource> Trace<S> {
    pub(crate) fn new(_config: &VcpuConfig) -> Result<Self> {
        Ok(Self(PhantomData))
    }

    #[inline(always)]
    pub(crate) fn enter_guest(&mut self, _now: Option<u64>) {}

    #[inline(always)]
    pub(crate) fn exited(&mut self, _exit: &impl Exited, _now: Option<u64>) {}

    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        false
    }

    #[inline(always)]
    pub(crate) fn information(&mut self, _information: [u64; 2]) {}

    #[inline(always)]
    pub(crate) fn left_to_vmm(&mut self, _exit: &VmExit) {}

    #[inline(always)]
    pub(crate) fn injected(&mut self, _event: &Event) {}

    #[inline(always)]
    pub(crate) fn completed(&mut self, _value: u64) {}
}
