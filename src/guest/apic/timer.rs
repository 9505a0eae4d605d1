//! The timer: SDM volume 3, "APIC Timer", "TSC-Deadline Mode".
//!
//! It counts what the host's time-stamp counter counts, divided by a ratio; a guest that writes its own counter does not
//! disturb it. The deadline of TSC-deadline mode is one of the guest's counter.

use super::LocalApic;
use crate::{
    frame::FrameSource,
    guest::{control::Fault, tsc::Tsc},
    spec::x86::apic::{ApicRegister, ApicTimerDivide, ApicTimerMode, DivideConfiguration, LvtTimer},
};

/// A moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The host's time-stamp counter.
    pub(crate) host: u64,
    /// What the guest's makes of it.
    pub(crate) tsc: Tsc,
}

impl Moment {
    fn guest(&self) -> u64 {
        self.tsc.at(self.host)
    }

    /// When the guest's counter reaches this, in the host's: now, if it has.
    fn host_at(&self, deadline: u64) -> u64 {
        self.host.saturating_add(self.tsc.host_duration(deadline.saturating_sub(self.guest())))
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timer {
    /// The host's time when the count reaches 0, if it counts.
    pub(super) expiry: Option<u64>,
    /// IA32_TSC_DEADLINE; 0: not armed.
    pub(super) deadline: u64,
}

impl<S: FrameSource> LocalApic<S> {
    fn timer_entry(&self) -> LvtTimer {
        LvtTimer::from_bits(self.page.read(ApicRegister::LVT_TIMER))
    }

    /// How much host time a count takes; never 0.
    fn tick(&self) -> u64 {
        let divide = DivideConfiguration::from_bits(self.page.read(ApicRegister::DIVIDE_CONFIGURATION)).divide();
        let shift = match divide {
            ApicTimerDivide::BY_2 => 1,
            ApicTimerDivide::BY_4 => 2,
            ApicTimerDivide::BY_8 => 3,
            ApicTimerDivide::BY_16 => 4,
            ApicTimerDivide::BY_32 => 5,
            ApicTimerDivide::BY_64 => 6,
            ApicTimerDivide::BY_128 => 7,
            // BY_1. The writes leave no other value.
            _ => 0,
        };
        u64::from(self.config.timer_ratio.get()) << shift
    }

    /// How long the initial count takes. It has 32 bits and a tick less than 32: no overflow. A periodic timer has a least
    /// period, lest the guest keep the host busy.
    fn period(&self, periodic: bool) -> u64 {
        let period = u64::from(self.page.read(ApicRegister::INITIAL_COUNT)).saturating_mul(self.tick());
        if periodic { period.max(self.config.least_timer_period.into()).max(1) } else { period }
    }

    /// What has expired up to now happens.
    pub(crate) fn advance_timer(&mut self, now: Moment) {
        let entry = self.timer_entry();
        if entry.mode() == ApicTimerMode::TSC_DEADLINE {
            if self.timer.deadline != 0 && now.guest() >= self.timer.deadline {
                self.timer.deadline = 0;
                self.timer_interrupt(entry);
            }
            return;
        }
        let Some(expiry) = self.timer.expiry.filter(|expiry| now.host >= *expiry) else { return };
        self.timer.expiry = (entry.mode() == ApicTimerMode::PERIODIC).then(|| {
            let period = self.period(true);
            // Those that nobody saw are one.
            let missed = (now.host - expiry).checked_div(period).unwrap_or(0);
            expiry.saturating_add(missed.saturating_mul(period)).saturating_add(period)
        });
        self.timer_interrupt(entry);
    }

    fn timer_interrupt(&mut self, entry: LvtTimer) {
        if !entry.contains(LvtTimer::MASKED) {
            self.request(entry.vector(), false);
        }
    }

    /// The host's time at which the timer will interrupt the guest, unless the guest does something about it.
    pub(crate) fn timer_deadline(&self, now: Moment) -> Option<u64> {
        let entry = self.timer_entry();
        if entry.contains(LvtTimer::MASKED) {
            None
        } else if entry.mode() == ApicTimerMode::TSC_DEADLINE {
            (self.timer.deadline != 0).then(|| now.host_at(self.timer.deadline))
        } else {
            self.timer.expiry
        }
    }

    pub(super) fn current_count(&mut self, now: Moment) -> u32 {
        self.advance_timer(now);
        let left = self.timer.expiry.map_or(0, |expiry| expiry.saturating_sub(now.host));
        left.div_ceil(self.tick().max(1)).min(self.page.read(ApicRegister::INITIAL_COUNT).into()) as u32
    }

    pub(super) fn write_initial_count(&mut self, value: u32, now: Moment) {
        // A count of 0 stops the timer. In TSC-deadline mode the register is not there.
        self.advance_timer(now);
        let mode = self.timer_entry().mode();
        if mode == ApicTimerMode::TSC_DEADLINE {
            return;
        }
        self.page.write(ApicRegister::INITIAL_COUNT, value);
        let period = self.period(mode == ApicTimerMode::PERIODIC);
        self.timer.expiry = (value != 0).then(|| now.host.saturating_add(period));
    }

    pub(super) fn write_divide_configuration(&mut self, value: u32, now: Moment) {
        // The count goes on from where it is, at its new speed.
        let left = self.current_count(now);
        let bits = DivideConfiguration::from_bits(value).bits() & super::registers::DIVIDE_BITS;
        self.page.write(ApicRegister::DIVIDE_CONFIGURATION, bits);
        let tick = self.tick();
        if let Some(expiry) = &mut self.timer.expiry {
            *expiry = now.host.saturating_add(u64::from(left).saturating_mul(tick));
        }
    }

    /// The timer's entry of the local vector table is written; `value` has no reserved bits.
    pub(super) fn write_timer_entry(&mut self, value: LvtTimer, now: Moment) {
        self.advance_timer(now);
        let deadline = |entry: LvtTimer| entry.mode() == ApicTimerMode::TSC_DEADLINE;
        if deadline(value) != deadline(self.timer_entry()) {
            self.timer = Timer::default();
            self.page.write(ApicRegister::INITIAL_COUNT, 0);
        }
        self.page.write(ApicRegister::LVT_TIMER, value.bits());
    }

    /// RDMSR of IA32_TSC_DEADLINE: 0 unless the timer is in that mode and armed.
    ///
    /// # Errors
    /// #GP(0) without the mode.
    pub(crate) fn tsc_deadline(&mut self, now: Moment) -> Result<u64, Fault> {
        if !self.config.tsc_deadline {
            return Err(Fault);
        }
        self.advance_timer(now);
        Ok(self.timer.deadline)
    }

    /// WRMSR of IA32_TSC_DEADLINE; without effect in the other modes.
    ///
    /// # Errors
    /// #GP(0) without the mode.
    pub(crate) fn set_tsc_deadline(&mut self, value: u64, now: Moment) -> Result<(), Fault> {
        if !self.config.tsc_deadline {
            return Err(Fault);
        }
        if self.timer_entry().mode() == ApicTimerMode::TSC_DEADLINE {
            self.timer.deadline = value;
            self.advance_timer(now);
        }
        Ok(())
    }

    pub(super) fn reset_timer(&mut self) {
        self.timer = Timer::default();
    }
}
