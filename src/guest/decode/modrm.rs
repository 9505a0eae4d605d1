//! The ModRM byte, and the SIB byte and displacement that it asks for.
//!
//! SDM volume 2A, "Addressing-Mode Encoding of ModR/M and SIB Bytes".

use super::prefixes::Prefixes;
use crate::guest::{
    registers::{GuestRegisters, RegisterIndex},
    segmentation::{AddressSize, CodeSize, SegmentRegister},
};

/// A memory operand as the instruction writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOperand {
    /// The base register.
    pub base: Option<RegisterIndex>,
    /// The index register, and by how many bits it is shifted.
    pub index: Option<(RegisterIndex, u8)>,
    /// The displacement.
    pub displacement: i64,
    /// Whether the address of the next instruction is added.
    pub rip_relative: bool,
    /// The segment, with the instruction's override applied.
    pub segment: SegmentRegister,
    /// How many bits the computation has.
    pub address_size: AddressSize,
}

impl MemoryOperand {
    /// The offset in the segment. `next_rip` is the address of the next instruction.
    #[inline]
    pub fn offset(&self, registers: &GuestRegisters, next_rip: u64) -> u64 {
        let mut offset = self.displacement as u64;
        if let Some(base) = self.base {
            offset = offset.wrapping_add(registers.get(base));
        }
        if let Some((index, shift)) = self.index {
            offset = offset.wrapping_add(registers.get(index) << (shift & 3));
        }
        if self.rip_relative {
            offset = offset.wrapping_add(next_rip);
        }
        offset & self.address_size.mask()
    }
}

/// What ModRM.rm stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RegisterOrMemory {
    /// A register's number, extended by REX.B.
    Register(u8),
    Memory(MemoryOperand),
}

/// A ModRM byte with what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ModRm {
    /// ModRM.reg, not extended: in groups it selects the operation.
    pub reg: u8,
    pub rm: RegisterOrMemory,
    /// How many bytes ModRM, SIB and displacement take.
    pub length: usize,
}

impl ModRm {
    /// Reads the ModRM byte at the start of `bytes`; `None` when bytes are missing.
    #[inline]
    pub fn parse(bytes: &[u8], prefixes: Prefixes, code: CodeSize) -> Option<Self> {
        let &modrm = bytes.first()?;
        let (mode, reg, rm) = (modrm >> 6, modrm >> 3 & 7, modrm & 7);
        if mode == 3 {
            return Some(Self { reg, rm: RegisterOrMemory::Register(rm | prefixes.rex_b()), length: 1 });
        }
        let (operand, length) = match prefixes.address_size(code) {
            AddressSize::Bits16 => parse_16(bytes, mode, rm)?,
            address_size => parse_32_or_64(bytes, mode, rm, prefixes, address_size, code)?,
        };
        let segment = prefixes.segment.unwrap_or(operand.segment);
        Some(Self { reg, rm: RegisterOrMemory::Memory(MemoryOperand { segment, ..operand }), length })
    }
}

/// The two registers that 16-bit addressing adds, by ModRM.rm.
const BASES_16: [(RegisterIndex, Option<RegisterIndex>); 8] = [
    (RegisterIndex::RBX, Some(RegisterIndex::RSI)),
    (RegisterIndex::RBX, Some(RegisterIndex::RDI)),
    (RegisterIndex::RBP, Some(RegisterIndex::RSI)),
    (RegisterIndex::RBP, Some(RegisterIndex::RDI)),
    (RegisterIndex::RSI, None),
    (RegisterIndex::RDI, None),
    (RegisterIndex::RBP, None),
    (RegisterIndex::RBX, None),
];

fn parse_16(bytes: &[u8], mode: u8, rm: u8) -> Option<(MemoryOperand, usize)> {
    let direct = mode == 0 && rm == 6;
    let size = match mode {
        1 => 1,
        2 => 2,
        _ if direct => 2,
        _ => 0,
    };
    let (base, index) = BASES_16[(rm & 7) as usize];
    let (base, index) = if direct { (None, None) } else { (Some(base), index.map(|index| (index, 0))) };
    let segment = stack_or_data(base);
    let displacement = displacement(bytes, 1, size)?;
    let address_size = AddressSize::Bits16;
    Some((MemoryOperand { base, index, displacement, rip_relative: false, segment, address_size }, 1 + size))
}

#[inline]
fn parse_32_or_64(
    bytes: &[u8],
    mode: u8,
    rm: u8,
    prefixes: Prefixes,
    address_size: AddressSize,
    code: CodeSize,
) -> Option<(MemoryOperand, usize)> {
    let mut size = match mode {
        1 => 1,
        2 => 4,
        _ => 0,
    };
    let mut at = 1;
    let mut rip_relative = false;
    let mut base = Some(RegisterIndex::new(rm | prefixes.rex_b()));
    let mut index = None;
    if rm == 4 {
        let &sib = bytes.get(1)?;
        at = 2;
        let number = sib >> 3 & 7 | prefixes.rex_x();
        // RSP cannot be an index; R12 can.
        if number != 4 {
            index = Some((RegisterIndex::new(number), sib >> 6));
        }
        if sib & 7 == 5 && mode == 0 {
            base = None;
            size = 4;
        } else {
            base = Some(RegisterIndex::new(sib & 7 | prefixes.rex_b()));
        }
    } else if rm == 5 && mode == 0 {
        base = None;
        size = 4;
        rip_relative = code == CodeSize::Bits64;
    }
    let segment = stack_or_data(base);
    let displacement = displacement(bytes, at, size)?;
    Some((MemoryOperand { base, index, displacement, rip_relative, segment, address_size }, at + size))
}

/// Addresses built on the stack or frame pointer are in the stack segment.
#[inline]
fn stack_or_data(base: Option<RegisterIndex>) -> SegmentRegister {
    match base {
        Some(RegisterIndex::RSP | RegisterIndex::RBP) => SegmentRegister::Ss,
        _ => SegmentRegister::Ds,
    }
}

/// A sign-extended little-endian number of 0, 1, 2 or 4 bytes.
#[inline]
pub(super) fn displacement(bytes: &[u8], at: usize, size: usize) -> Option<i64> {
    let tail = bytes.get(at..)?;
    Some(match size {
        0 => 0,
        1 => i64::from(*tail.first()? as i8),
        2 => i64::from(i16::from_le_bytes(*tail.first_chunk()?)),
        _ => i64::from(i32::from_le_bytes(*tail.first_chunk()?)),
    })
}
