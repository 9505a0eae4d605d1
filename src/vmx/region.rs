//! VMXON and VMCS regions: SDM volume 3, "Format of the VMCS Region", "VMXON Region".

use super::capabilities::Capabilities;
use crate::{
    Result,
    frame::{FrameSource, HostFrames, PhysFrame},
    spec::intel::structures::VmcsRevision,
};

#[derive(Debug)]
/// A frame that starts with this CPU's VMCS revision identifier.
pub(super) struct Region<S: FrameSource = HostFrames>(PhysFrame<S>);

impl<S: FrameSource> Region<S> {
    pub(super) fn new(capabilities: &Capabilities) -> Result<Self> {
        let frame = PhysFrame::alloc_zero()?;
        let revision = VmcsRevision::empty().with_revision_id(capabilities.basic.revision_id());
        // SAFETY: the frame is ours, 4096 bytes and aligned; the first doubleword of a region is its revision identifier,
        // and hardware does not use the region yet.
        unsafe { frame.as_mut_ptr().cast::<u32>().write(revision.bits()) };
        Ok(Self(frame))
    }

    /// The physical address that VMX instructions take.
    pub(super) fn address(&self) -> u64 {
        self.0.address()
    }
}
