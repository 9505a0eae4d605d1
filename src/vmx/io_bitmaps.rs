//! The ports that a guest reaches without an exit: none, until the VMM opens some. SDM volume 3, "I/O-Bitmap Addresses".

use core::ops::RangeInclusive;
use memory_addr::PAGE_SIZE_4K;

use super::vcpu::VmxVcpu;
use crate::{
    Error, Result,
    frame::{FrameSource, PhysFrame},
    spec::intel::{
        controls::PrimaryControls,
        vmcs::{IO_BITMAP_A, IO_BITMAP_B, PRIMARY_PROCESSOR_CONTROLS},
    },
};

/// A bit for each port: the first frame for the lower half of them.
pub(super) struct IoBitmaps<S: FrameSource>([PhysFrame<S>; 2]);

impl<S: FrameSource> IoBitmaps<S> {
    /// Every access exits.
    fn new() -> Result<Self> {
        let mut frames = [PhysFrame::alloc()?, PhysFrame::alloc()?];
        frames.iter_mut().for_each(|frame| frame.fill(u8::MAX));
        Ok(Self(frames))
    }

    fn set(&mut self, port: u16, exits: bool) {
        let bit = usize::from(port);
        let Some(frame) = self.0.get_mut(bit / (8 * PAGE_SIZE_4K)) else { return };
        // SAFETY: the byte lies in the frame, which is ours.
        let byte = unsafe { &mut *frame.as_mut_ptr().add(bit / 8 % PAGE_SIZE_4K) };
        *byte = *byte & !(1 << (bit % 8)) | u8::from(exits) << (bit % 8);
    }
}

impl<S: FrameSource> VmxVcpu<S> {
    /// Lets the guest reach these ports of the host without an exit. An access that touches another port too exits.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the CPU has no I/O bitmaps, [`Error::NoMemory`], and those of [`system`](Self::system).
    ///
    /// # Safety
    /// Nothing that can be done to the devices at these ports harms the host: they read and write no memory but the guest's,
    /// and reset nothing.
    pub unsafe fn pass_ports_through(&mut self, ports: RangeInclusive<u16>) -> Result {
        if self.capabilities.primary.may_be_1 & PrimaryControls::USE_IO_BITMAPS.bits() == 0 {
            return Err(Error::Unsupported("I/O bitmaps"));
        }
        if self.io_bitmaps.is_none() {
            let bitmaps = IoBitmaps::new()?;
            let [a, b] = [bitmaps.0[0].address(), bitmaps.0[1].address()];
            self.with_vmcs(|vcpu, vmcs| {
                vmcs.write(IO_BITMAP_A, a);
                vmcs.write(IO_BITMAP_B, b);
                // With bitmaps the CPU ignores "unconditional I/O exiting".
                vcpu.controls.primary.insert(PrimaryControls::USE_IO_BITMAPS);
                vmcs.write(PRIMARY_PROCESSOR_CONTROLS, vcpu.controls.primary);
                Ok(())
            })?;
            self.io_bitmaps = Some(bitmaps);
        }
        self.set_port_exits(ports, false);
        Ok(())
    }

    /// Makes accesses to these ports exit again.
    pub fn intercept_ports(&mut self, ports: RangeInclusive<u16>) {
        self.set_port_exits(ports, true);
    }

    fn set_port_exits(&mut self, ports: RangeInclusive<u16>, exits: bool) {
        if let Some(bitmaps) = &mut self.io_bitmaps {
            ports.for_each(|port| bitmaps.set(port, exits));
        }
    }
}
