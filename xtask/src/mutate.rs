//! `cargo xtask mutate`: the proof of the entry doctor. The image enters states that are broken in one field or two, case by case,
//! and says what the CPU did and what the doctor expected. A case that takes the machine down ends the boot; the next boot goes
//! on behind it. See `docs/testing.md`.

mod case;
mod known;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use indicatif::ProgressBar;

use crate::emulator::{self, Boot};
use crate::image::{self, Image, Variant};
use crate::machines::{Emulator, Machine, Machines};
use crate::progress::Progress;
use crate::repo::Repo;
use crate::report::Outcome;
use crate::setup::{self, Emulators};
use case::{Case, Line};
use known::Known;
use table::Table;

/// The arguments.
#[derive(Args, Clone)]
pub struct Arguments {
    /// Only machines whose name contains this
    #[arg(long, value_name = "NAME")]
    on: Option<String>,
    /// Where the random numbers start
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How many random pairs of each kind; other random cases in proportion
    #[arg(long, value_name = "N", default_value_t = PAIRS)]
    cases: u32,
    /// Only cases that change this field
    #[arg(long, value_name = "NAME")]
    field: Option<String>,
    /// Only this case, in full
    #[arg(long, value_name = "NUMBER")]
    case: Option<u32>,
    /// Explained disagreements as well
    #[arg(long)]
    all: bool,
}

/// The random pairs of a kind when nobody says how many.
const PAIRS: u32 = 300;
/// Nothing was printed for so long: the case does not come back. It takes a thousandth of a second otherwise, on a machine that has
/// nothing else to do.
const SILENCE: Duration = Duration::from_secs(20);
/// As many cases that take the machine down are a mistake of the harness.
const LOST: usize = 400;

impl Default for Arguments {
    fn default() -> Self {
        Arguments { on: None, seed: 1, cases: PAIRS, field: None, case: None, all: false }
    }
}

impl Arguments {
    /// Whether all cases of the test run.
    fn is_whole(&self) -> bool {
        self.seed == 1 && self.cases >= PAIRS && self.field.is_none() && self.case.is_none()
    }
}

/// Where to boot.
pub struct Place<'a> {
    pub emulators: &'a Emulators,
    pub image: &'a Image,
    pub machine: &'a Machine,
    pub directory: PathBuf,
}

/// What one machine did.
struct Run {
    /// Cases by kind and whether they agreed.
    table: Table,
    /// Those where the CPU and the doctor do not agree.
    disagreements: Vec<Case>,
    /// Fields that should exist and do not, and the reverse.
    fields: Vec<String>,
    /// How many cases there are, and how many boots it took.
    cases: u32,
    boots: usize,
    time: Duration,
}

/// `cargo xtask mutate`.
pub fn main(repo: &Repo, arguments: &Arguments) -> Result<bool> {
    let progress = Progress::default();
    let machines = Machines::load(repo)?;
    let known = Known::load(repo)?;
    let emulators = setup::emulators(&progress);
    let wanted: Vec<&Machine> = machines
        .mutate
        .test
        .iter()
        .chain(&machines.mutate.more)
        .filter(|name| arguments.on.as_ref().is_none_or(|on| name.contains(on.as_str())))
        .filter_map(|name| machines.named(name))
        .collect();
    if wanted.is_empty() {
        bail!("no machine of [mutate] in tests/machine/machines.toml has such a name");
    }
    let image = image::build(repo, Variant::Plain, &progress)?;
    let (next, good) = (AtomicUsize::new(0), Mutex::new(true));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(wanted.len()) {
            scope.spawn(|| {
                while let Some(machine) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let bar = progress.start(&machine.name);
                    let done = repo.scratch(&format!("runs/mutate-{}", machine.name)).and_then(|directory| {
                        let place = Place { emulators: &emulators, image: &image, machine, directory };
                        run(&place, arguments, &bar)
                    });
                    bar.finish_and_clear();
                    let (text, fine) = match done {
                        Ok(run) => judge(&machine.name, &run, &known, arguments),
                        Err(error) => (format!("{}: {error:#}", machine.name), false),
                    };
                    progress.say(text.trim_end());
                    if !fine && let Ok(mut good) = good.lock() {
                        *good = false;
                    }
                }
            });
        }
    });
    Ok(good.into_inner().unwrap_or(false))
}

/// The check of `cargo xtask test`.
pub fn check(repo: &Repo, place: &Place, bar: &ProgressBar) -> Result<Outcome> {
    let arguments = Arguments::default();
    let run = run(place, &arguments, bar)?;
    let (text, fine) = judge(&place.machine.name, &run, &Known::load(repo)?, &arguments);
    Ok(if fine { Outcome::Passed } else { Outcome::Failed(text) })
}

/// Boots until every case was entered.
fn run(place: &Place, arguments: &Arguments, bar: &ProgressBar) -> Result<Run> {
    let begun = Instant::now();
    let mut run = Run {
        table: Table::default(),
        disagreements: Vec::new(),
        fields: Vec::new(),
        cases: 0,
        boots: 0,
        time: Duration::ZERO,
    };
    let (mut from, to) = arguments.case.map_or((1, u32::MAX), |case| (case, case));
    let mut lost = 0;
    let mut losses = 0;
    loop {
        let mut command_line = format!(
            "mutate host_memory=64 seed={} pairs={} from={from} to={to} lost={lost} verbose={}",
            arguments.seed,
            arguments.cases,
            u8::from(arguments.case.is_some())
        );
        if let Some(field) = &arguments.field {
            command_line.push_str(&format!(" field={field}"));
        }
        let text = boot(place, &command_line)?;
        run.boots += 1;
        let mut open: Option<Case> = None;
        let mut is_over = false;
        for line in text.lines() {
            let done = match Line::parse(line) {
                Some(Line::Begun(case)) => {
                    open = Some(case);
                    None
                }
                Some(Line::Did { did, description }) => {
                    let ended = open.take().map(|mut case| case.end(&did, &description).map(|()| case));
                    if ended == Some(None) {
                        bail!("unreadable line: {line}");
                    }
                    ended.flatten()
                }
                Some(Line::Lost(case)) => Some(case),
                Some(Line::Field(field)) => {
                    if run.boots == 1 {
                        run.fields.push(field);
                    }
                    None
                }
                Some(Line::End(cases)) => {
                    run.cases = cases;
                    is_over = true;
                    None
                }
                None => None,
            };
            if let Some(case) = done {
                run.table.count(&case);
                if arguments.case.is_some() || !case.agrees() {
                    run.disagreements.push(case);
                }
            }
        }
        if is_over {
            break;
        }
        // Its description comes with the next boot.
        let Some(Case { number, .. }) = open else {
            let words: Vec<&str> = text.lines().rev().take(5).collect();
            bail!("the image ended outside a case:\n{}", words.join("\n"));
        };
        (lost, from) = (number, number + 1);
        losses += 1;
        if losses > LOST {
            bail!("more than {LOST} cases take the machine down; the last was {number}");
        }
        bar.set_message(format!("case {number} did not come back"));
    }
    run.time = begun.elapsed();
    Ok(run)
}

/// One boot: the lines of the image.
fn boot(place: &Place, command_line: &str) -> Result<String> {
    let boot = Boot {
        machine: place.machine,
        image: place.image,
        command_line,
        cpus: 1,
        memory: emulator::MEMORY,
        limit: None,
        directory: place.directory.clone(),
        module: None,
        guest: None,
    };
    let is_bochs = place.machine.emulator == Emulator::Bochs;
    let output = place.directory.join(if is_bochs { emulator::OUTPUT } else { emulator::LOG });
    let log = place.directory.join("bochs.log");
    for old in [&output, &log] {
        let _ = fs::remove_file(old);
    }
    let mut seen = (0, Instant::now());
    let mut is_stuck = || {
        let size = fs::metadata(&output).map_or(0, |data| data.len());
        if size != seen.0 {
            seen = (size, Instant::now());
        }
        // After a VMX abort a CPU does nothing more, and Bochs goes on doing that.
        let aborted = is_bochs
            && seen.1.elapsed() > Duration::from_millis(50)
            && fs::read(&log).is_ok_and(|log| String::from_utf8_lossy(&log).contains("VMABORT"));
        aborted || seen.1.elapsed() > SILENCE
    };
    emulator::boot_until(&boot, place.emulators, &mut |_| {}, &mut is_stuck)?;
    Ok(String::from_utf8_lossy(&fs::read(&output)?).into_owned())
}

/// The table of a machine, what is not explained, and whether all is well.
fn judge(machine: &str, run: &Run, known: &Known, arguments: &Arguments) -> (String, bool) {
    let mut table = run.table.clone();
    let mut used = BTreeSet::new();
    let mut lines = Vec::new();
    for case in &run.disagreements {
        match known.explain(machine, case) {
            Some(rows) => {
                table.explain(case);
                used.extend(rows);
                if arguments.all {
                    lines.push(format!("explained: {case}"));
                }
            }
            None => lines.push(case.to_string()),
        }
    }
    let mut good = table.unexplained() == 0;
    for field in &run.fields {
        match known.explain_field(machine, field) {
            Some(row) => {
                used.insert(row);
            }
            None => {
                good = false;
                lines.push(format!("FIELD {field} (should exist, exists)"));
            }
        }
    }
    if arguments.is_whole() {
        for row in known.unused(machine, &used) {
            good = false;
            lines.push(format!("tests/machine/entry_disagreements.toml: {row} does not occur on {machine} any more"));
        }
    }
    lines.sort();
    let title = format!(
        "{machine}: {} of {} cases entered, {} boots, seed {}",
        table.cases(),
        run.cases,
        run.boots,
        arguments.seed
    );
    let text = format!("{title}\n{table}{}", lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    (text, good)
}
