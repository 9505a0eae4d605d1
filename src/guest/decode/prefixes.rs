//! The prefixes of an instruction.
//!
//! SDM volume 2A, "Instruction Prefixes" and "REX Prefixes"; APM volume 3, "Instruction Prefixes".

use super::MAX_LENGTH;
use crate::guest::segmentation::{AddressSize, CodeSize, SegmentRegister};

/// REP, REPE and REPNE. When several stand before an instruction, the last counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// F2: REPNE.
    WhileNotZero,
    /// F3: REP, REPE.
    WhileZero,
}

/// What stands before the opcode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefixes {
    /// How many bytes they take.
    pub length: usize,
    /// 66.
    pub operand_size: bool,
    /// 67.
    pub address_size: bool,
    /// F0.
    pub lock: bool,
    pub repeat: Option<Repeat>,
    pub segment: Option<SegmentRegister>,
    /// The REX prefix, or 0. It counts only right before the opcode.
    pub rex: u8,
}

/// Bits of a REX prefix.
const REX_W: u8 = 8;
const REX_R: u8 = 4;
const REX_X: u8 = 2;
const REX_B: u8 = 1;

impl Prefixes {
    /// Reads prefixes up to the first byte that is none.
    #[inline]
    pub fn scan(bytes: &[u8], code: CodeSize) -> Self {
        let mut prefixes = Self::default();
        for &byte in bytes.iter().take(MAX_LENGTH) {
            let segment = match byte {
                0x26 => SegmentRegister::Es,
                0x2e => SegmentRegister::Cs,
                0x36 => SegmentRegister::Ss,
                0x3e => SegmentRegister::Ds,
                0x64 => SegmentRegister::Fs,
                0x65 => SegmentRegister::Gs,
                _ => {
                    match byte {
                        0x66 => prefixes.operand_size = true,
                        0x67 => prefixes.address_size = true,
                        0xf0 => prefixes.lock = true,
                        0xf2 => prefixes.repeat = Some(Repeat::WhileNotZero),
                        0xf3 => prefixes.repeat = Some(Repeat::WhileZero),
                        0x40..=0x4f if code == CodeSize::Bits64 => {
                            prefixes.rex = byte;
                            prefixes.length += 1;
                            continue;
                        }
                        _ => return prefixes,
                    }
                    prefixes.rex = 0;
                    prefixes.length += 1;
                    continue;
                }
            };
            // In 64-bit mode those of ES, CS, SS and DS are ignored: they do not even undo one of FS or GS.
            if code != CodeSize::Bits64 || matches!(segment, SegmentRegister::Fs | SegmentRegister::Gs) {
                prefixes.segment = Some(segment);
            }
            prefixes.rex = 0;
            prefixes.length += 1;
        }
        prefixes
    }

    #[inline]
    pub fn rex_w(self) -> bool {
        self.rex & REX_W != 0
    }

    /// What REX.R adds to a register's number.
    #[inline]
    pub fn rex_r(self) -> u8 {
        (self.rex & REX_R) << 1
    }

    #[inline]
    pub fn rex_x(self) -> u8 {
        (self.rex & REX_X) << 2
    }

    #[inline]
    pub fn rex_b(self) -> u8 {
        (self.rex & REX_B) << 3
    }

    #[inline]
    pub fn address_size(self, code: CodeSize) -> AddressSize {
        match (code, self.address_size) {
            (CodeSize::Bits16, false) | (CodeSize::Bits32, true) => AddressSize::Bits16,
            (CodeSize::Bits64, false) => AddressSize::Bits64,
            _ => AddressSize::Bits32,
        }
    }
}
