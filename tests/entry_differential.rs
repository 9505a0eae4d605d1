//! The generated code of every entry check says what the generator's interpreter says of the same state, and some state
//! breaks each check and some keeps it.
//!
//! States are random, from a fixed seed, of values that the tables make interesting: bits that rules look at, numbers that
//! they compare with and their neighbours, single bits, boundaries. `ENTRY_STATES=n` tries more of them.

#[path = "../src/random.rs"]
#[allow(dead_code, reason = "the library's unit tests use the rest")]
mod random;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::env;

use random::Random;
use x86_vcpu::entry::{EntryCapabilities, EntryCheck, EntryState};
use x86_vcpu::spec;
use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::expression::{self, Binary, EntryPart, Expr, Rule, Rules, Verdict, judge_some};
use x86_vcpu_codegen::model::Vendor;

/// Checks that no state of this test breaks, or none keeps, with the reason.
const UNSEEN: &[(&str, &str)] = &[];

/// A number that a state has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Field(u32),
    Msr(u32),
    Cpuid(u32, u32, u32),
    Memory(u64, u32),
    CurrentVmcs,
}

/// A value of some key, so that all of a kind have the same candidates.
fn kind(key: Key) -> Key {
    match key {
        // Where an area is, is random too; entries have 16 bytes.
        Key::Memory(address, bytes) => Key::Memory(address & 0xf, bytes),
        key => key,
    }
}

/// What is interesting in a value.
#[derive(Clone, Debug, Default)]
struct Taste {
    bits: BTreeSet<u32>,
    numbers: BTreeSet<u64>,
}

/// A number below this one, which may be 0.
fn below(random: &mut Random, length: usize) -> usize {
    random.below(length.max(1) as u64) as usize
}

/// One of a set, if it has any.
fn one_of<'t>(random: &mut Random, set: &'t BTreeSet<u64>) -> Option<&'t u64> {
    if set.is_empty() { None } else { set.iter().nth(below(random, set.len())) }
}

/// A state that makes up values when they are asked for, and remembers them.
struct Made<'a> {
    tastes: &'a BTreeMap<Key, Taste>,
    places: &'a HashMap<String, (u32, u32)>,
    random: RefCell<Random>,
    values: RefCell<BTreeMap<Key, Option<u64>>>,
    /// One of so many values is not known; 0 for none.
    unknown: u64,
}

impl Made<'_> {
    fn get(&self, key: Key) -> Option<u64> {
        let mut values = self.values.borrow_mut();
        *values.entry(key).or_insert_with(|| self.make(key))
    }

    fn make(&self, key: Key) -> Option<u64> {
        let mut random = self.random.borrow_mut();
        let random = &mut *random;
        if self.unknown != 0 && random.next().is_multiple_of(self.unknown) {
            return None;
        }
        let none = Taste::default();
        let taste = self.tastes.get(&kind(key)).unwrap_or(&none);
        let some_bits = |random: &mut Random, rarity: u64| {
            let bits = taste.bits.iter().filter(|_| random.next().is_multiple_of(rarity));
            bits.fold(0, |value, bit| value | 1_u64 << bit)
        };
        Some(match random.below(16) {
            0..5 => some_bits(random, 2),
            5..8 => (0..3)
                .fold(some_bits(random, 4), |value, _| value | one_of(random, &taste.numbers).copied().unwrap_or(0)),
            8..11 => one_of(random, &taste.numbers).copied().unwrap_or(0),
            11 => 0,
            12 => 1_u64 << random.below(64),
            13 => u64::MAX >> random.below(64),
            14 => u64::MAX << random.below(64),
            _ => random.next(),
        })
    }
}

impl EntryState for Made<'_> {
    fn field(&self, number: u32, _bytes: u32) -> Option<u64> {
        self.get(Key::Field(number))
    }

    fn memory(&self, address: u64, bytes: u32) -> Option<u64> {
        self.get(Key::Memory(address, bytes))
    }

    fn current_vmcs(&self) -> Option<u64> {
        self.get(Key::CurrentVmcs)
    }
}

impl EntryCapabilities for Made<'_> {
    fn msr(&self, address: u32) -> Option<u64> {
        self.get(Key::Msr(address))
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        let mut registers = [0; 4];
        for (index, register) in registers.iter_mut().enumerate() {
            *register = self.get(Key::Cpuid(leaf, subleaf, index as u32))? as u32;
        }
        Some(registers)
    }
}

impl expression::State for Made<'_> {
    fn field(&self, name: &str) -> Option<u64> {
        self.get(Key::Field(self.places[name].0))
    }

    fn memory(&self, address: u64, bytes: u32) -> Option<u64> {
        EntryState::memory(self, address, bytes)
    }

    fn current_vmcs(&self) -> Option<u64> {
        EntryState::current_vmcs(self)
    }

    fn msr(&self, address: u32) -> Option<u64> {
        EntryCapabilities::msr(self, address)
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        EntryCapabilities::cpuid(self, leaf, subleaf)
    }
}

/// What expressions look at, and the numbers that they compare it with.
struct Tasting<'r> {
    rules: &'r Rules,
    tastes: BTreeMap<Key, Taste>,
}

impl Tasting<'_> {
    /// The values that an expression is made of, with how far each is shifted up in its word.
    fn keys(&self, expr: &Expr, shift: u32, out: &mut Vec<(Key, u32)>) {
        match expr {
            Expr::Read(place) => out.push((Key::Field(place.number), shift)),
            Expr::Word(word) | Expr::Allowed(word) => {
                let capability = self.rules.capability(*word).unwrap();
                out.push((Key::Field(capability.place.number), shift));
                if let Some((by, bit)) = capability.activated_by {
                    self.keys(&Expr::Word(by), bit, out);
                }
                if let Expr::Allowed(_) = expr {
                    self.keys(&Expr::Capability(*word), 0, out);
                }
            }
            Expr::Msr(address) => out.push((Key::Msr(*address), shift)),
            Expr::Cpuid(place) => out.push((Key::Cpuid(place.leaf, place.subleaf, place.register as u32), shift)),
            Expr::Capability(word) => {
                let capability = self.rules.capability(*word).unwrap();
                out.push((Key::Msr(capability.msr), shift));
                if let Some((better, basic, bit)) = capability.better {
                    out.extend([(Key::Msr(better), shift), (Key::Msr(basic), bit)]);
                }
            }
            Expr::Memory(address, bytes) => {
                out.extend((0..16).map(|low| (Key::Memory(low, *bytes), shift)));
                self.keys(address, 0, out);
            }
            Expr::Entry(part) => out.push(match part {
                EntryPart::Index => (Key::Memory(0, 4), shift),
                EntryPart::Reserved => (Key::Memory(4, 4), shift),
                EntryPart::Value => (Key::Memory(8, 8), shift),
            }),
            Expr::CurrentVmcs => out.push((Key::CurrentVmcs, shift)),
            Expr::Define(index) => self.keys(&self.rules.definitions[*index].expr, shift, out),
            Expr::Bit(value, bit) => self.keys(value, shift + bit, out),
            Expr::Bits(value, _, low) => self.keys(value, shift + low, out),
            _ => expr.parts().into_iter().for_each(|part| self.keys(part, shift, out)),
        }
    }

    fn bit(&mut self, expr: &Expr, bit: u32) {
        let mut keys = Vec::new();
        self.keys(expr, bit, &mut keys);
        for (key, bit) in keys {
            if bit < 64 {
                self.tastes.entry(kind(key)).or_default().bits.insert(bit);
            }
        }
    }

    fn number(&mut self, expr: &Expr, number: u64) {
        let mut keys = Vec::new();
        self.keys(expr, 0, &mut keys);
        for (key, shift) in keys {
            let taste = self.tastes.entry(kind(key)).or_default();
            for number in [number, number.wrapping_add(1), number.wrapping_sub(1), !number] {
                taste.numbers.insert(number.checked_shl(shift).unwrap_or(0));
            }
        }
    }

    /// The lowest and the highest bit of a mask, and some between.
    fn mask(&mut self, expr: &Expr, mask: u64) {
        if mask != 0 {
            self.bit(expr, mask.trailing_zeros());
            self.bit(expr, 63 - mask.leading_zeros());
        }
        (0..64).filter(|bit| mask >> bit & 1 != 0).step_by(7).for_each(|bit| self.bit(expr, bit));
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Bit(value, bit) => self.bit(value, *bit),
            Expr::Bits(value, high, low) => {
                self.bit(value, *low);
                self.bit(value, *high);
            }
            Expr::Binary(op, left, right) => {
                for (value, number) in [(left, right), (right, left)] {
                    if let Expr::Number(number) = **number {
                        if op.compares() {
                            self.number(value, number)
                        } else {
                            self.mask(value, number)
                        }
                        if *op == Binary::And && !op.compares() {
                            self.number(value, number);
                        }
                    }
                }
            }
            Expr::In(value, ranges) => {
                for (low, high) in ranges {
                    self.number(value, *low);
                    self.number(value, *high);
                }
            }
            Expr::Masked(value, zeros, ones) => {
                self.mask(value, *zeros);
                self.number(value, *ones);
            }
            Expr::Physical(value, width) => {
                // CPUs have about so many.
                [32, 39, 46, 52].into_iter().for_each(|bits| self.number(width, bits));
                [31, 38, 45, 51, 63].into_iter().for_each(|bit| self.bit(value, bit));
            }
            Expr::Canonical(value, _) => {
                [0x7fff_ffff_ffff, 0xffff_8000_0000_0000, 1 << 48].into_iter().for_each(|n| self.number(value, n));
            }
            _ => {}
        }
        expr.parts().into_iter().for_each(|part| self.expr(part));
    }
}

/// What happened to a rule.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    silent: bool,
    kept: bool,
    broken: bool,
    unknown: bool,
}

struct Bench<'r> {
    rules: &'r Rules,
    checks: Vec<&'static EntryCheck>,
    tastes: BTreeMap<Key, Taste>,
    places: HashMap<String, (u32, u32)>,
    /// The keys that a rule looks at.
    keys: Vec<Vec<Key>>,
    seen: Vec<Seen>,
    states: u64,
    judged: u64,
}

impl<'r> Bench<'r> {
    fn new(rules: &'r Rules, checks: &[&'static EntryCheck]) -> Self {
        let mut tasting = Tasting { rules, tastes: BTreeMap::new() };
        rules.definitions.iter().for_each(|definition| tasting.expr(&definition.expr));
        let mut keys = Vec::new();
        let mut places = HashMap::new();
        for rule in &rules.rules {
            let mut all = Vec::new();
            for expr in rule.when.iter().chain([&rule.require]).chain(&rule.shows) {
                tasting.expr(expr);
                tasting.keys(expr, 0, &mut all);
            }
            for place in rule.inputs.iter().chain([&rule.field]) {
                places.insert(place.name.clone(), (place.number, place.bytes));
            }
            if let Some((count, address)) = &rule.entries {
                // Few, so that it takes no time; sometimes it is some other number.
                let count = tasting.tastes.entry(Key::Field(count.number)).or_default();
                count.numbers.extend([0, 1, 2, 3]);
                all.push((Key::Field(address.number), 0));
            }
            keys.push(all.into_iter().map(|(key, _)| key).collect());
        }
        let checks: Vec<_> = checks.to_vec();
        assert_eq!(
            checks.iter().map(|check| check.name()).collect::<Vec<_>>(),
            rules.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>()
        );
        let seen = vec![Seen::default(); checks.len()];
        Bench { rules, checks, tastes: tasting.tastes, places, keys, seen, states: 0, judged: 0 }
    }

    fn taste(&self, key: Key) -> Taste {
        self.tastes.get(&kind(key)).cloned().unwrap_or_default()
    }

    fn state(&self, seed: u64, unknown: u64) -> Made<'_> {
        Made {
            tastes: &self.tastes,
            places: &self.places,
            random: RefCell::new(Random(seed)),
            values: RefCell::default(),
            unknown,
        }
    }

    /// Both sides judge a rule.
    fn compare(&self, index: usize, state: &Made<'_>) -> Seen {
        let (rule, check) = (&self.rules.rules[index], self.checks[index]);
        let verdicts = judge_some(self.rules, std::slice::from_ref(rule), state);
        let generated: Vec<_> = check_alone(check, state);
        let expected: Vec<_> = verdicts
            .iter()
            .filter_map(|judgement| match judgement.verdict {
                Verdict::Broken { value, shown, entry } => Some((value, shown, entry)),
                _ => None,
            })
            .collect();
        assert_eq!(generated, expected, "{}: {:#x?}", check.name(), state.values.borrow());
        let any = |what: fn(&Verdict) -> bool| verdicts.iter().any(|judgement| what(&judgement.verdict));
        let seen = Seen {
            silent: any(|verdict| *verdict == Verdict::Silent),
            kept: any(|verdict| *verdict == Verdict::Kept),
            broken: any(|verdict| matches!(verdict, Verdict::Broken { .. })),
            unknown: any(|verdict| matches!(verdict, Verdict::Unknown(_))),
        };
        let holds = if seen.broken { Some(false) } else { (!seen.unknown).then_some(true) };
        assert_eq!(check.holds(state, state), holds, "{}: {:#x?}", check.name(), state.values.borrow());
        seen
    }

    fn note(&mut self, index: usize, seen: Seen) {
        self.judged += 1;
        let all = &mut self.seen[index];
        all.silent |= seen.silent;
        all.kept |= seen.kept;
        all.broken |= seen.broken;
        all.unknown |= seen.unknown;
    }

    /// All rules on random states.
    fn wide(&mut self, states: u64) {
        for seed in 0..states {
            let unknown = if seed % 4 == 0 { 16 } else { 0 };
            for index in 0..self.checks.len() {
                let state = self.state(seed, unknown);
                let seen = self.compare(index, &state);
                self.note(index, seen);
            }
            self.states += 1;
        }
    }

    /// A rule on states in which one value that it looks at is not known.
    fn without_one(&mut self, index: usize) {
        for (at, key) in self.keys[index].clone().into_iter().enumerate() {
            for seed in 0..8 {
                let state = self.state(at as u64 * 8 + seed, 0);
                state.values.borrow_mut().insert(key, None);
                let seen = self.compare(index, &state);
                self.note(index, seen);
            }
        }
    }

    /// A rule on states that satisfy more and more of its conditions, until it was seen kept and broken.
    fn narrow(&mut self, index: usize, tries: u64) {
        let rule = &self.rules.rules[index];
        let keys = self.keys[index].clone();
        let mut random = Random(index as u64 ^ 0xfeed);
        let mut best: (usize, BTreeMap<Key, Option<u64>>) = (0, BTreeMap::new());
        for round in 0..tries {
            if self.seen[index].kept && self.seen[index].broken {
                return;
            }
            // From time to time anew: the first way may lead nowhere.
            if round % 1000 == 0 {
                best = (0, BTreeMap::new());
            }
            let state = self.state(random.next(), 0);
            let mut values = best.1.clone();
            for _ in 0..1 + random.below(3) {
                let Some(key) = keys.get(below(&mut random, keys.len())) else { break };
                match values.get_mut(key) {
                    Some(Some(value)) if random.below(2) == 0 => {
                        *value = nudged(*value, &self.taste(*key), &mut random)
                    }
                    _ => values.retain(|other, _| kind(*other) != kind(*key)),
                }
            }
            *state.values.borrow_mut() = values;
            let seen = self.compare(index, &state);
            let score = score(self.rules, rule, &state);
            let values = state.values.into_inner();
            if score >= best.0 {
                best = (score, values);
            }
            self.states += 1;
            self.note(index, seen);
        }
    }
}

/// A value with some bits turned over, or with some from a number that is interesting.
fn nudged(value: u64, taste: &Taste, random: &mut Random) -> u64 {
    let bits = taste.bits.iter().nth(below(random, taste.bits.len())).map_or(0, |bit| 1 << bit);
    match (one_of(random, &taste.numbers), random.below(3)) {
        (Some(number), 0) => value | number,
        (Some(number), 1) => value & !(0xff << number.trailing_zeros().min(63)) | number,
        _ => value ^ bits,
    }
}

/// How many conditions of a rule hold, one after the other.
fn score(rules: &Rules, rule: &Rule, state: &Made<'_>) -> usize {
    let holds = |condition: &&Expr| {
        let one = Rule { when: Vec::new(), require: (*condition).clone(), shows: None, ..rule.clone() };
        judge_some(rules, &[one], state).iter().any(|judgement| judgement.verdict == Verdict::Kept)
    };
    rule.when.iter().take_while(holds).count()
}

/// What a single check says, as the iterator gives it.
fn check_alone(check: &'static EntryCheck, state: &Made<'_>) -> Vec<(Option<u64>, Option<u64>, Option<u32>)> {
    let all = x86_vcpu::entry::Violations::of(one(check), state, state);
    all.inspect(|violation| assert_eq!(violation.check, check))
        .map(|violation| (violation.value, violation.shown, violation.entry))
        .collect()
}

/// A table of one check.
fn one(check: &'static EntryCheck) -> &'static [&'static EntryCheck] {
    thread_local! {
        static TABLES: RefCell<HashMap<&'static str, &'static [&'static EntryCheck]>> = RefCell::default();
    }
    TABLES.with_borrow_mut(|tables| *tables.entry(check.name()).or_insert_with(|| vec![check].leak()))
}

fn run(vendor: Vendor, checks: &[&'static EntryCheck]) {
    let spec = Spec::load("spec").unwrap_or_else(|errors| panic!("{errors}"));
    let rules = spec.rules(vendor);
    let states = env::var("ENTRY_STATES").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let mut bench = Bench::new(rules, checks);
    bench.wide(states);
    for index in 0..checks.len() {
        bench.narrow(index, states * 400);
        bench.without_one(index);
    }
    let (mut unseen, mut never_unknown) = (Vec::new(), Vec::new());
    for (check, seen) in checks.iter().zip(&bench.seen) {
        let known = UNSEEN.iter().any(|(name, _)| *name == check.name());
        if (seen.kept && seen.broken) == known {
            unseen.push(format!("{} kept: {}, broken: {}", check.name(), seen.kept, seen.broken));
        }
        if !seen.unknown {
            never_unknown.push(check.name());
        }
    }
    let (all, states, judged) = (checks.len(), bench.states, bench.judged);
    println!("{}: {all} checks, {states} states, {judged} verdicts compared", vendor.name());
    assert!(unseen.is_empty(), "not seen both kept and broken: {unseen:#?}");
    assert!(never_unknown.is_empty(), "known whatever is not: {never_unknown:?}");
}

#[test]
fn checks_of_intel() {
    run(Vendor::Intel, spec::intel::entry_checks::CHECKS);
}

#[test]
fn checks_of_amd() {
    run(Vendor::Amd, spec::amd::entry_checks::CHECKS);
}
