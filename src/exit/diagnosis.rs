//! Why an entry failed, or would: the rules of the manual that the state breaks.

use super::EntryFailure;
use crate::{
    entry::{EntryCapabilities, EntryCheck, EntryPhase, EntrySeverity, EntryState, Violation, Violations},
    spec::intel::exits::{ExitReason, ExitReasonWord, InstructionError},
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
        let first = Violations::of(checks, state, capabilities).find(is_fatal)?;
        Some(Self::said_of(&first).foreseen())
    }

    /// Adds the rules that this state breaks, and tells the log of the failure and of each rule: those first that the CPU checks
    /// when it fails as it did, then what it would find next.
    pub(crate) fn explain(mut self, state: &dyn EntryState, capabilities: &dyn EntryCapabilities) -> Self {
        log::error!("{}", self.verdict());
        let Some(phase) = self.phase() else { return self };
        let checks = self.checks();
        let broken = || Violations::of(checks, state, capabilities).filter(is_fatal);
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
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::spec::intel::{
        entry_checks::CHECKS,
        vmcs::{CR3_TARGET_COUNT, HOST_TR_SELECTOR},
    };

    /// Fields with their values; nothing else is known.
    struct Known(&'static [(u32, u64)]);

    impl EntryState for Known {
        fn field(&self, number: u32, _bytes: u32) -> Option<u64> {
            self.0.iter().find(|(field, _)| *field == number).map(|(_, value)| *value)
        }

        fn memory(&self, _address: u64, _bytes: u32) -> Option<u64> {
            None
        }
    }

    struct Zero;

    impl EntryCapabilities for Zero {
        fn msr(&self, _address: u32) -> Option<u64> {
            Some(0)
        }

        fn cpuid(&self, _leaf: u32, _subleaf: u32) -> Option<[u32; 4]> {
            Some([0; 4])
        }
    }

    const SPOILED: Known = Known(&[(CR3_TARGET_COUNT.encoding(), 5), (HOST_TR_SELECTOR.encoding(), 0)]);

    fn fields(failure: EntryFailure) -> Vec<u32> {
        failure.violations().map(|violation| violation.check.field().number).collect()
    }

    #[test]
    fn what_failed_comes_first_and_what_was_passed_is_not_told() {
        let (controls, host) = (CR3_TARGET_COUNT.encoding(), HOST_TR_SELECTOR.encoding());
        let explained = |failure: EntryFailure| fields(failure.explain(&SPOILED, &Zero));
        assert_eq!(explained(EntryFailure::instruction(7)), [controls, host]);
        assert_eq!(explained(EntryFailure::instruction(8)), [host, controls]);
        assert_eq!(explained(EntryFailure::exit(0x8000_0021, 0)), [0; 0]);
        // A failure of another kind, such as that of a launched VMCS, has nothing to do with the state.
        assert_eq!(explained(EntryFailure::instruction(4)), [0; 0]);
    }

    #[test]
    fn without_a_broken_rule_those_that_could_not_be_judged_are_counted() {
        let failure = EntryFailure::exit(0x8000_0021, 0).explain(&SPOILED, &Zero);
        assert!(failure.broken_rules() == 0 && failure.not_judged() > 0);
    }

    #[test]
    fn a_failure_is_foreseen_as_the_cpu_tells_it() {
        let foreseen = EntryFailure::foresee(CHECKS, &SPOILED, &Zero).expect("a broken rule");
        assert_eq!((foreseen.instruction_error(), foreseen.is_foreseen()), (7, true));
        assert_eq!(EntryFailure::foresee(CHECKS, &Known(&[]), &Zero), None);
    }
}
