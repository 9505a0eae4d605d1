//! The ModRM byte, and the SIB byte and displacement that it asks for.
//!
//! SDM volume 2A, "Addressing-Mode Encoding of ModR/M and SIB Bytes".

use super::{MemoryOperand, padded::Padded, prefixes::Prefixes};
use crate::guest::{
    registers::RegisterIndex,
    segmentation::{AddressSize, CodeSize, SegmentRegister},
};

/// A ModRM byte and what may follow it, not interpreted yet: most accesses to devices need no more than its length, since
/// the CPU says where they went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawModRm {
    modrm: u8,
    /// The eight bytes that follow it: SIB and displacement, if it has them.
    after: [u8; 8],
}

impl RawModRm {
    /// Takes a ModRM byte from an offset below [`Padded::AFTER_LAST`]; the caller makes sure that the bytes of its length are
    /// there.
    #[inline(always)]
    pub fn read(bytes: &Padded, at: usize) -> Self {
        Self { modrm: bytes.byte(at), after: bytes.bytes(at + 1) }
    }

    /// ModRM.reg, not extended: in groups it selects the operation.
    #[inline(always)]
    pub fn reg(&self) -> u8 {
        self.modrm >> 3 & 7
    }

    /// Whether ModRM.rm names a register.
    #[inline(always)]
    pub fn is_register(&self) -> bool {
        self.modrm >> 6 == 3
    }

    /// How many bytes ModRM, SIB and displacement take.
    #[inline(always)]
    pub fn length(&self, address_size: AddressSize) -> usize {
        let lengths = if address_size == AddressSize::Bits16 { &LENGTHS_16 } else { &LENGTHS_32 };
        let length = lengths[self.modrm as usize];
        // A SIB byte without a base has a displacement where ModRM alone has none.
        let sib_displacement = self.modrm & 0xc7 == 4 && address_size != AddressSize::Bits16 && self.after[0] & 7 == 5;
        usize::from(length) + if sib_displacement { 4 } else { 0 }
    }

    /// The number of the register that ModRM.rm names if [`RawModRm::is_register`], extended by REX.B.
    pub fn register(&self, prefixes: Prefixes) -> u8 {
        self.modrm & 7 | prefixes.rex_b()
    }

    /// The operand that it names if not [`RawModRm::is_register`].
    pub fn operand(&self, prefixes: Prefixes, code: CodeSize) -> MemoryOperand {
        let mode = self.modrm >> 6;
        let rm = self.modrm & 7;
        let address_size = prefixes.address_size(code);
        let (base, index, displacement, rip_relative) = if address_size == AddressSize::Bits16 {
            let (base, index, displacement) = self.parts_16(mode, rm);
            (base, index, displacement, false)
        } else {
            self.parts_32_or_64(mode, rm, prefixes, code)
        };
        // Addresses built on the stack or frame pointer are in the stack segment.
        let segment = match base {
            Some(RegisterIndex::RSP | RegisterIndex::RBP) => SegmentRegister::Ss,
            _ => SegmentRegister::Ds,
        };
        let segment = prefixes.segment().unwrap_or(segment);
        MemoryOperand { base, index, displacement, rip_relative, segment, address_size }
    }

    fn parts_16(&self, mode: u8, rm: u8) -> (Option<RegisterIndex>, Option<(RegisterIndex, u8)>, i64) {
        let [low, high, ..] = self.after;
        let word = u16::from_le_bytes([low, high]);
        if mode == 0 && rm == 6 {
            return (None, None, word.into());
        }
        let displacement = match mode {
            1 => i64::from(low as i8),
            2 => i64::from(word as i16),
            _ => 0,
        };
        let (base, index) = BASES_16[(rm & 7) as usize];
        (Some(base), index.map(|index| (index, 0)), displacement)
    }

    fn parts_32_or_64(
        &self,
        mode: u8,
        rm: u8,
        prefixes: Prefixes,
        code: CodeSize,
    ) -> (Option<RegisterIndex>, Option<(RegisterIndex, u8)>, i64, bool) {
        let [sib, ..] = self.after;
        let has_sib = rm == 4;
        let low = if has_sib { sib & 7 } else { rm };
        let number = sib >> 3 & 7 | prefixes.rex_x();
        // RSP cannot be an index; R12 can.
        let index = (has_sib && number != 4).then(|| (RegisterIndex::new(number), sib >> 6));

        let rest = u64::from_le_bytes(self.after) >> if has_sib { 8 } else { 0 };
        // No base where the number is that of RBP and there is no mode with a displacement; without a SIB byte, 64-bit mode
        // takes RIP instead.
        let baseless = mode == 0 && low == 5;
        let displacement = match mode {
            1 => i64::from(rest as i8),
            2 => i64::from(rest as i32),
            _ if baseless => i64::from(rest as i32),
            _ => 0,
        };
        let base = (!baseless).then(|| RegisterIndex::new(low | prefixes.rex_b()));
        (base, index, displacement, baseless && !has_sib && code == CodeSize::Bits64)
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

/// The lengths of ModRM, SIB and displacement by the ModRM byte, for addresses of 16 bits and of more.
static LENGTHS_16: [u8; 256] = lengths(true);
static LENGTHS_32: [u8; 256] = lengths(false);

const fn lengths(short: bool) -> [u8; 256] {
    let mut lengths = [1; 256];
    let mut modrm = 0;
    while modrm < lengths.len() {
        let (mode, rm) = (modrm >> 6, modrm & 7);
        let displacement = match (mode, short) {
            (1, _) => 1,
            (2, true) => 2,
            (2, false) => 4,
            (0, true) if rm == 6 => 2,
            (0, false) if rm == 5 => 4,
            _ => 0,
        };
        let sib = if !short && mode != 3 && rm == 4 { 1 } else { 0 };
        lengths[modrm] = 1 + sib + displacement;
        modrm += 1;
    }
    lengths
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
        let raw = RawModRm::read(&padded, 0);
        let length = raw.length(prefixes.address_size(code));
        let rm = if raw.is_register() {
            RegisterOrMemory::Register(raw.register(prefixes))
        } else {
            RegisterOrMemory::Memory(raw.operand(prefixes, code))
        };
        (length <= padded.length).then(|| Self { reg: raw.reg(), rm, length })
    }
}
