//! The MOVs that drivers use on device registers, recognised in one pass.
//!
//! Nearly every access to a device is a plain MOV between it and a register. This path takes MOV, MOVZX from memory and MOV of an
//! immediate, with at most an operand-size prefix and a REX prefix, and leaves everything else (other prefixes, other
//! instructions, an instruction that reaches into the next page) to the decoder in [`decode`](super::decode). The tests
//! hold it to that decoder.

use super::{
    decode::Register,
    registers::{GuestRegisters, RegisterIndex},
    segmentation::{CodeSize, SegmentRegister},
};
use crate::exit::Width;

/// A MOV whose memory operand is a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mov {
    pub(crate) operation: MovOperation,
    /// The width of the access to memory.
    pub(crate) width: Width,
    /// The length of the instruction.
    pub(crate) length: u8,
    /// The segment of the memory operand.
    pub(crate) segment: SegmentRegister,
    /// The operand's offset in the segment; only the bits below the address size have a meaning.
    pub(crate) offset: u64,
}

/// See [`Mov`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MovOperation {
    /// From memory, zero-extended to the register's width.
    Load(Register),
    /// To memory.
    Store(Register),
    /// To memory.
    StoreImmediate(u64),
}

const OPERAND_SIZE: u8 = 0x66;
const TWO_BYTE: u8 = 0x0f;

/// The bytes, `available` of which were read; what lies behind them has no meaning.
#[inline(always)]
pub(crate) fn decode(
    bytes: &[u8; 32],
    available: usize,
    code: CodeSize,
    registers: &GuestRegisters,
    rip: u64,
) -> Option<Mov> {
    let byte = |at: usize| bytes[at & 31];
    let mut at = 0;
    let mut wide = code != CodeSize::Bits16;
    if byte(0) == OPERAND_SIZE {
        wide = !wide;
        at = 1;
    }
    let mut rex = 0;
    if code == CodeSize::Bits64 && byte(at) & 0xf0 == 0x40 {
        rex = byte(at);
        at += 1;
    }
    let operand = match (rex & 8 != 0, wide) {
        (true, _) => Width::Qword,
        (false, true) => Width::Dword,
        (false, false) => Width::Word,
    };
    let opcode = byte(at);
    at += 1;
    // The width of memory, of the register, whether it is a load, and how many bytes of immediate follow.
    let (width, register_width, load, immediate) = match opcode {
        0x88 => (Width::Byte, Width::Byte, false, 0),
        0x89 => (operand, operand, false, 0),
        0x8a => (Width::Byte, Width::Byte, true, 0),
        0x8b => (operand, operand, true, 0),
        0xc6 => (Width::Byte, Width::Byte, false, 1),
        0xc7 => (operand, operand, false, operand.bytes().min(4)),
        TWO_BYTE => {
            at += 1;
            match byte(at - 1) {
                0xb6 => (Width::Byte, operand, true, 0),
                0xb7 => (Width::Word, operand, true, 0),
                _ => return None,
            }
        }
        _ => return None,
    };
    let modrm = byte(at);
    at += 1;
    let number = modrm >> 3 & 7;
    if modrm >> 6 == 3 || immediate != 0 && number != 0 {
        return None;
    }
    let operand_address = if code == CodeSize::Bits16 {
        address_16(bytes, &mut at, modrm, registers)
    } else {
        address_32_64(bytes, &mut at, modrm, rex, registers)
    };
    let length = at.wrapping_add(immediate);
    if length > available.min(super::decode::MAX_LENGTH) {
        return None;
    }
    let (mut offset, segment, relative) = operand_address;
    if relative && code == CodeSize::Bits64 {
        offset = offset.wrapping_add(rip).wrapping_add(length as u64);
    }
    let operation = if immediate != 0 {
        MovOperation::StoreImmediate(match immediate {
            1 => byte(at).into(),
            2 => u16::from_le_bytes([byte(at), byte(at.wrapping_add(1))]).into(),
            _ => dword(bytes, at) as u64,
        })
    } else {
        // Without REX the byte registers 4 to 7 are AH, CH, DH and BH.
        let high = register_width == Width::Byte && rex == 0 && number >= 4;
        let index = if high { number & 3 } else { number | rex << 1 & 8 };
        let register = Register { index: RegisterIndex::new(index), width: register_width, high };
        if load { MovOperation::Load(register) } else { MovOperation::Store(register) }
    };
    Some(Mov { operation, width, length: length as u8, segment, offset })
}

/// A signed displacement or immediate of 32 bits.
#[inline]
fn dword(bytes: &[u8; 32], at: usize) -> i64 {
    let byte = |more: usize| bytes[at.wrapping_add(more) & 31];
    i32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]).into()
}

/// The displacement that `mode` says, and `at` behind it.
#[inline]
fn displacement(bytes: &[u8; 32], at: &mut usize, mode: u8, large: usize) -> i64 {
    let start = *at;
    let byte = |more: usize| bytes[start.wrapping_add(more) & 31];
    match mode {
        0 => 0,
        1 => {
            *at = start.wrapping_add(1);
            i64::from(byte(0) as i8)
        }
        _ if large == 2 => {
            *at = start.wrapping_add(2);
            i64::from(i16::from_le_bytes([byte(0), byte(1)]))
        }
        _ => {
            *at = start.wrapping_add(4);
            dword(bytes, start)
        }
    }
}

#[inline]
fn address_16(bytes: &[u8; 32], at: &mut usize, modrm: u8, registers: &GuestRegisters) -> (u64, SegmentRegister, bool) {
    let r = registers;
    let (mode, rm) = (modrm >> 6, modrm & 7);
    let (base, segment) = match rm {
        0 => (r.rbx.wrapping_add(r.rsi), SegmentRegister::Ds),
        1 => (r.rbx.wrapping_add(r.rdi), SegmentRegister::Ds),
        2 => (r.rbp.wrapping_add(r.rsi), SegmentRegister::Ss),
        3 => (r.rbp.wrapping_add(r.rdi), SegmentRegister::Ss),
        4 => (r.rsi, SegmentRegister::Ds),
        5 => (r.rdi, SegmentRegister::Ds),
        6 if mode == 0 => (0, SegmentRegister::Ds),
        6 => (r.rbp, SegmentRegister::Ss),
        _ => (r.rbx, SegmentRegister::Ds),
    };
    let mode = if mode == 0 && rm == 6 { 2 } else { mode };
    (base.wrapping_add(displacement(bytes, at, mode, 2) as u64), segment, false)
}

#[inline]
fn address_32_64(
    bytes: &[u8; 32],
    at: &mut usize,
    modrm: u8,
    rex: u8,
    registers: &GuestRegisters,
) -> (u64, SegmentRegister, bool) {
    let (mode, rm) = (modrm >> 6, modrm & 7);
    if rm == 4 {
        let sib = bytes[*at & 31];
        *at = at.wrapping_add(1);
        let index = RegisterIndex::new(sib >> 3 & 7 | rex << 2 & 8);
        // No index is encoded as RSP.
        let scaled = if index == RegisterIndex::RSP { 0 } else { registers.get(index) << (sib >> 6) };
        let no_base = sib & 7 == 5 && mode == 0;
        let base = RegisterIndex::new(sib & 7 | rex << 3 & 8);
        let start = if no_base { 0 } else { registers.get(base) };
        let mode = if no_base { 2 } else { mode };
        let segment = if no_base { SegmentRegister::Ds } else { default_segment(base) };
        let offset = start.wrapping_add(scaled).wrapping_add(displacement(bytes, at, mode, 4) as u64);
        return (offset, segment, false);
    }
    if rm == 5 && mode == 0 {
        // An address alone; in 64-bit mode relative to the next instruction.
        return (displacement(bytes, at, 2, 4) as u64, SegmentRegister::Ds, true);
    }
    let base = RegisterIndex::new(rm | rex << 3 & 8);
    let offset = registers.get(base).wrapping_add(displacement(bytes, at, mode, 4) as u64);
    (offset, default_segment(base), false)
}

/// RSP and RBP address the stack.
#[inline]
fn default_segment(base: RegisterIndex) -> SegmentRegister {
    if base == RegisterIndex::RSP || base == RegisterIndex::RBP { SegmentRegister::Ss } else { SegmentRegister::Ds }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::guest::decode::{Address, MmioInstruction, Operation, Source};
    use crate::random::Random;

    /// What the general decoder says of the same bytes, if it is one of the instructions of this file.
    fn general(bytes: &[u8], code: CodeSize, registers: &GuestRegisters, rip: u64) -> Option<Mov> {
        let instruction = MmioInstruction::decode(bytes, code).ok()?;
        let Address::Operand(operand) = instruction.address else { return None };
        let operation = match instruction.operation {
            Operation::Load { register, sign_extend: false, swap: false } => MovOperation::Load(register),
            Operation::Store { source: Source::Register(register), swap: false } => MovOperation::Store(register),
            Operation::Store { source: Source::Immediate(value), swap: false } => {
                MovOperation::StoreImmediate(value as u64)
            }
            _ => return None,
        };
        let next = rip.wrapping_add(instruction.length.into());
        let offset = operand.offset(registers, next);
        let (width, length) = (instruction.width, instruction.length);
        Some(Mov { operation, width, length, segment: operand.segment, offset })
    }

    #[test]
    fn agrees_with_the_general_decoder() {
        let mut numbers = Random(0x2545_f491_4f6c_dd1d);
        let mut random = move || numbers.next();
        let mut taken = 0;
        for _ in 0..2_000_000 {
            let mut bytes = [0; 32];
            for chunk in bytes.chunks_mut(8) {
                chunk.copy_from_slice(&random().to_le_bytes());
            }
            // Mostly one of the opcodes, after mostly none or one of the prefixes.
            let opcode = [0x88, 0x89, 0x8a, 0x8b, 0xc6, 0xc7, 0x0f][(random() % 7) as usize];
            let place = match random() % 4 {
                0 => 0,
                1 => {
                    bytes[0] = 0x66;
                    1
                }
                2 => {
                    bytes[0] = 0x40 | (random() & 15) as u8;
                    1
                }
                _ => {
                    bytes[0] = 0x66;
                    bytes[1] = 0x40 | (random() & 15) as u8;
                    2
                }
            };
            bytes[place] = opcode;
            if opcode == 0x0f {
                bytes[place + 1] = 0xb6 | (random() & 1) as u8;
            }
            let code = [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64][(random() % 3) as usize];
            let mask = if code == CodeSize::Bits64 { u64::MAX } else { u64::MAX >> 32 };
            let mut registers = GuestRegisters::default();
            for number in 0..16 {
                registers.set(RegisterIndex::new(number), random() & mask);
            }
            let (rip, available) = (random() & mask, (random() % 16) as usize);
            let Some(fast) = decode(&bytes, available, code, &registers, rip) else { continue };
            taken += 1;
            let slow = general(&bytes[..available], code, &registers, rip).expect("it takes more");
            let address = match code {
                CodeSize::Bits16 => 0xffff,
                CodeSize::Bits32 => 0xffff_ffff,
                CodeSize::Bits64 => u64::MAX,
            };
            let width = fast.width.mask();
            let same_operation = match (fast.operation, slow.operation) {
                (MovOperation::StoreImmediate(a), MovOperation::StoreImmediate(b)) => a & width == b & width,
                (a, b) => a == b,
            };
            assert!(same_operation && fast.offset & address == slow.offset & address, "{fast:?} {slow:?} {bytes:02x?}");
            assert_eq!(
                (fast.width, fast.length, fast.segment),
                (slow.width, slow.length, slow.segment),
                "{bytes:02x?}"
            );
        }
        assert!(taken > 100_000, "{taken}");
    }
}
