//! The local APIC against an independent model, and message by message.

mod bus;
mod model;
mod registers;
mod timer;

use super::{ApicConfig, LocalApic, Moment, page};
use crate::{
    Width,
    guest::tsc::{RatioFormat, Tsc},
    nested::mock::MockFrames,
    random::Random,
    spec::x86::apic::ApicRegister,
};

type Apic = LocalApic<MockFrames>;

/// A moment at which the guest's counter is the host's.
fn at(host: u64) -> Moment {
    Moment { host, tsc: Tsc::new(RatioFormat { fraction: 48, bits: 64 }) }
}

/// A local APIC that software has turned on.
fn enabled(id: u32) -> Apic {
    let mut apic = Apic::new(id, id == 0, ApicConfig::new()).expect("a frame");
    write(&mut apic, ApicRegister::SPURIOUS_INTERRUPT_VECTOR, 0x1ff);
    apic
}

fn write(apic: &mut Apic, register: ApicRegister, value: u32) -> super::Effect {
    apic.write_page(register.0, Width::Dword, value.into(), at(0))
}

fn read(apic: &mut Apic, register: ApicRegister) -> u32 {
    apic.read_page(register.0, Width::Dword, at(0)) as u32
}

#[test]
fn the_page_is_that_of_the_xapic() {
    let mut page = page::RegisterPage::<MockFrames>::new().expect("a frame");
    assert_eq!(page.highest(page::IN_SERVICE), None);
    for vector in [0, 31, 32, 200, 255] {
        page.set(page::INTERRUPT_REQUEST, vector, true);
        assert_eq!(page.highest(page::INTERRUPT_REQUEST), Some(vector));
    }
    assert_eq!(page.read(ApicRegister::INTERRUPT_REQUEST_0), 1 | 1 << 31);
    assert_eq!(page.read(ApicRegister::INTERRUPT_REQUEST_7), 1 << 31);
    assert_eq!(page.highest(page::TRIGGER_MODE), None);
}
