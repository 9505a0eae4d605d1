//! One entry of a nested page table, in its place.

use core::sync::atomic::{AtomicU64, Ordering};

use memory_addr::PhysAddr;

use super::{
    MemoryType, NestedFormat, PageSize, Permissions, Translation,
    format::{EntryFormat, entry_offset},
};
use crate::frame::FrameSource;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Not in use.
    Nothing,
    /// It points at the table of the next level.
    Table,
    /// It maps a page.
    Leaf,
}

/// An entry of a table that is part of a tree, and the level it stands on. Made only by [`Slot::of_table`] from the root or
/// from [`Slot::table`], while the tree is borrowed.
pub(super) struct Slot {
    format: &'static EntryFormat,
    entry: *mut u64,
    /// The lowest address bit that selects an entry on this level.
    shift: u32,
}

impl Slot {
    /// The entry for `gpa` in a table at `table`.
    #[inline]
    pub fn of_table<S: FrameSource>(format: NestedFormat, table: PhysAddr, gpa: u64, shift: u32) -> Self {
        let entry = S::phys_to_virt(table).as_mut_ptr().wrapping_add(entry_offset(gpa, shift)).cast();
        Self { format: format.entries(), entry, shift }
    }

    pub fn shift(&self) -> u32 {
        self.shift
    }

    /// The first address that this entry is responsible for, if it is responsible for `gpa`.
    pub fn begin(&self, gpa: u64) -> u64 {
        gpa >> self.shift << self.shift
    }

    /// The first address behind them.
    pub fn end(&self, gpa: u64) -> u64 {
        self.begin(gpa) + (1 << self.shift)
    }

    #[cfg(test)]
    pub fn entry(&self) -> *mut u64 {
        self.entry
    }

    fn atomic(&self) -> &AtomicU64 {
        // SAFETY: `entry` lies in a table of the tree, 4096 bytes that `FrameSource` promised, at a multiple of 8 below 4096.
        // The CPU changes accessed and dirty bits meanwhile, and walks on behalf of the guest read it: all atomically.
        unsafe { AtomicU64::from_ptr(self.entry) }
    }

    fn get(&self) -> u64 {
        self.atomic().load(Ordering::Acquire)
    }

    /// The CPU and other readers see the entry as it was or as it is, and with it what it points at.
    fn set(&self, value: u64) {
        self.atomic().store(value, Ordering::Release);
    }

    #[inline]
    pub fn content(&self) -> Content {
        self.content_of(self.get())
    }

    #[inline]
    fn content_of(&self, value: u64) -> Content {
        if value & self.format.present == 0 {
            Content::Nothing
        } else if self.shift == PageSize::Size4K.shift() || value & self.format.large != 0 {
            Content::Leaf
        } else {
            Content::Table
        }
    }

    /// The table that it points at, if it does.
    #[inline]
    pub fn table(&self) -> Option<PhysAddr> {
        let value = self.get();
        (self.content_of(value) == Content::Table).then(|| self.address_of(value))
    }

    fn address_of(&self, value: u64) -> PhysAddr {
        PhysAddr::from((value & self.format.address) as usize)
    }

    pub fn translation(&self, gpa: u64) -> Option<Translation> {
        let value = self.get();
        if self.content_of(value) != Content::Leaf {
            return None;
        }
        let format = self.format;
        let allowed = value ^ format.inverted;
        let offset = (1 << self.shift) - 1;
        Some(Translation {
            hpa: value & format.address & !offset | gpa & offset,
            permissions: Permissions {
                write: allowed & format.write == format.write,
                execute: allowed & format.execute == format.execute,
            },
            memory_type: if value & format.memory_type == format.uncacheable {
                MemoryType::Uncacheable
            } else {
                MemoryType::WriteBack
            },
            size: match self.shift {
                30 => PageSize::Size1G,
                21 => PageSize::Size2M,
                _ => PageSize::Size4K,
            },
        })
    }

    pub fn clear(&self) {
        self.set(0);
    }

    pub fn set_table(&self, table: PhysAddr) {
        self.set(table.as_usize() as u64 | self.format.table);
    }

    #[inline]
    pub fn set_leaf(&self, hpa: u64, permissions: Permissions, memory_type: MemoryType) {
        let format = self.format;
        let memory_type = match memory_type {
            MemoryType::WriteBack => format.write_back,
            MemoryType::Uncacheable => format.uncacheable,
        };
        let large = if self.shift == PageSize::Size4K.shift() { 0 } else { format.large };
        self.set(hpa | self.permission_bits(permissions) | memory_type | large);
    }

    pub fn set_permissions(&self, permissions: Permissions) {
        let rights = self.format.read | self.format.write | self.format.execute;
        let bits = self.permission_bits(permissions);
        // The CPU may set accessed and dirty bits meanwhile.
        let _ = self.atomic().fetch_update(Ordering::AcqRel, Ordering::Acquire, |value| Some(value & !rights | bits));
    }

    fn permission_bits(&self, permissions: Permissions) -> u64 {
        let format = self.format;
        let mut allowed = format.read;
        if permissions.write {
            allowed |= format.write;
        }
        if permissions.execute {
            allowed |= format.execute;
        }
        allowed ^ format.inverted
    }

    /// Fills a new table so that it says what this slot says: nothing, or the same leaf in smaller pages.
    pub fn fill_split<S: FrameSource>(&self, table: PhysAddr) {
        let value = self.get();
        if self.content_of(value) != Content::Leaf || self.shift == PageSize::Size4K.shift() {
            return;
        }
        let shift = self.shift - 9;
        // The bit has another meaning in 4 KiB entries.
        let value = if shift == PageSize::Size4K.shift() { value & !self.format.large } else { value };
        for index in 0..512_u64 {
            let entry = S::phys_to_virt(table).as_mut_ptr().wrapping_add(entry_offset(index << shift, shift)).cast();
            Self { format: self.format, entry, shift }.set(value | index << shift);
        }
    }
}
