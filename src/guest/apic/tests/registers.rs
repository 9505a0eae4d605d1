//! The registers, one rule at a time.

use super::{Apic, at, enabled, read, write};
use crate::{
    Width,
    guest::{
        apic::{ApicConfig, ApicDestination, ApicMessage, Effect, LocalInterrupt},
        control::Fault,
        events::InterruptSource,
    },
    spec::{
        Msr,
        x86::{
            apic::{ApicDeliveryMode, ApicRegister},
            msrs::*,
        },
    },
};

const XAPIC: u64 = IA32_APIC_BASE_RESET;
const X2APIC: u64 = IA32_APIC_BASE_RESET | 1 << 10;
const OFF: u64 = IA32_APIC_BASE_RESET & !(1 << 11);

fn x2apic(id: u32) -> Apic {
    let mut apic = Apic::new(id, id == 0, ApicConfig::new()).expect("a frame");
    apic.set_base(X2APIC, 40).expect("from xAPIC mode");
    apic.write_msr(IA32_X2APIC_SIVR, 0x1ff, at(0)).expect("defined bits");
    apic
}

#[test]
fn reset_values_are_those_of_the_tables() {
    let mut apic = Apic::new(3, false, ApicConfig::new()).expect("a frame");
    assert_eq!(apic.base(), XAPIC);
    assert_eq!(read(&mut apic, ApicRegister::ID), 3 << 24);
    assert_eq!(read(&mut apic, ApicRegister::DESTINATION_FORMAT), u32::MAX);
    for (register, value) in [
        (ApicRegister::SPURIOUS_INTERRUPT_VECTOR, IA32_X2APIC_SIVR_RESET),
        (ApicRegister::LVT_TIMER, IA32_X2APIC_LVT_TIMER_RESET),
        (ApicRegister::LVT_THERMAL, IA32_X2APIC_LVT_THERMAL_RESET),
        (ApicRegister::LVT_PERFORMANCE, IA32_X2APIC_LVT_PMI_RESET),
        (ApicRegister::LVT_LINT0, IA32_X2APIC_LVT_LINT0_RESET),
        (ApicRegister::LVT_LINT1, IA32_X2APIC_LVT_LINT1_RESET),
        (ApicRegister::LVT_ERROR, IA32_X2APIC_LVT_ERROR_RESET),
        (ApicRegister::TASK_PRIORITY, IA32_X2APIC_TPR_RESET),
        (ApicRegister::DIVIDE_CONFIGURATION, IA32_X2APIC_DIV_CONF_RESET),
    ] {
        assert_eq!(u64::from(read(&mut apic, register)), value, "{register:?}");
    }
}

#[test]
fn the_base_changes_as_the_state_diagram_says() {
    let states = [OFF, XAPIC, X2APIC];
    // From (row) to (column), and a state that does not exist.
    let allowed = [[true, true, false], [true, true, true], [true, false, true]];
    for (from, row) in states.iter().zip(allowed) {
        for (to, allowed) in states.iter().zip(row) {
            let mut apic = Apic::new(0, false, ApicConfig::new()).expect("a frame");
            if *from == X2APIC {
                apic.set_base(XAPIC, 40).expect("a state");
            }
            apic.set_base(*from, 40).expect("a state");
            assert_eq!(apic.set_base(*to, 40).is_ok(), allowed, "{from:x} {to:x}");
            assert_eq!(apic.base(), if allowed { *to } else { *from });
            assert_eq!(apic.set_base(OFF | 1 << 10, 40), Err(Fault));
        }
    }
    let mut apic = Apic::new(0, true, ApicConfig::new()).expect("a frame");
    for reserved in [1, 1 << 7, 1 << 9, 1 << 40, 1 << 52, 1 << 63] {
        assert_eq!(apic.set_base(XAPIC | reserved, 40), Err(Fault), "{reserved:x}");
    }
    // The page moves.
    assert_eq!((apic.offset_of(0xfee0_0080), apic.offset_of(0xfee0_1080)), (Some(0x80), None));
    apic.set_base(0xfed0_0800, 40).expect("another page");
    assert_eq!((apic.offset_of(0xfee0_0080), apic.offset_of(0xfed0_0ffc)), (None, Some(0xffc)));
    // Off, its state is lost.
    write(&mut apic, ApicRegister::TASK_PRIORITY, 0x55);
    apic.set_base(0xfed0_0000, 40).expect("off");
    assert_eq!(apic.offset_of(0xfed0_0000), None);
    apic.set_base(XAPIC, 40).expect("on");
    assert_eq!(read(&mut apic, ApicRegister::TASK_PRIORITY), 0);
    let mut without = Apic::new(0, true, ApicConfig { x2apic: false, ..ApicConfig::new() }).expect("a frame");
    assert_eq!(without.set_base(X2APIC, 40), Err(Fault));
}

/// Which MSRs of the range there are: r, w, or both; all other numbers raise #GP.
#[test]
fn x2apic_registers_are_readable_and_writable_as_listed() {
    let rw = [0x808, 0x80f, 0x828, 0x830, 0x832, 0x833, 0x834, 0x835, 0x836, 0x837, 0x838, 0x83e];
    let r = [0x802, 0x803, 0x80a, 0x80d, 0x839];
    let w = [0x80b, 0x83f];
    for number in 0x800..0x900 {
        let vectors = (0x810..0x828).contains(&number);
        let mut apic = x2apic(0);
        let readable = vectors || rw.contains(&number) || r.contains(&number);
        let writable = rw.contains(&number) || w.contains(&number);
        assert_eq!(apic.read_msr(Msr(number), at(0)).is_ok(), readable, "{number:x}");
        assert_eq!(apic.write_msr(Msr(number), 0, at(0)).is_ok(), writable, "{number:x}");
        // No register has these bits, but for the destination of an interrupt command.
        let high = apic.write_msr(Msr(number), 1 << 32 | 0x4_0000, at(0));
        assert_eq!(high.is_ok(), number == 0x830, "{number:x}");
        let mut xapic = enabled(0);
        assert!(xapic.read_msr(Msr(number), at(0)).is_err());
        assert!(xapic.write_msr(Msr(number), 0, at(0)).is_err());
    }
}

#[test]
fn reserved_bits_fault_in_x2apic_mode_and_are_dropped_in_xapic_mode() {
    // The defined bits, those that are read alone, and those that a CPU without a feature does not have.
    let all = [
        (0x808, 0xff),
        (0x80f, 0x3ff),
        (0x832, 0x7_10ff),
        (0x833, 0x1_17ff),
        (0x834, 0x1_17ff),
        (0x835, 0x1_f7ff),
        (0x836, 0x1_f7ff),
        (0x837, 0x1_10ff),
        (0x83e, 0xb),
    ];
    for (number, defined) in all {
        for bit in 0..32 {
            let value = 1u32 << bit;
            let mut apic = x2apic(0);
            let accepted = apic.write_msr(Msr(number), value.into(), at(0)).is_ok();
            assert_eq!(accepted, defined & value != 0, "{number:x} {value:x}");
            let mut xapic = enabled(0);
            let register = ApicRegister((number as u16 & 0xff) << 4);
            write(&mut xapic, register, value);
            let kept = read(&mut xapic, register) & value;
            // Delivery status and remote IRR are read-only.
            let read_only = if (0x832..=0x837).contains(&number) { 0x5000 } else { 0 };
            assert_eq!(kept, value & defined & !read_only, "{number:x} {value:x}");
        }
    }
    for value in [1 << 12, 1 << 13, 1 << 16, 1 << 17, 1 << 20, 1 << 31] {
        assert_eq!(x2apic(0).write_msr(IA32_X2APIC_ICR, value, at(0)), Err(Fault));
    }
}

#[test]
fn commands_become_messages() {
    let message =
        |destination, delivery, vector| Effect::Send(ApicMessage { destination, delivery, vector, level: false });
    let mut apic = enabled(1);
    let mut send = |high: u32, low: u32| {
        write(&mut apic, ApicRegister::INTERRUPT_COMMAND_HIGH, high);
        write(&mut apic, ApicRegister::INTERRUPT_COMMAND_LOW, low)
    };
    use ApicDeliveryMode as Mode;
    use ApicDestination::{All, Logical, Others, Physical};
    assert_eq!(send(2 << 24, 0x4040), message(Physical(2), Mode::FIXED, 0x40));
    assert_eq!(send(0xff << 24, 0x4040), message(All, Mode::FIXED, 0x40));
    assert_eq!(send(3 << 24, 0x4941), message(Logical(3), Mode::LOWEST_PRIORITY, 0x41));
    assert_eq!(send(0, 0x8_4040), message(All, Mode::FIXED, 0x40));
    assert_eq!(send(0, 0xc_4440), message(Others, Mode::NMI, 0x40));
    assert_eq!(send(0, 0xc_4500), message(Others, Mode::INIT, 0));
    assert_eq!(send(0, 0xc_4699), message(Others, Mode::START_UP, 0x99));
    // The de-assertion of an INIT, SMIs, reserved modes and illegal vectors go nowhere.
    for low in [0x8500, 0x4200, 0x4340, 0x4740, 0x400f, 0x4_4440, 0x4_4500] {
        assert_eq!(send(2 << 24, low), Effect::None, "{low:x}");
    }
    assert_eq!(read(&mut apic, ApicRegister::INTERRUPT_COMMAND_HIGH), 2 << 24);
    write(&mut apic, ApicRegister::ERROR_STATUS, 0);
    assert_eq!(read(&mut apic, ApicRegister::ERROR_STATUS), 0x20);

    let mut apic = x2apic(1);
    let mut send = |value| apic.write_msr(IA32_X2APIC_ICR, value, at(0)).expect("defined bits");
    assert_eq!(send(0x123 << 32 | 0x40), message(Physical(0x123), Mode::FIXED, 0x40));
    assert_eq!(send(0xff << 32 | 0x40), message(Physical(0xff), Mode::FIXED, 0x40));
    assert_eq!(send(0xffff_ffff << 32 | 0x40), message(All, Mode::FIXED, 0x40));
    assert_eq!(send(0x2_0003 << 32 | 0x840), message(Logical(0x2_0003), Mode::FIXED, 0x40));
    assert_eq!(apic.read_msr(IA32_X2APIC_ICR, at(0)), Ok(0x2_0003 << 32 | 0x840));
    assert_eq!(apic.write_msr(IA32_X2APIC_SELF_IPI, 0x55, at(0)), Ok(Effect::None));
    assert_eq!(apic.highest(), Some(0x55));
}

#[test]
fn only_whole_registers_are_written() {
    let mut apic = enabled(0);
    write(&mut apic, ApicRegister::TASK_PRIORITY, 0x21);
    for (offset, width) in [(0x80, Width::Byte), (0x80, Width::Word), (0x80, Width::Qword), (0x84, Width::Dword)] {
        assert_eq!(apic.write_page(offset, width, 0x30, at(0)), Effect::None);
        assert_eq!(read(&mut apic, ApicRegister::TASK_PRIORITY), 0x21);
    }
    write(&mut apic, ApicRegister::SPURIOUS_INTERRUPT_VECTOR, 0x1fe);
    assert_eq!(apic.read_page(0xf0, Width::Qword, at(0)), 0x1fe);
    assert_eq!(apic.read_page(0xf1, Width::Byte, at(0)), 1);
    assert_eq!(apic.read_page(0xff, Width::Byte, at(0)), 0);
    // Every offset, whatever the width: nothing panics, and what is no register is an error.
    for offset in 0..0x1000 {
        for width in [Width::Byte, Width::Word, Width::Dword, Width::Qword] {
            apic.read_page(offset, width, at(0));
            apic.write_page(offset, width, u64::MAX, at(0));
        }
    }
    write(&mut apic, ApicRegister::ERROR_STATUS, 0);
    assert_ne!(read(&mut apic, ApicRegister::ERROR_STATUS) & 0x80, 0);
}

#[test]
fn errors_interrupt_once_until_they_are_read() {
    let mut apic = enabled(0);
    write(&mut apic, ApicRegister::LVT_ERROR, 0xee);
    apic.receive(3, false);
    assert_eq!(apic.highest(), Some(0xee));
    apic.acknowledge(0xee);
    apic.receive(4, false);
    assert!(!apic.any());
    write(&mut apic, ApicRegister::ERROR_STATUS, 0xffff_ffff);
    assert_eq!(read(&mut apic, ApicRegister::ERROR_STATUS), 0x40);
    apic.receive(5, false);
    write(&mut apic, ApicRegister::END_OF_INTERRUPT, 0);
    assert_eq!(apic.highest(), Some(0xee));
    // An entry whose own vector is illegal.
    let mut apic = enabled(0);
    write(&mut apic, ApicRegister::LVT_ERROR, 2);
    write(&mut apic, ApicRegister::INTERRUPT_COMMAND_LOW, 0x4_0001);
    write(&mut apic, ApicRegister::ERROR_STATUS, 0);
    assert_eq!(read(&mut apic, ApicRegister::ERROR_STATUS), 0x60);
}

#[test]
fn local_sources_follow_their_entries() {
    let mut apic = enabled(0);
    assert!(!apic.accepts_pic() && !apic.signal(LocalInterrupt::Lint1));
    write(&mut apic, ApicRegister::LVT_LINT0, 0x700);
    write(&mut apic, ApicRegister::LVT_LINT1, 0x400);
    assert!(apic.accepts_pic() && apic.signal(LocalInterrupt::Lint1) && !apic.signal(LocalInterrupt::Lint0));
    assert!(!apic.any());
    write(&mut apic, ApicRegister::LVT_PERFORMANCE, 0x60);
    assert!(!apic.signal(LocalInterrupt::Performance) && !apic.signal(LocalInterrupt::Thermal));
    assert_eq!(apic.highest(), Some(0x60));
    apic.acknowledge(0x60);
    assert_eq!(write(&mut apic, ApicRegister::END_OF_INTERRUPT, 0), Effect::None);
    // A level is taken again after its EOI.
    write(&mut apic, ApicRegister::LVT_LINT0, 0x8070);
    assert!(!apic.accepts_pic() && !apic.signal(LocalInterrupt::Lint0));
    apic.acknowledge(0x70);
    assert!(!apic.signal(LocalInterrupt::Lint0));
    assert_eq!((apic.any(), read(&mut apic, ApicRegister::LVT_LINT0)), (false, 0xc070));
    assert_eq!(write(&mut apic, ApicRegister::END_OF_INTERRUPT, 0), Effect::EndOfInterrupt { vector: 0x70 });
    assert!(!apic.signal(LocalInterrupt::Lint0) && apic.any());
    // Turned off by software, all entries are masked; turned off for good, the pins are the CPU's.
    write(&mut apic, ApicRegister::SPURIOUS_INTERRUPT_VECTOR, 0xff);
    assert_eq!(read(&mut apic, ApicRegister::LVT_LINT1), 0x1_0400);
    assert!(!apic.signal(LocalInterrupt::Lint1) && !apic.accepts_pic());
    apic.set_base(OFF, 40).expect("a state");
    assert!(apic.signal(LocalInterrupt::Lint1) && apic.accepts_pic());
}

#[test]
fn firmware_may_have_set_the_virtual_wire() {
    let config = ApicConfig { virtual_wire: true, ..ApicConfig::new() };
    let mut apic = Apic::new(0, true, config).expect("a frame");
    assert!(apic.accepts_pic() && apic.is_software_enabled() && apic.signal(LocalInterrupt::Lint1));
    apic.init();
    assert!(!apic.accepts_pic() && !apic.is_software_enabled());
    apic.reset();
    assert!(apic.accepts_pic());
    assert!(!Apic::new(1, false, config).expect("a frame").accepts_pic());
}

#[test]
fn the_broadcast_of_ends_can_be_suppressed_where_that_is_offered() {
    for offered in [false, true] {
        let config = ApicConfig { eoi_broadcast_suppression: offered, ..ApicConfig::new() };
        let mut apic = Apic::new(0, true, config).expect("a frame");
        assert_eq!(read(&mut apic, ApicRegister::VERSION) >> 24, u32::from(offered));
        write(&mut apic, ApicRegister::SPURIOUS_INTERRUPT_VECTOR, 0x11ff);
        apic.receive(0x40, true);
        apic.acknowledge(0x40);
        let told = write(&mut apic, ApicRegister::END_OF_INTERRUPT, 0);
        assert_eq!(told == Effect::EndOfInterrupt { vector: 0x40 }, !offered);
    }
}

#[test]
fn an_init_keeps_the_id_and_the_mode() {
    let mut apic = x2apic(0x123);
    assert_eq!(apic.read_msr(IA32_X2APIC_LDR, at(0)), Ok(0x12_0008));
    apic.receive(0x40, false);
    apic.init();
    assert!(apic.is_x2apic() && !apic.any());
    assert_eq!(apic.read_msr(IA32_X2APIC_APICID, at(0)), Ok(0x123));
    assert_eq!(apic.read_msr(IA32_X2APIC_SIVR, at(0)), Ok(0xff));
}
