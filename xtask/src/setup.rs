//! The emulators, a browser and a reader of PDFs: found, or installed through apt, saying so. What cannot be had is left out, and said.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command;
use crate::machines::Emulator;
use crate::progress::Progress;

/// The emulators that are there.
#[derive(Clone, Default)]
pub struct Emulators {
    pub bochs: Option<PathBuf>,
    pub qemu: Option<PathBuf>,
    /// Why one is not.
    missing: Vec<(Emulator, String)>,
}

impl Emulators {
    pub fn has(&self, emulator: Emulator) -> bool {
        match emulator {
            Emulator::Bochs => self.bochs.is_some(),
            Emulator::Qemu => self.qemu.is_some(),
        }
    }

    /// Why an emulator is not there.
    pub fn reason(&self, emulator: Emulator) -> String {
        let found = self.missing.iter().find(|(missing, _)| *missing == emulator);
        found.map_or_else(|| format!("{} is not there", emulator.name()), |(_, reason)| reason.clone())
    }
}

/// The Debian packages of an emulator.
fn packages(emulator: Emulator) -> &'static [&'static str] {
    match emulator {
        Emulator::Bochs => &["bochs", "bochs-term", "bochsbios", "vgabios"],
        Emulator::Qemu => &["qemu-system-x86"],
    }
}

/// Finds the emulators and installs those that are missing.
pub fn emulators(progress: &Progress) -> Emulators {
    let mut found = look();
    let wanted: Vec<Emulator> = [Emulator::Bochs, Emulator::Qemu].into_iter().filter(|e| !found.has(*e)).collect();
    if wanted.is_empty() {
        return found;
    }
    let all: Vec<&str> = wanted.iter().flat_map(|emulator| packages(*emulator)).copied().collect();
    let missing = match Apt::find(&all) {
        Ok(apt) => {
            apt.update(progress);
            let install = |emulator: &Emulator| Some((*emulator, apt.install(packages(*emulator), progress).err()?));
            wanted.iter().filter_map(install).collect()
        }
        Err(reason) => wanted.iter().map(|emulator| (*emulator, reason.clone())).collect::<Vec<_>>(),
    };
    found = look();
    for emulator in wanted {
        if found.has(emulator) {
            continue;
        }
        let reason = missing.iter().find(|(missing, _)| *missing == emulator);
        let reason = reason.map_or_else(|| "its packages bring no program".to_owned(), |(_, reason)| reason.clone());
        let name = emulator.name();
        progress.say(&format!("setup: no {name}: {reason}; what runs on it is skipped"));
        found.missing.push((emulator, format!("no {name}: {reason}")));
    }
    found
}

/// Chromium, installed when it is missing, or why it cannot be had.
pub fn chromium(progress: &Progress) -> Result<PathBuf, String> {
    tool(&["chromium", "chromium-browser", "google-chrome"], "chromium", progress)
}

/// The program that takes the text out of PDFs, installed when it is missing, or why it cannot be had.
pub fn pdftotext(progress: &Progress) -> Result<PathBuf, String> {
    tool(&["pdftotext"], "poppler-utils", progress)
}

/// The first of these programs that is there, if need be after installing the package.
fn tool(programs: &[&str], package: &str, progress: &Progress) -> Result<PathBuf, String> {
    let look = || programs.iter().find_map(|name| program(name));
    if let Some(found) = look() {
        return Ok(found);
    }
    let packages = [package];
    let apt = Apt::find(&packages).map_err(|reason| format!("no {package}: {reason}"))?;
    apt.update(progress);
    let installed = apt.install(&packages, progress);
    look().ok_or_else(|| {
        let reason = installed.err().unwrap_or_else(|| "its package brings no program".to_owned());
        format!("no {package}: {reason}")
    })
}

/// Reads what packages there are, where that is allowed.
pub fn update_packages(progress: &Progress) {
    if let Ok(apt) = Apt::find(&[]) {
        apt.update(progress);
    }
}

fn look() -> Emulators {
    let bochs = program("bochs-bin").or_else(|| program("bochs")).filter(|_| has_terminal_display());
    Emulators { bochs, qemu: program("qemu-system-x86_64"), missing: Vec::new() }
}

/// A program on the search path.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// Debian packs Bochs' display for terminals, which needs no screen, apart. Elsewhere it is taken to be built in.
fn has_terminal_display() -> bool {
    let plugins = Path::new("/usr/lib/x86_64-linux-gnu/bochs/plugins");
    !plugins.is_dir() || plugins.join("libbx_term_gui.so").exists()
}

/// apt-get, with the right to install.
struct Apt {
    /// `sudo -n`, where we are not root.
    prefix: &'static [&'static str],
}

impl Apt {
    /// apt-get, or why `packages` cannot be installed with it.
    fn find(packages: &[&str]) -> Result<Apt, String> {
        let all = packages.join(" ");
        if program("apt-get").is_none() {
            return Err(format!("there is no apt-get here; install what Debian calls {all}"));
        }
        let root = command::ask(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0");
        if root {
            return Ok(Apt { prefix: &[] });
        }
        match command::ask(Command::new("sudo").args(["-n", "true"])) {
            Some(_) => Ok(Apt { prefix: &["sudo", "-n"] }),
            None => Err(format!("no right to install; run `sudo apt-get install {all}`")),
        }
    }

    /// Reads what packages there are. Without that those of the last time may do.
    fn update(&self, progress: &Progress) {
        if let Err(error) = self.run(&["update"], progress) {
            progress.say(&format!("setup: apt-get update: {error}"));
        }
    }

    /// Installs what is known of `packages`; says why not all could be.
    fn install(&self, packages: &[&str], progress: &Progress) -> Result<(), String> {
        let (there, absent): (Vec<&str>, Vec<&str>) = packages.iter().partition(|name| is_known(name));
        if !absent.is_empty() {
            progress.say(&format!("setup: this distribution has no package {}; going on without", absent.join(", ")));
        }
        let mut done = Ok(());
        if !there.is_empty() {
            done = self.run(&[&["install", "-y", "--no-install-recommends"], there.as_slice()].concat(), progress);
        }
        if absent.is_empty() { done } else { Err(format!("this distribution has no package {}", absent.join(", "))) }
    }

    fn run(&self, arguments: &[&str], progress: &Progress) -> Result<(), String> {
        let line = [self.prefix, &["apt-get"], arguments].concat();
        progress.say(&format!("setup: {}", line.join(" ")));
        let bar = progress.start("apt-get");
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).env("DEBIAN_FRONTEND", "noninteractive");
        let ended = command::run(&mut command, Duration::from_secs(1200), &mut |line| bar.set_message(line.to_owned()));
        bar.finish_and_clear();
        match ended {
            Ok(ended) if ended.success() => Ok(()),
            Ok(ended) => Err(format!("apt-get failed: {}", ended.tail(3).replace('\n', "; "))),
            Err(error) => Err(format!("{error:#}")),
        }
    }
}

/// True when the package lists have a candidate for `package`.
fn is_known(package: &str) -> bool {
    command::ask(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"))
        .is_some_and(|text| candidate(&text).is_some())
}

/// The version that would be installed, from what `apt-cache policy` says of one package.
pub fn candidate(policy: &str) -> Option<String> {
    let mut versions = policy.lines().filter_map(|line| line.trim().strip_prefix("Candidate:"));
    versions.next().map(str::trim).filter(|version| *version != "(none)").map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_without_candidate_are_unknown() {
        assert_eq!(candidate("bochs:\n  Installed: (none)\n  Candidate: 2.7-1\n").as_deref(), Some("2.7-1"));
        assert_eq!(candidate("bochs:\n  Installed: (none)\n  Candidate: (none)\n"), None);
        assert_eq!(candidate(""), None);
    }

    #[test]
    fn a_missing_emulator_has_a_reason() {
        let emulators =
            Emulators { missing: vec![(Emulator::Bochs, "no bochs: no apt-get".into())], ..Emulators::default() };
        assert!(!emulators.has(Emulator::Bochs));
        assert_eq!(emulators.reason(Emulator::Bochs), "no bochs: no apt-get");
        assert_eq!(emulators.reason(Emulator::Qemu), "qemu is not there");
    }
}
