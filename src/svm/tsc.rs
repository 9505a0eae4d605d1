//! The guest's time-stamp counter under SVM: the VMCB's TSC_OFFSET, and the TSC ratio register. APM volume 2, "TSC Ratio MSR".

use super::vcpu::SvmVcpu;
use crate::{
    Error, Result,
    frame::FrameSource,
    guest::tsc::RatioFormat,
    host::{timestamp, wrmsr},
    spec::amd::msrs::{TSC_RATIO, TSC_RATIO_RESET},
};

/// The TSC ratio: eight bits before the point.
pub(super) const RATIO: RatioFormat =
    RatioFormat { fraction: TSC_RATIO_RESET.trailing_zeros(), bits: TSC_RATIO_RESET.trailing_zeros() + 8 };

impl<S: FrameSource> SvmVcpu<S> {
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
    /// None on SVM; as a VMCB is memory, the vCPU need not be where it is bound.
    pub fn set_tsc_offset(&mut self, offset: u64) -> Result {
        self.guest.tsc.set_offset(offset);
        self.write_tsc_offset();
        Ok(())
    }

    /// Makes the guest's time-stamp counter run at `guest` while the host's runs at `host`, both in the same unit. It goes on
    /// from where it is.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when they differ and the CPU has no TSC ratio register, [`Error::InvalidInput`] when the ratio
    /// cannot be expressed, [`Error::BadState`] while the vCPU is bound.
    pub fn set_tsc_frequency(&mut self, guest: u64, host: u64) -> Result {
        if self.guest.cpu.is_some() {
            return Err(Error::BadState("the vCPU is bound: the frequency of its time-stamp counter stays"));
        }
        let scaling = self.assists.tsc_ratio.then_some(()).ok_or(Error::Unsupported("TSC scaling (TscRateMsr)"));
        self.guest.tsc.set_frequency(guest, host, timestamp(), scaling)?;
        if self.guest.tsc.ratio().is_some() {
            self.cpuid.forget_frequencies();
        }
        self.write_tsc_offset();
        Ok(())
    }

    pub(super) fn write_tsc_offset(&mut self) {
        self.vmcb.set_tsc_offset(self.guest.tsc.offset());
        self.guest.update_deadline();
    }

    /// At bind: the ratio is a register of the CPU, which counts while a guest runs.
    pub(super) fn tsc_arrives(&mut self) {
        if self.guest.tsc.arrive(timestamp()) {
            self.write_tsc_offset();
        }
        if let Some(ratio) = self.guest.tsc.ratio().filter(|_| self.assists.tsc_ratio) {
            // SAFETY: this CPU has the register, and the ratio its format. It changes what guests read, not the host.
            unsafe { wrmsr(TSC_RATIO, ratio) };
        }
    }

    /// While the vCPU is bound: the CPU's ratio is to be the guest's.
    pub(super) fn load_tsc_ratio(&self) {
        if self.guest.cpu.is_some() && self.assists.tsc_ratio {
            // SAFETY: as above.
            unsafe { wrmsr(TSC_RATIO, self.guest.tsc.ratio().unwrap_or(TSC_RATIO_RESET)) };
        }
    }

    /// At unbind.
    pub(super) fn tsc_leaves(&mut self) {
        self.guest.tsc.leave(timestamp());
        if self.guest.tsc.ratio().is_some() && self.assists.tsc_ratio {
            // SAFETY: as above; this is its value after a reset, with which every other vCPU expects it.
            unsafe { wrmsr(TSC_RATIO, TSC_RATIO_RESET) };
        }
    }
}
