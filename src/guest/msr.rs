//! The guest's model-specific registers: the answers to its accesses, and the values that are kept for it.
//!
//! Default deny. What becomes of each register, `spec/msr_policy.toml` says, and the VMM may change it ([`MsrPolicy`]). A
//! register is passed through only when the CPU itself switches it between guest and host, or the library does when it binds
//! a vCPU.

mod policy;
#[cfg(any(feature = "vmx", feature = "amd"))]
mod switched;

pub use self::policy::{MsrAccess, MsrAction, MsrPolicy, UnknownMsr};
#[cfg(any(feature = "vmx", feature = "amd"))]
pub(crate) use self::switched::SwitchedMsrs;
use super::{
    snapshot::{EmulatedMsr, EmulatedMsrs},
    speculation::{Features, SpeculationMsr},
};
use crate::Error;
use crate::spec::{
    Msr, MsrAnswer, MsrRange, MsrRule,
    msr_policy::{MsrHandler, SLOTS},
    x86::{
        msrs::{self, *},
        registers::Efer,
    },
};

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
    /// One of the local APIC's: its base, its timer's deadline, those of the x2APIC.
    LocalApic,
    /// A register that the CPU has for controlling speculation.
    Speculation(SpeculationMsr),
}

/// What decides about the registers when a vCPU is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MsrConfig {
    pub(crate) rules: &'static [MsrRule],
    pub(crate) bitmap: &'static [MsrRange],
    /// RDTSCP and RDPID are offered.
    pub(crate) rdtscp: bool,
}

/// The guest's registers that live nowhere else, and the policy.
#[derive(Clone, Debug)]
pub(crate) struct MsrState {
    /// The register that a read answers at once: IA32_APIC_BASE, or none when the VMM has changed what becomes of it.
    at_once: Msr,
    apic_base: u64,
    policy: MsrPolicy,
    values: [u64; SLOTS],
    speculation: Features,
    /// Which local APIC range the VMM answers, whatever the policy says of unknown registers: an x2APIC register is a device.
    x2apic_to_vmm: bool,
    /// Whether the library emulates a local APIC.
    local_apic: bool,
}

/// The number of no register.
const NONE: Msr = Msr(u32::MAX);

impl MsrState {
    pub(crate) fn new(bootstrap: bool, config: MsrConfig, unknown: UnknownMsr, x2apic_to_vmm: bool) -> Self {
        let bits = if bootstrap { msrs::ApicBase::BSP } else { msrs::ApicBase::empty() };
        let mut values = [0; SLOTS];
        for rule in config.rules {
            if let Some(value) = rule.slot.and_then(|slot| values.get_mut(usize::from(slot))) {
                *value = rule.value;
            }
        }
        Self {
            at_once: IA32_APIC_BASE,
            apic_base: IA32_APIC_BASE_RESET | bits.bits(),
            policy: MsrPolicy::new(config.rules, config.bitmap, unknown, config.rdtscp),
            values,
            speculation: Features::of_this_cpu(),
            x2apic_to_vmm,
            local_apic: false,
        }
    }

    /// From now on the library's local APIC answers for its registers.
    pub(crate) fn use_local_apic(&mut self) {
        self.local_apic = true;
        self.at_once = NONE;
    }

    pub(crate) fn policy(&self) -> &MsrPolicy {
        &self.policy
    }

    /// Another policy, of the same vendor.
    pub(crate) fn set_policy(&mut self, policy: MsrPolicy) {
        let own = !self.local_apic && policy.action(IA32_APIC_BASE, false) == MsrAction::Library;
        self.at_once = if own { IA32_APIC_BASE } else { NONE };
        self.policy = policy;
    }

    /// RDMSR. Kept small: it is on the path that never leaves the library.
    #[inline]
    pub(crate) fn read(&self, msr: Msr) -> Answer {
        if msr == self.at_once { Answer::Value(self.apic_base) } else { self.read_by_policy(msr) }
    }

    #[inline(never)]
    fn read_by_policy(&self, msr: Msr) -> Answer {
        if self.local_apic && is_x2apic(msr) {
            return Answer::Vendor(VendorMsr::LocalApic);
        }
        match self.policy.action(msr, false) {
            MsrAction::Value(value) => Answer::Value(value),
            MsrAction::AskVmm => Answer::Ask,
            MsrAction::Library => self.read_own(msr),
            // What passes through does not exit.
            MsrAction::PassThrough => Answer::Fault,
            MsrAction::Fault => self.unless_x2apic(msr),
        }
    }

    /// What the library keeps or knows.
    fn read_own(&self, msr: Msr) -> Answer {
        let Some(rule) = self.policy.rule(msr) else { return Answer::Fault };
        match rule.read {
            MsrAnswer::Emulate => Answer::Value(self.value(rule)),
            MsrAnswer::Handler(MsrHandler::ApicBase | MsrHandler::TscDeadline) if self.local_apic => {
                Answer::Vendor(VendorMsr::LocalApic)
            }
            MsrAnswer::Handler(MsrHandler::ApicBase) => Answer::Value(self.apic_base),
            MsrAnswer::Handler(MsrHandler::TscAdjust) => Answer::Vendor(VendorMsr::TscAdjust),
            MsrAnswer::Handler(MsrHandler::Efer) => Answer::Vendor(VendorMsr::Efer),
            MsrAnswer::Handler(MsrHandler::Pat) => Answer::Vendor(VendorMsr::Pat),
            MsrAnswer::Handler(MsrHandler::Tsc) => Answer::Vendor(VendorMsr::Tsc),
            MsrAnswer::Handler(MsrHandler::Speculation) => self.speculation(msr, false),
            // No variable and no fixed ranges.
            MsrAnswer::Handler(MsrHandler::Mtrr) if msr == IA32_MTRRCAP => Answer::Value(0),
            MsrAnswer::Handler(MsrHandler::Mtrr | MsrHandler::X2apic | MsrHandler::TscDeadline) => self.unknown(msr),
            MsrAnswer::PassThrough | MsrAnswer::Ask | MsrAnswer::Fault => Answer::Fault,
        }
    }

    /// WRMSR.
    pub(crate) fn write(&mut self, msr: Msr, value: u64) -> Answer {
        if self.local_apic && is_x2apic(msr) {
            return Answer::Vendor(VendorMsr::LocalApic);
        }
        match self.policy.action(msr, true) {
            MsrAction::Value(_) => Answer::Value(0),
            MsrAction::AskVmm => Answer::Ask,
            MsrAction::Library => self.write_own(msr, value),
            MsrAction::PassThrough => Answer::Fault,
            MsrAction::Fault => self.unless_x2apic(msr),
        }
    }

    fn write_own(&mut self, msr: Msr, value: u64) -> Answer {
        let Some(rule) = self.policy.rule(msr) else { return Answer::Fault };
        match rule.write {
            MsrAnswer::Emulate => self.write_value(rule, value),
            MsrAnswer::Handler(MsrHandler::ApicBase | MsrHandler::TscDeadline) if self.local_apic => {
                Answer::Vendor(VendorMsr::LocalApic)
            }
            // The VMM's local APIC, if there is one, neither moves nor changes its mode.
            MsrAnswer::Handler(MsrHandler::ApicBase) if value == self.apic_base => Answer::Value(0),
            MsrAnswer::Handler(MsrHandler::ApicBase) => Answer::Fault,
            MsrAnswer::Handler(MsrHandler::TscAdjust) => Answer::Vendor(VendorMsr::TscAdjust),
            MsrAnswer::Handler(MsrHandler::Efer) => Answer::Vendor(VendorMsr::Efer),
            MsrAnswer::Handler(MsrHandler::Pat) if pat_is_valid(value) => Answer::Vendor(VendorMsr::Pat),
            MsrAnswer::Handler(MsrHandler::Pat) => Answer::Fault,
            MsrAnswer::Handler(MsrHandler::Tsc) => Answer::Vendor(VendorMsr::Tsc),
            MsrAnswer::Handler(MsrHandler::Speculation) => self.speculation(msr, true),
            MsrAnswer::Handler(MsrHandler::Mtrr | MsrHandler::X2apic | MsrHandler::TscDeadline) => self.unknown(msr),
            MsrAnswer::PassThrough | MsrAnswer::Ask | MsrAnswer::Fault => Answer::Fault,
        }
    }

    /// A control of speculation, if the CPU has it.
    fn speculation(&self, msr: Msr, write: bool) -> Answer {
        let register = self.speculation.register(msr, write);
        register.map_or(Answer::Fault, |register| Answer::Vendor(VendorMsr::Speculation(register)))
    }

    fn value(&self, rule: &MsrRule) -> u64 {
        let kept = rule.slot.and_then(|slot| self.values.get(usize::from(slot)));
        kept.copied().unwrap_or(rule.value)
    }

    /// A write that changes a bit that is not the guest's raises #GP.
    fn write_value(&mut self, rule: &MsrRule, value: u64) -> Answer {
        let old = self.value(rule);
        if (old ^ value) & !(rule.writable | rule.ignored) != 0 {
            return Answer::Fault;
        }
        if let Some(kept) = rule.slot.and_then(|slot| self.values.get_mut(usize::from(slot))) {
            *kept = old & !rule.writable | value & rule.writable;
        }
        Answer::Value(0)
    }

    /// The values that are kept, for a [`State`](crate::State).
    pub(crate) fn save(&self) -> EmulatedMsrs {
        let mut all = EmulatedMsrs::default();
        for rule in self.kept() {
            // There is room for more than the rules have.
            let _ = all.set(rule.first, self.value(rule));
        }
        all
    }

    /// Whether such values can be kept.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a register that is not kept here and is not 0, [`Error::InvalidInput`] for a value that no
    /// guest could have written.
    pub(crate) fn check(&self, saved: &EmulatedMsrs) -> Result<(), Error> {
        for EmulatedMsr { msr, value } in saved.iter() {
            match self.kept().find(|rule| rule.first == msr) {
                Some(rule) if (rule.value ^ value) & !rule.writable == 0 => {}
                Some(_) => return Err(Error::InvalidInput("a saved model-specific register has bits that it has not")),
                None if value == 0 => {}
                None => {
                    return Err(Error::Unsupported("a saved model-specific register that this vendor does not have"));
                }
            }
        }
        Ok(())
    }

    /// Takes them over; those that are not among them are as after a reset.
    pub(crate) fn restore(&mut self, saved: &EmulatedMsrs) {
        let rules = self.policy.rules();
        for rule in rules {
            if let Some(kept) = rule.slot.and_then(|slot| self.values.get_mut(usize::from(slot))) {
                *kept = saved.get(rule.first).unwrap_or(rule.value);
            }
        }
    }

    /// The rules of registers whose values are kept.
    fn kept(&self) -> impl Iterator<Item = &'static MsrRule> {
        self.policy.rules().iter().filter(|rule| rule.slot.is_some())
    }

    /// A register that the library has no device for.
    fn unknown(&self, msr: Msr) -> Answer {
        if self.policy.unknown() == UnknownMsr::AskVmm { Answer::Ask } else { self.unless_x2apic(msr) }
    }

    fn unless_x2apic(&self, msr: Msr) -> Answer {
        if self.x2apic_to_vmm && is_x2apic(msr) { Answer::Ask } else { Answer::Fault }
    }
}

/// Whether a register is in the range of the x2APIC.
fn is_x2apic(msr: Msr) -> bool {
    // The range is architectural: 800H to 8FFH.
    msr.0 >> 8 == IA32_X2APIC_APICID.0 >> 8
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
    use crate::spec::{
        amd::msrs as amd,
        intel::msrs as intel,
        msr_policy::{AMD, AMD_PERMISSION_MAP, INTEL, INTEL_BITMAP},
    };

    fn both(unknown: UnknownMsr, x2apic_to_vmm: bool) -> [MsrState; 2] {
        let configs = [
            MsrConfig { rules: INTEL, bitmap: INTEL_BITMAP, rdtscp: true },
            MsrConfig { rules: AMD, bitmap: AMD_PERMISSION_MAP, rdtscp: true },
        ];
        configs.map(|config| MsrState::new(true, config, unknown, x2apic_to_vmm))
    }

    #[test]
    fn host_registers_fault_whatever_the_vmm_says() {
        for mut state in both(UnknownMsr::AskVmm, true) {
            for msr in
                [amd::VM_HSAVE_PA, amd::VM_CR, intel::IA32_VMX_BASIC, intel::IA32_VMX_EXIT_CTLS2, IA32_BIOS_UPDT_TRIG]
            {
                assert_eq!(state.read(msr), Answer::Fault, "{msr:?}");
                assert_eq!(state.write(msr, 0), Answer::Fault, "{msr:?}");
            }
            assert_eq!(state.read(Msr(0x1234_5678)), Answer::Ask);
        }
    }

    #[test]
    fn x2apic_goes_to_the_vmm_even_when_unknown_registers_fault() {
        for mut state in both(UnknownMsr::Fault, true) {
            assert_eq!(state.read(Msr(0x80b)), Answer::Ask);
            assert_eq!(state.write(Msr(0x8ff), 0), Answer::Ask);
            assert_eq!(state.read(Msr(0x900)), Answer::Fault);
        }
    }

    #[test]
    fn emulated_registers_keep_what_a_guest_may_write() {
        let [mut intel, mut amd] = both(UnknownMsr::Fault, false);
        for state in [&mut intel, &mut amd] {
            let initial =
                msrs::MiscEnable::FAST_STRINGS | msrs::MiscEnable::BTS_UNAVAILABLE | msrs::MiscEnable::PEBS_UNAVAILABLE;
            assert_eq!(state.read(IA32_MISC_ENABLE), Answer::Value(initial.bits()));
            let asked = msrs::MiscEnable::XD_DISABLE | msrs::MiscEnable::PERFORMANCE_MONITORING;
            assert_eq!(state.write(IA32_MISC_ENABLE, asked.bits()), Answer::Value(0));
            let kept = initial.without(msrs::MiscEnable::FAST_STRINGS) | msrs::MiscEnable::XD_DISABLE;
            assert_eq!(state.read(IA32_MISC_ENABLE), Answer::Value(kept.bits()));
            assert_eq!(state.write(IA32_MISC_ENABLE, kept.bits() | 1 << 63), Answer::Fault);
            assert_eq!(state.read(IA32_MISC_ENABLE), Answer::Value(kept.bits()));
            assert_eq!(state.write(IA32_DEBUGCTL, msrs::DebugControl::LBR.bits()), Answer::Value(0));
            assert_eq!(state.read(IA32_DEBUGCTL), Answer::Value(0));
            assert_eq!(state.write(IA32_DEBUGCTL, msrs::DebugControl::BTS.bits()), Answer::Fault);
            assert_eq!((state.read(IA32_MCG_CAP), state.write(IA32_MCG_CAP, 0)), (Answer::Value(0), Answer::Fault));
            assert_eq!(state.read(IA32_MC0_CTL), Answer::Fault);
            assert_eq!(state.read(IA32_XSS), Answer::Fault);
        }
        assert_eq!(amd.read(amd::HWCR), Answer::Value(0));
        assert_eq!(intel.read(amd::HWCR), Answer::Fault);
    }

    #[test]
    fn the_vmm_may_take_the_apic_base() {
        let [mut state, _] = both(UnknownMsr::Fault, false);
        let mut policy = state.policy().clone();
        policy.set(IA32_APIC_BASE.0..=IA32_APIC_BASE.0, MsrAccess::Read, MsrAction::AskVmm).unwrap();
        assert!(matches!(state.read(IA32_APIC_BASE), Answer::Value(_)));
        state.set_policy(policy);
        assert_eq!(state.read(IA32_APIC_BASE), Answer::Ask);
        assert_eq!(state.write(IA32_APIC_BASE, 0), Answer::Fault);
    }

    #[test]
    fn pat_types() {
        let [mut state, _] = both(UnknownMsr::Fault, false);
        assert_eq!(state.write(IA32_PAT, IA32_PAT_RESET), Answer::Vendor(VendorMsr::Pat));
        for bad in [2, 3, 8, 0xff] {
            assert_eq!(state.write(IA32_PAT, bad << 24 | 0x0000_0006), Answer::Fault);
        }
    }
}
