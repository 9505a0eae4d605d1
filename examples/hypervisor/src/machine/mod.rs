//! A PC for guests that nobody here wrote: an unmodified Linux kernel, or a multiboot image. Over the library's own interface.
//!
//! The loader's module is a cpio archive ([`package`]) with the kernel; the command line says how large the machine is. The
//! guest's COM1 is the host's COM1, raw in both directions; what this image itself has to say goes to the host's COM2. Its last
//! lines there are the counts of exits, one JSON object a line behind `EXITS `, and how the guest ended:
//!
//! | `GUEST END reason=… status=…` | |
//! |---|---|
//! | `exit-port`, status `(v << 1 \| 1) & 255` | the guest wrote v to port F4h |
//! | `power-off`, 0 | through ACPI |
//! | `reset`, 2 | through port CF9h or 64h |
//! | `triple-fault`, 4 | |
//! | `halted`, 6 | every vCPU stopped with interrupts off |
//! | `time-limit`, 8 | the word `timeout=` of the command line |
//! | `unhandled`, 10 | the guest did something that this machine cannot; the line before says what |
//! | `refused`, 12 | it was not started; the line before says why |

mod board;
mod clock;
mod loader_linux;
mod memory;
mod package;
mod pic;
mod pit;
mod rtc;
mod serial;
mod statistics;
mod vcpu;

use alloc::string::{String, ToString};
use core::fmt;

use self::board::Board;
use self::clock::Clock;
use self::memory::GuestMemory;
use self::package::Package;
use self::vcpu::Machine;
use crate::command_line::Settings;
use crate::cpu::timestamp;
use crate::{end, logger, println, virtualization};

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Its time is over.
    TimeLimit,
    /// It did what nobody answers.
    Unhandled,
    /// It was not started.
    Refused,
}

impl End {
    fn status(self) -> u8 {
        match self {
            Self::ExitPort(value) => (value << 1 | 1) as u8,
            Self::PowerOff => 0,
            Self::Reset => 2,
            Self::TripleFault => 4,
            Self::Halted => 6,
            Self::TimeLimit => 8,
            Self::Unhandled => 10,
            Self::Refused => 12,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::ExitPort(_) => "exit-port",
            Self::PowerOff => "power-off",
            Self::Reset => "reset",
            Self::TripleFault => "triple-fault",
            Self::Halted => "halted",
            Self::TimeLimit => "time-limit",
            Self::Unhandled => "unhandled",
            Self::Refused => "refused",
        })
    }
}

/// Runs the module's guest to its end, and ends the image.
pub fn run(settings: &Settings, module: Option<&'static [u8]>) -> ! {
    crate::serial::move_log_to_com2();
    let guest_end = start(settings, module).unwrap_or_else(|reason| {
        println!("error: {reason}");
        End::Refused
    });
    println!("GUEST END reason={guest_end} status={}", guest_end.status());
    match guest_end {
        End::Refused | End::Unhandled => end::failure(format_args!("{guest_end}")),
        _ => end::success(),
    }
}

fn start(settings: &Settings, module: Option<&'static [u8]>) -> Result<End, String> {
    let package = Package::read(module)?;
    if settings.vcpus != 1 {
        return Err("this machine has one vCPU".into());
    }
    virtualization::enable().map_err(|error| {
        let said = logger::take_last();
        if said.is_empty() { error.to_string() } else { said }
    })?;
    let clock = Clock::new(settings.tsc_khz);
    let mut memory = GuestMemory::new(settings.memory)?;
    let entry = loader_linux::load(&package, &mut memory, None)?;
    println!(
        "guest: {} MiB, {} vCPU, TSC {} kHz, kernel of {} bytes",
        settings.memory >> 20,
        settings.vcpus,
        clock.hz / 1000,
        package.kernel.len()
    );
    let clock = Clock { start: timestamp(), ..clock };
    let machine = Machine::new(Board::new(clock), memory, clock, settings);
    machine.run(&entry)
}
