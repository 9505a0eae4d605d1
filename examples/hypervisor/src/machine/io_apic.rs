//! An I/O APIC with 24 lines. No crate on crates.io emulates one without an operating system.
//!
//! Intel 82093AA data sheet (290566).

use core::ops::Range;

use super::snapshot::codec::saved;

/// Where it is.
pub const REGISTERS: Range<u64> = 0xFEC0_0000..0xFEC0_1000;
/// How many lines it has.
const LINES: usize = 24;

const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const IDENTITY: u8 = 0;
const VERSION: u8 = 1;
const ARBITRATION: u8 = 2;
const FIRST_ENTRY: u8 = 0x10;
const VERSION_NUMBER: u32 = 0x11;

const DELIVERY_PENDING: u64 = 1 << 12;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
const READ_ONLY: u64 = DELIVERY_PENDING | REMOTE_IRR;

/// What it asks a local APIC for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// An APIC id, or a set of CPUs in logical mode.
    pub destination: u8,
    pub logical: bool,
    /// As in the interrupt-command register: 0 fixed, 1 lowest priority, 4 NMI, 7 from the PIC.
    pub mode: u8,
    pub vector: u8,
    pub level: bool,
}

/// Its registers.
#[derive(Clone)]
pub struct IoApic {
    select: u8,
    identity: u32,
    entries: [u64; LINES],
    /// What the lines are now.
    lines: u32,
}

saved!(IoApic { select, identity, entries, lines });

impl IoApic {
    /// After reset: everything is masked.
    pub fn new() -> Self {
        Self { select: 0, identity: 0, entries: [MASKED; LINES], lines: 0 }
    }

    /// A line changes. What to tell the local APICs, if anything.
    pub fn set_line(&mut self, line: usize, high: bool) -> Option<Message> {
        if line >= LINES {
            return None;
        }
        let bit = 1 << line;
        let was = self.lines & bit != 0;
        self.lines = if high { self.lines | bit } else { self.lines & !bit };
        let entry = self.entries.get(line)?;
        let wanted = if entry & LEVEL != 0 { high } else { high && !was };
        if wanted { self.send(line) } else { None }
    }

    /// A CPU has ended a level-triggered interrupt of this vector: lines that are still high ask again.
    pub fn end_of_interrupt(&mut self, vector: u8) -> impl Iterator<Item = Message> + '_ {
        (0..LINES).filter_map(move |line| {
            let entry = self.entries.get_mut(line)?;
            if *entry as u8 != vector || *entry & LEVEL == 0 {
                return None;
            }
            *entry &= !REMOTE_IRR;
            if self.lines & 1 << line != 0 { self.send(line) } else { None }
        })
    }

    fn send(&mut self, line: usize) -> Option<Message> {
        let entry = self.entries.get_mut(line)?;
        let level = *entry & LEVEL != 0;
        if *entry & MASKED != 0 || level && *entry & REMOTE_IRR != 0 {
            return None;
        }
        if level {
            *entry |= REMOTE_IRR;
        }
        Some(Message {
            destination: (*entry >> 56) as u8,
            logical: *entry >> 11 & 1 != 0,
            mode: (*entry >> 8 & 7) as u8,
            vector: *entry as u8,
            level,
        })
    }

    /// A register is read.
    pub fn read(&self, address: u64) -> u32 {
        match address - REGISTERS.start {
            SELECT => self.select.into(),
            WINDOW => match self.select {
                IDENTITY | ARBITRATION => self.identity,
                VERSION => VERSION_NUMBER | (LINES as u32 - 1) << 16,
                ..FIRST_ENTRY => 0,
                register => {
                    let (index, high) = Self::entry(register);
                    let entry = self.entries.get(index).copied().unwrap_or(0);
                    if high { (entry >> 32) as u32 } else { entry as u32 }
                }
            },
            _ => u32::MAX,
        }
    }

    /// A register is written. What to tell the local APICs, if anything.
    pub fn write(&mut self, address: u64, value: u32) -> Option<Message> {
        match address - REGISTERS.start {
            SELECT => self.select = value as u8,
            WINDOW if self.select == IDENTITY => self.identity = value & 0x0F00_0000,
            WINDOW if self.select >= FIRST_ENTRY => {
                let (index, high) = Self::entry(self.select);
                let lines = self.lines;
                let entry = self.entries.get_mut(index)?;
                if high {
                    *entry = *entry & 0xFFFF_FFFF | u64::from(value) << 32;
                    return None;
                }
                let kept = *entry & (READ_ONLY | !0xFFFF_FFFF);
                *entry = kept | u64::from(value) & 0x1_FFFF & !READ_ONLY;
                if *entry & LEVEL == 0 {
                    *entry &= !REMOTE_IRR;
                } else if lines & 1 << index != 0 {
                    return self.send(index);
                }
            }
            _ => {}
        }
        None
    }

    /// Which entry a register is half of, and whether the upper one.
    fn entry(register: u8) -> (usize, bool) {
        let register = usize::from(register.saturating_sub(FIRST_ENTRY));
        (register / 2, register % 2 != 0)
    }
}
