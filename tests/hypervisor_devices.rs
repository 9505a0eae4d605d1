//! The device models of `examples/hypervisor` that are pure logic, tested here because the image itself has no test harness.

#![allow(dead_code, missing_docs, reason = "the modules are the image's")]

/// The host's instructions that the modules name.
mod cpu {
    pub unsafe fn in8(_: u16) -> u8 {
        0xFF
    }
    pub unsafe fn out8(_: u16, _: u8) {}
    pub fn timestamp() -> u64 {
        0
    }
}

#[path = "../examples/hypervisor/src/machine/clock.rs"]
mod clock;
#[path = "../examples/hypervisor/src/machine/io_apic.rs"]
mod io_apic;
#[path = "../examples/hypervisor/src/machine/pic.rs"]
mod pic;
#[path = "../examples/hypervisor/src/machine/pit.rs"]
mod pit;

use clock::{Clock, PIT_HZ};
use io_apic::{IoApic, REGISTERS};
use pic::Pics;
use pit::Pit;

/// Both controllers as every system sets them up: vectors from 20h and 28h, everything unmasked.
fn pics() -> Pics {
    let mut pics = Pics::default();
    for (port, words) in [(0x20, [0x11, 0x20, 0x04, 0x01]), (0xA0, [0x11, 0x28, 0x02, 0x01])] {
        pics.write(port, words[0]);
        words[1..].iter().for_each(|word| pics.write(port + 1, *word));
        pics.write(port + 1, 0);
    }
    pics
}

#[test]
fn the_pic_serves_by_priority_and_nests() {
    let mut pics = pics();
    assert!(!pics.wants_attention());
    pics.set_line(4, true);
    pics.set_line(12, true);
    // Line 12 is behind line 2, which is above line 4.
    assert_eq!(pics.acknowledge(), 0x2C);
    assert!(!pics.wants_attention(), "line 4 is below what is in service");
    pics.set_line(0, true);
    assert_eq!(pics.acknowledge(), 0x20);
    pics.write(0x20, 0x20);
    pics.write(0xA0, 0x20);
    pics.write(0x20, 0x20);
    assert_eq!(pics.acknowledge(), 0x24);
    pics.write(0x20, 0x64); // specific
    assert!(!pics.wants_attention(), "edges are served once");
}

#[test]
fn the_pic_keeps_an_edge_while_masked_and_forgets_one_that_is_gone() {
    let mut pics = pics();
    pics.write(0x21, 0x10);
    pics.set_line(4, true);
    assert!(!pics.wants_attention());
    pics.write(0x21, 0);
    assert!(pics.wants_attention());
    pics.set_line(4, false);
    assert!(!pics.wants_attention());
    assert_eq!(pics.acknowledge(), 0x27, "spurious");
    // Nothing is in service after a spurious interrupt.
    pics.write(0x20, 0x0B);
    assert_eq!(pics.read(0x20), 0);
}

#[test]
fn the_pic_serves_a_level_as_long_as_it_is_high() {
    let mut pics = pics();
    pics.write(0x4D1, 0x02);
    pics.set_line(9, true);
    for _ in 0..2 {
        assert_eq!(pics.acknowledge(), 0x29);
        assert!(!pics.wants_attention());
        pics.write(0xA0, 0x20);
        pics.write(0x20, 0x20);
    }
    pics.set_line(9, false);
    assert!(!pics.wants_attention());
}

/// A timer on a clock that counts as the timer does, so that one tick is one count.
fn pit() -> Pit {
    Pit::new(Clock { hz: PIT_HZ, start: 0 })
}

#[test]
fn the_pit_interrupts_periodically() {
    let mut pit = pit();
    assert_eq!(pit.next_interrupt(0), None);
    pit.write(0x43, 0x34, 0);
    pit.write(0x40, 0xE8, 0);
    pit.write(0x40, 0x03, 0);
    assert_eq!(pit.next_interrupt(0), Some(1000));
    assert!(!pit.take_interrupt(999));
    assert!(pit.take_interrupt(1000) && !pit.take_interrupt(1001));
    assert_eq!(pit.next_interrupt(1001), Some(2000));
    // Late: one interrupt for those that were missed.
    assert!(pit.take_interrupt(5500) && !pit.take_interrupt(5501));
    assert_eq!(pit.next_interrupt(5501), Some(6000));
    // The count, low byte first, latched.
    pit.write(0x43, 0x00, 6100);
    assert_eq!([pit.read(0x40, 6500), pit.read(0x40, 6500)], 900u16.to_le_bytes());
}

#[test]
fn the_pits_second_channel_counts_down_once_while_its_gate_is_open() {
    const OUTPUT: u8 = 0x20;
    let mut pit = pit();
    pit.write(0x61, 1, 0);
    pit.write(0x43, 0xB0, 0);
    pit.write(0x42, 0x10, 0);
    pit.write(0x42, 0x00, 0);
    assert_eq!(pit.read(0x61, 15) & OUTPUT, 0);
    assert_eq!(pit.read(0x61, 16) & OUTPUT, OUTPUT);
    pit.write(0x42, 0x10, 100);
    pit.write(0x42, 0x00, 100);
    pit.write(0x61, 0, 104);
    assert_eq!(pit.read(0x61, 200) & OUTPUT, 0, "the gate is closed");
    pit.write(0x61, 1, 300);
    assert_eq!(pit.read(0x61, 311) & OUTPUT, 0);
    assert_eq!(pit.read(0x61, 312) & OUTPUT, OUTPUT);
}

fn io_apic_write(io_apic: &mut IoApic, register: u32, value: u32) -> Option<io_apic::Message> {
    io_apic.write(REGISTERS.start, register);
    io_apic.write(REGISTERS.start + 0x10, value)
}

#[test]
fn the_io_apic_sends_edges_once_and_levels_until_they_are_gone() {
    let mut io_apic = IoApic::new();
    assert_eq!(io_apic.set_line(4, true), None, "masked after reset");
    io_apic.set_line(4, false);
    io_apic_write(&mut io_apic, 0x10 + 2 * 4 + 1, 0x0100_0000);
    io_apic_write(&mut io_apic, 0x10 + 2 * 4, 0x31);
    let message = io_apic.set_line(4, true).expect("an edge");
    assert_eq!((message.destination, message.vector, message.level), (1, 0x31, false));
    assert_eq!(io_apic.set_line(4, true), None);

    io_apic_write(&mut io_apic, 0x10 + 2 * 9, 0x8000 | 0x39);
    assert!(io_apic.set_line(9, true).is_some_and(|message| message.level));
    assert_eq!(io_apic.set_line(9, true), None, "it waits for the end of the interrupt");
    assert_eq!(io_apic.end_of_interrupt(0x39).count(), 1, "still high");
    io_apic.set_line(9, false);
    assert_eq!(io_apic.end_of_interrupt(0x39).count(), 0);
}
