//! The log: COM1, polled. While a guest has COM1 (see [`machine`](crate::machine)), COM2.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU16, Ordering};

use spin::Mutex;

use crate::cpu::{in8, out8};

/// The ports of the two 16550s, and the registers from there.
pub const COM1: u16 = 0x3F8;
pub const COM2: u16 = 0x2F8;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
/// The line status register, and what it says.
pub const LINE_STATUS: u16 = 5;
pub const DATA_READY: u8 = 1 << 0;
pub const HOLDING_EMPTY: u8 = 1 << 5;
const ALL_SENT: u8 = 1 << 6;

/// Where the log goes.
static LOG: AtomicU16 = AtomicU16::new(COM1);

/// The port; locked for a whole message, so that two CPUs do not mix theirs.
pub static SERIAL: Mutex<Serial> = Mutex::new(Serial);

/// The log's port.
pub struct Serial;

/// Sets up the log, on COM1.
pub fn init() {
    init_port(COM1);
}

/// From here on the log goes to COM2, and COM1 is somebody else's.
pub fn move_log_to_com2() {
    init_port(COM2);
    LOG.store(COM2, Ordering::Relaxed);
}

/// 115200 baud, 8 data bits, no parity, no interrupts.
fn init_port(port: u16) {
    // SAFETY: the initialisation that the 16550 expects; with interrupts off it touches nothing else.
    unsafe {
        out8(port + INTERRUPT_ENABLE, 0);
        out8(port + LINE_CONTROL, 0x80); // the divisor is at offsets 0 and 1 now
        out8(port, 1);
        out8(port + 1, 0);
        out8(port + LINE_CONTROL, 0x03);
        out8(port + FIFO_CONTROL, 0x07); // on, and both queues emptied
        out8(port + MODEM_CONTROL, 0x03);
    }
}

/// The line status of a port.
pub fn line_status(port: u16) -> u8 {
    // SAFETY: reading the status clears error flags that nobody looks at.
    unsafe { in8(port + LINE_STATUS) }
}

/// Waits until the last byte has left a port. Ending an emulator earlier loses it.
pub fn flush(port: u16) {
    /// A port that is not there reads as all ones, hence as sent; one that is stuck must not hold the end up.
    const PATIENCE: u32 = 10_000_000;
    for _ in 0..PATIENCE {
        if line_status(port) & ALL_SENT != 0 {
            break;
        }
    }
}

impl Serial {
    /// Sends a byte as it is.
    pub fn send(&mut self, byte: u8) {
        let port = LOG.load(Ordering::Relaxed);
        while line_status(port) & HOLDING_EMPTY == 0 {}
        // SAFETY: the data register takes a byte when it is empty.
        unsafe { out8(port, byte) };
    }

    /// Waits until the last byte has left the machine.
    pub fn flush(&mut self) {
        flush(LOG.load(Ordering::Relaxed));
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
