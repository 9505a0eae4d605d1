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
