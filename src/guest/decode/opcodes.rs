//! The opcodes with a memory operand that the library emulates.
//!
//! SDM volume 2D, "Opcode Map"; APM volume 3, "Opcode and Operand Encodings".

use super::{
    Address, Arithmetic, BitIndex, BitOperation, Condition, DecodeError, MAX_LENGTH, MemoryOperand, MmioInstruction,
    Operation, Register, Repeat, Source, Unary,
    modrm::{ModRm, RegisterOrMemory},
    prefixes::Prefixes,
};
use crate::{
    exit::Width,
    guest::{
        registers::RegisterIndex,
        segmentation::{AddressSize, CodeSize, SegmentRegister},
    },
};

type Result<T> = core::result::Result<T, DecodeError>;

/// The bytes that are left, and what the prefixes have said.
struct Decoder<'a> {
    rest: &'a [u8],
    prefixes: Prefixes,
    code: CodeSize,
}

/// An operation, the width of its memory operand, and where that is.
type Decoded = (Operation, Width, Address);

impl MmioInstruction {
    /// Decodes the instruction at the start of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when bytes are missing, [`DecodeError::Unsupported`] when it is none of those that the
    /// library emulates, has no memory operand, or is no instruction.
    #[inline]
    pub fn decode(bytes: &[u8], code: CodeSize) -> Result<Self> {
        let bytes = bytes.get(..MAX_LENGTH).unwrap_or(bytes);
        let prefixes = Prefixes::scan(bytes, code);
        let mut decoder = Decoder { rest: bytes.get(prefixes.length..).unwrap_or(&[]), prefixes, code };
        let (operation, width, address) = match decoder.byte()? {
            0x0f => match decoder.byte()? {
                0x38 => decoder.three_bytes()?,
                opcode => decoder.two_bytes(opcode)?,
            },
            opcode => decoder.one_byte(opcode)?,
        };
        if prefixes.lock && !operation.is_lockable() {
            return Err(DecodeError::Unsupported);
        }
        let length = bytes.len().saturating_sub(decoder.rest.len()) as u8;
        Ok(Self { operation, width, address, length })
    }
}

impl Decoder<'_> {
    #[inline]
    fn one_byte(&mut self, opcode: u8) -> Result<Decoded> {
        let width = self.width(opcode);
        match opcode {
            0x88 | 0x89 => {
                let (register, operand) = self.register_and_memory(width)?;
                Ok(store(Source::Register(register), width, operand))
            }
            0x8a | 0x8b => {
                let (register, operand) = self.register_and_memory(width)?;
                Ok(load(register, false, width, operand))
            }
            // ADD, OR, ADC, SBB, AND, SUB, XOR, CMP in four forms each; the others of these rows have no memory operand.
            0x00..=0x3f if opcode & 4 == 0 => {
                let (register, operand) = self.register_and_memory(width)?;
                let arithmetic = Arithmetic::from_bits(opcode >> 3);
                let operation = if opcode & 2 == 0 {
                    Operation::OnMemory(arithmetic, Source::Register(register))
                } else {
                    Operation::OnRegister(arithmetic, register)
                };
                Ok((operation, width, Address::Operand(operand)))
            }
            // MOVSXD: extends 32 bits to 64, and is a MOV for the smaller sizes.
            0x63 if self.code == CodeSize::Bits64 => {
                let to = self.operand_width();
                let (register, operand) = self.register_and_memory(to)?;
                Ok(load(register, true, to.min(Width::Dword), operand))
            }
            0x80..=0x83 => {
                if opcode == 0x82 && self.code == CodeSize::Bits64 {
                    return Err(DecodeError::Unsupported);
                }
                let (reg, operand) = self.group()?;
                let value = self.immediate(if opcode == 0x81 { width } else { Width::Byte })?;
                let operation = Operation::OnMemory(Arithmetic::from_bits(reg), Source::Immediate(value));
                Ok((operation, width, Address::Operand(operand)))
            }
            0x84 | 0x85 => {
                let (register, operand) = self.register_and_memory(width)?;
                let operation = Operation::OnMemory(Arithmetic::Test, Source::Register(register));
                Ok((operation, width, Address::Operand(operand)))
            }
            0x86 | 0x87 => {
                let (register, operand) = self.register_and_memory(width)?;
                Ok((Operation::Exchange(register), width, Address::Operand(operand)))
            }
            0xa0..=0xa3 => {
                let operand = self.direct_address()?;
                let register = Register { index: RegisterIndex::RAX, width, high: false };
                if opcode & 2 == 0 {
                    Ok(load(register, false, width, operand))
                } else {
                    Ok(store(Source::Register(register), width, operand))
                }
            }
            0xa4 | 0xa5 => Ok((Operation::MoveString, width, self.string())),
            0xaa | 0xab => Ok((Operation::StoreString, width, self.string())),
            0xac | 0xad => Ok((Operation::LoadString, width, self.string())),
            0xae | 0xaf => Ok((Operation::ScanString, width, self.string())),
            0xc6 | 0xc7 => {
                let (0, operand) = self.group()? else { return Err(DecodeError::Unsupported) };
                let value = self.immediate(width)?;
                Ok(store(Source::Immediate(value), width, operand))
            }
            0xf6 | 0xf7 => {
                let (reg, operand) = self.group()?;
                let operation = match reg {
                    0 | 1 => Operation::OnMemory(Arithmetic::Test, Source::Immediate(self.immediate(width)?)),
                    2 => Operation::Unary(Unary::Not),
                    3 => Operation::Unary(Unary::Negate),
                    _ => return Err(DecodeError::Unsupported),
                };
                Ok((operation, width, Address::Operand(operand)))
            }
            0xfe | 0xff => {
                let (reg, operand) = self.group()?;
                let operation = match reg {
                    0 => Operation::Unary(Unary::Increment),
                    1 => Operation::Unary(Unary::Decrement),
                    _ => return Err(DecodeError::Unsupported),
                };
                Ok((operation, width, Address::Operand(operand)))
            }
            _ => Err(DecodeError::Unsupported),
        }
    }

    /// Opcodes behind 0F.
    fn two_bytes(&mut self, opcode: u8) -> Result<Decoded> {
        let width = self.width(opcode);
        match opcode {
            0x40..=0x4f => {
                let width = self.operand_width();
                let (register, operand) = self.register_and_memory(width)?;
                let operation = Operation::ConditionalMove(Condition(opcode & 0xf), register);
                Ok((operation, width, Address::Operand(operand)))
            }
            0x90..=0x9f => {
                let (_, operand) = self.group()?;
                Ok((Operation::Set(Condition(opcode & 0xf)), Width::Byte, Address::Operand(operand)))
            }
            0xa3 | 0xab | 0xb3 | 0xbb => {
                let width = self.operand_width();
                let (register, operand) = self.register_and_memory(width)?;
                let operation = Operation::Bit(bit_operation(opcode >> 3), BitIndex::Register(register));
                Ok((operation, width, Address::Operand(operand)))
            }
            0xba => {
                let width = self.operand_width();
                let (reg @ 4..=7, operand) = self.group()? else { return Err(DecodeError::Unsupported) };
                let index = BitIndex::Immediate(self.byte()?);
                Ok((Operation::Bit(bit_operation(reg), index), width, Address::Operand(operand)))
            }
            0xb0 | 0xb1 => {
                let (register, operand) = self.register_and_memory(width)?;
                Ok((Operation::CompareExchange(register), width, Address::Operand(operand)))
            }
            0xb6 | 0xb7 | 0xbe | 0xbf => {
                let from = if opcode & 1 == 0 { Width::Byte } else { Width::Word };
                let (register, operand) = self.register_and_memory(self.operand_width())?;
                Ok(load(register, opcode & 8 != 0, from, operand))
            }
            0xc0 | 0xc1 => {
                let (register, operand) = self.register_and_memory(width)?;
                Ok((Operation::ExchangeAdd(register), width, Address::Operand(operand)))
            }
            // MOVNTI; with a prefix it is none.
            0xc3 if self.prefixes.repeat.is_none() && !self.prefixes.operand_size => {
                let width = if self.prefixes.rex_w() { Width::Qword } else { Width::Dword };
                let (register, operand) = self.register_and_memory(width)?;
                Ok(store(Source::Register(register), width, operand))
            }
            _ => Err(DecodeError::Unsupported),
        }
    }

    /// Opcodes behind 0F 38: MOVBE, which becomes CRC32 by an F2.
    fn three_bytes(&mut self) -> Result<Decoded> {
        let opcode = self.byte()?;
        if !matches!(opcode, 0xf0 | 0xf1) || self.prefixes.repeat.is_some() {
            return Err(DecodeError::Unsupported);
        }
        let width = self.operand_width();
        let (register, operand) = self.register_and_memory(width)?;
        let operation = if opcode & 1 == 0 {
            Operation::Load { register, sign_extend: false, swap: true }
        } else {
            Operation::Store { source: Source::Register(register), swap: true }
        };
        Ok((operation, width, Address::Operand(operand)))
    }

    #[inline]
    fn byte(&mut self) -> Result<u8> {
        let (byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// The width of operands that may be 16, 32 or 64 bits wide.
    #[inline]
    fn operand_width(&self) -> Width {
        match (self.code, self.prefixes.operand_size) {
            (CodeSize::Bits64, _) if self.prefixes.rex_w() => Width::Qword,
            (CodeSize::Bits16, false) | (CodeSize::Bits32 | CodeSize::Bits64, true) => Width::Word,
            _ => Width::Dword,
        }
    }

    /// In most rows of the map, even opcodes are about bytes.
    #[inline]
    fn width(&self, opcode: u8) -> Width {
        if opcode & 1 == 0 { Width::Byte } else { self.operand_width() }
    }

    /// A ModRM byte whose `rm` is in memory.
    #[inline]
    fn group(&mut self) -> Result<(u8, MemoryOperand)> {
        // A register operand needs no more bytes, so it is told from a memory operand that is cut off.
        let modrm = ModRm::parse(self.rest, self.prefixes, self.code).ok_or(DecodeError::Truncated)?;
        self.rest = self.rest.get(modrm.length..).unwrap_or(&[]);
        match modrm.rm {
            RegisterOrMemory::Memory(operand) => Ok((modrm.reg, operand)),
            RegisterOrMemory::Register(_) => Err(DecodeError::Unsupported),
        }
    }

    /// A ModRM byte with a register of that width and a memory operand.
    #[inline]
    fn register_and_memory(&mut self, width: Width) -> Result<(Register, MemoryOperand)> {
        let (reg, operand) = self.group()?;
        // Without REX the numbers 4 to 7 of byte registers mean AH, CH, DH and BH.
        let high = width == Width::Byte && self.prefixes.rex == 0 && reg >= 4;
        let number = if high { reg - 4 } else { reg | self.prefixes.rex_r() };
        Ok((Register { index: RegisterIndex::new(number), width, high }, operand))
    }

    /// A sign-extended constant of that width; those of 64 bits are written with 32.
    #[inline]
    fn immediate(&mut self, width: Width) -> Result<i64> {
        let value = match width {
            Width::Byte => i64::from(self.bytes::<1>()?[0] as i8),
            Width::Word => i64::from(i16::from_le_bytes(self.bytes()?)),
            Width::Dword | Width::Qword => i64::from(i32::from_le_bytes(self.bytes()?)),
        };
        Ok(value)
    }

    #[inline]
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// The address of MOV with an absolute one: as wide as the address size says.
    fn direct_address(&mut self) -> Result<MemoryOperand> {
        let address_size = self.prefixes.address_size(self.code);
        let displacement = match address_size {
            AddressSize::Bits16 => u16::from_le_bytes(self.bytes()?).into(),
            AddressSize::Bits32 => u32::from_le_bytes(self.bytes()?).into(),
            AddressSize::Bits64 => i64::from_le_bytes(self.bytes()?),
        };
        let segment = self.data_segment();
        Ok(MemoryOperand { base: None, index: None, displacement, rip_relative: false, segment, address_size })
    }

    fn data_segment(&self) -> SegmentRegister {
        self.prefixes.segment.unwrap_or(SegmentRegister::Ds)
    }

    fn string(&self) -> Address {
        let address_size = self.prefixes.address_size(self.code);
        let repeat: Option<Repeat> = self.prefixes.repeat;
        Address::String { source: self.data_segment(), address_size, repeat }
    }
}

#[inline]
fn load(register: Register, sign_extend: bool, width: Width, operand: MemoryOperand) -> Decoded {
    (Operation::Load { register, sign_extend, swap: false }, width, Address::Operand(operand))
}

#[inline]
fn store(source: Source, width: Width, operand: MemoryOperand) -> Decoded {
    (Operation::Store { source, swap: false }, width, Address::Operand(operand))
}

fn bit_operation(bits: u8) -> BitOperation {
    match bits & 3 {
        0 => BitOperation::Test,
        1 => BitOperation::Set,
        2 => BitOperation::Reset,
        _ => BitOperation::Complement,
    }
}
