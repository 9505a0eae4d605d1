//! The runtime on rules of its own, and what a violation reads like.

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::context::{Context, canonical, shift_left, shift_right};
use super::{EntryCapabilities, EntryCheck, EntryField, EntryPhase, EntrySeverity, EntryState, Violations};

/// Values by number, by address.
#[derive(Default)]
struct Map {
    fields: BTreeMap<u32, u64>,
    memory: BTreeMap<u64, u64>,
    msrs: BTreeMap<u32, u64>,
}

impl EntryState for Map {
    fn field(&self, number: u32, _bytes: u32) -> Option<u64> {
        self.fields.get(&number).copied()
    }

    fn memory(&self, address: u64, _bytes: u32) -> Option<u64> {
        self.memory.get(&address).copied()
    }
}

impl EntryCapabilities for Map {
    fn msr(&self, address: u32) -> Option<u64> {
        self.msrs.get(&address).copied()
    }

    fn cpuid(&self, leaf: u32, _subleaf: u32) -> Option<[u32; 4]> {
        (leaf == 1).then_some([1, 2, 3, 4])
    }
}

const A: EntryField = EntryField { name: "A", number: 1, bytes: 4 };
const COUNT: EntryField = EntryField { name: "AREA_COUNT", number: 2, bytes: 4 };
const ADDRESS: EntryField = EntryField { name: "AREA_ADDRESS", number: 3, bytes: 8 };

const TEMPLATE: EntryCheck = EntryCheck {
    name: "A_SMALL",
    field: A,
    phase: EntryPhase::Guest,
    severity: EntrySeverity::Failure,
    qualification: 4,
    when: &["one", "two"],
    require: "A < 16",
    explanation: "A is a number of four bits.",
    hint: "Clear bits 31:4",
    document: "the manual, revision 1",
    section: "Checks on A",
    inputs: &[A],
    entries: None,
    kept: |c| 16 > c.field(1, 4),
    shows: Some(|c| c.field(1, 4) & !0xf),
};

static SMALL: EntryCheck = EntryCheck { ..TEMPLATE };
static ENTRIES: EntryCheck = EntryCheck {
    name: "NO_FS_BASE",
    field: ADDRESS,
    phase: EntryPhase::MsrLoad,
    when: &[],
    require: "entry.index != 5",
    entries: Some((COUNT, ADDRESS)),
    kept: |c| c.entry(0, 4) != 5,
    shows: Some(|c| c.entry(8, 8)),
    ..TEMPLATE
};
static TABLE: &[&EntryCheck] = &[&SMALL, &ENTRIES];

fn shown(state: &Map) -> Vec<String> {
    Violations::of(TABLE, state, state).map(|violation| format!("{violation}")).collect()
}

fn area(count: u64) -> Map {
    let mut state = Map::default();
    state.fields.extend([(1, 3), (2, count), (3, 0x1000)]);
    for (entry, index) in [7, 5, 7, 5].into_iter().enumerate() {
        let address = 0x1000 + 16 * entry as u64;
        state.memory.extend([(address, index), (address + 4, 0), (address + 8, 0xab + entry as u64)]);
    }
    state
}

#[test]
fn a_broken_rule_reads_as_a_line_or_as_a_paragraph() {
    let mut state = Map::default();
    state.fields.insert(1, 0x1_0000_0123);
    assert_eq!(
        shown(&state),
        [
            "A = 0x123 (0x120): A is a number of four bits (A_SMALL; section \"Checks on A\" of the manual, revision 1). \
             Mend: Clear bits 31:4."
        ]
    );
    let violation = Violations::of(TABLE, &state, &state).next().unwrap();
    assert_eq!(violation.qualification(), 4);
    assert_eq!(
        format!("{violation:#}"),
        "A = 0x123 (0x120) breaks A_SMALL\n    A is a number of four bits.\n    Rule: if `one` and `two`, then `A < 16`\n    \
         Checked with: guest state; the entry fails.\n    See: \"Checks on A\", the manual, revision 1\n    Mend: Clear bits 31:4."
    );
}

#[test]
fn what_is_not_known_is_not_judged() {
    let state = Map::default();
    assert_eq!(SMALL.holds(&state, &state), None);
    assert_eq!(ENTRIES.holds(&state, &state), None);
    assert_eq!(shown(&state), [""; 0]);
}

#[test]
fn a_rule_that_is_kept() {
    let mut state = Map::default();
    state.fields.insert(1, 15);
    assert_eq!(SMALL.holds(&state, &state), Some(true));
    assert_eq!(shown(&state), [""; 0]);
}

#[test]
fn each_entry_of_an_area_is_judged() {
    let state = area(4);
    let found: Vec<_> = Violations::of(TABLE, &state, &state).collect();
    assert_eq!(
        found.iter().map(|one| (one.entry, one.shown)).collect::<Vec<_>>(),
        [(Some(1), Some(0xac)), (Some(3), Some(0xae))]
    );
    assert_eq!(found[1].qualification(), 4, "counted from 1");
    assert!(format!("{}", found[0]).starts_with("AREA_ADDRESS = 0x1000, entry 2 (0xac): "), "{}", found[0]);
    assert_eq!(ENTRIES.holds(&state, &state), Some(false));
    assert_eq!(shown(&area(1)), [""; 0]);
    assert_eq!(ENTRIES.holds(&area(1), &state), Some(true));
    assert_eq!(ENTRIES.holds(&area(0), &state), Some(true));
}

#[test]
fn an_area_ends_with_its_512th_entry_and_where_memory_is_not_known() {
    // The memory behind the fourth entry is not known: neither broken nor kept.
    let state = area(u64::MAX);
    assert_eq!(Violations::of(TABLE, &state, &state).count(), 2);
    let mut state = area(2);
    state.memory.insert(0x1010, 9);
    assert_eq!(ENTRIES.holds(&state, &state), Some(true));
    state.memory.remove(&0x1010);
    assert_eq!(ENTRIES.holds(&state, &state), None);
    // The last address that there is.
    state.fields.insert(3, u64::MAX - 3);
    state.fields.insert(2, 600);
    assert_eq!(ENTRIES.holds(&state, &state), None);
}

#[test]
fn values_have_the_width_of_their_field() {
    let mut state = Map::default();
    state.fields.insert(1, u64::MAX);
    let context = Context::new(&state, &state, None);
    let read = |bytes| context.field(1, bytes);
    assert_eq!([1, 2, 4, 8].map(read), [0xff, 0xffff, 0xffff_ffff, u64::MAX]);
    assert_eq!(context.known(()), Some(()));
}

#[test]
fn nothing_is_asked_once_something_is_not_known() {
    struct Once;
    impl EntryState for Once {
        fn field(&self, _number: u32, _bytes: u32) -> Option<u64> {
            None
        }
        fn memory(&self, _address: u64, _bytes: u32) -> Option<u64> {
            panic!("an address that nobody knows was read")
        }
    }
    let context = Context::new(&Once, &Map { ..Map::default() }, None).known(());
    assert_eq!(context, Some(()));
    let capabilities = Map::default();
    let context = Context::new(&Once, &capabilities, None);
    let address = context.field(1, 8);
    assert_eq!(context.memory(address, 4), 0);
    assert_eq!(context.known(1), None);
}

#[test]
fn registers_of_cpuid_and_msrs() {
    let mut state = Map::default();
    state.msrs.insert(0x480, 9);
    let context = Context::new(&state, &state, None);
    assert_eq!([0, 1, 2, 3].map(|register| context.cpuid(1, 0, register)), [1, 2, 3, 4]);
    assert_eq!(context.msr(0x480), 9);
    assert_eq!(context.known(()), Some(()));
    assert_eq!(context.current_vmcs(), 0);
    assert_eq!(context.known(()), None);
}

#[test]
fn shifts_are_total() {
    assert_eq!([0, 1, 63, 64, u64::MAX].map(|by| shift_left(1, by)), [1, 2, 1 << 63, 0, 0]);
    assert_eq!([0, 1, 63, 64, u64::MAX].map(|by| shift_right(1 << 63, by)), [1 << 63, 1 << 62, 1, 0, 0]);
}

#[test]
fn canonical_addresses() {
    let at = |address| [47, 48, 57].map(|width| canonical(address, width));
    assert_eq!(at(0), [true; 3]);
    assert_eq!(at(0x3fff_ffff_ffff), [true; 3]);
    assert_eq!(at(0x7fff_ffff_ffff), [false, true, true]);
    assert_eq!(at(0xffff_8000_0000_0000), [false, true, true]);
    assert_eq!(at(0x8000_0000_0000), [false, false, true]);
    assert_eq!(at(u64::MAX), [true; 3]);
    for width in [0, 64, 65, u64::MAX] {
        assert!(canonical(0, width));
    }
}

#[test]
fn physical_addresses_and_controls() {
    let state = Map::default();
    let context = Context::new(&state, &state, None);
    assert!(context.physical(0xf_ffff_ffff, 36));
    assert!(!context.physical(0x10_0000_0000, 36));
    assert!(context.physical(u64::MAX, 64));
    // Bit 0 has to be 1, bits 2:0 may be.
    let msr = 0x7_0000_0001;
    assert_eq!(
        [0, 1, 2, 3, 7, 9].map(|value| context.allowed(value, msr, false)),
        [false, true, false, true, true, false]
    );
    assert_eq!([0, 1, 7, 8].map(|value| context.allowed(value, 7, true)), [true, true, true, false]);
    assert_eq!(context.known(()), Some(()));
    assert!(context.physical(0, 0) && context.known(()).is_none(), "a width of 0 is not known");
}
