//! The binary form: what is written is read again, and what is damaged is refused.

extern crate std;

use std::{format, string::String, vec, vec::Vec};

use super::*;
use crate::{
    Event,
    random::Random,
    spec::x86::{
        msrs::IA32_PAT_RESET,
        registers::{Cr0, Dr6, Dr7, ExceptionVector, Rflags, Xcr0},
    },
};

/// A state with something everywhere. The golden file is this one: it must never change.
fn sample() -> State {
    let mut state = State::default();
    state.registers.rax = 0x1111_2222_3333_4444;
    state.registers.r15 = u64::MAX;
    state.system.cr0 = Cr0::PE | Cr0::PG | Cr0::ET;
    state.system.rflags = Rflags::from_bits(0x202);
    state.system.rip = 0xffff_ffff_8000_1234;
    state.system.cs.selector = 0x10;
    state.system.cs.limit = u32::MAX;
    state.system.gdtr.base = 0x5000;
    state.cr8 = 4;
    state.pdptes = Some([1, 2, 3, 4]);
    state.debug.addresses = [1, 2, 3, 4];
    state.debug.dr6 = Dr6::from_bits(0xffff_0ff0);
    state.debug.dr7 = Dr7::from_bits(0x401);
    state.debug.pending = Dr6::B0;
    state.debug.watched = Watched::Memory { linear: 0x1000, size: 4, write: true };
    state.msrs.star = 5;
    state.msrs.pat = IA32_PAT_RESET;
    assert!(state.emulated.set(0x1a0, 0x1801));
    state.extended.xcr0 = Xcr0::from_bits(0xe7);
    state.extended.st[7] = 0x4000_c000_0000_0000_0000;
    state.extended.xmm[15] = u128::MAX;
    state.extended.ymm_high[1] = 1 << 127;
    state.extended.opmask[7] = 0xff;
    state.extended.zmm_high[2] = [3, 4];
    state.extended.zmm_16_to_31[15] = [1, 2, 3, 4];
    state.extended.pkru = 0x5555_5554;
    state.events.next = Some(Event::exception(ExceptionVector::PF, Some(6)));
    state.events.nmi_pending = true;
    state.events.acknowledged = Some(0x30);
    state.events.requests[3] = 1 << 63;
    state.events.shadow = InterruptShadow::MovSs;
    state.events.activity = Activity::StartUp(0x9a);
    state.events.completed = 3;
    state.time.tsc = 1_000_000;
    state.time.tsc_ratio = 1 << 48;
    let apic = ApicState { base: 0xfee0_0900, timer_left: Some(99), lvt_error: 0x1_0000, ..ApicState::default() };
    state.local_apic = Some(apic);
    state
}

fn written(state: &State) -> Vec<u8> {
    let mut bytes = vec![0xa5; MAX_ENCODED];
    let length = state.write_to(&mut bytes).expect("room for the largest");
    assert_eq!(length, state.encoded_len());
    bytes.truncate(length);
    bytes
}

#[test]
fn what_is_written_is_read_again() {
    for state in [sample(), State::default()] {
        let bytes = written(&state);
        assert_eq!(State::read_from(&bytes), Ok(state.clone()));
        assert_eq!(written(&State::read_from(&bytes).expect("just read")), bytes);
        // What lies behind is not its own.
        let mut longer = bytes.clone();
        longer.extend([1, 2, 3]);
        assert_eq!(State::read_from(&longer), Ok(state));
    }
}

#[test]
fn version_1_is_read_for_ever() {
    let golden = include_bytes!("../../../tests/golden/state-1.x86vcpu");
    let state = State::read_from(golden).expect("a file that was written once");
    assert_eq!(state, sample());
    assert_eq!(state.hash(), GOLDEN_HASH);
}

/// The hash of the golden file's state.
const GOLDEN_HASH: u64 = 0x03e1_2dd1_0467_c92c;

#[test]
fn each_kind_of_damage_has_its_error() {
    let bytes = written(&sample());
    for length in 0..bytes.len() {
        assert_eq!(State::read_from(&bytes[..length]), Err(FormatError::Truncated), "{length}");
    }
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        let expected: &[FormatError] = match place {
            0..8 => &[FormatError::NotAState],
            8 => &[FormatError::Version { major: 0x11, minor: 0 }],
            9 => &[FormatError::Version { major: 0x1001, minor: 0 }],
            12..16 => &[FormatError::Truncated, FormatError::Checksum],
            _ => &[FormatError::Checksum],
        };
        let error = State::read_from(&damaged).expect_err("damaged");
        assert!(expected.contains(&error), "{place}: {error:?}");
    }
    let change = |f: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.clone();
        f(&mut changed);
        mend_checksum(&mut changed);
        State::read_from(&changed)
    };
    // The first row of the table is that of the registers.
    let first = 32;
    assert_eq!(change(&|bytes| bytes[first] = 99), Err(FormatError::UnknownSection(99)));
    assert_eq!(change(&|bytes| bytes[first + 16] = 1), Err(FormatError::RepeatedSection(1)));
    let optional = change(&|bytes| (bytes[first], bytes[first + 2]) = (99, 0));
    assert_eq!(optional, Err(FormatError::MissingSection("registers")));
    assert_eq!(change(&|bytes| bytes[first + 4 + 3] = 0xff), Err(FormatError::Truncated));
    assert_eq!(change(&|bytes| bytes[first + 8] = 1), Err(FormatError::Truncated));
    // The fourth is that of the PDPTEs, which a state need not have.
    let left_out = change(&|bytes| (bytes[first + 48], bytes[first + 50]) = (99, 0)).expect("an optional section");
    assert_eq!(left_out, State { pdptes: None, ..sample() });
    assert_eq!(change(&|bytes| bytes[10] = 7).expect("a newer minor version"), sample());
    for error in [FormatError::Checksum, FormatError::UnknownSection(4), FormatError::Version { major: 2, minor: 0 }] {
        assert!(!format!("{error}").is_empty());
    }
    assert_eq!(sample().write_to(&mut [0; 100]), Err(FormatError::NoRoom(bytes.len())));
}

#[test]
fn random_bytes_are_no_state() {
    let mut numbers = Random(0x0123_4567_89ab_cdef);
    let mut random = move || numbers.next();
    let good = written(&sample());
    let mut read = 0;
    for round in 0..6_000 {
        let mut bytes = good.clone();
        if round % 3 == 0 {
            bytes.truncate(random() as usize % (good.len() + 1));
            bytes.iter_mut().skip(12).for_each(|byte| *byte = random() as u8);
        } else {
            for _ in 0..random() % 6 {
                let place = random() as usize % bytes.len();
                bytes[place] = random() as u8;
            }
        }
        if round % 2 == 0 && bytes.len() >= 32 {
            let length = bytes.len() as u32;
            bytes[12..16].copy_from_slice(&length.to_le_bytes());
            mend_checksum(&mut bytes);
        }
        if let Ok(state) = State::read_from(&bytes) {
            read += 1;
            assert_eq!(State::read_from(&written(&state)), Ok(state));
        }
    }
    assert!(read > 300, "{read}");
}

#[test]
fn the_hash_is_of_everything_but_the_time() {
    let state = sample();
    let mut other = state.clone();
    other.time.tsc += 1;
    other.local_apic.as_mut().expect("it has one").timer_left = Some(7);
    assert_eq!(other.hash(), state.hash());
    other.extended.xmm[0] = 1;
    assert_ne!(other.hash(), state.hash());
    other = state.clone();
    other.local_apic.as_mut().expect("it has one").interrupt_request[1] = 1;
    assert_ne!(other.hash(), state.hash());
}

#[test]
fn differences_have_names_and_words() {
    let state = sample();
    let mut other = state.clone();
    other.system.cr0.insert(Cr0::WP);
    other.registers.rax = 5;
    other.extended.zmm_16_to_31[15][3] = 0x77;
    other.events.next = None;
    other.events.activity = Activity::Running;
    let mut lines = String::new();
    state.differences(&other, |name, values| lines += &format!("{name}: {} -> {}\n", values.mine, values.theirs));
    assert_eq!(
        lines,
        "registers.rax: 0x1111222233334444 -> 5\n\
         system.cr0: 0x80000011 Cr0(PE | ET | PG) -> 0x80010011 Cr0(PE | ET | WP | PG)\n\
         extended.zmm_16_to_31[15][3]: 4 -> 0x77\n\
         events.next: present -> none\n\
         events.activity: StartUp(154) -> Running\n"
    );
    let text = format!("{state}");
    for line in [
        "system.cr0 = 0x80000011 Cr0(PE | ET | PG)",
        "debug.watched = Memory { linear: 4096, size: 4, write: true }",
        "emulated.rows[0].value = 0x1801",
        "extended.zmm_16_to_31[15][3] = 4",
        "local_apic.timer_left = 0x63",
        "events.shadow = MovSs",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert_eq!(State::default().to_string_of_differences(&State::default()), "");
}

impl State {
    fn to_string_of_differences(&self, other: &Self) -> String {
        let mut lines = String::new();
        self.differences(other, |name, _| lines += &format!("{name}\n"));
        lines
    }
}

#[test]
fn it_has_a_size_that_the_documentation_gives() {
    let size = size_of::<State>();
    assert!((3500..4500).contains(&size), "{size}");
    let (small, large) = (State::default().encoded_len(), written(&sample()).len());
    assert!((1000..2048).contains(&small) && (2048..MAX_ENCODED / 2).contains(&large), "{small} {large}");
}

#[cfg(feature = "serde")]
#[test]
fn it_survives_serialization() {
    let text = serde_json::to_string(&sample()).expect("plain data");
    assert_eq!(serde_json::from_str::<State>(&text).expect("the same format"), sample());
}
