//! What is left of an instruction once it is decoded: what it does with its memory operand.

use super::{MemoryOperand, Repeat};
use crate::{
    exit::Width,
    guest::{
        registers::{GuestRegisters, RegisterIndex},
        segmentation::{AddressSize, SegmentRegister},
    },
    spec::x86::registers::Rflags,
};

/// An instruction with a memory operand that the library can emulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmioInstruction {
    /// What it does.
    pub operation: Operation,
    /// The width of what it computes with.
    pub width: Width,
    /// How many bytes of memory it accesses: those of the width, or 16, or two of the width (CMPXCHG8B, CMPXCHG16B).
    pub size: u8,
    /// Its length in bytes.
    pub length: u8,
    /// What it addresses.
    pub address: Address,
}

/// How an instruction names its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// By a ModRM byte, or by an address in the instruction.
    Operand(MemoryOperand),
    /// By RSI and RDI.
    String(StringAddress),
}

/// What a string instruction addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringAddress {
    /// The segment of RSI. That of RDI is ES.
    pub source: SegmentRegister,
    /// The size of the index and count registers.
    pub address_size: AddressSize,
    /// The REP prefix.
    pub repeat: Option<Repeat>,
}

impl MmioInstruction {
    /// Room for one.
    pub const EMPTY: Self = Self {
        operation: Operation::StoreString,
        width: Width::Byte,
        size: 1,
        length: 0,
        address: Address::String(StringAddress {
            source: SegmentRegister::Ds,
            address_size: AddressSize::Bits64,
            repeat: None,
        }),
    };
}

/// A general-purpose register, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// The register.
    pub index: RegisterIndex,
    /// How much of it.
    pub width: Width,
    /// Bits 15:8: AH, CH, DH or BH.
    pub high: bool,
}

impl Register {
    /// Its value, zero-extended.
    #[inline]
    pub fn read(self, registers: &GuestRegisters) -> u64 {
        let value = registers.get(self.index);
        (if self.high { value >> 8 } else { value }) & self.width.mask()
    }

    /// Sets it, as an instruction with this operand does.
    #[inline]
    pub fn write(self, registers: &mut GuestRegisters, value: u64) {
        if self.high {
            let merged = registers.get(self.index) & !0xff00 | (value & 0xff) << 8;
            registers.set(self.index, merged);
        } else {
            registers.write(self.index, self.width, value);
        }
    }
}

/// An operand that is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A register.
    Register(Register),
    /// A constant, sign-extended.
    Immediate(i32),
}

impl Source {
    /// Its value; only the bits of the operand's width count.
    #[inline]
    pub fn read(self, registers: &GuestRegisters) -> u64 {
        match self {
            Self::Register(register) => register.read(registers),
            Self::Immediate(value) => i64::from(value) as u64,
        }
    }
}

/// What an instruction does with its memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// MOV, MOVZX, MOVSX, MOVSXD, MOVBE to a register.
    Load {
        /// The register. Where it is wider than the memory operand, the value is extended.
        register: Register,
        /// Whether the value is sign-extended, else zero-extended.
        sign_extend: bool,
        /// Whether its bytes are reversed (MOVBE).
        swap: bool,
    },
    /// MOV, MOVNTI, MOVBE to memory.
    Store {
        /// What is stored.
        source: Source,
        /// Whether its bytes are reversed (MOVBE).
        swap: bool,
    },
    /// ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST with the memory operand on the left.
    OnMemory(Arithmetic, Source),
    /// The same with a register on the left.
    OnRegister(Arithmetic, Register),
    /// INC, DEC, NOT, NEG.
    Unary(Unary),
    /// The shifts and rotations of one operand.
    Shift(Shift, Count),
    /// SHLD, SHRD: bits of the register come in.
    DoubleShift(DoubleShift, Register, Count),
    /// XCHG.
    Exchange(Register),
    /// XADD.
    ExchangeAdd(Register),
    /// CMPXCHG.
    CompareExchange(Register),
    /// CMPXCHG8B, CMPXCHG16B.
    CompareExchangePair,
    /// BT, BTS, BTR, BTC.
    Bit(BitOperation, BitIndex),
    /// SETcc.
    Set(Condition),
    /// CMOVcc.
    ConditionalMove(Condition, Register),
    /// PUSH from memory.
    Push,
    /// POP to memory.
    Pop,
    /// An SSE move to the lower part of an XMM register; what is above it in the register becomes zero.
    LoadVector {
        /// The register.
        number: u8,
        /// Whether an address that is no multiple of 16 raises #GP.
        aligned: bool,
    },
    /// An SSE move of the lower part of an XMM register.
    StoreVector {
        /// The register.
        number: u8,
        /// As above.
        aligned: bool,
    },
    /// MOVS.
    MoveString,
    /// STOS.
    StoreString,
    /// LODS.
    LoadString,
    /// SCAS.
    ScanString,
    /// CMPS.
    CompareString,
}

impl Operation {
    /// Whether it may have a LOCK prefix: it reads memory and writes it.
    pub(super) fn is_lockable(self) -> bool {
        match self {
            Self::OnMemory(arithmetic, _) => !arithmetic.only_compares(),
            Self::Bit(operation, _) => operation != BitOperation::Test,
            Self::Unary(_)
            | Self::Exchange(_)
            | Self::ExchangeAdd(_)
            | Self::CompareExchange(_)
            | Self::CompareExchangePair => true,
            _ => false,
        }
    }
}

/// The operations of two operands that set the arithmetic flags, by their number in opcodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Or,
    AddWithCarry,
    SubtractWithBorrow,
    And,
    Subtract,
    Xor,
    Compare,
    Test,
}

impl Arithmetic {
    /// Whether the result is dropped.
    pub const fn only_compares(self) -> bool {
        matches!(self, Self::Compare | Self::Test)
    }
}

/// The operations of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    Increment,
    Decrement,
    Not,
    Negate,
}

/// The shifts and rotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    RotateLeft,
    RotateRight,
    RotateCarryLeft,
    RotateCarryRight,
    Left,
    Right,
    ArithmeticRight,
}

/// SHLD and SHRD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubleShift {
    Left,
    Right,
}

/// By how many bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A constant.
    Immediate(u8),
    /// CL.
    Cl,
}

/// What is done to the bit, after it was copied to CF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitOperation {
    Test,
    Set,
    Reset,
    Complement,
}

/// Which bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitIndex {
    /// Within the operand.
    Immediate(u8),
    /// A signed index from the address of the operand on.
    Register(Register),
}

/// The condition of SETcc and CMOVcc: the low four bits of the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition(pub(super) u8);

impl Condition {
    /// Whether the flags meet it.
    pub fn holds(self, rflags: Rflags) -> bool {
        let (cf, zf, sf) = (rflags.contains(Rflags::CF), rflags.contains(Rflags::ZF), rflags.contains(Rflags::SF));
        let (of, pf) = (rflags.contains(Rflags::OF), rflags.contains(Rflags::PF));
        let positive = match self.0 >> 1 & 7 {
            0 => of,
            1 => cf,
            2 => zf,
            3 => cf || zf,
            4 => sf,
            5 => pf,
            6 => sf != of,
            _ => zf || sf != of,
        };
        positive != (self.0 & 1 != 0)
    }
}
