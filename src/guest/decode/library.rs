//! Instructions in general: what the library `yaxpeax-x86` decodes, in our words.
//!
//! The library has a decoder for each kind of code, with types of its own; `in_mode!` makes the same translation of each. The
//! prefixes are read by ourselves ([`Prefixes`]), because an instruction of the library does not say whether a segment prefix
//! named DS or there was none.
//!
//! Guest bytes reach the library here and nowhere else, at most [`MAX_LENGTH`] of them.

use super::{
    Address, Arithmetic, BitIndex, BitOperation, Condition, Count, DecodeError, DoubleShift, MAX_LENGTH, MemoryOperand,
    MmioInstruction, Operation, Register, Shift, Source, StringAddress, Unary, prefixes::Prefixes,
};
use crate::{
    exit::Width,
    guest::{
        registers::RegisterIndex,
        segmentation::{CodeSize, SegmentRegister},
    },
};

/// What an instruction is called, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Move,
    MoveZeroExtended,
    MoveSignExtended,
    MoveDoubleword,
    MoveSwapped,
    Arithmetic(Arithmetic),
    Unary(Unary),
    Shift(Shift),
    DoubleShift(DoubleShift),
    Exchange,
    ExchangeAdd,
    CompareExchange,
    CompareExchangePair,
    Bit(BitOperation),
    Set(Condition),
    ConditionalMove(Condition),
    Push,
    Pop,
    String(Operation),
    /// An SSE move; with the flag the address has to be aligned.
    Vector(bool),

    Other,
}

/// One operand.
#[derive(Clone, Copy)]
enum Operand {
    General(Register),
    Vector(u8),
    Immediate(i32),
    Memory(Place),
    Other,
}

/// The parts of an address.
#[derive(Clone, Copy, Default)]
struct Place {
    base: Option<RegisterIndex>,
    index: Option<(RegisterIndex, u8)>,
    displacement: i64,
    rip_relative: bool,
}

/// An instruction in words that the three decoders share.
struct Decoded {
    verb: Verb,
    operands: [Operand; 3],
    /// How many bytes of memory it accesses.
    size: u8,
    length: u8,
}

/// Translates the types of one of the library's decoders. What is in braces is what not all of them have.
macro_rules! in_mode {
    ($mode:ident, $displaced:ident, { $($general:ident: $width:ident),* }, { $($more:pat => $meaning:expr),* },
     { $($relative:ident),* }, { $($pair:ident),* }) => {
        mod $mode {
            use yaxpeax_arch::LengthedInstruction;
            use yaxpeax_x86::$mode::{
                ConditionCode, DecodeError as Refusal, InstDecoder, Opcode, Operand as Theirs, RegSpec, register_class,
            };

            use super::*;

            pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
                let found = InstDecoder::default().decode_slice(bytes).map_err(|refusal| match refusal {
                    Refusal::ExhaustedInput => DecodeError::Truncated,
                    Refusal::TooLong => DecodeError::TooLong,
                    // Of LOCK with an instruction that may not have it, and of prefixes that do not go with VEX.
                    Refusal::InvalidPrefixes => DecodeError::NotLockable,
                    _ => DecodeError::Unsupported,
                })?;
                let operand = |number: u8| match number < found.operand_count() {
                    true => operand(found.operand(number)),
                    false => Operand::Other,
                };
                Ok(Decoded {
                    verb: verb(found.opcode()),
                    operands: [operand(0), operand(1), operand(2)],
                    size: found.mem_size().and_then(|size| size.bytes_size()).unwrap_or(0),
                    length: found.len().to_const() as u8,
                })
            }

            fn verb(opcode: Opcode) -> Verb {
                match opcode {
                    Opcode::MOV | Opcode::MOVNTI => Verb::Move,
                    Opcode::MOVZX => Verb::MoveZeroExtended,
                    Opcode::MOVSX => Verb::MoveSignExtended,
                    Opcode::MOVSXD => Verb::MoveDoubleword,
                    Opcode::MOVBE => Verb::MoveSwapped,
                    Opcode::ADD => Verb::Arithmetic(Arithmetic::Add),
                    Opcode::OR => Verb::Arithmetic(Arithmetic::Or),
                    Opcode::ADC => Verb::Arithmetic(Arithmetic::AddWithCarry),
                    Opcode::SBB => Verb::Arithmetic(Arithmetic::SubtractWithBorrow),
                    Opcode::AND => Verb::Arithmetic(Arithmetic::And),
                    Opcode::SUB => Verb::Arithmetic(Arithmetic::Subtract),
                    Opcode::XOR => Verb::Arithmetic(Arithmetic::Xor),
                    Opcode::CMP => Verb::Arithmetic(Arithmetic::Compare),
                    Opcode::TEST => Verb::Arithmetic(Arithmetic::Test),
                    Opcode::INC => Verb::Unary(Unary::Increment),
                    Opcode::DEC => Verb::Unary(Unary::Decrement),
                    Opcode::NOT => Verb::Unary(Unary::Not),
                    Opcode::NEG => Verb::Unary(Unary::Negate),
                    Opcode::ROL => Verb::Shift(Shift::RotateLeft),
                    Opcode::ROR => Verb::Shift(Shift::RotateRight),
                    Opcode::RCL => Verb::Shift(Shift::RotateCarryLeft),
                    Opcode::RCR => Verb::Shift(Shift::RotateCarryRight),
                    Opcode::SHL | Opcode::SAL => Verb::Shift(Shift::Left),
                    Opcode::SHR => Verb::Shift(Shift::Right),
                    Opcode::SAR => Verb::Shift(Shift::ArithmeticRight),
                    Opcode::SHLD => Verb::DoubleShift(DoubleShift::Left),
                    Opcode::SHRD => Verb::DoubleShift(DoubleShift::Right),
                    Opcode::XCHG => Verb::Exchange,
                    Opcode::XADD => Verb::ExchangeAdd,
                    Opcode::CMPXCHG => Verb::CompareExchange,
                    Opcode::CMPXCHG8B $(| Opcode::$pair)* => Verb::CompareExchangePair,
                    Opcode::BT => Verb::Bit(BitOperation::Test),
                    Opcode::BTS => Verb::Bit(BitOperation::Set),
                    Opcode::BTR => Verb::Bit(BitOperation::Reset),
                    Opcode::BTC => Verb::Bit(BitOperation::Complement),
                    Opcode::PUSH => Verb::Push,
                    Opcode::POP => Verb::Pop,
                    Opcode::MOVS => Verb::String(Operation::MoveString),
                    Opcode::STOS => Verb::String(Operation::StoreString),
                    Opcode::LODS => Verb::String(Operation::LoadString),
                    Opcode::SCAS => Verb::String(Operation::ScanString),
                    Opcode::CMPS => Verb::String(Operation::CompareString),
                    Opcode::MOVAPS | Opcode::MOVAPD | Opcode::MOVDQA | Opcode::MOVNTPS | Opcode::MOVNTPD
                    | Opcode::MOVNTDQ | Opcode::MOVNTDQA => Verb::Vector(true),
                    Opcode::MOVUPS | Opcode::MOVUPD | Opcode::MOVDQU | Opcode::LDDQU | Opcode::MOVD | Opcode::MOVQ | Opcode::MOVSS
                    | Opcode::MOVSD => Verb::Vector(false),
                    other => match other.condition().map(condition) {
                        Some(condition) if other.is_cmovcc() => Verb::ConditionalMove(condition),
                        Some(condition) if other.is_setcc() => Verb::Set(condition),
                        _ => Verb::Other,
                    },
                }
            }

            fn condition(code: ConditionCode) -> Condition {
                Condition(match code {
                    ConditionCode::O => 0,
                    ConditionCode::NO => 1,
                    ConditionCode::B => 2,
                    ConditionCode::AE => 3,
                    ConditionCode::Z => 4,
                    ConditionCode::NZ => 5,
                    ConditionCode::BE => 6,
                    ConditionCode::A => 7,
                    ConditionCode::S => 8,
                    ConditionCode::NS => 9,
                    ConditionCode::P => 10,
                    ConditionCode::NP => 11,
                    ConditionCode::L => 12,
                    ConditionCode::GE => 13,
                    ConditionCode::LE => 14,
                    ConditionCode::G => 15,
                })
            }

            fn operand(theirs: Theirs) -> Operand {
                let place = |base: RegSpec, index: Option<(RegSpec, u8)>, displacement: i32| {
                    let relative = false $(|| base.class() == register_class::$relative)*;
                    Operand::Memory(Place {
                        base: (!relative).then(|| RegisterIndex::new(base.num())),
                        index: index.map(scaled),
                        displacement: displacement.into(),
                        rip_relative: relative,
                    })
                };
                let baseless = |index: RegSpec, scale: u8, displacement: i32| {
                    let index = Some(scaled((index, scale)));
                    Operand::Memory(Place { index, displacement: displacement.into(), ..Place::default() })
                };
                match theirs {
                    Theirs::ImmediateI8 { imm } => Operand::Immediate(imm.into()),
                    Theirs::ImmediateU8 { imm } => Operand::Immediate(imm.into()),
                    Theirs::ImmediateI16 { imm } => Operand::Immediate(imm.into()),
                    Theirs::ImmediateU16 { imm } => Operand::Immediate(imm.into()),
                    Theirs::ImmediateI32 { imm } => Operand::Immediate(imm),
                    Theirs::ImmediateU32 { imm } => Operand::Immediate(imm as i32),
                    Theirs::Register { reg } => register(reg),
                    Theirs::MemDeref { base } => place(base, None, 0),
                    Theirs::$displaced { base, disp } => place(base, None, disp),
                    Theirs::MemIndexScale { index, scale } => baseless(index, scale, 0),
                    Theirs::MemIndexScaleDisp { index, scale, disp } => baseless(index, scale, disp),
                    Theirs::MemBaseIndexScale { base, index, scale } => place(base, Some((index, scale)), 0),
                    Theirs::MemBaseIndexScaleDisp { base, index, scale, disp } => {
                        place(base, Some((index, scale)), disp)
                    }
                    $($more => $meaning,)*
                    _ => Operand::Other,
                }
            }

            fn scaled((index, scale): (RegSpec, u8)) -> (RegisterIndex, u8) {
                (RegisterIndex::new(index.num()), scale.trailing_zeros() as u8)
            }

            fn register(register: RegSpec) -> Operand {
                let (class, number) = (register.class(), register.num());
                let general = |width, number, high| Operand::General(Register { index: RegisterIndex::new(number), width, high });
                match class {
                    // Without REX the numbers 4 to 7 of byte registers mean AH, CH, DH and BH.
                    register_class::B => general(Width::Byte, number & 3, number >= 4),
                    register_class::W => general(Width::Word, number, false),
                    register_class::D => general(Width::Dword, number, false),
                    $(register_class::$general => general(Width::$width, number, false),)*
                    register_class::X => Operand::Vector(number),
                    _ => Operand::Other,
                }
            }
        }
    };
}

fn absolute(displacement: i64) -> Operand {
    Operand::Memory(Place { displacement, ..Place::default() })
}

in_mode!(long_mode, Disp, { RB: Byte, Q: Qword },
    { Theirs::ImmediateI64 { imm } => Operand::Immediate(imm as i32),
      Theirs::AbsoluteU32 { addr } => absolute((addr as i32).into()),
      Theirs::AbsoluteU64 { addr } => absolute(addr as i64) },
    { RIP, EIP }, { CMPXCHG16B });
in_mode!(protected_mode, Disp, {},
    { Theirs::AbsoluteU16 { addr } => absolute(addr.into()),
      Theirs::AbsoluteU32 { addr } => absolute(addr.into()) }, {}, {});
in_mode!(real_mode, MemDisp, {},
    { Theirs::AbsoluteU16 { addr } => absolute(addr.into()),
      Theirs::AbsoluteU32 { addr } => absolute(addr.into()) }, {}, {});

impl MmioInstruction {
    /// Decodes the instruction at the start of `bytes`.
    ///
    /// # Errors
    /// See [`DecodeError`].
    #[inline(never)]
    pub fn decode(bytes: &[u8], code: CodeSize) -> Result<Self, DecodeError> {
        let bytes = bytes.get(..MAX_LENGTH).unwrap_or(bytes);
        let prefixes = Prefixes::scan(bytes, code);
        let (mut cleaned, dropped) = without_void_rex(bytes, prefixes, code);
        // The library does not know the second encoding of 80, which 64-bit mode has not.
        if code != CodeSize::Bits64
            && let Some(opcode @ 0x82) = cleaned.get_mut(usize::from(prefixes.length))
        {
            *opcode = 0x80;
        }
        let given = cleaned.get(..bytes.len().saturating_sub(dropped.into())).unwrap_or(&cleaned);
        let decoded = match code {
            CodeSize::Bits16 => real_mode::decode(given),
            CodeSize::Bits32 => protected_mode::decode(given),
            CodeSize::Bits64 => long_mode::decode(given),
        };
        let mut decoded = match decoded {
            // There is no more of it: it has too many prefixes.
            Err(DecodeError::Truncated) if bytes.len() == MAX_LENGTH => return Err(DecodeError::TooLong),
            Err(DecodeError::NotLockable) if !prefixes.lock() => return Err(DecodeError::Unsupported),
            decoded => decoded?,
        };
        decoded.length = decoded.length.wrapping_add(dropped);
        let opcode =
            bytes.get(prefixes.length.into()..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        decoded.mend(opcode, prefixes, code);
        let (operation, address, width) = decoded.meaning(prefixes, code).ok_or(DecodeError::Unsupported)?;
        if prefixes.lock() && !operation.is_lockable() {
            return Err(DecodeError::NotLockable);
        }
        Ok(Self { operation, width, size: decoded.size, length: decoded.length, address })
    }
}

/// The bytes without the REX prefixes that do not count since another prefix follows, and how many those are. The library
/// refuses two of them in a row, or mixes them.
fn without_void_rex(bytes: &[u8], prefixes: Prefixes, code: CodeSize) -> ([u8; MAX_LENGTH], u8) {
    let mut cleaned = [0; MAX_LENGTH];
    let mut dropped = 0;
    let mut free = cleaned.iter_mut();
    for (index, byte) in bytes.iter().enumerate() {
        let is_void = code == CodeSize::Bits64 && byte & 0xf0 == 0x40 && index + 1 < usize::from(prefixes.length);
        if is_void {
            dropped = u8::wrapping_add(dropped, 1);
        } else if let Some(place) = free.next() {
            *place = *byte;
        }
    }
    (cleaned, dropped)
}

impl Decoded {
    /// Corrects the widths in which the library (2.2) is wrong.
    fn mend(&mut self, opcode: [u8; 2], prefixes: Prefixes, code: CodeSize) {
        let operand = prefixes.operand_width(code);
        match (self.verb, &mut self.operands) {
            // It says 64 bits for BT and the like with a constant, whatever REX.W is.
            (Verb::Bit(_), [_, Operand::Immediate(_), _]) => self.size = operand as u8,
            // It takes MOVD in 64-bit mode for the MOVQ that it is with REX.W. With F3 the second opcode is another MOVQ.
            (Verb::Vector(_), _) if matches!(opcode, [0x0f, 0x6e | 0x7e]) && prefixes.repeat().is_none() => {
                self.size = operand.max(Width::Dword) as u8;
            }
            // It lets 66 win over REX.W in PUSH and POP.
            (Verb::Push | Verb::Pop, _) if operand == Width::Qword => self.size = operand as u8,
            // MOVSXD: it says that the register has 64 bits. Without REX.W it is a MOV.
            (Verb::MoveDoubleword, [Operand::General(register), ..]) => {
                register.width = operand;
                self.size = operand.min(Width::Dword) as u8;
                self.verb = Verb::MoveSignExtended;
            }
            _ => {}
        }
    }

    /// What it does, where, and the width of its operation. `None` if it is not emulated.
    fn meaning(&self, prefixes: Prefixes, code: CodeSize) -> Option<(Operation, Address, Width)> {
        let address_size = prefixes.address_size(code);
        let width = Width::from_bytes(self.size.into());
        if let Verb::String(operation) = self.verb {
            let source = prefixes.segment().unwrap_or(SegmentRegister::Ds);
            let address = StringAddress { source, address_size, repeat: prefixes.repeat() };
            return Some((operation, Address::String(address), width?));
        }
        let [first, second, third] = self.operands;
        let (place, other, memory_first) = match (first, second) {
            (Operand::Memory(place), other) => (place, other, true),
            (other, Operand::Memory(place)) => (place, other, false),
            _ => return None,
        };
        let segment = match place.base {
            // Addresses built on the stack or frame pointer are in the stack segment.
            Some(RegisterIndex::RSP | RegisterIndex::RBP) => SegmentRegister::Ss,
            _ => SegmentRegister::Ds,
        };
        let address = Address::Operand(MemoryOperand {
            base: place.base,
            index: place.index,
            displacement: place.displacement,
            rip_relative: place.rip_relative,
            segment: prefixes.segment().unwrap_or(segment),
            address_size,
        });
        let (operation, width) = match self.verb {
            Verb::Vector(aligned) => {
                let Operand::Vector(number) = other else { return None };
                let aligned = aligned && self.size == 16;
                let operation = if memory_first {
                    Operation::StoreVector { number, aligned }
                } else {
                    Operation::LoadVector { number, aligned }
                };
                (operation, width.unwrap_or(Width::Qword))
            }
            Verb::CompareExchangePair => (Operation::CompareExchangePair, Width::from_bytes(u64::from(self.size) / 2)?),
            verb => (operation(verb, other, third, memory_first)?, width?),
        };
        Some((operation, address, width))
    }
}

/// What an instruction does whose memory operand has at most 64 bits.
fn operation(verb: Verb, other: Operand, third: Operand, memory_first: bool) -> Option<Operation> {
    let register = || match other {
        Operand::General(register) => Some(register),
        _ => None,
    };
    let source = || match other {
        Operand::General(register) => Some(Source::Register(register)),
        Operand::Immediate(value) => Some(Source::Immediate(value)),
        _ => None,
    };
    let load = |sign_extend, swap| Some(Operation::Load { register: register()?, sign_extend, swap });
    Some(match verb {
        Verb::Move if memory_first => Operation::Store { source: source()?, swap: false },
        Verb::Move | Verb::MoveZeroExtended => load(false, false)?,
        Verb::MoveSignExtended => load(true, false)?,
        Verb::MoveSwapped if memory_first => Operation::Store { source: source()?, swap: true },
        Verb::MoveSwapped => load(false, true)?,
        Verb::Arithmetic(op) if memory_first || op == Arithmetic::Test => Operation::OnMemory(op, source()?),
        Verb::Arithmetic(op) => Operation::OnRegister(op, register()?),
        Verb::Unary(op) => Operation::Unary(op),
        Verb::Shift(op) => Operation::Shift(op, count(other)?),
        Verb::DoubleShift(op) => Operation::DoubleShift(op, register()?, count(third)?),
        Verb::Exchange => Operation::Exchange(register()?),
        Verb::ExchangeAdd => Operation::ExchangeAdd(register()?),
        Verb::CompareExchange => Operation::CompareExchange(register()?),
        Verb::Bit(op) => Operation::Bit(
            op,
            match other {
                Operand::General(register) => BitIndex::Register(register),
                Operand::Immediate(number) => BitIndex::Immediate(number as u8),
                _ => return None,
            },
        ),
        Verb::Set(condition) => Operation::Set(condition),
        Verb::ConditionalMove(condition) => Operation::ConditionalMove(condition, register()?),
        Verb::Push => Operation::Push,
        Verb::Pop => Operation::Pop,
        Verb::MoveDoubleword | Verb::CompareExchangePair | Verb::String(_) | Verb::Vector(_) | Verb::Other => {
            return None;
        }
    })
}

fn count(operand: Operand) -> Option<Count> {
    match operand {
        Operand::Immediate(number) => Some(Count::Immediate(number as u8)),
        Operand::General(Register { index: RegisterIndex::RCX, width: Width::Byte, high: false }) => Some(Count::Cl),
        _ => None,
    }
}
