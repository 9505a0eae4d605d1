//! 64 KiB in place of a BIOS, for emulators that start an image without one. See `rom.S`.

#![no_std]
#![no_main]

use core::arch::global_asm;

global_asm!(include_str!("rom.S"), options(att_syntax, raw));

/// Asked for by every `no_std` program; the ROM has no Rust code that could panic.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
