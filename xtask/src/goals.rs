//! `tests/machine/goals.toml`: what the numbers are compared with.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::machines::{Machine, Vendor};
use crate::repo::Repo;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goals {
    goal: Vec<Goal>,
    /// What one CPUID exit on VMX may use of the slow instructions.
    counts: BTreeMap<String, f64>,
}

/// What one kind of exit is compared with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    vendor: Vendor,
    next_rip: Option<bool>,
    exit: String,
    pub floor: Option<u32>,
    pub kvm: Option<String>,
    pub old: Option<String>,
    pub most: u32,
    /// Tests fail when it is missed.
    #[serde(default)]
    pub held: bool,
    /// Machines that are known to miss it, by name: `bench` shows it, and no test holds it there.
    #[serde(default)]
    pub missed_on: Vec<String>,
}

impl Goals {
    /// How many instructions of the slow kind `count` an exit may use.
    pub fn count(&self, machine: &Machine, exit: &str, count: &str) -> Option<f64> {
        if machine.vendor == Vendor::Vmx && exit == "cpuid" { self.counts.get(count).copied() } else { None }
    }

    pub fn load(repo: &Repo) -> Result<Goals> {
        let path = repo.root.join("tests/machine/goals.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("in {}", path.display()))
    }

    /// The goal for an exit on a machine.
    pub fn find(&self, machine: &Machine, exit: &str) -> Option<&Goal> {
        self.goal.iter().find(|goal| {
            goal.vendor == machine.vendor
                && goal.exit == exit
                && goal.next_rip.is_none_or(|next_rip| next_rip == machine.next_rip)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::EXITS;
    use crate::machines::Machines;

    #[test]
    fn goals_are_found_by_machine() {
        let repo = Repo::find().expect("a repository");
        let (goals, machines) =
            (Goals::load(&repo).expect("goals.toml"), Machines::load(&repo).expect("machines.toml"));
        let most = |name: &str, exit: &str| {
            let machine = machines.named(name).expect("a machine of that name");
            goals.find(machine, exit).map(|goal| goal.most)
        };
        assert_eq!(most("icelake", "cpuid"), Some(130));
        assert_eq!(most("ryzen", "cpuid"), Some(105));
        assert_eq!(most("epyc", "cpuid"), Some(300));
        assert_eq!(most("epyc", "in"), None);
        assert!(goals.goal.iter().all(|goal| EXITS.contains(&goal.exit.as_str())));
    }
}
