//! Booting the image: one run of one emulator.

mod bochs;
mod qemu;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::image::Image;
use crate::log::Log;
use crate::machines::{Emulator, Machine};
use crate::setup::Emulators;

/// What to boot, and where.
pub struct Boot<'a> {
    pub machine: &'a Machine,
    pub image: &'a Image,
    /// The image's command line, without the number of CPUs.
    pub command_line: &'a str,
    pub cpus: u32,
    pub limit: Duration,
    /// Holds the emulator's files; what is in it is overwritten.
    pub directory: PathBuf,
}

/// How a run ended.
pub struct Ended {
    pub status: Status,
    /// The serial log.
    pub log: String,
    pub time: Duration,
}

/// What the end status says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The image reached its end.
    Finished,
    /// The image says that it failed, or the emulator stopped for another reason.
    Stopped(String),
    /// The time limit was reached.
    TimedOut,
}

/// Boots, shows each line of the serial log to `on_line` as it comes, and waits for the end.
pub fn boot(boot: &Boot, emulators: &Emulators, on_line: &mut dyn FnMut(&str)) -> Result<Ended> {
    let serial = boot.directory.join("serial.log");
    fs::create_dir_all(&boot.directory).with_context(|| format!("cannot create {}", boot.directory.display()))?;
    File::create(&serial)?;
    let command_line = format!("{} cpus={}", boot.command_line, boot.cpus);
    let mut command = match boot.machine.emulator {
        Emulator::Bochs => bochs::command(boot, &command_line, emulators)?,
        Emulator::Qemu => qemu::command(boot, &command_line, emulators)?,
    };
    let started = Instant::now();
    let (exit, log) = follow(&mut command, &boot.directory, &serial, started + boot.limit, on_line)?;
    let emulator = boot.machine.emulator;
    let status = match exit.map(|exit| (exit.code(), exit.signal())) {
        None => Status::TimedOut,
        Some((Some(code), _)) if emulator == Emulator::Bochs => bochs::status(code),
        Some((Some(code), _)) => qemu::status(code),
        Some((None, signal)) => {
            Status::Stopped(format!("{} was ended by signal {}", emulator.name(), signal.unwrap_or_default()))
        }
    };
    let status = match status {
        Status::Stopped(why) if Log::parse(&log).result.is_none() => {
            Status::Stopped(format!("{why}: {}", last_words(&boot.directory)))
        }
        status => status,
    };
    Ok(Ended { status, log, time: started.elapsed() })
}

/// What the emulator itself said last, for when the image did not come to its end.
fn last_words(directory: &Path) -> String {
    let read = |name: &str| String::from_utf8_lossy(&fs::read(directory.join(name)).unwrap_or_default()).into_owned();
    let (output, log) = (read("output.txt"), read("bochs.log"));
    let lines: Vec<&str> = output.lines().chain(log.lines()).filter(|line| is_complaint(line)).collect();
    lines[lines.len().saturating_sub(6)..].join("\n")
}

/// Bochs' errors and panics are `00002731316e[CPU0  ] …`; QEMU names itself.
fn is_complaint(line: &str) -> bool {
    let severity = line.trim_start_matches(|c: char| c.is_ascii_digit());
    severity.starts_with("e[")
        || severity.starts_with("p[")
        || line.starts_with("qemu-system") && !line.contains("TCG doesn't support")
}

/// Runs the emulator and reads the serial log while it grows. There is no exit status when the time limit was reached.
fn follow(
    command: &mut Command,
    directory: &Path,
    serial: &Path,
    deadline: Instant,
    on_line: &mut dyn FnMut(&str),
) -> Result<(Option<ExitStatus>, String)> {
    let output = File::create(directory.join("output.txt"))?;
    let mut child = command
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    let mut file = File::open(serial)?;
    let mut bytes = Vec::new();
    let mut shown = 0;
    loop {
        let ended = child.try_wait()?;
        file.read_to_end(&mut bytes)?;
        while let Some(length) = bytes[shown..].iter().position(|byte| *byte == b'\n') {
            on_line(&String::from_utf8_lossy(&bytes[shown..shown + length]));
            shown += length + 1;
        }
        if ended.is_some() {
            return Ok((ended, String::from_utf8_lossy(&bytes).into_owned()));
        }
        if Instant::now() >= deadline {
            // SIGKILL: Bochs does not end on SIGTERM.
            child.kill()?;
            child.wait()?;
            return Ok((None, String::from_utf8_lossy(&bytes).into_owned()));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::is_complaint;

    #[test]
    fn complaints_are_told_from_chatter() {
        assert!(is_complaint("00002731316e[CPU0  ] exception(): 3rd (13) exception with no resolution"));
        assert!(is_complaint("00002731316p[CPU0  ] >>PANIC<< triple fault"));
        assert!(is_complaint("qemu-system-x86_64: unable to find CPU model 'x'"));
        assert!(!is_complaint("00000000000i[PLUGIN] loaded plugin libbx_serial.so"));
        assert!(!is_complaint("qemu-system-x86_64: warning: TCG doesn't support requested feature: x"));
    }
}
