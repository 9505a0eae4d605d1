//! Guests of other scenarios whose vCPU is saved, dropped, and restored in a new one again and again.

use alloc::format;

use super::{Outcome, Reason, alone, check, fpu, hypercall, interrupts, invalid, local_apic};
use crate::println;
use crate::vm::replacement::while_replacing;

/// A scenario, with its name.
type Named<'a> = (&'a str, fn() -> Outcome);

/// Each of them, with what it prints. The vCPU is replaced before every so manieth run.
fn all(every: usize, scenarios: &[Named<'_>]) -> Outcome {
    for (name, run) in scenarios {
        println!("{name}:");
        let (outcome, replaced, refused) = while_replacing(every, run);
        println!("{name}: replaced {replaced} times, and {refused} times not");
        outcome.map_err(|reason| match reason {
            Reason::Failed(why) => Reason::Failed(format!("{name}: {why}")),
            other => other,
        })?;
        check(replaced != 0, || format!("{name}: no vCPU was replaced"))?;
    }
    Ok(())
}

/// Guests in real mode, and those that go through all modes.
pub fn real() -> Outcome {
    all(
        3,
        &[
            ("real", alone::real),
            ("modes", alone::modes),
            ("string_io_real", alone::string_io_real),
            ("mmio_real", alone::mmio_real),
            ("events_real", interrupts::events_real),
        ],
    )
}

/// Guests in protected mode, with and without PAE paging.
pub fn protected() -> Outcome {
    all(
        7,
        &[
            ("protected", alone::protected),
            ("events_protected", interrupts::events_protected),
            ("task_switch", alone::task_switch),
            ("control_faults_pae", alone::control_faults_pae),
        ],
    )
}

/// Guests in 64-bit mode.
pub fn long() -> Outcome {
    all(
        17,
        &[
            ("long", alone::long),
            ("msr", alone::msr),
            ("control_registers", alone::control_registers),
            ("port_io", alone::port_io),
            ("string_io", alone::string_io),
            ("mmio", alone::mmio),
            ("hypercall", hypercall::hypercall),
            ("instructions", alone::instructions),
            ("control_faults", alone::control_faults),
            ("fpu", fpu::fpu),
        ],
    )
}

/// The same, with events of all kinds.
pub fn events() -> Outcome {
    all(
        3,
        &[
            ("halt", interrupts::halt),
            ("nmi", interrupts::nmi),
            ("events", interrupts::events),
            ("interrupt_shadow", alone::interrupt_shadow),
            ("single_step", alone::single_step),
            ("breakpoints", alone::breakpoints),
            ("triple_fault", invalid::triple_fault),
        ],
    )
}

/// Guests with AVX, and AVX-512 where the CPU has it.
pub fn vectors() -> Outcome {
    all(2, &[("vectors", fpu::vectors)])
}

/// Guests with a local APIC, whose timer runs.
pub fn local_apic() -> Outcome {
    all(7, &[("local_apic", local_apic::local_apic), ("x2apic", local_apic::x2apic)])
}
