//! The length of an instruction of which the intercept has said what it is.
//!
//! The opcode is checked all the same: the bytes may have changed since the CPU executed them.
//! SDM volume 2, "Instruction Format" and "Opcode Map"; APM volume 3, "Opcode and Operand Encodings".

use super::{MAX_LENGTH, modrm::ModRm, modrm::RegisterOrMemory, prefixes::Prefixes};
use crate::guest::segmentation::CodeSize;

/// The instruction that an intercept reports. All of them, whether today's handlers ask or not.
#[allow(dead_code, reason = "which are asked for depends on the features")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Clgi,
    Clts,
    Cpuid,
    Hlt,
    /// IN and OUT with one element.
    InOut,
    /// INS and OUTS.
    InsOuts,
    /// INT n.
    Int,
    Int1,
    Int3,
    Into,
    Invd,
    Invlpg,
    Invlpga,
    Invpcid,
    Iret,
    Lgdt,
    Lidt,
    Lldt,
    Lmsw,
    Ltr,
    Monitor,
    MovFromCr,
    MovFromDr,
    MovToCr,
    MovToDr,
    Mwait,
    Pause,
    Popf,
    Pushf,
    Rdmsr,
    Rdpmc,
    Rdpru,
    Rdtsc,
    Rdtscp,
    Rsm,
    Sgdt,
    Sidt,
    Skinit,
    Sldt,
    Smsw,
    Stgi,
    Str,
    Vmcall,
    Vmload,
    Vmmcall,
    Vmrun,
    Vmsave,
    /// WBINVD and WBNOINVD.
    Wbinvd,
    Wrmsr,
    Xsetbv,
}

/// How an instruction is written after its prefixes.
enum Form {
    /// One byte.
    Byte(u8),
    /// One byte and an immediate one.
    ByteImmediate(u8),
    /// 0F and a byte.
    Escaped(u8),
    /// 0F 01 and a byte.
    Group7(u8),
    /// 0F, the byte, and a ModRM byte of which the mode is ignored: both operands are registers.
    Registers(u8),
    /// 0F, the byte, and a ModRM operand with this `reg`, in memory or, if the flag is set, in memory or a register.
    Operand(u8, u8, bool),
    /// 0F 38 82 and a memory operand.
    Invpcid,
    /// E4 to E7 with an immediate port, EC to EF.
    InOut,
    /// 6C to 6F.
    InsOuts,
}

impl Expected {
    #[inline]
    const fn form(self) -> Form {
        match self {
            Self::Hlt => Form::Byte(0xf4),
            Self::Int1 => Form::Byte(0xf1),
            Self::Int3 => Form::Byte(0xcc),
            Self::Into => Form::Byte(0xce),
            Self::Iret => Form::Byte(0xcf),
            // F3 is among the prefixes; without it this is NOP, which no intercept reports.
            Self::Pause => Form::Byte(0x90),
            Self::Popf => Form::Byte(0x9d),
            Self::Pushf => Form::Byte(0x9c),
            Self::Int => Form::ByteImmediate(0xcd),
            Self::InOut => Form::InOut,
            Self::InsOuts => Form::InsOuts,
            Self::Clts => Form::Escaped(0x06),
            Self::Cpuid => Form::Escaped(0xa2),
            Self::Invd => Form::Escaped(0x08),
            Self::Rdmsr => Form::Escaped(0x32),
            Self::Rdpmc => Form::Escaped(0x33),
            Self::Rdtsc => Form::Escaped(0x31),
            Self::Rsm => Form::Escaped(0xaa),
            Self::Wbinvd => Form::Escaped(0x09),
            Self::Wrmsr => Form::Escaped(0x30),
            Self::Vmcall => Form::Group7(0xc1),
            Self::Monitor => Form::Group7(0xc8),
            Self::Mwait => Form::Group7(0xc9),
            Self::Xsetbv => Form::Group7(0xd1),
            Self::Vmrun => Form::Group7(0xd8),
            Self::Vmmcall => Form::Group7(0xd9),
            Self::Vmload => Form::Group7(0xda),
            Self::Vmsave => Form::Group7(0xdb),
            Self::Stgi => Form::Group7(0xdc),
            Self::Clgi => Form::Group7(0xdd),
            Self::Skinit => Form::Group7(0xde),
            Self::Invlpga => Form::Group7(0xdf),
            Self::Rdtscp => Form::Group7(0xf9),
            Self::Rdpru => Form::Group7(0xfd),
            Self::MovFromCr => Form::Registers(0x20),
            Self::MovFromDr => Form::Registers(0x21),
            Self::MovToCr => Form::Registers(0x22),
            Self::MovToDr => Form::Registers(0x23),
            Self::Sldt => Form::Operand(0x00, 0, true),
            Self::Str => Form::Operand(0x00, 1, true),
            Self::Lldt => Form::Operand(0x00, 2, true),
            Self::Ltr => Form::Operand(0x00, 3, true),
            Self::Sgdt => Form::Operand(0x01, 0, false),
            Self::Sidt => Form::Operand(0x01, 1, false),
            Self::Lgdt => Form::Operand(0x01, 2, false),
            Self::Lidt => Form::Operand(0x01, 3, false),
            Self::Smsw => Form::Operand(0x01, 4, true),
            Self::Lmsw => Form::Operand(0x01, 6, true),
            Self::Invlpg => Form::Operand(0x01, 7, false),
            Self::Invpcid => Form::Invpcid,
        }
    }
}

/// The length of the instruction at the start of `bytes`, if it is the expected one.
///
/// `None` when it is another, or when bytes are missing: the caller may try again with more (up to 15).
#[inline]
pub fn skip_length(bytes: &[u8], code: CodeSize, expected: Expected) -> Option<u8> {
    unprefixed_length(bytes, expected).or_else(|| general_length(bytes, code, expected))
}

/// As [`skip_length`], for the shortest form of instructions without operands.
#[inline]
pub fn unprefixed_length(bytes: &[u8], expected: Expected) -> Option<u8> {
    let start = u32::from_le_bytes(*bytes.first_chunk()?);
    let (value, length) = match expected.form() {
        Form::Byte(opcode) => (u32::from(opcode), 1),
        Form::Escaped(opcode) => (0x0f | (opcode as u32) << 8, 2),
        Form::Group7(modrm) => (0x010f | (modrm as u32) << 16, 3),
        _ => return None,
    };
    (start & (u32::MAX >> (32 - 8 * length)) == value).then_some(length as u8)
}

#[cold]
fn general_length(bytes: &[u8], code: CodeSize, expected: Expected) -> Option<u8> {
    let prefixes = Prefixes::scan(bytes, code);
    let rest = bytes.get(prefixes.length.into()..)?;
    let length = match (expected.form(), rest) {
        (Form::Byte(opcode), [byte, ..]) if *byte == opcode => 1,
        (Form::ByteImmediate(opcode), [byte, _, ..]) if *byte == opcode => 2,
        (Form::InOut, [0xe4..=0xe7, _, ..]) => 2,
        (Form::InOut, [0xec..=0xef, ..]) => 1,
        (Form::InsOuts, [0x6c..=0x6f, ..]) => 1,
        (Form::Escaped(opcode), [0x0f, byte, ..]) if *byte == opcode => 2,
        (Form::Group7(modrm), [0x0f, 0x01, byte, ..]) if *byte == modrm => 3,
        (Form::Registers(opcode), [0x0f, byte, _, ..]) if *byte == opcode => 3,
        (Form::Operand(opcode, reg, register_too), [0x0f, byte, operand @ ..]) if *byte == opcode => {
            let modrm = ModRm::parse(operand, prefixes, code)?;
            let register = matches!(modrm.rm, RegisterOrMemory::Register(_));
            if modrm.reg != reg || register && !register_too {
                return None;
            }
            modrm.length.wrapping_add(2)
        }
        (Form::Invpcid, [0x0f, 0x38, 0x82, operand @ ..]) => {
            let modrm = ModRm::parse(operand, prefixes, code)?;
            if matches!(modrm.rm, RegisterOrMemory::Register(_)) {
                return None;
            }
            modrm.length.wrapping_add(3)
        }
        _ => return None,
    };
    let length = length.wrapping_add(prefixes.length.into());
    if length > MAX_LENGTH { None } else { u8::try_from(length).ok() }
}
