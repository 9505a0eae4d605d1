//! A VM entry that did not happen, and why.

use core::fmt;

#[cfg(feature = "doctor")]
use crate::entry::{EntryCheck, Violation};
use crate::spec::{
    Msr,
    intel::exits::{ExitReason, ExitReasonWord},
};

/// How many broken rules a failure names.
const NAMED: usize = 3;

/// Why a VM entry did not happen. The guest did not run, and its state is as it was set.
///
/// Printed, it says in words what the CPU said, and, with the feature `doctor`, which rules of the manual the state breaks:
/// on one line, or with `{:#}` on several.
// As small as the largest of the exits besides it: every exit is copied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EntryFailure {
    /// The value of the field that breaks the first rule, or for the register that was refused.
    value: u64,
    /// The exit reason, the VM-instruction error, the lower half of the exit code, or the register that was refused.
    number: u32,
    qualification: u32,
    /// The rules, by their places in the vendor's table. Without one, in the first place the number of those that could not be
    /// judged.
    rules: [u16; NAMED],
    /// How many rules are broken, or the highest number that fits.
    broken: u8,
    flags: u8,
}

/// VMLAUNCH or VMRESUME failed before it loaded guest state: `number` is the VM-instruction error.
const INSTRUCTION: u8 = 1;
/// SVM: `number` is the exit code.
const SVM: u8 = 2;
/// The upper half of the exit code is all ones.
const WIDE: u8 = 4;
/// The library refused the entry before the CPU was asked.
const STRICT: u8 = 8;
/// There is a `value`.
#[cfg(feature = "doctor")]
const VALUE: u8 = 16;
/// The exit reason is [`MSR_LOADING`]; `number` and `value` are those of the entry of the MSR area.
const MSR: u8 = 32;
/// This CPU refuses to read that register, too.
#[cfg(feature = "doctor")]
const ABSENT: u8 = 64;

/// The exit-reason word of an entry that fails because a register is refused.
const MSR_LOADING: ExitReasonWord =
    ExitReasonWord::ENTRY_FAILURE.with_basic_reason(ExitReason::ENTRY_FAILURE_MSR_LOADING.0);

impl EntryFailure {
    const fn new(number: u32, qualification: u32, flags: u8) -> Self {
        Self { value: 0, number, qualification, rules: [0; NAMED], broken: 0, flags }
    }

    /// VMX: the instruction failed with this VM-instruction error.
    #[cfg(any(feature = "vmx", feature = "doctor", test))]
    pub(crate) const fn instruction(error: u32) -> Self {
        Self::new(error, 0, INSTRUCTION)
    }

    /// VMX: the CPU said so by this exit-reason word and qualification. No failure has a qualification of more than 32 bits.
    #[cfg(any(feature = "vmx", feature = "doctor", test))]
    pub(crate) const fn exit(reason: u32, qualification: u64) -> Self {
        Self::new(reason, qualification as u32, 0)
    }

    /// SVM: the exit code.
    #[cfg(any(feature = "amd", feature = "doctor", test))]
    pub(crate) const fn svm(code: u64) -> Self {
        Self::new(code as u32, 0, if code >> 32 != 0 { SVM | WIDE } else { SVM })
    }

    /// The library has found what the CPU would have said so.
    #[cfg(feature = "doctor")]
    pub(crate) const fn foreseen(self) -> Self {
        Self { flags: self.flags | STRICT, ..self }
    }

    /// VMX: the whole exit-reason word (bit 31 set), or 0 when the instruction itself failed. SVM: the exit code.
    pub const fn code(&self) -> u64 {
        if self.flags & WIDE != 0 {
            !(u32::MAX as u64) | self.number as u64
        } else if self.flags & INSTRUCTION != 0 {
            0
        } else if self.flags & MSR != 0 {
            MSR_LOADING.bits() as u64
        } else {
            self.number as u64
        }
    }

    /// VMX: the exit qualification. SVM: 0.
    pub const fn qualification(&self) -> u64 {
        self.qualification as u64
    }

    /// VMX: the VM-instruction error when VMLAUNCH or VMRESUME failed before it loaded guest state, else 0.
    pub const fn instruction_error(&self) -> u32 {
        if self.flags & INSTRUCTION != 0 { self.number } else { 0 }
    }

    /// VMX: the register of the VM-entry MSR-load area that the CPU refused, and the value that it was to have. Nothing for
    /// another failure, and where the library cannot read the area; always nothing without the feature `doctor`.
    pub const fn refused_msr(&self) -> Option<(Msr, u64)> {
        if self.flags & MSR != 0 { Some((Msr(self.number), self.value)) } else { None }
    }

    /// Sets that register, and its value.
    #[cfg(feature = "doctor")]
    pub(super) fn set_refused_msr(&mut self, msr: Msr, value: u64) {
        if self.code() == u64::from(MSR_LOADING.bits()) {
            (self.number, self.value) = (msr.0, value);
            self.flags |= MSR;
        }
    }

    /// Finds out whether this CPU has the register that was refused, where no rule says what is wrong with it.
    #[cfg(all(feature = "doctor", feature = "vmx"))]
    pub(crate) fn ask_for_msr(self, is_absent: impl FnOnce(Msr) -> bool) -> Self {
        match self.refused_msr() {
            Some((msr, _)) if self.broken == 0 && is_absent(msr) => {
                log::error!("RDMSR of {msr:?} raises #GP: this CPU may not have it");
                Self { flags: self.flags | ABSENT, ..self }
            }
            _ => self,
        }
    }

    /// Whether the CPU was not asked at all: a [strict](crate::Vcpu::set_strict_entry) vCPU's check found broken rules. The
    /// other numbers are what the CPU would say.
    pub const fn is_foreseen(&self) -> bool {
        self.flags & STRICT != 0
    }

    /// How many rules of the manual were found broken; 255 stands for more, too. Always 0 without the feature `doctor`.
    pub const fn broken_rules(&self) -> usize {
        self.broken as usize
    }

    /// The first few of the rules that the state breaks, those first that the CPU checks when it fails as it did. The first one
    /// has its value; [`check_entry`](crate::Vcpu::check_entry) finds all, and their values.
    #[cfg(feature = "doctor")]
    pub fn violations(&self) -> impl Iterator<Item = Violation> {
        let value = (self.flags & VALUE != 0).then_some(self.value);
        let checks = self.checks();
        let rules =
            self.rules.into_iter().take(self.broken.into()).filter_map(|rule| checks.get(usize::from(rule)).copied());
        let values = core::iter::once(value).chain(core::iter::repeat(None));
        // They are all of the entry that was refused.
        let entry = (self.flags & MSR != 0).then(|| self.qualification.wrapping_sub(1));
        rules.zip(values).map(move |(check, value)| Violation { check, value, shown: None, entry })
    }

    /// The rules of the CPU's vendor.
    #[cfg(feature = "doctor")]
    pub(super) fn checks(&self) -> &'static [&'static EntryCheck] {
        #[cfg(feature = "amd")]
        if self.flags & SVM != 0 {
            return crate::spec::amd::entry_checks::CHECKS;
        }
        #[cfg(feature = "vmx")]
        if self.flags & SVM == 0 {
            return crate::spec::intel::entry_checks::CHECKS;
        }
        &[]
    }

    /// Whether it is one of SVM.
    #[cfg(feature = "doctor")]
    pub(super) const fn is_svm(&self) -> bool {
        self.flags & SVM != 0
    }

    /// When no rule was found broken: how many rules of those that the CPU checks when it fails as it did could not be judged,
    /// since what they look at is not known (such as memory that the library must not touch).
    #[cfg(feature = "doctor")]
    pub fn not_judged(&self) -> usize {
        if self.broken == 0 { self.rules[0].into() } else { 0 }
    }

    /// Sets that number.
    #[cfg(feature = "doctor")]
    pub(super) fn set_not_judged(&mut self, rules: usize) {
        if self.broken == 0 {
            self.rules[0] = u16::try_from(rules).unwrap_or(u16::MAX);
        }
    }

    /// Adds a rule that is broken.
    #[cfg(feature = "doctor")]
    pub(crate) fn add(&mut self, violation: &Violation) {
        // `position` counts, and a count may overflow as far as the compiler knows.
        let checks = self.checks();
        let is_it = |rule: &usize| checks.get(*rule).is_some_and(|check| *check == violation.check);
        let Some(rule) = (0..checks.len()).find(is_it) else { return };
        if self.broken == 0
            && self.flags & MSR == 0
            && let Some(value) = violation.value
        {
            self.value = value;
            self.flags |= VALUE;
        }
        if let Some(place) = self.rules.get_mut(usize::from(self.broken)) {
            *place = rule as u16;
        }
        self.broken = self.broken.saturating_add(1);
    }

    /// What the CPU said, in words: how the entry failed, without the rules that the state breaks.
    pub fn verdict(&self) -> impl fmt::Display {
        struct Verdict(EntryFailure);
        impl fmt::Display for Verdict {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write_verdict(f)
            }
        }
        Verdict(*self)
    }

    /// What the CPU said.
    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_foreseen() {
            f.write_str("VM entry refused before the CPU was asked, which would say: ")?;
        } else {
            f.write_str("VM entry failed: ")?;
        }
        #[cfg(feature = "amd")]
        if self.flags & SVM != 0 {
            return self.svm_verdict(f);
        }
        #[cfg(feature = "vmx")]
        if self.flags & INSTRUCTION != 0 {
            return self.error_verdict(f);
        } else if self.flags & SVM == 0 {
            return self.reason_verdict(f);
        }
        write!(f, "{:#x}", self.code())
    }

    #[cfg(feature = "amd")]
    fn svm_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::spec::amd::exits::ExitCode;
        // One emulator reports the lower half only.
        let text = match ExitCode(!u64::from(u32::MAX) | u64::from(self.number)) {
            ExitCode::INVALID => "VMEXIT_INVALID (the VMCB breaks a rule)",
            ExitCode::BUSY => "VMEXIT_BUSY (the guest's encrypted state is in use elsewhere)",
            ExitCode::IDLE_REQUIRED => "VMEXIT_IDLE_REQUIRED (the other thread of the core is not idle)",
            ExitCode::INVALID_PMC => "VMEXIT_INVALID_PMC (the state of the performance counters is invalid)",
            _ => return write!(f, "exit code {:#x}", self.code()),
        };
        f.write_str(text)
    }

    #[cfg(feature = "vmx")]
    fn error_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::spec::intel::exits::InstructionError;
        match InstructionError(self.number) {
            InstructionError(0) => f.write_str("there is no current VMCS"),
            error => {
                let text = error.description().unwrap_or("an unknown error");
                write!(f, "VM-instruction error {} ({text})", self.number)
            }
        }
    }

    #[cfg(feature = "vmx")]
    fn reason_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::spec::intel::exit_qualifications::EntryFailureQualification as Qualification;
        let reason = ExitReason(ExitReasonWord::from_bits(self.code() as u32).basic_reason());
        let text = match reason {
            ExitReason::ENTRY_FAILURE_GUEST_STATE => "invalid guest state",
            ExitReason::ENTRY_FAILURE_MSR_LOADING => "a register of the VM-entry MSR-load area was refused",
            ExitReason::ENTRY_FAILURE_MACHINE_CHECK => "a machine check during the entry",
            _ => "an unknown reason",
        };
        write!(f, "exit reason {} ({text}), exit qualification {}", reason.0, self.qualification)?;
        match reason {
            ExitReason::ENTRY_FAILURE_GUEST_STATE => f.write_str(match Qualification(self.qualification.into()) {
                Qualification::UNSPECIFIED => "",
                Qualification::PDPTE_LOADING => " (the PDPTEs could not be loaded)",
                Qualification::NMI_INJECTION_UNDER_STI_BLOCKING => {
                    " (an NMI was to be injected while STI blocks events)"
                }
                Qualification::INVALID_LINK_POINTER => " (the VMCS link pointer is invalid)",
                _ => " (which no table lists)",
            }),
            ExitReason::ENTRY_FAILURE_MSR_LOADING => {
                write!(f, " (entry {} of the area, counted from 1", self.qualification)?;
                match self.refused_msr() {
                    Some((msr, value)) => write!(f, ": MSR {:#x} = {value:#x})", msr.0),
                    None => f.write_str(")"),
                }
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for EntryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_verdict(f)?;
        #[cfg(feature = "doctor")]
        {
            if self.flags & ABSENT != 0 {
                f.write_str("; RDMSR of it raises #GP, too: this CPU may not have it")?;
            }
            if self.broken == 0 {
                return match self.not_judged() {
                    0 => f.write_str("; no rule of the tables is broken"),
                    rules => write!(
                        f,
                        "; no rule of the tables is known to be broken, and {rules} could not be judged, since what they \
                         look at is not known"
                    ),
                };
            }
            for violation in self.violations() {
                if f.alternate() { write!(f, "\n- {violation:#}") } else { write!(f, "; {violation}") }?;
            }
            let more = usize::from(self.broken).saturating_sub(NAMED);
            if more != 0 {
                let separator = if f.alternate() { "\n-" } else { ";" };
                write!(f, "{separator} and {more} more")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for EntryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryFailure")
            .field("code", &format_args!("{:#x}", self.code()))
            .field("qualification", &self.qualification())
            .field("instruction_error", &self.instruction_error())
            .field("broken_rules", &self.broken_rules())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;
    use crate::exit::VmExit;

    #[test]
    fn an_exit_has_the_size_that_it_has_without() {
        assert_eq!((size_of::<EntryFailure>(), size_of::<VmExit>()), (24, 32));
    }

    #[test]
    fn the_numbers_are_those_of_the_cpu() {
        let numbers = |failure: EntryFailure| (failure.code(), failure.qualification(), failure.instruction_error());
        assert_eq!(numbers(EntryFailure::instruction(7)), (0, 0, 7));
        assert_eq!(numbers(EntryFailure::exit(0x8000_0022, 3)), (0x8000_0022, 3, 0));
        for code in [u64::MAX, u64::MAX - 1, u32::MAX.into()] {
            assert_eq!(numbers(EntryFailure::svm(code)), (code, 0, 0));
        }
    }

    #[cfg(all(feature = "vmx", feature = "amd"))]
    #[test]
    fn they_are_put_in_words() {
        for (failure, words) in [
            (EntryFailure::instruction(0), "there is no current VMCS"),
            (EntryFailure::instruction(8), "VM-instruction error 8 (VM entry with invalid host-state field(s))"),
            (EntryFailure::exit(0x8000_0021, 0), "exit reason 33 (invalid guest state), exit qualification 0"),
            (
                EntryFailure::exit(0x8000_0021, 3),
                "exit reason 33 (invalid guest state), exit qualification 3 (an NMI was to be injected while STI blocks \
                 events)",
            ),
            (
                EntryFailure::exit(0x8000_0022, 2),
                "exit reason 34 (a register of the VM-entry MSR-load area was refused), exit qualification 2 (entry 2 of \
                 the area, counted from 1)",
            ),
            (
                EntryFailure::exit(0x8000_0029, 0),
                "exit reason 41 (a machine check during the entry), exit qualification 0",
            ),
            (EntryFailure::svm(u64::MAX), "VMEXIT_INVALID (the VMCB breaks a rule)"),
            (EntryFailure::svm(u32::MAX.into()), "VMEXIT_INVALID (the VMCB breaks a rule)"),
            (EntryFailure::svm(0x1234), "exit code 0x1234"),
        ] {
            assert_eq!(failure.verdict().to_string(), std::format!("VM entry failed: {words}"));
        }
    }

    #[cfg(all(feature = "doctor", feature = "vmx"))]
    #[test]
    fn the_first_rules_are_named_and_the_first_value_is_told() {
        let mut failure = EntryFailure::instruction(7);
        assert!(failure.to_string().ends_with("; no rule of the tables is broken"), "{failure}");
        let checks = crate::spec::intel::entry_checks::CHECKS;
        for (check, value) in checks.iter().zip(1..=5) {
            failure.add(&Violation { check, value: Some(value), shown: None, entry: None });
        }
        assert_eq!(failure.broken_rules(), 5);
        let named: std::vec::Vec<_> = failure.violations().collect();
        assert_eq!(named.len(), 3);
        assert!(named.iter().zip(checks).all(|(violation, check)| violation.check == *check));
        assert_eq!(named.iter().map(|violation| violation.value).collect::<std::vec::Vec<_>>(), [Some(1), None, None]);
        assert!(failure.to_string().ends_with("; and 2 more"), "{failure}");
        assert_eq!(std::format!("{failure:#}").matches("\n- ").count(), 4);
        for _ in 0..1000 {
            failure.add(&named[0]);
        }
        assert_eq!(failure.broken_rules(), 255);
    }
}
