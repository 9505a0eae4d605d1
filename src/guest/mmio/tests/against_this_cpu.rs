//! Instructions executed by the test's own CPU on ordinary memory, and emulated with the same memory as a device, or as a
//! device and memory on both sides of a page boundary.

use super::{
    super::native::{Cpu, State},
    *,
};
use crate::guest::decode::{BitIndex, Count, Operation, Shift, Source};

/// Memory for the instruction's operand, with room around it for bit strings.
#[repr(align(4096))]
struct Buffer([u8; SIZE]);

const SIZE: usize = 0x2000;

/// Where the two pages of the buffer are for the emulation.
const MEMORY: [u64; 2] = [0x9_0000, 0xa_5000];
const DEVICES: [u64; 2] = [DEVICE, DEVICE + 0x7000];

/// The guests that see the buffer's address as a device and a device, a device and memory, memory and a device.
struct Guests {
    buffer: std::boxed::Box<Buffer>,
    guests: [(TestGuest, [bool; 2]); 3],
}

impl Guests {
    fn new() -> Self {
        let buffer = std::boxed::Box::new(Buffer([0; SIZE]));
        let address = buffer.0.as_ptr() as u64;
        let guests = [[true, true], [true, false], [false, true]].map(|devices| {
            let guest = TestGuest::new(KINDS[1]);
            for page in 0..2 {
                let gpa = if devices[page] { DEVICES[page] } else { MEMORY[page] };
                guest.map_linear(address + page as u64 * 0x1000, gpa, 0x67);
            }
            (guest, devices)
        });
        Self { buffer, guests }
    }
}

fn status() -> Rflags {
    Rflags::CF | Rflags::PF | Rflags::AF | Rflags::ZF | Rflags::SF | Rflags::OF
}

/// The flags that the manual defines behind an instruction, each on its page of SDM volume 2. `None` when the result is
/// undefined too.
fn defined(instruction: &MmioInstruction, registers: &GuestRegisters) -> Option<Rflags> {
    let bits = 8 * instruction.width.bytes() as u32;
    let of_shift = |count: Count| shift_count(count, instruction.width, registers);
    Some(match instruction.operation {
        // AF is undefined.
        Operation::OnMemory(op, _) | Operation::OnRegister(op, _) => match op {
            Arithmetic::And | Arithmetic::Or | Arithmetic::Xor | Arithmetic::Test => status().without(Rflags::AF),
            _ => status(),
        },
        // OF, SF, AF and PF are.
        Operation::Bit(..) => Rflags::CF | Rflags::ZF,
        Operation::Shift(op, count) => {
            let count = of_shift(count);
            let rotates = !matches!(op, Shift::Left | Shift::Right | Shift::ArithmeticRight);
            let mut flags = status();
            if count > 1 {
                flags = flags.without(Rflags::OF);
            }
            if count > 0 && !rotates {
                flags = flags.without(Rflags::AF);
            }
            // CF is undefined when all bits are shifted out, but for SAR.
            if count >= bits && matches!(op, Shift::Left | Shift::Right) {
                flags = flags.without(Rflags::CF);
            }
            flags
        }
        Operation::DoubleShift(_, _, count) => match of_shift(count) {
            0 => status(),
            1 => status().without(Rflags::AF),
            count if count > bits => return None,
            _ => status().without(Rflags::AF).without(Rflags::OF),
        },
        _ => status(),
    })
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
        // Shifts, several times: there are many counts.
        for _ in 0..3 {
            opcodes.extend([0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3].map(|opcode| (vec![opcode], Some(number))));
        }
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
    for opcode in [
        0xa3, 0xab, 0xb3, 0xbb, 0xb0, 0xb1, 0xb6, 0xb7, 0xbe, 0xbf, 0xc0, 0xc1, 0xa4, 0xa5, 0xac, 0xad, 0xc3, 0x10,
        0x11, 0x28, 0x29, 0x2b,
    ] {
        opcodes.push((vec![0x0f, opcode], None));
    }
    for prefix in [0x66, 0xf2, 0xf3] {
        opcodes.extend([0x10, 0x11].map(|opcode| (vec![prefix, 0x0f, opcode], None)));
    }
    opcodes
        .extend([0x28, 0x29, 0x2b, 0x6e, 0x7e, 0x6f, 0x7f, 0xd6, 0xe7].map(|opcode| (vec![0x66, 0x0f, opcode], None)));
    opcodes.extend([0x6f, 0x7e, 0x7f].map(|opcode| (vec![0xf3, 0x0f, opcode], None)));
    opcodes.push((vec![0x0f, 0xc7], Some(1)));
    if std::arch::is_x86_feature_detected!("movbe") {
        opcodes.extend([0xf0, 0xf1].map(|opcode| (vec![0x0f, 0x38, opcode], None)));
    }
    opcodes
}

fn any_state(random: &mut Random) -> State {
    let mut state = State::default();
    for number in (0..16).filter(|number| *number != 4) {
        state.registers.set(RegisterIndex::new(number), random.next());
    }
    state.vectors = core::array::from_fn(|_| core::array::from_fn(|_| random.next() as u8));
    state.rflags = 0x202 | random.next() & status().bits();
    state
}

/// Emulates what the state says, and compares with what this CPU does.
fn compare(cpu: &Cpu, guests: &mut Guests, which: usize, bytes: &[u8], at: u64, mut state: State, flags: Rflags) {
    let address = guests.buffer.0.as_ptr() as u64;
    let (guest, devices) = &guests.guests[which];
    let mut device = Device::default();
    for page in 0..2 {
        let content = &guests.buffer.0[page * 0x1000..][..0x1000];
        if devices[page] {
            device.set(DEVICES[page], content);
        } else {
            guest.set(MEMORY[page], content);
        }
    }
    let place = |linear: u64| {
        let page = usize::from(linear - address >= 0x1000);
        DEVICES[page] | linear & 0xfff
    };
    let mut registers =
        Registers { general: state.registers, rflags: Rflags::from_bits(state.rflags), vectors: state.vectors };
    let mut at = at;
    loop {
        let whole = (address..address + SIZE as u64).contains(&at);
        assert!(whole, "{bytes:02x?}");
        let first_is_device = devices[usize::from(at - address >= 0x1000)];
        let gpa = if first_is_device { place(at) } else { DEVICES[1] };
        match emulate(guest, &mut device, bytes, gpa, &mut registers) {
            // The next element of a string.
            Ok(0) => {
                let source = matches!(bytes.last(), Some(0xa4..=0xa7 | 0xac | 0xad));
                at = if source { registers.general.rsi } else { registers.general.rdi };
            }
            Ok(skip) => {
                assert_eq!(usize::from(skip), bytes.len());
                break;
            }
            Err(error) => panic!("{bytes:02x?}: {error:?}"),
        }
    }
    // SAFETY: its memory operands lie in the buffer, and it neither jumps nor uses RSP.
    unsafe { cpu.execute(bytes, &mut state) };
    assert_eq!(registers.general, state.registers, "{bytes:02x?}");
    assert_eq!(registers.vectors, state.vectors, "{bytes:02x?}");
    assert_eq!(registers.rflags & flags, Rflags::from_bits(state.rflags) & flags, "{bytes:02x?}");
    for page in 0..2 {
        let real = &guests.buffer.0[page * 0x1000..][..0x1000];
        if devices[page] {
            assert!(device.at(DEVICES[page], 0x1000) == real, "{bytes:02x?}");
        } else {
            assert!(guest.get(MEMORY[page], 0x1000) == real, "{bytes:02x?}");
        }
    }
}

/// One random instruction, executed and emulated; false if it is none that can be.
fn round(cpu: &Cpu, guests: &mut Guests, random: &mut Random, opcode: &[u8], group: Option<u8>) -> bool {
    for chunk in guests.buffer.0[0x600..0x1a00].chunks_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes());
    }
    let start = guests.buffer.0.as_ptr() as u64;
    let straddles = random.below(3) == 0;
    let offset = if straddles { 0x1000 - random.below(16) } else { 0x800 + random.below(0x1000) };

    // A base register with a displacement of 8 or 32 bits. RSP can be neither base nor operand here.
    let (rex_w, rex_r, rex_b) = (random.flip(), random.flip(), random.flip());
    let has_rex = random.flip();
    let rex = if has_rex { 0x40 | u8::from(rex_w) << 3 | u8::from(rex_r) << 2 | u8::from(rex_b) } else { 0 };
    let rm = [0, 1, 2, 3, 5, 6, 7][random.below(7) as usize];
    let reg = group.unwrap_or(random.below(8) as u8);
    let long_displacement = random.flip();
    let modrm = if long_displacement { 0x80 } else { 0x40 } | reg << 3 | rm;
    let displacement = random.next() as i8;
    let mandatory = matches!(opcode, [0x66 | 0xf2 | 0xf3, 0x0f, ..]);
    let (prefix, opcode) = if mandatory { opcode.split_at(1) } else { (&[][..], opcode) };
    let is_vector =
        matches!(opcode, [0x0f, 0x10 | 0x11 | 0x28 | 0x29 | 0x2b | 0x6e | 0x6f | 0x7e | 0x7f | 0xd6 | 0xe7]);
    let mut bytes = prefix.to_vec();
    if !is_vector && !matches!(opcode, [0x0f, 0xc3]) && random.below(4) == 0 {
        bytes.push(0x66);
    }
    let locked = random.below(8) == 0;
    if locked {
        bytes.push(0xf0);
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
        Err(crate::guest::decode::DecodeError::NotLockable) if locked => return false,
        Err(error) => panic!("{bytes:02x?}: {error:?}"),
    };
    bytes.truncate(instruction.length.into());
    let register = match instruction.operation {
        Operation::Load { register, .. }
        | Operation::OnRegister(_, register)
        | Operation::Exchange(register)
        | Operation::ExchangeAdd(register)
        | Operation::CompareExchange(register)
        | Operation::ConditionalMove(_, register)
        | Operation::DoubleShift(_, register, _)
        | Operation::Bit(_, BitIndex::Register(register))
        | Operation::OnMemory(_, Source::Register(register))
        | Operation::Store { source: Source::Register(register), .. } => Some(register),
        _ => None,
    };
    if register.is_some_and(|register| register.index == RegisterIndex::RSP) {
        return false;
    }
    let aligned = match instruction.operation {
        Operation::LoadVector { aligned, .. } | Operation::StoreVector { aligned, .. } => aligned,
        Operation::CompareExchangePair => true,
        _ => false,
    };
    let address = start + if aligned { offset & !15 } else { offset };

    let mut state = any_state(random);
    // Half of the comparisons of CMPXCHG shall find the same.
    if random.flip() {
        let content = &guests.buffer.0[(address - start) as usize..];
        let number = |at: usize| u64::from_le_bytes(content[at..at + 8].try_into().unwrap());
        state.registers.rax = number(0);
        state.registers.rdx = if instruction.size == 16 { number(8) } else { number(4) };
    }
    let base = RegisterIndex::new(rm | rex << 3 & 8);
    if let Operation::Bit(_, BitIndex::Register(register)) = instruction.operation {
        if register.index == base {
            return false;
        }
        // Bits within the buffer.
        state.registers.set(register.index, (random.below(2048) as i64 - 1024) as u64);
    }
    state.registers.set(base, address.wrapping_sub(i64::from(displacement) as u64));
    let Some(flags) = defined(&instruction, &state.registers) else { return false };

    // Where the CPU will access: the emulation computes the same.
    let Address::Operand(operand) = instruction.address else { panic!("no operand: {bytes:02x?}") };
    assert_eq!(operand.offset(&state.registers, 0), address, "{bytes:02x?}");
    let paging = long();
    let at = operand_offset(&instruction, &operand, &context(0, &state.registers, &paging));
    let crosses = at & 0xfff > 0x1000 - u64::from(instruction.size);
    let which = if crosses { random.below(3) as usize } else { 0 };
    compare(cpu, guests, which, &bytes, at, state, flags);
    true
}

#[test]
fn registers_memory_and_flags() {
    let cpu = Cpu::new();
    let mut guests = Guests::new();
    let mut random = Random(0x0e1a_7e57_1234_5671);
    let rounds = if cfg!(debug_assertions) { 40 } else { 400 };
    for (opcode, group) in opcodes() {
        let done = (0..rounds).filter(|_| round(&cpu, &mut guests, &mut random, &opcode, group)).count();
        assert!(done > rounds / 4, "{opcode:02x?} {group:?}");
    }
}

/// MOVS, CMPS, STOS, LODS and SCAS with and without REP, upwards and downwards, across pages.
#[test]
fn strings() {
    let cpu = Cpu::new();
    let mut guests = Guests::new();
    let mut random = Random(0x0057_a1b5_1234_5671);
    for _ in 0..if cfg!(debug_assertions) { 3_000 } else { 30_000 } {
        for byte in &mut guests.buffer.0[0xf00..0x1100] {
            // Comparisons shall find the same often.
            *byte = random.below(2) as u8;
        }
        let start = guests.buffer.0.as_ptr() as u64;
        let opcode = [0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf][random.below(10) as usize];
        let mut bytes = vec![];
        if random.flip() {
            bytes.push([0xf2, 0xf3][random.below(2) as usize]);
        }
        match random.below(3) {
            0 => bytes.push(0x66),
            1 => bytes.push(0x48),
            _ => {}
        }
        bytes.push(opcode);
        let mut state = any_state(&mut random);
        state.registers.rax &= 0x0101_0101_0101_0101;
        state.registers.rcx = 1 + random.below(6);
        state.registers.rsi = start + 0x1000 - 40 + random.below(80);
        state.registers.rdi = start + 0x1000 - 40 + random.below(80);
        if random.flip() {
            state.rflags |= Rflags::DF.bits();
        }
        let at = if matches!(opcode, 0xa4..=0xa7 | 0xac | 0xad) { state.registers.rsi } else { state.registers.rdi };
        compare(&cpu, &mut guests, 0, &bytes, at, state, status());
    }
}
