//! A rule that is broken, and how it reads.

use core::fmt;

use super::EntryCheck;

/// A rule that a state breaks.
///
/// Of an MSR area the entry is printed as the exit qualification counts it: the first is 1.
///
/// `{}` prints a line: the field and its value, what the rule is, where it is from, how to mend it. `{:#}` prints a
/// paragraph with the rule itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub check: &'static EntryCheck,
    /// The value of [`EntryCheck::field`], if it is known.
    pub value: Option<u64>,
    /// A number that the rule has to show besides, such as the bits that are wrong.
    pub shown: Option<u64>,
    /// Which entry of an MSR area, counted from 0.
    pub entry: Option<u32>,
}

impl Violation {
    /// The exit qualification of a VM exit that it causes: of a rule for entries of an MSR area the number of the entry,
    /// counted from 1.
    pub fn qualification(&self) -> u64 {
        self.entry.map_or(self.check.qualification, |entry| u64::from(entry).wrapping_add(1))
    }

    /// The field and what is known of it.
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.check.field.name)?;
        if let Some(value) = self.value {
            write!(f, " = {value:#x}")?;
        }
        if let Some(entry) = self.entry {
            write!(f, ", entry {}", u64::from(entry).wrapping_add(1))?;
        }
        if let Some(shown) = self.shown {
            write!(f, " ({shown:#x})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let check = self.check;
        self.head(f)?;
        if !f.alternate() {
            let EntryCheck { name, section, document, .. } = check;
            write!(f, ": {} ({name}; section \"{section}\" of {document}). ", Open(check.explanation))?;
            return write!(f, "Mend: {}", Sentence(check.hint));
        }
        writeln!(f, " breaks {}", check.name)?;
        writeln!(f, "    {}", Sentence(check.explanation))?;
        f.write_str("    Rule: ")?;
        for (index, when) in check.when.iter().enumerate() {
            write!(f, "{}`{when}`", if index == 0 { "if " } else { " and " })?;
        }
        writeln!(f, "{}`{}`", if check.when.is_empty() { "" } else { ", then " }, check.require)?;
        writeln!(f, "    Checked with: {}; {}.", check.phase, check.severity)?;
        writeln!(f, "    See: \"{}\", {}", check.section, check.document)?;
        write!(f, "    Mend: {}", Sentence(check.hint))
    }
}

/// A text that a full stop ends.
struct Sentence(&'static str);

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", Open(self.0))
    }
}

/// A text without the full stop that ends it.
struct Open(&'static str);

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.trim_end_matches('.'))
    }
}
