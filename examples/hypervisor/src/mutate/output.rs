//! Where the lines go: in Bochs to its debugging port, which takes no time; elsewhere to the serial port.

use core::fmt;

use crate::cpu::{in8, out8};
use crate::serial::Serial;

/// Bochs writes what is sent here to its standard output, and answers with the port's number.
const DEBUG_PORT: u16 = 0xE9;

/// The lines' way out.
pub struct Output;

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: no emulated machine has another device here.
        if u16::from(unsafe { in8(DEBUG_PORT) }) != DEBUG_PORT {
            return Serial.write_str(text);
        }
        for byte in text.bytes() {
            // SAFETY: as above.
            unsafe { out8(DEBUG_PORT, byte) };
        }
        Ok(())
    }
}

/// Writes, without a new line.
macro_rules! emit {
    ($($arguments:tt)*) => {{
        let _ = core::fmt::Write::write_fmt(&mut $crate::mutate::output::Output, format_args!($($arguments)*));
    }};
}
pub(super) use emit;
