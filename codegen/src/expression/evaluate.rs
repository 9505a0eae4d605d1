//! What the rules say of a state whose values are asked for by name.

use std::cell::{Cell, RefCell};

use crate::model::{ControlWord, CpuidRegister, Spec, Vendor};

use super::names::CURRENT_VMCS;
use super::rules::{Rule, Rules};
use super::typed::{EntryPart, Expr, Place};

/// A state and the CPU that is to enter it; nothing for what is not known.
pub trait State {
    /// A VMCS field (`GUEST_RIP`) or a member of a VMCB (`save.RIP`).
    fn field(&self, name: &str) -> Option<u64>;
    /// An MSR of the CPU.
    fn msr(&self, address: u32) -> Option<u64>;
    /// EAX, EBX, ECX and EDX of a leaf.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]>;
    /// Physical memory: 1, 4 or 8 bytes.
    fn memory(&self, address: u64, bytes: u32) -> Option<u64> {
        let _ = (address, bytes);
        None
    }
    /// An entry of the MSR area whose address is in this field, where it is known without its memory: the register's number, the
    /// reserved bits behind it and the value.
    fn area_entry(&self, address: &str, index: u64) -> Option<[u64; 3]> {
        let _ = (address, index);
        None
    }
    /// The physical address of the VMCS that is to be entered.
    fn current_vmcs(&self) -> Option<u64> {
        None
    }
}

/// What a rule says of a state.
#[derive(Clone, Debug)]
pub struct Judgement<'r> {
    /// The rule.
    pub rule: &'r Rule,
    /// What it says.
    pub verdict: Verdict,
}

/// What a rule says of a state, or of an entry of an MSR area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: one of its conditions does not hold.
    Silent,
    /// It is kept.
    Kept,
    /// It is broken.
    Broken {
        /// The value of the field at fault.
        value: Option<u64>,
        /// What the rule shows.
        shown: Option<u64>,
        /// Which entry of an MSR area.
        entry: Option<u32>,
    },
    /// It cannot be told: this is not known.
    Unknown(String),
}

/// As many entries of an MSR area are looked at.
pub(crate) const ENTRIES: u64 = 512;
/// Bytes of an entry of an MSR area.
const ENTRY: u64 = 16;

/// What each rule of a vendor says; of a rule for the entries of an MSR area, once per entry.
pub fn judge<'r>(rules: &'r Rules, state: &dyn State) -> Vec<Judgement<'r>> {
    judge_some(rules, &rules.rules, state)
}

/// What some rules say, whose definitions are in `rules`.
pub fn judge_some<'r>(rules: &Rules, some: &'r [Rule], state: &dyn State) -> Vec<Judgement<'r>> {
    let evaluation = Evaluation {
        rules,
        state,
        definitions: RefCell::new(vec![None; rules.definitions.len()]),
        entry: Cell::new(None),
        parts: Cell::new(None),
    };
    let mut all = Vec::new();
    for rule in some {
        let mut say = |verdict| all.push(Judgement { rule, verdict });
        let Some((count, address)) = &rule.entries else {
            say(evaluation.rule(rule, None));
            continue;
        };
        // The address counts for nothing in an area without entries.
        match evaluation.read(count).map(|count| count.min(ENTRIES)) {
            Ok(0) => say(Verdict::Silent),
            Ok(count) => {
                let area = &address.name;
                let address = evaluation.read(address).ok();
                for index in 0..count {
                    evaluation.parts.set(state.area_entry(area, index));
                    evaluation.entry.set(address.map(|address| address.wrapping_add(index * ENTRY)));
                    say(evaluation.rule(rule, u32::try_from(index).ok()));
                }
                evaluation.entry.set(None);
                evaluation.parts.set(None);
            }
            Err(name) => say(Verdict::Unknown(name)),
        }
    }
    all
}

/// The rules of a vendor that a state breaks.
pub fn violations<'s>(spec: &'s Spec, vendor: Vendor, state: &dyn State) -> Vec<Judgement<'s>> {
    let all = judge(spec.rules(vendor), state);
    all.into_iter().filter(|judgement| matches!(judgement.verdict, Verdict::Broken { .. })).collect()
}

/// A value, or the name of what is not known.
type Known<T> = Result<T, String>;

struct Evaluation<'a> {
    rules: &'a Rules,
    state: &'a dyn State,
    /// What is known of each definition already, so that none is looked at twice.
    definitions: RefCell<Vec<Option<Known<u64>>>>,
    /// The address of the entry that is looked at.
    entry: Cell<Option<u64>>,
    /// What is known of it without its memory.
    parts: Cell<Option<[u64; 3]>>,
}

impl Evaluation<'_> {
    fn rule(&self, rule: &Rule, entry: Option<u32>) -> Verdict {
        for condition in &rule.when {
            match self.value(condition) {
                Ok(0) => return Verdict::Silent,
                Ok(_) => {}
                Err(name) => return Verdict::Unknown(name),
            }
        }
        match self.value(&rule.require) {
            Ok(0) => {
                let shown = rule.shows.as_ref().and_then(|shows| self.value(shows).ok());
                Verdict::Broken { value: self.read(&rule.field).ok(), shown, entry }
            }
            Ok(_) => Verdict::Kept,
            Err(name) => Verdict::Unknown(name),
        }
    }

    fn read(&self, place: &Place) -> Known<u64> {
        let value = self.state.field(&place.name).ok_or_else(|| place.name.clone())?;
        Ok(low(value, place.bytes))
    }

    fn memory(&self, address: u64, bytes: u32) -> Known<u64> {
        let value = self.state.memory(address, bytes).ok_or_else(|| format!("memory at {address:#x}"))?;
        Ok(low(value, bytes))
    }

    fn msr(&self, address: u32) -> Known<u64> {
        self.state.msr(address).ok_or_else(|| format!("MSR {address:X}H"))
    }

    /// A word of controls, as the processor takes it.
    fn word(&self, word: ControlWord) -> Known<u64> {
        let Some(capability) = self.rules.capability(word) else { return Err(word.name().to_owned()) };
        if let Some((by, bit)) = capability.activated_by
            && self.word(by)? >> bit & 1 == 0
        {
            return Ok(0);
        }
        self.read(&capability.place)
    }

    fn capability(&self, word: ControlWord) -> Known<u64> {
        let Some(capability) = self.rules.capability(word) else { return Err(word.name().to_owned()) };
        if let Some((msr, basic, bit)) = capability.better
            && self.msr(basic)? >> bit & 1 != 0
        {
            return self.msr(msr);
        }
        self.msr(capability.msr)
    }

    fn allowed(&self, word: ControlWord) -> Known<bool> {
        let Some(capability) = self.rules.capability(word) else { return Err(word.name().to_owned()) };
        if let Some((by, bit)) = capability.activated_by
            && self.word(by)? >> bit & 1 == 0
        {
            return Ok(true);
        }
        let (value, msr) = (self.read(&capability.place)?, self.capability(word)?);
        let (required, possible) = if capability.wide { (0, msr) } else { (msr & 0xffff_ffff, msr >> 32) };
        Ok(value & required == required && value & !possible == 0)
    }

    fn value(&self, expr: &Expr) -> Known<u64> {
        Ok(match expr {
            Expr::Number(number) => *number,
            Expr::Bool(value) => u64::from(*value),
            Expr::Read(place) => self.read(place)?,
            Expr::Word(word) => self.word(*word)?,
            Expr::Msr(address) => self.msr(*address)?,
            Expr::Cpuid(place) => {
                let registers = self.state.cpuid(place.leaf, place.subleaf);
                let registers = registers.ok_or_else(|| format!("CPUID {:X}H", place.leaf))?;
                u64::from(match place.register {
                    CpuidRegister::Eax => registers[0],
                    CpuidRegister::Ebx => registers[1],
                    CpuidRegister::Ecx => registers[2],
                    CpuidRegister::Edx => registers[3],
                })
            }
            Expr::Capability(word) => self.capability(*word)?,
            Expr::Memory(address, bytes) => self.memory(self.value(address)?, *bytes)?,
            Expr::CurrentVmcs => self.state.current_vmcs().ok_or_else(|| CURRENT_VMCS.to_owned())?,
            Expr::Entry(part) => {
                if let Some([index, reserved, value]) = self.parts.get() {
                    return Ok(match part {
                        EntryPart::Index => index,
                        EntryPart::Reserved => reserved,
                        EntryPart::Value => value,
                    });
                }
                let Some(address) = self.entry.get() else { return Err("an entry".to_owned()) };
                match part {
                    EntryPart::Index => self.memory(address, 4)?,
                    EntryPart::Reserved => self.memory(address.wrapping_add(4), 4)?,
                    EntryPart::Value => self.memory(address.wrapping_add(8), 8)?,
                }
            }
            Expr::Define(index) => self.definition(*index)?,
            Expr::Bit(value, bit) => self.value(value)? >> bit & 1,
            Expr::Bits(value, high, low) => {
                self.value(value)? >> low & (u64::MAX >> 63_u32.saturating_sub(high.saturating_sub(*low)))
            }
            Expr::Not(value) => u64::from(self.value(value)? == 0),
            Expr::Complement(value) => !self.value(value)?,
            Expr::Binary(op, left, right) => {
                let left = self.value(left)?;
                op.apply(left, self.value(right)?)
            }
            Expr::All(left, right) => match self.value(left)? {
                0 => 0,
                _ => self.value(right)?,
            },
            Expr::Any(left, right) => match self.value(left)? {
                0 => self.value(right)?,
                _ => 1,
            },
            Expr::Same(left, right) => {
                let left = self.value(left)?;
                u64::from(left == self.value(right)?)
            }
            Expr::In(value, ranges) => {
                let value = self.value(value)?;
                u64::from(ranges.iter().any(|(low, high)| (*low..=*high).contains(&value)))
            }
            Expr::Canonical(value, width) => {
                let value = self.value(value)?;
                // Out of range nothing is canonical but what is for the nearest width.
                let unused = 64 - self.value(width)?.clamp(1, 64);
                u64::from(((value << unused).cast_signed() >> unused).cast_unsigned() == value)
            }
            Expr::Physical(value, width) => {
                let value = self.value(value)?;
                match self.value(width)? {
                    0 => return Err("the width of physical addresses".to_owned()),
                    width => u64::from(value.checked_shr(u32::try_from(width).unwrap_or(u32::MAX)).unwrap_or(0) == 0),
                }
            }
            Expr::Masked(value, zeros, ones) => {
                let value = self.value(value)?;
                u64::from(value & zeros == 0 && value & ones == *ones)
            }
            Expr::Allowed(word) => u64::from(self.allowed(*word)?),
        })
    }

    fn definition(&self, index: usize) -> Known<u64> {
        if let Some(Some(known)) = self.definitions.borrow().get(index) {
            return known.clone();
        }
        let Some(definition) = self.rules.definitions.get(index) else { return Err("a definition".to_owned()) };
        let value = self.value(&definition.expr);
        if let Some(slot) = self.definitions.borrow_mut().get_mut(index) {
            *slot = Some(value.clone());
        }
        value
    }
}

/// The lowest bytes.
fn low(value: u64, bytes: u32) -> u64 {
    value & (u64::MAX >> (64 - bytes.clamp(1, 8) * 8))
}
