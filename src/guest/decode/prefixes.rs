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
    /// Reads prefixes up to the first byte that is none.
    #[inline(always)]
    pub fn scan(bytes: &[u8], code: CodeSize) -> Self {
        let mut prefixes = Self::default();
        // Most instructions have none, or a REX: the rest is kept apart.
        match bytes {
            [byte, ..] if is_prefix(*byte, code) => {}
            _ => return prefixes,
        }
        prefixes.scan_on(bytes, code);
        prefixes
    }

    fn scan_on(&mut self, bytes: &[u8], code: CodeSize) {
        for &byte in bytes.iter().take(MAX_LENGTH) {
            if !is_prefix(byte, code) {
                return;
            }
            self.length += 1;
            // A REX before another prefix does not count.
            self.rex = 0;
            match byte {
                0x26 => self.set_segment(SegmentRegister::Es, code),
                0x2e => self.set_segment(SegmentRegister::Cs, code),
                0x36 => self.set_segment(SegmentRegister::Ss, code),
                0x3e => self.set_segment(SegmentRegister::Ds, code),
                0x64 => self.segment = Some(SegmentRegister::Fs),
                0x65 => self.segment = Some(SegmentRegister::Gs),
                0x66 => self.operand_size = true,
                0x67 => self.address_size = true,
                0xf0 => self.lock = true,
                0xf2 => self.repeat = Some(Repeat::WhileNotZero),
                0xf3 => self.repeat = Some(Repeat::WhileZero),
                _ => self.rex = byte,
            }
        }
    }

    /// In 64-bit mode these are ignored: they do not even undo a prefix of FS or GS.
    fn set_segment(&mut self, segment: SegmentRegister, code: CodeSize) {
        if code != CodeSize::Bits64 {
            self.segment = Some(segment);
        }
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
