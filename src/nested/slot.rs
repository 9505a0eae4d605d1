//! One entry of a nested page table, in its place.

use core::sync::atomic::{AtomicU64, Ordering};

use memory_addr::PhysAddr;

use super::{
    NestedCapabilities, NestedFormat, PageSize, Permissions, Translation,
    caching::{self, CachingBits},
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

    /// The bits of an address that lie within what this entry is responsible for; `shift` is below 64.
    pub fn offset_bits(&self) -> u64 {
        !(u64::MAX.wrapping_shl(self.shift))
    }

    /// The first address that this entry is responsible for, if it is responsible for `gpa`.
    pub fn begin(&self, gpa: u64) -> u64 {
        gpa & !self.offset_bits()
    }

    /// The first address behind them.
    pub fn end(&self, gpa: u64) -> u64 {
        // Tables reach 57 bits.
        (gpa | self.offset_bits()).wrapping_add(1)
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

    fn is_small(&self) -> bool {
        self.shift == PageSize::Size4K.shift()
    }

    pub fn page_size(&self) -> PageSize {
        match self.shift {
            30 => PageSize::Size1G,
            21 => PageSize::Size2M,
            _ => PageSize::Size4K,
        }
    }

    /// What the leaf for `gpa` says, if it is one.
    pub fn translation(&self, gpa: u64, capabilities: &NestedCapabilities) -> Option<Translation> {
        let value = self.get();
        if self.content_of(value) != Content::Leaf {
            return None;
        }
        let format = self.format;
        let offset = self.offset_bits();
        let caching = caching::decode(value, self.is_small(), capabilities);
        Some(Translation {
            hpa: value & format.address & !offset | gpa & offset,
            permissions: self.permissions_of(value),
            memory_type: caching.memory_type,
            ignore_pat: caching.ignore_pat,
            accessed: value & format.accessed != 0,
            dirty: value & format.dirty != 0,
            size: self.page_size(),
        })
    }

    /// What the guest may do; a write that is to be logged is permitted.
    fn permissions_of(&self, value: u64) -> Permissions {
        let format = self.format;
        let allowed = value ^ format.inverted;
        let logged = value & format.logged != 0;
        Permissions {
            read: allowed & format.read == format.read,
            write: logged || allowed & format.write == format.write,
            execute: allowed & format.execute == format.execute,
        }
    }

    /// The entry as it stands, if it is a leaf.
    pub fn leaf(&self) -> Option<u64> {
        let value = self.get();
        (self.content_of(value) == Content::Leaf).then_some(value)
    }

    /// What a leaf with this entry permits.
    pub fn permissions(&self) -> Option<Permissions> {
        self.leaf().map(|value| self.permissions_of(value))
    }

    /// Whether writes to the leaf are to be logged.
    pub fn is_logged(&self) -> bool {
        self.leaf().is_some_and(|value| value & self.format.logged != 0)
    }

    /// Changes a leaf to what `change` makes of it; nothing if it is none, or `change` does not want to. Says whether it changed.
    pub fn update(&self, mut change: impl FnMut(u64) -> Option<u64>) -> bool {
        let changed = self.atomic().fetch_update(Ordering::AcqRel, Ordering::Acquire, |value| {
            if self.content_of(value) != Content::Leaf {
                return None;
            }
            change(value).filter(|new| *new != value)
        });
        changed.is_ok()
    }

    pub fn clear(&self) {
        self.set(0);
    }

    /// Makes it a leaf. The type's bits are those of the slot's size of page.
    #[inline]
    pub fn set_leaf(&self, hpa: u64, permissions: Permissions, memory_type: u64, logging: Logging) {
        let large = if self.is_small() { 0 } else { self.format.large };
        self.set(hpa | self.permission_bits(permissions, logging) | memory_type | large);
    }

    /// The same where the type is still to be chosen by size.
    pub fn set_leaf_with(&self, hpa: u64, permissions: Permissions, types: CachingBits, logging: Logging) {
        self.set_leaf(hpa, permissions, if self.is_small() { types.small } else { types.large }, logging);
    }

    /// The CPU may set accessed and dirty bits meanwhile.
    pub fn set_permissions(&self, permissions: Permissions, logging: Logging) {
        let rights = self.format.read | self.format.write | self.format.execute | self.format.logged;
        let bits = self.permission_bits(permissions, logging);
        self.update(|value| Some(value & !rights | bits));
    }

    /// Lets a leaf map another page, of which nothing is known to be dirty.
    pub fn set_address(&self, hpa: u64) {
        let format = self.format;
        let old = format.address & !self.offset_bits() | format.accessed | format.dirty;
        self.update(|value| Some(value & !old | hpa));
    }

    #[inline]
    fn permission_bits(&self, permissions: Permissions, logging: Logging) -> u64 {
        let format = self.format;
        let mut allowed = if permissions.read { format.read } else { 0 };
        let mut logged = 0;
        if permissions.write {
            match logging {
                Logging::Off => allowed |= format.write,
                Logging::WriteProtection => logged = format.logged,
                Logging::Dirty => {
                    allowed |= format.write;
                    logged = format.logged;
                }
            }
        }
        if permissions.execute {
            allowed |= format.execute;
        }
        (allowed ^ format.inverted) | logged
    }

    /// Prepares a leaf that may be written for logging, or ends it.
    pub fn set_logging(&self, logging: Logging) -> bool {
        let format = self.format;
        self.update(|value| {
            let writable = self.permissions_of(value).write;
            Some(match logging {
                Logging::Off if writable => value & !format.logged | format.write,
                _ if !writable => value,
                Logging::Off => value,
                Logging::WriteProtection => value & !only_write(format) | format.logged,
                Logging::Dirty => value & !format.dirty | format.logged | format.write,
            })
        })
    }

    /// Lets the guest write to a leaf whose writes are logged. Says whether it may write now.
    pub fn permit_logged_write(&self) -> bool {
        let format = self.format;
        self.update(|value| (value & format.logged != 0).then_some(value | format.write));
        self.leaf().is_some_and(|value| (value ^ format.inverted) & format.write == format.write)
    }

    /// Takes flags that the CPU sets away. Says whether there were any.
    pub fn clear_flags(&self, accessed: bool, dirty: bool) -> bool {
        let format = self.format;
        let flags = if accessed { format.accessed } else { 0 } | if dirty { format.dirty } else { 0 };
        self.update(|value| Some(value & !flags))
    }

    /// Hangs a table with the same content in the place of what is there: nothing, or a leaf that becomes smaller pages. The
    /// flags that the CPU sets meanwhile are not lost.
    pub fn split_into<S: FrameSource>(&self, format: NestedFormat, table: PhysAddr) {
        let mut value = self.get();
        loop {
            if self.content_of(value) == Content::Leaf && !self.is_small() {
                let shift = self.shift.saturating_sub(9);
                let entry = if shift == PageSize::Size4K.shift() { caching::to_small(value, format) } else { value };
                for index in 0..512_u64 {
                    Self::of_table::<S>(format, table, index.wrapping_shl(shift), shift)
                        .set(entry | index.wrapping_shl(shift));
                }
            }
            let new = table.as_usize() as u64 | self.format.table;
            match self.atomic().compare_exchange(value, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => value = now,
            }
        }
    }

    /// The leaf that says what all 512 entries of the table at this slot say, if there is one; 0 when all are empty.
    pub fn merged<S: FrameSource>(&self, format: NestedFormat, capabilities: &NestedCapabilities) -> Option<u64> {
        let table = self.table()?;
        let shift = self.shift.saturating_sub(9);
        let flags = self.format.accessed | self.format.dirty;
        let first = Self::of_table::<S>(format, table, 0, shift).get();
        let empty = first & self.format.present == 0;
        let aligned = first & self.format.address & !((1 << shift) - 1) & ((1 << self.shift) - 1) == 0;
        if !empty && (!aligned || self.shift > capabilities.largest_page.shift()) {
            return None;
        }
        for index in 0..512_u64 {
            let slot = Self::of_table::<S>(format, table, index << shift, shift);
            let value = slot.get();
            let same = if empty {
                value & self.format.present == 0
            } else {
                let expected = (first | index << shift) & !flags;
                slot.content_of(value) == Content::Leaf && value & !flags == expected && value & self.format.logged == 0
            };
            if !same {
                return None;
            }
        }
        Some(match (empty, shift == PageSize::Size4K.shift()) {
            (true, _) => 0,
            // CPUs that still use the smaller pages set their flags, which nobody will read: so the larger one has them.
            (false, true) => caching::to_large(first, format) | flags,
            (false, false) => first | flags,
        })
    }

    /// Replaces the whole entry.
    pub fn replace(&self, value: u64) {
        self.set(value);
    }
}

/// The bits that permit a write and nothing else.
const fn only_write(format: &EntryFormat) -> u64 {
    format.write & !format.read
}

/// What becomes of a write to a leaf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Logging {
    /// It is not logged.
    #[default]
    Off,
    /// The first one faults, and is logged by who answers the fault.
    WriteProtection,
    /// The CPU logs it when it sets the dirty flag.
    Dirty,
}
