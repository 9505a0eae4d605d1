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

extern crate alloc;

#[path = "../examples/hypervisor/src/machine/snapshot/awaited.rs"]
mod awaited;
#[path = "../examples/hypervisor/src/machine/clock.rs"]
mod clock;
#[path = "../examples/hypervisor/src/machine/snapshot/codec.rs"]
mod codec;
#[path = "../examples/hypervisor/src/machine/io_apic.rs"]
mod io_apic;
#[path = "../examples/hypervisor/src/machine/pic.rs"]
mod pic;
#[path = "../examples/hypervisor/src/machine/pit.rs"]
mod pit;

/// Where the devices look for it.
mod snapshot {
    pub(crate) use super::codec;
}

use awaited::is_wanted;
use clock::{Clock, PIT_HZ};
use codec::{bytes_of, whole};
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
    Pit::new(Clock { hz: PIT_HZ, start: 0, before: 0 })
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

#[test]
fn saved_devices_go_on() {
    let mut pics = pics();
    pics.set_line(4, true);
    let mut pics: Pics = whole(&bytes_of(&pics)).expect("the controllers");
    assert_eq!(pics.acknowledge(), 0x24);

    let mut io_apic = IoApic::new();
    io_apic.write(REGISTERS.start, 0x18);
    io_apic.write(REGISTERS.start + 0x10, 0x31);
    let mut io_apic: IoApic = whole(&bytes_of(&io_apic)).expect("the I/O APIC");
    assert_eq!(io_apic.set_line(4, true).map(|message| message.vector), Some(0x31));

    // 1000 counts, of which 600 are over; the machine goes on when the new counter stands at 50.
    let mut timer = pit();
    timer.write(0x43, 0x34, 0);
    timer.write(0x40, 0xE8, 0);
    timer.write(0x40, 0x03, 0);
    let clock = Clock { hz: PIT_HZ, start: 50, before: 600 };
    let registers = whole(&bytes_of(&timer.registers())).expect("the timer");
    let mut timer = Pit::restore(clock, registers);
    assert!(!timer.take_interrupt(50));
    assert_eq!(timer.next_interrupt(50), Some(450));
    assert!(timer.take_interrupt(450));
    assert_eq!(clock.passed(60), 610);
}

#[test]
fn damaged_devices_are_refused() {
    let bytes = bytes_of(&pit().registers());
    for length in 0..bytes.len() {
        assert!(whole::<pit::Registers>(&bytes[..length]).is_none(), "{length}");
    }
    for (place, value) in [(0, 6), (1, 4), (2, 0xFF), (6, 2)] {
        let mut wrong = bytes.clone();
        wrong[place] = value;
        if place == 2 {
            // A count of FFFFFFFFh.
            wrong[2..6].fill(0xFF);
        }
        assert!(whole::<pit::Registers>(&wrong).is_none(), "byte {place}");
    }
    assert!(whole::<pit::Registers>(&[bytes.as_slice(), &[0]].concat()).is_none());
    assert!(whole::<Vec<u8>>(&[255, 255, 255, 255, 1]).is_none());
}

#[test]
fn an_awaited_text_is_found_wherever_it_begins() {
    let seen_in = |text: &[u8], output: &[u8]| {
        let mut seen = 0;
        output.iter().position(|byte| is_wanted(text, &mut seen, *byte))
    };
    assert_eq!(seen_in(b"aab", b"xaaab"), Some(4));
    assert_eq!(seen_in(b"abab", b"abaabab"), Some(6));
    assert_eq!(seen_in(b"end", b"en end"), Some(5));
    assert_eq!(seen_in(b"end", b"en e nd"), None);
    assert_eq!(seen_in(b"", b"x"), None);
}
