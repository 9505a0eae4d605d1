//! An 8254 timer: channel 0 interrupts, channel 2 drives the speaker and is what guests measure their clocks with. No crate on
//! crates.io emulates one without an operating system.
//!
//! Intel 8254 data sheet (231164). Counting in BCD is accepted and done in binary; modes 1 and 5 never start (their gate is not
//! connected, except channel 2's).

use super::clock::{Clock, PIT_HZ};
use super::snapshot::codec::saved;

/// The first of the four ports; and the port with the gate and output of channel 2.
pub const FIRST_PORT: u16 = 0x40;
const CONTROL_PORT: u16 = 0x43;
pub const SPEAKER_PORT: u16 = 0x61;

const GATE_2: u8 = 1 << 0;
const SPEAKER: u8 = 1 << 1;
const REFRESH: u8 = 1 << 4;
const OUTPUT_2: u8 = 1 << 5;

/// The timer.
pub struct Pit {
    clock: Clock,
    registers: Registers,
}

/// The three channels.
#[derive(Clone, Copy)]
pub struct Registers {
    channels: [Channel; 3],
    speaker: u8,
}

saved!(Registers { channels, speaker });

#[derive(Clone, Copy)]
struct Channel {
    mode: u8,
    /// 1: low byte, 2: high byte, 3: low then high.
    access: u8,
    /// 1 to 10000h.
    reload: u32,
    /// When it began to count, in ticks of the PIT; none: it waits for a count.
    since: Option<u64>,
    gate: bool,
    /// Where it stood when the gate was closed.
    held: u32,
    first_byte: Option<u8>,
    read_high: bool,
    latched: Option<u16>,
    latched_status: Option<u8>,
    /// How many of its periods have already interrupted.
    interrupts: u64,
}

saved!(Channel {
    mode,
    access,
    reload,
    since,
    gate,
    held,
    first_byte,
    read_high,
    latched,
    latched_status,
    interrupts,
} if it => it.mode <= 5 && it.access <= 3 && (1..=0x1_0000).contains(&it.reload));

impl Channel {
    const RESET: Self = Self {
        mode: 3,
        access: 3,
        reload: 0x1_0000,
        since: None,
        gate: true,
        held: 0,
        first_byte: None,
        read_high: false,
        latched: None,
        latched_status: None,
        interrupts: 0,
    };

    fn passed(&self, now: u64) -> u64 {
        self.since.map_or(0, |since| now.saturating_sub(since))
    }

    fn is_periodic(&self) -> bool {
        matches!(self.mode, 2 | 3)
    }

    fn count(&self, now: u64) -> u16 {
        if self.since.is_none() {
            return self.held as u16;
        }
        let (passed, reload) = (self.passed(now), u64::from(self.reload));
        let left = match self.mode {
            2 => reload - passed % reload,
            // Counts by twos.
            3 => (reload - (2 * passed) % reload) & !1,
            _ => reload.wrapping_sub(passed),
        };
        left as u16
    }

    fn output(&self, now: u64) -> bool {
        let (passed, reload) = (self.passed(now), u64::from(self.reload));
        match self.mode {
            0 | 1 => self.since.is_some() && passed >= reload,
            2 => self.since.is_none() || passed % reload != reload - 1,
            3 => self.since.is_none() || passed % reload < reload.div_ceil(2),
            _ => passed != reload,
        }
    }

    fn load(&mut self, count: u16, now: u64) {
        self.reload = if count == 0 { 0x1_0000 } else { count.into() };
        self.held = self.reload;
        self.interrupts = 0;
        self.since = (self.gate && !matches!(self.mode, 1 | 5)).then_some(now);
    }

    fn write(&mut self, value: u8, now: u64) {
        match (self.access, self.first_byte.take()) {
            (1, _) => self.load(value.into(), now),
            (2, _) => self.load(u16::from(value) << 8, now),
            (_, None) => {
                self.first_byte = Some(value);
                // In mode 0 the first byte stops the count.
                if self.mode == 0 {
                    self.since = None;
                }
            }
            (_, Some(low)) => self.load(u16::from_le_bytes([low, value]), now),
        }
    }

    fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched.unwrap_or_else(|| self.count(now)).to_le_bytes();
        match (self.access, self.read_high) {
            (1, _) => {
                self.latched = None;
                low
            }
            (2, _) => {
                self.latched = None;
                high
            }
            (_, false) => {
                self.read_high = true;
                low
            }
            (_, true) => {
                self.read_high = false;
                self.latched = None;
                high
            }
        }
    }

    fn latch(&mut self, now: u64) {
        self.latched = self.latched.or(Some(self.count(now)));
    }

    fn status(&self, now: u64) -> u8 {
        u8::from(self.output(now)) << 7 | u8::from(self.since.is_none()) << 6 | self.access << 4 | self.mode << 1
    }

    fn set_mode(&mut self, mode: u8, access: u8) {
        let mode = if mode > 5 { mode & 3 } else { mode };
        *self = Self { mode, access, gate: self.gate, held: self.held, ..Self::RESET };
    }

    fn set_gate(&mut self, gate: bool, now: u64) {
        if gate && !self.gate {
            self.since = match (self.mode, self.since) {
                // Goes on where it stood.
                (0 | 4, None) => Some(now.saturating_sub(u64::from(self.reload.saturating_sub(self.held)))),
                // Starts again.
                _ => Some(now),
            };
        } else if !gate && self.gate && !matches!(self.mode, 1 | 5) {
            self.held = self.count(now).into();
            self.since = None;
        }
        self.gate = gate;
    }

    /// How often it has interrupted so far, and the tick at which it will do so next. In mode 3 the output rises once a
    /// period, as in mode 2.
    fn due(&self, now: u64) -> (u64, Option<u64>) {
        let (Some(since), reload) = (self.since, u64::from(self.reload)) else { return (0, None) };
        let done = self.passed(now) / reload;
        if self.is_periodic() {
            (done, since.checked_add((done + 1) * reload))
        } else {
            (done.min(1), (done == 0).then_some(since + reload))
        }
    }
}

impl Pit {
    /// All channels stand still.
    pub fn new(clock: Clock) -> Self {
        let mut channels = [Channel::RESET; 3];
        channels[2].gate = false;
        Self { clock, registers: Registers { channels, speaker: 0 } }
    }

    /// What is saved of it.
    pub fn registers(&self) -> Registers {
        self.registers
    }

    /// Goes on from there. A channel that has begun later than now begins now.
    pub fn restore(clock: Clock, mut registers: Registers) -> Self {
        let now = clock.ticks(clock.start, PIT_HZ);
        for channel in &mut registers.channels {
            channel.since = channel.since.map(|since| since.min(now));
        }
        Self { clock, registers }
    }

    fn now(&self, tsc: u64) -> u64 {
        self.clock.ticks(tsc, PIT_HZ)
    }

    /// Whether channel 0 has interrupted since this was asked the last time. Interrupts that the guest was too slow for are
    /// not made up.
    pub fn take_interrupt(&mut self, tsc: u64) -> bool {
        let now = self.now(tsc);
        let channel = &mut self.registers.channels[0];
        let (interrupts, _) = channel.due(now);
        interrupts > core::mem::replace(&mut channel.interrupts, interrupts)
    }

    /// When channel 0 interrupts next, in time-stamp counts.
    pub fn next_interrupt(&self, tsc: u64) -> Option<u64> {
        let channel = &self.registers.channels[0];
        let (interrupts, next) = channel.due(self.now(tsc));
        if interrupts > channel.interrupts { Some(tsc) } else { next.map(|ticks| self.clock.when(ticks, PIT_HZ)) }
    }

    /// A port is read.
    pub fn read(&mut self, port: u16, tsc: u64) -> u8 {
        let now = self.now(tsc);
        match port {
            SPEAKER_PORT => {
                // The refresh bit toggles about every 15 us.
                let refresh = if (now / 18) & 1 != 0 { REFRESH } else { 0 };
                let output = if self.registers.channels[2].output(now) { OUTPUT_2 } else { 0 };
                self.registers.speaker | refresh | output
            }
            CONTROL_PORT => 0xFF,
            _ => self
                .registers
                .channels
                .get_mut(usize::from(port - FIRST_PORT))
                .map_or(0xFF, |channel| channel.read(now)),
        }
    }

    /// A port is written.
    pub fn write(&mut self, port: u16, value: u8, tsc: u64) {
        let now = self.now(tsc);
        match port {
            SPEAKER_PORT => {
                self.registers.speaker = value & (GATE_2 | SPEAKER);
                self.registers.channels[2].set_gate(value & GATE_2 != 0, now);
            }
            CONTROL_PORT => self.control(value, now),
            _ => {
                if let Some(channel) = self.registers.channels.get_mut(usize::from(port - FIRST_PORT)) {
                    channel.write(value, now);
                }
            }
        }
    }

    fn control(&mut self, value: u8, now: u64) {
        const READ_BACK: u8 = 3;
        if value >> 6 == READ_BACK {
            for (index, channel) in self.registers.channels.iter_mut().enumerate() {
                if value & 2 << index == 0 {
                    continue;
                }
                if value & 0x20 == 0 {
                    channel.latch(now);
                }
                if value & 0x10 == 0 {
                    channel.latched_status = Some(channel.status(now));
                }
            }
        } else if let Some(channel) = self.registers.channels.get_mut(usize::from(value >> 6)) {
            match value >> 4 & 3 {
                0 => channel.latch(now),
                access => channel.set_mode(value >> 1 & 7, access),
            }
        }
    }
}
