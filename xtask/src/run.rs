//! `cargo xtask run`: one boot, its raw log.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::emulator::{self, Boot, Status};
use crate::image::{self, Variant};
use crate::log::Log;
use crate::machines::{Emulator, Machine, Machines};
use crate::progress::Progress;
use crate::repo::Repo;
use crate::setup;

/// The arguments.
pub struct Wanted {
    pub scenario: String,
    pub on: String,
    pub cpus: u32,
    pub limit: u64,
}

pub fn run(repo: &Repo, wanted: &Wanted) -> Result<bool> {
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
        scenario => (Variant::Plain, format!("scenario={scenario}")),
    };
    let image = image::build(repo, variant, &progress)?;
    let boot = Boot {
        machine: &machine,
        image: &image,
        command_line: &command_line,
        cpus: wanted.cpus.max(machines.cpus(&wanted.scenario)),
        limit: Duration::from_secs(wanted.limit),
        directory: repo.scratch("runs/run")?,
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
fn machine(machines: &Machines, on: &str) -> Result<Machine> {
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
