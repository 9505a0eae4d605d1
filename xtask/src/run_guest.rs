//! `cargo xtask run --guest`: a kernel from a file, its COM1 on our terminal.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::guest::console::{self, Keys};
use crate::guest::debian::Debian;
use crate::guest::end::End;
use crate::guest::kernel::Kernel;
use crate::guest::memory::Mebibytes;
use crate::guest::package::{self, Files, Package};
use crate::guest::snapshot::Description;
use crate::guest::terminal::{self, Raw};
use crate::guest::{self, GuestBoot, exits, linux};
use crate::image::{self, Variant};
use crate::machines::Machines;
use crate::progress::Progress;
use crate::repo::Repo;
use crate::{models, run, setup, trace};

/// The arguments.
pub struct Wanted {
    pub what: What,
    pub on: String,
    /// Seconds.
    pub limit: Option<u64>,
    /// Where the guest is saved, and the text at which it is.
    pub save: Option<(PathBuf, String)>,
    /// Where the exits are saved, and how many.
    pub trace: Option<(PathBuf, String)>,
}

/// What is run.
pub enum What {
    /// A kernel.
    Files { files: Files, memory: Mebibytes, cpus: u32, common_cpu: bool },
    /// A guest that was saved.
    Snapshot(PathBuf),
}

/// The same, read.
struct Guest {
    archive: Vec<u8>,
    memory: Mebibytes,
    cpus: u32,
    common_cpu: bool,
    /// For people.
    title: String,
}

/// In place of a file: Debian's kernel, with an initial RAM disk of our own unless another is given.
const DEBIAN: &str = "debian";
/// The most CPUs that the image starts.
const MOST_CPUS: u32 = 8;

/// Gives the exit status.
pub fn run(repo: &Repo, wanted: &Wanted) -> Result<u8> {
    let machines = Machines::load(repo)?;
    let machine = run::machine(&machines, &wanted.on)?;
    let progress = Progress::aside();
    let guest = read(repo, wanted, &machines, &progress)?;
    let emulators = setup::emulators(&progress);
    if !emulators.has(machine.emulator) {
        bail!(emulators.reason(machine.emulator));
    }
    models::check(&emulators, &machine)?;
    let image = image::build(repo, Variant::Watched, &progress)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let boot = GuestBoot {
        machine: &machine,
        image: &image,
        archive: &guest.archive,
        memory: guest.memory,
        cpus: guest.cpus,
        limit: wanted.limit.map(Duration::from_secs),
        replace: None,
        save_when: wanted.save.as_ref().map(|(_, text)| text.as_str()),
        common_cpu: guest.common_cpu,
        directory: directory(repo)?,
        real_time: terminal::is_ours(),
        trace: wanted.trace.as_ref().map_or_else(String::new, |(_, exits)| format!("trace={exits}")),
        stop: Arc::clone(&stop),
    };
    eprintln!("{}, on {} {}", guest.title, machine.emulator.name(), machine.model);
    let raw = Raw::enter()?;
    if raw.is_some() {
        eprintln!("Ctrl-A x ends it; Ctrl-A Ctrl-A is Ctrl-A");
    }
    let keys = raw.is_some().then(Keys::default);
    let ended = guest::boot(
        &boot,
        &emulators,
        |way| console::feed(way, keys, move || stop.store(true, Ordering::Relaxed)),
        |bytes| {
            // A terminal that is gone does not end the guest; the signal that comes with it does.
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        },
        &mut |_| {},
    )?;
    if raw.is_some() {
        // The guest may not have ended its last line.
        eprintln!();
    }
    drop(raw);
    if matches!(ended.end, End::Failed(_) | End::Unhandled(_)) {
        eprintln!("\nthe end of the image's log:\n{}", tail(&ended.log));
    }
    if let (Some((file, _)), Some(snapshot)) = (&wanted.save, &ended.snapshot) {
        fs::write(file, snapshot).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("\nsaved in {} ({:.1} MiB)", file.display(), snapshot.len() as f64 / f64::from(1 << 20));
    }
    if let Some((file, _)) = &wanted.trace {
        let count = trace::save(&ended.log, file)?;
        eprintln!("\n{count} exits saved in {}", file.display());
    }
    let table = exits::table(&ended.exits, ended.instructions);
    if !table.is_empty() {
        eprintln!("\n{}", table.trim_end());
    }
    eprintln!(
        "{}, after {:.1} s; the emulator's files are in {}",
        ended.end,
        ended.time.as_secs_f32(),
        boot.directory.display()
    );
    Ok(ended.end.status())
}

/// What is to be run, found to be good.
fn read(repo: &Repo, wanted: &Wanted, machines: &Machines, progress: &Progress) -> Result<Guest> {
    match &wanted.what {
        What::Files { files, memory, cpus, common_cpu } => {
            ensure!((1..=MOST_CPUS).contains(cpus), "a guest can have 1 to {MOST_CPUS} CPUs");
            let package = if files.kernel.as_os_str() == DEBIAN && !files.kernel.exists() {
                linux::package(&Debian::fetch(repo, progress)?, repo, files, &machines.linux.command_line, *memory)?
            } else {
                Package::read(files, *memory)?
            };
            let kind = match &package.kernel {
                Kernel::Linux(linux) => {
                    format!("Linux {}", linux.version.as_deref().unwrap_or("of an unknown version"))
                }
                Kernel::Multiboot => "a multiboot image".to_owned(),
            };
            let title = format!("{}: {kind}", files.kernel.display());
            Ok(Guest { archive: package.archive, memory: *memory, cpus: *cpus, common_cpu: *common_cpu, title })
        }
        What::Snapshot(path) => {
            let name = path.display();
            let file = fs::read(path).with_context(|| format!("cannot read {name}"))?;
            let description @ Description { memory, cpus, common_cpu, .. } =
                Description::read(&file).with_context(|| name.to_string())?;
            ensure!(
                (1..=MOST_CPUS).contains(&cpus),
                "{name}: a guest can have 1 to {MOST_CPUS} CPUs, and this has {cpus}"
            );
            let title = format!(
                "{name}: a guest that was saved {:.1} s after its start, {} MiB, {cpus} CPUs",
                description.seconds(),
                memory.0
            );
            Ok(Guest { archive: package::of_snapshot(&file)?, memory, cpus, common_cpu, title })
        }
    }
}

/// A directory of this run's own. Those of earlier runs are thrown away, but not of runs that are under way.
fn directory(repo: &Repo) -> Result<PathBuf> {
    const PREFIX: &str = "guest-";
    for entry in fs::read_dir(repo.scratch("runs")?)?.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    repo.scratch(&format!("runs/{PREFIX}{}", std::process::id()))
}

/// As much of the image's log as is likely to say why.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !trace::is_line(line)).collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}
