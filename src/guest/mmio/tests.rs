extern crate std;

use std::{vec, vec::Vec};

use super::*;
use crate::{
    guest::{
        decode::DecodeError,
        memory::test_guest::{KINDS, Random, TestGuest},
        registers::SystemRegisters,
        segmentation::CodeSize,
    },
    nested::mock::MockFrames,
    spec::x86::registers::{Cr0, Cr4, Efer, ExceptionVector},
};

/// All segments at the same base.
#[derive(Clone, Copy)]
struct Flat(u64);

impl Segments for Flat {
    fn base(&self, _register: SegmentRegister) -> u64 {
        self.0
    }
    fn segment(&self, _register: SegmentRegister) -> Segment {
        let rights = crate::spec::intel::structures::SegmentAccessRights::from_bits(0xc093);
        Segment { base: self.0, limit: u32::MAX, rights, ..SystemRegisters::default().ds }
    }
}

const PRIVILEGE: Privilege = Privilege { user: false, alignment_check: false };

fn long() -> Paging {
    Paging {
        cr0: Cr0::PE | Cr0::PG | Cr0::WP,
        cr3: 0x1000,
        cr4: Cr4::PAE,
        efer: Efer::LME | Efer::LMA,
        ..Paging::default()
    }
}

fn context<'a>(gpa: u64, write: bool, registers: &'a GuestRegisters, paging: &'a Paging) -> MmioContext<'a, Flat> {
    MmioContext {
        gpa,
        write,
        code_size: if paging.long_mode() { CodeSize::Bits64 } else { CodeSize::Bits32 },
        rip: 0x1_0000,
        registers,
        rflags: Rflags::empty(),
        segments: Flat(0),
        paging,
        privilege: PRIVILEGE,
    }
}

fn decode(bytes: &[u8]) -> MmioInstruction {
    MmioInstruction::decode(bytes, CodeSize::Bits64).unwrap()
}

/// Emulates an instruction whose device is one cell of up to eight bytes; gives whether it is done.
fn emulate(
    guest: &TestGuest,
    bytes: &[u8],
    (gpa, write): (u64, bool),
    cell: &mut u64,
    registers: &mut GuestRegisters,
    rflags: &mut Rflags,
) -> Option<u8> {
    let before = *registers;
    let paging = long();
    let mut memory = guest.memory();
    let context = MmioContext { rflags: *rflags, ..context(gpa, write, &before, &paging) };
    let (mut emulation, mut step) = MmioEmulation::begin(decode(bytes), &context, &mut memory).unwrap();
    loop {
        step = match step {
            MmioStep::Read { gpa: at, width } => {
                assert_eq!(at, gpa);
                // What is beyond the width must not count.
                let garbage = 0xa5a5_a5a5_a5a5_a5a5 & !width.mask();
                emulation.read_done(*cell & width.mask() | garbage, registers, rflags)
            }
            MmioStep::Write { gpa: at, width, data } => {
                assert_eq!((at, data & !width.mask()), (gpa, 0));
                *cell = *cell & !width.mask() | data;
                emulation.write_done(registers, rflags)
            }
            MmioStep::Store { .. } => panic!("no store was expected"),
            MmioStep::Done { skip } => return skip,
        };
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod against_this_cpu {
    use super::{
        super::native::{Cpu, State},
        *,
    };
    use crate::guest::decode::Source;

    /// Memory for the instruction's operand, with room around it for bit strings.
    #[repr(align(4096))]
    struct Buffer([u64; 512]);

    fn status() -> Rflags {
        Rflags::CF | Rflags::PF | Rflags::AF | Rflags::ZF | Rflags::SF | Rflags::OF
    }

    /// The flags that the manual defines behind an instruction.
    fn defined(operation: Operation) -> Rflags {
        match operation {
            Operation::OnMemory(op, _) | Operation::OnRegister(op, _) => match op {
                Arithmetic::And | Arithmetic::Or | Arithmetic::Xor | Arithmetic::Test => status().without(Rflags::AF),
                _ => status(),
            },
            Operation::Bit(..) => Rflags::CF | Rflags::ZF,
            _ => status(),
        }
    }

    /// Opcodes and what ModRM.reg may be: any register (`None`) or a number of a group.
    fn opcodes() -> Vec<(Vec<u8>, Option<u8>)> {
        let mut opcodes = vec![];
        for row in 0..8 {
            for form in 0..4 {
                opcodes.push((vec![row << 3 | form], None));
            }
        }
        for opcode in [0x63, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b] {
            opcodes.push((vec![opcode], None));
        }
        for number in 0..8 {
            opcodes.extend([0x80, 0x81, 0x83].map(|opcode| (vec![opcode], Some(number))));
        }
        for number in 0..4 {
            opcodes.extend([0xf6, 0xf7].map(|opcode| (vec![opcode], Some(number))));
            opcodes.push((vec![0x0f, 0xba], Some(4 + number)));
        }
        for opcode in [0xc6, 0xc7, 0xfe, 0xff] {
            opcodes.push((vec![opcode], Some(0)));
        }
        opcodes.extend([0xfe, 0xff].map(|opcode| (vec![opcode], Some(1))));
        for condition in 0..16 {
            opcodes.push((vec![0x0f, 0x40 | condition], None));
            opcodes.push((vec![0x0f, 0x90 | condition], Some(0)));
        }
        for opcode in [0xa3, 0xab, 0xb3, 0xbb, 0xb0, 0xb1, 0xb6, 0xb7, 0xbe, 0xbf, 0xc0, 0xc1] {
            opcodes.push((vec![0x0f, opcode], None));
        }
        if std::arch::is_x86_feature_detected!("movbe") {
            opcodes.extend([0xf0, 0xf1].map(|opcode| (vec![0x0f, 0x38, opcode], None)));
        }
        opcodes
    }

    /// One random instruction, executed and emulated.
    fn round(cpu: &Cpu, guest: &TestGuest, random: &mut Random, opcode: &[u8], group: Option<u8>) {
        let mut buffer = Buffer([0; 512]);
        buffer.0.iter_mut().for_each(|word| *word = random.next());
        let address = &raw const buffer.0[256] as u64 + random.below(8);

        // A base register with a displacement of 8 or 32 bits. RSP can be neither base nor operand here.
        let (rex_w, rex_r, rex_b) = (random.flip(), random.flip(), random.flip());
        let has_rex = random.flip();
        let rex = if has_rex { 0x40 | u8::from(rex_w) << 3 | u8::from(rex_r) << 2 | u8::from(rex_b) } else { 0 };
        let rm = [0, 1, 2, 3, 5, 6, 7][random.below(7) as usize];
        let reg = group.unwrap_or([0, 1, 2, 3, 4, 5, 6, 7][random.below(8) as usize]);
        let long_displacement = random.flip();
        let modrm = if long_displacement { 0x80 } else { 0x40 } | reg << 3 | rm;
        let displacement = random.next() as i8;
        let mut bytes = vec![];
        if random.below(4) == 0 {
            bytes.push(0x66);
        }
        if has_rex {
            bytes.push(rex);
        }
        bytes.extend(opcode);
        bytes.push(modrm);
        if long_displacement {
            bytes.extend(i32::from(displacement).to_le_bytes());
        } else {
            bytes.push(displacement as u8);
        }
        let immediate = random.next().to_le_bytes();
        let room = 15 - bytes.len();
        bytes.extend(&immediate[..room.min(8)]);

        let instruction = match MmioInstruction::decode(&bytes, CodeSize::Bits64) {
            Ok(instruction) => instruction,
            Err(error) => panic!("{bytes:02x?}: {error:?}"),
        };
        bytes.truncate(instruction.length.into());
        let uses_rsp = |register: &Register| register.index == RegisterIndex::RSP;
        let registers_used: Vec<Register> = match instruction.operation {
            Operation::Load { register, .. }
            | Operation::OnRegister(_, register)
            | Operation::Exchange(register)
            | Operation::ExchangeAdd(register)
            | Operation::CompareExchange(register)
            | Operation::ConditionalMove(_, register)
            | Operation::Bit(_, BitIndex::Register(register))
            | Operation::OnMemory(_, Source::Register(register))
            | Operation::Store { source: Source::Register(register), .. } => vec![register],
            _ => vec![],
        };
        if registers_used.iter().any(uses_rsp) {
            return;
        }

        let mut state = State::default();
        for number in (0..16).filter(|number| *number != 4) {
            state.registers.set(RegisterIndex::new(number), random.next());
        }
        // Half of the comparisons of CMPXCHG shall find the same.
        if random.flip() {
            let offset = (address - &raw const buffer as u64) as usize;
            let bytes: Vec<u8> = buffer.0.iter().flat_map(|word| word.to_le_bytes()).skip(offset).take(8).collect();
            state.registers.rax = u64::from_le_bytes(bytes.try_into().unwrap());
        }
        if let Operation::Bit(_, BitIndex::Register(register)) = instruction.operation {
            // Bits within the buffer.
            state.registers.set(register.index, (random.below(2048) as i64 - 1024) as u64);
        }
        let base = RegisterIndex::new(rm | rex << 3 & 8);
        state.registers.set(base, address.wrapping_sub(i64::from(displacement) as u64));
        if matches!(instruction.operation, Operation::Bit(_, BitIndex::Register(register)) if register.index == base) {
            return;
        }
        state.rflags = 0x202 | random.next() & status().bits();

        // Where the CPU will access: the emulation computes the same.
        let Address::Operand(operand) = instruction.address() else { panic!("no operand: {bytes:02x?}") };
        assert_eq!(operand.offset(&state.registers, 0), address, "{bytes:02x?}");
        let paging = long();
        let before = state.registers;
        let at = operand_address(&instruction, &operand, &context(0, false, &before, &paging));

        let mut registers = state.registers;
        let mut rflags = Rflags::from_bits(state.rflags);
        let offset = (at - &raw const buffer as u64) as usize;
        let read = |buffer: &Buffer| {
            let bytes: Vec<u8> = buffer.0.iter().flat_map(|word| word.to_le_bytes()).skip(offset).take(8).collect();
            u64::from_le_bytes(bytes.try_into().unwrap())
        };
        let mut cell = read(&buffer);
        let gpa = 0xfee0_0000 | at & 7 | 8;
        let skip = emulate(guest, &bytes, (gpa, false), &mut cell, &mut registers, &mut rflags);
        assert_eq!(skip, Some(instruction.length));

        // SAFETY: its only memory operand lies in `buffer`, and it neither jumps nor uses RSP.
        unsafe { cpu.execute(&bytes, &mut state) };
        assert_eq!(registers, state.registers, "{bytes:02x?} {instruction:?}");
        assert_eq!(cell, read(&buffer), "{bytes:02x?} {instruction:?}");
        let mask = defined(instruction.operation);
        assert_eq!(rflags & mask, Rflags::from_bits(state.rflags) & mask, "{bytes:02x?} {instruction:?}");
    }

    #[test]
    fn registers_memory_and_flags() {
        let cpu = Cpu::new();
        let guest = TestGuest::new(KINDS[1]);
        let mut random = Random(0x0e1a_7e57_1234_5671);
        for (opcode, group) in opcodes() {
            for _ in 0..200 {
                round(&cpu, &guest, &mut random, &opcode, group);
            }
        }
    }
}

#[test]
fn loads_extend_and_merge() {
    let guest = TestGuest::new(KINDS[1]);
    let run = |bytes: &[u8], value: u64| {
        let mut registers = GuestRegisters { rax: u64::MAX, rbx: u64::MAX, ..GuestRegisters::default() };
        let mut cell = value;
        let access = (0xfee0_0010, false);
        let length = emulate(&guest, bytes, access, &mut cell, &mut registers, &mut Rflags::empty());
        assert_eq!(length.map(usize::from), Some(bytes.len()));
        registers
    };
    // mov al, ah, ax, eax, rax
    assert_eq!(run(&[0x8a, 0x01], 0x1234).rax, 0xffff_ffff_ffff_ff34);
    assert_eq!(run(&[0x8a, 0x21], 0x1234).rax, 0xffff_ffff_ffff_34ff);
    assert_eq!(run(&[0x66, 0x8b, 0x01], 0x1234_5678).rax, 0xffff_ffff_ffff_5678);
    assert_eq!(run(&[0x8b, 0x01], 0x9234_5678).rax, 0x9234_5678);
    assert_eq!(run(&[0x48, 0x8b, 0x01], 0x9234_5678_0000_0001).rax, 0x9234_5678_0000_0001);
    // movzx ebx, byte; movsx rbx, word; movsxd rbx, dword
    assert_eq!(run(&[0x0f, 0xb6, 0x19], 0x1ff).rbx, 0xff);
    assert_eq!(run(&[0x48, 0x0f, 0xbf, 0x19], 0x8000).rbx, 0xffff_ffff_ffff_8000);
    assert_eq!(run(&[0x48, 0x63, 0x19], 0x8000_0000).rbx, 0xffff_ffff_8000_0000);
    // mov eax from an absolute address
    assert_eq!(run(&[0xa1, 0x10, 0, 0xe0, 0xfe, 0, 0, 0, 0], 7).rax, 7);
}

#[test]
fn destinations_for_the_exit() {
    let is = |bytes: &[u8]| decode(bytes).destination();
    assert_eq!(is(&[0x8b, 0x19]), Some((RegisterIndex::RBX, Width::Dword, false)));
    assert_eq!(is(&[0x48, 0x0f, 0xbe, 0x01]), Some((RegisterIndex::RAX, Width::Qword, true)));
    assert_eq!(is(&[0x8a, 0x21]), None, "AH is no register of its own");
    assert_eq!(is(&[0x03, 0x01]), None);
}

#[test]
fn accesses_across_pages_are_told_apart() {
    let guest = TestGuest::new(KINDS[0]);
    let mut memory = guest.memory();
    let paging = long();
    let mut start = |offset: u64, gpa: u64| {
        let registers = GuestRegisters { rcx: 0xffff_8000_0000_0000 + offset, ..GuestRegisters::default() };
        MmioEmulation::begin(decode(&[0x8b, 0x01]), &context(gpa, false, &registers, &paging), &mut memory).map(|_| ())
    };
    assert_eq!(start(0x10, 0xfee0_0010), Ok(()));
    assert_eq!(start(0xffc, 0xfee0_0ffc), Ok(()));
    assert_eq!(start(0xffd, 0xfee0_0ffd), Err(MmioError::CrossesPage));
    // The fault is about the second page.
    assert_eq!(start(0xffd, 0xfee0_1000), Err(MmioError::CrossesPage));
    assert_eq!(start(0x1000, 0xfee0_1000), Ok(()));
    assert_eq!(start(0x1010, 0xfee0_1000), Err(MmioError::Changed));
}

#[test]
fn rip_relative_and_segments() {
    // mov eax, [rip + 0x100] at 0x10000: the next instruction is at 0x10006.
    let instruction = decode(&[0x8b, 0x05, 0xfa, 0, 0, 0]);
    let Address::Operand(operand) = instruction.address() else { panic!() };
    let (registers, paging) = (GuestRegisters::default(), long());
    assert_eq!(operand_address(&instruction, &operand, &context(0, false, &registers, &paging)), 0x1_0100);
    // A segment's base counts for FS and GS, and outside of 64-bit mode for all.
    let with_base = |bytes: &[u8], code_size: CodeSize| {
        let instruction = MmioInstruction::decode(bytes, code_size).unwrap();
        let Address::Operand(operand) = instruction.address() else { panic!() };
        let registers = GuestRegisters { rcx: 0x10, rsi: 0x20, rbx: 0x1_0003, ..GuestRegisters::default() };
        let context = MmioContext { segments: Flat(0xffff_fff0), code_size, ..context(0, false, &registers, &paging) };
        operand_address(&instruction, &operand, &context)
    };
    assert_eq!(with_base(&[0x8b, 0x01], CodeSize::Bits64), 0x10);
    assert_eq!(with_base(&[0x64, 0x8b, 0x01], CodeSize::Bits64), 0x1_0000_0000);
    assert_eq!(with_base(&[0x8b, 0x01], CodeSize::Bits32), 0);
    // mov ax, [bx + si - 1]: 16 bits of the sum, then the base.
    assert_eq!(with_base(&[0x8b, 0x40, 0xff], CodeSize::Bits16), 0x12);
}

/// Elements of a repeated STOS and LODS go one by one.
#[test]
fn repeated_strings() {
    let guest = TestGuest::new(KINDS[1]);
    let run = |bytes: &[u8], gpa, write, cell: &mut u64, registers: &mut GuestRegisters, rflags: &mut Rflags| {
        emulate(&guest, bytes, (gpa, write), cell, registers, rflags)
    };
    let mut registers = GuestRegisters { rax: 0x1122, rcx: 3, rdi: 0x1_0000_0010, ..GuestRegisters::default() };
    let mut rflags = Rflags::empty();
    let mut cell = 0;
    // rep stosw
    let bytes = [0xf3, 0x66, 0xab];
    assert_eq!(run(&bytes, 0xfee0_0010, true, &mut cell, &mut registers, &mut rflags), None);
    assert_eq!((cell, registers.rcx, registers.rdi), (0x1122, 2, 0x1_0000_0012));
    rflags = Rflags::DF;
    assert_eq!(run(&bytes, 0xfee0_0012, true, &mut cell, &mut registers, &mut rflags), None);
    assert_eq!(run(&bytes, 0xfee0_0010, true, &mut cell, &mut registers, &mut rflags), Some(3));
    assert_eq!((registers.rcx, registers.rdi), (0, 0x1_0000_000e));
    // lodsb with 32-bit addresses
    registers.rsi = 0xffff_ffff;
    let mut rflags = Rflags::empty();
    cell = 0x99;
    assert_eq!(run(&[0x67, 0xac], 0xfee0_0fff, false, &mut cell, &mut registers, &mut rflags), Some(2));
    assert_eq!((registers.rax, registers.rsi), (0x1199, 0));
    // repne scasb ends at the byte, repe at another.
    registers.rcx = 5;
    assert_eq!(run(&[0xf2, 0xae], 0xfee0_000e, false, &mut cell, &mut registers, &mut rflags), Some(2));
    assert!(rflags.contains(Rflags::ZF));
    assert_eq!(registers.rcx, 4);
    assert_eq!(run(&[0xf3, 0xae], 0xfee0_000f, false, &mut cell, &mut registers, &mut rflags), None);
    cell = 0x98;
    assert_eq!(run(&[0xf3, 0xae], 0xfee0_0010, false, &mut cell, &mut registers, &mut rflags), Some(2));
}

/// MOVS between a device and memory, in both directions, and between two devices.
#[test]
fn string_moves() {
    let guest = TestGuest::new(KINDS[2]);
    guest.map_linear(0x5000, 0x9_0000, 0x67);
    guest.map_linear(0x6000, 0x9_8000, 0x67);
    guest.map_linear(0x7000, 0xfee0_1000, 0x67);
    guest.map_linear(0x8000, 0x9_a000, 0x65);
    let paging = long();
    let movsq = decode(&[0x48, 0xa5]);
    let mut rflags = Rflags::empty();

    // From memory, across two pages, to a device.
    guest.set(0x9_0ffc, &[1, 2, 3, 4]);
    guest.set(0x9_8000, &[5, 6, 7, 8]);
    let mut registers = GuestRegisters { rsi: 0x5ffc, rdi: 0xffff_8000_0000_0020, ..GuestRegisters::default() };
    let before = registers;
    let (mut emulation, step) =
        MmioEmulation::begin(movsq, &context(0xfee0_0020, true, &before, &paging), &mut guest.memory()).unwrap();
    assert_eq!(step, MmioStep::Write { gpa: 0xfee0_0020, width: Width::Qword, data: 0x0807_0605_0403_0201 });
    assert_eq!(emulation.write_done(&mut registers, &mut rflags), MmioStep::Done { skip: Some(2) });
    assert_eq!((registers.rsi, registers.rdi), (0x6004, 0xffff_8000_0000_0028));

    // From a device to memory.
    let mut registers = GuestRegisters { rsi: 0xffff_8000_0000_0020, rdi: 0x5ffc, ..GuestRegisters::default() };
    let before = registers;
    let (mut emulation, step) =
        MmioEmulation::begin(movsq, &context(0xfee0_0020, false, &before, &paging), &mut guest.memory()).unwrap();
    assert_eq!(step, MmioStep::Read { gpa: 0xfee0_0020, width: Width::Qword });
    let MmioStep::Store { span, data } = emulation.read_done(0x1122_3344_5566_7788, &mut registers, &mut rflags) else {
        panic!("no store");
    };
    assert_eq!(registers, before, "nothing has changed yet");
    span.write(&mut guest.memory(), data).unwrap();
    assert_eq!(emulation.write_done(&mut registers, &mut rflags), MmioStep::Done { skip: Some(2) });
    assert_eq!(guest.get(0x9_0ffc, 4), [0x88, 0x77, 0x66, 0x55]);
    assert_eq!(guest.get(0x9_8000, 4), [0x44, 0x33, 0x22, 0x11]);

    // From a device to another.
    let mut registers = GuestRegisters { rsi: 0xffff_8000_0000_0020, rdi: 0x7008, ..GuestRegisters::default() };
    let before = registers;
    let (mut emulation, _) =
        MmioEmulation::begin(movsq, &context(0xfee0_0020, false, &before, &paging), &mut guest.memory()).unwrap();
    let step = emulation.read_done(5, &mut registers, &mut rflags);
    assert_eq!(step, MmioStep::Write { gpa: 0xfee0_1008, width: Width::Qword, data: 5 });

    // What the guest's tables do not allow is the guest's fault, before the device is read.
    let registers = GuestRegisters { rsi: 0xffff_8000_0000_0020, rdi: 0x8000, ..GuestRegisters::default() };
    let result = MmioEmulation::begin(movsq, &context(0xfee0_0020, false, &registers, &paging), &mut guest.memory());
    let Err(MmioError::Access(AccessFault::Page(fault))) = result.map(|_| ()) else { panic!("no page fault") };
    assert_eq!((fault.address, fault.error_code.bits()), (0x8000, 3));
    let registers = GuestRegisters { rsi: 0xffff_8000_0000_0020, rdi: 1 << 60, ..GuestRegisters::default() };
    let result = MmioEmulation::begin(movsq, &context(0xfee0_0020, false, &registers, &paging), &mut guest.memory());
    let Err(MmioError::Access(AccessFault::Segment(fault))) = result.map(|_| ()) else { panic!("no #GP") };
    assert_eq!(fault.0, ExceptionVector::GP);
}

#[test]
fn garbage_does_no_harm() {
    let guest = TestGuest::new(KINDS[1]);
    guest.map_linear(0x5000, 0x9_0000, 0x67);
    let mut random = Random(0x00ba_dc0d_e123_4567);
    let mut begun = 0;
    for _ in 0..300_000 {
        let bytes = (u128::from(random.next()) << 64 | u128::from(random.next())).to_le_bytes();
        let code_size = [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64][random.below(3) as usize];
        let instruction = match MmioInstruction::decode(&bytes, code_size) {
            Ok(instruction) => instruction,
            Err(DecodeError::Truncated | DecodeError::Unsupported) => continue,
        };
        let mut registers = GuestRegisters::default();
        for number in 0..16 {
            registers.set(RegisterIndex::new(number), random.next() >> random.below(64));
        }
        let before = registers;
        let mut rflags = Rflags::from_bits(random.next());
        let paging = if code_size == CodeSize::Bits64 { long() } else { Paging::default() };
        let context = MmioContext {
            gpa: random.next(),
            write: random.flip(),
            code_size,
            rip: random.next(),
            registers: &before,
            rflags,
            segments: Flat(random.next() >> 32),
            paging: &paging,
            privilege: PRIVILEGE,
        };
        let mut memory = guest.memory();
        let Ok((mut emulation, mut step)) = MmioEmulation::begin(instruction, &context, &mut memory) else { continue };
        begun += 1;
        for _ in 0..4 {
            step = match step {
                MmioStep::Read { .. } => emulation.read_done(random.next(), &mut registers, &mut rflags),
                MmioStep::Write { .. } => emulation.write_done(&mut registers, &mut rflags),
                MmioStep::Store { span, data } => {
                    let _ = span.write(&mut memory, data);
                    emulation.write_done(&mut registers, &mut rflags)
                }
                MmioStep::Done { .. } => break,
            };
        }
        assert!(matches!(step, MmioStep::Done { .. }), "{instruction:?}");
    }
    assert!(begun > 10_000, "{begun}");
    let _ = MockFrames::live();
}
