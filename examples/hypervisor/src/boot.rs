//! The way into Rust: `boot.S`, and what the loader hands over.

use core::arch::global_asm;
use core::ffi::{CStr, c_char};

global_asm!(include_str!("boot.S"), options(att_syntax, raw));

/// What a multiboot loader leaves in EAX.
const LOADER_MAGIC: u32 = 0x2BAD_B002;
/// The flag of the information block that says: there is a command line.
const HAS_COMMAND_LINE: u32 = 1 << 2;

/// The beginning of a multiboot information block.
#[repr(C)]
struct Information {
    flags: u32,
    memory: [u32; 2],
    boot_device: u32,
    command_line: u32,
}

/// The command line, which the loader keeps in memory that nothing here uses.
///
/// # Safety
/// `magic` and `information` are what the loader left in EAX and EBX, and memory below 1 MiB is still as it left it.
pub unsafe fn command_line(magic: u32, information: u32) -> &'static str {
    if magic != LOADER_MAGIC {
        return "";
    }
    // SAFETY: with this magic, the address is that of an information block, aligned and mapped one to one.
    let information = unsafe { &*(information as usize as *const Information) };
    if information.flags & HAS_COMMAND_LINE == 0 {
        return "";
    }
    // SAFETY: the flag says that the field holds the address of a NUL-terminated string; it is mapped one to one.
    let line = unsafe { CStr::from_ptr(information.command_line as usize as *const c_char) };
    line.to_str().unwrap_or("")
}
