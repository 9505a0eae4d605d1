use super::{
    test_guest::{KINDS, RAM, TestGuest},
    *,
};
use crate::nested::{MemoryType, PageSize, Permissions, mock::MockFrames};

#[test]
fn reads_and_writes_what_the_guest_sees() {
    for kind in KINDS {
        let guest = TestGuest::new(kind);
        let mut memory = guest.memory();
        // Across the border of two pages, and of two large ones.
        for gpa in [0x1ffa, (2 << 20) - 3, 0, RAM - 13] {
            memory.write(gpa, b"hello, world!").unwrap();
            assert_eq!(guest.get(gpa, 13), b"hello, world!");
            let mut bytes = [0; 13];
            memory.read(gpa, &mut bytes).unwrap();
            assert_eq!(&bytes, b"hello, world!");
            assert_eq!(memory.read_u64(gpa).unwrap().to_le_bytes(), *b"hello, w");
            assert_eq!(memory.read_u32(gpa).unwrap().to_le_bytes(), *b"hell");
        }
        assert_eq!(memory.read_code_16(0).unwrap().map(u64::to_le_bytes).concat()[..13], *b"hello, world!");
        assert!(memory.read_code_16(0xff1).is_err());
    }
}

#[test]
fn says_what_is_missing() {
    for kind in KINDS {
        let guest = TestGuest::new(kind);
        let mut memory = guest.memory();
        for gpa in [RAM, RAM + 0x1234, 1 << 40, 1 << 48, u64::MAX - 7] {
            let fault = memory.read_u64(gpa).unwrap_err();
            assert_eq!((fault.gpa, fault.reason), (gpa, MemoryFaultReason::NotMapped));
            assert!(fault.access.read && !fault.access.write);
        }
        // The part that is missing is named, and not the start of the access.
        let fault = memory.write(RAM - 4, &[0; 8]).unwrap_err();
        assert_eq!((fault.gpa, fault.access.write), (RAM, true));
        let mut bytes = [0; 16];
        assert_eq!(memory.read(u64::MAX - 3, &mut bytes).unwrap_err().gpa, u64::MAX - 3);
    }
}

#[test]
fn rights_are_those_of_the_nested_table() {
    for kind in KINDS {
        let mut guest = TestGuest::new(kind);
        guest.table.protect(0x1000, 0x1000, Permissions::READ).unwrap();
        guest.table.protect(0x2000, 0x1000, Permissions::READ_EXECUTE).unwrap();
        let mut memory = guest.memory();
        // In this order, so that a remembered leaf could mislead.
        memory.read_u64(0x1000).unwrap();
        let fault = memory.write(0x1000, &[1]).unwrap_err();
        assert_eq!(fault.reason, MemoryFaultReason::NotPermitted);
        let fault = memory.read_code(0x1000, &mut [0]).unwrap_err();
        assert_eq!((fault.reason, fault.access.fetch), (MemoryFaultReason::NotPermitted, true));
        memory.read_code(0x2000, &mut [0]).unwrap();
        assert!(memory.write(0x2fff, &[1, 2]).is_err());
        assert!(memory.set_bits_u64(0x2000, 0, 1).is_err());
        memory.write(0x3000, &[1]).unwrap();
        assert_eq!(memory.set_bits_u64(0x3000, 1, 4), Ok(true));
        assert_eq!(memory.set_bits_u64(0x3000, 1, 8), Ok(false));
        assert_eq!(memory.set_bits_u32(0x3000, 5, 2), Ok(true));
        assert_eq!(guest.get_u64(0x3000), 7);
    }
}

#[test]
fn devices_are_not_touched() {
    for kind in KINDS {
        let mut guest = TestGuest::new(kind);
        let device = MockFrames::leak(0x1000, 0x1000);
        guest.table.map(1 << 32, device, 0x1000, Permissions::ALL, MemoryType::Uncacheable).unwrap();
        assert_eq!(guest.memory().read_u64(1 << 32).unwrap_err().reason, MemoryFaultReason::Device);
        let nested = NestedRoot {
            root: guest.table.root(),
            format: guest.table.format(),
            accessed_dirty: false,
            refuse_uncacheable: false,
        };
        // SAFETY: the table lives, and so does the leaked page.
        let mut memory: GuestMemory<'_, MockFrames> = unsafe { GuestMemory::new(nested) };
        assert_eq!(memory.read_u64(1 << 32), Ok(0));
    }
}

#[test]
fn writes_leave_dirty_bits() {
    for kind in KINDS {
        let guest = TestGuest::new(kind);
        let entries = kind.0.entries();
        let (accessed, dirty) = (entries.accessed, entries.dirty);
        let leaf = |gpa| guest.table.leaf_entry(gpa);
        let mut memory = guest.memory();
        memory.read_u64(0x5000).unwrap();
        assert_eq!(leaf(0x5000) & dirty, 0);
        memory.write(0x5000, &[1]).unwrap();
        assert_eq!(leaf(0x5000) & (accessed | dirty), accessed | dirty);
        assert_eq!(leaf(0x0020_0000) & dirty, 0);
        if kind.1 == PageSize::Size4K {
            assert_eq!(leaf(0x6000) & dirty, 0);
        }
    }
}
