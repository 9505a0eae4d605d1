//! Debian's Linux as a guest that moves: saved to a file in one boot of the image, it goes on in another, on the same machine or on one of
//! the other vendor.

use anyhow::{Context as _, Result, ensure};

use super::{Check, Context};
use crate::guest::debian::Debian;
use crate::guest::end::End;
use crate::guest::initrd::{CPUS, RELEASE};
use crate::guest::linux::{Guest, Leg, Place};
use crate::guest::memory::Mebibytes;
use crate::guest::transcript::Transcript;
use crate::image::{self, Image, Variant};
use crate::machines::Machines;
use crate::report::Outcome;
use crate::setup::{self, Emulators};

/// A number of CPUs, and the machines that a guest comes to, one after the other. Between different ones it sees the CPU that all have.
type Way = (u32, &'static [&'static str]);

const WAYS: [Way; 5] = [
    (1, &["epyc", "epyc"]),
    (1, &["haswell", "haswell"]),
    (1, &["trinity", "trinity"]),
    (1, &["epyc", "haswell", "epyc"]),
    (2, &["epyc", "haswell", "epyc"]),
];

/// Where it is saved for the first time, and for the second: what the script prints.
const STOPS: [&str; 2] = [RELEASE, CPUS];

/// Little, so that a snapshot has little more than Linux.
const MEMORY: Mebibytes = Mebibytes(128);

pub fn checks() -> Vec<Check> {
    let check = |(cpus, way): Way| {
        Check::new(format!("linux-{cpus} moves: {}", way.join(" to ")), false, move |context| {
            check(context, cpus, way).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))
        })
    };
    let refused = Check::new("linux-1 moves: what cannot go on", false, |context| {
        check_refusals(context).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))
    });
    WAYS.into_iter().map(check).chain([refused]).collect()
}

/// What all legs share.
struct Setting<'a> {
    context: &'a Context<'a>,
    machines: &'a Machines,
    guest: Guest,
    image: Image,
    emulators: Emulators,
}

impl<'a> Setting<'a> {
    /// Or why there is none.
    fn new(context: &'a Context, machines: &'a Machines, names: &[&str]) -> Result<Result<Self, Outcome>> {
        let emulators = setup::emulators(&context.progress);
        for name in names {
            let machine = machines.named(name).with_context(|| format!("no machine {name}"))?;
            if !emulators.has(machine.emulator) {
                return Ok(Err(Outcome::Skipped(emulators.reason(machine.emulator))));
            }
        }
        let guest = Debian::fetch(context.repo, &context.progress)
            .and_then(|debian| Guest::new(debian, context.repo, &machines.linux));
        let guest = match guest {
            Ok(guest) => guest,
            Err(error) => return Ok(Err(Outcome::Skipped(format!("no Linux: {error:#}")))),
        };
        let image = image::build(context.repo, Variant::Watched, &context.progress)?;
        Ok(Ok(Setting { context, machines, guest, image, emulators }))
    }

    /// One boot; the snapshot at its end, if it is saved.
    fn run(
        &self,
        leg: &Leg,
        name: &str,
        cpus: u32,
        transcript: &mut Transcript,
    ) -> Result<(End, Option<Vec<u8>>, String)> {
        let machine = self.machines.named(name).with_context(|| format!("no machine {name}"))?;
        let bar = self.context.progress.start(&format!("Linux on {name}"));
        let place = Place {
            machine,
            image: &self.image,
            emulators: &self.emulators,
            settings: &self.machines.linux,
            cpus,
            replace: None,
            directory: self.context.repo.scratch(&format!("runs/moves-{cpus}-{name}"))?,
        };
        let ended = self.guest.run(leg, &place, transcript, &mut |_, line| bar.set_message(line.to_owned()))?;
        bar.finish_and_clear();
        Ok((ended.end, ended.snapshot, ended.log))
    }
}

fn check(context: &Context, cpus: u32, way: &[&str]) -> Result<Outcome> {
    let machines = Machines::load(context.repo)?;
    let setting = match Setting::new(context, &machines, way)? {
        Ok(setting) => setting,
        Err(outcome) => return Ok(outcome),
    };
    let common_cpu = way.iter().any(|name| *name != way[0]);
    let mut transcript = Transcript::default();
    let mut snapshot: Option<Vec<u8>> = None;
    for (number, name) in way.iter().enumerate() {
        let save_when = STOPS.get(number).copied().filter(|_| number + 1 < way.len());
        let leg = Leg { snapshot: snapshot.as_deref(), memory: MEMORY, save_when, common_cpu };
        let (end, saved, log) = setting.run(&leg, name, cpus, &mut transcript)?;
        let wanted = if save_when.is_some() { End::Saved } else { End::PowerOff };
        ensure!(end == wanted, "{end} on {name} (boot {})\n{}\n{log}", number + 1, last_lines(&transcript));
        snapshot = saved;
    }
    let problem = setting.guest.incomplete(&transcript, cpus);
    Ok(problem.map_or(Outcome::Passed, |problem| Outcome::Failed(format!("{problem}\n{}", last_lines(&transcript)))))
}

/// A damaged snapshot, and one of a guest that was told of another CPU: the image says what is wrong.
fn check_refusals(context: &Context) -> Result<Outcome> {
    let machines = Machines::load(context.repo)?;
    let setting = match Setting::new(context, &machines, &["epyc", "haswell"])? {
        Ok(setting) => setting,
        Err(outcome) => return Ok(outcome),
    };
    // As early as it prints anything.
    let leg = Leg { memory: MEMORY, save_when: Some("Linux version"), ..Leg::default() };
    let (end, snapshot, log) = setting.run(&leg, "epyc", 1, &mut Transcript::default())?;
    let snapshot = snapshot.with_context(|| format!("{end}\n{log}"))?;
    let mut damaged = snapshot.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for (file, name, words) in [(&damaged, "epyc", "checksum"), (&snapshot, "haswell", "CPUID")] {
        let leg = Leg { snapshot: Some(file), memory: MEMORY, ..Leg::default() };
        let (end, _, log) = setting.run(&leg, name, 1, &mut Transcript::default())?;
        let refused = matches!(&end, End::Failed(why) if why.contains(words));
        ensure!(refused, "on {name}, a refusal with the word {words} was expected, and not: {end}\n{log}");
    }
    Ok(Outcome::Passed)
}

fn last_lines(transcript: &Transcript) -> String {
    let last: Vec<&str> = transcript.lines.iter().rev().take(25).rev().map(String::as_str).collect();
    format!("the guest's last lines:\n{}", last.join("\n"))
}
