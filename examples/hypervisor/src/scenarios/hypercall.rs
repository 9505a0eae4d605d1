//! Hypercalls.

use alloc::format;

use super::machine::{Machine, unexpected};
use super::{Outcome, check};
use crate::guests;
use crate::vm::Exit;

/// The number that the guest calls.
const NUMBER: u64 = 0x600D;
/// What the guest passes.
const ARGUMENTS: [u64; 6] = [1, 20, 300, 4000, 50000, 0x1_2345_6789];

/// A guest that calls; the answer is the number and the arguments, added up.
pub fn hypercall() -> Outcome {
    let mut first = true;
    Machine::new(guests::hypercall())?.run(|_, cpu, exit| match exit {
        Exit::Hypercall { number, arguments } => {
            check(number == NUMBER, || format!("number {number:#x}"))?;
            if core::mem::take(&mut first) {
                check(arguments == ARGUMENTS, || format!("arguments {arguments:x?}"))?;
            }
            cpu.set_return_value(arguments.iter().fold(number, |sum, argument| sum.wrapping_add(*argument)));
            Ok(())
        }
        other => unexpected(&other),
    })
}
