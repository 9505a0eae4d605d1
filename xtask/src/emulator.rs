//! Booting the image: one run of one emulator.

mod affinity;
mod bochs;
mod multiboot;
mod qemu;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::affinity::OneCpu;
use crate::image::Image;
use crate::log::Log;
use crate::machines::{Emulator, Machine};
use crate::setup::{self, Emulators};

/// What to boot, and where.
pub struct Boot<'a> {
    pub machine: &'a Machine,
    pub image: &'a Image,
    /// The image's command line, without the number of CPUs.
    pub command_line: &'a str,
    pub cpus: u32,
    /// MiB of memory.
    pub memory: u32,
    pub limit: Option<Duration>,
    /// Holds the emulator's files; what is in it is overwritten.
    pub directory: PathBuf,
    /// The bytes of the file [`PACKAGE`], which is in the directory already, if the image gets it as a module without a guest.
    pub module: Option<u32>,
    /// With a guest from files: then COM1 is the guest's, and the log is on COM2.
    pub guest: Option<Guest<'a>>,
}

/// What a boot with a guest from files has besides.
pub struct Guest<'a> {
    /// The bytes of the file [`PACKAGE`], which is in the directory of the boot already.
    pub package_size: u32,
    /// Where somebody waits for COM1 to connect.
    pub console: SocketAddr,
    /// Becomes true when the user has had enough.
    pub stop: &'a AtomicBool,
    /// Time passes as for people, not by instructions: somebody may sit before it.
    pub real_time: bool,
    /// What stands in Bochs' memory in place of the multiboot information block, when nobody reads that.
    pub information: Option<Vec<u8>>,
    /// The image saves the guest to this memory.
    pub saved: Option<Room>,
}

/// A range of the machine's memory, in bytes.
#[derive(Clone, Copy)]
pub struct Room {
    pub start: u64,
    pub size: u64,
}

/// What was in the [room](Guest::saved) at the end of a boot.
pub fn saved(boot: &Boot) -> Result<Vec<u8>> {
    let room = boot.guest.as_ref().and_then(|guest| guest.saved).context("nothing was to be saved")?;
    // In QEMU it is the machine's whole memory.
    let (name, start) = match boot.machine.emulator {
        Emulator::Bochs => (SAVED, 0),
        Emulator::Qemu => (qemu::MEMORY, room.start),
    };
    let path = boot.directory.join(name);
    let mut file = File::open(&path).with_context(|| format!("no guest came out: {}", path.display()))?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(room.size).read_to_end(&mut bytes)?;
    // They are large, and of no use any more.
    let _ = fs::remove_file(path);
    Ok(bytes)
}

/// The room's bytes, in the directory of a boot of Bochs.
const SAVED: &str = "saved.bin";

/// The memory that the scenarios are content with, in MiB.
pub const MEMORY: u32 = 256;
/// The guest's files, in the directory of the boot.
pub const PACKAGE: &str = "package.cpio";
/// Where a module lies in Bochs. QEMU puts it behind the image.
pub const PACKAGE_ADDRESS: u32 = multiboot::MODULE;

/// What Bochs has in memory besides the package: the block that the ROM and the image read.
pub fn information(command_line: &str, mebibytes: u32, package_size: u32) -> Vec<u8> {
    multiboot::information(command_line, mebibytes, Some(package_size))
}

/// Puts something into the memory behind that block.
pub fn put(information: &mut Vec<u8>, address: u32, bytes: &[u8]) {
    multiboot::put(information, address, bytes);
}

/// What the emulator prints, and in Bochs what the image sends to the debugging port.
pub const OUTPUT: &str = "output.txt";
/// The image's log, in the directory of the boot.
pub const LOG: &str = "serial.log";

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
    /// The user ended it.
    Interrupted,
}

/// Boots, shows each line of the serial log to `on_line` as it comes, and waits for the end.
pub fn boot(boot: &Boot, emulators: &Emulators, on_line: &mut dyn FnMut(&str)) -> Result<Ended> {
    boot_until(boot, emulators, on_line, &mut || false)
}

/// As [`boot`]; ends the emulator, as at the time limit, when `is_stuck` says that nothing more will come.
pub fn boot_until(
    boot: &Boot,
    emulators: &Emulators,
    on_line: &mut dyn FnMut(&str),
    is_stuck: &mut dyn FnMut() -> bool,
) -> Result<Ended> {
    let serial = boot.directory.join(LOG);
    fs::create_dir_all(&boot.directory).with_context(|| format!("cannot create {}", boot.directory.display()))?;
    File::create(&serial)?;
    let command_line = format!("{} cpus={}", boot.command_line, boot.cpus);
    let command = match boot.machine.emulator {
        Emulator::Bochs => bochs::command(boot, &command_line, emulators)?,
        Emulator::Qemu => qemu::command(boot, &command_line, emulators)?,
    };
    let started = Instant::now();
    let (end, log) = follow(&mut bound_to_us(&command), boot, &serial, on_line, is_stuck)?;
    let emulator = boot.machine.emulator;
    let status = match end {
        Followed::TimedOut => Status::TimedOut,
        Followed::Interrupted => Status::Interrupted,
        Followed::Ended(exit) => match (exit.code(), exit.signal()) {
            (Some(code), _) if emulator == Emulator::Bochs => bochs::status(code),
            (Some(code), _) => qemu::status(code),
            (None, signal) => {
                Status::Stopped(format!("{} was ended by signal {}", emulator.name(), signal.unwrap_or_default()))
            }
        },
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
    let (output, log) = (read(OUTPUT), read("bochs.log"));
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

/// What the emulator's process did.
enum Followed {
    Ended(ExitStatus),
    TimedOut,
    Interrupted,
}

/// The same command, of a process that ends when the thread does that started it, however that comes about.
fn bound_to_us(command: &Command) -> Command {
    let Some(setpriv) = setup::program("setpriv") else {
        let mut same = Command::new(command.get_program());
        same.args(command.get_args());
        return with_environment(same, command);
    };
    let mut bound = Command::new(setpriv);
    bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    with_environment(bound, command)
}

fn with_environment(mut command: Command, of: &Command) -> Command {
    for (name, value) in of.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Runs the emulator and reads the log while it grows.
fn follow(
    command: &mut Command,
    boot: &Boot,
    serial: &Path,
    on_line: &mut dyn FnMut(&str),
    is_stuck: &mut dyn FnMut() -> bool,
) -> Result<(Followed, String)> {
    let output = File::create(boot.directory.join(OUTPUT))?;
    command.current_dir(&boot.directory).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let deadline = boot.limit.map(|limit| Instant::now() + limit);
    let one_cpu = if has_racing_threads(boot) { OneCpu::next() } else { None };
    let mut child = Running::start(command)?;
    drop(one_cpu);
    let mut file = File::open(serial)?;
    let mut bytes = Vec::new();
    let mut shown = 0;
    let end = loop {
        let ended = child.0.try_wait()?;
        file.read_to_end(&mut bytes)?;
        while let Some(length) = bytes[shown..].iter().position(|byte| *byte == b'\n') {
            on_line(&String::from_utf8_lossy(&bytes[shown..shown + length]));
            shown += length + 1;
        }
        if let Some(status) = ended {
            break Followed::Ended(status);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) || is_stuck() {
            break Followed::TimedOut;
        }
        if boot.guest.as_ref().is_some_and(|guest| guest.stop.load(Ordering::Relaxed)) {
            break Followed::Interrupted;
        }
        thread::sleep(Duration::from_millis(10));
    };
    Ok((end, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Whether threads of the emulator change the same words without a lock. QEMU has a thread for each CPU and one for timers; at
/// VMRUN and #VMEXIT it changes a CPU's pending interrupts while others set them, and FXRSTOR, XRSTOR and FNINIT on any CPU
/// change the word of the first one that says whether its addresses go through the nested page table. On one CPU of this
/// machine the threads take turns, and a word is changed by one instruction.
fn has_racing_threads(boot: &Boot) -> bool {
    boot.machine.emulator == Emulator::Qemu && boot.cpus > 1
}

/// An emulator that does not outlive the value.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Running> {
        let child = command.spawn();
        Ok(Running(child.with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL: Bochs does not end on SIGTERM. Both fail only when the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
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
