//! `cargo xtask run`: one boot: of a scenario, with its raw log, or of a guest from a file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};

use crate::emulator::{self, Boot, Status};
use crate::guest::end::NOT_STARTED;
use crate::guest::memory::Mebibytes;
use crate::guest::package::{Files, Module};
use crate::image::{self, Variant};
use crate::log::Log;
use crate::machines::{Emulator, Machine, Machines};
use crate::progress::Progress;
use crate::repo::Repo;
use crate::{models, run_guest, setup};

/// The arguments.
#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true)))]
pub struct Arguments {
    /// A Linux bzImage, a multiboot 1 image, or `debian`: Debian's kernel, downloaded; its COM1 is this terminal
    #[arg(long, value_name = "FILE", group = "what")]
    guest: Option<PathBuf>,
    /// Linux' initial RAM disk
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    initrd: Option<PathBuf>,
    /// A multiboot module; its command line may follow the name: "FILE WORDS"
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    module: Vec<Module>,
    /// The guest's command line
    #[arg(long, value_name = "WORDS", conflicts_with = "scenario", allow_hyphen_values = true)]
    cmdline: Option<String>,
    /// The guest's memory: 64, 64M, 1G; 256M when not given
    #[arg(long, value_name = "SIZE", conflicts_with = "scenario")]
    memory: Option<Mebibytes>,
    /// A guest that was saved (--save) goes on: the machine is what it was
    #[arg(long, value_name = "SNAPSHOT", group = "what", conflicts_with_all = ["initrd", "module", "cmdline", "memory", "cpus", "common_cpu"])]
    restore: Option<PathBuf>,
    /// Save the guest in this file, for --restore in another run, and end
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "scenario", requires = "save_when")]
    save: Option<PathBuf>,
    /// With --save: as soon as the guest has written this text on its COM1
    #[arg(long, value_name = "TEXT", requires = "save", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    save_when: Option<String>,
    /// Show the guest a plain CPU that all machines have, so that it can be saved on one model and go on on another
    #[arg(long, conflicts_with = "scenario")]
    common_cpu: bool,
    /// A scenario: its name; or `all`, `list` (the names), `bench`, `bench-count` (the counting build's bench)
    #[arg(long, value_name = "NAME", group = "what")]
    scenario: Option<String>,
    /// Where: bochs[:MODEL], qemu[:MODEL], or a name of tests/machine/machines.toml
    #[arg(long, value_name = "EMULATOR[:MODEL]", default_value = "bochs")]
    on: String,
    /// The guest's CPUs; a scenario's host CPUs
    #[arg(long, value_name = "N", default_value_t = 1)]
    cpus: u32,
    /// Save the guest's exits in this file, for `cargo xtask trace`
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    trace: Option<PathBuf>,
    /// With --trace: how many of the last exits of each vCPU, up to 16384, or `all`, which prints while the guest runs
    #[arg(long, value_name = "N", default_value = "4096", requires = "trace", value_parser = exits)]
    exits: String,
    /// Seconds until the emulator is killed; without it 60 for a scenario, no limit for a guest
    #[arg(long, value_name = "SECONDS", alias = "limit")]
    timeout: Option<u64>,
}

/// A number of exits that the library keeps, or `all`.
fn exits(text: &str) -> std::result::Result<String, String> {
    match text.parse::<u32>() {
        Ok(1..=16384) => Ok(text.into()),
        _ if text == "all" => Ok(text.into()),
        _ => Err("a number from 1 to 16384, or `all`".into()),
    }
}

/// The guest's memory when nobody says how much, in MiB.
const MEMORY: Mebibytes = Mebibytes(256);
/// The seconds that a scenario gets.
const LIMIT: u64 = 60;

/// Does what the arguments want, and gives the exit status.
pub fn main(repo: &Repo, arguments: Arguments) -> ExitCode {
    let Arguments { guest, initrd, module, cmdline, memory, scenario, on, cpus, timeout, trace, exits, .. } = arguments;
    let kernel = guest.map(|kernel| run_guest::What::Files {
        files: Files { kernel, initrd, modules: module, command_line: cmdline.unwrap_or_default() },
        memory: memory.unwrap_or(MEMORY),
        cpus,
        common_cpu: arguments.common_cpu,
    });
    let (done, failure) = match (kernel.or(arguments.restore.map(run_guest::What::Snapshot)), scenario) {
        (Some(what), _) => {
            let trace = trace.map(|file| (file, exits));
            let save = arguments.save.zip(arguments.save_when);
            let wanted = run_guest::Wanted { what, on, limit: timeout, save, trace };
            (run_guest::run(repo, &wanted).map(ExitCode::from), ExitCode::from(NOT_STARTED))
        }
        (None, scenario) => {
            let scenario = scenario.unwrap_or_default();
            let wanted = Wanted { scenario, on, cpus, limit: timeout.unwrap_or(LIMIT) };
            let status = |good| if good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            (run(repo, &wanted).map(status), ExitCode::FAILURE)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        failure
    })
}

/// What is wanted of a scenario.
struct Wanted {
    scenario: String,
    on: String,
    cpus: u32,
    limit: u64,
}

fn run(repo: &Repo, wanted: &Wanted) -> Result<bool> {
    let machines = Machines::load(repo)?;
    let machine = machine(&machines, &wanted.on)?;
    let progress = Progress::default();
    let emulators = setup::emulators(&progress);
    if !emulators.has(machine.emulator) {
        bail!(emulators.reason(machine.emulator));
    }
    let (variant, command_line) = match wanted.scenario.as_str() {
        "list" | "bench" => (Variant::Plain, wanted.scenario.clone()),
        "bench-count" => (Variant::Counting, "bench".to_owned()),
        scenario => (machines.variant(scenario), format!("scenario={scenario}")),
    };
    models::check(&emulators, &machine)?;
    let image = image::build(repo, variant, &progress)?;
    let boot = Boot {
        machine: &machine,
        image: &image,
        command_line: &command_line,
        cpus: wanted.cpus.max(machines.cpus(&wanted.scenario)),
        memory: emulator::MEMORY,
        limit: Some(Duration::from_secs(wanted.limit)),
        directory: repo.scratch("runs/run")?,
        module: None,
        guest: None,
    };
    let ended = emulator::boot(&boot, &emulators, &mut |line| println!("{line}"))?;
    let result = Log::parse(&ended.log).result;
    eprintln!(
        "{:?} after {:.2} s; the emulator's files are in {}",
        ended.status,
        ended.time.as_secs_f32(),
        boot.directory.display()
    );
    Ok(ended.status == Status::Finished && result == Some(Ok(())))
}

/// `bochs`, `qemu`, either with `:MODEL`, or a name of machines.toml.
pub fn machine(machines: &Machines, on: &str) -> Result<Machine> {
    if let Some(machine) = machines.named(on) {
        return Ok(machine.clone());
    }
    let (emulator, model) = on.split_once(':').map_or((on, None), |(emulator, model)| (emulator, Some(model)));
    let emulator = match emulator {
        "bochs" => Emulator::Bochs,
        "qemu" => Emulator::Qemu,
        _ => bail!("`{on}` is neither bochs[:MODEL] nor qemu[:MODEL] nor a name of tests/machine/machines.toml"),
    };
    let listed = machines.machine.iter().filter(|machine| machine.emulator == emulator);
    let mut listed = listed.filter(|machine| model.is_none_or(|model| machine.model == model));
    match (listed.next(), model) {
        (Some(machine), _) => Ok(machine.clone()),
        (None, Some(model)) => Ok(Machine::unlisted(emulator, model)),
        (None, None) => bail!("tests/machine/machines.toml lists no machine for {on}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_found_by_emulator_model_and_name() {
        let machines = Machines::load(&Repo::find().expect("a repository")).expect("machines.toml");
        let model = |on: &str| machine(&machines, on).map(|machine| machine.model).ok();
        assert_eq!(model("bochs").as_deref(), Some("corei7_icelake_u"));
        assert_eq!(model("qemu").as_deref(), Some("EPYC,+svm"));
        assert_eq!(model("bochs:tigerlake").as_deref(), Some("tigerlake"));
        assert_eq!(model("penryn").as_deref(), Some("core2_penryn_t9600"));
        assert_eq!(model("vmware"), None);
    }
}
