//! Turning SVM on and off on one CPU: APM volume 2, "Enabling SVM", "Host State-Save Area", "SVM Related MSRs".

use core::sync::atomic::Ordering;

use super::{asid, capabilities::Capabilities};
use crate::{
    Error, Result, count,
    cpu::CpuIndex,
    fixup::{Probe, probe_msr},
    frame::{FrameSource, HostFrames, PhysFrame},
    host::{InterruptsOff, rdmsr, wrmsr},
    spec::{
        amd::msrs::{VM_CR, VM_HSAVE_PA, VmCr},
        x86::{msrs::IA32_EFER, registers::Efer},
    },
};

/// Whether CPUID says that this CPU has SVM.
pub fn has_hardware_support() -> bool {
    count::cpuid();
    raw_cpuid::CpuId::new().get_extended_processor_and_feature_identifiers().is_some_and(|features| features.has_svm())
}

/// One CPU's SVM.
///
/// The value belongs to the CPU on which [`enable`](Self::enable) is called; [`disable`](Self::disable) has to be called
/// there too.
#[derive(Debug)]
pub struct SvmPerCpu<S: FrameSource = HostFrames> {
    number: usize,
    enabled: Option<Enabled<S>>,
}

#[derive(Debug)]
struct Enabled<S: FrameSource> {
    /// Where VMRUN keeps the host's state. Its format is the CPU's secret; nobody else reads or writes it.
    host_save_area: PhysFrame<S>,
    cpu: CpuIndex,
}

impl<S: FrameSource> SvmPerCpu<S> {
    /// The state of a CPU that is not enabled. `number` is the embedder's number of it, which
    /// [`VcpuHandle::running_on`](crate::VcpuHandle::running_on) gives back.
    pub const fn new(number: usize) -> Self {
        Self { number, enabled: None }
    }

    /// Whether [`enable`](Self::enable) succeeded.
    pub fn is_enabled(&self) -> bool {
        self.enabled.is_some()
    }

    /// Enables SVM on this CPU.
    ///
    /// Whether the firmware has disabled it (VM_CR.SVMDIS) is found out if the embedder has called
    /// [`fixup::enable`](crate::fixup::enable), as there are CPUs without that register. Without, a CPU on which SVM is
    /// disabled raises #GP here.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names what the CPU lacks or the firmware has disabled; [`Error::BadState`] when virtualization is
    /// on already; [`Error::NoMemory`].
    pub fn enable(&mut self) -> Result {
        if self.enabled.is_some() {
            return Err(Error::BadState("SVM is already enabled on this CPU"));
        }
        let _interrupts_off = InterruptsOff::new();
        Capabilities::get()?.check()?;
        if let Probe::Value(value) = probe_msr(VM_CR)
            && VmCr::from_bits(value).contains(VmCr::SVMDIS)
        {
            return Err(Error::Unsupported("SVM is disabled by the firmware (VM_CR.SVMDIS)"));
        }
        // SAFETY: every CPU with 64-bit mode has EFER.
        let efer = Efer::from_bits(unsafe { rdmsr(IA32_EFER) });
        if efer.contains(Efer::SVME) {
            return Err(Error::BadState("somebody else uses SVM on this CPU (EFER.SVME is 1)"));
        }
        let host_save_area = PhysFrame::alloc_zero()?;
        let cpu = CpuIndex::claim(self.number)?;
        // What the TLB holds from before is unknown.
        asid::start_over(cpu.slot());
        // SAFETY: the CPU has SVM, and it is not disabled as far as that can be known. `Enabled` keeps the frame for as long
        // as the register points to it. SVME changes nothing but that SVM's instructions work.
        unsafe {
            wrmsr(IA32_EFER, efer.with(Efer::SVME).bits());
            wrmsr(VM_HSAVE_PA, host_save_area.address());
        }
        self.enabled = Some(Enabled { host_save_area, cpu });
        Ok(())
    }

    /// Disables SVM on this CPU. No vCPU may be bound to it.
    ///
    /// # Errors
    /// [`Error::BadState`] when it is not enabled, when this is another CPU, or when a vCPU is still bound.
    pub fn disable(&mut self) -> Result {
        let Some(enabled) = &self.enabled else { return Err(Error::BadState("SVM is not enabled on this CPU")) };
        if CpuIndex::current()? != enabled.cpu {
            return Err(Error::BadState("this value belongs to another CPU"));
        }
        let _interrupts_off = InterruptsOff::new();
        if enabled.cpu.slot().bound.load(Ordering::Relaxed) != 0 {
            return Err(Error::BadState("a vCPU is still bound to this CPU"));
        }
        // SAFETY: SVM is enabled, so both registers exist. GIF is 1, as everywhere outside `run`, so SVME may be cleared.
        unsafe {
            wrmsr(VM_HSAVE_PA, 0);
            wrmsr(IA32_EFER, Efer::from_bits(rdmsr(IA32_EFER)).without(Efer::SVME).bits());
        }
        enabled.cpu.release();
        self.enabled = None;
        Ok(())
    }
}

impl<S: FrameSource> Drop for SvmPerCpu<S> {
    fn drop(&mut self) {
        if self.enabled.is_some() && self.disable().is_err() {
            // The CPU would go on using the area: better to lose the frame than to let it be reused.
            log::error!("a CPU with SVM enabled was dropped; its host save area is leaked");
            if let Some(enabled) = self.enabled.take() {
                core::mem::forget(enabled.host_save_area);
            }
        }
    }
}
