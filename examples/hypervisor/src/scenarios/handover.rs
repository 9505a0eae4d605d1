//! Guests that stop in the middle of one boot, and go on in another: on another CPU, of another vendor perhaps.
//!
//! `suspend` prints a line `HANDOVER name hex` for each; `resume` gets them as the loader's module, and prints what the guest
//! has printed in both boots.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use x86_vcpu::State;

use super::machine::{Machine, judge, print_output};
use super::{Outcome, Reason, check};
use crate::guests::{self, Guest};
use crate::vm::replacement::{self, suspend_after};
use crate::vm::{Exit, Vm, VmCpu};
use crate::{print, println};

/// A guest, and before which run it is stopped.
type Stop = (&'static str, fn() -> Guest, usize);

const STOPS: [Stop; 14] = [
    ("real", guests::real, 60),
    ("protected", guests::protected, 100),
    ("long", guests::long, 150),
    ("modes", guests::modes, 60),
    ("modes", guests::modes, 180),
    ("modes", guests::modes, 300),
    ("task_switch", guests::task_switch, 700),
    ("control_registers", guests::control_registers, 500),
    ("single_step", guests::single_step, 80),
    ("single_step", guests::single_step, 150),
    ("breakpoints", guests::breakpoints, 120),
    ("breakpoints", guests::breakpoints, 300),
    ("interrupt_shadow", guests::interrupt_shadow, 70),
    ("fpu", guests::fpu, 120),
];

/// Stops each of them.
pub fn suspend() -> Result<(), String> {
    for (name, guest, stop) in STOPS {
        suspend_one(name, guest(), stop).map_err(|reason| format!("{name} before run {stop}: {reason:?}"))?;
    }
    Ok(())
}

fn suspend_one(name: &str, guest: Guest, stop: usize) -> Outcome {
    let Machine { mut cpu, vm } = Machine::new(guest)?;
    suspend_after(stop);
    loop {
        match cpu.run(&vm)? {
            Exit::Suspended => break,
            Exit::Interrupt | Exit::Yield => {}
            other => return Err(Reason::Failed(format!("{other:x?} before it was stopped"))),
        }
    }
    let state = cpu.inner().save()?;
    let mut bytes = vec![0; state.encoded_len()];
    state.write_to(&mut bytes).map_err(x86_vcpu::Error::from)?;
    print!("HANDOVER {name} ");
    print_part(&bytes);
    print_part(&cpu.output);
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
        match resume_one(hex.trim()) {
            Ok(()) => println!("SCENARIO {name}: ok"),
            Err(reason) => return Err(format!("{name}: {reason:?}")),
        }
    }
    Ok(())
}

fn resume_one(hex: &str) -> Outcome {
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
    let mut cpu = VmCpu::new(&vm, 0, guests::long())?;
    cpu.inner().restore(&state)?;
    cpu.output = output.to_vec();
    replacement::suspend_after(usize::MAX);
    let outcome = loop {
        match cpu.run(&vm)? {
            Exit::Done(verdict) => break judge(verdict),
            Exit::Interrupt | Exit::Yield => {}
            other => break Err(Reason::Failed(format!("unexpected: {other:x?}"))),
        }
    };
    print_output(&cpu);
    outcome
}

/// What [`print_part`] printed, and the rest.
fn part(bytes: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    let found = bytes.split_first_chunk().and_then(|(length, rest)| {
        let length = u32::from_le_bytes(*length) as usize;
        rest.split_at_checked(length)
    });
    found.ok_or_else(|| Reason::Failed("the line ends too early".to_string()))
}
