//! Guests that stop in the middle of one boot, and go on in another: on another CPU, of another vendor perhaps.
//!
//! `suspend` prints a line `HANDOVER name hex` for each; `resume` gets them as the loader's module, and prints what the guest
//! has printed in both boots.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use x86_vcpu::guest::snapshot::Activity;
use x86_vcpu::spec::x86::registers::Rflags;
use x86_vcpu::{ApicBus, State};

use super::local_apic::{self, ApicCpu, HOST, Inputs};
use super::machine::{Machine, judge, print_output, unexpected};
use super::{Outcome, Reason, check, interrupts};
use crate::guests::{self, Guest};
use crate::vm::replacement;
use crate::vm::{Exit, Vm, VmCpu};
use crate::{print, println};

/// A guest, and where it is stopped.
struct Stop {
    name: &'static str,
    guest: fn() -> Guest,
    vmm: Vmm,
    place: Place,
    /// What of its state holds there.
    when: fn(&State) -> bool,
}

enum Place {
    /// Before this run, or a later one.
    Run(usize),
    /// Where it halts. Before runs nobody looks, which takes longer than a timer that counts again and again.
    Halt,
}

/// Who answers the guest.
#[derive(Clone, Copy)]
enum Vmm {
    /// This does.
    Answers(fn(&mut VmCpu, Exit) -> Outcome),
    /// The local APIC, which it has, and what is wired to that.
    LocalApic,
}

/// Nobody has to.
fn lets_go_on(_: &mut VmCpu, exit: Exit) -> Outcome {
    match exit {
        Exit::Yield => Ok(()),
        other => unexpected(&other),
    }
}

const fn before(name: &'static str, guest: fn() -> Guest, run: usize) -> Stop {
    Stop { name, guest, vmm: Vmm::Answers(lets_go_on), place: Place::Run(run), when: |_| true }
}

const fn when(name: &'static str, guest: fn() -> Guest, vmm: Vmm, when: fn(&State) -> bool) -> Stop {
    Stop { name, guest, vmm, place: Place::Run(0), when }
}

const fn halted(name: &'static str, guest: fn() -> Guest, vmm: Vmm, when: fn(&State) -> bool) -> Stop {
    Stop { name, guest, vmm, place: Place::Halt, when }
}

const HALTS: Vmm = Vmm::Answers(interrupts::wake);
const NMIS: Vmm = Vmm::Answers(interrupts::send_nmi);

const STOPS: [Stop; 25] = [
    before("real", guests::real, 60),
    before("protected", guests::protected, 100),
    before("long", guests::long, 150),
    before("modes", guests::modes, 60),
    before("modes", guests::modes, 180),
    before("modes", guests::modes, 300),
    before("task_switch", guests::task_switch, 700),
    before("control_registers", guests::control_registers, 500),
    before("single_step", guests::single_step, 80),
    before("single_step", guests::single_step, 150),
    before("breakpoints", guests::breakpoints, 120),
    before("breakpoints", guests::breakpoints, 300),
    before("interrupt_shadow", guests::interrupt_shadow, 70),
    before("fpu", guests::fpu, 120),
    halted("halt", guests::halt, HALTS, is_halted),
    // Three interrupts wait, of which none may be lost, and the highest has to come first.
    when("halt", guests::halt, HALTS, |state| held_back(state) && requests(state) == 3),
    // In the handler of an NMI, with the next one waiting. No second guest like that: Bochs 2.7 (not a CPU) keeps NMIs blocked for
    // whichever vCPU it enters next.
    when("nmi", guests::nmi, NMIS, |state| state.events.nmi_blocked && state.events.nmi_pending),
    // Requested with interrupts off; and in service, with another one waiting for the EOI.
    when("local_apic", guests::local_apic, Vmm::LocalApic, |state| held_back(state) && requests(state) != 0),
    when("local_apic", guests::local_apic, Vmm::LocalApic, |state| in_service(state) && requests(state) != 0),
    // Halted until the timer fires: that counts once, that counts again and again, that has a deadline.
    halted("local_apic", guests::local_apic, Vmm::LocalApic, |state| is_halted(state) && counts(state, ONE_SHOT)),
    halted("local_apic", guests::local_apic, Vmm::LocalApic, |state| is_halted(state) && counts(state, PERIODIC)),
    halted("local_apic", guests::local_apic, Vmm::LocalApic, |state| is_halted(state) && has_deadline(state)),
    when("x2apic", guests::x2apic, Vmm::LocalApic, in_x2apic_mode),
    when("x2apic", guests::x2apic, Vmm::LocalApic, |state| in_x2apic_mode(state) && in_service(state)),
    when("x2apic", guests::x2apic, Vmm::LocalApic, |state| {
        in_x2apic_mode(state) && held_back(state) && requests(state) != 0
    }),
];

/// The timer's mode, in its entry of the local vector table.
const MODE: u32 = 0b11 << 17;
const ONE_SHOT: u32 = 0;
const PERIODIC: u32 = 1 << 17;

fn is_halted(state: &State) -> bool {
    state.events.activity == Activity::Halted
}

/// No interrupt is taken.
fn held_back(state: &State) -> bool {
    !state.system.rflags.contains(Rflags::IF)
}

/// How many interrupts wait.
fn requests(state: &State) -> u32 {
    let of_apic = state.local_apic.iter().flat_map(|apic| apic.interrupt_request);
    of_apic.map(u32::count_ones).sum::<u32>() + state.events.requests.map(u64::count_ones).iter().sum::<u32>()
}

fn in_service(state: &State) -> bool {
    state.local_apic.is_some_and(|apic| apic.in_service != [0; 8])
}

/// Whether the timer counts, in this mode.
fn counts(state: &State, mode: u32) -> bool {
    state.local_apic.is_some_and(|apic| apic.timer_left.is_some() && apic.lvt_timer & MODE == mode)
}

fn has_deadline(state: &State) -> bool {
    state.local_apic.is_some_and(|apic| apic.tsc_deadline != 0)
}

fn in_x2apic_mode(state: &State) -> bool {
    const EXTD: u64 = 1 << 10;
    state.local_apic.is_some_and(|apic| apic.base & EXTD != 0)
}

/// Stops each of them.
pub fn suspend() -> Result<(), String> {
    for (number, stop) in STOPS.iter().enumerate() {
        suspend_one(stop).map_err(|reason| format!("{}, stop {number}: {reason:?}", stop.name))?;
    }
    Ok(())
}

fn suspend_one(stop: &Stop) -> Outcome {
    match stop.place {
        Place::Run(run) => replacement::suspend_after(run, stop.when),
        Place::Halt => replacement::suspend_halted(stop.when),
    }
    let outcome = match stop.vmm {
        Vmm::Answers(answer) => suspend_plain(stop, answer),
        Vmm::LocalApic => suspend_with_local_apic(stop),
    };
    replacement::suspend_none();
    outcome
}

fn suspend_plain(stop: &Stop, answer: fn(&mut VmCpu, Exit) -> Outcome) -> Outcome {
    let Machine { mut cpu, vm } = Machine::new((stop.guest)())?;
    loop {
        match cpu.run(&vm)? {
            Exit::Suspended => break,
            Exit::Halt if replacement::is_suspended_halted(cpu.inner()) => break,
            Exit::Done(_) => return Err(Reason::Failed("it ended before it was stopped".into())),
            other => answer(&mut cpu, other)?,
        }
    }
    let state = cpu.inner().save()?;
    print_guest(stop.name, &state, &cpu.output, &vm)
}

fn suspend_with_local_apic(stop: &Stop) -> Outcome {
    let vm = Vm::new()?;
    let bus = ApicBus::new(&HOST)?;
    let mut inputs = Inputs::default();
    let mut cpu = ApicCpu::starting(&vm, 0, &bus, (stop.guest)())?;
    loop {
        match cpu.run()? {
            local_apic::Event::Suspended => break,
            local_apic::Event::Done(_) => return Err(Reason::Failed("it ended before it was stopped".into())),
            other => inputs.answer(&mut cpu.vcpu, &bus, other)?,
        }
    }
    let state = cpu.vcpu.save()?;
    // It goes on elsewhere, and is printed there.
    let output = core::mem::take(&mut cpu.output);
    print_guest(stop.name, &state, &output, &vm)
}

fn print_guest(name: &str, state: &State, output: &[u8], vm: &Vm) -> Outcome {
    let mut bytes = vec![0; state.encoded_len()];
    state.write_to(&mut bytes).map_err(x86_vcpu::Error::from)?;
    print!("HANDOVER {name} ");
    print_part(&bytes);
    print_part(output);
    // What the guest has changed in its memory, and nothing else.
    let fresh = Vm::new()?;
    let (old, new) = (fresh.memory.lock(), vm.memory.lock());
    for ((number, old), new) in old.bytes().chunks(PIECE).enumerate().zip(new.bytes().chunks(PIECE)) {
        if old != new {
            print_hex(&((number * PIECE) as u32).to_le_bytes());
            print_hex(new);
        }
    }
    print!("\n");
    Ok(())
}

/// How much of the memory is compared, and written, at a time.
const PIECE: usize = 64;

fn print_part(bytes: &[u8]) {
    print_hex(&(bytes.len() as u32).to_le_bytes());
    print_hex(bytes);
}

fn print_hex(bytes: &[u8]) {
    for byte in bytes {
        print!("{byte:02x}");
    }
}

/// Goes on with those in the loader's module, the lines of `suspend`.
pub fn resume(module: Option<&[u8]>) -> Result<(), String> {
    let text = module.and_then(|bytes| str::from_utf8(bytes).ok()).ok_or("there is no module with guests")?;
    for line in text.lines() {
        let Some((name, hex)) = line.strip_prefix("HANDOVER ").and_then(|rest| rest.split_once(' ')) else { continue };
        println!("BEGIN {name}");
        match resume_one(name, hex.trim()) {
            Ok(()) => println!("SCENARIO {name}: ok"),
            Err(reason) => return Err(format!("{name}: {reason:?}")),
        }
    }
    Ok(())
}

fn resume_one(name: &str, hex: &str) -> Outcome {
    let digit = |index: usize| hex.get(index..index + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(digit).collect();
    let bytes = bytes.ok_or_else(|| Reason::Failed("the line is no hexadecimal number".to_string()))?;
    let (state, rest) = part(&bytes)?;
    let (output, mut pieces) = part(rest)?;
    let state = State::read_from(state).map_err(x86_vcpu::Error::from)?;
    let vm = Vm::new()?;
    while let Some((address, rest)) = pieces.split_first_chunk().filter(|(_, rest)| rest.len() >= PIECE) {
        let (piece, rest) = rest.split_at(PIECE);
        vm.memory.lock().write(u32::from_le_bytes(*address).into(), piece);
        pieces = rest;
    }
    check(pieces.is_empty(), || "the memory ends in the middle of a piece".to_string())?;
    let stop = STOPS.iter().find(|stop| stop.name == name);
    match stop.ok_or_else(|| Reason::Failed("nobody knows this guest".to_string()))?.vmm {
        Vmm::Answers(answer) => resume_plain(&vm, &state, output, answer),
        Vmm::LocalApic => resume_with_local_apic(&vm, &state, output),
    }
}

fn resume_plain(vm: &Vm, state: &State, output: &[u8], answer: fn(&mut VmCpu, Exit) -> Outcome) -> Outcome {
    let mut cpu = VmCpu::new(vm, 0, guests::long())?;
    cpu.inner().restore(state)?;
    cpu.output = output.to_vec();
    if is_halted(state) {
        answer(&mut cpu, Exit::Halt)?;
    }
    let outcome = loop {
        match cpu.run(vm)? {
            Exit::Done(verdict) => break judge(verdict),
            other => answer(&mut cpu, other)?,
        }
    };
    print_output(&cpu);
    outcome
}

fn resume_with_local_apic(vm: &Vm, state: &State, output: &[u8]) -> Outcome {
    let bus = ApicBus::new(&HOST)?;
    let mut inputs = Inputs::default();
    let mut cpu = ApicCpu::new(vm, 0, &bus)?;
    cpu.restore(state)?;
    cpu.output = output.to_vec();
    loop {
        match cpu.run()? {
            local_apic::Event::Done(verdict) => break judge(verdict),
            other => inputs.answer(&mut cpu.vcpu, &bus, other)?,
        }
    }
}

/// What [`print_part`] printed, and the rest.
fn part(bytes: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    let found = bytes.split_first_chunk().and_then(|(length, rest)| {
        let length = u32::from_le_bytes(*length) as usize;
        rest.split_at_checked(length)
    });
    found.ok_or_else(|| Reason::Failed("the line ends too early".to_string()))
}
