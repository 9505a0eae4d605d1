//! What all string instructions share: the index registers, their direction, and the count of a REP prefix.
//!
//! SDM volume 1, "String Operations"; volume 2B, "REP/REPE/REPZ/REPNE/REPNZ".

use super::{
    registers::{GuestRegisters, RegisterIndex},
    segmentation::AddressSize,
};
use crate::{exit::Width, spec::x86::registers::Rflags};

impl AddressSize {
    /// How wide index and count registers are.
    pub const fn register_width(self) -> Width {
        match self {
            Self::Bits16 => Width::Word,
            Self::Bits32 => Width::Dword,
            Self::Bits64 => Width::Qword,
        }
    }
}

/// How many elements are left of an instruction with a REP prefix.
pub fn count(registers: &GuestRegisters, address_size: AddressSize) -> u64 {
    registers.rcx & address_size.mask()
}

/// The offset that an index register holds.
pub fn offset(registers: &GuestRegisters, index: RegisterIndex, address_size: AddressSize) -> u64 {
    registers.get(index) & address_size.mask()
}

/// Moves an index register behind the element.
pub fn advance_index(
    registers: &mut GuestRegisters,
    index: RegisterIndex,
    address_size: AddressSize,
    width: Width,
    rflags: Rflags,
) {
    let bytes = width.bytes() as u64;
    let old = registers.get(index);
    let new = if rflags.contains(Rflags::DF) { old.wrapping_sub(bytes) } else { old.wrapping_add(bytes) };
    registers.write(index, address_size.register_width(), new);
}

/// Counts one element of an instruction with a REP prefix, and gives how many are left.
pub fn advance_count(registers: &mut GuestRegisters, address_size: AddressSize) -> u64 {
    let left = registers.rcx.wrapping_sub(1);
    registers.write(RegisterIndex::RCX, address_size.register_width(), left);
    left & address_size.mask()
}
