//! The way into Rust: `boot.S`, and what the loader hands over.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::ops::Range;
use core::slice;

global_asm!(include_str!("boot.S"), options(att_syntax, raw));

/// What a multiboot loader leaves in EAX.
const LOADER_MAGIC: u32 = 0x2BAD_B002;
/// The flags of the information block: which of its fields hold something.
const HAS_MEMORY: u32 = 1 << 0;
const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;

/// The beginning of a multiboot information block.
#[repr(C)]
struct Information {
    flags: u32,
    /// KiB from 0, and from 1 MiB.
    memory: [u32; 2],
    boot_device: u32,
    command_line: u32,
    module_count: u32,
    modules: u32,
}

/// A module in the information block's list.
#[repr(C)]
struct Module {
    start: u32,
    end: u32,
    string: u32,
    reserved: u32,
}

/// What the loader left in memory.
pub struct HandedOver {
    /// The command line: a copy.
    pub command_line: &'static str,
    /// Where memory ends, as far as it is known to be without holes; 0 when nobody said.
    pub memory_end: usize,
    /// The first module.
    pub module: Option<&'static [u8]>,
    /// The memory that it occupies.
    pub occupied: Range<usize>,
}

/// The longest command line that is read.
const LONGEST_LINE: usize = 2048;

struct Line(UnsafeCell<[u8; LONGEST_LINE]>);

// SAFETY: written once, by `read`, before anything else runs.
unsafe impl Sync for Line {}

static LINE: Line = Line(UnsafeCell::new([0; LONGEST_LINE]));

/// Reads the loader's information block.
///
/// # Safety
/// Called once, first of all: `magic` and `information` are what the loader left in EAX and EBX, and memory is still as it
/// left it.
pub unsafe fn read(magic: u32, information: u32) -> HandedOver {
    let mut found = HandedOver { command_line: "", memory_end: 0, module: None, occupied: 0..0 };
    if magic != LOADER_MAGIC {
        return found;
    }
    // SAFETY: with this magic, the address is that of an information block, aligned and mapped one to one.
    let information = unsafe { &*(information as usize as *const Information) };
    if information.flags & HAS_MEMORY != 0 {
        found.memory_end = 0x10_0000 + (information.memory[1] as usize) * 1024;
    }
    if information.flags & HAS_COMMAND_LINE != 0 {
        // SAFETY: the flag says that the field holds the address of a NUL-terminated string; it is mapped one to one.
        let line = unsafe { CStr::from_ptr(information.command_line as usize as *const c_char) }.to_bytes();
        let length = line.len().min(LONGEST_LINE);
        // SAFETY: nobody else has a reference to the buffer: this runs once.
        let copy = unsafe { &mut *LINE.0.get() };
        let copy = &mut copy[..length];
        copy.copy_from_slice(&line[..length]);
        found.command_line = str::from_utf8(copy).unwrap_or("");
    }
    if information.flags & HAS_MODULES != 0 && information.module_count > 0 {
        // SAFETY: the flag says that the field holds the address of the list, which has at least one element.
        let module = unsafe { &*(information.modules as usize as *const Module) };
        let range = module.start as usize..module.end as usize;
        if !range.is_empty() {
            // SAFETY: the loader put the module there; `memory` gives these frames to nobody.
            found.module = Some(unsafe { slice::from_raw_parts(range.start as *const u8, range.len()) });
            found.occupied = range;
        }
    }
    found
}
