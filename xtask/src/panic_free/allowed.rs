//! The list of references to panics that stay, each with the reason why no guest can get there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::search::Found;

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    #[serde(default)]
    allowed: Vec<Entry>,
}

/// What one entry allows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The function that refers to the panic. A star at its end stands for anything.
    function: String,
    /// The function of the panic. A star at its end stands for anything.
    panics: String,
    /// Why a guest cannot get there.
    why: String,
}

impl Allowed {
    pub fn read(text: &str) -> Result<Allowed> {
        let allowed: Allowed = toml::from_str(text).context("cannot read the list")?;
        for entry in &allowed.allowed {
            ensure!(entry.why.split_whitespace().count() >= 5, "{} has no argument", entry.function);
        }
        Ok(allowed)
    }

    /// What is wrong: panics that are not listed, and entries that nothing needs. Empty if nothing is.
    pub fn compare(&self, found: &[Found]) -> String {
        let mut needed = vec![false; self.allowed.len()];
        let mut unlisted = BTreeMap::new();
        for found in found {
            let mut listed = false;
            for (entry, needed) in self.allowed.iter().zip(&mut needed) {
                if fits(&entry.function, &found.function) && fits(&entry.panics, &found.panics) {
                    (listed, *needed) = (true, true);
                }
            }
            if !listed {
                unlisted.entry(&found.function).or_insert_with(Vec::new).push(found);
            }
        }
        let mut text = String::new();
        for (function, found) in unlisted {
            let _ = writeln!(text, "a guest can reach `{function}`, which may panic:");
            for found in &found {
                let _ = writeln!(text, "    through {}", found.panics);
            }
            let _ = writeln!(text, "    at {}", found[0].places.join(", "));
            let _ = writeln!(text, "    by {}", found[0].path.join(" -> "));
        }
        for (entry, needed) in self.allowed.iter().zip(&needed) {
            if !needed {
                let _ = writeln!(text, "no longer needed: {} with {}", entry.function, entry.panics);
            }
        }
        text
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Vec<Found> {
        vec![Found {
            function: "x86_vcpu::b".into(),
            panics: "core::panicking::panic".into(),
            path: vec!["root_run".into(), "x86_vcpu::b".into()],
            places: vec!["src/b.rs:1:2".into()],
        }]
    }

    fn list(function: &str, panics: &str) -> Allowed {
        let why = "because nothing that a guest does leads there";
        let text = format!("[[allowed]]\nfunction = \"{function}\"\npanics = \"{panics}\"\nwhy = \"{why}\"\n");
        Allowed::read(&text).expect("a list")
    }

    #[test]
    fn what_is_listed_is_right() {
        assert_eq!(list("x86_vcpu::b", "core::panicking::panic").compare(&found()), "");
        assert_eq!(list("x86_vcpu::*", "core::panicking::*").compare(&found()), "");
    }

    #[test]
    fn what_is_not_listed_is_told_with_its_place_and_path() {
        let said = Allowed::default().compare(&found());
        for words in ["`x86_vcpu::b`", "core::panicking::panic", "src/b.rs:1:2", "root_run -> x86_vcpu::b"] {
            assert!(said.contains(words), "{said}");
        }
        assert!(!list("x86_vcpu::b", "core::panicking::panic_fmt").compare(&found()).is_empty());
    }

    #[test]
    fn what_nothing_needs_is_told() {
        assert!(list("x86_vcpu::b", "*").compare(&[]).contains("no longer needed: x86_vcpu::b"));
    }

    #[test]
    fn an_entry_without_an_argument_is_refused() {
        assert!(Allowed::read("[[allowed]]\nfunction = \"a\"\npanics = \"b\"\nwhy = \"safe\"\n").is_err());
    }
}
