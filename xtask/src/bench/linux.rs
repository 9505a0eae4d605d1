//! What a whole boot of Linux costs: instructions from the kernel's first to those of its first program, on the bare machine and
//! as a guest on the same machine. Both in Bochs, where the time-stamp counter counts instructions.

mod bare;
mod init;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::guest::debian::Debian;
use crate::guest::end::End;
use crate::guest::package::{Files, Package};
use crate::guest::{self, GuestBoot, GuestEnded, exits, linux};
use crate::image::{self, Image, Variant};
use crate::machines::{Machine, Machines};
use crate::progress::Progress;
use crate::repo::Repo;
use crate::setup::{self, Emulators};

/// Added to the kernel's command line, for both boots. Every character on the serial line takes as long as on a real one
/// without a hypervisor, and no time as a guest: that is not what is compared. Nor are interrupt controllers: on the bare machine
/// no table tells of an I/O APIC.
const QUIET: &str = "quiet nokaslr nolapic";

/// Measures wherever machines.toml says, and prints a table for each.
pub fn bench(repo: &Repo) -> Result<()> {
    let progress = Progress::default();
    let machines = Machines::load(repo)?;
    let emulators = setup::emulators(&progress);
    let debian = match Debian::fetch(repo, &progress) {
        Ok(debian) => debian,
        Err(error) => {
            println!("\nLinux left out: {error:#}");
            return Ok(());
        }
    };
    let image = image::build(repo, Variant::Watched, &progress)?;
    let boots = Boots::new(repo, &machines, &emulators, &debian, &image)?;
    for name in &machines.linux.bench {
        let machine = machines.named(name).with_context(|| format!("no machine {name}"))?;
        if !emulators.has(machine.emulator) {
            println!("\nLinux on {name} left out: {}", emulators.reason(machine.emulator));
            continue;
        }
        let bar = progress.start(&format!("bench: Linux on {name}, bare"));
        let alone = boots.bare(machine);
        bar.set_prefix(format!("bench: Linux on {name}, as a guest"));
        let ended = boots.guest(machine);
        bar.finish_and_clear();
        print!("{}", report(machine, &debian.release, alone?, &ended?));
    }
    Ok(())
}

/// The two boots.
struct Boots<'a> {
    repo: &'a Repo,
    emulators: &'a Emulators,
    image: &'a Image,
    limit: Duration,
    files: Files,
}

impl<'a> Boots<'a> {
    fn new(
        repo: &'a Repo,
        machines: &Machines,
        emulators: &'a Emulators,
        debian: &Debian,
        image: &'a Image,
    ) -> Result<Boots<'a>> {
        let initrd = repo.scratch("debian")?.join("initrd-bench");
        fs::write(&initrd, init::initrd()?)?;
        let command_line = format!("{} {QUIET}", machines.linux.command_line);
        let files = Files { kernel: debian.kernel.clone(), initrd: Some(initrd), modules: Vec::new(), command_line };
        Ok(Boots { repo, emulators, image, limit: machines.linux.limit(), files })
    }

    fn directory(&self, machine: &Machine, what: &str) -> Result<PathBuf> {
        self.repo.scratch(&format!("runs/bench-{}-linux-{what}", machine.name))
    }

    /// Instructions without a hypervisor.
    fn bare(&self, machine: &Machine) -> Result<u64> {
        let directory = self.directory(machine, "bare")?;
        bare::boot(machine, &self.files, self.image, self.emulators, self.limit, directory)
    }

    fn guest(&self, machine: &Machine) -> Result<GuestEnded> {
        let package = Package::read(&self.files, linux::MEMORY)?;
        let boot = GuestBoot {
            machine,
            image: self.image,
            archive: &package.archive,
            memory: linux::MEMORY,
            cpus: 1,
            limit: Some(self.limit),
            replace: None,
            save_when: None,
            common_cpu: false,
            directory: self.directory(machine, "guest")?,
            real_time: false,
            // What it costs is not the hypervisor's.
            trace: "trace=0".into(),
            stop: Arc::new(AtomicBool::new(false)),
        };
        let ended = guest::boot(&boot, self.emulators, |_| {}, |_| {}, &mut |_| {})?;
        ensure!(ended.end == End::ExitPort(0), "Linux as a guest on {}: {}\n{}", machine.name, ended.end, ended.log);
        Ok(ended)
    }
}

/// A ratio that a hypervisor for Linux should not be above.
const MOST: f64 = 1.05;

fn report(machine: &Machine, release: &str, bare: u64, guest: &GuestEnded) -> String {
    let ratio = guest.instructions as f64 / bare as f64;
    let host: u64 = guest.exits.iter().map(|row| row.instructions).sum();
    let inside: u64 = guest.exits.iter().map(|row| row.instructions_inside).sum();
    format!(
        "\nLinux {release} to its first program on {} {}, 1 CPU, in instructions ({QUIET})\n\
         bare {bare}, as a guest {}, ratio {ratio:.4}{} (at most {MOST}); {host} are the hypervisor's, {inside} of them in the library\n{}",
        machine.emulator.name(),
        machine.model,
        guest.instructions,
        if ratio > MOST { "!" } else { "" },
        exits::table(&guest.exits, guest.instructions)
    )
}
