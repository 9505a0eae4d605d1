//! What the doctor says of a case, in the words in which the CPU answers.

use alloc::vec::Vec;
use core::fmt;

use x86_vcpu::entry::{EntryPhase, EntrySeverity, Violation};
use x86_vcpu::spec::intel::exits::{ExitReason, InstructionError};

/// What a CPU does with an entry, or should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It enters the guest.
    Entered,
    /// VMfailValid with this error; 0: VMfailInvalid.
    Failed(u32),
    /// An exit with this reason, whose bit 31 says that the entry failed, and this qualification.
    Refused { reason: u32, qualification: u64 },
    /// VMEXIT_INVALID.
    Invalid,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Outcome::Entered => f.write_str("ok"),
            Outcome::Failed(error) => write!(f, "{error}"),
            Outcome::Refused { reason, qualification } => write!(f, "{reason}.{qualification:x}"),
            Outcome::Invalid => f.write_str("invalid"),
        }
    }
}

/// One check that is broken.
pub struct Broken {
    pub name: &'static str,
    /// What the CPU does about it.
    pub outcome: Outcome,
    /// Of two that are broken the CPU reports the one with the lower number; with the same it may report either.
    pub order: u32,
    /// The manual leaves open what the CPU does.
    pub open: bool,
}

impl Broken {
    fn of(violation: &Violation) -> Option<Self> {
        let check = violation.check;
        let failed = |reason: ExitReason| {
            let qualification = violation.qualification();
            Outcome::Refused { reason: u32::from(reason.0), qualification }
        };
        let (order, outcome) = match check.phase() {
            EntryPhase::Controls => (0, Outcome::Failed(InstructionError::VMENTRY_INVALID_CONTROLS.0)),
            EntryPhase::Host => (0, Outcome::Failed(InstructionError::VMENTRY_INVALID_HOST_STATE.0)),
            EntryPhase::Guest => (1, failed(ExitReason::ENTRY_FAILURE_GUEST_STATE)),
            // Entries are loaded one after the other.
            EntryPhase::MsrLoad => {
                (2 + violation.entry.unwrap_or_default(), failed(ExitReason::ENTRY_FAILURE_MSR_LOADING))
            }
            EntryPhase::Vmrun => (0, Outcome::Invalid),
            _ => return None,
        };
        Some(Self { name: check.name(), outcome, order, open: check.severity() == EntrySeverity::Undefined })
    }
}

/// All that are broken, but for what a CPU ignores.
#[derive(Default)]
pub struct Opinion(pub Vec<Broken>);

impl Opinion {
    /// What the violations of a state come to.
    pub fn of(violations: impl Iterator<Item = Violation>) -> Self {
        let broken = violations.filter(|violation| violation.check.severity() != EntrySeverity::Ignored);
        Self(broken.filter_map(|violation| Broken::of(&violation)).collect())
    }

    /// Those that the CPU may report.
    fn first(&self) -> impl Iterator<Item = &Broken> {
        let order = self.0.iter().filter(|broken| !broken.open).map(|broken| broken.order).min();
        self.0.iter().filter(move |broken| !broken.open && Some(broken.order) == order)
    }

    /// What the CPU should do.
    pub fn outcome(&self) -> Outcome {
        self.first().next().map_or(Outcome::Entered, |broken| broken.outcome)
    }

    /// Whether that is what it did.
    pub fn agrees(&self, did: Outcome) -> bool {
        let first = self.first().next().is_none() && did == Outcome::Entered;
        first
            || self.first().any(|broken| broken.outcome == did)
            || self.0.iter().any(|broken| broken.open && broken.outcome == did)
    }
}

impl fmt::Display for Opinion {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (index, broken) in self.0.iter().enumerate() {
            let (comma, open) = (if index > 0 { "," } else { "" }, if broken.open { "~" } else { "" });
            write!(f, "{comma}{open}{}:{}:{}", broken.order, broken.outcome, broken.name)?;
        }
        Ok(())
    }
}
