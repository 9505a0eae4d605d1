//! The guest's time-stamp counter under VMX: TSC offset and TSC multiplier. SDM volume 3C, "Time-Stamp Counter Offsetting and
//! Scaling".

use super::{loaded::Vmcs, vcpu::VmxVcpu};
use crate::{
    Error, Result,
    frame::FrameSource,
    guest::tsc::RatioFormat,
    host::timestamp,
    spec::intel::{controls::SecondaryControls, vmcs::*},
};

/// The TSC multiplier: the CPU takes bits 111:48 of the product.
pub(super) const RATIO: RatioFormat = RatioFormat { fraction: 48, bits: 64 };

impl<S: FrameSource> VmxVcpu<S> {
    /// The guest's time-stamp counter as it is now.
    pub fn tsc(&self) -> u64 {
        self.guest.tsc.at(timestamp())
    }

    /// What the CPU adds to its time-stamp counter for the guest.
    pub fn tsc_offset(&self) -> u64 {
        self.guest.tsc.offset()
    }

    /// Sets what the CPU adds to its time-stamp counter for the guest.
    ///
    /// # Errors
    /// [`Error::BadState`] when this CPU is not enabled, or the vCPU is bound to another.
    pub fn set_tsc_offset(&mut self, offset: u64) -> Result {
        self.with_vmcs(|vcpu, vmcs| {
            vcpu.guest.tsc.set_offset(offset);
            vcpu.write_tsc_offset(vmcs);
            Ok(())
        })
    }

    /// Makes the guest's time-stamp counter run at `guest` while the host's runs at `host`, both in the same unit. It goes on
    /// from where it is.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when they differ and the CPU has no TSC scaling, [`Error::InvalidInput`] when the ratio cannot be
    /// expressed, [`Error::BadState`] while the vCPU is bound, or when this CPU is not enabled.
    pub fn set_tsc_frequency(&mut self, guest: u64, host: u64) -> Result {
        if self.guest.cpu.is_some() {
            return Err(Error::BadState("the vCPU is bound: the frequency of its time-stamp counter stays"));
        }
        self.with_vmcs(|vcpu, vmcs| {
            let scaling = vmcs.allowed().secondary.contains(SecondaryControls::USE_TSC_SCALING);
            let allowed = scaling.then_some(()).ok_or(Error::Unsupported("TSC scaling (\"use TSC scaling\")"));
            vcpu.guest.tsc.set_frequency(guest, host, timestamp(), allowed)?;
            if vcpu.guest.tsc.ratio().is_some() {
                vcpu.cpuid.forget_frequencies();
            }
            vcpu.write_tsc_ratio(vmcs);
            Ok(())
        })
    }

    /// Tells the CPU the offset and the ratio.
    pub(super) fn write_tsc_ratio(&mut self, vmcs: &Vmcs<'_>) {
        self.write_tsc_offset(vmcs);
        let ratio = self.guest.tsc.ratio();
        self.set_secondary(vmcs, SecondaryControls::USE_TSC_SCALING, ratio.is_some());
        if let Some(witness) = vmcs.has() {
            vmcs.write_if(TSC_MULTIPLIER, ratio.unwrap_or(RATIO.one()), witness);
        }
    }

    pub(super) fn write_tsc_offset(&mut self, vmcs: &Vmcs<'_>) {
        vmcs.write(TSC_OFFSET, self.guest.tsc.offset());
        self.guest.update_deadline();
    }

    /// At bind, with the VMCS current.
    pub(super) fn tsc_arrives(&mut self, vmcs: &Vmcs<'_>) {
        if self.guest.tsc.arrive(timestamp()) {
            self.write_tsc_offset(vmcs);
        }
    }
}
