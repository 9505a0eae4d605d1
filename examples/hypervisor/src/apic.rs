//! The local APIC, through memory: the timer, and messages to other CPUs.

use crate::cpu::{out8, timestamp};
use crate::interrupts::{SPURIOUS, TIMER};

/// The handler of an interrupt is done.
pub fn end_of_interrupt() {
    write(Register::EndOfInterrupt, 0);
}

/// Starts a timer that interrupts with [`TIMER`], again and again, about every `period` of the time-stamp counter.
pub fn start_timer(period: u64) {
    let count = (period * timer_rate() / RATE_SCALE).clamp(1, u64::from(u32::MAX)) as u32;
    write(Register::TimerVector, PERIODIC | u32::from(TIMER));
    write(Register::TimerInitialCount, count);
}

/// Stops the timer. An interrupt that it has already sent may still be pending.
pub fn stop_timer() {
    write(Register::TimerVector, MASKED | u32::from(TIMER));
    write(Register::TimerInitialCount, 0);
    write(Register::TimerDivide, DIVIDE_BY_1);
}

const RATE_SCALE: u64 = 1 << 16;

/// How often the timer counts while the time-stamp counter counts [`RATE_SCALE`] times: measured, since no firmware
/// says.
fn timer_rate() -> u64 {
    stop_timer();
    write(Register::TimerInitialCount, u32::MAX);
    let start = timestamp();
    let mut passed = 0;
    while passed < RATE_SCALE {
        passed = timestamp() - start;
    }
    let counted = u32::MAX - read(Register::TimerCurrentCount);
    stop_timer();
    u64::from(counted) * RATE_SCALE / passed
}

/// Interrupts the CPU with this number.
pub fn send(target: u32, vector: u8) {
    command(target, COMMAND_FIXED | u32::from(vector));
}

/// Resets the CPU with this number, and lets it start in real mode at `page` * 4096.
///
/// # Safety
/// There is code at that address which takes the CPU to somewhere good.
pub unsafe fn start(target: u32, page: u8) {
    /// Long enough for every CPU that is not a relic; in emulators, where the counter counts instructions, short.
    const PAUSE: u64 = 200_000;
    command(target, COMMAND_INIT);
    pause(PAUSE);
    command(target, COMMAND_STARTUP | u32::from(page));
    pause(PAUSE);
    command(target, COMMAND_STARTUP | u32::from(page));
}

fn command(target: u32, command: u32) {
    write(Register::CommandHigh, target << 24);
    write(Register::CommandLow, command);
    while read(Register::CommandLow) & COMMAND_PENDING != 0 {
        core::hint::spin_loop();
    }
}

/// Lets the time-stamp counter advance by `duration`.
pub fn pause(duration: u64) {
    let start = timestamp();
    while timestamp() - start < duration {
        core::hint::spin_loop();
    }
}
