//! The opcodes with a memory operand that the library emulates.
//!
//! SDM volume 2D, "Opcode Map"; APM volume 3, "Opcode and Operand Encodings".

use super::{
    Arithmetic, BitIndex, BitOperation, Condition, DecodeError, MmioInstruction, Operation, Register, Source, Unary,
    instruction::Place, modrm::RawModRm, padded::Padded, prefixes::Prefixes,
};
use crate::{
    exit::Width,
    guest::{
        registers::RegisterIndex,
        segmentation::{AddressSize, CodeSize},
    },
};

type Result<T> = core::result::Result<T, DecodeError>;

/// What an opcode is, before its operands are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// 0F.
    Escape,
    /// 0F 38.
    Escape38,
    // With a ModRM byte:
    /// MOV between a register and memory, the two directions.
    Load,
    Store,
    /// The eight operations of two operands, with a register.
    ArithmeticOnMemory,
    ArithmeticOnRegister,
    /// The same with a constant.
    Group1,
    Test,
    Exchange,
    /// MOVSXD.
    MoveDoubleword,
    /// MOV of a constant.
    Group11,
    /// TEST with a constant, NOT, NEG.
    Group3,
    /// INC and DEC.
    Group4,
    ConditionalMove,
    Set,
    /// BT, BTS, BTR, BTC with a register.
    Bit,
    /// The same with a constant.
    Group8,
    CompareExchange,
    /// MOVZX, MOVSX.
    MoveExtended,
    ExchangeAdd,
    MoveNonTemporal,
    MoveBigEndian,
    // Without one:
    /// MOV with an absolute address, the two directions.
    LoadDirect,
    StoreDirect,
    MoveString,
    StoreString,
    LoadString,
    ScanString,
    /// None that is emulated.
    Other,
}

const fn one_byte(opcode: u8) -> Kind {
    match opcode {
        0x0f => Kind::Escape,
        // The other half of these rows has no memory operand.
        0x00..=0x3f if opcode & 6 == 0 => Kind::ArithmeticOnMemory,
        0x00..=0x3f if opcode & 6 == 2 => Kind::ArithmeticOnRegister,
        0x63 => Kind::MoveDoubleword,
        0x80..=0x83 => Kind::Group1,
        0x84 | 0x85 => Kind::Test,
        0x86 | 0x87 => Kind::Exchange,
        0x88 | 0x89 => Kind::Store,
        0x8a | 0x8b => Kind::Load,
        0xa0 | 0xa1 => Kind::LoadDirect,
        0xa2 | 0xa3 => Kind::StoreDirect,
        0xa4 | 0xa5 => Kind::MoveString,
        0xaa | 0xab => Kind::StoreString,
        0xac | 0xad => Kind::LoadString,
        0xae | 0xaf => Kind::ScanString,
        0xc6 | 0xc7 => Kind::Group11,
        0xf6 | 0xf7 => Kind::Group3,
        0xfe | 0xff => Kind::Group4,
        _ => Kind::Other,
    }
}

const fn two_bytes(opcode: u8) -> Kind {
    match opcode {
        0x38 => Kind::Escape38,
        0x40..=0x4f => Kind::ConditionalMove,
        0x90..=0x9f => Kind::Set,
        0xa3 | 0xab | 0xb3 | 0xbb => Kind::Bit,
        0xb0 | 0xb1 => Kind::CompareExchange,
        0xb6 | 0xb7 | 0xbe | 0xbf => Kind::MoveExtended,
        0xba => Kind::Group8,
        0xc0 | 0xc1 => Kind::ExchangeAdd,
        0xc3 => Kind::MoveNonTemporal,
        _ => Kind::Other,
    }
}

/// The two maps as tables: one load for what a `match` does in several jumps.
static ONE_BYTE: [Kind; 256] = {
    let mut table = [Kind::Other; 256];
    let mut opcode = 0;
    while opcode < table.len() {
        table[opcode] = one_byte(opcode as u8);
        opcode += 1;
    }
    table
};
static TWO_BYTES: [Kind; 256] = {
    let mut table = [Kind::Other; 256];
    let mut opcode = 0;
    while opcode < table.len() {
        table[opcode] = two_bytes(opcode as u8);
        opcode += 1;
    }
    table
};

/// The bytes, how far they are read, and what the prefixes have said.
struct Decoder<'a> {
    bytes: &'a Padded,
    /// At most 15 prefixes, 3 bytes of opcode and 10 of operands: [`Padded`] has room for it.
    at: usize,
    prefixes: Prefixes,
    code: CodeSize,
}

impl MmioInstruction {
    /// Decodes the instruction at the start of `bytes`.
    ///
    /// # Errors
    /// As [`MmioInstruction::decode_from`].
    #[cfg(test)]
    pub fn decode(bytes: &[u8], code: CodeSize) -> Result<Self> {
        let mut instruction = Self::EMPTY;
        instruction.decode_from(&Padded::new(bytes), code)?;
        Ok(instruction)
    }

    /// Becomes the instruction at the start of `given`. In place, because a result of this size would be copied several times.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when bytes are missing, [`DecodeError::Unsupported`] when it is none of those that the
    /// library emulates, has no memory operand, or is no instruction. `self` has no meaning then.
    #[inline]
    pub fn decode_from(&mut self, given: &Padded, code: CodeSize) -> Result<()> {
        // Instructions without a prefix are decoded by code of their own, in which what prefixes decide is constant.
        if Prefixes::start_with(given.byte(0), code) {
            self.decode_prefixed(given, code)
        } else {
            self.decode_behind(Prefixes::NONE, given, code)
        }
    }

    #[inline(never)]
    fn decode_prefixed(&mut self, given: &Padded, code: CodeSize) -> Result<()> {
        self.decode_behind(Prefixes::scan(given.as_slice(), code), given, code)
    }

    #[inline(always)]
    fn decode_behind(&mut self, prefixes: Prefixes, given: &Padded, code: CodeSize) -> Result<()> {
        let mut decoder = Decoder { bytes: given, at: prefixes.length.into(), prefixes, code };
        self.prefixes = prefixes;
        self.code = code;

        let mut opcode = decoder.byte();
        let mut kind = ONE_BYTE[opcode as usize];
        if kind == Kind::Escape {
            opcode = decoder.byte();
            kind = TWO_BYTES[opcode as usize];
            if kind == Kind::Escape38 {
                opcode = decoder.byte();
                kind = if matches!(opcode, 0xf0 | 0xf1) { Kind::MoveBigEndian } else { Kind::Other };
            }
        }
        // In most rows of the map, even opcodes are about bytes.
        let width = if opcode & 1 == 0 { Width::Byte } else { decoder.operand_width() };
        if kind as u8 >= Kind::LoadDirect as u8 {
            return self.decode_without_modrm(&mut decoder, kind, width);
        }
        let raw = RawModRm::read(given, decoder.at);
        decoder.at = decoder.at.wrapping_add(raw.length(prefixes.address_size(code)));
        if raw.is_register() {
            return Err(decoder.refusal());
        }
        self.place = Place::ModRm(raw);
        if kind == Kind::Load {
            self.operation = load(decoder.register(raw.reg(), width), false);
            self.width = width;
        } else if kind == Kind::Store {
            self.operation = store(Source::Register(decoder.register(raw.reg(), width)));
            self.width = width;
        } else {
            match decoder.other(kind, opcode, raw.reg(), width) {
                Some(found) => (self.operation, self.width) = found,
                None => return Err(decoder.refusal()),
            }
        }
        if prefixes.lock() && !self.operation.is_lockable() {
            return Err(decoder.refusal());
        }
        self.length = decoder.at as u8;
        decoder.finish()
    }

    /// What has no ModRM byte.
    #[inline(never)]
    fn decode_without_modrm(&mut self, decoder: &mut Decoder<'_>, kind: Kind, width: Width) -> Result<()> {
        let accumulator = Register { index: RegisterIndex::RAX, width, high: false };
        self.operation = match kind {
            Kind::LoadDirect => load(accumulator, false),
            Kind::StoreDirect => store(Source::Register(accumulator)),
            Kind::MoveString => Operation::MoveString,
            Kind::StoreString => Operation::StoreString,
            Kind::LoadString => Operation::LoadString,
            Kind::ScanString => Operation::ScanString,
            _ => return Err(decoder.refusal()),
        };
        if decoder.prefixes.lock() {
            return Err(decoder.refusal());
        }
        self.width = width;
        self.place = Place::String;
        if matches!(kind, Kind::LoadDirect | Kind::StoreDirect) {
            self.place = Place::Direct(u64::from_le_bytes(decoder.bytes.bytes(decoder.at)));
            let length = match decoder.prefixes.address_size(decoder.code) {
                AddressSize::Bits16 => 2,
                AddressSize::Bits32 => 4,
                AddressSize::Bits64 => 8,
            };
            decoder.at = decoder.at.wrapping_add(length);
        }
        self.length = decoder.at as u8;
        decoder.finish()
    }
}

impl Decoder<'_> {
    /// The error for an instruction that is not emulated, by how much was read of it so far.
    #[cold]
    fn refusal(&self) -> DecodeError {
        if self.at > self.bytes.length { DecodeError::Truncated } else { DecodeError::Unsupported }
    }

    /// Whether all that was read was there.
    #[inline(always)]
    fn finish(&self) -> Result<()> {
        if self.at > self.bytes.length { Err(DecodeError::Truncated) } else { Ok(()) }
    }

    /// What an opcode with a ModRM byte does, and the width of its access to memory.
    #[inline(never)]
    fn other(&mut self, kind: Kind, opcode: u8, reg: u8, width: Width) -> Option<(Operation, Width)> {
        let wide = self.operand_width();
        Some(match kind {
            Kind::ArithmeticOnMemory => {
                let source = Source::Register(self.register(reg, width));
                (Operation::OnMemory(Arithmetic::from_bits(opcode >> 3), source), width)
            }
            Kind::ArithmeticOnRegister => {
                (Operation::OnRegister(Arithmetic::from_bits(opcode >> 3), self.register(reg, width)), width)
            }
            Kind::Group1 => {
                if opcode == 0x82 && self.code == CodeSize::Bits64 {
                    return None;
                }
                let value = self.immediate(if opcode == 0x81 { width } else { Width::Byte });
                (Operation::OnMemory(Arithmetic::from_bits(reg), Source::Immediate(value)), width)
            }
            Kind::Test => {
                let source = Source::Register(self.register(reg, width));
                (Operation::OnMemory(Arithmetic::Test, source), width)
            }
            Kind::Exchange => (Operation::Exchange(self.register(reg, width)), width),
            // It extends 32 bits to 64, and is a MOV for the smaller sizes. In other modes the opcode is another.
            Kind::MoveDoubleword if self.code == CodeSize::Bits64 => {
                (load(self.register(reg, wide), true), wide.min(Width::Dword))
            }
            Kind::Group11 if reg == 0 => (store(Source::Immediate(self.immediate(width))), width),
            Kind::Group3 => {
                let operation = match reg {
                    0 | 1 => Operation::OnMemory(Arithmetic::Test, Source::Immediate(self.immediate(width))),
                    2 => Operation::Unary(Unary::Not),
                    3 => Operation::Unary(Unary::Negate),
                    _ => return None,
                };
                (operation, width)
            }
            Kind::Group4 if reg == 0 => (Operation::Unary(Unary::Increment), width),
            Kind::Group4 if reg == 1 => (Operation::Unary(Unary::Decrement), width),
            Kind::ConditionalMove => {
                (Operation::ConditionalMove(Condition(opcode & 0xf), self.register(reg, wide)), wide)
            }
            Kind::Set => (Operation::Set(Condition(opcode & 0xf)), Width::Byte),
            Kind::Bit => {
                (Operation::Bit(bit_operation(opcode >> 3), BitIndex::Register(self.register(reg, wide))), wide)
            }
            Kind::Group8 if reg >= 4 => (Operation::Bit(bit_operation(reg), BitIndex::Immediate(self.byte())), wide),
            Kind::CompareExchange => (Operation::CompareExchange(self.register(reg, width)), width),
            Kind::MoveExtended => {
                let from = if opcode & 1 == 0 { Width::Byte } else { Width::Word };
                (load(self.register(reg, wide), opcode & 8 != 0), from)
            }
            Kind::ExchangeAdd => (Operation::ExchangeAdd(self.register(reg, width)), width),
            // With a prefix it is another instruction, or none.
            Kind::MoveNonTemporal if self.prefixes.repeat().is_none() && !self.prefixes.operand_size() => {
                let wide = wide.max(Width::Dword);
                (store(Source::Register(self.register(reg, wide))), wide)
            }
            // An F2 makes it CRC32.
            Kind::MoveBigEndian if self.prefixes.repeat().is_none() => {
                let register = self.register(reg, wide);
                let operation = if opcode & 1 == 0 {
                    Operation::Load { register, sign_extend: false, swap: true }
                } else {
                    Operation::Store { source: Source::Register(register), swap: true }
                };
                (operation, wide)
            }
            _ => return None,
        })
    }

    #[inline(always)]
    fn byte(&mut self) -> u8 {
        let byte = self.bytes.byte(self.at);
        self.at = self.at.wrapping_add(1);
        byte
    }

    /// The width of operands that may be 16, 32 or 64 bits wide.
    #[inline(always)]
    fn operand_width(&self) -> Width {
        match (self.code, self.prefixes.operand_size()) {
            // REX is a prefix in 64-bit mode alone.
            _ if self.prefixes.rex_w() => Width::Qword,
            (CodeSize::Bits16, false) | (CodeSize::Bits32 | CodeSize::Bits64, true) => Width::Word,
            _ => Width::Dword,
        }
    }

    /// The register that ModRM.reg names.
    #[inline(always)]
    fn register(&self, reg: u8, width: Width) -> Register {
        // Without REX the numbers 4 to 7 of byte registers mean AH, CH, DH and BH.
        let high = width == Width::Byte && self.prefixes.rex == 0 && reg >= 4;
        let number = if high { reg - 4 } else { reg | self.prefixes.rex_r() };
        Register { index: RegisterIndex::new(number), width, high }
    }

    /// A sign-extended constant of that width; those of 64 bits are written with 32.
    fn immediate(&mut self, width: Width) -> i32 {
        let bytes = u64::from_le_bytes(self.bytes.bytes(self.at));
        self.at = self.at.wrapping_add(width.min(Width::Dword).bytes());
        match width {
            Width::Byte => i32::from(bytes as i8),
            Width::Word => i32::from(bytes as i16),
            Width::Dword | Width::Qword => bytes as i32,
        }
    }
}

#[inline(always)]
fn load(register: Register, sign_extend: bool) -> Operation {
    Operation::Load { register, sign_extend, swap: false }
}

#[inline(always)]
fn store(source: Source) -> Operation {
    Operation::Store { source, swap: false }
}

fn bit_operation(bits: u8) -> BitOperation {
    match bits & 3 {
        0 => BitOperation::Test,
        1 => BitOperation::Set,
        2 => BitOperation::Reset,
        _ => BitOperation::Complement,
    }
}
