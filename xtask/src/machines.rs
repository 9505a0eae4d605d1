//! `tests/machine/machines.toml` and the transcripts beside it: where scenarios run and what is expected.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::image::Variant;
use crate::repo::Repo;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machines {
    limit: u64,
    /// Scenarios of the image with statistics and a trace.
    watched: Vec<String>,
    pub demo: Demo,
    pub linux: Linux,
    pub mutate: Mutate,
    /// Scenarios that need more than one host CPU.
    cpus: BTreeMap<String, u32>,
    pub machine: Vec<Machine>,
}

/// What the demo shows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    pub scenarios: Vec<String>,
    pub machines: Vec<String>,
}

/// Where states are mutated and entered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutate {
    pub quick: Vec<String>,
    pub test: Vec<String>,
    /// Only by the command.
    #[serde(default)]
    pub more: Vec<String>,
}

/// Debian's kernel as a guest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linux {
    /// What the kernel is told.
    pub command_line: String,
    /// The numbers of CPUs that it is booted with.
    pub cpus: Vec<u32>,
    limit: u64,
    /// The numbers of CPUs that it is booted with while each vCPU is saved and restored after `replace` exits.
    pub saved: Vec<u32>,
    pub replace: u32,
    /// Where the demo, the tests and the bench boot it; the bench needs Bochs.
    pub demo: Vec<String>,
    pub test: Vec<String>,
    pub bench: Vec<String>,
}

impl Linux {
    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }
}

/// One emulated machine.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub name: String,
    pub emulator: Emulator,
    pub model: String,
    pub vendor: Vendor,
    /// SVM reports the next instruction's address.
    #[serde(default)]
    pub next_rip: bool,
    uses: Vec<Use>,
    /// Scenarios about something that this machine does not have.
    #[serde(default)]
    skips: Vec<String>,
    #[serde(default)]
    refuses: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Emulator {
    Bochs,
    Qemu,
}

impl Emulator {
    /// The name in rows and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Emulator::Bochs => "bochs",
            Emulator::Qemu => "qemu",
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    Vmx,
    Svm,
}

impl Vendor {
    /// The name in rows.
    pub fn name(self) -> &'static str {
        match self {
            Vendor::Vmx => "vmx",
            Vendor::Svm => "svm",
        }
    }

    /// The name for people.
    pub fn title(self) -> &'static str {
        match self {
            Vendor::Vmx => "Intel VMX",
            Vendor::Svm => "AMD SVM",
        }
    }
}

/// How a scenario is expected to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// With its transcript.
    Ok,
    /// With a refusal that names this.
    Refused(&'a str),
    /// Without having run.
    Skipped,
}

/// How the names of Bochs' AMD models start.
const AMD: [&str; 7] = ["amd_", "athlon64", "turion64", "phenom", "zambezi", "trinity", "ryzen"];

/// What a machine is used for.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    Quick,
    Test,
    Bench,
}

impl Machine {
    /// A machine that no file lists, for `cargo xtask run`.
    pub fn unlisted(emulator: Emulator, model: &str) -> Machine {
        let amd = AMD.iter().any(|name| model.starts_with(name));
        let vendor = if emulator == Emulator::Bochs && !amd { Vendor::Vmx } else { Vendor::Svm };
        Machine {
            name: model.into(),
            emulator,
            model: model.into(),
            vendor,
            next_rip: false,
            uses: Vec::new(),
            skips: Vec::new(),
            refuses: BTreeMap::new(),
        }
    }

    /// How `scenario` is expected to end here.
    pub fn expects(&self, scenario: &str) -> Expected<'_> {
        if self.skips.iter().any(|skipped| skipped == scenario) {
            return Expected::Skipped;
        }
        match self.refuses.get(scenario).or_else(|| self.refuses.get("*")) {
            Some(text) => Expected::Refused(text),
            None => Expected::Ok,
        }
    }

    /// How `scenario` is expected to end here in a boot that lacks something for it: skipped, but a machine that refuses
    /// everything does so before anybody looks at the scenario.
    pub fn expects_without(&self, scenario: &str) -> Expected<'_> {
        if self.refuses.contains_key("*") { self.expects(scenario) } else { Expected::Skipped }
    }

    pub fn is_for(&self, wanted: Use) -> bool {
        self.uses.contains(&wanted)
    }
}

impl Machines {
    pub fn load(repo: &Repo) -> Result<Machines> {
        let path = directory(repo).join("machines.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("in {}", path.display()))
    }

    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }

    /// The host CPUs that `scenario` needs.
    pub fn cpus(&self, scenario: &str) -> u32 {
        self.cpus.get(scenario).copied().unwrap_or(1)
    }

    /// The build of the image in which `scenario` runs.
    pub fn variant(&self, scenario: &str) -> Variant {
        if self.watched.iter().any(|watched| watched == scenario) { Variant::Watched } else { Variant::Plain }
    }

    pub fn named(&self, name: &str) -> Option<&Machine> {
        self.machine.iter().find(|machine| machine.name == name)
    }
}

/// The scenarios: one for each transcript, by name.
pub fn transcripts(repo: &Repo) -> Result<BTreeMap<String, String>> {
    let directory = directory(repo).join("transcripts");
    let entries = std::fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut transcripts = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            transcripts.insert(name, text);
        }
    }
    Ok(transcripts)
}

pub fn directory(repo: &Repo) -> PathBuf {
    repo.root.join("tests/machine")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_consistent() {
        let repo = Repo::find().expect("a repository");
        let machines = Machines::load(&repo).expect("machines.toml loads");
        let scenarios = transcripts(&repo).expect("transcripts");
        let linux = &machines.linux;
        for name in machines.demo.machines.iter().chain(&linux.demo).chain(&linux.test).chain(&linux.bench) {
            assert!(machines.named(name).is_some(), "there is no machine {name}");
        }
        for name in &linux.bench {
            assert!(
                machines.named(name).is_some_and(|machine| machine.emulator == Emulator::Bochs),
                "{name}: no Bochs"
            );
        }
        for scenario in machines.cpus.keys().chain(&machines.demo.scenarios).chain(&machines.watched) {
            assert!(scenarios.contains_key(scenario), "no transcript of the scenario {scenario}");
        }
        for machine in &machines.machine {
            for scenario in machine.refuses.keys().chain(&machine.skips).filter(|scenario| *scenario != "*") {
                assert!(scenarios.contains_key(scenario), "{} lists {scenario}, which nobody knows", machine.name);
            }
            let same = machines.machine.iter().filter(|other| other.name == machine.name).count();
            assert_eq!(same, 1, "two machines are called {}", machine.name);
        }
    }

    #[test]
    fn a_star_refuses_everything() {
        let mut machine = Machine::unlisted(Emulator::Bochs, "core2_penryn_t9600");
        assert_eq!(machine.expects("real"), Expected::Ok);
        assert_eq!(machine.expects_without("real"), Expected::Skipped);
        machine.refuses.insert("*".into(), "EPT".into());
        assert_eq!(machine.expects("real"), Expected::Refused("EPT"));
        assert_eq!(machine.expects_without("real"), Expected::Refused("EPT"));
        machine.refuses.insert("real".into(), "unrestricted guest".into());
        assert_eq!(machine.expects("real"), Expected::Refused("unrestricted guest"));
        machine.skips.push("real".into());
        assert_eq!(machine.expects("real"), Expected::Skipped);
    }
}
