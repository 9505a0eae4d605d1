//! Every end that a guest's run can have, by a small guest of its own; the terminal; that its files arrive whole; and that its
//! exits are counted.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Result;

use super::{Place, tiny};
use crate::guest::memory::Mebibytes;
use crate::guest::monitor::Exits;
use crate::guest::package::{Files, Module, Package};
use crate::guest::{self, GuestBoot};
use crate::report::Outcome;

const MEMORY: Mebibytes = Mebibytes(64);
/// The module whose arrival is checked: longer than one of Bochs' blocks, and no multiple of anything.
const MODULE_SIZE: usize = (20 << 20) + 12_345;
/// Seconds that a guest gets which ends.
const LIMIT: u64 = 120;
/// Seconds for the guest that does not.
const SHORT: u64 = 2;
/// How often a guest executes CPUID.
const TIMES: u32 = 1234;

/// Boots them all, one after the other.
pub fn check(place: &Place) -> Result<Outcome> {
    let guests = [
        ("exit 0", tiny::exit(0), 1),
        ("exit 16", tiny::exit(16), 33),
        ("exit 255", tiny::exit(255), 255),
        ("exit 0xabcd07", tiny::exit_wide(), 15),
        ("power-off", tiny::power_off(), 0),
        ("triple fault", tiny::triple_fault(), 4),
        ("reset", tiny::reset(), 6),
        ("halt", tiny::halt(), 8),
        ("strange", tiny::strange(), 10),
    ];
    for (name, kernel, status) in guests {
        let run = run(place, &kernel, None, b"", LIMIT)?;
        if run.status != status {
            return Ok(Outcome::Failed(format!("{name}: status {} instead of {status}\n{}", run.status, run.log)));
        }
    }
    let endless = run(place, &tiny::forever(), None, b"", SHORT)?;
    if endless.status != 12 {
        return Ok(Outcome::Failed(format!("no end: status {} instead of 12\n{}", endless.status, endless.log)));
    }
    let counted = run(place, &tiny::identify(TIMES), None, b"", LIMIT)?;
    if let Some(problem) = problem_of_counts(&counted.exits) {
        return Ok(Outcome::Failed(format!("{problem}\n{}", counted.log)));
    }
    let typed = b"a line that is longer than what a 16550 holds\r\nand q";
    let echo = run(place, &tiny::echo(), None, typed, LIMIT)?;
    if echo.status != 85 || echo.output != typed {
        let output = String::from_utf8_lossy(&echo.output);
        return Ok(Outcome::Failed(format!("echo: status {}, output `{output}`\n{}", echo.status, echo.log)));
    }
    let module = noise(MODULE_SIZE);
    let sum = run(place, &tiny::checksum(), Some(&module), b"", LIMIT)?;
    if sum.status != 0 || sum.output != tiny::checksum_of(&module) {
        return Ok(Outcome::Failed(format!("the module's checksum is {:x?}\n{}", sum.output, sum.log)));
    }
    Ok(Outcome::Passed)
}

/// The library has answered each CPUID, and the VMM the one access to the exit port, by which the guest ended.
fn problem_of_counts(exits: &[Exits]) -> Option<String> {
    let row = |names: &[&str]| exits.iter().find(|row| names.contains(&row.reason.as_str()));
    let Some(cpuid) = row(&["CPUID"]) else { return Some("no exits by CPUID".into()) };
    let times = u64::from(TIMES);
    if (cpuid.count, cpuid.inside) != (times, times) || cpuid.instructions_inside < times {
        return Some(format!("{times} CPUIDs: {cpuid:?}"));
    }
    match row(&["IO_INSTRUCTION", "IOIO"]) {
        Some(port) if (port.count, port.inside) == (1, 0) => None,
        port => Some(format!("one access to a port: {port:?}")),
    }
}

/// One run.
struct Run {
    status: u8,
    exits: Vec<Exits>,
    output: Vec<u8>,
    log: String,
}

fn run(place: &Place, kernel: &[u8], module: Option<&[u8]>, typed: &'static [u8], limit: u64) -> Result<Run> {
    let path = |name: &str| place.directory.join(name);
    fs::write(path("kernel"), kernel)?;
    let mut modules = Vec::new();
    if let Some(module) = module {
        fs::write(path("module"), module)?;
        modules.push(Module { file: path("module"), command_line: "a module".into() });
    }
    let files = Files { kernel: path("kernel"), initrd: None, modules, command_line: "tiny".into() };
    let package = Package::read(&files, MEMORY)?;
    let boot = GuestBoot {
        machine: place.machine,
        image: place.image,
        archive: &package.archive,
        memory: MEMORY,
        cpus: 1,
        limit: Some(Duration::from_secs(limit)),
        replace: None,
        save_when: None,
        common_cpu: false,
        directory: place.directory.clone(),
        real_time: false,
        trace: String::new(),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let (sender, output) = mpsc::channel();
    let type_it = |mut way: TcpStream| {
        // An emulator that ends early is seen by its status.
        let _ = way.write_all(typed);
    };
    let ended =
        guest::boot(&boot, place.emulators, type_it, move |bytes| drop(sender.send(bytes.to_vec())), &mut |_| {})?;
    let status = ended.end.status();
    Ok(Run { status, exits: ended.exits, output: output.iter().flatten().collect(), log: ended.log })
}

/// Bytes without a pattern, the same every time.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(step).take(size).collect()
}
