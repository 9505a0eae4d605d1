//! The prefixes of an instruction.
//!
//! SDM volume 2A, "Instruction Prefixes" and "REX Prefixes"; APM volume 3, "Instruction Prefixes".

use super::MAX_LENGTH;
use crate::{
    exit::Width,
    guest::segmentation::{AddressSize, CodeSize, SegmentRegister},
};

/// REP, REPE and REPNE. When several stand before an instruction, the last counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// F2: REPNE.
    WhileNotZero,
    /// F3: REP, REPE.
    WhileZero,
}

/// What stands before the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefixes {
    /// How many bytes they take.
    pub length: u8,
    /// The REX prefix, or 0. It counts only right before the opcode.
    pub rex: u8,
    /// The byte of the segment override, or 0.
    segment: u8,
    /// The others, a bit for each.
    flags: u8,
}

/// Bits of a REX prefix.
const REX_W: u8 = 8;
const REX_X: u8 = 2;
const REX_B: u8 = 1;

/// 66, 67, F0, F2 and F3 in [`Prefixes::flags`].
const OPERAND_SIZE: u8 = 1;
const ADDRESS_SIZE: u8 = 2;
const LOCK: u8 = 4;
const REPEAT_NOT_ZERO: u8 = 8;
const REPEAT_ZERO: u8 = 16;

/// A bit per byte: those that are prefixes in every mode.
const LEGACY: [u64; 4] = {
    let mut bits = [0; 4];
    let bytes = [0x26_u8, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
    let mut index = 0;
    while index < bytes.len() {
        bits[(bytes[index] >> 6) as usize] |= 1 << (bytes[index] & 63);
        index += 1;
    }
    bits
};

#[inline(always)]
const fn is_prefix(byte: u8, code: CodeSize) -> bool {
    LEGACY[(byte >> 6) as usize] >> (byte & 63) & 1 != 0 || byte & 0xf0 == 0x40 && matches!(code, CodeSize::Bits64)
}

impl Prefixes {
    /// There are none.
    pub const NONE: Self = Self { length: 0, rex: 0, segment: 0, flags: 0 };

    /// Reads prefixes up to the first byte that is none.
    pub fn scan(bytes: &[u8], code: CodeSize) -> Self {
        let mut prefixes = Self::NONE;
        for &byte in bytes.iter().take(MAX_LENGTH) {
            if !is_prefix(byte, code) {
                break;
            }
            prefixes.length += 1;
            // A REX before another prefix does not count.
            prefixes.rex = 0;
            match byte {
                // In 64-bit mode these are ignored: they do not even undo a prefix of FS or GS.
                0x26 | 0x2e | 0x36 | 0x3e if code == CodeSize::Bits64 => {}
                0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 => prefixes.segment = byte,
                0x66 => prefixes.flags |= OPERAND_SIZE,
                0x67 => prefixes.flags |= ADDRESS_SIZE,
                0xf0 => prefixes.flags |= LOCK,
                0xf2 => prefixes.flags = prefixes.flags & !REPEAT_ZERO | REPEAT_NOT_ZERO,
                0xf3 => prefixes.flags = prefixes.flags & !REPEAT_NOT_ZERO | REPEAT_ZERO,
                _ => prefixes.rex = byte,
            }
        }
        prefixes
    }

    /// 66.
    #[inline(always)]
    pub fn operand_size(self) -> bool {
        self.flags & OPERAND_SIZE != 0
    }

    /// F0.
    #[inline(always)]
    pub fn lock(self) -> bool {
        self.flags & LOCK != 0
    }

    /// F2 and F3.
    pub fn repeat(self) -> Option<Repeat> {
        if self.flags & REPEAT_ZERO != 0 {
            Some(Repeat::WhileZero)
        } else if self.flags & REPEAT_NOT_ZERO != 0 {
            Some(Repeat::WhileNotZero)
        } else {
            None
        }
    }

    /// The segment override.
    pub fn segment(self) -> Option<SegmentRegister> {
        match self.segment {
            0x26 => Some(SegmentRegister::Es),
            0x2e => Some(SegmentRegister::Cs),
            0x36 => Some(SegmentRegister::Ss),
            0x3e => Some(SegmentRegister::Ds),
            0x64 => Some(SegmentRegister::Fs),
            0x65 => Some(SegmentRegister::Gs),
            _ => None,
        }
    }

    #[inline(always)]
    pub fn rex_w(self) -> bool {
        self.rex & REX_W != 0
    }

    /// What REX.X adds to a register's number.
    #[inline(always)]
    pub fn rex_x(self) -> u8 {
        (self.rex & REX_X) << 2
    }

    #[inline(always)]
    pub fn rex_b(self) -> u8 {
        (self.rex & REX_B) << 3
    }

    /// The width of operands that may be 16, 32 or 64 bits wide: 32 but in 16-bit code, the other of the two with 66, and 64 with
    /// REX.W.
    pub fn operand_width(self, code: CodeSize) -> Width {
        if self.rex_w() {
            Width::Qword
        } else if (code == CodeSize::Bits16) != self.operand_size() {
            Width::Word
        } else {
            Width::Dword
        }
    }

    /// The size that addresses have: that of the code, or with 67 the next smaller one (for 16 bits, the larger).
    #[inline(always)]
    pub fn address_size(self, code: CodeSize) -> AddressSize {
        match (code, self.flags & ADDRESS_SIZE != 0) {
            (CodeSize::Bits16, false) | (CodeSize::Bits32, true) => AddressSize::Bits16,
            (CodeSize::Bits64, false) => AddressSize::Bits64,
            _ => AddressSize::Bits32,
        }
    }
}
