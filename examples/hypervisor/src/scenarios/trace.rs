//! The trace of exits: that it has what happened, and no more.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use x86_vcpu::nested::NestedFormat;
use x86_vcpu::{TraceEntry, Vcpu, nested_format};

use super::machine::{Machine, unexpected};
use super::{Outcome, check};
use crate::guests::{self, traced};
use crate::vm::Exit;

/// How many exits are kept of the sequence: more than it has.
const ALL: usize = 100;
/// And of each loop: less than they have; of the second one more than fit in a frame.
const FEW: usize = 3;
const TWO_FRAMES: usize = 130;
/// The second loop's length.
const LONG_LOOP: u32 = 200;

/// A guest with a known sequence of exits.
pub fn exit_trace() -> Outcome {
    let mut yields = 0;
    let mut counted = Vec::new();
    Machine::new(guests::exit_trace())?.run(|_, cpu, exit| {
        let vcpu = cpu.inner();
        match exit {
            Exit::Yield => yields += 1,
            Exit::Hypercall { .. } => {
                cpu.set_return_value(0);
                return Ok(());
            }
            other => return unexpected(&other),
        }
        match yields {
            1 => {
                check(vcpu.trace().next().is_some(), || "a new vCPU keeps no exits".into())?;
                vcpu.set_trace(ALL)?;
                check(vcpu.trace().next().is_none(), || "the trace does not begin anew".into())?;
                counted = counts(vcpu);
            }
            2 => {
                sequence(vcpu)?;
                same_counts(vcpu, &counted)?;
                vcpu.set_trace(FEW)?;
            }
            3 => {
                let exits: Vec<(u64, u64)> = vcpu.trace().map(|entry| (entry.number, entry.rip)).collect();
                let expected = [(8, traced::r#loop()), (9, traced::r#loop()), (10, traced::second_yield())];
                check(exits == expected, || format!("the last {FEW} are {exits:x?}, not {expected:x?}"))?;
                vcpu.set_trace(TWO_FRAMES)?;
            }
            4 => {
                long_loop(vcpu)?;
                vcpu.set_trace(0)?;
            }
            _ => check(vcpu.trace().next().is_none(), || "something is recorded while nothing should be".into())?,
        }
        Ok(())
    })
}

/// What an exit says, without what it cost.
fn line(entry: &TraceEntry) -> String {
    let line = format!("{entry}");
    let mut parts = line.split("; ");
    let what = parts.next().unwrap_or_default();
    // The second one is the cost.
    let line = parts.skip(1).fold(what.into(), |line: String, part| line + "; " + part);
    // One emulator does not say how wide the address of an IN or OUT is, which has none.
    line.replace(" | ADDRESS64", "")
}

fn sequence(vcpu: &Vcpu) -> Outcome {
    let intel = nested_format()? == NestedFormat::Ept;
    let pick = |vmx: String, svm: String| if intel { vmx } else { svm };
    let (out, input, inject, end) = (traced::out(), traced::r#in(), traced::inject(), traced::r#yield());
    let svm_io = |rip: u64, info: &str| format!("IOIO at {rip:#x}, IoioInfo({info})");
    let expected = [
        format!("CPUID at {:#x}, EAX 0x0, ECX 0x0; inside", traced::cpuid()),
        pick(
            format!("RDMSR at {:#x}, ECX 0x1b; inside, value 0xfee00900", traced::rdmsr()),
            format!("MSR at {:#x}, ECX 0x1b; inside, value 0xfee00900", traced::rdmsr()),
        ),
        pick(
            format!("IO_INSTRUCTION at {out:#x}, IoQualification(IMMEDIATE_OPERAND | PORT: 0x80)"),
            svm_io(out, "SIZE8 | PORT: 0x80"),
        ) + "; IoWrite, value 0x5c",
        pick(
            format!("IO_INSTRUCTION at {input:#x}, IoQualification(DIRECTION_IN | IMMEDIATE_OPERAND | PORT: 0x80)"),
            svm_io(input, "TYPE_IN | SIZE8 | PORT: 0x80"),
        ) + "; IoRead, value 0x5c",
        pick(
            format!("VMCALL at {:#x}, EAX 0x600d", traced::vmcall()),
            format!("VMMCALL at {:#x}, EAX 0x600d", traced::vmmcall()),
        ) + "; Hypercall",
        pick(
            format!("IO_INSTRUCTION at {inject:#x}, IoQualification(IMMEDIATE_OPERAND | PORT: 0xf6)"),
            svm_io(inject, "SIZE8 | PORT: 0xf6"),
        ) + "; IoWrite, value 0x30; injects EXTERNAL_INTERRUPT 0x30",
        pick(
            format!("RDMSR at {:#x}, ECX 0x7777; inside", traced::fault()),
            format!("MSR at {:#x}, ECX 0x7777; inside", traced::fault()),
        ) + "; injects HARDWARE_EXCEPTION 0xd",
        pick(
            format!(
                "EPT_VIOLATION at {:#x}, EptViolationQualification(WRITE | LINEAR_ADDRESS_VALID | TRANSLATED_ACCESS), guest-physical 0xa0008",
                traced::mmio_write()
            ),
            format!("NPF at {:#x}, NpfInfo(RW | US | FINAL_ADDRESS), guest-physical 0xa0008", traced::mmio_write()),
        ) + "; MmioWrite, value 0x1234",
        pick(
            format!(
                "EPT_VIOLATION at {:#x}, EptViolationQualification(READ | LINEAR_ADDRESS_VALID | TRANSLATED_ACCESS), guest-physical 0xa0008",
                traced::mmio_read()
            ),
            format!("NPF at {:#x}, NpfInfo(US | FINAL_ADDRESS), guest-physical 0xa0008", traced::mmio_read()),
        ) + "; MmioRead, value 0x1234",
        pick(
            format!("IO_INSTRUCTION at {end:#x}, IoQualification(IMMEDIATE_OPERAND | PORT: 0xf5)"),
            svm_io(end, "SIZE8 | PORT: 0xf5"),
        ) + "; IoWrite, value 0x34",
    ];
    let entries: Vec<TraceEntry> = vcpu.trace().collect();
    for (number, expected) in expected.iter().enumerate() {
        let expected = format!("#{number} {expected}");
        let found = entries.get(number).map(line).unwrap_or_default();
        check(found == expected, || format!("the trace has `{found}`, not `{expected}`"))?;
    }
    check(entries.len() == expected.len(), || format!("{} exits were recorded", entries.len()))?;
    for (one, next) in entries.iter().zip(entries.iter().skip(1)) {
        let ordered = one.entered < one.exited && one.exited < next.entered;
        check(ordered && one.host == Some(next.entered - one.exited), || format!("the times of `{one}`"))?;
    }
    check(entries.last().is_some_and(|last| last.host.is_none()), || "the last exit has not been left".into())
}

fn long_loop(vcpu: &Vcpu) -> Outcome {
    let entries: Vec<TraceEntry> = vcpu.trace().collect();
    check(entries.len() == TWO_FRAMES, || format!("{} exits are kept", entries.len()))?;
    // The last one is the yield; the iterations before it count up in ECX.
    let first = LONG_LOOP + 1 - TWO_FRAMES as u32;
    for (entry, iteration) in entries.iter().zip(first..LONG_LOOP) {
        let good = entry.rip == traced::long_loop() && entry.ecx == iteration && entry.eax == 7;
        check(good && entry.number == u64::from(iteration), || format!("`{entry}` at the place of {iteration}"))?;
    }
    check(vcpu.trace_from(199).count() == 2, || "a part of the trace".into())
}

/// The statistics: how many exits there were of each code.
#[cfg(feature = "statistics")]
fn counts(vcpu: &Vcpu) -> Vec<(Option<u64>, u64)> {
    vcpu.statistics().map(|row| (row.code, row.exits)).collect()
}

#[cfg(not(feature = "statistics"))]
fn counts(_: &Vcpu) -> Vec<(Option<u64>, u64)> {
    Vec::new()
}

/// The statistics have counted, since `before`, just what the trace has.
fn same_counts(vcpu: &Vcpu, before: &[(Option<u64>, u64)]) -> Outcome {
    for (code, count) in counts(vcpu) {
        let old = before.iter().find(|(other, _)| *other == code).map_or(0, |(_, count)| *count);
        let traced = vcpu.trace().filter(|entry| Some(entry.code) == code).count() as u64;
        check(count - old == traced, || {
            format!("{} exits with code {code:x?} were counted, {traced} are in the trace", count - old)
        })?;
    }
    Ok(())
}
