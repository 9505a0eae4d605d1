//! Why an entry failed, or would: the rules of the manual that the state breaks.

use super::EntryFailure;
use crate::{
    entry::{ENTRY, EntryCapabilities, EntryCheck, EntryPhase, EntrySeverity, EntryState, Violation, Violations},
    spec::{
        Msr,
        intel::{
            exits::{ExitReason, ExitReasonWord, InstructionError},
            vmcs::{VM_ENTRY_MSR_LOAD_ADDRESS, VM_ENTRY_MSR_LOAD_COUNT},
        },
    },
};

/// As many broken rules the log is told of.
const LOGGED: usize = 16;

/// The phases in the order in which a CPU goes through them. Controls and host state may come in either order.
fn order(phase: EntryPhase) -> u8 {
    match phase {
        EntryPhase::Controls | EntryPhase::Host => 0,
        EntryPhase::Guest => 1,
        _ => 2,
    }
}

/// Whether an entry fails because of it.
fn is_fatal(violation: &Violation) -> bool {
    violation.check.severity() == EntrySeverity::Failure
}

impl EntryFailure {
    /// Which phase failed, if the CPU said so.
    fn phase(&self) -> Option<EntryPhase> {
        if self.is_svm() {
            return Some(EntryPhase::Vmrun);
        }
        match InstructionError(self.instruction_error()) {
            InstructionError::VMENTRY_INVALID_CONTROLS => return Some(EntryPhase::Controls),
            InstructionError::VMENTRY_INVALID_HOST_STATE => return Some(EntryPhase::Host),
            _ => {}
        }
        match ExitReason(ExitReasonWord::from_bits(self.code() as u32).basic_reason()) {
            ExitReason::ENTRY_FAILURE_GUEST_STATE => Some(EntryPhase::Guest),
            ExitReason::ENTRY_FAILURE_MSR_LOADING => Some(EntryPhase::MsrLoad),
            _ => None,
        }
    }

    /// What a CPU says that finds this rule broken.
    fn said_of(violation: &Violation) -> Self {
        let exit = |reason: ExitReason| {
            let word = ExitReasonWord::ENTRY_FAILURE.with_basic_reason(reason.0);
            Self::exit(word.bits(), violation.qualification())
        };
        match violation.check.phase() {
            EntryPhase::Controls => Self::instruction(InstructionError::VMENTRY_INVALID_CONTROLS.0),
            EntryPhase::Host => Self::instruction(InstructionError::VMENTRY_INVALID_HOST_STATE.0),
            EntryPhase::Guest => exit(ExitReason::ENTRY_FAILURE_GUEST_STATE),
            EntryPhase::MsrLoad => exit(ExitReason::ENTRY_FAILURE_MSR_LOADING),
            _ => Self::svm(crate::spec::amd::exits::ExitCode::INVALID.0),
        }
    }

    /// The failure of an entry with this state, if a CPU would refuse it.
    pub(crate) fn foresee(
        checks: &'static [&'static EntryCheck],
        state: &dyn EntryState,
        capabilities: &dyn EntryCapabilities,
    ) -> Option<Self> {
        let mut broken = Violations::of(checks, state, capabilities).filter(is_fatal);
        let mut first = broken.next()?;
        // An MSR area is gone through entry by entry, its rules are not.
        if first.entry.is_some() {
            for other in broken.filter(|other| other.entry.is_some()) {
                if other.entry < first.entry {
                    first = other;
                }
            }
        }
        Some(Self::said_of(&first).foreseen())
    }

    /// Looks at the entry of the MSR area that was refused.
    fn find_msr(&mut self, state: &dyn EntryState) -> Option<()> {
        let field = |field: u32, bytes| state.field(field, bytes);
        let index = self.qualification().checked_sub(1)?;
        let known = field(VM_ENTRY_MSR_LOAD_COUNT.encoding(), 4)? > index;
        let at = field(VM_ENTRY_MSR_LOAD_ADDRESS.encoding(), 8)?.checked_add(index.checked_mul(ENTRY)?)?;
        let (msr, value) = (state.memory(at, 4)?, state.memory(at.checked_add(8)?, 8)?);
        known.then(|| self.set_refused_msr(Msr(msr as u32), value))
    }

    /// Adds the rules that this state breaks, and tells the log of the failure and of each rule: those first that the CPU checks
    /// when it fails as it did, then what it would find next.
    pub(crate) fn explain(mut self, state: &dyn EntryState, capabilities: &dyn EntryCapabilities) -> Self {
        let phase = self.phase();
        if phase == Some(EntryPhase::MsrLoad) {
            self.find_msr(state);
        }
        log::error!("{}", self.verdict());
        let Some(phase) = phase else { return self };
        let (checks, qualification) = (self.checks(), self.qualification());
        // Of an MSR area the CPU has taken the entries before, and not looked at those behind.
        let of_entry = |violation: &Violation| {
            phase != EntryPhase::MsrLoad || violation.entry.is_none() || violation.qualification() == qualification
        };
        let broken = || Violations::of(checks, state, capabilities).filter(is_fatal).filter(of_entry);
        let mut tell = |violation: Violation| {
            if self.broken_rules() < LOGGED {
                log::error!("{violation}");
            }
            self.add(&violation);
        };
        broken().filter(|violation| violation.check.phase() == phase).for_each(&mut tell);
        let later = |other: EntryPhase| other != phase && order(other) >= order(phase);
        broken().filter(|violation| later(violation.check.phase())).for_each(&mut tell);
        match self.broken_rules() {
            0 => {
                let mut rules = 0_usize;
                for check in checks.iter().filter(|check| check.phase() == phase) {
                    if check.holds(state, capabilities).is_none() {
                        rules = rules.saturating_add(1);
                    }
                }
                self.set_not_judged(rules);
                log::error!("no rule of the tables is broken; {} could not be judged", self.not_judged());
            }
            more @ LOGGED.. => log::error!("{} rules are broken in all", more),
            _ => {}
        }
        self
    }
}

#[cfg(all(test, feature = "vmx"))]
mod tests;
