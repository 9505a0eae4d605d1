extern crate std;

use std::{vec, vec::Vec};

use super::*;
use crate::{
    exit::Access,
    guest::{
        memory::{MemoryFault, MemoryFaultReason},
        registers::DescriptorTable,
    },
};

const GDT: u64 = 0x1000;
const OLD_TSS: u64 = 0x2000;
const NEW_TSS: u64 = 0x3000;
const NEW_STACK: u64 = 0x5000;
const CODE_SELECTOR: u16 = 0x08;
const DATA_SELECTOR: u16 = 0x10;
const OLD: u16 = 0x18;
const NEW: u16 = 0x20;
const NEW_16: u16 = 0x28;
const LDT: u16 = 0x30;
const ABSENT_DATA: u16 = 0x38;

/// Flat memory; one page may be missing.
struct Flat {
    bytes: Vec<u8>,
    missing: Option<u64>,
    cr3: Option<u64>,
}

impl Flat {
    fn check(&self, linear: u64) -> Result<(), AccessFault> {
        if self.missing == Some(linear & !0xfff) || linear as usize >= self.bytes.len() {
            let access = Access { read: true, write: false, fetch: false };
            return Err(MemoryFault { gpa: linear, access, reason: MemoryFaultReason::NotMapped }.into());
        }
        Ok(())
    }

    fn put(&mut self, at: u64, value: u64, length: usize) {
        self.bytes[at as usize..][..length].copy_from_slice(&value.to_le_bytes()[..length]);
    }

    fn get(&self, at: u64, length: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(&self.bytes[at as usize..][..length]);
        u64::from_le_bytes(bytes)
    }

    fn descriptor(&mut self, selector: u16, base: u64, limit: u64, rights: u64) {
        let low = limit & 0xffff | (base & 0xff_ffff) << 16;
        let high = rights << 40 | (limit & 0xf_0000) << 32 | (base & 0xff00_0000) << 32;
        self.put(GDT + u64::from(selector), low | high, 8);
    }

    fn rights(&self, selector: u16) -> u64 {
        self.get(GDT + u64::from(selector) + 5, 1)
    }
}

impl TaskMemory for Flat {
    fn read(&mut self, linear: u64, bytes: &mut [u8]) -> Result<(), AccessFault> {
        for (byte, at) in bytes.iter_mut().zip(linear..) {
            self.check(at)?;
            *byte = self.bytes[at as usize];
        }
        Ok(())
    }

    fn write(&mut self, linear: u64, bytes: &[u8], _: bool) -> Result<(), AccessFault> {
        for (byte, at) in bytes.iter().zip(linear..) {
            self.check(at)?;
            self.bytes[at as usize] = *byte;
        }
        Ok(())
    }

    fn probe_write(&mut self, linear: u64, length: u64) -> Result<(), AccessFault> {
        self.check(linear).and_then(|()| self.check(linear + length - 1))
    }

    fn set_cr3(&mut self, cr3: u64) {
        self.cr3 = Some(cr3);
    }
}

struct World {
    memory: Flat,
    system: SystemRegisters,
    registers: GuestRegisters,
}

impl World {
    fn new() -> Self {
        let mut memory = Flat { bytes: vec![0; 0x8000], missing: None, cr3: None };
        memory.descriptor(CODE_SELECTOR, 0, 0xf_ffff, 0xc09a);
        memory.descriptor(DATA_SELECTOR, 0, 0xf_ffff, 0xc092);
        memory.descriptor(OLD, OLD_TSS, 103, 0x8b);
        memory.descriptor(NEW, NEW_TSS, 103, 0x89);
        memory.descriptor(NEW_16, NEW_TSS, 43, 0x81);
        memory.descriptor(LDT, 0x6000, 0xff, 0x82);
        memory.descriptor(ABSENT_DATA, 0, 0xf_ffff, 0xc012);
        let values = [0x1234, 0x2, 0xa, 0xc, 0xd, 0xb, NEW_STACK, 0xeb, 0x51, 0xd1];
        for (index, value) in values.into_iter().enumerate() {
            memory.put(NEW_TSS + 0x20 + 4 * index as u64, value, 4);
        }
        let data = DATA_SELECTOR;
        for (index, selector) in [data, CODE_SELECTOR, data, data, data, 0].into_iter().enumerate() {
            memory.put(NEW_TSS + 0x48 + 4 * index as u64, selector.into(), 4);
        }
        memory.put(NEW_TSS + 0x1c, 0x7000, 4);
        let flat = Segment {
            selector: DATA_SELECTOR,
            base: 0,
            limit: u32::MAX,
            rights: SegmentAccessRights::from_bits(0xc093),
        };
        let system = SystemRegisters {
            cs: Segment { selector: CODE_SELECTOR, rights: SegmentAccessRights::from_bits(0xc09b), ..flat },
            ss: flat,
            ds: flat,
            es: flat,
            tr: Segment { selector: OLD, base: OLD_TSS, limit: 103, rights: SegmentAccessRights::from_bits(0x8b) },
            gdtr: DescriptorTable { base: GDT, limit: 0x3f },
            cr0: Cr0::PE | Cr0::PG,
            rflags: Rflags::from_bits(0x202),
            rip: 0x4321,
            rsp: 0x4000,
            ..SystemRegisters::default()
        };
        Self { memory, system, registers: GuestRegisters { rax: 0xaa, rdi: 0xdd, ..GuestRegisters::default() } }
    }

    fn switch(&mut self, selector: u16, cause: Cause) -> Result<Switched, Refused> {
        switch(&mut self.system, &mut self.registers, &mut self.memory, selector, cause)
    }
}

fn raised(vector: ExceptionVector, code: u32) -> Refused {
    Refused::Raise(Event::exception(vector, Some(code)))
}

#[test]
fn a_call_nests_and_an_iret_comes_back() {
    let mut world = World::new();
    assert_eq!(world.switch(NEW, Cause::Call), Ok(Switched::default()));
    let system = world.system;
    assert_eq!((system.rip, system.rsp, world.registers.rsp), (0x1234, NEW_STACK, NEW_STACK));
    assert_eq!((world.registers.rax, world.registers.rbp, world.registers.rdi), (0xa, 0xeb, 0xd1));
    assert_eq!((system.tr.selector, system.tr.base), (NEW, NEW_TSS));
    assert_eq!(system.tr.rights.segment_type(), SystemSegmentType::TSS_BUSY.0);
    assert!(system.rflags.contains(Rflags::NT) && system.cr0.contains(Cr0::TS));
    assert_eq!((system.cr3, world.memory.cr3), (0x7000, Some(0x7000)));
    assert!(system.gs.rights.contains(SegmentAccessRights::UNUSABLE));
    assert!(system.ldtr.rights.contains(SegmentAccessRights::UNUSABLE));
    assert_eq!((system.cs.limit, system.cs.rights.bits()), (u32::MAX, 0xc09b));
    // Both are busy, the link leads back, and the accessed bits are set.
    assert_eq!((world.memory.rights(OLD), world.memory.rights(NEW)), (0x8b, 0x8b));
    assert_eq!(world.memory.get(NEW_TSS, 2), u64::from(OLD));
    assert_eq!(world.memory.rights(CODE_SELECTOR), 0x9b);
    assert_eq!((world.memory.get(OLD_TSS + 0x20, 4), world.memory.get(OLD_TSS + 0x24, 4)), (0x4321, 0x202));
    assert_eq!((world.memory.get(OLD_TSS + 0x28, 4), world.memory.get(OLD_TSS + 0x38, 4)), (0xaa, 0x4000));
    assert_eq!(world.memory.get(OLD_TSS + 0x4c, 2), u64::from(CODE_SELECTOR));

    world.system.rip = 0x5555;
    assert_eq!(world.switch(OLD, Cause::Return), Ok(Switched::default()));
    assert_eq!((world.system.rip, world.registers.rax, world.system.rsp), (0x4321, 0xaa, 0x4000));
    assert!(!world.system.rflags.contains(Rflags::NT));
    assert_eq!((world.memory.rights(OLD), world.memory.rights(NEW)), (0x8b, 0x89));
    assert_eq!(world.memory.get(NEW_TSS + 0x24, 4) & 1 << 14, 0, "the old task's NT is cleared in its image");
}

#[test]
fn a_jump_leaves_the_old_task() {
    let mut world = World::new();
    assert_eq!(world.switch(NEW, Cause::Jump), Ok(Switched::default()));
    assert!(!world.system.rflags.contains(Rflags::NT));
    assert_eq!((world.memory.rights(OLD), world.memory.rights(NEW)), (0x89, 0x8b));
    assert_eq!(world.memory.get(NEW_TSS, 2), 0);
}

#[test]
fn a_segment_of_16_bits() {
    let mut world = World::new();
    for (index, value) in [0x1234, 0x202, 1, 2, 3, 4, 0x5000, 5, 6, 7].into_iter().enumerate() {
        world.memory.put(NEW_TSS + 14 + 2 * index as u64, value, 2);
    }
    for (index, selector) in [DATA_SELECTOR, CODE_SELECTOR, DATA_SELECTOR, DATA_SELECTOR].into_iter().enumerate() {
        world.memory.put(NEW_TSS + 34 + 2 * index as u64, selector.into(), 2);
    }
    world.memory.put(NEW_TSS + 42, LDT.into(), 2);
    let cause = Cause::Event { external: false, error_code: Some(0x18) };
    assert_eq!(world.switch(NEW_16, cause), Ok(Switched::default()));
    assert_eq!((world.system.rip, world.registers.rcx, world.system.ldtr.base), (0x1234, 2, 0x6000));
    assert_eq!(world.system.tr.rights.segment_type(), SystemSegmentType::TSS_16_BUSY.0);
    assert_eq!((world.system.rsp, world.memory.get(0x4ffe, 2)), (0x4ffe, 0x18));
    assert_eq!(world.memory.cr3, None, "a segment of 16 bits has none");
}

#[test]
fn an_error_code_is_pushed_in_the_new_task() {
    let mut world = World::new();
    world.memory.put(NEW_TSS + 0x64, 1, 2);
    let cause = Cause::Event { external: true, error_code: Some(2) };
    assert_eq!(world.switch(NEW, cause), Ok(Switched { fault: None, debug_trap: true }));
    assert_eq!((world.system.rsp, world.memory.get(NEW_STACK - 4, 4)), (NEW_STACK - 4, 2));
    assert!(world.system.rflags.contains(Rflags::NT));
}

#[test]
fn what_is_no_task_changes_nothing() {
    use ExceptionVector as V;
    let external = Cause::Event { external: true, error_code: None };
    for (selector, cause, vector, code) in [
        (0, Cause::Call, V::GP, 0),
        (NEW | 4, Cause::Jump, V::GP, NEW | 4),
        (0x40, Cause::Return, V::TS, 0x40),
        (OLD, Cause::Call, V::GP, OLD),
        (NEW, Cause::Return, V::TS, NEW),
        (DATA_SELECTOR, Cause::Jump, V::GP, DATA_SELECTOR),
        (OLD, external, V::GP, OLD | 1),
    ] {
        let mut world = World::new();
        let before = (world.system, world.registers, world.memory.bytes.clone());
        assert_eq!(world.switch(selector, cause), Err(raised(vector, code.into())), "{selector:#x} {cause:?}");
        assert!(before == (world.system, world.registers, world.memory.bytes));
    }
    let mut world = World::new();
    world.memory.descriptor(NEW, NEW_TSS, 102, 0x89);
    assert_eq!(world.switch(NEW, Cause::Call), Err(raised(V::TS, NEW.into())));
    world.memory.descriptor(NEW, NEW_TSS, 103, 0x09);
    assert_eq!(world.switch(NEW, Cause::Call), Err(raised(V::NP, NEW.into())));
}

#[test]
fn missing_memory_changes_nothing() {
    for missing in [GDT, OLD_TSS, NEW_TSS] {
        let mut world = World::new();
        world.memory.missing = Some(missing);
        let before = (world.system, world.registers, world.memory.bytes.clone());
        let refused = world.switch(NEW, Cause::Call);
        assert!(matches!(refused, Err(Refused::Access(_))), "{missing:#x}: {refused:?}");
        assert!(before == (world.system, world.registers, world.memory.bytes));
    }
}

#[test]
fn faults_of_the_new_task_come_in_it() {
    use ExceptionVector as V;
    for (at, selector, vector, code) in [
        (0x60, u64::from(DATA_SELECTOR), V::TS, DATA_SELECTOR),
        (0x4c, 0, V::TS, 0),
        (0x4c, DATA_SELECTOR.into(), V::TS, DATA_SELECTOR),
        (0x4c, u64::from(CODE_SELECTOR) | 3, V::TS, CODE_SELECTOR),
        (0x50, 0, V::TS, 0),
        (0x50, CODE_SELECTOR.into(), V::TS, CODE_SELECTOR),
        (0x50, ABSENT_DATA.into(), V::SS, ABSENT_DATA),
        (0x54, ABSENT_DATA.into(), V::NP, ABSENT_DATA),
        (0x58, NEW.into(), V::TS, NEW),
        (0x5c, 0x1f8, V::TS, 0x1f8),
    ] {
        let mut world = World::new();
        world.memory.put(NEW_TSS + at, selector, 2);
        let switched = world.switch(NEW, Cause::Jump).unwrap();
        assert_eq!(switched.fault, Some(raised(vector, code.into())), "{at:#x}");
        assert_eq!((world.system.tr.selector, world.system.rip), (NEW, 0x1234));
        // The CPU can enter this: CS and SS are usable, of one privilege.
        assert!(world.system.cs.rights.contains(SegmentAccessRights::P));
        assert_eq!(world.system.cs.rights.dpl(), world.system.ss.rights.dpl());
    }
}

#[test]
fn a_virtual_8086_task() {
    let mut world = World::new();
    world.memory.put(NEW_TSS + 0x24, 0x2_0002, 4);
    world.memory.put(NEW_TSS + 0x4c, 0x4200, 2);
    world.memory.put(NEW_TSS + 0x54, 0x1234, 2);
    assert_eq!(world.switch(NEW, Cause::Jump), Ok(Switched::default()));
    let system = world.system;
    assert_eq!((system.cs.base, system.cs.limit, system.cs.rights.bits()), (0x4_2000, 0xffff, 0xf3));
    assert_eq!((system.ds.base, system.ss.rights.dpl()), (0x1_2340, 3));
}
