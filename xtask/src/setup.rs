//! The emulators: found, or installed through apt, saying so. What cannot be had is left out, and said.

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
    let missing = match Apt::find() {
        Ok(apt) => apt.install(&wanted, progress),
        Err(reason) => wanted.iter().map(|emulator| (*emulator, reason.clone())).collect(),
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
    /// apt-get, or why it cannot be used.
    fn find() -> Result<Apt, String> {
        let all: Vec<&str> = [Emulator::Bochs, Emulator::Qemu].into_iter().flat_map(packages).copied().collect();
        let all = all.join(" ");
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

    /// Installs the packages of `wanted`; gives what could not be installed, and why.
    fn install(&self, wanted: &[Emulator], progress: &Progress) -> Vec<(Emulator, String)> {
        if let Err(error) = self.run(&["update"], progress) {
            progress.say(&format!("setup: apt-get update: {error}"));
        }
        let mut missing = Vec::new();
        for emulator in wanted {
            let (there, absent): (Vec<&str>, Vec<&str>) = packages(*emulator).iter().partition(|name| is_known(name));
            if !absent.is_empty() {
                progress
                    .say(&format!("setup: this distribution has no package {}; going on without", absent.join(", ")));
            }
            let mut reason = None;
            if !there.is_empty() {
                reason = self
                    .run(&[&["install", "-y", "--no-install-recommends"], there.as_slice()].concat(), progress)
                    .err();
            }
            if !absent.is_empty() {
                reason = Some(format!("this distribution has no package {}", absent.join(", ")));
            }
            missing.extend(reason.map(|reason| (*emulator, reason)));
        }
        missing
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
        .is_some_and(|text| has_candidate(&text))
}

/// Reads what `apt-cache policy` says of one package.
fn has_candidate(policy: &str) -> bool {
    policy.lines().filter_map(|line| line.trim().strip_prefix("Candidate:")).any(|version| version.trim() != "(none)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_without_candidate_are_unknown() {
        assert!(has_candidate("bochs:\n  Installed: (none)\n  Candidate: 2.7-1\n"));
        assert!(!has_candidate("bochs:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!has_candidate(""));
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
