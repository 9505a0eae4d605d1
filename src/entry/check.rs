//! A rule, as the tables have it.

use core::fmt;

use super::context::low;
use super::{Context, EntryCapabilities, EntryState, Violation};

/// When a processor checks a rule, and thus how an entry fails that breaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryPhase {
    /// VMX: VM-execution, VM-exit and VM-entry controls. VMLAUNCH and VMRESUME fail with VM-instruction error 7.
    Controls,
    /// VMX: the host-state area. VMLAUNCH and VMRESUME fail with VM-instruction error 8.
    Host,
    /// VMX: the guest-state area. A VM exit follows that says "VM-entry failure due to invalid guest state".
    Guest,
    /// VMX: loading MSRs. A VM exit follows that says "VM-entry failure due to MSR loading"; its qualification is the number
    /// of the entry, counted from 1.
    MsrLoad,
    /// SVM: VMRUN. `#VMEXIT(INVALID)` follows.
    Vmrun,
}

impl fmt::Display for EntryPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EntryPhase::Controls => "controls",
            EntryPhase::Host => "host state",
            EntryPhase::Guest => "guest state",
            EntryPhase::MsrLoad => "MSR loading",
            EntryPhase::Vmrun => "VMRUN",
        })
    }
}

/// What becomes of an entry that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntrySeverity {
    /// It fails.
    Failure,
    /// It succeeds; the processor ignores, replaces or canonicalises the value.
    Ignored,
    /// The manual leaves open what happens.
    Undefined,
}

impl fmt::Display for EntrySeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EntrySeverity::Failure => "the entry fails",
            EntrySeverity::Ignored => "the entry succeeds, with another value than this",
            EntrySeverity::Undefined => "the manual leaves open what happens",
        })
    }
}

/// A field of a VMCS or VMCB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryField {
    /// Its name in the tables: `GUEST_RIP`, `save.RIP`.
    pub name: &'static str,
    /// Of VMX the encoding; of SVM the offset in the VMCB.
    pub number: u32,
    /// Its size.
    pub bytes: u32,
}

impl EntryField {
    /// Its value, without bits that it has not.
    fn of(self, state: &dyn EntryState) -> Option<u64> {
        state.field(self.number, self.bytes).map(|value| low(value, self.bytes))
    }
}

/// A rule that a processor checks before it enters a guest.
///
/// The rules of a vendor are in the table `CHECKS` of [`spec::intel::entry_checks`](crate::spec::intel::entry_checks) and of
/// [`spec::amd::entry_checks`](crate::spec::amd::entry_checks).
pub struct EntryCheck {
    pub(crate) name: &'static str,
    pub(crate) field: EntryField,
    pub(crate) phase: EntryPhase,
    pub(crate) severity: EntrySeverity,
    pub(crate) qualification: u64,
    pub(crate) when: &'static [&'static str],
    pub(crate) require: &'static str,
    pub(crate) explanation: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) document: &'static str,
    pub(crate) section: &'static str,
    pub(crate) inputs: &'static [EntryField],
    /// How many entries an MSR area has and where it is, if it is looked at entry by entry.
    pub(crate) entries: Option<(EntryField, EntryField)>,
    /// Whether it is kept, or has nothing to say.
    pub(crate) kept: fn(&Context<'_>) -> bool,
    pub(crate) shows: Option<fn(&Context<'_>) -> u64>,
}

/// As many entries of an MSR area are looked at.
pub(crate) const ENTRIES: u64 = 512;

/// As many bytes has each.
pub(crate) const ENTRY: u64 = 16;

impl EntryCheck {
    /// Its name, unique among those of its vendor.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The field that is at fault when it is broken.
    pub const fn field(&self) -> EntryField {
        self.field
    }

    /// When the processor checks it.
    pub const fn phase(&self) -> EntryPhase {
        self.phase
    }

    /// What becomes of an entry that breaks it.
    pub const fn severity(&self) -> EntrySeverity {
        self.severity
    }

    /// The exit qualification of a VM exit for invalid guest state that it causes.
    pub const fn qualification(&self) -> u64 {
        self.qualification
    }

    /// The conditions under which it says anything; all have to hold. As in the tables.
    pub const fn when(&self) -> &'static [&'static str] {
        self.when
    }

    /// What has to hold then. As in the tables.
    pub const fn require(&self) -> &'static str {
        self.require
    }

    /// What the rule is and why it is there.
    pub const fn explanation(&self) -> &'static str {
        self.explanation
    }

    /// How to mend a state that breaks it.
    pub const fn hint(&self) -> &'static str {
        self.hint
    }

    /// The document that it is from, with its revision.
    pub const fn document(&self) -> &'static str {
        self.document
    }

    /// The section or table of the document.
    pub const fn section(&self) -> &'static str {
        self.section
    }

    /// Every field that it looks at. It also looks at MSRs and CPUID bits, which are not here.
    pub const fn inputs(&self) -> &'static [EntryField] {
        self.inputs
    }

    /// Whether the state keeps it; `true` also where it has nothing to say. Nothing if that cannot be told, since a value
    /// is not known. Of a rule for the entries of an MSR area whether all of them keep it.
    pub fn holds(&self, state: &dyn EntryState, capabilities: &dyn EntryCapabilities) -> Option<bool> {
        let Some(count) = self.count(state) else {
            let context = Context::new(state, capabilities, None);
            let kept = (self.kept)(&context);
            return context.known(kept);
        };
        let (mut all, mut known) = (true, true);
        for index in 0..count? {
            let context = Context::new(state, capabilities, self.entry(state, index));
            let kept = (self.kept)(&context);
            match context.known(kept) {
                Some(kept) => all &= kept,
                None => known = false,
            }
        }
        if all && !known { None } else { Some(all) }
    }

    /// How the state breaks it, if it does. Of a rule for the entries of an MSR area, the first entry from `start` on that
    /// does.
    pub(super) fn broken(
        &'static self,
        state: &dyn EntryState,
        capabilities: &dyn EntryCapabilities,
        start: u32,
    ) -> Option<Violation> {
        let judge = |context: &Context<'_>, entry| {
            let kept = (self.kept)(context);
            if context.known(kept) != Some(false) {
                return None;
            }
            let shown = self.shows.and_then(|shows| {
                let shown = shows(context);
                context.known(shown)
            });
            let value = self.field.of(state);
            Some(Violation { check: self, value, shown, entry })
        };
        match self.count(state) {
            None if start == 0 => judge(&Context::new(state, capabilities, None), None),
            None => None,
            Some(count) => (start..count?)
                .find_map(|index| judge(&Context::new(state, capabilities, self.entry(state, index)), Some(index))),
        }
    }

    /// How many entries are looked at, if it looks at entries and the number is known.
    fn count(&self, state: &dyn EntryState) -> Option<Option<u32>> {
        let (count, _) = self.entries?;
        let count = count.of(state);
        Some(count.map(|count| count.min(ENTRIES) as u32))
    }

    /// The address of an entry of 16 bytes.
    fn entry(&self, state: &dyn EntryState, index: u32) -> Option<u64> {
        let (_, address) = self.entries?;
        let address = address.of(state)?;
        Some(address.wrapping_add(u64::from(index).wrapping_mul(ENTRY)))
    }
}

impl fmt::Debug for EntryCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryCheck").field("name", &self.name).field("field", &self.field.name).finish_non_exhaustive()
    }
}

/// Rules are the same when they are the same row.
impl PartialEq for EntryCheck {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self, other)
    }
}

impl Eq for EntryCheck {}
