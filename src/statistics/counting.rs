//! The build with statistics.

use crate::{
    Result,
    frame::{FrameSource, Framed},
    host,
    spec::amd::exits::ExitCode,
};

/// What one kind of exit came to: [`Vcpu::statistics`](crate::Vcpu::statistics).
///
/// The counts of instructions are the host's time-stamp counter's: instructions in emulators that count those, else time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExitStatistics {
    /// The basic exit reason (VMX) or the exit code (SVM). None: all for which there is no row of their own.
    pub code: Option<u64>,
    /// Its name in the tables of `spec/`, if they have it.
    pub name: Option<&'static str>,
    /// How many there were.
    pub exits: u64,
    /// How many of them the library answered, so that the guest went on without the VMM.
    pub answered_inside: u64,
    /// What [`Vcpu::run`](crate::Vcpu::run) executed between such an exit and the next entry.
    pub instructions_inside: u64,
    /// What the VMM executed meanwhile, from the end of `run` to its next begin; without what it has
    /// [excluded](crate::Vcpu::exclude_from_statistics).
    pub instructions_outside: u64,
}

impl ExitStatistics {
    /// All that the host executed between such an exit and the next entry.
    pub fn instructions(&self) -> u64 {
        self.instructions_inside.wrapping_add(self.instructions_outside)
    }
}

/// The rows are numbered by a byte, so that no index needs a check.
const ROWS: usize = 1 << u8::BITS;
/// What has no row of its own.
const OTHER: u8 = u8::MAX;
/// All reasons of VMX and most codes of SVM have small numbers; from this row on come the codes from [`HIGH`] on.
const FIRST_HIGH: u8 = 0xf0;
const HIGH: u64 = ExitCode::NPF.0;

const fn row(code: u64) -> u8 {
    if code < FIRST_HIGH as u64 {
        return code as u8;
    }
    let high = code.wrapping_sub(HIGH);
    if high < (OTHER - FIRST_HIGH) as u64 { FIRST_HIGH | high as u8 } else { OTHER }
}

const fn code(row: u8) -> Option<u64> {
    match row {
        OTHER => None,
        FIRST_HIGH.. => Some(HIGH.wrapping_add((row & !FIRST_HIGH) as u64)),
        _ => Some(row as u64),
    }
}

#[derive(Clone, Copy, Default)]
struct Count {
    exits: u64,
    left_to_vmm: u64,
}

#[derive(Clone, Copy, Default)]
struct Time {
    inside: u64,
    outside: u64,
}

/// What the exit of a number is called, where a table has it.
pub(crate) type NameOf = fn(u64) -> Option<&'static str>;

/// The statistics of a vCPU.
pub(crate) struct Statistics<S: FrameSource> {
    counts: Framed<[Count; ROWS], S>,
    times: Framed<[Time; ROWS], S>,
    /// The row of the last exit.
    last: u8,
    /// Up to when all is counted.
    since: u64,
}

impl<S: FrameSource> Statistics<S> {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            counts: Framed::new([Count::default(); ROWS])?,
            times: Framed::new([Time::default(); ROWS])?,
            last: OTHER,
            since: host::timestamp(),
        })
    }

    /// The vCPU has come to this CPU: where it was before, or waited for a CPU, nobody worked for it.
    pub(crate) fn arrive(&mut self) {
        self.since = host::timestamp();
    }

    /// The VMM is done.
    #[inline(always)]
    pub(crate) fn enter_run(&mut self) {
        self.add_outside(host::timestamp());
    }

    /// The VMM goes on.
    #[inline(always)]
    pub(crate) fn leave_run(&mut self) {
        self.add_inside(host::timestamp());
    }

    /// Right before an entry. Gives the time.
    #[inline(always)]
    pub(crate) fn enter_guest(&mut self) -> Option<u64> {
        let now = host::timestamp();
        self.add_inside(now);
        Some(now)
    }

    /// Right after an exit. Gives the time.
    #[inline(always)]
    pub(crate) fn exited(&mut self, code: impl FnOnce() -> u64) -> Option<u64> {
        let now = host::timestamp();
        self.exited_at(code(), now);
        Some(now)
    }

    /// The last exit is not answered here.
    #[inline(always)]
    pub(crate) fn left_to_vmm(&mut self) {
        let count = &mut self.counts[usize::from(self.last)];
        count.left_to_vmm = count.left_to_vmm.wrapping_add(1);
    }

    /// What the VMM did for so long is nobody's.
    pub(crate) fn exclude(&mut self, instructions: u64) {
        self.since = self.since.saturating_add(instructions);
    }

    #[inline(always)]
    fn exited_at(&mut self, code: u64, now: u64) {
        self.last = row(code);
        let count = &mut self.counts[usize::from(self.last)];
        count.exits = count.exits.wrapping_add(1);
        self.since = now;
    }

    #[inline(always)]
    fn add_inside(&mut self, now: u64) {
        let time = &mut self.times[usize::from(self.last)];
        time.inside = time.inside.wrapping_add(now.saturating_sub(self.since));
        self.since = now;
    }

    #[inline(always)]
    fn add_outside(&mut self, now: u64) {
        let time = &mut self.times[usize::from(self.last)];
        time.outside = time.outside.wrapping_add(now.saturating_sub(self.since));
        self.since = now;
    }

    /// A row for each reason for which there was an exit.
    pub(crate) fn rows(&self, name: NameOf) -> impl Iterator<Item = ExitStatistics> {
        (0..=u8::MAX).filter_map(move |row| {
            let Count { exits, left_to_vmm } = self.counts[usize::from(row)];
            let Time { inside, outside } = self.times[usize::from(row)];
            let code = code(row);
            (exits != 0).then(|| ExitStatistics {
                code,
                name: code.and_then(name),
                exits,
                answered_inside: exits.saturating_sub(left_to_vmm),
                instructions_inside: inside,
                instructions_outside: outside,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::{nested::mock::MockFrames, spec::intel::exits::ExitReason};

    fn name(code: u64) -> Option<&'static str> {
        ExitReason(code as u16).name()
    }

    #[test]
    fn every_code_has_a_row_and_no_two_share_one() {
        for row_number in 0..OTHER {
            assert_eq!(code(row_number).map(row), Some(row_number));
        }
        let codes = [0, 1, 0xef, HIGH, HIGH + 1, HIGH + 14];
        assert_eq!(codes.map(row).map(code), codes.map(Some));
        for strange in [0xf0, 0xff, 0x100, HIGH - 1, HIGH + 15, u64::MAX] {
            assert_eq!(row(strange), OTHER, "{strange:#x}");
        }
    }

    #[test]
    fn exits_and_instructions_add_up() {
        let mut statistics = Statistics::<MockFrames>::new().expect("frames");
        let (cpuid, hlt) = (u64::from(ExitReason::CPUID.0), u64::from(ExitReason::HLT.0));
        // What is before the first exit belongs to none.
        statistics.add_inside(u64::MAX);
        // Two exits that are answered inside, ...
        for begin in [1000, 2000] {
            statistics.exited_at(cpuid, begin);
            statistics.add_inside(begin + 30);
        }
        // ... one that is not: 5 until `run` ends, 70 of the VMM and 200 in which it waits, 6 until the next entry.
        statistics.exited_at(hlt, 3000);
        statistics.left_to_vmm();
        statistics.add_inside(3005);
        statistics.exclude(200);
        statistics.add_outside(3275);
        statistics.add_inside(3281);
        // A counter that goes backwards, on another CPU, adds nothing.
        statistics.add_inside(3000);
        statistics.exited_at(u64::MAX, 4000);
        let rows: Vec<_> = statistics.rows(name).collect();
        let row = |code, name, exits, answered_inside, instructions_inside, instructions_outside| ExitStatistics {
            code,
            name,
            exits,
            answered_inside,
            instructions_inside,
            instructions_outside,
        };
        assert_eq!(
            rows,
            [
                row(Some(cpuid), Some("CPUID"), 2, 2, 60, 0),
                row(Some(hlt), Some("HLT"), 1, 0, 11, 70),
                row(None, None, 1, 1, rows[2].instructions_inside, 0)
            ]
        );
        assert_eq!(rows[1].instructions(), 81);
    }
}
