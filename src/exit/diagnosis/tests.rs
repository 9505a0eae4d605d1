//! Failed entries of states that are maps.

extern crate std;

use std::vec::Vec;

use super::*;
use crate::{
    entry::mock::Known,
    spec::intel::{
        entry_checks::CHECKS,
        vmcs::{CR3_TARGET_COUNT, HOST_TR_SELECTOR, VM_ENTRY_MSR_LOAD_ADDRESS, VM_ENTRY_MSR_LOAD_COUNT},
    },
};

struct Zero;

impl EntryCapabilities for Zero {
    fn msr(&self, _address: u32) -> Option<u64> {
        Some(0)
    }

    fn cpuid(&self, _leaf: u32, _subleaf: u32) -> Option<[u32; 4]> {
        Some([0; 4])
    }
}

const SPOILED: Known = Known(&[(CR3_TARGET_COUNT.encoding(), 5), (HOST_TR_SELECTOR.encoding(), 0)]);

fn fields(failure: EntryFailure) -> Vec<u32> {
    failure.violations().map(|violation| violation.check.field().number).collect()
}

#[test]
fn what_failed_comes_first_and_what_was_passed_is_not_told() {
    let (controls, host) = (CR3_TARGET_COUNT.encoding(), HOST_TR_SELECTOR.encoding());
    let explained = |failure: EntryFailure| fields(failure.explain(&SPOILED, &Zero));
    assert_eq!(explained(EntryFailure::instruction(7)), [controls, host]);
    assert_eq!(explained(EntryFailure::instruction(8)), [host, controls]);
    assert_eq!(explained(EntryFailure::exit(0x8000_0021, 0)), [0; 0]);
    // A failure of another kind, such as that of a launched VMCS, has nothing to do with the state.
    assert_eq!(explained(EntryFailure::instruction(4)), [0; 0]);
}

#[test]
fn without_a_broken_rule_those_that_could_not_be_judged_are_counted() {
    let failure = EntryFailure::exit(0x8000_0021, 0).explain(&SPOILED, &Zero);
    assert!(failure.broken_rules() == 0 && failure.not_judged() > 0);
}

#[test]
fn a_failure_is_foreseen_as_the_cpu_tells_it() {
    let foreseen = EntryFailure::foresee(CHECKS, &SPOILED, &Zero).expect("a broken rule");
    assert_eq!((foreseen.instruction_error(), foreseen.is_foreseen()), (7, true));
    assert_eq!(EntryFailure::foresee(CHECKS, &Known(&[]), &Zero), None);
}

/// A VM-entry MSR-load area in memory: registers and values.
struct Area(&'static [(u64, u64)]);

const PLACE: u64 = 0x1000;

impl EntryState for Area {
    fn field(&self, number: u32, _bytes: u32) -> Option<u64> {
        match number {
            _ if number == VM_ENTRY_MSR_LOAD_ADDRESS.encoding() => Some(PLACE),
            _ if number == VM_ENTRY_MSR_LOAD_COUNT.encoding() => Some(self.0.len() as u64),
            _ => None,
        }
    }

    fn memory(&self, address: u64, bytes: u32) -> Option<u64> {
        let offset = address.checked_sub(PLACE)?;
        let (msr, value) = self.0.get((offset / ENTRY) as usize)?;
        match (offset % ENTRY, bytes) {
            (0, 4) => Some(*msr & u64::from(u32::MAX)),
            (4, 4) => Some(*msr >> 32),
            (8, 8) => Some(*value),
            _ => None,
        }
    }
}

/// The second entry breaks a rule that the tables have behind the one that the third breaks.
const REFUSED: Area = Area(&[(0xc000_0102, 0), (0x808, 0x20), (0xc000_0100, 7)]);

fn msr_loading(entry: u64) -> EntryFailure {
    EntryFailure::exit(0x8000_0022, entry)
}

#[test]
fn the_register_that_is_refused_is_named_with_its_value() {
    let failure = msr_loading(2).explain(&REFUSED, &Zero);
    assert_eq!(failure.refused_msr(), Some((Msr(0x808), 0x20)));
    assert_eq!((failure.code(), failure.qualification(), failure.broken_rules()), (0x8000_0022, 2, 1));
    let rules: Vec<_> = failure.violations().map(|one| (one.check.name(), one.entry, one.value)).collect();
    assert_eq!(rules, [("MSR_LOAD_X2APIC", Some(1), None)]);
    let text = std::format!("{failure}");
    assert!(text.contains("exit qualification 2 (entry 2 of the area, counted from 1: MSR 0x808 = 0x20)"), "{text}");
    assert!(text.contains("; VM_ENTRY_MSR_LOAD_ADDRESS, entry 2: "), "{text}");
}

#[test]
fn the_first_entry_that_breaks_a_rule_is_foreseen() {
    let foreseen = EntryFailure::foresee(CHECKS, &REFUSED, &Zero).expect("a broken rule");
    assert_eq!((foreseen.code(), foreseen.qualification()), (0x8000_0022, 2));
    let failure = msr_loading(2).explain(&REFUSED, &Zero).foreseen();
    assert_eq!(foreseen.explain(&REFUSED, &Zero), failure);
}

#[test]
fn a_register_with_nothing_wrong_may_be_absent() {
    let failure = msr_loading(1).explain(&REFUSED, &Zero);
    assert_eq!((failure.refused_msr(), failure.broken_rules()), (Some((Msr(0xc000_0102), 0)), 0));
    let absent = failure.ask_for_msr(|msr| msr == Msr(0xc000_0102));
    assert!(std::format!("{absent}").contains("RDMSR of it raises #GP"), "{absent}");
    assert!(!std::format!("{}", failure.ask_for_msr(|_| false)).contains("RDMSR"));
    let broken = msr_loading(2).explain(&REFUSED, &Zero);
    assert_eq!(broken.ask_for_msr(|_| true), broken);
}

#[test]
fn an_area_that_is_not_known_names_no_register() {
    for (failure, state) in [
        (msr_loading(0), &REFUSED),
        (msr_loading(4), &REFUSED),
        (msr_loading(1), &Area(&[])),
        (EntryFailure::exit(0x8000_0021, 1), &REFUSED),
    ] {
        let failure = failure.explain(state, &Zero);
        assert_eq!(failure.refused_msr(), None, "{failure}");
    }
    assert_eq!(msr_loading(1).explain(&SPOILED, &Zero).refused_msr(), None);
}
