//! `cargo xtask demo`: guests of all three modes, then Linux, on both vendors, from a machine that has nothing but Rust.

mod linux;

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::emulator::{self, Boot, Status};
use crate::image::{self, Image, Variant};
use crate::log::{self, Log, Verdict};
use crate::machines::{self, Emulator, Machine, Machines};
use crate::progress::Progress;
use crate::repo::Repo;
use crate::setup::{self, Emulators};
use crate::{toolchain, transcript};

/// `quick` leaves Linux out.
pub fn demo(repo: &Repo, quick: bool) -> Result<bool> {
    let progress = Progress::default();
    println!("compiler: {}", toolchain::check()?);
    let emulators = setup::emulators(&progress);
    let machines = Machines::load(repo)?;
    let transcripts = machines::transcripts(repo)?;
    println!("building the image of examples/hypervisor (release)");
    let image = image::build(repo, Variant::Plain, &progress)?;
    let mut shown = Vec::new();
    let mut good = true;
    for name in &machines.demo.machines {
        let machine = machines.named(name).with_context(|| format!("no machine {name}"))?;
        if !emulators.has(machine.emulator) {
            println!("\n== {} left out: {}", machine.vendor.title(), emulators.reason(machine.emulator));
            continue;
        }
        println!("\n== {}: {}", machine.vendor.title(), place(machine));
        let show = Show { repo, machines: &machines, transcripts: &transcripts, image: &image, emulators: &emulators };
        let mut went_well = Vec::new();
        for scenario in &machines.demo.scenarios {
            if show.one(machine, scenario)? {
                went_well.push(scenario.as_str());
            } else {
                good = false;
            }
        }
        if !went_well.is_empty() {
            shown.push(format!("{} on {} ({})", list(&went_well), machine.vendor.title(), place(machine)));
        }
    }
    if !quick {
        println!("\nbuilding the image that counts exits");
        let image = image::build(repo, Variant::Watched, &progress)?;
        let linux = linux::show(repo, &machines, &image, &emulators, &progress)?;
        good &= linux.good;
        shown.extend(linux.boots);
    }
    if shown.is_empty() {
        println!("\nNothing was shown.");
        return Ok(false);
    }
    println!("\nThese guests ran, and printed what they should:");
    for line in shown {
        println!("  {line}");
    }
    if !good {
        println!("Something failed; see above.");
    }
    Ok(good)
}

struct Show<'a> {
    repo: &'a Repo,
    machines: &'a Machines,
    transcripts: &'a BTreeMap<String, String>,
    image: &'a Image,
    emulators: &'a Emulators,
}

impl Show<'_> {
    /// Boots one scenario and prints what its guest says.
    fn one(&self, machine: &Machine, scenario: &str) -> Result<bool> {
        let boot = Boot {
            machine,
            image: self.image,
            command_line: &format!("scenario={scenario}"),
            cpus: self.machines.cpus(scenario),
            memory: emulator::MEMORY,
            limit: Some(self.machines.limit()),
            directory: self.repo.scratch(&format!("runs/demo-{}-{scenario}", machine.name))?,
            module: None,
            guest: None,
        };
        let ended = emulator::boot(&boot, self.emulators, &mut |line| {
            if let Some(text) = log::guest_line(line) {
                println!("  {scenario:>9} | {text}");
            }
        })?;
        let problem = self.problem(scenario, machine, &ended);
        if let Some(problem) = &problem {
            println!("  {scenario:>9} : {problem}\n{}", ended.log);
        }
        Ok(problem.is_none())
    }

    fn problem(&self, scenario: &str, machine: &Machine, ended: &emulator::Ended) -> Option<String> {
        if ended.status != Status::Finished {
            return Some(format!("{:?}", ended.status));
        }
        let log = Log::parse(&ended.log);
        match log.scenario(scenario) {
            None => Some("the image says nothing of it".into()),
            Some(said) if said.verdict != Verdict::Ok => Some(said.verdict.to_string()),
            Some(said) => {
                let expected = self.transcripts.get(scenario)?;
                transcript::difference(&transcript::of_vendor(expected, machine.vendor), &said.guest)
            }
        }
    }
}

fn place(machine: &Machine) -> String {
    let emulator = if machine.emulator == Emulator::Bochs { "Bochs" } else { "QEMU" };
    format!("{emulator}, {}", machine.model)
}

fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).into(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn lists_read_well() {
        assert_eq!(list(&["real"]), "real");
        assert_eq!(list(&["real", "protected", "long"]), "real, protected and long");
    }
}
