//! The decoders, the library's and the own, against another (`iced-x86`) on random instructions.

extern crate std;

use std::{vec, vec::Vec};

use iced_x86::{Code, Decoder as Iced, DecoderOptions, Instruction, Mnemonic, OpKind, Register as IcedRegister};

use super::*;
use crate::{
    exit::Width,
    guest::{
        registers::RegisterIndex,
        segmentation::{AddressSize, CodeSize, SegmentRegister},
    },
    random::Random,
};

const CODES: [CodeSize; 3] = [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64];

/// The register and the part of it that another decoder names.
fn same_register(ours: Register, theirs: IcedRegister) -> bool {
    let high = matches!(theirs, IcedRegister::AH | IcedRegister::CH | IcedRegister::DH | IcedRegister::BH);
    let number = theirs.full_register().number();
    ours.index.number() == number && ours.width.bytes() == theirs.size() && ours.high == high
}

fn segment_of(register: IcedRegister) -> SegmentRegister {
    match register {
        IcedRegister::ES => SegmentRegister::Es,
        IcedRegister::CS => SegmentRegister::Cs,
        IcedRegister::SS => SegmentRegister::Ss,
        IcedRegister::FS => SegmentRegister::Fs,
        IcedRegister::GS => SegmentRegister::Gs,
        _ => SegmentRegister::Ds,
    }
}

/// What ours says of a memory operand, compared with theirs.
fn same_operand(ours: &MemoryOperand, theirs: &Instruction, code: CodeSize) {
    let long = code == CodeSize::Bits64;
    let is = |index: Option<RegisterIndex>, theirs: IcedRegister| match index {
        None => matches!(theirs, IcedRegister::None | IcedRegister::RIP | IcedRegister::EIP),
        Some(index) => theirs.is_gpr() && index.number() == theirs.full_register().number(),
    };
    assert!(is(ours.base, theirs.memory_base()), "base of {theirs}");
    assert!(is(ours.index.map(|(index, _)| index), theirs.memory_index()), "index of {theirs}");
    if let Some((_, shift)) = ours.index {
        assert_eq!(1 << shift, theirs.memory_index_scale(), "{theirs}");
    }
    assert_eq!(ours.rip_relative, theirs.is_ip_rel_memory_operand(), "{theirs}");
    if !ours.rip_relative {
        let mask = ours.address_size.mask();
        assert_eq!(ours.displacement as u64 & mask, theirs.memory_displacement64() & mask, "{theirs}");
    }
    let segment = segment_of(theirs.memory_segment());
    // In 64-bit mode those without a base are all the same.
    let flat = |segment| !matches!(segment, SegmentRegister::Fs | SegmentRegister::Gs);
    assert!(ours.segment == segment || long && flat(ours.segment) && flat(segment), "{theirs}: {ours:?}");
}

/// Whether the instruction is one that ours has to know: by its mnemonic and its form.
fn is_ours(theirs: &Instruction) -> bool {
    use Mnemonic::*;
    let memory = (0..theirs.op_count()).any(|op| theirs.op_kind(op) == OpKind::Memory);
    match theirs.mnemonic() {
        // Not those of segment, control and debug registers.
        Mov => memory && !theirs.op_register(0).is_segment_register() && !theirs.op_register(1).is_segment_register(),
        Movzx | Movsx | Movsxd | Movnti | Movbe | Add | Or | Adc | Sbb | And | Sub | Xor | Cmp | Test | Xchg | Xadd
        | Cmpxchg | Cmpxchg8b | Cmpxchg16b | Inc | Dec | Not | Neg | Bt | Bts | Btr | Btc | Push | Pop | Rol | Ror
        | Rcl | Rcr | Shl | Sal | Shr | Sar | Shld | Shrd | Movaps | Movapd | Movdqa | Movntps | Movntpd | Movntdq
        | Movntdqa | Movups | Movupd | Movdqu | Lddqu | Movss => memory,
        // Not those of MMX registers.
        Movd | Movq => memory && (0..2).any(|op| theirs.op_register(op).is_xmm()),
        Seta | Setae | Setb | Setbe | Sete | Setg | Setge | Setl | Setle | Setne | Setno | Setnp | Setns | Seto
        | Setp | Sets => memory,
        Cmova | Cmovae | Cmovb | Cmovbe | Cmove | Cmovg | Cmovge | Cmovl | Cmovle | Cmovne | Cmovno | Cmovnp
        | Cmovns | Cmovo | Cmovp | Cmovs => memory,
        Movsb | Movsw | Movsq | Stosb | Stosw | Stosd | Stosq | Lodsb | Lodsw | Lodsd | Lodsq | Scasb | Scasw
        | Scasd | Scasq | Cmpsb | Cmpsw | Cmpsq => true,
        // Also SSE instructions.
        Movsd => theirs.is_string_instruction() || memory,
        Cmpsd => theirs.is_string_instruction(),
        _ => false,
    }
}

fn immediate(theirs: &Instruction, op: u32, width: Width) -> u64 {
    theirs.immediate(op) & width.mask()
}

/// Compares the operation and its operands.
fn same_operation(ours: &MmioInstruction, theirs: &Instruction) {
    use Mnemonic::*;
    let mnemonic = theirs.mnemonic();
    let registers: Vec<IcedRegister> = (0..theirs.op_count())
        .filter(|op| theirs.op_kind(*op) == OpKind::Register)
        .map(|op| theirs.op_register(op))
        .collect();
    let memory_first = theirs.op_kind(0) == OpKind::Memory;
    let source = |source: Source| match source {
        Source::Register(register) => same_register(register, registers[0]),
        Source::Immediate(value) => {
            i64::from(value) as u64 & ours.width.mask() == immediate(theirs, theirs.op_count() - 1, ours.width)
        }
    };
    let arithmetic = |op: Arithmetic| match op {
        Arithmetic::Add => mnemonic == Add,
        Arithmetic::Or => mnemonic == Or,
        Arithmetic::AddWithCarry => mnemonic == Adc,
        Arithmetic::SubtractWithBorrow => mnemonic == Sbb,
        Arithmetic::And => mnemonic == And,
        Arithmetic::Subtract => mnemonic == Sub,
        Arithmetic::Xor => mnemonic == Xor,
        Arithmetic::Compare => mnemonic == Cmp,
        Arithmetic::Test => mnemonic == Test,
    };
    let same_count = |count: Count| match count {
        Count::Cl => registers.last() == Some(&IcedRegister::CL),
        Count::Immediate(number) => u64::from(number) == theirs.immediate(theirs.op_count() - 1),
    };
    let suffixed = |names: [Mnemonic; 4]| names.contains(&mnemonic);
    let condition = |condition: Condition| {
        let code = match theirs.condition_code() {
            iced_x86::ConditionCode::None => 16,
            code => code as u8 - 1,
        };
        condition.0 == code
    };
    let same = match ours.operation {
        Operation::Load { register, sign_extend, swap } => {
            !memory_first
                && same_register(register, registers[0])
                && swap == (mnemonic == Movbe)
                && sign_extend == matches!(mnemonic, Movsx | Movsxd)
                && matches!(mnemonic, Mov | Movzx | Movsx | Movsxd | Movbe)
        }
        Operation::Store { source: from, swap } => {
            memory_first && source(from) && swap == (mnemonic == Movbe) && matches!(mnemonic, Mov | Movnti | Movbe)
        }
        Operation::OnMemory(op, from) => arithmetic(op) && (memory_first || mnemonic == Test) && source(from),
        Operation::OnRegister(op, register) => arithmetic(op) && !memory_first && same_register(register, registers[0]),
        Operation::Unary(op) => match op {
            Unary::Increment => mnemonic == Inc,
            Unary::Decrement => mnemonic == Dec,
            Unary::Not => mnemonic == Not,
            Unary::Negate => mnemonic == Neg,
        },
        Operation::Shift(op, count) => {
            let named = match op {
                Shift::RotateLeft => mnemonic == Rol,
                Shift::RotateRight => mnemonic == Ror,
                Shift::RotateCarryLeft => mnemonic == Rcl,
                Shift::RotateCarryRight => mnemonic == Rcr,
                Shift::Left => matches!(mnemonic, Shl | Sal),
                Shift::Right => mnemonic == Shr,
                Shift::ArithmeticRight => mnemonic == Sar,
            };
            named && same_count(count)
        }
        Operation::DoubleShift(op, register, count) => {
            (mnemonic == if op == DoubleShift::Left { Shld } else { Shrd })
                && same_register(register, registers[0])
                && same_count(count)
        }
        Operation::CompareExchangePair => matches!(mnemonic, Cmpxchg8b | Cmpxchg16b),
        Operation::Push => mnemonic == Push,
        Operation::Pop => mnemonic == Pop,
        Operation::LoadVector { number, aligned } | Operation::StoreVector { number, aligned } => {
            let must = matches!(mnemonic, Movaps | Movapd | Movdqa | Movntps | Movntpd | Movntdq | Movntdqa);
            let stores = matches!(ours.operation, Operation::StoreVector { .. });
            registers[0].is_xmm()
                && registers[0].number() == usize::from(number)
                && aligned == must
                && stores == memory_first
        }
        Operation::CompareString => suffixed([Cmpsb, Cmpsw, Cmpsd, Cmpsq]),
        Operation::Exchange(register) => mnemonic == Xchg && same_register(register, registers[0]),
        Operation::ExchangeAdd(register) => mnemonic == Xadd && same_register(register, registers[0]),
        Operation::CompareExchange(register) => mnemonic == Cmpxchg && same_register(register, registers[0]),
        Operation::Bit(op, index) => {
            let named = match op {
                BitOperation::Test => mnemonic == Bt,
                BitOperation::Set => mnemonic == Bts,
                BitOperation::Reset => mnemonic == Btr,
                BitOperation::Complement => mnemonic == Btc,
            };
            named
                && match index {
                    BitIndex::Immediate(value) => u64::from(value) == theirs.immediate(1),
                    BitIndex::Register(register) => same_register(register, registers[0]),
                }
        }
        Operation::Set(of) => condition(of),
        Operation::ConditionalMove(of, register) => condition(of) && same_register(register, registers[0]),
        Operation::MoveString => suffixed([Movsb, Movsw, Movsd, Movsq]),
        Operation::StoreString => suffixed([Stosb, Stosw, Stosd, Stosq]),
        Operation::LoadString => suffixed([Lodsb, Lodsw, Lodsd, Lodsq]),
        Operation::ScanString => suffixed([Scasb, Scasw, Scasd, Scasq]),
    };
    assert!(same, "{theirs}: {ours:?}");
}

fn bitness(code: CodeSize) -> u32 {
    match code {
        CodeSize::Bits16 => 16,
        CodeSize::Bits32 => 32,
        CodeSize::Bits64 => 64,
    }
}

/// Compares all that is known of some bytes; true if ours emulates them.
fn compare(bytes: &[u8], code: CodeSize) -> bool {
    let theirs = Iced::new(bitness(code), bytes, DecoderOptions::NONE).decode();
    let ours = MmioInstruction::decode(bytes, code);
    match ours {
        Ok(ours) => {
            assert_eq!(usize::from(ours.length), theirs.len(), "{theirs} {bytes:02x?}");
            assert!(is_ours(&theirs), "{theirs} {bytes:02x?} is not {ours:?}");
            let size = theirs.memory_size().size();
            assert_eq!(usize::from(ours.size), size, "{theirs} {bytes:02x?}");
            match &ours.address {
                Address::Operand(operand) => same_operand(operand, &theirs, code),
                Address::String(StringAddress { source, address_size, repeat }) => {
                    let theirs_repeats = theirs.has_rep_prefix() || theirs.has_repne_prefix();
                    assert_eq!(repeat.is_some(), theirs_repeats, "{theirs} {bytes:02x?}");
                    if matches!(
                        ours.operation,
                        Operation::MoveString | Operation::LoadString | Operation::CompareString
                    ) {
                        let segment = segment_of(theirs.memory_segment());
                        let flat = |segment| !matches!(segment, SegmentRegister::Fs | SegmentRegister::Gs);
                        let long = code == CodeSize::Bits64;
                        assert!(*source == segment || long && flat(*source) && flat(segment), "{theirs}");
                    }
                    let kinds = match address_size {
                        AddressSize::Bits16 => [OpKind::MemorySegSI, OpKind::MemoryESDI],
                        AddressSize::Bits32 => [OpKind::MemorySegESI, OpKind::MemoryESEDI],
                        AddressSize::Bits64 => [OpKind::MemorySegRSI, OpKind::MemoryESRDI],
                    };
                    assert!((0..2).any(|op| kinds.contains(&theirs.op_kind(op))), "{theirs}: {address_size:?}");
                }
            }
            same_operation(&ours, &theirs);
            // A byte less is too few, and says so.
            let cut = &bytes[..usize::from(ours.length) - 1];
            assert_eq!(MmioInstruction::decode(cut, code), Err(DecodeError::Truncated), "{theirs}");
            true
        }
        Err(error) => {
            // F3 90 and the like are not memory operations; all that are must be known.
            let known = theirs.code() != Code::INVALID && is_ours(&theirs);
            assert!(!known, "{theirs} {bytes:02x?}: {error:?}");
            false
        }
    }
}

const PREFIXES: [u8; 14] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x48, 0x44, 0x4f];

fn random_instruction(random: &mut Random, opcode: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    for _ in 0..[0, 0, 1, 1, 2, 3][random.below(6) as usize] {
        bytes.push(PREFIXES[random.below(PREFIXES.len() as u64) as usize]);
    }
    bytes.extend(opcode);
    while bytes.len() < 15 {
        bytes.push(random.next() as u8);
    }
    bytes
}

#[test]
fn agrees_with_other_decoders_on_every_opcode() {
    let mut random = Random(0x0dec_0de5_1234_5671);
    let mut emulated = 0;
    let one = (0..=255_u8).filter(|byte| *byte != 0x0f).map(|byte| vec![byte]);
    let two = (0..=255_u8).filter(|byte| *byte != 0x38).map(|byte| vec![0x0f, byte]);
    let three = (0..=255_u8).map(|byte| vec![0x0f, 0x38, byte]);
    for opcode in one.chain(two).chain(three) {
        for code in CODES {
            for _ in 0..300 {
                let bytes = random_instruction(&mut random, &opcode);
                emulated += u32::from(compare(&bytes, code));
            }
        }
    }
    assert!(emulated > 20_000, "{emulated}");
}

#[test]
fn rex_w_wins_over_the_operand_size_prefix() {
    // PUSH and POP of [RCX]: of 64 bits all the same.
    for bytes in [[0x66, 0x48, 0xff, 0x31], [0x66, 0x48, 0x8f, 0x01]] {
        assert!(compare(&bytes, CodeSize::Bits64), "{bytes:02x?}");
    }
}

#[test]
fn agrees_with_other_decoders_on_random_bytes() {
    let mut random = Random(0x00c0_ffee_1234_5671);
    for round in 0..150_000 {
        let length = 1 + random.below(15) as usize;
        let bytes: Vec<u8> = (0..15).map(|_| random.next() as u8).collect();
        compare(&bytes, CODES[round % 3]);
        let _ = MmioInstruction::decode(&bytes[..length], CODES[round % 3]);
    }
    assert_eq!(MmioInstruction::decode(&[], CodeSize::Bits64), Err(DecodeError::Truncated));
    assert_eq!(MmioInstruction::decode(&[0x66; 14], CodeSize::Bits64), Err(DecodeError::Truncated));
    assert_eq!(MmioInstruction::decode(&[0x66; 64], CodeSize::Bits64), Err(DecodeError::TooLong));
    // lock mov [rbx], eax; lock add [rbx], eax
    assert_eq!(
        MmioInstruction::decode(&[0xf0, 0x89, 0x03], CodeSize::Bits64).map(|_| ()),
        Err(DecodeError::NotLockable)
    );
    assert!(MmioInstruction::decode(&[0xf0, 0x01, 0x03], CodeSize::Bits64).is_ok());
}

/// No bytes make it panic, and it never reads more than it has.
#[test]
fn garbage_does_no_harm() {
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    for round in 0..2_000_000_u32 {
        let bytes = (u128::from(random.next()) << 64 | u128::from(random.next())).to_le_bytes();
        let code = CODES[round as usize % 3];
        let length = random.below(17) as usize;
        if let Ok(found) = MmioInstruction::decode(&bytes[..length], code) {
            assert!(usize::from(found.length) <= length.min(MAX_LENGTH));
        }
        let expected = ALL[random.below(ALL.len() as u64) as usize].0;
        if let Some(found) = skip_length(&bytes[..length], code, expected) {
            assert!(usize::from(found) <= length.min(MAX_LENGTH));
        }
    }
}

/// Every instruction that an intercept may name, as the other decoder calls it.
const ALL: &[(Expected, &[Mnemonic])] = {
    use Mnemonic::*;
    &[
        (Expected::Clgi, &[Clgi]),
        (Expected::Clts, &[Clts]),
        (Expected::Cpuid, &[Cpuid]),
        (Expected::Hlt, &[Hlt]),
        (Expected::InOut, &[In, Out]),
        (Expected::InsOuts, &[Insb, Insw, Insd, Outsb, Outsw, Outsd]),
        (Expected::Int, &[Int]),
        (Expected::Int1, &[Int1]),
        (Expected::Int3, &[Int3]),
        (Expected::Into, &[Into]),
        (Expected::Invd, &[Invd]),
        (Expected::Invlpg, &[Invlpg]),
        (Expected::Invlpga, &[Invlpga]),
        (Expected::Invpcid, &[Invpcid]),
        (Expected::Iret, &[Iret, Iretd, Iretq]),
        (Expected::Lgdt, &[Lgdt]),
        (Expected::Lidt, &[Lidt]),
        (Expected::Lldt, &[Lldt]),
        (Expected::Lmsw, &[Lmsw]),
        (Expected::Ltr, &[Ltr]),
        (Expected::Monitor, &[Monitor]),
        (Expected::Mwait, &[Mwait]),
        (Expected::Pause, &[Pause]),
        (Expected::Popf, &[Popf, Popfd, Popfq]),
        (Expected::Pushf, &[Pushf, Pushfd, Pushfq]),
        (Expected::Rdmsr, &[Rdmsr]),
        (Expected::Rdpmc, &[Rdpmc]),
        (Expected::Rdpru, &[Rdpru]),
        (Expected::Rdtsc, &[Rdtsc]),
        (Expected::Rdtscp, &[Rdtscp]),
        (Expected::Rsm, &[Rsm]),
        (Expected::Sgdt, &[Sgdt]),
        (Expected::Sidt, &[Sidt]),
        (Expected::Skinit, &[Skinit]),
        (Expected::Sldt, &[Sldt]),
        (Expected::Smsw, &[Smsw]),
        (Expected::Stgi, &[Stgi]),
        (Expected::Str, &[Str]),
        (Expected::Vmcall, &[Vmcall]),
        (Expected::Vmload, &[Vmload]),
        (Expected::Vmmcall, &[Vmmcall]),
        (Expected::Vmrun, &[Vmrun]),
        (Expected::Vmsave, &[Vmsave]),
        (Expected::Wbinvd, &[Wbinvd, Wbnoinvd]),
        (Expected::Wrmsr, &[Wrmsr]),
        (Expected::Xsetbv, &[Xsetbv]),
        (Expected::MovFromCr, &[Mov]),
        (Expected::MovToCr, &[Mov]),
        (Expected::MovFromDr, &[Mov]),
        (Expected::MovToDr, &[Mov]),
    ]
};

fn is_expected(theirs: &Instruction, expected: Expected, mnemonics: &[Mnemonic]) -> bool {
    let (to, from) = (theirs.op_register(0), theirs.op_register(1));
    mnemonics.contains(&theirs.mnemonic())
        && match expected {
            Expected::MovToCr => to.is_cr(),
            Expected::MovFromCr => from.is_cr(),
            Expected::MovToDr => to.is_dr(),
            Expected::MovFromDr => from.is_dr(),
            _ => true,
        }
}

/// The lengths of intercepted instructions, with all their prefixes and operands.
#[test]
fn skips_what_the_intercept_names() {
    let mut random = Random(0x0ddb_a115_1234_5671);
    let mut seen = [0_u32; ALL.len()];
    for byte in 0..=255_u8 {
        for second in 0..=255_u8 {
            for code in CODES {
                let all: [&[u8]; 3] = [&[0x0f, byte, second], &[0x0f, 0x01, second], &[0x0f, second]];
                let one: [&[u8]; 1] = [&[byte, second]];
                let opcodes = if matches!(byte, 0 | 1) { &all[..] } else { &one };
                for opcode in opcodes.iter().flat_map(|opcode| [opcode; 3]) {
                    let bytes = random_instruction(&mut random, opcode);
                    let theirs = Iced::new(bitness(code), &bytes, DecoderOptions::MPX).decode();
                    for (index, (expected, mnemonics)) in ALL.iter().enumerate() {
                        let ours = skip_length(&bytes, code, *expected);
                        if is_expected(&theirs, *expected, mnemonics) {
                            seen[index] += 1;
                            assert_eq!(ours.map(usize::from), Some(theirs.len()), "{theirs} {bytes:02x?}");
                            assert_eq!(skip_length(&bytes[..theirs.len() - 1], code, *expected), None);
                        }
                    }
                }
            }
        }
    }
    for (index, count) in seen.iter().enumerate() {
        // INVPCID is not reached by two random bytes.
        assert!(*count > 0 || ALL[index].0 == Expected::Invpcid, "{:?}", ALL[index].0);
    }
    assert_eq!(skip_length(&[0x66, 0x0f, 0x38, 0x82, 0x45, 0x10], CodeSize::Bits64, Expected::Invpcid), Some(6));
    assert_eq!(skip_length(&[0x0f, 0xa2], CodeSize::Bits64, Expected::Cpuid), Some(2));
    assert_eq!(skip_length(&[0xf3, 0x48, 0x0f, 0xa2], CodeSize::Bits64, Expected::Cpuid), Some(4));
    assert_eq!(skip_length(&[0x48, 0x0f, 0xa2, 0], CodeSize::Bits32, Expected::Cpuid), None);
    assert_eq!(skip_length(&[0x0f, 0xa3, 0, 0], CodeSize::Bits64, Expected::Cpuid), None);
}

/// What may stand before an opcode and choose another instruction or another form of it.
const CHOICES: [&[u8]; 14] = [
    &[],
    &[0x66],
    &[0xf2],
    &[0xf3],
    &[0x66, 0xf2],
    &[0x66, 0xf3],
    &[0xf0],
    &[0x67],
    &[0x67, 0x66],
    &[0x48],
    &[0x4f],
    &[0x66, 0x48],
    &[0xf2, 0x4f],
    &[0xf3, 0x49],
];

/// Every opcode of every map with every ModRM byte, and the prefixes that have opcodes of their own, in the three modes.
/// Everything takes minutes: a test in debug mode, and so one with checks for overflow in the library too, takes every 61st.
///
/// All of it with these checks: `CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true cargo test --release --lib no_bytes`.
#[test]
fn no_bytes_make_the_library_panic() {
    let step = if cfg!(debug_assertions) { 61 } else { 1 };
    let mut random = Random(0x0a11_b17e_5123_4567);
    let mut number = 0_u64;
    let mut decoded = 0_u64;
    let mut give = |random: &mut Random, start: &[u8]| {
        number += 1;
        if !number.is_multiple_of(step) {
            return;
        }
        let mut bytes = [0; MAX_LENGTH];
        let tail = (u128::from(random.next()) << 64 | u128::from(random.next())).to_le_bytes();
        bytes.copy_from_slice(&tail[..MAX_LENGTH]);
        bytes[..start.len()].copy_from_slice(start);
        let length = if number.is_multiple_of(16) { random.below(16) as usize } else { MAX_LENGTH };
        for code in CODES {
            if let Ok(found) = MmioInstruction::decode(&bytes[..length], code) {
                assert!(usize::from(found.length) <= length);
                decoded += 1;
            }
        }
    };
    let maps: [&[u8]; 5] = [&[], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a], &[0x0f, 0x0f]];
    for choice in CHOICES {
        for map in maps {
            for opcode in 0..=255 {
                for modrm in 0..=255 {
                    give(&mut random, &[choice, map, &[opcode, modrm]].concat());
                }
            }
        }
    }
    // VEX of two and three bytes, XOP, EVEX: the payload at random, the opcode and ModRM all.
    for round in 0..64 {
        for opcode in 0..=255 {
            for modrm in 0..=255 {
                let [a, b, c] = [random.next(), random.next(), random.next()].map(|word| word as u8);
                give(&mut random, &[0xc5, a, opcode, modrm]);
                give(&mut random, &[0xc4, a, b, opcode, modrm]);
                // Maps that exist, more often.
                let a = if round % 2 == 0 { a & 0xf0 | a & 3 } else { a };
                give(&mut random, &[0xc4, a, b, opcode, modrm]);
                give(&mut random, &[0x62, a, b | 4, c, opcode, modrm]);
                give(&mut random, &[0x8f, a | 8, b, opcode, modrm]);
            }
        }
    }
    assert!(decoded > number / step / 100, "{decoded} of {number}");
}
