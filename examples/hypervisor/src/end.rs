//! How a run ends: a last line on the log, and a status that a script can see.
//!
//! | | success | failure |
//! |---|---|---|
//! | last line | `RESULT: ok` | `RESULT: FAILED …` |
//! | QEMU, `-device isa-debug-exit,iobase=0xf4,iosize=4` | exit code 33 | exit code 35 |
//! | Bochs, `magic_break: enabled=1` and a command file `c`, …, `c`, `q` | exit code 0 | exit code 1 |
//!
//! Nobody is asked which emulator this is: what one of them understands, the other ignores. Bochs stops for the next
//! command at other things as well (at a guest's triple fault), so one `c` is not enough.

use core::arch::asm;
use core::fmt;

use crate::cpu::{out8, stop};
use crate::println;
use crate::serial::{SERIAL, Serial};

/// The port of QEMU's isa-debug-exit; the exit code is `value << 1 | 1`.
const QEMU_EXIT: u16 = 0xF4;
const QEMU_SUCCESS: u8 = 0x10;
const QEMU_FAILURE: u8 = 0x11;
/// Writing "Shutdown" here ends Bochs, with exit code 1.
const BOCHS_SHUTDOWN: u16 = 0x8900;

/// Ends the run: everything that was asked for went well.
pub fn success() -> ! {
    println!("RESULT: ok");
    SERIAL.lock().flush();
    // SAFETY: ends QEMU when it is QEMU; no other emulated machine here has the port.
    unsafe { out8(QEMU_EXIT, QEMU_SUCCESS) };
    loop {
        // SAFETY: changes nothing; Bochs stops at it and takes the next command from its command file.
        unsafe { asm!("xchg bx, bx", options(nomem, nostack, preserves_flags)) };
    }
}

/// Ends the run: something did not go well.
pub fn failure(reason: fmt::Arguments) -> ! {
    // Not through the lock: whoever holds it may be the one that failed.
    let mut serial = Serial;
    let _ = fmt::write(&mut serial, format_args!("RESULT: FAILED {reason}\n"));
    serial.flush();
    // SAFETY: ends QEMU when it is QEMU.
    unsafe { out8(QEMU_EXIT, QEMU_FAILURE) };
    for byte in *b"Shutdown" {
        // SAFETY: ends Bochs when it is Bochs.
        unsafe { out8(BOCHS_SHUTDOWN, byte) };
    }
    stop()
}
