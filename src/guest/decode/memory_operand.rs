//! A memory operand, and the offset that it stands for.

use crate::guest::{
    registers::{GuestRegisters, RegisterIndex},
    segmentation::{AddressSize, SegmentRegister},
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
