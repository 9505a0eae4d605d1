//! The real-time clock and its memory: the time is the host's, also where a guest goes on that was saved; alarms and periodic
//! interrupts are not there.
//!
//! Motorola MC146818 data sheet.

use super::snapshot::codec::saved;
use crate::cpu::{in8, out8};

/// The ports.
pub const INDEX_PORT: u16 = 0x70;
pub const DATA_PORT: u16 = 0x71;

const STATUS_A: u8 = 0x0A;
const STATUS_B: u8 = 0x0B;
const STATUS_C: u8 = 0x0C;
const STATUS_D: u8 = 0x0D;
pub const CENTURY: u8 = 0x32;
/// Divider and rate as firmware leaves them.
const RUNNING: u8 = 0x26;
const UPDATE_IN_PROGRESS: u8 = 0x80;
const VALID: u8 = 0x80;
/// The bits of status B that say how numbers are written: the host's, for its numbers are passed on.
const FORMAT: u8 = 0x06;

/// The index, and the memory that is not the time.
#[derive(Clone)]
pub struct Rtc {
    index: u8,
    memory: [u8; 128],
}

saved!(Rtc { index, memory } if it => it.index & 0x80 == 0);

impl Default for Rtc {
    fn default() -> Self {
        Self { index: 0, memory: [0; 128] }
    }
}

impl Rtc {
    /// A port is read.
    pub fn read(&self, port: u16) -> u8 {
        if port == INDEX_PORT {
            return 0xFF;
        }
        match self.index {
            // Seconds, minutes, hours, weekday, day, month, year; not the alarms between them.
            0 | 2 | 4 | 6..=9 | CENTURY => host(self.index),
            STATUS_A => host(STATUS_A) & UPDATE_IN_PROGRESS | RUNNING,
            STATUS_B => host(STATUS_B) & FORMAT,
            STATUS_C => 0,
            STATUS_D => VALID,
            index => self.memory[usize::from(index & 0x7F)],
        }
    }

    /// A port is written. Nobody may set the host's clock.
    pub fn write(&mut self, port: u16, value: u8) {
        if port == INDEX_PORT {
            self.index = value & 0x7F;
        } else {
            self.memory[usize::from(self.index & 0x7F)] = value;
        }
    }
}

fn host(index: u8) -> u8 {
    // SAFETY: reading these registers of the host's clock has no effect; the devices are locked, so that nobody selects
    // another one in between. Bit 7 of the index, which blocks NMIs, stays clear.
    unsafe {
        out8(INDEX_PORT, index);
        in8(DATA_PORT)
    }
}
