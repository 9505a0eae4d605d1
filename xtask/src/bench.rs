//! `cargo xtask bench`: what a round trip costs, in host instructions, on every model.

pub mod cost;
pub mod linux;
pub mod rows;
mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::emulator::{self, Boot, Status};
use crate::goals::Goals;
use crate::image::{self, Features, Image, Variant};
use crate::log::Log;
use crate::machines::{Machine, Machines, Use};
use crate::progress::Progress;
use crate::repo::Repo;
use crate::setup::{self, Emulators};
use crate::size;

/// The kinds of round trip, in the order of the tables.
pub const EXITS: [&str; 10] =
    ["cpuid", "cpuid_filled", "rdmsr", "out", "in", "hlt", "hypercall", "mmio_real", "mmio_long", "nested_fault"];
/// Instructions that count as one each, and cost hundreds of cycles on silicon.
pub const COUNTS: [&str; 6] = ["vmread", "vmwrite", "rdmsr", "wrmsr", "xsetbv", "cpuid"];

/// A feature of the library that a plain build does not have.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Feature {
    Statistics,
    Trace,
    Replay,
}

impl Feature {
    /// All that are asked for: who wants exits kept wants a build that can.
    pub fn all(asked: &[Self], trace: Option<usize>) -> Features {
        Features {
            statistics: asked.contains(&Self::Statistics),
            trace: asked.contains(&Self::Trace) || trace.is_some(),
            replay: asked.contains(&Self::Replay),
        }
    }
}

/// What is measured.
#[derive(Default)]
pub struct Wanted<'a> {
    /// The rows are written to this file as well.
    pub json: Option<&'a Path>,
    /// Only machines whose name contains this.
    pub on: Option<&'a str>,
    /// The build has these features.
    pub with: Features,
    /// So many exits are kept.
    pub trace: Option<usize>,
}

pub fn bench(repo: &Repo, wanted: &Wanted<'_>) -> Result<bool> {
    let Wanted { json, on, with, trace } = *wanted;
    let progress = Progress::default();
    let (machines, goals) = (Machines::load(repo)?, Goals::load(repo)?);
    let emulators = setup::emulators(&progress);
    let (plain, counting) = if with == Features::default() {
        (Variant::Plain, Variant::Counting)
    } else {
        (Variant::With(with, false), Variant::With(with, true))
    };
    let plain = image::build(repo, plain, &progress)?;
    let counting = image::build(repo, counting, &progress)?;
    let command_line = trace.map_or_else(|| "bench".to_owned(), |exits| format!("bench trace={exits}"));
    let mut rows = Vec::new();
    let mut good = true;
    let chosen = machines.machine.iter().filter(|machine| machine.is_for(Use::Bench));
    for machine in chosen.filter(|machine| on.is_none_or(|on| machine.name.contains(on))) {
        if !emulators.has(machine.emulator) {
            println!("{} left out: {}\n", machine.name, emulators.reason(machine.emulator));
            continue;
        }
        let measure = Measure {
            repo,
            machines: &machines,
            emulators: &emulators,
            progress: &progress,
            command_line: &command_line,
        };
        let logs = measure
            .one(machine, &plain, "plain")
            .and_then(|log| Ok((log, measure.one(machine, &counting, "counting")?)));
        match logs {
            Ok((plain, counting)) => {
                let found = rows::rows(machine, &plain, &counting);
                println!("{}", table::of(machine, &found, &goals));
                rows.extend(found);
            }
            Err(error) => {
                good = false;
                println!("{}: {error:#}\n", machine.name);
            }
        }
    }
    let size = size::library(&plain.elf)?;
    println!(
        "code of the library in the image: {} bytes in {} functions (what the compiler inlined elsewhere is not seen)",
        size.bytes, size.functions
    );
    println!("{}", table::LEGEND);
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&rows)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{} rows written to {}", rows.len(), path.display());
    }
    if rows.is_empty() {
        bail!("nothing was measured");
    }
    Ok(good)
}

struct Measure<'a> {
    repo: &'a Repo,
    machines: &'a Machines,
    emulators: &'a Emulators,
    progress: &'a Progress,
    command_line: &'a str,
}

impl Measure<'_> {
    fn one(&self, machine: &Machine, image: &Image, build: &str) -> Result<Log> {
        let bar = self.progress.start(&format!("bench: {} ({build})", machine.name));
        let boot = Boot {
            machine,
            image,
            command_line: self.command_line,
            cpus: 1,
            memory: emulator::MEMORY,
            limit: Some(self.machines.limit()),
            directory: self.repo.scratch(&format!("runs/bench-{}-{build}", machine.name))?,
            module: None,
            guest: None,
        };
        let ended = emulator::boot(&boot, self.emulators, &mut |line| bar.set_message(line.to_owned()));
        bar.finish_and_clear();
        let ended = ended?;
        let log = Log::parse(&ended.log);
        if ended.status != Status::Finished || log.result != Some(Ok(())) {
            bail!("the {build} build ended with {:?}, {:?}:\n{}", ended.status, log.result, ended.log);
        }
        Ok(log)
    }
}
