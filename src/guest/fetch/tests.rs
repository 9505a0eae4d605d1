use super::*;
use crate::{
    guest::{
        decode::{Expected, skip_length},
        memory::test_guest::{KINDS, TestGuest},
    },
    spec::x86::registers::{Cr0, Cr4, Efer},
};

fn long() -> Paging {
    Paging { cr0: Cr0::PE | Cr0::PG, cr3: 0x1000, cr4: Cr4::PAE, efer: Efer::LME | Efer::LMA, ..Paging::default() }
}

fn length(guest: &TestGuest, paging: &Paging, code: CodeAddress, expected: Expected) -> Result<Option<u8>, WalkFault> {
    let mut memory = guest.memory();
    let mut bytes = InstructionBytes::fetch(&mut memory, paging, code)?;
    let skip = |bytes: &[u8]| skip_length(bytes, code.size, expected).ok_or(DecodeError::Truncated);
    Ok(bytes.decode(&mut memory, paging, code, skip)?.ok())
}

#[test]
fn instructions_within_a_page_and_across_two() {
    for kind in KINDS {
        let guest = TestGuest::new(kind);
        // Two linear pages that are apart in physical memory.
        guest.map_linear(0x5000, 0x9_0000, 0x67);
        guest.map_linear(0x6000, 0x8_0000, 0x67);
        let prefixed = [0xf3, 0x2e, 0x48, 0x0f, 0xa2];
        for start in (0x0fd0..0x0fff).chain([0]) {
            for (index, byte) in prefixed.iter().enumerate() {
                let offset = start + index as u64;
                guest.set(if offset < 0x1000 { 0x9_0000 + offset } else { 0x8_0000 + offset - 0x1000 }, &[*byte]);
            }
            let code = CodeAddress { size: CodeSize::Bits64, linear: 0x5000 + start };
            assert_eq!(length(&guest, &long(), code, Expected::Cpuid), Ok(Some(5)), "{start:#x}");
            assert_eq!(length(&guest, &long(), code, Expected::Hlt), Ok(None));
        }
    }
}

#[test]
fn the_second_page_is_read_only_if_needed() {
    let guest = TestGuest::new(KINDS[0]);
    guest.map_linear(0x5000, 0x9_0000, 0x67);
    guest.set(0x9_0ffe, &[0x0f, 0xa2]);
    let code = |linear| CodeAddress { size: CodeSize::Bits64, linear };
    assert_eq!(length(&guest, &long(), code(0x5ffe), Expected::Cpuid), Ok(Some(2)));
    guest.set(0x9_0ffe, &[0x66, 0x0f]);
    let fault = length(&guest, &long(), code(0x5ffe), Expected::Cpuid).unwrap_err();
    assert!(matches!(fault, WalkFault::PageFault(fault) if fault.address == 0x6000));
    // Linear addresses of 32-bit code wrap.
    let flat = Paging::default();
    let high = CodeAddress { size: CodeSize::Bits32, linear: 0xffff_fffe };
    assert!(
        matches!(length(&guest, &flat, high, Expected::Cpuid), Err(WalkFault::Memory(fault)) if fault.gpa == 0xffff_fffe)
    );
}

#[test]
fn devices_at_the_end_of_a_page() {
    let guest = TestGuest::new(KINDS[2]);
    guest.map_linear(0x5000, 0x9_0000, 0x67);
    guest.map_linear(0x6000, 0x8_0000, 0x67);
    // mov eax, [rbx + 0x11223344]
    guest.set(0x9_0ffd, &[0x8b, 0x83, 0x44]);
    guest.set(0x8_0000, &[0x33, 0x22, 0x11]);
    let code = CodeAddress { size: CodeSize::Bits64, linear: 0x5ffd };
    let mut memory = guest.memory();
    let mut bytes = InstructionBytes::EMPTY;
    bytes.fetch_into(&mut memory, &long(), code).unwrap();
    assert_eq!(bytes.as_slice().len(), 3);
    let instruction = bytes.decode_mmio(&mut memory, &long(), code).unwrap().unwrap();
    assert_eq!(instruction, MmioInstruction::decode(bytes.as_slice(), CodeSize::Bits64).unwrap());
    assert_eq!(instruction.length, 6);
}

#[test]
fn bytes_that_the_cpu_delivered() {
    assert_eq!(InstructionBytes::new(&[1, 2, 3]).as_slice(), [1, 2, 3]);
    assert_eq!(InstructionBytes::new(&[7; 40]).as_slice().len(), MAX_LENGTH);
}
