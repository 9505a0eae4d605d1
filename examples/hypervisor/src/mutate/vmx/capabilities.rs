//! What this CPU can do, read as the doctor asks for it.

use alloc::vec::Vec;

use x86_vcpu::entry::{EntryCapabilities, EntryState};
use x86_vcpu::spec::intel::{conditions::AllowedControls, controls, entry_checks, msrs};

use super::super::doctor::Opinion;
use super::super::registers::{cpuid, physical, rdmsr};
use super::instructions::vmread;

/// The capability MSRs that this CPU has.
pub struct Capabilities {
    values: Vec<(u32, u64)>,
    allowed: AllowedControls,
}

/// A control word of 32 bits: which bits must be 1, and which may.
#[derive(Clone, Copy)]
pub struct Word {
    pub required: u32,
    pub allowed: u32,
}

impl Word {
    /// The wanted bits as far as they are allowed, and what must be.
    pub fn make(self, wanted: u32) -> u64 {
        (wanted & self.allowed | self.required).into()
    }
}

impl Capabilities {
    /// Reads them: the library has asked this CPU already.
    pub fn read() -> Self {
        use msrs::*;
        let library = x86_vcpu::vmx::Capabilities::get().expect("VMX is on");
        let allowed = library.allowed;
        let has_secondary = allowed.primary.contains(controls::PrimaryControls::ACTIVATE_SECONDARY_CONTROLS);
        let tags = controls::SecondaryControls::ENABLE_EPT.with(controls::SecondaryControls::ENABLE_VPID);
        let is_true = library.basic.contains(VmxBasic::TRUE_CONTROLS);
        let mut values = Vec::new();
        let always = [
            IA32_VMX_BASIC,
            IA32_VMX_PINBASED_CTLS,
            IA32_VMX_PROCBASED_CTLS,
            IA32_VMX_EXIT_CTLS,
            IA32_VMX_ENTRY_CTLS,
            IA32_VMX_MISC,
            IA32_VMX_CR0_FIXED0,
            IA32_VMX_CR0_FIXED1,
            IA32_VMX_CR4_FIXED0,
            IA32_VMX_CR4_FIXED1,
            IA32_VMX_VMCS_ENUM,
        ];
        let sometimes = [
            (IA32_VMX_PROCBASED_CTLS2, has_secondary),
            (IA32_VMX_EPT_VPID_CAP, allowed.secondary.intersects(tags)),
            (IA32_VMX_TRUE_PINBASED_CTLS, is_true),
            (IA32_VMX_TRUE_PROCBASED_CTLS, is_true),
            (IA32_VMX_TRUE_EXIT_CTLS, is_true),
            (IA32_VMX_TRUE_ENTRY_CTLS, is_true),
            (IA32_VMX_VMFUNC, allowed.secondary.contains(controls::SecondaryControls::ENABLE_VM_FUNCTIONS)),
            (IA32_VMX_PROCBASED_CTLS3, allowed.primary.contains(controls::PrimaryControls::ACTIVATE_TERTIARY_CONTROLS)),
            (IA32_VMX_EXIT_CTLS2, allowed.exit.contains(controls::ExitControls::ACTIVATE_SECONDARY_CONTROLS)),
        ];
        for msr in always.into_iter().chain(sometimes.into_iter().filter(|(_, has)| *has).map(|(msr, _)| msr)) {
            // SAFETY: every CPU with VMX has the first ones, and the others where a control or a bit announces them.
            values.push((msr.0, unsafe { rdmsr(msr.0) }));
        }
        Self { values, allowed }
    }

    pub fn allowed(&self) -> &AllowedControls {
        &self.allowed
    }

    pub fn msr(&self, address: u32) -> Option<u64> {
        self.values.iter().find(|(known, _)| *known == address).map(|(_, value)| *value)
    }

    pub fn revision(&self) -> u32 {
        self.msr(msrs::IA32_VMX_BASIC.0).unwrap_or_default() as u32 & 0x7FFF_FFFF
    }

    /// A control word, by the capability MSR that counts.
    pub fn word(&self, plain: x86_vcpu::spec::Msr, with_true: x86_vcpu::spec::Msr) -> Word {
        let value = self.msr(with_true.0).or(self.msr(plain.0)).unwrap_or_default();
        Word { required: value as u32, allowed: (value >> 32) as u32 }
    }
}

/// The current VMCS, and memory up to `end`.
pub struct State {
    pub region: u64,
    pub end: u64,
}

impl EntryState for State {
    fn field(&self, number: u32, _: u32) -> Option<u64> {
        vmread(number)
    }

    fn memory(&self, address: u64, bytes: u32) -> Option<u64> {
        // SAFETY: what the harness's VMCS points to is memory that nobody has references to.
        unsafe { physical(address, bytes, self.end) }
    }

    fn current_vmcs(&self) -> Option<u64> {
        Some(self.region)
    }
}

impl EntryCapabilities for Capabilities {
    fn msr(&self, address: u32) -> Option<u64> {
        self.msr(address)
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        Some(cpuid(leaf, subleaf))
    }
}

/// The doctor's opinion on the current VMCS.
pub fn opinion(capabilities: &Capabilities, state: &State) -> Opinion {
    Opinion::of(entry_checks::check(state, capabilities))
}
