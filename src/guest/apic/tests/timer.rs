//! The timer, by a clock that the tests turn.

use core::num::NonZeroU16;

use super::{Apic, Random, at};
use crate::{
    Width,
    guest::{
        apic::{ApicConfig, Moment},
        control::Fault,
        events::InterruptSource,
        tsc::{RatioFormat, Tsc},
    },
    spec::x86::apic::ApicRegister,
};

const VECTOR: u8 = 0x40;

fn apic(config: ApicConfig, entry: u32, divide: u32) -> Apic {
    let mut apic = Apic::new(0, true, config).expect("a frame");
    put(&mut apic, ApicRegister::SPURIOUS_INTERRUPT_VECTOR, 0x1ff, at(0));
    put(&mut apic, ApicRegister::DIVIDE_CONFIGURATION, divide, at(0));
    put(&mut apic, ApicRegister::LVT_TIMER, entry | u32::from(VECTOR), at(0));
    apic
}

fn put(apic: &mut Apic, register: ApicRegister, value: u32, now: Moment) {
    apic.write_page(register.0, Width::Dword, value.into(), now);
}

fn count(apic: &mut Apic, now: u64) -> u32 {
    apic.read_page(ApicRegister::CURRENT_COUNT.0, Width::Dword, at(now)) as u32
}

/// Whether the timer has interrupted, and the end of that interrupt.
fn fired(apic: &mut Apic, now: u64) -> bool {
    apic.advance_timer(at(now));
    let fired = apic.highest() == Some(VECTOR);
    if fired {
        apic.acknowledge(VECTOR);
        put(apic, ApicRegister::END_OF_INTERRUPT, 0, at(now));
    }
    fired
}

#[test]
fn one_shot_with_every_divider_and_ratio() {
    for ratio in [1, 3, 100] {
        let config = ApicConfig { timer_ratio: NonZeroU16::new(ratio).expect("not 0"), ..ApicConfig::new() };
        for (bits, divide) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
            let mut apic = apic(config, 0, bits);
            put(&mut apic, ApicRegister::INITIAL_COUNT, 10, at(1_000));
            let tick = divide * u64::from(ratio);
            assert_eq!(apic.timer_deadline(at(1_000)), Some(1_000 + 10 * tick));
            assert_eq!((count(&mut apic, 1_000), count(&mut apic, 1_000 + 3 * tick)), (10, 7));
            assert!(!fired(&mut apic, 1_000 + 10 * tick - 1));
            assert_eq!(count(&mut apic, 1_000 + 10 * tick - 1), 1);
            assert!(fired(&mut apic, 1_000 + 10 * tick) && !fired(&mut apic, 1_000_000));
            assert_eq!((count(&mut apic, 1_000_000), apic.timer_deadline(at(1_000_000))), (0, None));
        }
    }
}

#[test]
fn periodic_without_drift_and_without_a_flood() {
    let config = ApicConfig { least_timer_period: 100, ..ApicConfig::new() };
    let mut apic = apic(config, 0x2_0000, 11);
    put(&mut apic, ApicRegister::INITIAL_COUNT, 1_000, at(0));
    for period in 1..50 {
        assert!(!fired(&mut apic, period * 1_000 - 1) && fired(&mut apic, period * 1_000 + period));
    }
    // Those that nobody looked for are one, and the next is in step.
    assert!(fired(&mut apic, 99_500) && !fired(&mut apic, 99_999) && fired(&mut apic, 100_000));
    // A count of 1 would leave the host nothing to do but this.
    assert!(fired(&mut apic, 200_000));
    put(&mut apic, ApicRegister::INITIAL_COUNT, 1, at(200_000));
    assert!(!fired(&mut apic, 200_099) && fired(&mut apic, 200_100) && !fired(&mut apic, 200_199));
    put(&mut apic, ApicRegister::INITIAL_COUNT, 0, at(300_000));
    let _ = fired(&mut apic, 300_000);
    assert_eq!(apic.timer_deadline(at(300_000)), None);
}

#[test]
fn a_mask_swallows_interrupts_but_the_count_goes_on() {
    let mut apic = apic(ApicConfig::new(), 0x1_0000, 11);
    put(&mut apic, ApicRegister::INITIAL_COUNT, 1_000, at(0));
    assert_eq!((apic.timer_deadline(at(0)), count(&mut apic, 400)), (None, 600));
    put(&mut apic, ApicRegister::LVT_TIMER, VECTOR.into(), at(500));
    assert_eq!(apic.timer_deadline(at(500)), Some(1_000));
    put(&mut apic, ApicRegister::LVT_TIMER, 0x1_0000 | u32::from(VECTOR), at(600));
    // It expires masked; the end of the mask brings nothing back.
    put(&mut apic, ApicRegister::LVT_TIMER, VECTOR.into(), at(2_000));
    assert!(!fired(&mut apic, 3_000));
    // So does turning the APIC off.
    put(&mut apic, ApicRegister::INITIAL_COUNT, 1_000, at(3_000));
    put(&mut apic, ApicRegister::SPURIOUS_INTERRUPT_VECTOR, 0xff, at(3_000));
    assert_eq!(apic.timer_deadline(at(3_000)), None);
    assert!(!fired(&mut apic, 5_000));
}

#[test]
fn another_divider_changes_the_speed_of_what_is_left() {
    let mut apic = apic(ApicConfig::new(), 0, 11);
    put(&mut apic, ApicRegister::INITIAL_COUNT, 1_000, at(0));
    put(&mut apic, ApicRegister::DIVIDE_CONFIGURATION, 1, at(600));
    assert_eq!((count(&mut apic, 600), count(&mut apic, 1_000)), (400, 300));
    assert_eq!(apic.timer_deadline(at(600)), Some(600 + 4 * 400));
}

#[test]
fn deadlines_are_those_of_the_guests_counter() {
    let mut tsc = Tsc::new(RatioFormat { fraction: 48, bits: 64 });
    tsc.set_offset(5_000);
    let now = |host| Moment { host, tsc };
    let mut apic = apic(ApicConfig::new(), 0, 11);
    // In the other modes the register is 0 and writes are lost.
    assert_eq!(apic.set_tsc_deadline(7_000, now(0)), Ok(()));
    assert_eq!(apic.tsc_deadline(now(0)), Ok(0));
    put(&mut apic, ApicRegister::INITIAL_COUNT, 1_000, now(0));
    // A change of the mode disarms, and the count is not there.
    put(&mut apic, ApicRegister::LVT_TIMER, 0x4_0000 | u32::from(VECTOR), now(0));
    assert_eq!((apic.timer_deadline(now(0)), count(&mut apic, 10)), (None, 0));
    put(&mut apic, ApicRegister::INITIAL_COUNT, 1_000, now(0));
    assert_eq!(apic.timer_deadline(now(0)), None);
    apic.set_tsc_deadline(7_000, now(0)).expect("offered");
    assert_eq!((apic.timer_deadline(now(500)), apic.tsc_deadline(now(500))), (Some(2_000), Ok(7_000)));
    apic.advance_timer(now(1_999));
    assert_eq!(apic.highest(), None);
    apic.advance_timer(now(2_000));
    assert_eq!((apic.highest(), apic.tsc_deadline(now(2_000))), (Some(VECTOR), Ok(0)));
    apic.acknowledge(VECTOR);
    // One that has passed is due at once; 0 disarms.
    apic.set_tsc_deadline(1, now(3_000)).expect("offered");
    assert!(apic.page.contains(super::page::INTERRUPT_REQUEST, VECTOR));
    apic.set_tsc_deadline(u64::MAX, now(3_000)).expect("offered");
    apic.set_tsc_deadline(0, now(3_000)).expect("offered");
    assert_eq!(apic.timer_deadline(now(3_000)), None);
    let mut without = super::timer::apic(ApicConfig { tsc_deadline: false, ..ApicConfig::new() }, 0x4_0000, 11);
    assert_eq!(without.tsc_deadline(at(0)), Err(Fault));
    assert_eq!(without.set_tsc_deadline(1, at(0)), Err(Fault));
}

/// Whatever a guest writes, whenever: the deadline that is told is the moment of the interrupt, and no earlier.
#[test]
fn the_deadline_is_when_the_interrupt_comes() {
    let mut random = Random(7);
    let mut interrupts = 0;
    for _ in 0..2_000 {
        let modes = [0, 0x2_0000, 0x4_0000, 0x6_0000];
        let entry = modes[random.below(4) as usize];
        let mut apic = apic(ApicConfig::new(), entry, random.below(16) as u32);
        let mut now = random.next();
        for _ in 0..20 {
            match random.below(4) {
                0 => put(&mut apic, ApicRegister::INITIAL_COUNT, random.next() as u32 >> random.below(32), at(now)),
                1 => put(&mut apic, ApicRegister::DIVIDE_CONFIGURATION, random.next() as u32, at(now)),
                2 => drop(apic.set_tsc_deadline(now.wrapping_add(random.below(1 << 20)), at(now))),
                _ => drop(count(&mut apic, now)),
            }
            let _ = fired(&mut apic, now);
            if let Some(deadline) = apic.timer_deadline(at(now)) {
                assert!(deadline > now);
                if random.below(2) == 0 {
                    assert!(!fired(&mut apic, deadline - 1) && fired(&mut apic, deadline));
                    now = deadline;
                    interrupts += 1;
                }
            } else {
                assert!(!fired(&mut apic, now + (1 << 50)));
            }
        }
    }
    assert!(interrupts > 1_000, "{interrupts}");
}
