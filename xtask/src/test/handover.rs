//! Guests that stop in one boot and go on in another, on the same machine and on others.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::{Check, Context};
use crate::emulator::{self, Boot, Status};
use crate::image::{self, Image, Variant};
use crate::log::Log;
use crate::machines::{self, Machine, Machines};
use crate::report::Outcome;
use crate::setup::{self, Emulators};
use crate::transcript;

/// Where guests stop, and where they go on.
const MOVES: [(&str, &str); 7] = [
    ("icelake", "icelake"),
    ("ryzen", "ryzen"),
    ("epyc", "epyc"),
    ("icelake", "ryzen"),
    ("icelake", "epyc"),
    ("ryzen", "icelake"),
    ("epyc", "haswell"),
];

/// What begins a guest's line.
const LINE: &str = "HANDOVER ";

pub fn checks() -> Vec<Check> {
    let check = |(from, to): (&'static str, &'static str)| {
        Check::new(format!("state: {from} to {to}"), false, move |context| {
            hand_over(context, from, to).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))
        })
    };
    MOVES.into_iter().map(check).collect()
}

fn hand_over(context: &Context, from: &str, to: &str) -> Result<Outcome> {
    let machines = Machines::load(context.repo)?;
    let transcripts = machines::transcripts(context.repo)?;
    let named = |name: &str| machines.named(name).with_context(|| format!("no machine {name}"));
    let (from, to) = (named(from)?, named(to)?);
    let emulators = setup::emulators(&context.progress);
    for machine in [from, to] {
        if !emulators.has(machine.emulator) {
            return Ok(Outcome::Skipped(emulators.reason(machine.emulator)));
        }
    }
    let image = image::build(context.repo, Variant::Plain, &context.progress)?;
    let place = Place { context, image: &image, emulators: &emulators };
    let log = place.boot(from, "suspend", None)?;
    let lines: Vec<&str> = log.lines().map(str::trim_end).filter(|line| line.starts_with(LINE)).collect();
    ensure!(!lines.is_empty(), "no guest was stopped:\n{log}");
    let log = place.boot(to, "resume", Some(&(lines.join("\n") + "\n")))?;
    let ended = Log::parse(&log);
    ensure!(
        ended.scenarios.len() == lines.len(),
        "{} guests went on, of {}:\n{log}",
        ended.scenarios.len(),
        lines.len()
    );
    for scenario in &ended.scenarios {
        let expected =
            transcripts.get(&scenario.name).with_context(|| format!("no transcript of {}", scenario.name))?;
        if let Some(difference) = transcript::difference(expected, &scenario.guest) {
            return Ok(Outcome::Failed(format!("{}: {difference}", scenario.name)));
        }
    }
    Ok(Outcome::Counted { passed: lines.len(), failed: 0, skipped: 0, detail: String::new() })
}

struct Place<'a> {
    context: &'a Context<'a>,
    image: &'a Image,
    emulators: &'a Emulators,
}

impl Place<'_> {
    /// The log of a boot that went well.
    fn boot(&self, machine: &Machine, action: &str, module: Option<&str>) -> Result<String> {
        let directory = self.context.repo.scratch(&format!("runs/state-{action}-{}", machine.name))?;
        if let Some(module) = module {
            fs::write(directory.join(emulator::PACKAGE), module)?;
        }
        let boot = Boot {
            machine,
            image: self.image,
            command_line: action,
            cpus: 1,
            memory: emulator::MEMORY,
            limit: Some(std::time::Duration::from_secs(LIMIT)),
            directory,
            module: module.map(|module| u32::try_from(module.len())).transpose()?,
            guest: None,
        };
        let ended = emulator::boot(&boot, self.emulators, &mut |_| {})?;
        ensure!(ended.status == Status::Finished, "{action} on {}: {:?}\n{}", machine.name, ended.status, ended.log);
        Ok(ended.log)
    }
}

/// The seconds that a boot may take; it takes one.
const LIMIT: u64 = 120;
