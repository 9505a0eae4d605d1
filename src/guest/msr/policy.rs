//! The policy that a VMM can read and change: what becomes of a guest's RDMSR and WRMSR.

use core::{fmt, ops::RangeInclusive};

use crate::{
    Error, Result,
    spec::{Msr, MsrAnswer, MsrRange, MsrRule, msr_policy::MsrFeature},
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

/// What becomes of an access to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsrAction {
    /// It reaches the register, without an exit. Only for registers that are switched between guest and host.
    PassThrough,
    /// The library answers, as its default says: from what it keeps for the guest, or with a value.
    Library,
    /// A read gives this value; a write does nothing.
    Value(u64),
    /// The VMM is asked: [`VmExit::MsrRead`](crate::VmExit::MsrRead), [`VmExit::MsrWrite`](crate::VmExit::MsrWrite).
    AskVmm,
    /// The guest gets #GP(0).
    Fault,
}

/// Reads, writes or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsrAccess {
    /// RDMSR.
    Read,
    /// WRMSR.
    Write,
    /// Both.
    Both,
}

impl MsrAccess {
    const fn includes(self, write: bool) -> bool {
        matches!((self, write), (Self::Both, _) | (Self::Read, false) | (Self::Write, true))
    }
}

/// One change of the VMM's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edit {
    first: u32,
    last: u32,
    access: MsrAccess,
    action: MsrAction,
}

impl Edit {
    const NONE: Self = Self { first: 1, last: 0, access: MsrAccess::Both, action: MsrAction::Fault };

    const fn covers(&self, msr: u32, write: bool) -> bool {
        self.first <= msr && msr <= self.last && self.access.includes(write)
    }
}

/// How many changes a policy can hold.
const EDITS: usize = 24;

/// What becomes of a guest's accesses to model-specific registers: the library's default
/// ([`spec::msr_policy`](crate::spec::msr_policy)), with the VMM's changes.
///
/// Whatever is set, no register of the host's can be reached: what is not switched between guest and host is never passed
/// through.
///
/// ```no_run
/// # fn main() -> x86_vcpu::Result {
/// # let mut vcpu: x86_vcpu::Vcpu = x86_vcpu::Vcpu::new(x86_vcpu::VcpuConfig::new(0))?;
/// use x86_vcpu::{MsrAccess, MsrAction};
///
/// let mut policy = vcpu.msr_policy().clone();
/// policy.set(0x4000_0000..=0x4000_00ff, MsrAccess::Both, MsrAction::AskVmm)?;
/// policy.set(0xce..=0xce, MsrAccess::Read, MsrAction::Value(0))?;
/// vcpu.set_msr_policy(policy)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MsrPolicy {
    rules: &'static [MsrRule],
    bitmap: &'static [MsrRange],
    edits: [Edit; EDITS],
    used: usize,
    unknown: UnknownMsr,
    /// RDTSCP and RDPID are offered.
    rdtscp: bool,
}

impl MsrPolicy {
    pub(crate) const fn new(
        rules: &'static [MsrRule],
        bitmap: &'static [MsrRange],
        unknown: UnknownMsr,
        rdtscp: bool,
    ) -> Self {
        Self { rules, bitmap, edits: [Edit::NONE; EDITS], used: 0, unknown, rdtscp }
    }

    /// The library's rules for this CPU's vendor, by address. A register that no rule names is [`unknown`](Self::unknown).
    pub const fn rules(&self) -> &'static [MsrRule] {
        self.rules
    }

    /// What becomes of registers that neither a rule nor the VMM names.
    pub const fn unknown(&self) -> UnknownMsr {
        self.unknown
    }

    /// Changes that.
    pub const fn set_unknown(&mut self, unknown: UnknownMsr) {
        self.unknown = unknown;
    }

    /// The library's rule for a register.
    pub fn rule(&self, msr: Msr) -> Option<&'static MsrRule> {
        let after = self.rules.partition_point(|rule| rule.first <= msr.0);
        let rule = self.rules.get(after.checked_sub(1)?)?;
        (msr.0 <= rule.last).then_some(rule)
    }

    /// What becomes of an access: the VMM's last change that covers it, else the library's rule.
    pub fn action(&self, msr: Msr, write: bool) -> MsrAction {
        match self.edit(msr, write) {
            Some(action) if action != MsrAction::Library => action,
            _ => self.default_action(self.rule(msr), write),
        }
    }

    fn edit(&self, msr: Msr, write: bool) -> Option<MsrAction> {
        let edits = self.edits.get(..self.used)?;
        edits.iter().rev().find(|edit| edit.covers(msr.0, write)).map(|edit| edit.action)
    }

    fn default_action(&self, rule: Option<&MsrRule>, write: bool) -> MsrAction {
        let Some(rule) = rule else {
            return match self.unknown {
                UnknownMsr::AskVmm => MsrAction::AskVmm,
                UnknownMsr::Fault => MsrAction::Fault,
            };
        };
        if !self.offers(rule) {
            return MsrAction::Fault;
        }
        match if write { rule.write } else { rule.read } {
            MsrAnswer::PassThrough => MsrAction::PassThrough,
            MsrAnswer::Handler(_) | MsrAnswer::Emulate => MsrAction::Library,
            MsrAnswer::Ask => MsrAction::AskVmm,
            MsrAnswer::Fault => MsrAction::Fault,
        }
    }

    /// Whether RDTSCP and RDPID are offered.
    #[cfg(feature = "replay")]
    pub(crate) const fn has_rdtscp(&self) -> bool {
        self.rdtscp
    }

    /// Whether the vCPU offers what the registers of a rule belong to.
    fn offers(&self, rule: &MsrRule) -> bool {
        match rule.needs {
            None => true,
            Some(MsrFeature::Rdtscp) => self.rdtscp,
        }
    }

    /// Decides what becomes of accesses to a range of registers, instead of what was decided before.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a range without registers, and when one of it is to be passed through that is not
    /// switched between guest and host; [`Error::NoMemory`] after so many changes that there is no room for another.
    pub fn set(&mut self, msrs: RangeInclusive<u32>, access: MsrAccess, action: MsrAction) -> Result {
        let (first, last) = msrs.into_inner();
        if first > last {
            return Err(Error::InvalidInput("a range without model-specific registers"));
        }
        if action == MsrAction::PassThrough && !self.is_switched(first, last) {
            return Err(Error::InvalidInput("a model-specific register that is not switched cannot be passed through"));
        }
        let edit = Edit { first, last, access, action };
        // One that is covered altogether counts no more.
        let mut kept = 0;
        for position in 0..self.used.min(EDITS) {
            let old = self.edits[position];
            let covered = first <= old.first && old.last <= last && (access == MsrAccess::Both || access == old.access);
            if !covered {
                self.edits[kept.min(EDITS - 1)] = old;
                kept += 1;
            }
        }
        self.used = kept;
        let slot = self.edits.get_mut(kept).ok_or(Error::NoMemory)?;
        *slot = edit;
        self.used = kept + 1;
        Ok(())
    }

    /// Whether each of these registers is switched between guest and host here.
    fn is_switched(&self, first: u32, last: u32) -> bool {
        let mut next = Some(first);
        while let Some(msr) = next.filter(|msr| *msr <= last) {
            match self.rule(Msr(msr)) {
                Some(rule) if rule.switched && self.offers(rule) => next = rule.last.checked_add(1),
                _ => return false,
            }
        }
        true
    }

    /// The bits of this vendor's bitmap or permission map for accesses that do not exit.
    pub(crate) fn open_bits(&self) -> impl Iterator<Item = usize> + '_ {
        self.open_bits_of(|_, _| true)
    }

    /// Those of the accesses that `wanted` does not keep out.
    pub(crate) fn open_bits_of<'a>(
        &'a self,
        wanted: impl Fn(Msr, bool) -> bool + 'a,
    ) -> impl Iterator<Item = usize> + 'a {
        let switched = self.rules.iter().filter(|rule| rule.switched);
        switched.flat_map(|rule| rule.first..=rule.last).flat_map(|msr| [(msr, false), (msr, true)]).filter_map(
            move |(msr, write)| match self.action(Msr(msr), write) {
                MsrAction::PassThrough if wanted(Msr(msr), write) => {
                    self.bitmap.iter().find_map(|range| range.bit(msr, write))
                }
                _ => None,
            },
        )
    }
}

impl fmt::Debug for MsrPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let edits = self.edits.get(..self.used).unwrap_or_default();
        f.debug_struct("MsrPolicy").field("unknown", &self.unknown).field("edits", &edits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{
        amd::msrs::{HWCR, TOP_MEM, VM_CR, VM_HSAVE_PA},
        intel::msrs::{IA32_FEATURE_CONTROL, IA32_VMX_BASIC, IA32_VMX_EXIT_CTLS2},
        msr_policy::{AMD, AMD_PERMISSION_MAP, INTEL, INTEL_BITMAP},
        x86::msrs::*,
    };

    fn both() -> [MsrPolicy; 2] {
        [(INTEL, INTEL_BITMAP), (AMD, AMD_PERMISSION_MAP)]
            .map(|(rules, bitmap)| MsrPolicy::new(rules, bitmap, UnknownMsr::AskVmm, true))
    }

    /// Defect 1 of comparable libraries: registers of the host that a guest can reach.
    #[test]
    fn registers_of_the_host_cannot_be_opened() {
        for mut policy in both() {
            for rule in policy.rules().iter().filter(|rule| rule.host) {
                assert!(!rule.switched, "{}", rule.name);
            }
            for msr in [
                VM_HSAVE_PA,
                VM_CR,
                TOP_MEM,
                IA32_FEATURE_CONTROL,
                IA32_VMX_BASIC,
                IA32_VMX_EXIT_CTLS2,
                IA32_BIOS_UPDT_TRIG,
                IA32_DS_AREA,
                IA32_PMC0,
                IA32_SMBASE,
            ] {
                for write in [false, true] {
                    assert_eq!(policy.action(msr, write), MsrAction::Fault, "{msr:?}");
                }
                let opened = policy.set(msr.0..=msr.0, MsrAccess::Both, MsrAction::PassThrough);
                assert!(matches!(opened, Err(Error::InvalidInput(_))), "{msr:?}");
            }
            for msr in
                [IA32_EFER, IA32_SPEC_CTRL, IA32_MTRRCAP, IA32_MTRR_PHYSBASE0, IA32_APIC_BASE, HWCR, Msr(0x1234_5678)]
            {
                assert!(policy.set(msr.0..=msr.0, MsrAccess::Read, MsrAction::PassThrough).is_err(), "{msr:?}");
            }
            // Nor hidden in a range.
            assert!(policy.set(0..=u32::MAX, MsrAccess::Both, MsrAction::PassThrough).is_err());
            let star = IA32_STAR.0..=IA32_FMASK.0;
            assert_eq!(policy.set(star, MsrAccess::Both, MsrAction::PassThrough), Ok(()));
        }
    }

    #[test]
    fn what_passes_has_a_bit_and_nothing_else() {
        for policy in both() {
            let bit = |msr: Msr, write| policy.bitmap.iter().find_map(|range| range.bit(msr.0, write));
            let open: std::vec::Vec<_> = policy.open_bits().collect();
            let passes = |msr, write| bit(msr, write).is_some_and(|bit| open.contains(&bit));
            for msr in [IA32_LSTAR, IA32_KERNEL_GS_BASE, IA32_SYSENTER_EIP, IA32_TSC_AUX, IA32_GS_BASE] {
                assert!(passes(msr, false) && passes(msr, true), "{msr:?}");
            }
            for msr in [IA32_TSC, IA32_EFER, IA32_PAT, IA32_APIC_BASE, IA32_MISC_ENABLE, VM_HSAVE_PA, VM_CR] {
                assert!(!passes(msr, false) && !passes(msr, true), "{msr:?}");
            }
            assert_eq!(open.len(), 5 * 2 + 2 * 2 + 3 * 2 + 2);
        }
    }

    #[test]
    fn places_in_the_bitmaps() {
        let place = |map: &[MsrRange], msr, write| map.iter().find_map(|range| range.bit(msr, write));
        for (msr, write, intel, amd) in [
            (0, false, Some(0), Some(0)),
            (0, true, Some(8 * 2048), Some(1)),
            (0x1fff, true, Some(8 * 2048 + 0x1fff), Some(0x800 * 8 - 1)),
            (0x2000, false, None, None),
            (0xc000_0080, false, Some(8 * 1024 + 0x80), Some(0x800 * 8 + 0x100)),
            (0xc000_0082, true, Some(8 * 3072 + 0x82), Some(0x800 * 8 + 0x105)),
            (0xc001_0000, false, None, Some(0x1000 * 8)),
            (0xc001_1fff, true, None, Some(0x1800 * 8 - 1)),
            (0xc001_2000, true, None, None),
            (u32::MAX, true, None, None),
        ] {
            assert_eq!(place(INTEL_BITMAP, msr, write), intel, "{msr:#x}");
            assert_eq!(place(AMD_PERMISSION_MAP, msr, write), amd, "{msr:#x}");
        }
    }

    #[test]
    fn the_vmm_changes_it() {
        for mut policy in both() {
            let before = policy.clone();
            policy.set(0x100..=0x1ff, MsrAccess::Both, MsrAction::AskVmm).unwrap();
            policy.set(0x180..=0x180, MsrAccess::Read, MsrAction::Value(7)).unwrap();
            assert_eq!(policy.action(Msr(0x180), false), MsrAction::Value(7));
            assert_eq!(policy.action(Msr(0x180), true), MsrAction::AskVmm);
            assert_eq!(policy.action(IA32_SYSENTER_CS, true), MsrAction::AskVmm);
            assert!(policy.open_bits().count() < before.open_bits().count());
            policy.set(0..=u32::MAX, MsrAccess::Both, MsrAction::Library).unwrap();
            assert_eq!(policy.open_bits().count(), before.open_bits().count());
            assert_eq!(policy.action(Msr(0x180), false), before.action(Msr(0x180), false));
            // Full: an error, and what was there stays.
            let mut result = Ok(());
            for msr in 0x5000..0x5100 {
                result = result.and_then(|()| policy.set(msr..=msr, MsrAccess::Read, MsrAction::Value(1)));
            }
            assert_eq!(result, Err(Error::NoMemory));
            assert_eq!(policy.action(Msr(0x5000), false), MsrAction::Value(1));
            #[allow(clippy::reversed_empty_ranges, reason = "what it refuses")]
            let empty = policy.set(5..=4, MsrAccess::Both, MsrAction::Fault);
            assert!(empty.is_err());
            policy.set_unknown(UnknownMsr::Fault);
            assert_eq!(policy.action(Msr(0x1234_5678), true), MsrAction::Fault);
        }
    }

    #[test]
    fn without_rdtscp_there_is_no_tsc_aux() {
        let mut policy = MsrPolicy::new(INTEL, INTEL_BITMAP, UnknownMsr::AskVmm, false);
        assert_eq!(policy.action(IA32_TSC_AUX, false), MsrAction::Fault);
        let aux = IA32_TSC_AUX.0..=IA32_TSC_AUX.0;
        assert!(policy.set(aux, MsrAccess::Both, MsrAction::PassThrough).is_err());
    }

    #[test]
    fn the_rules_are_sorted_and_apart() {
        for rules in [INTEL, AMD] {
            assert!(rules.iter().all(|rule| rule.first <= rule.last));
            assert!(rules.windows(2).all(|pair| pair[0].last < pair[1].first));
        }
    }
}
