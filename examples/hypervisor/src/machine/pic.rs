//! Two 8259A interrupt controllers, the second one behind line 2 of the first. No crate on crates.io emulates one.
//!
//! Intel 8259A data sheet (231468). Not there: rotating priorities (accepted, without effect), the 8080 mode, buffered mode.

use super::snapshot::codec::saved;

/// The ports from which the second one's are (the first one's are 20h and 21h), and of the registers that say which lines are
/// level-triggered.
const SECOND: u16 = 0xA0;
pub const EDGE_LEVEL: u16 = 0x4D0;

/// The line of the first chip that the second one drives.
const CASCADE: u8 = 2;
/// Lines of the second chip that are always edge-triggered, as those of the first are: timer, keyboard, cascade, clock, FPU.
const ALWAYS_EDGE: [u8; 2] = [0b0000_0111, 0b0010_0001];

/// Both chips.
#[derive(Clone, Default)]
pub struct Pics {
    chips: [Chip; 2],
}

#[derive(Clone, Default)]
struct Chip {
    /// Requests, those in service, and the mask.
    requests: u8,
    in_service: u8,
    mask: u8,
    /// What the lines are now.
    lines: u8,
    level: u8,
    /// The vector of line 0.
    base: u8,
    /// Which initialization word comes next: 2, 3 or 4; 0: none.
    expects: u8,
    has_word_4: bool,
    automatic_end: bool,
    special_mask: bool,
    read_in_service: bool,
    poll: bool,
}

saved!(Pics { chips });
saved!(Chip {
    requests,
    in_service,
    mask,
    lines,
    level,
    base,
    expects,
    has_word_4,
    automatic_end,
    special_mask,
    read_in_service,
    poll,
});

impl Pics {
    /// An interrupt line, 0 to 15, changes.
    pub fn set_line(&mut self, line: u8, high: bool) {
        self.chips[usize::from(line >> 3 & 1)].set_line(line & 7, high);
        self.cascade();
    }

    /// Whether the first chip asks the CPU for its attention.
    pub fn wants_attention(&self) -> bool {
        self.chips[0].highest().is_some()
    }

    /// The CPU takes an interrupt: its vector.
    pub fn acknowledge(&mut self) -> u8 {
        let line = self.chips[0].acknowledge();
        let vector = if line == CASCADE {
            let line = self.chips[1].acknowledge();
            self.chips[1].base | line
        } else {
            self.chips[0].base | line
        };
        self.cascade();
        vector
    }

    /// A port is read.
    pub fn read(&mut self, port: u16) -> u8 {
        let value = match port {
            EDGE_LEVEL => self.chips[0].level,
            0x4D1 => self.chips[1].level,
            _ => self.chips[usize::from(port >= SECOND)].read(port & 1),
        };
        self.cascade();
        value
    }

    /// A port is written.
    pub fn write(&mut self, port: u16, value: u8) {
        match port {
            EDGE_LEVEL => self.chips[0].level = value & !ALWAYS_EDGE[0],
            0x4D1 => self.chips[1].level = value & !ALWAYS_EDGE[1],
            _ => self.chips[usize::from(port >= SECOND)].write(port & 1, value),
        }
        self.cascade();
    }

    fn cascade(&mut self) {
        let wants = self.chips[1].highest().is_some();
        self.chips[0].set_line(CASCADE, wants);
    }
}

impl Chip {
    fn set_line(&mut self, line: u8, high: bool) {
        let bit = 1 << line;
        let was = self.lines & bit != 0;
        if high {
            self.lines |= bit;
            if !was || self.level & bit != 0 {
                self.requests |= bit;
            }
        } else {
            self.lines &= !bit;
            self.requests &= !bit;
        }
    }

    /// The line of the highest priority that asks, and is above everything in service.
    fn highest(&self) -> Option<u8> {
        let asking = self.requests & !self.mask;
        let line = asking.trailing_zeros() as u8;
        let served = if self.special_mask { self.in_service & !self.mask } else { self.in_service };
        // The first chip lets the second interrupt again while one of its lines is in service: that is the "special fully
        // nested mode" in which nobody runs it, so it does not.
        (asking != 0 && u32::from(line) < served.trailing_zeros()).then_some(line)
    }

    /// Line 7 when the request is gone: the spurious interrupt, which is not in service.
    fn acknowledge(&mut self) -> u8 {
        let Some(line) = self.highest() else { return 7 };
        let bit = 1 << line;
        if self.level & bit == 0 {
            self.requests &= !bit;
        }
        if !self.automatic_end {
            self.in_service |= bit;
        }
        line
    }

    fn read(&mut self, register: u16) -> u8 {
        if self.poll {
            self.poll = false;
            return if self.highest().is_some() { 0x80 | self.acknowledge() } else { 0 };
        }
        match register {
            0 if self.read_in_service => self.in_service,
            0 => self.requests,
            _ => self.mask,
        }
    }

    fn write(&mut self, register: u16, value: u8) {
        match (register, self.expects) {
            (0, _) if value & 0x10 != 0 => {
                // The first initialization word.
                let (lines, level) = (self.lines, self.level);
                *self = Self { lines, level, expects: 2, has_word_4: value & 1 != 0, ..Self::default() };
                self.requests = lines & level;
            }
            (0, _) if value & 0x08 != 0 => {
                self.poll = value & 0x04 != 0;
                if value & 0x02 != 0 {
                    self.read_in_service = value & 0x01 != 0;
                }
                if value & 0x40 != 0 {
                    self.special_mask = value & 0x20 != 0;
                }
            }
            (0, _) => self.end_of_interrupt(value),
            (_, 2) => {
                self.base = value & 0xF8;
                self.expects = 3;
            }
            (_, 3) => self.expects = if self.has_word_4 { 4 } else { 0 },
            (_, 4) => {
                self.automatic_end = value & 0x02 != 0;
                self.expects = 0;
            }
            _ => self.mask = value,
        }
    }

    fn end_of_interrupt(&mut self, command: u8) {
        match command >> 5 {
            // Not specific: the highest in service.
            0b001 | 0b101 => self.in_service &= self.in_service.wrapping_sub(1),
            0b011 | 0b111 => self.in_service &= !(1 << (command & 7)),
            _ => {}
        }
    }
}
