//! Failed entries of states that are maps.

extern crate std;

use std::vec::Vec;

use super::*;
use crate::{
    entry::mock::Known,
    spec::intel::{
        entry_checks::CHECKS,
        vmcs::{CR3_TARGET_COUNT, HOST_TR_SELECTOR},
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
