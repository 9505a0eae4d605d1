//! The ModRM byte, and the SIB byte and displacement that it asks for.
//!
//! SDM volume 2A, "Addressing-Mode Encoding of ModR/M and SIB Bytes".

use super::{
    padded::{Padded, PaddedBytes, byte, bytes_at},
    prefixes::Prefixes,
};
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
    pub fn parse(bytes: &[u8], prefixes: Prefixes, code: CodeSize) -> Option<Self> {
        let padded = Padded::new(bytes);
        let modrm = Self::read(&padded.bytes, 0, prefixes, code);
        (modrm.length <= padded.length).then_some(modrm)
    }

    /// Reads the ModRM byte at an offset; the caller makes sure that the bytes of the length that it finds are there.
    #[inline(always)]
    pub fn read(bytes: &PaddedBytes, at: usize, prefixes: Prefixes, code: CodeSize) -> Self {
        let modrm = byte(bytes, at);
        let (mode, reg, rm) = (modrm >> 6, modrm >> 3 & 7, modrm & 7);
        if mode == 3 {
            return Self { reg, rm: RegisterOrMemory::Register(rm | prefixes.rex_b()), length: 1 };
        }
        let (operand, length) = match prefixes.address_size(code) {
            AddressSize::Bits16 => read_16(bytes, at, mode, rm),
            address_size => read_32_or_64(bytes, at, mode, rm, prefixes, address_size, code),
        };
        let segment = prefixes.segment.unwrap_or(operand.segment);
        Self { reg, rm: RegisterOrMemory::Memory(MemoryOperand { segment, ..operand }), length }
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

#[inline(never)]
fn read_16(bytes: &PaddedBytes, at: usize, mode: u8, rm: u8) -> (MemoryOperand, usize) {
    let direct = mode == 0 && rm == 6;
    let (displacement, size) = match mode {
        1 => (i64::from(byte(bytes, at + 1) as i8), 1),
        2 => (i64::from(u16::from_le_bytes(bytes_at(bytes, at + 1)) as i16), 2),
        _ if direct => (i64::from(u16::from_le_bytes(bytes_at(bytes, at + 1))), 2),
        _ => (0, 0),
    };
    let (base, index) = BASES_16[(rm & 7) as usize];
    let (base, index) = if direct { (None, None) } else { (Some(base), index.map(|index| (index, 0))) };
    let segment = stack_or_data(base);
    let address_size = AddressSize::Bits16;
    (MemoryOperand { base, index, displacement, rip_relative: false, segment, address_size }, 1 + size)
}

#[inline(always)]
fn read_32_or_64(
    bytes: &PaddedBytes,
    mut at: usize,
    mode: u8,
    rm: u8,
    prefixes: Prefixes,
    address_size: AddressSize,
    code: CodeSize,
) -> (MemoryOperand, usize) {
    let start = at;
    at += 1;
    let mut low = rm;
    let mut index = None;
    if rm == 4 {
        let sib = byte(bytes, at);
        at += 1;
        low = sib & 7;
        let number = sib >> 3 & 7 | prefixes.rex_x();
        // RSP cannot be an index; R12 can.
        if number != 4 {
            index = Some((RegisterIndex::new(number), sib >> 6));
        }
    }
    let mut base = Some(RegisterIndex::new(low | prefixes.rex_b()));
    let mut rip_relative = false;
    let mut displacement = 0;
    if mode == 1 {
        displacement = i64::from(byte(bytes, at) as i8);
        at += 1;
    } else if mode == 2 || low == 5 {
        displacement = i64::from(i32::from_le_bytes(bytes_at(bytes, at)));
        at += 4;
        if mode == 0 {
            // No base; without a SIB byte, 64-bit mode takes RIP.
            base = None;
            rip_relative = rm == 5 && code == CodeSize::Bits64;
        }
    }
    let segment = stack_or_data(base);
    (MemoryOperand { base, index, displacement, rip_relative, segment, address_size }, at - start)
}

/// Addresses built on the stack or frame pointer are in the stack segment.
#[inline(always)]
fn stack_or_data(base: Option<RegisterIndex>) -> SegmentRegister {
    match base {
        Some(RegisterIndex::RSP | RegisterIndex::RBP) => SegmentRegister::Ss,
        _ => SegmentRegister::Ds,
    }
}
