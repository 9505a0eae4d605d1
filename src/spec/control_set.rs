//! What VM entry asks of the VMX controls together: SDM volume 3, "Checks on VMX Controls".

use core::fmt;

/// A bit of a control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlBit {
    word: u8,
    mask: u64,
    name: &'static str,
}

impl ControlBit {
    #[allow(dead_code, reason = "a spec may do without dependencies")]
    pub(super) const fn new(word: u8, mask: u64, name: &'static str) -> Self {
        ControlBit { word, mask, name }
    }

    /// Its word and its name, as the spec writes them: `secondary.ENABLE_EPT`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    fn is_set(&self, words: &[u64]) -> bool {
        words.get(usize::from(self.word)).is_some_and(|word| word & self.mask != 0)
    }
}

/// What a control asks of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyKind {
    /// That it is 1.
    Requires,
    /// That it is 0.
    Excludes,
}

/// When `bit` is 1, VM entry asks something of `other`, and fails with VM-instruction error 7 otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The control that asks.
    pub bit: ControlBit,
    /// What it asks.
    pub kind: DependencyKind,
    /// Of which one.
    pub other: ControlBit,
}

impl Dependency {
    pub(super) fn is_broken(&self, words: &[u64]) -> bool {
        self.bit.is_set(words) && self.other.is_set(words) != (self.kind == DependencyKind::Requires)
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = match self.kind {
            DependencyKind::Requires => 1,
            DependencyKind::Excludes => 0,
        };
        write!(f, "when {} is 1, {} must be {wanted}", self.bit.name, self.other.name)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;
    use std::vec::Vec;

    use crate::spec::intel::controls::{ControlSet, EntryControls, ExitControls, PrimaryControls, SecondaryControls};

    fn conflicts(set: ControlSet) -> Vec<std::string::String> {
        set.conflicts().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_control_needs_and_what_it_forbids() {
        let set = ControlSet {
            primary: PrimaryControls::ACTIVATE_SECONDARY_CONTROLS.with(PrimaryControls::USE_TPR_SHADOW),
            secondary: SecondaryControls::VIRTUALIZE_X2APIC_MODE
                .with(SecondaryControls::VIRTUALIZE_APIC_ACCESSES)
                .with(SecondaryControls::UNRESTRICTED_GUEST),
            ..ControlSet::default()
        };
        assert_eq!(
            conflicts(set),
            [
                "when secondary.VIRTUALIZE_X2APIC_MODE is 1, secondary.VIRTUALIZE_APIC_ACCESSES must be 0",
                "when secondary.UNRESTRICTED_GUEST is 1, secondary.ENABLE_EPT must be 1",
            ]
        );
    }

    #[test]
    fn a_word_that_is_not_activated_counts_as_0() {
        let set = ControlSet { secondary: SecondaryControls::UNRESTRICTED_GUEST, ..ControlSet::default() };
        assert_eq!(conflicts(set), [""; 0]);
    }

    #[test]
    fn a_64_bit_guest_needs_a_64_bit_host() {
        let mut set = ControlSet { entry: EntryControls::IA32E_MODE_GUEST, ..ControlSet::default() };
        assert_eq!(conflicts(set), ["when entry.IA32E_MODE_GUEST is 1, exit.HOST_ADDRESS_SPACE_SIZE must be 1"]);
        set.exit = ExitControls::HOST_ADDRESS_SPACE_SIZE;
        assert_eq!(conflicts(set), [""; 0]);
    }
}
