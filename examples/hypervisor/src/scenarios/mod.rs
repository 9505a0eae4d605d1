//! What the image shows: guests that run, each with an outcome, and what they print.
//!
//! The log of a scenario, which scripts read:
//!
//! ```text
//! BEGIN name
//! > a line that the guest printed
//! SCENARIO name: ok
//! ```
//!
//! or, in place of `ok`, `FAILED` with a reason, `REFUSED` with what this CPU lacks, `SKIPPED` with why it does not apply.

mod alone;
mod doctor;
mod fpu;
pub mod handover;
mod host_interrupts;
mod hypercall;
mod interrupts;
mod invalid;
mod local_apic;
mod machine;
mod memory;
mod misuse;
mod mmio_forms;
mod multiprocessor;
mod nested;
mod policies;
#[cfg(feature = "replay")]
mod replay;
mod saved;
mod speculation;
#[cfg(feature = "trace")]
mod trace;
mod tsc;

use alloc::format;
use alloc::string::{String, ToString};

use axerrno::AxError;

use crate::memory::{FrameCounts, frame_counts};
use crate::{logger, println, smp};

/// One of them.
struct Scenario {
    name: &'static str,
    /// How many CPUs it needs.
    cpus: usize,
    run: fn() -> Outcome,
}

/// How a scenario ended.
type Outcome = Result<(), Reason>;

/// Why a scenario did not succeed.
#[derive(Debug)]
enum Reason {
    /// Something is wrong.
    Failed(String),
    /// This CPU lacks what it needs; the library says what.
    Refused(String),
    /// It does not apply to this machine.
    Skipped(String),
}

macro_rules! scenarios {
    ($($name:ident $(on $cpus:literal CPUs)? $(with $feature:literal)? = $run:expr;)*) => {
        const ALL: &[Scenario] = &[$(
            Scenario { name: stringify!($name), cpus: 1 $(+ $cpus - 1)?, run: || {
                $(#[cfg(not(feature = $feature))]
                return without($feature);)?
                $(#[cfg(feature = $feature)])?
                $run
            } },
        )*];
    };
}

scenarios! {
    real = alone::real();
    protected = alone::protected();
    long = alone::long();
    modes = alone::modes();
    task_switch = alone::task_switch();
    cpuid = alone::cpuid();
    msr = alone::msr();
    control_registers = alone::control_registers();
    port_io = alone::port_io();
    string_io = alone::string_io();
    string_io_fault = alone::string_io_fault();
    string_io_limits = alone::string_io_limits();
    string_io_real = alone::string_io_real();
    mmio = alone::mmio();
    mmio_real = alone::mmio_real();
    mmio_forms = mmio_forms::long();
    mmio_forms_protected = mmio_forms::protected();
    mmio_forms_real = mmio_forms::real();
    nested_fault = memory::nested_fault();
    halt = interrupts::halt();
    nmi = interrupts::nmi();
    events = interrupts::events();
    events_protected = interrupts::events_protected();
    events_real = interrupts::events_real();
    interrupt_shadow = alone::interrupt_shadow();
    single_step = alone::single_step();
    breakpoints = alone::breakpoints();
    breakpoints_of_cpu = alone::breakpoints_of_cpu();
    hypercall = hypercall::hypercall();
    invalid_opcode = alone::invalid_opcode();
    policies = policies::policies();
    xsetbv = alone::xsetbv();
    instructions = alone::instructions();
    control_faults = alone::control_faults();
    control_faults_pae = alone::control_faults_pae();
    speculation = speculation::speculation();
    return_stack = speculation::return_stack();
    exit_trace with "trace" = trace::exit_trace();
    tsc = tsc::tsc();
    tsc_frequency = tsc::tsc_frequency();
    fpu = fpu::fpu();
    alternating = fpu::alternating();
    vectors = fpu::vectors();
    protection_keys = fpu::protection_keys();
    triple_fault = invalid::triple_fault();
    entry_failure = invalid::entry_failure();
    doctor = doctor::doctor();
    host_timer = host_interrupts::host_timer();
    local_apic = local_apic::local_apic();
    x2apic = local_apic::x2apic();
    apic_exits = local_apic::apic_exits();
    apic_init = local_apic::apic_init();
    time_slice = local_apic::time_slice();
    smp on 2 CPUs = multiprocessor::smp();
    apic_smp on 2 CPUs = local_apic::apic_smp();
    migration on 2 CPUs = multiprocessor::migration();
    vectors_migration on 2 CPUs = multiprocessor::vectors_migration();
    kick on 2 CPUs = multiprocessor::kick();
    nested_pages = nested::nested_pages();
    dirty_log = nested::dirty_log();
    nested_misconfiguration = nested::nested_misconfiguration();
    shootdown on 2 CPUs = nested::shootdown();
    host_nmi on 2 CPUs = multiprocessor::host_nmi();
    replay with "replay" = replay::long();
    replay_real with "replay" = replay::real();
    replay_apic with "replay" = replay::local_apic();
    saved_real = saved::real();
    saved_protected = saved::protected();
    saved_long = saved::long();
    saved_events = saved::events();
    saved_vectors = saved::vectors();
    saved_local_apic = saved::local_apic();
    misuse = misuse::misuse();
    frames = memory::frames();
    out_of_memory = memory::out_of_memory();
}

/// Prints the names.
pub fn list() {
    for scenario in ALL {
        println!("NAME {} {}", scenario.name, scenario.cpus);
    }
}

/// Runs those that are named (`all`, or names with commas between them). With `refusal`, this CPU has no virtualization
/// that the library can use, and none is run. The error says how many failed.
pub fn run(names: &str, refusal: Option<&str>) -> Result<(), String> {
    let wanted = |scenario: &&Scenario| names == "all" || names.split(',').any(|name| name == scenario.name);
    for name in names.split(',') {
        if name != "all" && ALL.iter().all(|scenario| scenario.name != name) {
            return Err(format!("there is no scenario {name}"));
        }
    }
    let (mut count, mut failed) = (0, 0);
    for scenario in ALL.iter().filter(wanted) {
        println!("BEGIN {}", scenario.name);
        let outcome = match refusal {
            Some(reason) => Err(Reason::Refused(reason.to_string())),
            None => run_one(scenario),
        };
        count += 1;
        match outcome {
            Ok(()) => println!("SCENARIO {}: ok", scenario.name),
            Err(Reason::Refused(reason)) => println!("SCENARIO {}: REFUSED {reason}", scenario.name),
            Err(Reason::Skipped(reason)) => println!("SCENARIO {}: SKIPPED {reason}", scenario.name),
            Err(Reason::Failed(reason)) => {
                failed += 1;
                println!("SCENARIO {}: FAILED {reason}", scenario.name);
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {count}")) }
}

/// Runs one, and looks whether every frame came back.
fn run_one(scenario: &Scenario) -> Outcome {
    if smp::count() < scenario.cpus {
        return Err(Reason::Skipped(format!("needs {} CPUs", scenario.cpus)));
    }
    logger::take_last();
    let before = frame_counts();
    let outcome = (scenario.run)();
    let after = frame_counts();
    outcome.and_then(|()| no_leak(before, after))
}

/// Every frame that was taken between the two counts has been given back.
fn no_leak(before: FrameCounts, after: FrameCounts) -> Outcome {
    let taken = after.allocated - before.allocated;
    let freed = after.freed - before.freed;
    check(taken == freed, || format!("{taken} frames were taken and {freed} given back"))
}

/// A scenario of a feature that the image does not have.
#[cfg(not(all(feature = "replay", feature = "trace")))]
fn without(feature: &str) -> Outcome {
    Err(Reason::Skipped(format!("the image is built without the feature `{feature}`")))
}

/// A failure with a text, unless `condition`.
fn check(condition: bool, text: impl FnOnce() -> String) -> Outcome {
    if condition { Ok(()) } else { Err(Reason::Failed(text())) }
}

/// What setting a vCPU up said: where the CPU lacks something, it is a refusal, in the words of the library's log.
fn refused(error: AxError) -> Reason {
    let said = logger::take_last();
    match error {
        AxError::Unsupported => Reason::Refused(if said.is_empty() { error.to_string() } else { said }),
        _ => Reason::Failed(format!("{error}: {said}")),
    }
}

impl From<AxError> for Reason {
    fn from(error: AxError) -> Self {
        Self::Failed(format!("{error}: {}", logger::take_last()))
    }
}

impl From<x86_vcpu::Error> for Reason {
    fn from(error: x86_vcpu::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
