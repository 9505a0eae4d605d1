//! The guest's physical memory.
//!
//! | guest-physical | what |
//! |---|---|
//! | 0 | memory |
//! | A0000h | nothing: where a PC has its display and its adapters' ROMs; reads as all ones |
//! | E0000h | memory, told to the guest as firmware's: tables |
//! | 1 MiB | memory up to the size that was asked for |
//!
//! It is one block of the host's memory, of which the part behind the hole's addresses is not used.

use alloc::format;
use alloc::string::{String, ToString};
use core::ops::Range;
use core::{ptr, slice};

use memory_addr::PhysAddr;
use x86_vcpu::nested::{MemoryType, NestedTable, Permissions};
use x86_vcpu::{ApicBus, Error, PhysFrame, nested_format};

use super::acpi;
use crate::memory::{self, FRAME_SIZE};

/// Where nothing is.
pub const HOLE: Range<u64> = 0xA_0000..0xE_0000;
/// What is firmware's.
pub const FIRMWARE: Range<u64> = 0xE_0000..0x10_0000;
/// Where memory above 1 MiB begins.
pub const HIGH: u64 = 0x10_0000;
/// What lies in the last KiB below the hole on a PC.
pub const EXTENDED_BIOS: u64 = 0x9_FC00;
/// The least and the most memory that a guest may have.
const SMALLEST: usize = 2 << 20;
const LARGEST: usize = 3 << 30;
const LARGE_PAGE: usize = 2 << 20;

/// The types of memory, as E820 and multiboot have them.
const USABLE: u32 = 1;
const RESERVED: u32 = 2;

/// What a guest is told of memory that ends at `end`: the ranges and their types.
pub fn map(end: u64) -> [(Range<u64>, u32); 4] {
    [(0..EXTENDED_BIOS, USABLE), (EXTENDED_BIOS..HOLE.start, RESERVED), (FIRMWARE, RESERVED), (HIGH..end, USABLE)]
}

/// The memory, and the table through which the CPU finds it.
pub struct GuestMemory {
    table: NestedTable,
    address: usize,
    size: usize,
    /// What is read where nothing is. Guests look through the hole for ROMs, and as a device it would be slow.
    _nothing: PhysFrame,
}

// SAFETY: the block is its own, and is used through `&mut`, or by guests.
unsafe impl Send for GuestMemory {}

impl GuestMemory {
    /// Memory of zeros.
    pub fn new(size: usize) -> Result<Self, String> {
        if !(SMALLEST..=LARGEST).contains(&size) {
            return Err(format!("a guest has from {} to {} MiB of memory", SMALLEST >> 20, LARGEST >> 20));
        }
        let address = memory::allocate_aligned(size / FRAME_SIZE, LARGE_PAGE / FRAME_SIZE).ok_or_else(|| {
            format!("too little memory: the guest needs {} MiB, {} are free", size >> 20, memory::free_bytes() >> 20)
        })?;
        // SAFETY: the block is ours.
        unsafe { (address as *mut u8).write_bytes(0, size) };
        let failed = |error: Error| format!("{error}");
        let nothing: PhysFrame = PhysFrame::alloc_zero().map_err(failed)?;
        let hole = nothing.start_paddr();
        // SAFETY: the frame is ours.
        unsafe { (hole.as_usize() as *mut u8).write_bytes(0xFF, FRAME_SIZE) };
        let map = || {
            let mut table = NestedTable::new(nested_format()?)?;
            for range in [0..HOLE.start, FIRMWARE.start..size as u64] {
                let host = PhysAddr::from(address + range.start as usize);
                let length = range.end - range.start;
                table.map(range.start, host, length, Permissions::ALL, MemoryType::WriteBack)?;
            }
            for page in HOLE.step_by(FRAME_SIZE) {
                table.map(page, hole, FRAME_SIZE as u64, Permissions::READ_EXECUTE, MemoryType::WriteBack)?;
            }
            Ok(table)
        };
        let table = map().map_err(failed)?;
        Ok(Self { table, address, size, _nothing: nothing })
    }

    /// Maps the page of the local APICs' registers, if the CPU makes something of it. The bus has to outlive the guest.
    pub fn map_local_apic(&mut self, bus: &ApicBus) -> Result<(), String> {
        let Some(page) = bus.access_page() else { return Ok(()) };
        let size = FRAME_SIZE as u64;
        let mapped =
            self.table.map(acpi::LOCAL_APIC.into(), page, size, Permissions::READ_WRITE, MemoryType::WriteBack);
        mapped.map_err(|error| error.to_string())
    }

    /// The root of the nested page table.
    pub fn root(&self) -> PhysAddr {
        self.table.root()
    }

    /// Where the memory ends.
    pub fn end(&self) -> u64 {
        self.size as u64
    }

    /// Whether there is memory at all of this: an error that says what is missing.
    pub fn check(&self, address: u64, length: u64) -> Result<(), String> {
        let end = address.checked_add(length).filter(|end| *end <= self.end());
        let end = end.ok_or_else(|| {
            format!("too little memory: {} MiB do not reach to {address:#x} + {length:#x}", self.size >> 20)
        })?;
        if address < HOLE.end && end > HOLE.start {
            return Err(format!("there is no memory at {address:#x} + {length:#x}"));
        }
        Ok(())
    }

    /// Shows the memory in pieces of whole pages, each of at most `most` bytes, with its address; pages of zeros are left out. No guest
    /// may run.
    pub fn for_each_piece(
        &self,
        most: usize,
        mut show: impl FnMut(u64, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        for range in [0..HOLE.start as usize, FIRMWARE.start as usize..self.size] {
            // SAFETY: inside the block, which is ours; no guest writes to it now.
            let bytes = unsafe { slice::from_raw_parts((self.address + range.start) as *const u8, range.len()) };
            let is_zero = |page: &&[u8]| {
                // SAFETY: every bit pattern is a number.
                let (_, words, _) = unsafe { page.align_to::<u64>() };
                words.iter().all(|word| *word == 0)
            };
            let mut rest = bytes;
            while !rest.is_empty() {
                let empty = rest.chunks(FRAME_SIZE).take_while(is_zero).map(<[u8]>::len).sum();
                rest = rest.get(empty..).unwrap_or_default();
                let full: usize = rest
                    .chunks(FRAME_SIZE)
                    .take(most / FRAME_SIZE)
                    .take_while(|page| !is_zero(page))
                    .map(<[u8]>::len)
                    .sum();
                let Some((piece, behind)) = rest.split_at_checked(full).filter(|(piece, _)| !piece.is_empty()) else {
                    break;
                };
                show((range.start + bytes.len() - rest.len()) as u64, piece)?;
                rest = behind;
            }
        }
        Ok(())
    }

    /// Writes to the guest's memory.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), String> {
        self.check(address, bytes.len() as u64)?;
        let target = (self.address + address as usize) as *mut u8;
        // SAFETY: inside the block, which is ours; no guest runs yet, and a package is elsewhere.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
        Ok(())
    }
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        memory::free_frames(self.address, self.size / FRAME_SIZE);
    }
}
