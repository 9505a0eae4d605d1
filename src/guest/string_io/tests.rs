use super::*;
use crate::{
    guest::{
        memory::{
            MemoryFaultReason,
            test_guest::{KINDS, RAM, TestGuest},
        },
        segmentation::SegmentFault,
    },
    nested::Permissions,
    spec::{
        intel::structures::SegmentAccessRights,
        x86::registers::{Cr0, Cr4, Efer, ExceptionVector},
    },
};

const USER: Privilege = Privilege { user: true, alignment_check: false };

/// A data segment, its type (3: writable, 7: writable and expand-down, 1: read-only), and D/B set.
fn segment(base: u64, limit: u32, kind: u32) -> Segment {
    Segment { selector: 8, base, limit, rights: SegmentAccessRights::from_bits(0x40f0 | kind) }
}

fn long() -> Paging {
    Paging {
        cr0: Cr0::PE | Cr0::PG | Cr0::WP,
        cr3: 0x1000,
        cr4: Cr4::PAE,
        efer: Efer::LME | Efer::LMA,
        ..Paging::default()
    }
}

fn io(input: bool, width: Width, repeat: bool, address_size: AddressSize) -> StringIo {
    StringIo { input, width, repeat, address_size, segment: SegmentRegister::Ds }
}

fn start(
    guest: &TestGuest,
    io: StringIo,
    registers: &GuestRegisters,
    paging: &Paging,
    segment: Segment,
) -> Result<Element, AccessFault> {
    let code_size = if paging.long_mode() { CodeSize::Bits64 } else { CodeSize::Bits32 };
    io.start(&mut guest.memory(), registers, &StringContext { paging, privilege: USER, code_size, segment: &segment })
}

#[test]
fn outs_reads_elements() {
    for kind in KINDS {
        let guest = TestGuest::new(kind);
        guest.set(0x2_0000, b"abcdefgh");
        let mut registers = GuestRegisters { rsi: 0x1_0000, rcx: 2, ..GuestRegisters::default() };
        let flat = segment(0x1_0000, u32::MAX, 3);
        let outsd = io(false, Width::Dword, true, AddressSize::Bits32);
        let real = Paging::default();
        assert_eq!(start(&guest, outsd, &registers, &real, flat), Ok(Element::Out(u32::from_le_bytes(*b"abcd"))));
        assert!(!outsd.advance(&mut registers, Rflags::empty()));
        assert_eq!(start(&guest, outsd, &registers, &real, flat), Ok(Element::Out(u32::from_le_bytes(*b"efgh"))));
        assert!(outsd.advance(&mut registers, Rflags::empty()));
        assert_eq!((registers.rsi, registers.rcx), (0x1_0008, 0));
        assert_eq!(start(&guest, outsd, &registers, &real, flat), Ok(Element::None));
        // Without REP the count does not matter.
        let outsb = io(false, Width::Byte, false, AddressSize::Bits32);
        assert!(outsb.advance(&mut registers, Rflags::DF));
        assert_eq!((registers.rsi, registers.rcx), (0x1_0007, 0));
    }
}

#[test]
fn registers_wrap_at_the_address_size() {
    let mut registers = GuestRegisters { rdi: 0xaaaa_ffff, rcx: 0xbbbb_0001, ..GuestRegisters::default() };
    assert!(io(true, Width::Word, true, AddressSize::Bits16).advance(&mut registers, Rflags::empty()));
    assert_eq!((registers.rdi, registers.rcx), (0xaaaa_0001, 0xbbbb_0000));
    let mut registers = GuestRegisters { rdi: 0x1_0000_0000, rcx: 0x1_0000_0000, ..GuestRegisters::default() };
    assert!(!io(true, Width::Byte, true, AddressSize::Bits32).advance(&mut registers, Rflags::DF));
    assert_eq!((registers.rdi, registers.rcx), (0xffff_ffff, 0xffff_ffff));
    let guest = TestGuest::new(KINDS[0]);
    let none = GuestRegisters { rcx: 0xffff_0000, ..GuestRegisters::default() };
    let insb = io(true, Width::Byte, true, AddressSize::Bits16);
    assert_eq!(start(&guest, insb, &none, &Paging::default(), segment(0, 0, 3)), Ok(Element::None));
}

#[test]
fn ins_writes_across_pages_and_marks_them() {
    for kind in KINDS {
        let guest = TestGuest::new(kind);
        guest.map_linear(0x5000, 0x9_0000, 7);
        guest.map_linear(0x6000, 0x9_8000, 7);
        let registers = GuestRegisters { rdi: 0x5ffd, ..GuestRegisters::default() };
        let insd = io(true, Width::Dword, false, AddressSize::Bits64);
        let Ok(Element::In(span)) = start(&guest, insd, &registers, &long(), segment(0, 0, 1)) else { panic!() };
        insd.store(&mut guest.memory(), &span, 0x4433_2211).unwrap();
        assert_eq!(guest.get(0x9_0ffd, 3), [0x11, 0x22, 0x33]);
        assert_eq!(guest.get(0x9_8000, 2), [0x44, 0]);
        // The two leaf entries are dirty.
        assert_eq!(guest.get_u64(0x4028) & 0x60, 0x60);
        assert_eq!(guest.get_u64(0x4030) & 0x60, 0x60);
    }
}

#[test]
fn faults() {
    let mut guest = TestGuest::new(KINDS[0]);
    guest.map_linear(0x5000, 0x9_0000, 7);
    guest.map_linear(0x6000, 0x9_1000, 5);
    guest.map_linear(0x8000, 0x9_2000, 7);
    guest.map_linear(0x9000, RAM, 7);
    guest.table.protect(0x9_2000, 0x1000, Permissions::READ).unwrap();
    let at = |rdi: u64| GuestRegisters { rdi, rsi: rdi, ..GuestRegisters::default() };
    let insd = io(true, Width::Dword, false, AddressSize::Bits64);
    let flat = segment(0, u32::MAX, 3);

    // The second page is read-only, and its address is reported.
    let Err(AccessFault::Page(fault)) = start(&guest, insd, &at(0x5ffe), &long(), flat) else { panic!() };
    assert_eq!((fault.address, fault.error_code.bits()), (0x6000, 7));
    let Err(AccessFault::Page(fault)) = start(&guest, insd, &at(0x7000), &long(), flat) else { panic!() };
    assert_eq!((fault.address, fault.error_code.bits()), (0x7000, 6));
    // The nested table does not allow to write, or maps nothing.
    let Err(AccessFault::Memory(fault)) = start(&guest, insd, &at(0x8000), &long(), flat) else { panic!() };
    assert_eq!((fault.gpa, fault.reason), (0x9_2000, MemoryFaultReason::NotPermitted));
    let Err(AccessFault::Memory(fault)) = start(&guest, insd, &at(0x9010), &long(), flat) else { panic!() };
    assert_eq!((fault.gpa, fault.reason, fault.access.write), (RAM + 0x10, MemoryFaultReason::NotMapped, true));

    let gp = Err(AccessFault::Segment(SegmentFault(ExceptionVector::GP)));
    let ss = Err(AccessFault::Segment(SegmentFault(ExceptionVector::SS)));
    assert_eq!(start(&guest, insd, &at(0x8000_0000_0000), &long(), flat), gp);
    assert_eq!(start(&guest, insd, &at(0x7fff_ffff_fffe), &long(), flat), gp);

    let real = Paging::default();
    let outsd = io(false, Width::Dword, false, AddressSize::Bits32);
    let from = |register: SegmentRegister| StringIo { segment: register, ..outsd };
    assert!(start(&guest, outsd, &at(0xfc), &real, segment(0, 0xff, 3)).is_ok());
    assert_eq!(start(&guest, outsd, &at(0xfd), &real, segment(0, 0xff, 3)), gp);
    assert_eq!(start(&guest, from(SegmentRegister::Ss), &at(0xfd), &real, segment(0, 0xff, 3)), ss);
    assert_eq!(start(&guest, outsd, &at(0xffff_fffe), &real, flat), gp);
    // Read-only, execute-only, unusable.
    assert!(start(&guest, outsd, &at(0), &real, segment(0, 0xff, 1)).is_ok());
    let into = StringIo { input: true, ..outsd };
    assert_eq!(start(&guest, into, &at(0), &real, segment(0, 0xff, 1)), gp);
    assert_eq!(start(&guest, outsd, &at(0), &real, segment(0, 0xff, 9)), gp);
    assert!(start(&guest, outsd, &at(0), &real, segment(0, 0xff, 0xb)).is_ok());
    assert_eq!(start(&guest, outsd, &at(0), &real, segment(0, 0xff, 0x1_0003)), gp);
    // Expand-down: what is above the limit.
    assert_eq!(start(&guest, outsd, &at(0xff), &real, segment(0, 0xff, 7)), gp);
    assert!(start(&guest, outsd, &at(0x100), &real, segment(0, 0xff, 7)).is_ok());
    assert_eq!(start(&guest, outsd, &at(0xffff_fffd), &real, segment(0, 0xff, 7)), gp);
}
