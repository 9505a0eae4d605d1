//! The local APIC, through memory: the timer, and messages to other CPUs.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::cpu::{out8, timestamp};
use crate::interrupts::{SPURIOUS, TIMER};

/// Where every CPU sees its own local APIC; mapped uncached by the boot code.
const BASE: usize = 0xFEE0_0000;

/// The registers' offsets.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Register {
    TaskPriority = 0x80,
    EndOfInterrupt = 0xB0,
    SpuriousVector = 0xF0,
    CommandLow = 0x300,
    CommandHigh = 0x310,
    TimerVector = 0x320,
    TimerInitialCount = 0x380,
    TimerCurrentCount = 0x390,
    TimerDivide = 0x3E0,
}

const ENABLED: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
const PERIODIC: u32 = 1 << 17;
const DIVIDE_BY_1: u32 = 0b1011;
const COMMAND_PENDING: u32 = 1 << 12;
const COMMAND_INIT: u32 = 0x4500;
const COMMAND_STARTUP: u32 = 0x4600;
const COMMAND_FIXED: u32 = 0x4000;
const COMMAND_NMI: u32 = 0x4400;

fn read(register: Register) -> u32 {
    // SAFETY: the registers are mapped and aligned; reading these has no effect.
    unsafe { ((BASE + register as usize) as *const u32).read_volatile() }
}

fn write(register: Register, value: u32) {
    // SAFETY: the registers are mapped and aligned. What the writes of this file ask for are interrupts, for which there
    // are handlers, and the start of CPUs, which is `start`'s to argue for.
    unsafe { ((BASE + register as usize) as *mut u32).write_volatile(value) };
}

/// Turns this CPU's local APIC on, its timer off, and the old interrupt controllers to silence.
pub fn init() {
    const MASTER_PIC_MASK: u16 = 0x21;
    const SLAVE_PIC_MASK: u16 = 0xA1;
    // SAFETY: masking every line of both controllers only prevents interrupts.
    unsafe {
        out8(MASTER_PIC_MASK, 0xFF);
        out8(SLAVE_PIC_MASK, 0xFF);
    }
    write(Register::TaskPriority, 0);
    write(Register::SpuriousVector, ENABLED | u32::from(SPURIOUS));
    stop_timer();
}

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

/// Interrupts this CPU once with [`TIMER`], when its time-stamp counter reaches `deadline` or a little later.
pub fn start_timer_once(deadline: u64) {
    let left = deadline.saturating_sub(timestamp());
    let count = (left.saturating_mul(timer_rate()) / RATE_SCALE).saturating_add(1).min(u64::from(u32::MAX)) as u32;
    write(Register::TimerVector, u32::from(TIMER));
    write(Register::TimerInitialCount, count);
}

/// Stops the timer. An interrupt that it has already sent may still be pending.
pub fn stop_timer() {
    write(Register::TimerVector, MASKED | u32::from(TIMER));
    write(Register::TimerInitialCount, 0);
    write(Register::TimerDivide, DIVIDE_BY_1);
}

const RATE_SCALE: u64 = 1 << 16;

/// How often the timer counts while the time-stamp counter counts [`RATE_SCALE`] times: measured once, since no firmware
/// says.
fn timer_rate() -> u64 {
    /// An emulator that is held up between two reads, or before the first, makes the timer look faster, never slower: the
    /// slowest of a few is right.
    const MEASUREMENTS: usize = 5;
    static RATE: AtomicU64 = AtomicU64::new(0);
    match RATE.load(Ordering::Relaxed) {
        0 => {
            let rate = (0..MEASUREMENTS).map(|_| measured_rate()).min().unwrap_or(1).max(1);
            RATE.store(rate, Ordering::Relaxed);
            rate
        }
        known => known,
    }
}

fn measured_rate() -> u64 {
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

/// Sends the CPU with this number a non-maskable interrupt.
pub fn send_nmi(target: u32) {
    command(target, COMMAND_NMI);
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
