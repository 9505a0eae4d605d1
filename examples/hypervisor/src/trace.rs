//! The exits that the library keeps of each vCPU, on the log: lines for `cargo xtask trace`, whose format docs/trace.md describes,
//! and the last ones in words where a guest comes to a bad end.

use x86_vcpu::{Result, Vcpu};

use crate::command_line::Trace;
#[cfg(feature = "trace")]
use crate::{command_line::Print, cpu::timestamp, println};

/// How many are printed in words.
#[cfg(feature = "trace")]
const IN_WORDS: usize = 16;
/// So many at a time are printed while a guest runs.
#[cfg(feature = "trace")]
const AT_ONCE: u64 = 1024;

/// How far a vCPU's trace is printed.
#[derive(Clone, Copy, Default)]
pub struct Printed {
    #[cfg(feature = "trace")]
    next: u64,
}

#[cfg(feature = "trace")]
impl Printed {
    /// While the guest runs, when many have gathered. The newest one is not complete yet.
    pub fn go_on(&mut self, trace: Trace, vcpu: &Vcpu, number: usize) {
        if trace.print == Print::All
            && let Some(newest) = vcpu.trace_from(self.next).next_back().map(|newest| newest.number)
            && newest - self.next >= AT_ONCE
        {
            let begin = timestamp();
            self.print(vcpu, number, newest);
            // The host's time for the newest one has this in it.
            println!("P {number:x} {newest:x} {:x}", timestamp() - begin);
        }
    }

    /// At the guest's end.
    pub fn finish(&mut self, trace: Trace, vcpu: &Vcpu, number: usize) {
        if trace.print != Print::Nothing {
            self.print(vcpu, number, u64::MAX);
        }
    }

    fn print(&mut self, vcpu: &Vcpu, number: usize, end: u64) {
        for entry in vcpu.trace_from(self.next).take_while(|entry| entry.number < end) {
            let injected =
                entry.injected.map_or(0, |(kind, vector)| 0x1000 | u32::from(kind.0) << 8 | u32::from(vector));
            println!(
                "T {number:x} {:x} {:x} {:x} {:x} {:x} {:x} {:x} {:x} {:x} {:x} {injected:x} {:x} {:x}",
                entry.number,
                entry.entered,
                entry.exited,
                entry.code,
                entry.rip,
                entry.info1,
                entry.info2,
                entry.eax,
                entry.ecx,
                entry.answer as u8,
                u8::from(entry.value.is_some()),
                entry.value.unwrap_or(0),
            );
            self.next = entry.number + 1;
        }
    }
}

#[cfg(not(feature = "trace"))]
impl Printed {
    /// Nothing is kept.
    pub fn go_on(&mut self, _: Trace, _: &Vcpu, _: usize) {}

    /// Nothing is kept.
    pub fn finish(&mut self, _: Trace, _: &Vcpu, _: usize) {}
}

/// Has so many exits kept of a new vCPU.
#[cfg(feature = "trace")]
pub fn prepare(trace: Trace, vcpu: &mut Vcpu) -> Result {
    trace.exits.map_or(Ok(()), |exits| vcpu.set_trace(exits))
}

/// Nothing is kept.
#[cfg(not(feature = "trace"))]
#[allow(clippy::unnecessary_wraps, reason = "the other build's signature")]
pub fn prepare(_: Trace, _: &mut Vcpu) -> Result {
    Ok(())
}

/// The line before all others.
#[cfg(feature = "trace")]
pub fn begin(trace: Trace, vcpus: usize, hz: u64) {
    let vendor = match x86_vcpu::nested_format() {
        Ok(x86_vcpu::nested::NestedFormat::Ept) => "vmx",
        _ => "svm",
    };
    if trace.print != Print::Nothing {
        println!("TRACE x86_vcpu trace 1 {vendor} vcpus={vcpus} hz={hz}");
    }
}

/// Nothing is kept.
#[cfg(not(feature = "trace"))]
pub fn begin(_: Trace, _: usize, _: u64) {}

/// The last exits, in words.
#[cfg(feature = "trace")]
pub fn in_words(vcpu: &Vcpu, number: usize) {
    let count = vcpu.trace().next_back().map_or(0, |newest| newest.number + 1);
    println!("vCPU {number}: its last exits");
    for entry in vcpu.trace_from(count.saturating_sub(IN_WORDS as u64)) {
        println!("  {entry}");
    }
}

/// Nothing is kept.
#[cfg(not(feature = "trace"))]
pub fn in_words(_: &Vcpu, _: usize) {}
