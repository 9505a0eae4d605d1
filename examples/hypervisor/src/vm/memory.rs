//! Guest-physical memory.
//!
//! | guest-physical | what |
//! |---|---|
//! | 0 | [`RAM_SIZE`] of memory, with the guests' code and, for guests that start in long mode, page tables |
//! | A0000h | nothing is mapped: a device, see [`devices`](super::devices) |
//! | 200000h | [`ON_DEMAND`]: nothing is mapped until the guest touches it |

use alloc::vec::Vec;
use core::ops::Range;
use core::ptr;

use memory_addr::PhysAddr;
use x86_vcpu::nested::{MemoryType, NestedTable, Permissions};
use x86_vcpu::{Error, PhysFrame, Result, nested_capabilities};

use crate::guests;
use crate::memory::{self, FRAME_SIZE};

/// How much memory there is from 0 on: as much as a PC has below its devices.
pub const RAM_SIZE: u64 = 0xA_0000;
/// Memory that is there as soon as it is touched.
pub const ON_DEMAND: Range<u64> = 0x20_0000..0x60_0000;
/// The root of the page tables of guests that start in long mode.
pub const PAGE_MAP: u64 = 0x1000;
/// The first of the pages that guests use as they like.
pub const SCRATCH: u64 = 0x2_1000;

/// What a virtual machine has for memory, and the table through which the CPU finds it.
pub struct GuestMemory {
    table: NestedTable,
    ram: Ram,
    on_demand: Vec<PhysFrame>,
}

/// Consecutive frames.
struct Ram {
    address: usize,
}

impl GuestMemory {
    /// Memory with the guests' code and their page tables; everything else is zero.
    pub fn new() -> Result<Self> {
        let mut table = NestedTable::new(nested_capabilities()?)?;
        let ram = Ram::new()?;
        table.map(0, PhysAddr::from(ram.address), RAM_SIZE, Permissions::ALL, MemoryType::WriteBack)?;
        let mut memory = Self { table, ram, on_demand: Vec::new() };
        memory.write(guests::ADDRESS, guests::blob());
        memory.write_page_tables();
        Ok(memory)
    }

    /// The root of the nested page table.
    pub fn root(&self) -> PhysAddr {
        self.table.root()
    }

    /// The nested page table.
    pub fn table(&mut self) -> &mut NestedTable {
        &mut self.table
    }

    /// Writes to the guest's memory.
    ///
    /// # Panics
    /// When it is not all inside [`RAM_SIZE`].
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        let start = address as usize;
        assert!(start.checked_add(bytes.len()).is_some_and(|end| end <= RAM_SIZE as usize));
        // SAFETY: inside the block, which is ours; the guest may read or write it at the same time, and then it sees,
        // or leaves, some of the bytes, as with any other CPU.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.ram.pointer().add(start), bytes.len()) };
    }

    /// All of the memory from 0 on.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the block is ours; nobody runs a guest in it while the machine's owner looks at it.
        unsafe { core::slice::from_raw_parts(self.ram.pointer(), RAM_SIZE as usize) }
    }

    /// Writes a number of 32 bits to the guest's memory, which a running guest sees.
    pub fn write_u32(&mut self, address: u64, value: u32) {
        assert!(address.is_multiple_of(4) && address < RAM_SIZE);
        // SAFETY: inside the block, and aligned.
        unsafe { self.ram.pointer().add(address as usize).cast::<u32>().write_volatile(value) };
    }

    /// Maps a new page of zeros where the guest touched [`ON_DEMAND`], or lets it write to the one that is there.
    pub fn map_on_demand(&mut self, address: u64, write: bool) -> Result {
        let page = address & !(FRAME_SIZE as u64 - 1);
        let permissions = if write { Permissions::ALL } else { Permissions::READ_EXECUTE };
        if self.table.translate(page).is_some() {
            return self.table.protect(page, FRAME_SIZE as u64, permissions);
        }
        let frame = PhysFrame::alloc_zero()?;
        self.table.map(page, frame.start_paddr(), FRAME_SIZE as u64, permissions, MemoryType::WriteBack)?;
        self.on_demand.push(frame);
        Ok(())
    }

    /// The guest's own page tables: 4 GiB one to one, the first 2 MiB of them by 4 KiB pages.
    fn write_page_tables(&mut self) {
        const PRESENT_WRITABLE: u64 = 0x03;
        const LARGE: u64 = 0x80;
        const DIRECTORY_POINTERS: u64 = PAGE_MAP + 0x1000;
        const DIRECTORIES: u64 = PAGE_MAP + 0x2000;
        const FIRST_TABLE: u64 = PAGE_MAP + 0x6000;

        let mut entry = |table: u64, index: u64, value: u64| {
            self.write(table + index * 8, &value.to_le_bytes());
        };
        entry(PAGE_MAP, 0, DIRECTORY_POINTERS | PRESENT_WRITABLE);
        for index in 0..4 {
            entry(DIRECTORY_POINTERS, index, (DIRECTORIES + index * 0x1000) | PRESENT_WRITABLE);
        }
        entry(DIRECTORIES, 0, FIRST_TABLE | PRESENT_WRITABLE);
        for index in 1..4 * 512 {
            entry(DIRECTORIES, index, index << 21 | LARGE | PRESENT_WRITABLE);
        }
        for index in 0..512 {
            entry(FIRST_TABLE, index, index << 12 | PRESENT_WRITABLE);
        }
    }
}

impl Ram {
    const FRAMES: usize = RAM_SIZE as usize / FRAME_SIZE;

    fn new() -> Result<Self> {
        let ram = Self { address: memory::allocate_frames(Self::FRAMES).ok_or(Error::NoMemory)? };
        // SAFETY: the block is ours.
        unsafe { ram.pointer().write_bytes(0, RAM_SIZE as usize) };
        Ok(ram)
    }

    fn pointer(&self) -> *mut u8 {
        self.address as *mut u8
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        memory::free_frames(self.address, Self::FRAMES);
    }
}
