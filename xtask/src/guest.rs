//! Guests from files: what they consist of, one boot of one, and how it ended.

pub mod console;
pub mod debian;
pub mod end;
pub mod exits;
pub mod initrd;
pub mod kernel;
pub mod linux;
pub mod memory;
pub mod monitor;
pub mod package;
pub mod snapshot;
pub mod terminal;
pub mod transcript;

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::emulator::{self, Boot};
use crate::image::Image;
use crate::machines::Machine;
use crate::setup::Emulators;
use console::Console;
use end::End;
use memory::Mebibytes;
use monitor::{Exits, Monitor};

/// What to boot, and where.
pub struct GuestBoot<'a> {
    pub machine: &'a Machine,
    pub image: &'a Image,
    /// The guest's files, as [`package`] puts them together.
    pub archive: &'a [u8],
    pub memory: Mebibytes,
    /// The guest's; the host has as many.
    pub cpus: u32,
    pub limit: Option<Duration>,
    /// After so many exits each vCPU is saved, dropped, and restored in a new one, again and again.
    pub replace: Option<u32>,
    /// The guest is saved when it has written this on its console.
    pub save_when: Option<&'a str>,
    /// The guest sees the features alone that all machines have.
    pub common_cpu: bool,
    pub directory: PathBuf,
    /// Somebody may sit before it.
    pub real_time: bool,
    /// What the image keeps and prints of the exits: `trace=N`, `trace=all`; empty for its default.
    pub trace: String,
    /// Becomes true when the user has had enough.
    pub stop: Arc<AtomicBool>,
}

/// How a guest's run ended.
pub struct GuestEnded {
    pub end: End,
    pub exits: Vec<Exits>,
    /// All instructions of the run, the guest's own included.
    pub instructions: u64,
    /// What the image said.
    pub log: String,
    /// The guest that was saved.
    pub snapshot: Option<Vec<u8>>,
    pub time: Duration,
}

/// The host's memory besides the guest's and its files, in MiB: the image, its heap and frames, and nested page tables.
const OWN_MEMORY: u32 = 64;
/// The most that Bochs has, in MiB.
const MOST_MEMORY: u32 = 2048;

/// How the image's log begins to speak of the guest, right before its start.
const STARTS: &str = "guest: ";

/// Boots a guest. `on_start` gets the way into its COM1, `on_output` what comes out, `on_line` the image's log.
pub fn boot(
    guest: &GuestBoot,
    emulators: &Emulators,
    on_start: impl FnOnce(TcpStream),
    on_output: impl FnMut(&[u8]) + Send,
    on_line: &mut dyn FnMut(&str),
) -> Result<GuestEnded> {
    let package = guest.directory.join(emulator::PACKAGE);
    fs::write(&package, guest.archive).with_context(|| format!("cannot write {}", package.display()))?;
    let memory = host_memory(guest.archive.len(), guest.memory);
    ensure!(memory <= MOST_MEMORY, "the guest's memory and its files take {memory} MiB; {MOST_MEMORY} are the most");
    let console = Console::listen()?;
    let replace = guest.replace.map_or_else(String::new, |exits| format!(" replace={exits}"));
    let room = guest.save_when.map_or(0, |_| snapshot::room(guest.memory));
    ensure!(
        memory + room <= MOST_MEMORY,
        "saving the guest takes {room} MiB besides its memory and its files; {MOST_MEMORY} are the most for all"
    );
    let save_when = guest
        .save_when
        .map_or_else(String::new, |text| format!(" save_room={room} save_when={}", snapshot::hexadecimal(text)));
    let common_cpu = if guest.common_cpu { " common_cpu" } else { "" };
    let boot = Boot {
        machine: guest.machine,
        image: guest.image,
        command_line: &format!(
            "guest memory={} vcpus={} host_memory={memory}{replace}{save_when}{common_cpu} {}",
            guest.memory.0, guest.cpus, guest.trace
        ),
        cpus: guest.cpus,
        memory: memory + room,
        limit: guest.limit,
        directory: guest.directory.clone(),
        module: None,
        guest: Some(emulator::Guest {
            package_size: u32::try_from(guest.archive.len())?,
            console: console.address(),
            stop: &guest.stop,
            real_time: guest.real_time,
            information: None,
            saved: (room > 0).then(|| emulator::Room { start: u64::from(memory) << 20, size: u64::from(room) << 20 }),
        }),
    };
    let done = AtomicBool::new(false);
    // What comes in before the guest starts is lost: the image sets the port up.
    let way_in = Mutex::new(None);
    let mut on_start = Some(on_start);
    let mut on_line = |line: &str| {
        if line.starts_with(STARTS) {
            let way = way_in.lock().ok().and_then(|mut way| way.take());
            if let (Some(way), Some(on_start)) = (way, on_start.take()) {
                on_start(way);
            }
        }
        on_line(line);
    };
    let ended = thread::scope(|scope| {
        let on_connect = |way| {
            if let Ok(mut place) = way_in.lock() {
                *place = Some(way);
            }
        };
        let done = &done;
        let carrier = scope.spawn(move || console.carry(done, on_connect, on_output));
        let ended = emulator::boot(&boot, emulators, &mut on_line);
        done.store(true, Ordering::Relaxed);
        let carried = carrier.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the guest's terminal")));
        ended.and_then(|ended| carried.map(|()| ended))
    })?;
    // It is large, and made again in no time.
    let _ = fs::remove_file(&package);
    let Monitor { end, exits, instructions } = Monitor::parse(&ended.log);
    let end = End::of(end, &ended.status);
    let snapshot = match end {
        End::Saved => Some(snapshot::take(emulator::saved(&boot)?)?),
        _ => None,
    };
    Ok(GuestEnded { end, exits, instructions, log: ended.log, snapshot, time: ended.time })
}

/// The memory of the machine that has such a guest, in MiB.
fn host_memory(package: usize, guest: Mebibytes) -> u32 {
    let package = package.div_ceil(1 << 20) as u32;
    // Page tables for the guest's memory: 1/512 of it and a little.
    let tables = guest.0 / 256 + 1;
    ((emulator::PACKAGE_ADDRESS >> 20) + package + guest.0 + OWN_MEMORY + tables).next_multiple_of(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_place() {
        assert_eq!(host_memory(10 << 20, Mebibytes(256)), 400);
        assert!(host_memory(1 << 30, Mebibytes(1536)) > MOST_MEMORY);
    }
}
