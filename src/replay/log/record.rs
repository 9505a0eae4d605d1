//! What a log consists of: each kind of record, its tag and its numbers.

use super::{LogError, wire::Wire};
use crate::{
    guest::{
        events::Event,
        registers::{Segment, SystemRegisters},
    },
    spec::{
        intel::structures::{InterruptionType, SegmentAccessRights},
        x86::registers::{Cr0, Cr4, Efer, Rflags},
    },
};

/// How many bytes of memory one [`Record::Memory`] has at most.
pub const MEMORY_BYTES: usize = 64;

/// One thing that entered the vCPU, or one that is to be the same in a replay.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one at a time is in use, and there is no heap for the large ones")]
pub enum Record {
    /// The log's end.
    End,
    /// The VMM called `run`.
    Run,
    /// It came back with this exit.
    Returned {
        /// The number of the exit's kind.
        kind: u8,
        /// A hash of what it says.
        digest: u64,
    },
    /// A VM exit that the guest's own execution led to.
    Exit {
        /// VMX: the basic exit reason; SVM: the exit code.
        reason: u64,
        /// The hash of the guest's state.
        state: u64,
        /// The host's time, if answering it took the time.
        time: Option<u64>,
    },
    /// The guest was disturbed here: what follows in the log enters at this place.
    Position {
        /// How many instructions the guest had executed since the last exit or position.
        instructions: u64,
        /// RIP.
        rip: u64,
        /// RFLAGS.RF.
        resume: bool,
        /// The hash of the guest's state.
        state: u64,
    },
    /// The pending events were looked at, with nothing new among them.
    Resumed,
    /// What other CPUs had sent.
    Mail {
        /// Bit 0: `run` comes back; 1: an NMI; 2: an INIT; 3: a start-up message.
        what: u8,
        /// The vector of the start-up message.
        start_up: u8,
        /// The vectors of interrupts, a bit for each.
        interrupts: [u64; 4],
        /// Those of them that are triggered by level.
        levels: [u64; 4],
    },
    /// The time of the vCPU's timer, or of its time slice, had come.
    Due {
        /// The host's time.
        time: u64,
        /// It was the time slice's.
        slice: bool,
    },
    /// [`complete_read`](crate::Vcpu::complete_read).
    CompleteRead(u64),
    /// [`reject`](crate::Vcpu::reject).
    Reject,
    /// [`decode_mmio`](crate::Vcpu::decode_mmio), and the exit that it gave.
    DecodeMmio {
        /// The number of the exit's kind.
        kind: u8,
        /// A hash of what it says.
        digest: u64,
    },
    /// A general-purpose register has a new value.
    Register {
        /// Its number.
        number: u8,
        /// The value.
        value: u64,
    },
    /// [`set_system`](crate::Vcpu::set_system).
    System(SystemRegisters),
    /// [`inject_interrupt`](crate::Vcpu::inject_interrupt).
    Interrupt(u8),
    /// [`request_interrupt_window`](crate::Vcpu::request_interrupt_window).
    InterruptWindow,
    /// [`inject_nmi`](crate::Vcpu::inject_nmi).
    Nmi,
    /// [`inject_exception`](crate::Vcpu::inject_exception).
    Exception(Event),
    /// [`signal_local_interrupt`](crate::Vcpu::signal_local_interrupt), with the number of the source.
    Signal(u8),
    /// [`set_tsc_offset`](crate::Vcpu::set_tsc_offset).
    TscOffset(u64),
    /// The VMM wrote to the guest's memory.
    Memory {
        /// Where, guest-physical.
        gpa: u64,
        /// How many of the bytes count.
        length: u8,
        /// What.
        bytes: [u8; MEMORY_BYTES],
    },
    /// The VMM's own hash, of the guest's memory for instance.
    Checkpoint(u64),
}

impl Record {
    /// What it is, in a word or two.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::End => "the end",
            Self::Run => "a run",
            Self::Returned { .. } => "the end of a run",
            Self::Exit { .. } => "an exit",
            Self::Position { .. } => "a position",
            Self::Resumed => "a look at the events",
            Self::Mail { .. } => "mail",
            Self::Due { .. } => "a time that has come",
            Self::CompleteRead(_) => "the value of a read",
            Self::Reject => "a refusal",
            Self::DecodeMmio { .. } => "a decoded access to a device",
            Self::Register { .. } => "a register",
            Self::System(_) => "the system registers",
            Self::Interrupt(_) => "an interrupt",
            Self::InterruptWindow => "a request for the interrupt window",
            Self::Nmi => "an NMI",
            Self::Exception(_) => "an exception",
            Self::Signal(_) => "a local interrupt",
            Self::TscOffset(_) => "a TSC offset",
            Self::Memory { .. } => "a write to memory",
            Self::Checkpoint(_) => "a checkpoint",
        }
    }

    pub(super) const fn tag(&self) -> u8 {
        match self {
            Self::End => 1,
            Self::Run => 2,
            Self::Returned { .. } => 3,
            Self::Exit { time: None, .. } => 4,
            Self::Exit { time: Some(_), .. } => 5,
            Self::Position { .. } => 6,
            Self::Resumed => 7,
            Self::Mail { .. } => 8,
            Self::Due { .. } => 9,
            Self::CompleteRead(_) => 10,
            Self::Reject => 11,
            Self::DecodeMmio { .. } => 12,
            Self::Register { .. } => 13,
            Self::System(_) => 14,
            Self::Interrupt(_) => 15,
            Self::InterruptWindow => 16,
            Self::Nmi => 17,
            Self::Exception(_) => 18,
            Self::Signal(_) => 19,
            Self::TscOffset(_) => 20,
            Self::Memory { .. } => 21,
            Self::Checkpoint(_) => 22,
        }
    }

    /// A record of this kind, to be filled in.
    pub(super) fn of_tag(tag: u8) -> Option<Self> {
        Some(match tag {
            1 => Self::End,
            2 => Self::Run,
            3 => Self::Returned { kind: 0, digest: 0 },
            4 => Self::Exit { reason: 0, state: 0, time: None },
            5 => Self::Exit { reason: 0, state: 0, time: Some(0) },
            6 => Self::Position { instructions: 0, rip: 0, resume: false, state: 0 },
            7 => Self::Resumed,
            8 => Self::Mail { what: 0, start_up: 0, interrupts: [0; 4], levels: [0; 4] },
            9 => Self::Due { time: 0, slice: false },
            10 => Self::CompleteRead(0),
            11 => Self::Reject,
            12 => Self::DecodeMmio { kind: 0, digest: 0 },
            13 => Self::Register { number: 0, value: 0 },
            14 => Self::System(SystemRegisters::default()),
            15 => Self::Interrupt(0),
            16 => Self::InterruptWindow,
            17 => Self::Nmi,
            18 => Self::Exception(Event::general_protection()),
            19 => Self::Signal(0),
            20 => Self::TscOffset(0),
            21 => Self::Memory { gpa: 0, length: 0, bytes: [0; MEMORY_BYTES] },
            22 => Self::Checkpoint(0),
            _ => return None,
        })
    }

    /// Writes or reads all numbers of it, in their order.
    pub(super) fn fields(&mut self, wire: &mut impl Wire) -> Result<(), LogError> {
        match self {
            Self::End | Self::Run | Self::Resumed | Self::Reject | Self::InterruptWindow | Self::Nmi => Ok(()),
            Self::Returned { kind, digest } | Self::DecodeMmio { kind, digest } => {
                wire.byte(kind)?;
                wire.hash(digest)
            }
            Self::Exit { reason, state, time } => {
                wire.number(reason)?;
                wire.hash(state)?;
                time.as_mut().map_or(Ok(()), |time| wire.number(time))
            }
            Self::Position { instructions, rip, resume, state } => {
                wire.number(instructions)?;
                wire.number(rip)?;
                wire.flag(resume)?;
                wire.hash(state)
            }
            Self::Mail { what, start_up, interrupts, levels } => {
                wire.byte(what)?;
                wire.byte(start_up)?;
                interrupts.iter_mut().chain(levels).try_for_each(|word| wire.number(word))
            }
            Self::Due { time, slice } => {
                wire.number(time)?;
                wire.flag(slice)
            }
            Self::Register { number, value } => {
                wire.byte(number)?;
                wire.number(value)
            }
            Self::CompleteRead(value) | Self::TscOffset(value) => wire.number(value),
            Self::Checkpoint(value) => wire.hash(value),
            Self::System(system) => system_fields(system, wire),
            Self::Interrupt(byte) | Self::Signal(byte) => wire.byte(byte),
            Self::Exception(event) => event_fields(event, wire),
            Self::Memory { gpa, length, bytes } => {
                wire.number(gpa)?;
                wire.byte(length)?;
                let part = bytes.get_mut(..usize::from(*length)).ok_or(LogError::Damaged(wire.offset()))?;
                part.iter_mut().try_for_each(|byte| wire.byte(byte))
            }
        }
    }
}

fn event_fields(event: &mut Event, wire: &mut impl Wire) -> Result<(), LogError> {
    let mut kind = u64::from(event.kind.0);
    let mut code = event.error_code.map_or(0, |code| u64::from(code) + 1);
    wire.byte(&mut event.vector)?;
    wire.number(&mut kind)?;
    wire.number(&mut code)?;
    wire.byte(&mut event.instruction_length)?;
    let damaged = LogError::Damaged(wire.offset());
    event.kind = InterruptionType(kind.try_into().map_err(|_| damaged)?);
    event.error_code = match code.checked_sub(1) {
        Some(code) => Some(code.try_into().map_err(|_| damaged)?),
        None => None,
    };
    Ok(())
}

fn system_fields(system: &mut SystemRegisters, wire: &mut impl Wire) -> Result<(), LogError> {
    let SystemRegisters { es, cs, ss, ds, fs, gs, ldtr, tr, gdtr, idtr, cr0, cr2, cr3, cr4, efer, rflags, rip, rsp } =
        system;
    for segment in [es, cs, ss, ds, fs, gs, ldtr, tr] {
        let mut parts = [segment.selector.into(), segment.limit.into(), u64::from(segment.rights.bits())];
        parts.iter_mut().try_for_each(|part| wire.number(part))?;
        wire.number(&mut segment.base)?;
        let damaged = LogError::Damaged(wire.offset());
        let [selector, limit, rights] = parts;
        *segment = Segment {
            selector: selector.try_into().map_err(|_| damaged)?,
            limit: limit.try_into().map_err(|_| damaged)?,
            rights: SegmentAccessRights::from_bits(rights.try_into().map_err(|_| damaged)?),
            base: segment.base,
        };
    }
    for table in [gdtr, idtr] {
        wire.number(&mut table.base)?;
        let mut limit = u64::from(table.limit);
        wire.number(&mut limit)?;
        table.limit = limit.try_into().map_err(|_| LogError::Damaged(wire.offset()))?;
    }
    let mut words = [cr0.bits(), *cr2, *cr3, cr4.bits(), efer.bits(), rflags.bits(), *rip, *rsp];
    words.iter_mut().try_for_each(|word| wire.number(word))?;
    let [bits0, .., last] = words;
    (*cr0, *rsp) = (Cr0::from_bits(bits0), last);
    let [_, word2, word3, bits4, bits_efer, bits_flags, word_rip, _] = words;
    (*cr2, *cr3, *rip) = (word2, word3, word_rip);
    (*cr4, *efer, *rflags) = (Cr4::from_bits(bits4), Efer::from_bits(bits_efer), Rflags::from_bits(bits_flags));
    Ok(())
}
