//! The counts of one machine: agreed, explained, not explained, by what the cases are about.

use std::collections::BTreeMap;
use std::fmt;

use super::case::Case;

/// The counts.
#[derive(Clone, Default)]
pub struct Table(BTreeMap<char, Row>);

#[derive(Clone, Copy, Default)]
struct Row {
    agreed: usize,
    explained: usize,
    unexplained: usize,
}

/// What the letters stand for, in the order of the table.
const KINDS: [(char, &str); 8] = [
    ('r', "valid states, entered"),
    ('c', "control fields"),
    ('h', "host state"),
    ('g', "guest state"),
    ('e', "events"),
    ('s', "segments"),
    ('m', "modes"),
    ('l', "MSRs to load"),
];

impl Table {
    /// Counts a case.
    pub fn count(&mut self, case: &Case) {
        let row = self.0.entry(case.kind).or_default();
        if case.agrees() {
            row.agreed += 1;
        } else {
            row.unexplained += 1;
        }
    }

    /// A case that did not agree is explained.
    pub fn explain(&mut self, case: &Case) {
        if case.agrees() {
            return;
        }
        let row = self.0.entry(case.kind).or_default();
        row.unexplained = row.unexplained.saturating_sub(1);
        row.explained += 1;
    }

    pub fn unexplained(&self) -> usize {
        self.0.values().map(|row| row.unexplained).sum()
    }

    pub fn cases(&self) -> usize {
        self.0.values().map(|row| row.agreed + row.explained + row.unexplained).sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "  {:24}{:>8}{:>11}{:>13}", "", "agreed", "explained", "unexplained")?;
        let mut sum = Row::default();
        for (kind, title) in KINDS {
            let Some(row) = self.0.get(&kind) else { continue };
            writeln!(f, "  {title:24}{:8}{:11}{:13}", row.agreed, row.explained, row.unexplained)?;
            sum.agreed += row.agreed;
            sum.explained += row.explained;
            sum.unexplained += row.unexplained;
        }
        writeln!(f, "  {:24}{:8}{:11}{:13}", "all", sum.agreed, sum.explained, sum.unexplained)
    }
}
