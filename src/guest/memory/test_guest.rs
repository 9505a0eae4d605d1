//! A guest for tests: a nested page table with some memory behind it.

extern crate std;

use std::vec::Vec;

use memory_addr::PhysAddr;

use super::{GuestMemory, NestedRoot};
use crate::nested::{
    MemoryType, NestedCapabilities, NestedFormat, NestedTable, PageSize, Permissions, mock::MockFrames,
};

/// Its memory is at guest-physical 0.
pub(crate) struct TestGuest {
    pub table: NestedTable<MockFrames>,
    ram: PhysAddr,
}

/// How much memory it has.
pub(crate) const RAM: u64 = 4 << 20;

/// Both formats, by small and by large pages.
pub(crate) const KINDS: [(NestedFormat, PageSize); 4] = [
    (NestedFormat::Ept, PageSize::Size4K),
    (NestedFormat::Ept, PageSize::Size2M),
    (NestedFormat::Npt, PageSize::Size4K),
    (NestedFormat::Npt, PageSize::Size2M),
];

impl Drop for TestGuest {
    fn drop(&mut self) {
        MockFrames::unleak(self.ram, RAM as usize, 2 << 20);
    }
}

impl TestGuest {
    pub fn new((format, largest): (NestedFormat, PageSize)) -> Self {
        let ram = MockFrames::leak(RAM as usize, 2 << 20);
        let capabilities = NestedCapabilities { largest_page: largest, ..format.into() };
        let mut table = NestedTable::new(capabilities).unwrap();
        table.map(0, ram, RAM, Permissions::ALL, MemoryType::WriteBack).unwrap();
        Self { table, ram }
    }

    pub fn memory(&self) -> GuestMemory<'_, MockFrames> {
        let nested = NestedRoot {
            root: self.table.root(),
            format: self.table.format(),
            accessed_dirty: true,
            refuse_uncacheable: true,
        };
        // SAFETY: the table and the leaked memory live as long as `self` is borrowed.
        unsafe { GuestMemory::new(nested) }
    }

    /// Where the test itself sees a byte.
    fn at(&self, gpa: u64) -> *mut u8 {
        assert!(gpa < RAM);
        (self.ram.as_usize() + gpa as usize) as *mut u8
    }

    pub fn set(&self, gpa: u64, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: `at` checks that it is in the leaked memory.
            unsafe { self.at(gpa + index as u64).write(*byte) };
        }
    }

    pub fn get(&self, gpa: u64, length: u64) -> Vec<u8> {
        // SAFETY: as in `set`.
        (gpa..gpa + length).map(|gpa| unsafe { self.at(gpa).read() }).collect()
    }

    pub fn set_u64(&self, gpa: u64, value: u64) {
        self.set(gpa, &value.to_le_bytes());
    }

    pub fn get_u64(&self, gpa: u64) -> u64 {
        u64::from_le_bytes(self.get(gpa, 8).try_into().unwrap())
    }

    /// Maps a linear page in 4-level tables whose root is at 0x1000, with these bits in every entry.
    pub fn map_linear(&self, linear: u64, gpa: u64, bits: u64) {
        self.map_linear_at(0x1000, 39, linear, gpa, bits);
    }

    /// The same below a table whose entries select the address bits from `top` on. Tables are made from 0x2000 on.
    pub fn map_linear_at(&self, root: u64, top: u32, linear: u64, gpa: u64, bits: u64) {
        let mut table = root;
        let mut shift = top;
        while shift > 12 {
            let entry = table + (linear >> shift & 0x1ff) * 8;
            if self.get_u64(entry) == 0 {
                // The next free table: its number is kept in the last word of memory.
                let next = self.get_u64(RAM - 8).max(2);
                assert!(next < 0x80, "too many tables");
                self.set_u64(RAM - 8, next + 1);
                self.set_u64(entry, next << 12 | bits);
            }
            table = self.get_u64(entry) & 0x000f_ffff_ffff_f000;
            shift -= 9;
        }
        self.set_u64(table + (linear >> 12 & 0x1ff) * 8, gpa | bits);
    }
}
