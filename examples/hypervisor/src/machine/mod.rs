//! A PC for guests that nobody here wrote: an unmodified Linux kernel, or a multiboot image. Over the library's own interface.
//!
//! The loader's module is a cpio archive ([`package`]) with the kernel; the command line says how large the machine is. The
//! guest's COM1 is the host's COM1, raw in both directions; what this image itself has to say goes to the host's COM2. Its last
//! lines there are the counts of exits, one JSON object a line behind `EXITS `, and how the guest ended:
//!
//! | `GUEST END reason=…` | |
//! |---|---|
//! | `exit-port status=V` | it wrote V to port F4h |
//! | `power-off` | through ACPI |
//! | `reset` | through port CF9h or 64h |
//! | `triple-fault` | |
//! | `saved bytes=N` | it was saved in the middle, for another boot ([`snapshot`]), in so many bytes |
//! | `halted` | every vCPU stopped with interrupts off |
//! | `time-limit` | the word `timeout=` of the command line |
//! | `unhandled: …` | it did something that this machine cannot |
//! | `failed: …` | it was not started, or the library failed |

mod acpi;
mod board;
mod clock;
pub mod common_cpu;
mod host;
mod io_apic;
mod loader_linux;
mod loader_multiboot;
mod memory;
mod package;
mod pic;
mod pit;
mod rtc;
mod serial;
pub mod snapshot;
mod statistics;
mod vcpu;

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use axerrno::AxResult;
use x86_vcpu::ApicBus;

use self::board::Board;
use self::clock::Clock;
use self::host::HOST;
use self::memory::GuestMemory;
use self::package::Package;
use self::snapshot::Snapshot;
use crate::command_line::Settings;
use crate::cpu::timestamp;
use crate::smp::{self, MAX_CPUS};
use crate::{end, logger, println, virtualization};

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It wrote this to the exit port.
    ExitPort(u32),
    /// It switched its machine off.
    PowerOff,
    /// It asked for a reset.
    Reset,
    /// A triple fault.
    TripleFault,
    /// It stopped for good.
    Halted,
    /// It was saved in so many bytes, to go on in another boot.
    Saved(usize),
    /// Its time is over.
    TimeLimit,
    /// It did what nobody answers; the text says what.
    Unhandled(String),
    /// It was not started, or the machine failed; the text says why.
    Failed(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::ExitPort(value) => write!(f, "exit-port status={value}"),
            Self::PowerOff => f.write_str("power-off"),
            Self::Reset => f.write_str("reset"),
            Self::TripleFault => f.write_str("triple-fault"),
            Self::Halted => f.write_str("halted"),
            Self::Saved(bytes) => write!(f, "saved bytes={bytes}"),
            Self::TimeLimit => f.write_str("time-limit"),
            Self::Unhandled(what) => write!(f, "unhandled: {what}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// Runs the module's guest to its end, and ends the image.
pub fn run(settings: &Settings, module: Option<&'static [u8]>) -> ! {
    crate::serial::move_log_to_com2();
    let guest_end = start(settings, module).unwrap_or_else(End::Failed);
    println!("GUEST END reason={guest_end}");
    match guest_end {
        End::Failed(why) | End::Unhandled(why) => end::failure(format_args!("{why}")),
        _ => end::success(),
    }
}

fn start(settings: &Settings, module: Option<&'static [u8]>) -> Result<End, String> {
    let package = Package::read(module)?;
    let snapshot = package.snapshot.map(Snapshot::read).transpose()?;
    let mut settings = settings.clone();
    if let Some(snapshot) = &snapshot {
        // The machine is what it was.
        settings.vcpus = snapshot.machine.vcpus as usize;
        settings.memory = usize::try_from(snapshot.machine.memory).unwrap_or(usize::MAX);
        settings.common_cpu = snapshot.machine.common_cpu;
    }
    let settings = &settings;
    if settings.vcpus == 0 || settings.vcpus > settings.cpus || settings.cpus > MAX_CPUS {
        return Err(format!(
            "a guest with {} vCPUs needs as many CPUs, and the image knows {MAX_CPUS}; there are {}",
            settings.vcpus, settings.cpus
        ));
    }
    enable(virtualization::enable())?;
    smp::start(settings.vcpus);
    for number in 1..settings.vcpus {
        enable(smp::on(number, virtualization::enable))?;
    }
    let clock = Clock::new(settings.tsc_khz);
    let mut memory = GuestMemory::new(settings.memory)?;
    if let Some(snapshot) = snapshot {
        return go_on(snapshot, memory, clock, settings);
    }
    let rsdp = acpi::write_tables(&mut memory, settings.vcpus)?;
    let entry = if loader_linux::is_linux(package.kernel) {
        loader_linux::load(&package, &mut memory, rsdp)?
    } else if loader_multiboot::is_multiboot(package.kernel) {
        loader_multiboot::load(&package, &mut memory)?
    } else {
        return Err("the kernel is neither a Linux bzImage nor a multiboot image".into());
    };
    println!(
        "guest: {} MiB, {} vCPU, TSC {} kHz, kernel of {} bytes",
        settings.memory >> 20,
        settings.vcpus,
        clock.hz / 1000,
        package.kernel.len()
    );
    let bus = ApicBus::new(&HOST).map_err(|error| error.to_string())?;
    memory.map_local_apic(&bus)?;
    let clock = Clock { start: timestamp(), ..clock };
    vcpu::run(vcpu::Begin::Start(&entry), &bus, Board::new(clock, bus.clone()), memory, clock, settings)
}

/// Goes on with a guest that was saved, in memory of its size.
fn go_on(snapshot: Snapshot, mut memory: GuestMemory, here: Clock, settings: &Settings) -> Result<End, String> {
    let Snapshot { machine, vcpus, devices, .. } = snapshot.fill(&mut memory)?;
    println!(
        "guest: {} MiB, {} vCPU, goes on {} ms after its start, TSC {} kHz, here {} kHz",
        machine.memory >> 20,
        machine.vcpus,
        u128::from(machine.passed) * 1000 / u128::from(machine.hz),
        machine.hz / 1000,
        here.hz / 1000
    );
    let bus = ApicBus::new(&HOST).map_err(|error| error.to_string())?;
    memory.map_local_apic(&bus)?;
    // All of the guest's clocks follow its time-stamp counter, which may be faster or slower here than where it was saved. By the rate that
    // the guest has measured, they all agree.
    let clock = Clock { hz: machine.hz, start: timestamp(), before: machine.passed };
    let board = Board::restore(clock, bus.clone(), devices);
    vcpu::run(vcpu::Begin::GoOn(&vcpus), &bus, board, memory, clock, settings)
}

/// Why virtualization could not be turned on, in the library's words.
fn enable(result: AxResult) -> Result<(), String> {
    result.map_err(|error| {
        let said = logger::take_last();
        if said.is_empty() { error.to_string() } else { said }
    })
}
