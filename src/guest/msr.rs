//! The policy for model-specific registers: default deny.
//!
//! A register is passed through only when the CPU itself switches it between guest and host, or the library does when it
//! binds a vCPU. What belongs to the host is refused with #GP. What no entry names goes to the VMM, or is refused too.

use crate::spec::{
    Msr,
    amd::msrs as amd,
    intel::msrs as intel,
    x86::{
        msrs::{self, *},
        registers::Efer,
    },
};

/// What happens to a register that the policy does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownMsr {
    /// The VMM is asked: [`VmExit::MsrRead`](crate::VmExit::MsrRead), [`VmExit::MsrWrite`](crate::VmExit::MsrWrite).
    #[default]
    AskVmm,
    /// The guest gets #GP(0).
    Fault,
}

/// The policy's answer to an access that reached it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Done; the value of a read.
    Value(u64),
    /// #GP(0).
    Fault,
    /// Ask the VMM.
    Ask,
    /// The vendor's own code knows: the register is part of the VMCS or the VMCB.
    Vendor(VendorMsr),
}

/// A register that lives in the VMCS or the VMCB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VendorMsr {
    /// IA32_EFER.
    Efer,
    /// IA32_PAT.
    Pat,
    /// IA32_TSC. Reads too: one emulator of SVM does not add the offset to them, and RDTSC is what guests use.
    Tsc,
    /// IA32_TSC_ADJUST.
    TscAdjust,
}

/// The registers that the guest reads and writes without an exit: the CPU switches them with the VMCS or VMCB
/// (SYSENTER_*, FS_BASE, GS_BASE), or the library does at bind and unbind (VMX) or around VMRUN (SVM).
pub(crate) const PASS_THROUGH: [Msr; 10] = [
    IA32_SYSENTER_CS,
    IA32_SYSENTER_ESP,
    IA32_SYSENTER_EIP,
    IA32_FS_BASE,
    IA32_GS_BASE,
    IA32_KERNEL_GS_BASE,
    IA32_STAR,
    IA32_LSTAR,
    IA32_CSTAR,
    IA32_FMASK,
];

/// The guest's registers that live nowhere else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MsrState {
    apic_base: u64,
    unknown: UnknownMsr,
    /// Which local APIC range the VMM answers, whatever `unknown` says: an x2APIC register is a device.
    x2apic_to_vmm: bool,
}

impl MsrState {
    pub(crate) fn new(bootstrap: bool, unknown: UnknownMsr, x2apic_to_vmm: bool) -> Self {
        let bits = if bootstrap { msrs::ApicBase::BSP } else { msrs::ApicBase::empty() };
        Self { apic_base: IA32_APIC_BASE_RESET | bits.bits(), unknown, x2apic_to_vmm }
    }

    /// RDMSR. Kept small: it is on the path that never leaves the library.
    #[inline]
    pub(crate) fn read(&self, msr: Msr) -> Answer {
        match msr {
            IA32_APIC_BASE => Answer::Value(self.apic_base),
            IA32_EFER => Answer::Vendor(VendorMsr::Efer),
            IA32_PAT => Answer::Vendor(VendorMsr::Pat),
            IA32_TSC => Answer::Vendor(VendorMsr::Tsc),
            IA32_TSC_ADJUST => Answer::Vendor(VendorMsr::TscAdjust),
            // "None": no microcode revision, no variable MTRRs, no machine-check banks, no debug features.
            IA32_BIOS_SIGN_ID | IA32_MTRRCAP | IA32_MCG_CAP | IA32_MCG_STATUS | IA32_DEBUGCTL | IA32_PLATFORM_ID => {
                Answer::Value(0)
            }
            IA32_MISC_ENABLE => Answer::Value(msrs::MiscEnable::FAST_STRINGS.bits()),
            _ => self.other(msr),
        }
    }

    /// WRMSR.
    pub(crate) fn write(&mut self, msr: Msr, value: u64) -> Answer {
        match msr {
            // The library's local APIC neither moves nor changes its mode.
            IA32_APIC_BASE if value == self.apic_base => Answer::Value(0),
            IA32_APIC_BASE => Answer::Fault,
            IA32_EFER => Answer::Vendor(VendorMsr::Efer),
            IA32_PAT => Answer::Vendor(VendorMsr::Pat),
            IA32_TSC => Answer::Vendor(VendorMsr::Tsc),
            IA32_TSC_ADJUST => Answer::Vendor(VendorMsr::TscAdjust),
            // A guest clears the signature before it reads it, and machine-check status when it boots.
            IA32_BIOS_SIGN_ID | IA32_MCG_STATUS | IA32_DEBUGCTL if value == 0 => Answer::Value(0),
            IA32_MISC_ENABLE if value == msrs::MiscEnable::FAST_STRINGS.bits() => Answer::Value(0),
            IA32_BIOS_SIGN_ID | IA32_MCG_STATUS | IA32_DEBUGCTL | IA32_MISC_ENABLE | IA32_MTRRCAP | IA32_MCG_CAP
            | IA32_PLATFORM_ID => Answer::Fault,
            _ => self.other(msr),
        }
    }

    #[cold]
    fn other(&self, msr: Msr) -> Answer {
        if belongs_to_host(msr) {
            Answer::Fault
        } else if self.unknown == UnknownMsr::AskVmm || self.x2apic_to_vmm && is_x2apic(msr) {
            Answer::Ask
        } else {
            Answer::Fault
        }
    }
}

/// Whether a register is in the range of the x2APIC.
fn is_x2apic(msr: Msr) -> bool {
    // The range is architectural: 800H to 8FFH.
    msr.0 >> 8 == IA32_X2APIC_APICID.0 >> 8
}

/// Registers whose use by a guest would reach into the host: never, whatever the VMM would say.
fn belongs_to_host(msr: Msr) -> bool {
    matches!(
        msr,
        intel::IA32_FEATURE_CONTROL
            | IA32_BIOS_UPDT_TRIG
            | IA32_SPEC_CTRL
            | IA32_PRED_CMD
            | IA32_DS_AREA
            | IA32_XSS
            | amd::VM_HSAVE_PA
            | amd::VM_CR
            | amd::IGNNE
            | amd::SMM_CTL
            | amd::SVM_KEY
            | amd::SYSCFG
            | amd::HWCR
            | amd::TOP_MEM
            | amd::TOP_MEM2
            | amd::GHCB
            | amd::SEV_STATUS
    ) || (intel::IA32_VMX_BASIC.0..=intel::IA32_VMX_EXIT_CTLS2.0).contains(&msr.0)
}

/// The bits of EFER that every long-mode guest may set.
pub(crate) const EFER_OFFERED: Efer = Efer::SCE.with(Efer::LME).with(Efer::NXE);

/// Whether a value of IA32_PAT is valid: eight memory types, of which 2, 3 and those above 7 are reserved.
pub(crate) const fn pat_is_valid(value: u64) -> bool {
    let mut entry = 0;
    while entry < 8 {
        let kind = PatMemoryType((value >> (8 * entry)) as u8);
        if !matches!(
            kind,
            PatMemoryType::UC
                | PatMemoryType::WC
                | PatMemoryType::WT
                | PatMemoryType::WP
                | PatMemoryType::WB
                | PatMemoryType::UC_MINUS
        ) {
            return false;
        }
        entry += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_registers_fault_whatever_the_vmm_says() {
        let mut state = MsrState::new(true, UnknownMsr::AskVmm, true);
        for msr in
            [amd::VM_HSAVE_PA, amd::VM_CR, intel::IA32_VMX_BASIC, intel::IA32_VMX_EXIT_CTLS2, IA32_BIOS_UPDT_TRIG]
        {
            assert_eq!(state.read(msr), Answer::Fault, "{msr:?}");
            assert_eq!(state.write(msr, 0), Answer::Fault, "{msr:?}");
        }
        assert_eq!(state.read(Msr(0x1234_5678)), Answer::Ask);
    }

    #[test]
    fn x2apic_goes_to_the_vmm_even_when_unknown_registers_fault() {
        let mut state = MsrState::new(false, UnknownMsr::Fault, true);
        assert_eq!(state.read(Msr(0x80b)), Answer::Ask);
        assert_eq!(state.write(Msr(0x8ff), 0), Answer::Ask);
        assert_eq!(state.read(Msr(0x900)), Answer::Fault);
    }

    #[test]
    fn pat_types() {
        assert!(pat_is_valid(IA32_PAT_RESET));
        for bad in [2, 3, 8, 0xff] {
            assert!(!pat_is_valid(bad << 24 | 0x0000_0006));
        }
    }
}
