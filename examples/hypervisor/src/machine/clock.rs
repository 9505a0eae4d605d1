//! The time of the guest's machine: everything that counts is derived from the time-stamp counter of the host, which the guest
//! reads too, so that no two of its clocks ever disagree.

use crate::cpu::{in8, out8, timestamp};

/// The rate of the 8254's clock, in Hz.
pub const PIT_HZ: u64 = 1_193_182;

/// How the time-stamp counter relates to seconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The counter's rate in Hz.
    pub hz: u64,
    /// What it was when the machine was switched on, or went on.
    pub start: u64,
    /// How far it had come before, where it was saved.
    pub before: u64,
}

impl Clock {
    /// Starts now; measures the rate unless it is given.
    pub fn new(tsc_khz: Option<u64>) -> Self {
        let hz = match tsc_khz {
            Some(khz) if khz > 0 => khz.saturating_mul(1000),
            _ => measure(),
        };
        Self { hz: hz.max(1_000_000), start: timestamp(), before: 0 }
    }

    /// How far the counter has come at `now`, for the machine.
    pub fn passed(&self, now: u64) -> u64 {
        now.saturating_sub(self.start).saturating_add(self.before)
    }

    /// How often something with this rate has counted at `now`.
    pub fn ticks(&self, now: u64, rate: u64) -> u64 {
        (u128::from(self.passed(now)) * u128::from(rate) / u128::from(self.hz)) as u64
    }

    /// When something with this rate will have counted so often.
    pub fn when(&self, ticks: u64, rate: u64) -> u64 {
        let passed = (u128::from(ticks) * u128::from(self.hz)).div_ceil(u128::from(rate));
        let left = passed.saturating_sub(self.before.into());
        self.start.saturating_add(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

/// Measures the counter against channel 2 of the host's 8254.
///
/// An emulator that shares its CPUs may be held up between any two instructions; every look at the 8254 therefore stands
/// between two at the counter, and a measurement that leaves too much open is done again.
fn measure() -> u64 {
    /// How much of what a measurement says may be doubtful: a hundredth.
    const DOUBT: u64 = 100;
    const ATTEMPTS: usize = 50;

    let mut best = Measurement { passed: 0, doubt: u64::MAX };
    for _ in 0..ATTEMPTS {
        let new = measure_once();
        if new.doubt < best.doubt {
            best = new;
        }
        if best.doubt <= best.passed / DOUBT {
            break;
        }
    }
    (u128::from(best.passed) * u128::from(PIT_HZ) / u128::from(COUNT)) as u64
}

/// What the channel counts down: about 10 ms.
const COUNT: u16 = 11_932;

/// How far the time-stamp counter came while the channel counted down.
#[derive(Clone, Copy)]
struct Measurement {
    passed: u64,
    /// How much more or less it may have been.
    doubt: u64,
}

fn measure_once() -> Measurement {
    const CONTROL: u16 = 0x43;
    const CHANNEL_2: u16 = 0x42;
    const GATE: u16 = 0x61;
    /// Channel 2, low byte then high byte, mode 0: its output rises when it has counted down.
    const ONE_SHOT: u8 = 0b1011_0000;
    const GATE_ON: u8 = 1;
    const SPEAKER_ON: u8 = 2;
    const OUTPUT: u8 = 1 << 5;
    /// A machine without one must not hang here.
    const PATIENCE: u32 = 100_000_000;

    // SAFETY: the channel drives the speaker only, which is off; nobody else in the image uses it.
    unsafe {
        let gate = in8(GATE) & !(GATE_ON | SPEAKER_ON);
        out8(GATE, gate | GATE_ON);
        out8(CONTROL, ONE_SHOT);
        out8(CHANNEL_2, COUNT as u8);
        let before = timestamp();
        // This starts the count, between two looks at the counter; and so do the two last looks at the output stand.
        out8(CHANNEL_2, (COUNT >> 8) as u8);
        let after = timestamp();
        let (mut low, mut high) = (after, after);
        for _ in 0..PATIENCE {
            let now = timestamp();
            let risen = in8(GATE) & OUTPUT != 0;
            high = timestamp();
            if risen {
                break;
            }
            low = now;
        }
        Measurement { passed: high - after, doubt: (after - before) + (high - low) }
    }
}
