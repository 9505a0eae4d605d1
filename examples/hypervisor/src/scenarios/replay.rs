//! Record and replay: what a guest does with values and interrupts that nobody can foresee, once more.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use x86_vcpu::replay::log::{LogReader, LogWriter, Record, Sink};
use x86_vcpu::replay::{Difference, Hasher, Recording, ReplayError, Step};
use x86_vcpu::{ApicBus, HostFrames, StartState, Vcpu, VcpuConfig, VmExit};

use super::local_apic::{HOST, refused};
use super::machine::judge;
use super::{Outcome, Reason, check};
use crate::guests::{Guest, Mode};
use crate::vm::{PAGE_MAP, SCRATCH, Vm};
use crate::{apic, cpu, guests, interrupts, print, println};

const PORT_PRINT: u16 = 0xE9;
const PORT_DONE: u16 = 0xF4;
const PORT_YIELD: u16 = 0xF5;
/// The vector of the interrupts that come when the host has one.
const VECTOR: u8 = 0x30;
/// The time between two of the host's.
const PERIOD: u64 = 60_011;

/// A log in memory.
struct Log(Vec<u8>);

impl Sink for &mut Log {
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.extend_from_slice(bytes);
        true
    }
}

impl From<ReplayError> for Reason {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Vcpu(error) => refused(error),
            other => Self::Failed(format!("{other}")),
        }
    }
}

/// A machine with a vCPU that waits for its first run.
struct Machine {
    vcpu: Vcpu,
    vm: Vm,
}

impl Machine {
    /// In the heap: it is large, and the stack is not.
    fn new(guest: Guest, local_apic: bool) -> Result<Box<Self>, Reason> {
        let vm = Vm::new()?;
        let mut vcpu: Vcpu = Vcpu::new(VcpuConfig::new(0)).map_err(refused)?;
        if local_apic {
            vcpu.add_local_apic(x86_vcpu::ApicConfig::new(), Some(&ApicBus::new(&HOST)?))?;
        }
        // SAFETY: the table is the machine's, of this vendor's format, and outlives the vCPU.
        unsafe { vcpu.set_nested_root(vm.memory.lock().root()) }?;
        let start = match guest.mode {
            Mode::Real => StartState::RealMode { entry: guest.entry },
            Mode::Protected => StartState::Protected { entry: guest.entry as u32 },
            Mode::Long => StartState::Long { entry: guest.entry, cr3: PAGE_MAP },
        };
        vcpu.start(start).map_err(refused)?;
        // A guest's clock begins somewhere else each time.
        vcpu.set_tsc_offset(0u64.wrapping_sub(cpu::timestamp()))?;
        Ok(Box::new(Self { vcpu, vm }))
    }

    fn memory_hash(&self) -> u64 {
        let mut hasher = Hasher::new();
        hasher.bytes(self.vm.memory.lock().bytes());
        hasher.value()
    }
}

/// What the devices of the recorded guest answer: the time, which is never the same.
fn anything() -> u64 {
    cpu::timestamp().wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Records a guest to its end.
fn record(machine: &mut Machine, log: &mut Log) -> Result<u64, Reason> {
    machine.vcpu.bind()?;
    let local_apic = machine.vcpu.timer_deadline().is_none() && !machine.vcpu.accepts_pic();
    if !local_apic {
        apic::start_timer(PERIOD);
    }
    let outcome = record_bound(machine, log, !local_apic);
    apic::stop_timer();
    machine.vcpu.unbind()?;
    cpu::take_pending_interrupts();
    outcome
}

fn record_bound(machine: &mut Machine, log: &mut Log, injects: bool) -> Result<u64, Reason> {
    let mut recording: Recording<'_, HostFrames, _> = machine.vcpu.record(log)?;
    let mut output = Vec::new();
    let mut ticks = 0;
    let verdict = loop {
        match recording.run()? {
            VmExit::IoWrite { port: PORT_PRINT, data, .. } => output.push(data as u8),
            VmExit::IoWrite { port: PORT_DONE, data, .. } => break data as u8,
            VmExit::IoWrite { port: PORT_YIELD, .. } => {
                let bytes = anything().to_le_bytes();
                machine.vm.memory.lock().write(SCRATCH + 8, &bytes);
                recording.memory(SCRATCH + 8, &bytes);
            }
            VmExit::IoWrite { .. } | VmExit::MmioWrite { .. } | VmExit::MsrWrite { .. } => {}
            VmExit::IoRead { .. } | VmExit::MmioRead { .. } | VmExit::MsrRead { .. } => {
                recording.complete_read(anything())?;
            }
            VmExit::NestedPageFault(_) => match recording.decode_mmio()? {
                VmExit::MmioRead { .. } => recording.complete_read(anything())?,
                VmExit::MmioWrite { .. } => {}
                other => return Err(unexpected(&other)),
            },
            VmExit::ExternalInterrupt { vector } => {
                match vector {
                    Some(vector) => interrupts::external(vector),
                    None => cpu::take_pending_interrupts(),
                }
                // Most interrupts of the host are not the guest's business.
                ticks += 1;
                if injects && ticks % 3 == 0 {
                    recording.inject_interrupt(VECTOR);
                }
            }
            VmExit::Halt => {
                if injects {
                    recording.inject_interrupt(VECTOR);
                }
                while !recording.has_pending_event() {
                    core::hint::spin_loop();
                }
            }
            other => return Err(unexpected(&other)),
        }
    };
    let exits = recording.exits();
    recording.finish()?;
    for line in String::from_utf8_lossy(&output).lines() {
        print!("> {line}\n");
    }
    judge(verdict)?;
    Ok(exits)
}

/// Replays a log to its end; how many exits were as recorded.
fn replay(machine: &mut Machine, log: &[u8]) -> Result<u64, ReplayError> {
    machine.vcpu.bind()?;
    let outcome = replay_bound(machine, log);
    machine.vcpu.unbind()?;
    cpu::take_pending_interrupts();
    outcome
}

fn replay_bound(machine: &mut Machine, log: &[u8]) -> Result<u64, ReplayError> {
    let mut replaying = machine.vcpu.replay(log)?;
    replaying.set_host(&HOST);
    loop {
        match replaying.next_step()? {
            Step::Memory { gpa, length, bytes } => {
                machine.vm.memory.lock().write(gpa, &bytes[..usize::from(length)]);
            }
            Step::Host(VmExit::ExternalInterrupt { vector: Some(vector) }) => interrupts::external(vector),
            Step::Host(_) => cpu::take_pending_interrupts(),
            Step::End => return Ok(replaying.exits()),
            _ => {}
        }
    }
}

fn unexpected(exit: &VmExit) -> Reason {
    Reason::Failed(format!("unexpected: {exit:x?}"))
}

/// A guest is recorded, and replayed without its devices.
fn record_and_replay(guest: fn() -> Guest, local_apic: bool) -> Result<Log, Reason> {
    let mut first = Machine::new(guest(), local_apic)?;
    let mut log = Log(Vec::new());
    let start = cpu::timestamp();
    let recorded = record(&mut first, &mut log)?;
    let took = cpu::timestamp() - start;
    let positions = count(&log.0)?;
    println!("recorded {recorded} exits and {positions} disturbances in {} bytes, {took} instructions", log.0.len());
    let mut second = Machine::new(guest(), local_apic)?;
    // The host has other things to do meanwhile, if its timer is not needed.
    if matches!(second.vcpu, Vcpu::Vmx(_)) {
        apic::start_timer(PERIOD * 2 + 1);
    }
    let start = cpu::timestamp();
    let replayed = replay(&mut second, &log.0);
    let took = cpu::timestamp() - start;
    apic::stop_timer();
    cpu::take_pending_interrupts();
    let replayed = replayed?;
    println!("replayed {replayed} exits with the same state, {took} instructions");
    check(replayed == recorded, || "the replay has another number of exits".into())?;
    let (expected, found) = (first.memory_hash(), second.memory_hash());
    check(expected == found, || format!("the memory is {found:016x} and was {expected:016x}"))?;
    Ok(log)
}

/// How many times the guest was disturbed.
fn count(log: &[u8]) -> Result<u64, Reason> {
    let mut reader = LogReader::new(log).map_err(ReplayError::from)?;
    let mut count = 0;
    loop {
        match reader.record().map_err(ReplayError::from)? {
            Record::Position { .. } => count += 1,
            Record::End => return Ok(count),
            _ => {}
        }
    }
}

/// The log with one answer changed, and the number of the exit after which it was given.
fn with_another_answer(log: &[u8], which: usize) -> Result<(Log, u64), LogErrorReason> {
    let mut reader = LogReader::new(log)?;
    let mut changed = Log(Vec::new());
    let mut writer = LogWriter::new(&mut changed, *reader.header())?;
    let (mut exits, mut answers, mut at) = (0, 0, 0);
    loop {
        let mut record = reader.record()?;
        match &mut record {
            Record::Exit { .. } => exits += 1,
            Record::CompleteRead(value) => {
                if answers == which {
                    *value ^= 0x10;
                    at = exits;
                }
                answers += 1;
            }
            _ => {}
        }
        writer.record(&record)?;
        if record == Record::End {
            return Ok((changed, at));
        }
    }
}

type LogErrorReason = x86_vcpu::replay::log::LogError;

/// Values, time and interrupts in long mode.
pub fn long() -> Outcome {
    let log = record_and_replay(guests::replay, false)?;
    // Another answer is noticed at the next exit, and one that goes to memory when the guest reads it.
    for (which, late) in [(0, false), (7, false), (15, false), (20, true)] {
        let (changed, at) = with_another_answer(&log.0, which).map_err(ReplayError::from)?;
        match replay(&mut *Machine::new(guests::replay(), false)?, &changed.0) {
            Err(ReplayError::Diverged(divergence)) => {
                check(
                    (divergence.exit == at) != late
                        && divergence.exit >= at
                        && matches!(divergence.what, Difference::State { .. }),
                    || format!("answer {which}, after exit {at}, was changed: {divergence}"),
                )?;
                println!("{divergence}");
            }
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(Reason::Failed("another answer makes no difference".into())),
        }
    }
    Ok(())
}

/// The same in real mode.
pub fn real() -> Outcome {
    record_and_replay(guests::replay_real, false).map(|_| ())
}

/// The local APIC's timer.
pub fn local_apic() -> Outcome {
    record_and_replay(guests::replay_apic, true).map(|_| ())
}
