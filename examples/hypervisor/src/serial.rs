//! The log: COM1, polled.

use core::fmt::{self, Write};

use spin::Mutex;

use crate::cpu::{in8, out8};

/// COM1, and the registers of a 16550 from there.
const COM1: u16 = 0x3F8;
const INTERRUPT_ENABLE: u16 = COM1 + 1;
const FIFO_CONTROL: u16 = COM1 + 2;
const LINE_CONTROL: u16 = COM1 + 3;
const MODEM_CONTROL: u16 = COM1 + 4;
const LINE_STATUS: u16 = COM1 + 5;
const HOLDING_EMPTY: u8 = 1 << 5;
const ALL_SENT: u8 = 1 << 6;

/// The port; locked for a whole message, so that two CPUs do not mix theirs.
pub static SERIAL: Mutex<Serial> = Mutex::new(Serial);

/// COM1.
pub struct Serial;

/// 115200 baud, 8 data bits, no parity, no interrupts.
pub fn init() {
    // SAFETY: the initialisation that the 16550 expects; with interrupts off it touches nothing else.
    unsafe {
        out8(INTERRUPT_ENABLE, 0);
        out8(LINE_CONTROL, 0x80); // the divisor is at offsets 0 and 1 now
        out8(COM1, 1);
        out8(COM1 + 1, 0);
        out8(LINE_CONTROL, 0x03);
        out8(FIFO_CONTROL, 0x07); // on, and both queues emptied
        out8(MODEM_CONTROL, 0x03);
    }
}

impl Serial {
    /// Sends a byte as it is.
    pub fn send(&mut self, byte: u8) {
        // SAFETY: reading the status has no effect that matters; the data register takes a byte when it is empty.
        unsafe {
            while in8(LINE_STATUS) & HOLDING_EMPTY == 0 {}
            out8(COM1, byte);
        }
    }

    /// Waits until the last byte has left the machine. Ending an emulator earlier loses it.
    pub fn flush(&mut self) {
        // SAFETY: as above.
        while unsafe { in8(LINE_STATUS) } & ALL_SENT == 0 {}
    }
}

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.send(byte);
        }
        Ok(())
    }
}

/// Writes to the log, without a new line.
#[macro_export]
macro_rules! print {
    ($($arguments:tt)*) => {{
        let _ = core::fmt::Write::write_fmt(&mut *$crate::serial::SERIAL.lock(), format_args!($($arguments)*));
    }};
}

/// Writes a line to the log.
#[macro_export]
macro_rules! println {
    ($($arguments:tt)*) => { $crate::print!("{}\n", format_args!($($arguments)*)) };
}
