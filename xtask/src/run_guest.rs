//! `cargo xtask run --guest`: a kernel from a file, its COM1 on our terminal.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::guest::console::{self, Keys};
use crate::guest::debian::Debian;
use crate::guest::end::End;
use crate::guest::kernel::Kernel;
use crate::guest::memory::Mebibytes;
use crate::guest::package::{Files, Package};
use crate::guest::terminal::{self, Raw};
use crate::guest::{self, GuestBoot, exits, linux};
use crate::image::{self, Variant};
use crate::machines::Machines;
use crate::progress::Progress;
use crate::repo::Repo;
use crate::{models, run, setup, trace};

/// The arguments.
pub struct Wanted {
    pub files: Files,
    pub memory: Mebibytes,
    pub cpus: u32,
    pub on: String,
    /// Seconds.
    pub limit: Option<u64>,
    /// Where the exits are saved, and how many.
    pub trace: Option<(PathBuf, String)>,
}

/// In place of a file: Debian's kernel, with an initial RAM disk of our own unless another is given.
const DEBIAN: &str = "debian";
/// The most CPUs that the image starts.
const MOST_CPUS: u32 = 8;

/// Gives the exit status.
pub fn run(repo: &Repo, wanted: &Wanted) -> Result<u8> {
    ensure!((1..=MOST_CPUS).contains(&wanted.cpus), "a guest can have 1 to {MOST_CPUS} CPUs");
    let machines = Machines::load(repo)?;
    let machine = run::machine(&machines, &wanted.on)?;
    let progress = Progress::aside();
    let package = if wanted.files.kernel.as_os_str() == DEBIAN && !wanted.files.kernel.exists() {
        linux::package(
            &Debian::fetch(repo, &progress)?,
            repo,
            &wanted.files,
            &machines.linux.command_line,
            wanted.memory,
        )?
    } else {
        Package::read(&wanted.files, wanted.memory)?
    };
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
        package: &package,
        memory: wanted.memory,
        cpus: wanted.cpus,
        limit: wanted.limit.map(Duration::from_secs),
        replace: None,
        directory: directory(repo)?,
        real_time: terminal::is_ours(),
        trace: wanted.trace.as_ref().map_or_else(String::new, |(_, exits)| format!("trace={exits}")),
        stop: Arc::clone(&stop),
    };
    let kind = match &package.kernel {
        Kernel::Linux(linux) => format!("Linux {}", linux.version.as_deref().unwrap_or("of an unknown version")),
        Kernel::Multiboot => "a multiboot image".to_owned(),
    };
    eprintln!("{}: {kind}, on {} {}", wanted.files.kernel.display(), machine.emulator.name(), machine.model);
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
