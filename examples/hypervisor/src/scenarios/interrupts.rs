//! Interrupts from the VMM: those that end HLT, and those that cannot be masked.

use x86_vcpu::Event;
use x86_vcpu::spec::x86::registers::ExceptionVector;

use super::machine::{Machine, unexpected};
use super::{Outcome, refused};
use crate::guests::{self, Guest};
use crate::vm::{Exit, Vm, VmCpu};

/// The vector that wakes the guest.
const WAKE: u8 = 0x30;

/// A guest that halts until the VMM injects an interrupt.
pub fn halt() -> Outcome {
    Machine::new(guests::halt())?.run(|_, cpu, exit| wake(cpu, exit))
}

/// What the VMM does for that guest.
pub fn wake(cpu: &mut VmCpu, exit: Exit) -> Outcome {
    match exit {
        Exit::Halt => Ok(cpu.inject_interrupt(WAKE)?),
        other => unexpected(&other),
    }
}

/// Events whose delivery is interrupted, because the stack is mapped on demand.
pub fn events() -> Outcome {
    let vm = Vm::new()?;
    let cpu = VmCpu::on_demand(&vm, 0, guests::events()).map_err(refused)?;
    let mut yields = 0;
    Machine { vm, cpu }.run(|_, cpu, exit| {
        match exit {
            Exit::Yield => yields += 1,
            // The window that was asked for. Any other exit of this kind would be too early for the interrupt, which CR8
            // would hold back.
            Exit::Interrupt if yields == 5 => {
                cpu.inner().inject_interrupt(0x35);
                return Ok(());
            }
            other => return unexpected(&other),
        }
        let vcpu = cpu.inner();
        match yields {
            1 => vcpu.inject_nmi(),
            2 => vcpu.inject_exception(general_protection()),
            3 => {
                vcpu.inject_exception(Event::exception(ExceptionVector::PF, Some(2)));
                vcpu.inject_exception(general_protection());
            }
            4 => vcpu.inject_exception(Event::software_interrupt(0x32, 2)),
            _ => vcpu.request_interrupt_window(),
        }
        Ok(())
    })
}

/// An exception of the VMM's in protected mode.
pub fn events_protected() -> Outcome {
    raise_when_it_yields(guests::events_protected())
}

/// The same in real mode.
pub fn events_real() -> Outcome {
    raise_when_it_yields(guests::events_real())
}

fn raise_when_it_yields(guest: Guest) -> Outcome {
    Machine::new(guest)?.run(|_, cpu, exit| match exit {
        Exit::Yield => {
            cpu.inner().inject_exception(general_protection());
            Ok(())
        }
        other => unexpected(&other),
    })
}

fn general_protection() -> Event {
    Event::exception(ExceptionVector::GP, Some(0x1234))
}

/// A guest that gets an NMI whenever it lets the VMM do something.
pub fn nmi() -> Outcome {
    Machine::new(guests::nmi())?.run(|_, cpu, exit| send_nmi(cpu, exit))
}

/// What the VMM does for that guest.
pub fn send_nmi(cpu: &mut VmCpu, exit: Exit) -> Outcome {
    match exit {
        Exit::Yield => {
            cpu.inner().inject_nmi();
            Ok(())
        }
        other => unexpected(&other),
    }
}
