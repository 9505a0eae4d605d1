//! `tests/machine/entry_disagreements.toml`: where an emulator is known not to do what the manual says.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::case::Case;
use crate::machines;
use crate::repo::Repo;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    #[serde(default)]
    disagreement: Vec<Row>,
}

/// One thing that an emulator does otherwise.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// The machines of machines.toml where it occurs.
    machines: Vec<String>,
    /// Checks of ours that it does not make. `*` at the end stands for anything.
    #[serde(default)]
    checks: Vec<String>,
    /// Not for any value, but where one of the changes is of this kind.
    #[serde(default)]
    only: Option<Change>,
    /// Or fields that it has and should not have, or the reverse.
    #[serde(default)]
    fields: Vec<String>,
    /// Or what it refuses, or where it does something of its own: every line must hold.
    #[serde(default)]
    case: Option<Pattern>,
    /// What it does.
    does: String,
    /// Why that is not what the manual says.
    because: String,
    cite: BTreeMap<String, String>,
}

/// A change after which a check is not made: a case without one is not explained by it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    /// Of one of these fields,
    fields: Vec<String>,
    /// to a value of which these bits are not all 0,
    mask: Option<u64>,
    /// or one with a byte that is none of these.
    other_bytes: Option<Vec<u8>>,
}

/// Cases that are known.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pattern {
    /// One of these fields is changed.
    fields: Vec<String>,
    /// And these bits of it are not all 0 (or, with `all`, all 1).
    mask: Option<u64>,
    #[serde(default)]
    all: bool,
    /// Or it has this value.
    value: Option<u64>,
    /// What the emulator does.
    did: String,
    /// What the doctor expects, when it matters.
    expected: Option<String>,
    /// The kind of case, and the state that it starts from, when they matter.
    kind: Option<char>,
    #[serde(default)]
    bases: Vec<String>,
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

impl Known {
    pub fn load(repo: &Repo) -> Result<Known> {
        let path = machines::directory(repo).join("entry_disagreements.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let known: Known = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        for row in &known.disagreement {
            let kinds = [!row.checks.is_empty(), !row.fields.is_empty(), row.case.is_some()];
            if kinds.iter().filter(|is| **is).count() != 1 {
                bail!("in {}: `{}` needs one of checks, fields and case", path.display(), row.does);
            }
            if row.only.is_some() && row.checks.is_empty() {
                bail!("in {}: `{}` has `only`, which is about checks", path.display(), row.does);
            }
            if row.does.is_empty() || row.because.is_empty() || !row.cite.contains_key("doc") {
                bail!("in {}: `{}` needs does, because and cite", path.display(), row.does);
            }
        }
        Ok(known)
    }

    fn of<'a>(&'a self, machine: &'a str) -> impl Iterator<Item = (usize, &'a Row)> {
        let rows = self.disagreement.iter().enumerate();
        rows.filter(move |(_, row)| row.machines.iter().any(|name| name == machine))
    }

    /// The rows, by number, that together say why a case does not agree.
    pub fn explain(&self, machine: &str, case: &Case) -> Option<Vec<usize>> {
        if let Some((row, _)) = self.of(machine).find(|(_, row)| row.case.as_ref().is_some_and(|is| is.fits(case))) {
            return Some(vec![row]);
        }
        let row_of = |name: &str| {
            let mut rows = self.of(machine);
            let is_it = |row: &Row| {
                row.checks.iter().any(|check| matches(check, name))
                    && row.only.as_ref().is_none_or(|only| only.fits(case))
            };
            rows.find(|(_, row)| is_it(row)).map(|(row, _)| row)
        };
        let explained = case.agrees_without(&|broken| row_of(&broken.name).is_some());
        explained.then(|| case.broken.iter().filter_map(|broken| row_of(&broken.name)).collect())
    }

    /// The row about a field that exists and should not, or the reverse.
    pub fn explain_field(&self, machine: &str, line: &str) -> Option<usize> {
        let name = line.split_whitespace().next().unwrap_or_default();
        self.of(machine).find(|(_, row)| row.fields.iter().any(|field| field == name)).map(|(row, _)| row)
    }

    /// What does not occur on this machine.
    pub fn unused(&self, machine: &str, used: &BTreeSet<usize>) -> Vec<String> {
        let rows = self.of(machine).filter(|(number, _)| !used.contains(number));
        rows.map(|(_, row)| format!("`{}`", row.does)).collect()
    }
}

impl Change {
    fn fits(&self, case: &Case) -> bool {
        case.changes.iter().any(|(field, value)| {
            self.fields.iter().any(|name| matches(name, field))
                && self.mask.is_none_or(|mask| value & mask != 0)
                && self
                    .other_bytes
                    .as_ref()
                    .is_none_or(|known| value.to_le_bytes().iter().any(|byte| !known.contains(byte)))
        })
    }
}

impl Pattern {
    fn fits(&self, case: &Case) -> bool {
        let is_field = |(field, value): &(String, u64)| {
            let hits = self.mask.is_none_or(|mask| if self.all { value & mask == mask } else { value & mask != 0 });
            let hits = hits && self.value.is_none_or(|wanted| *value == wanted);
            hits && self.fields.iter().any(|name| matches(name, field))
        };
        case.did == self.did
            && self.expected.as_ref().is_none_or(|expected| matches(expected, &case.expected))
            && self.kind.is_none_or(|kind| kind == case.kind)
            && (self.bases.is_empty() || self.bases.contains(&case.base))
            && case.changes.iter().any(is_field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::case::Line;

    fn known(only: &str) -> Known {
        let row = format!(
            "[[disagreement]]\nmachines = ['a']\nchecks = ['PAT_*']\n{only}\ndoes = 'x'\nbecause = 'y'\ncite = {{ doc = 'z' }}"
        );
        toml::from_str(&row).expect("a row")
    }

    /// A case in which the CPU takes what breaks `PAT_LOW`.
    fn case(field: &str, value: u64) -> Case {
        let lines = ["@1 g invalid".to_owned(), format!("= ok long {field}={value:#x} ! 0:invalid:PAT_LOW")];
        match lines.map(|line| Line::parse(&line)) {
            [Some(Line::Begun(mut case)), Some(Line::Did { did, description })] => {
                case.end(&did, &description).expect("a description");
                case
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_check_is_left_out_for_those_values_only() {
        let explained = |only: &str, field: &str, value| known(only).explain("a", &case(field, value)).is_some();
        assert!(explained("", "PAT", 0));
        for (only, field, value, is) in [
            ("only = { fields = ['PAT'], mask = 0xf0 }", "PAT", 0x10, true),
            ("only = { fields = ['PAT'], mask = 0xf0 }", "PAT", 0x0f, false),
            ("only = { fields = ['PAT'], mask = 0xf0 }", "CR3", 0x10, false),
            ("only = { fields = ['PAT'], other_bytes = [0, 6] }", "PAT", 0x0200_0006, true),
            ("only = { fields = ['PAT'], other_bytes = [0, 6] }", "PAT", 0x0600_0006, false),
        ] {
            assert_eq!(explained(only, field, value), is, "{only} {field} {value:#x}");
        }
    }
}
