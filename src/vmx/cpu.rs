//! Turning VMX on and off on one CPU: SDM volume 3, "Enabling and Entering VMX Operation", "Restrictions on VMX Operation".

use super::{capabilities::Capabilities, instructions, region::Region};
use crate::{
    Error, Result,
    cpu::CpuIndex,
    frame::{FrameSource, HostFrames},
    host::{self, InterruptsOff, rdmsr, wrmsr},
    spec::{
        intel::msrs::{FeatureControl, IA32_FEATURE_CONTROL},
        x86::registers::{Cr0, Cr4},
    },
};

/// Whether CPUID says that this CPU has VMX.
pub fn has_hardware_support() -> bool {
    raw_cpuid::CpuId::new().get_feature_info().is_some_and(|features| features.has_vmx())
}

/// One CPU's VMX operation.
///
/// The value belongs to the CPU on which [`enable`](Self::enable) is called; [`disable`](Self::disable) has to be called
/// there too.
#[derive(Debug)]
pub struct VmxPerCpu<S: FrameSource = HostFrames> {
    number: usize,
    enabled: Option<Enabled<S>>,
}

#[derive(Debug)]
struct Enabled<S: FrameSource> {
    /// The CPU uses it until VMXOFF.
    _vmxon_region: Region<S>,
    cpu: CpuIndex,
    /// CR4 as it was: VMXE is cleared again only if it was clear.
    had_vmxe: bool,
}

impl<S: FrameSource> VmxPerCpu<S> {
    /// The state of a CPU that is not enabled. `number` is the embedder's number of it, which
    /// [`VcpuHandle::running_on`](crate::VcpuHandle::running_on) gives back.
    pub const fn new(number: usize) -> Self {
        Self { number, enabled: None }
    }

    /// Whether [`enable`](Self::enable) succeeded.
    pub fn is_enabled(&self) -> bool {
        self.enabled.is_some()
    }

    /// Enters VMX operation on this CPU.
    ///
    /// IA32_FEATURE_CONTROL is set and locked when the firmware left it unlocked.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names what the CPU lacks or the firmware has locked off; [`Error::BadState`] when virtualization
    /// is on already; [`Error::NoMemory`].
    pub fn enable(&mut self) -> Result {
        if self.enabled.is_some() {
            return Err(Error::BadState("VMX is already enabled on this CPU"));
        }
        if !has_hardware_support() {
            return Err(Error::Unsupported("VMX (CPUID.1:ECX.VMX)"));
        }
        let _interrupts_off = InterruptsOff::new();
        allow_vmxon()?;
        // SAFETY: CPUID says that there is VMX.
        let capabilities = unsafe { Capabilities::establish() }?;
        capabilities.check()?;
        check_fixed_bits(capabilities)?;
        let vmxon_region = Region::new(capabilities)?;
        let cpu = CpuIndex::claim(self.number)?;
        let had_vmxe = host::cr4().contains(Cr4::VMXE);
        // SAFETY: the CPU has VMX and the feature control allows it, so VMXE may be 1.
        unsafe { write_cr4(host::cr4().with(Cr4::VMXE)) };
        // SAFETY: CR4.VMXE is 1 now, CR0 and CR4 were checked, and `Enabled` keeps the region until VMXOFF.
        if let Err(error) = unsafe { instructions::vmxon(vmxon_region.address()) } {
            if !had_vmxe {
                // SAFETY: the CPU is not in VMX operation; this is the value from before.
                unsafe { write_cr4(host::cr4().without(Cr4::VMXE)) };
            }
            cpu.release();
            return Err(match error {
                Error::Vmx(_) => Error::BadState("VMXON failed: somebody else has this CPU in VMX operation"),
                other => other,
            });
        }
        self.enabled = Some(Enabled { _vmxon_region: vmxon_region, cpu, had_vmxe });
        Ok(())
    }

    /// Leaves VMX operation on this CPU. No vCPU may be bound to it.
    ///
    /// # Errors
    /// [`Error::BadState`] when it is not enabled, when this is another CPU, or when a vCPU is still bound.
    pub fn disable(&mut self) -> Result {
        let Some(enabled) = &self.enabled else { return Err(Error::BadState("VMX is not enabled on this CPU")) };
        if CpuIndex::current()? != enabled.cpu {
            return Err(Error::BadState("this value belongs to another CPU"));
        }
        let _interrupts_off = InterruptsOff::new();
        // SAFETY: this CPU is in VMX operation, as `enabled` and the comparison above say.
        if unsafe { instructions::vmptrst() } != u64::MAX {
            return Err(Error::BadState("a vCPU is still bound to this CPU"));
        }
        // SAFETY: as above, and no VMCS is current.
        unsafe { instructions::vmxoff() }?;
        if !enabled.had_vmxe {
            // SAFETY: outside VMX operation VMXE may be 0, as it was before.
            unsafe { write_cr4(host::cr4().without(Cr4::VMXE)) };
        }
        enabled.cpu.release();
        self.enabled = None;
        Ok(())
    }
}

impl<S: FrameSource> Drop for VmxPerCpu<S> {
    fn drop(&mut self) {
        if self.enabled.is_some() && self.disable().is_err() {
            // The CPU would go on using the region: better to lose the frame than to let it be reused.
            log::error!("a CPU in VMX operation was dropped; its VMXON region is leaked");
            core::mem::forget(self.enabled.take());
        }
    }
}

/// Makes IA32_FEATURE_CONTROL allow VMXON outside SMX.
fn allow_vmxon() -> Result {
    let wanted = FeatureControl::LOCK.with(FeatureControl::VMX_OUTSIDE_SMX);
    // SAFETY: every CPU with VMX has this register.
    let control = FeatureControl::from_bits(unsafe { rdmsr(IA32_FEATURE_CONTROL) });
    if !control.contains(FeatureControl::LOCK) {
        // SAFETY: unlocked, it can be written; locking it is what VMXON asks for.
        unsafe { wrmsr(IA32_FEATURE_CONTROL, control.with(wanted).bits()) };
        return Ok(());
    }
    if control.contains(FeatureControl::VMX_OUTSIDE_SMX) {
        Ok(())
    } else {
        Err(Error::Unsupported("VMX is locked off by the firmware (IA32_FEATURE_CONTROL)"))
    }
}

/// VMXON and VM exits need certain bits of CR0 and CR4; the host's are not ours to change.
fn check_fixed_bits(capabilities: &Capabilities) -> Result {
    let cr0 = Cr0::from_bits(host::cr0());
    if !cr0.contains(capabilities.cr0_fixed_to_1) {
        return Err(Error::Unsupported("the host's CR0 lacks bits that VMX needs (PE, PG, NE)"));
    }
    if !capabilities.cr0_allowed.contains(cr0) {
        return Err(Error::Unsupported("the host's CR0 has bits that VMX does not allow"));
    }
    let cr4 = host::cr4().with(Cr4::VMXE);
    if !cr4.contains(capabilities.cr4_fixed_to_1) || !capabilities.cr4_allowed.contains(cr4) {
        return Err(Error::Unsupported("the host's CR4 has bits that VMX does not allow"));
    }
    Ok(())
}

/// # Safety
/// The host must be able to live with the new value.
unsafe fn write_cr4(value: Cr4) {
    // SAFETY: the caller's promise.
    unsafe { x86_64::registers::control::Cr4::write_raw(value.bits()) };
}
