extern crate std;

use std::{collections::BTreeMap, vec, vec::Vec};

use super::{operands::operand_offset, *};
use crate::{
    guest::{
        memory::test_guest::{KINDS, TestGuest},
        registers::SystemRegisters,
        segmentation::CodeSize,
        walk::PageFault,
    },
    nested::mock::MockFrames,
    random::Random,
    spec::x86::registers::{Cr0, Cr4, Efer, ExceptionVector},
};

/// All segments at the same base.
#[derive(Clone, Copy, Debug)]
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

fn context<'a>(gpa: u64, registers: &'a GuestRegisters, paging: &'a Paging) -> MmioContext<'a, Flat> {
    MmioContext {
        gpa,
        devices: Devices::NONE.with(gpa),
        code_size: if paging.long_mode() { CodeSize::Bits64 } else { CodeSize::Bits32 },
        rip: 0x1_0000,
        registers,
        vector: [0; 16],
        segments: Flat(0),
        paging,
        privilege: PRIVILEGE,
    }
}

fn decode(bytes: &[u8]) -> MmioInstruction {
    MmioInstruction::decode(bytes, CodeSize::Bits64).unwrap()
}

/// Devices wherever there is no memory, by their pages, and what was asked of them.
#[derive(Default)]
struct Device {
    pages: BTreeMap<u64, Vec<u8>>,
    accesses: Vec<(char, u64, usize)>,
}

impl Device {
    /// As many bytes of a page as one access moves.
    fn at(&mut self, gpa: u64, bytes: usize) -> &mut [u8] {
        let page = self.pages.entry(gpa & !0xfff).or_insert_with(|| vec![0; 0x1000]);
        &mut page[(gpa & 0xfff) as usize..][..bytes]
    }

    fn read(&mut self, gpa: u64, width: Width) -> u64 {
        self.accesses.push(('r', gpa, width.bytes()));
        // What is beyond the width must not count.
        let mut value = [0xa5; 8];
        value[..width.bytes()].copy_from_slice(self.at(gpa, width.bytes()));
        u64::from_le_bytes(value)
    }

    fn write(&mut self, gpa: u64, width: Width, data: u64) {
        assert_eq!(data & !width.mask(), 0);
        self.accesses.push(('w', gpa, width.bytes()));
        self.at(gpa, width.bytes()).copy_from_slice(&data.to_le_bytes()[..width.bytes()]);
    }

    fn set(&mut self, gpa: u64, bytes: &[u8]) {
        self.at(gpa, bytes.len()).copy_from_slice(bytes);
    }
}

/// The registers of a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Registers {
    general: GuestRegisters,
    rflags: Rflags,
    vectors: [Vector; 16],
}

/// Emulates an instruction that faulted at `gpa`; every page that is not memory is a device.
fn emulate(
    guest: &TestGuest,
    device: &mut Device,
    bytes: &[u8],
    gpa: u64,
    registers: &mut Registers,
) -> Result<u8, MmioError> {
    emulate_in(guest, device, (bytes, CodeSize::Bits64, Flat(0)), gpa, &long(), registers)
}

fn emulate_in(
    guest: &TestGuest,
    device: &mut Device,
    (bytes, code_size, segments): (&[u8], CodeSize, Flat),
    gpa: u64,
    paging: &Paging,
    registers: &mut Registers,
) -> Result<u8, MmioError> {
    let instruction = MmioInstruction::decode(bytes, code_size).unwrap();
    let mut memory = guest.memory();
    let mut devices = Devices::NONE.with(gpa);
    let mut emulation = loop {
        let vector = instruction.stored_vector().map_or([0; 16], |number| registers.vectors[usize::from(number)]);
        let general = registers.general;
        let context = MmioContext { devices, code_size, vector, segments, ..context(gpa, &general, paging) };
        match MmioEmulation::begin(instruction, &context, &mut memory) {
            Err(MmioError::Elsewhere(fault)) => devices = devices.with(fault.gpa),
            begun => break begun?,
        }
    };
    loop {
        let before = *registers;
        match emulation.next(&mut registers.general, &mut registers.rflags, &mut memory).unwrap() {
            MmioStep::Read { gpa, width } => {
                assert_eq!(before, *registers, "nothing has changed yet");
                emulation.read_done(device.read(gpa, width));
            }
            MmioStep::Write { gpa, width, data } => {
                assert_eq!(before, *registers, "nothing has changed yet");
                device.write(gpa, width, data);
                emulation.write_done();
            }
            MmioStep::Done { skip } => {
                if let Some((number, value)) = emulation.loaded_vector() {
                    registers.vectors[usize::from(number)] = value;
                }
                return Ok(skip);
            }
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod against_this_cpu;

/// Where the tests have their device: linear 7000h and 8000h.
const DEVICE: u64 = 0xfee0_0000;

fn guest_with_device(kind: usize) -> TestGuest {
    let guest = TestGuest::new(KINDS[kind]);
    guest.map_linear(0x5000, 0x9_0000, 0x67);
    guest.map_linear(0x6000, 0x9_8000, 0x67);
    guest.map_linear(0x7000, DEVICE, 0x67);
    guest.map_linear(0x8000, DEVICE + 0x5000, 0x67);
    guest.map_linear(0x9000, 0xa_0000, 0x67);
    // Read only.
    guest.map_linear(0xa000, 0xa_1000, 0x65);
    guest
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
fn accesses_across_pages_are_cut() {
    let guest = guest_with_device(0);
    let run = |linear: u64, gpa: u64, bytes: &[u8]| {
        let mut device = Device::default();
        let mut registers = Registers::default();
        registers.general.rcx = linear;
        registers.general.rax = 0x8877_6655_4433_2211;
        let skip = emulate(&guest, &mut device, bytes, gpa, &mut registers);
        (skip, device.accesses, registers)
    };
    let load = [0x48, 0x8b, 0x01];
    let store = [0x48, 0x89, 0x01];
    // Within a page as one access, aligned or not.
    assert_eq!(run(0x7013, DEVICE + 0x13, &load).1, [('r', DEVICE + 0x13, 8)]);
    // Device and device: two pages that are apart, aligned pieces.
    let (skip, accesses, _) = run(0x7ffd, DEVICE + 0xffd, &store);
    assert_eq!(skip, Ok(3));
    let next = DEVICE + 0x5000;
    let all = [('w', DEVICE + 0xffd, 1), ('w', DEVICE + 0xffe, 2), ('w', next, 4), ('w', next + 4, 1)];
    assert_eq!(accesses, all);
    // The fault may have been about the second page.
    assert_eq!(run(0x7ffd, next, &store).1, all);
    // Memory and device, device and memory.
    guest.set(0x9_8ffc, &[1, 2, 3, 4]);
    let (_, accesses, registers) = run(0x6ffc, DEVICE, &load);
    assert_eq!((accesses, registers.general.rax), (vec![('r', DEVICE, 4)], 0x0403_0201));
    assert_eq!(run(0x8ffc, next + 0xffc, &store).1, [('w', next + 0xffc, 4)]);
    assert_eq!(guest.get(0xa_0000, 4), [0x55, 0x66, 0x77, 0x88]);
    // It is not the instruction that faulted.
    assert_eq!(run(0x7010, DEVICE + 0x20, &load).0, Err(MmioError::Changed));
    assert_eq!(run(0x7ff0, next, &load).0, Err(MmioError::Changed));
    // The second page cannot be written: nothing of the first is.
    guest.map_linear(0xb000, DEVICE, 0x65);
    guest.map_linear(0xa000, DEVICE, 0x67);
    let (fault, accesses, _) = run(0xaffc, DEVICE + 0xffc, &store);
    assert!(matches!(fault, Err(MmioError::Access(AccessFault::Page(PageFault { address: 0xb000, .. })))), "{fault:?}");
    assert_eq!(accesses, []);
}

#[test]
fn vectors_are_two_accesses() {
    let guest = guest_with_device(3);
    let mut device = Device::default();
    let mut registers = Registers::default();
    registers.general.rcx = 0x7010;
    registers.vectors[3] = core::array::from_fn(|index| index as u8 + 1);
    // movups [rcx], xmm3; movaps xmm9, [rcx]; movd xmm9, [rcx]; movq xmm9, [rcx]
    assert_eq!(emulate(&guest, &mut device, &[0x0f, 0x11, 0x19], DEVICE + 0x10, &mut registers), Ok(3));
    assert_eq!(device.accesses, [('w', DEVICE + 0x10, 8), ('w', DEVICE + 0x18, 8)]);
    assert_eq!(emulate(&guest, &mut device, &[0x44, 0x0f, 0x28, 0x09], DEVICE + 0x10, &mut registers), Ok(4));
    assert_eq!(registers.vectors[9], registers.vectors[3]);
    assert_eq!(emulate(&guest, &mut device, &[0x66, 0x44, 0x0f, 0x6e, 0x09], DEVICE + 0x10, &mut registers), Ok(5));
    assert_eq!(registers.vectors[9], *b"\x01\x02\x03\x04\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(emulate(&guest, &mut device, &[0xf3, 0x44, 0x0f, 0x7e, 0x09], DEVICE + 0x10, &mut registers), Ok(5));
    assert_eq!(registers.vectors[9], *b"\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\0\0");
    registers.general.rcx = 0x7018;
    let fault = emulate(&guest, &mut device, &[0x0f, 0x28, 0x01], DEVICE + 0x18, &mut registers);
    assert_eq!(
        fault,
        Err(MmioError::Access(AccessFault::Segment(crate::guest::segmentation::SegmentFault(ExceptionVector::GP))))
    );
}

#[test]
fn push_and_pop() {
    let guest = guest_with_device(2);
    let mut device = Device::default();
    device.set(DEVICE + 8, &0x1122_3344_5566_7788_u64.to_le_bytes());
    let mut registers = Registers {
        general: GuestRegisters { rcx: 0x7008, rsp: 0x5804, ..GuestRegisters::default() },
        ..Registers::default()
    };
    // push qword [rcx]; push word [rcx]
    assert_eq!(emulate(&guest, &mut device, &[0xff, 0x31], DEVICE + 8, &mut registers), Ok(2));
    assert_eq!((registers.general.rsp, guest.get_u64(0x9_07fc)), (0x57fc, 0x1122_3344_5566_7788));
    assert_eq!(emulate(&guest, &mut device, &[0x66, 0xff, 0x31], DEVICE + 8, &mut registers), Ok(3));
    assert_eq!((registers.general.rsp, guest.get(0x9_07fa, 2)), (0x57fa, vec![0x88, 0x77]));
    // pop qword [rsp - 8]: the address is that behind the POP.
    registers.general.rsp = 0x5800;
    guest.set_u64(0x9_0800, 5);
    guest.map_linear(0x5000, 0x9_0000, 0x67);
    registers.general.rsp = 0x6ff8;
    guest.set_u64(0x9_8ff8, 0x77);
    assert_eq!(emulate(&guest, &mut device, &[0x8f, 0x44, 0x24, 0x20], DEVICE + 0x20, &mut registers), Ok(4));
    assert_eq!((registers.general.rsp, device.read(DEVICE + 0x20, Width::Byte) & 0xff), (0x7000, 0x77));
    // A stack that cannot be written.
    registers.general.rsp = 0xa800;
    let fault = emulate(&guest, &mut device, &[0xff, 0x31], DEVICE + 8, &mut registers);
    let Err(MmioError::Access(AccessFault::Page(fault))) = fault else { panic!("{fault:?}") };
    assert_eq!((fault.address, fault.error_code.bits()), (0xa7f8, 3));
}

#[test]
fn rip_relative_and_segments() {
    let (registers, paging) = (GuestRegisters::default(), long());
    // mov eax, [rip + 0x100] at 0x10000: the next instruction is at 0x10006.
    let instruction = decode(&[0x8b, 0x05, 0xfa, 0, 0, 0]);
    let Address::Operand(operand) = instruction.address else { panic!() };
    assert_eq!(operand_offset(&instruction, &operand, &context(0, &registers, &paging)), 0x1_0100);
    // A segment's base counts for FS and GS, and outside of 64-bit mode for all.
    let with_base = |bytes: &[u8], code_size: CodeSize| {
        let instruction = MmioInstruction::decode(bytes, code_size).unwrap();
        let Address::Operand(operand) = instruction.address else { panic!() };
        let registers = GuestRegisters { rcx: 0x10, rsi: 0x20, rbx: 0x1_0003, ..GuestRegisters::default() };
        let context = MmioContext { segments: Flat(0xffff_fff0), code_size, ..context(0, &registers, &paging) };
        operands::linear_address(operand.segment, operand_offset(&instruction, &operand, &context), &context)
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
    let paging = Paging::default();
    let mut device = Device::default();
    let mut registers = Registers {
        general: GuestRegisters { rax: 0x1122, rcx: 3, rdi: DEVICE + 0x10, ..GuestRegisters::default() },
        ..Registers::default()
    };
    let run = |bytes: &[u8], gpa, device: &mut Device, registers: &mut Registers| {
        emulate_in(&guest, device, (bytes, CodeSize::Bits32, Flat(0)), gpa, &paging, registers).unwrap()
    };
    // rep stosw
    let bytes = [0xf3, 0x66, 0xab];
    assert_eq!(run(&bytes, DEVICE + 0x10, &mut device, &mut registers), 0);
    assert_eq!((registers.general.rcx, registers.general.rdi), (2, DEVICE + 0x12));
    registers.rflags = Rflags::DF;
    assert_eq!(run(&bytes, DEVICE + 0x12, &mut device, &mut registers), 0);
    assert_eq!(run(&bytes, DEVICE + 0x10, &mut device, &mut registers), 3);
    assert_eq!((registers.general.rcx, registers.general.rdi), (0, DEVICE + 0xe));
    // repne scasb ends at the byte, repe at another.
    registers.rflags = Rflags::empty();
    registers.general.rcx = 5;
    registers.general.rdi = DEVICE + 0x10;
    assert_eq!(run(&[0xf2, 0xae], DEVICE + 0x10, &mut device, &mut registers), 2);
    assert!(registers.rflags.contains(Rflags::ZF));
    assert_eq!(run(&[0xf3, 0xae], DEVICE + 0x11, &mut device, &mut registers), 2);
    assert_eq!(registers.general.rcx, 3);
    // A count of none: another CPU has changed the instruction.
    registers.general.rcx = 0;
    let none = emulate_in(&guest, &mut device, (&bytes, CodeSize::Bits32, Flat(0)), DEVICE, &paging, &mut registers);
    assert_eq!(none, Err(MmioError::Changed));
}

/// MOVS between a device and memory, in both directions, and between two devices.
#[test]
fn string_moves() {
    let guest = guest_with_device(2);
    let mut device = Device::default();
    let movsq = [0x48, 0xa5];
    let run = |rsi, rdi, gpa, device: &mut Device| {
        let mut registers =
            Registers { general: GuestRegisters { rsi, rdi, ..GuestRegisters::default() }, ..Registers::default() };
        emulate(&guest, device, &movsq, gpa, &mut registers).map(|_| registers.general)
    };
    // From memory, across two pages, to a device.
    guest.set(0x9_0ffc, &[1, 2, 3, 4]);
    guest.set(0x9_8000, &[5, 6, 7, 8]);
    let registers = run(0x5ffc, 0x7020, DEVICE + 0x20, &mut device).unwrap();
    assert_eq!((registers.rsi, registers.rdi), (0x6004, 0x7028));
    assert_eq!(device.accesses, [('w', DEVICE + 0x20, 8)]);
    assert_eq!(device.read(DEVICE + 0x20, Width::Qword), 0x0807_0605_0403_0201);
    // From a device to memory.
    run(0x7020, 0x6100, DEVICE + 0x20, &mut device).unwrap();
    assert_eq!(guest.get_u64(0x9_8100), 0x0807_0605_0403_0201);
    // From a device to another.
    run(0x7020, 0x8008, DEVICE + 0x20, &mut device).unwrap();
    assert_eq!(device.accesses.last(), Some(&('w', DEVICE + 0x5008, 8)));
    // What the guest's tables do not allow is the guest's fault, before the device is read.
    device.accesses.clear();
    let fault = run(0x7020, 0xa000, DEVICE + 0x20, &mut device);
    let Err(MmioError::Access(AccessFault::Page(fault))) = fault else { panic!("{fault:?}") };
    assert_eq!((fault.address, fault.error_code.bits()), (0xa000, 3));
    let fault = run(0x7020, 1 << 60, DEVICE + 0x20, &mut device);
    let Err(MmioError::Access(AccessFault::Segment(fault))) = fault else { panic!("{fault:?}") };
    assert_eq!(fault.0, ExceptionVector::GP);
    assert_eq!(device.accesses, []);
}

/// Random bytes, registers, page tables and answers: no panic, and an end.
#[test]
fn garbage_does_no_harm() {
    let rounds = if cfg!(debug_assertions) { 300_000 } else { 5_000_000 };
    let guest = guest_with_device(1);
    let mut random = Random(0x00ba_dc0d_e123_4567);
    let (mut decoded, mut begun) = (0, 0);
    for _ in 0..rounds {
        let mut bytes = (u128::from(random.next()) << 64 | u128::from(random.next())).to_le_bytes();
        if random.flip() {
            // Mostly an instruction with an address in a register.
            bytes[1] &= 0x3f;
        }
        let code_size = [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64][random.below(3) as usize];
        let length = 1 + random.below(16) as usize;
        let Ok(instruction) = MmioInstruction::decode(&bytes[..length], code_size) else { continue };
        decoded += 1;
        let mut registers = Registers::default();
        let linear = |random: &mut Random| match random.below(4) {
            0 => random.next() >> random.below(64),
            _ => 0x5000 + random.below(0x6000),
        };
        for number in 0..16 {
            registers.general.set(RegisterIndex::new(number), linear(&mut random));
        }
        registers.rflags = Rflags::from_bits(random.next());
        let mut paging = if code_size == CodeSize::Bits64 { long() } else { Paging::default() };
        if random.below(4) == 0 {
            paging.cr0 = Cr0::from_bits(random.next());
            paging.cr3 = random.below(0x40_0000);
            paging.cr4 = Cr4::from_bits(random.next());
            paging.pdptes = random.flip().then(|| [random.below(0x40_0000), 1, random.next(), 0x2001]);
            paging.physical_bits = random.below(64) as u8;
        }
        let general = registers.general;
        let mut context = MmioContext {
            code_size,
            rip: random.next(),
            vector: [random.next() as u8; 16],
            segments: Flat(if random.flip() { 0 } else { random.next() >> 32 }),
            privilege: Privilege { user: random.flip(), alignment_check: random.flip() },
            ..context(DEVICE + random.below(0x1000), &general, &paging)
        };
        let mut memory = guest.memory();
        let mut emulation = None;
        for _ in 0..4 {
            match MmioEmulation::begin(instruction, &context, &mut memory) {
                Ok(found) => emulation = Some(found),
                Err(MmioError::Elsewhere(fault)) => {
                    context.devices = context.devices.with(fault.gpa);
                    context.gpa = fault.gpa;
                }
                Err(_) => {}
            }
        }
        let Some(mut emulation) = emulation else { continue };
        begun += 1;
        let mut ended = false;
        for _ in 0..40 {
            match emulation.next(&mut registers.general, &mut registers.rflags, &mut memory) {
                Ok(MmioStep::Read { .. }) => emulation.read_done(random.next()),
                Ok(MmioStep::Write { .. }) => emulation.write_done(),
                Ok(MmioStep::Done { .. }) | Err(_) => {
                    ended = true;
                    break;
                }
            }
        }
        assert!(ended, "{instruction:?}");
    }
    assert!(decoded > rounds / 20 && begun > rounds / 100, "{decoded} {begun}");
    let _ = MockFrames::live();
}
