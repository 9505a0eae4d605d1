//! The functions of expressions.

use std::ops::Range;

use crate::model::{BitRef, Condition, ControlWord, Term};

use super::names::{suggest, unresolved};
use super::resolve::{Resolver, Ty, Value, width_of};
use super::syntax::{Kind, Name, Node};
use super::typed::Expr;
use super::{Outcome, Problem};

/// Name and arguments.
const FUNCTIONS: &[(&str, &[&str])] = &[
    ("bits", &["x", "high", "low"]),
    ("canonical", &["x", "width"]),
    ("physical", &["x"]),
    ("aligned", &["x", "n"]),
    ("reserved_clear", &["FIELD"]),
    ("allowed", &["word"]),
    ("memory8", &["address"]),
    ("memory32", &["address"]),
    ("memory64", &["address"]),
    ("supported", &["word.BIT"]),
    ("exists", &["FIELD"]),
];

/// Where CPUID reports how wide physical addresses are: the layout and its range.
const PHYSICAL: (&str, &str) = ("Cpuid80000008Eax", "PHYSICAL_ADDRESS_BITS");

/// Names that no definition may have.
pub(super) fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|(function, _)| *function == name)
}

impl Resolver<'_, '_> {
    pub(super) fn call(&self, name: &Name, arguments: &[Node], range: &Range<usize>) -> Outcome<Value> {
        let Some((_, wanted)) = FUNCTIONS.iter().find(|(function, _)| *function == name.text) else {
            return Err(unresolved("function", name, FUNCTIONS.iter().map(|(function, _)| *function)));
        };
        if arguments.len() != wanted.len() {
            let (takes, has) = (wanted.len(), arguments.len());
            let problem = Problem::new(range.clone(), format!("`{}` takes {takes} arguments, not {has}", name.text));
            return Err(problem.help(format!("`{}({})`", name.text, wanted.join(", "))));
        }
        let condition = |expr| Ok(Value::new(expr, Ty::Bool));
        match (name.text.as_str(), arguments) {
            ("bits", [x, high, low]) => {
                let (x, high, low) = (self.number(x)?, self.small(high)?, self.small(low)?);
                let last = width_of(&x) - 1;
                if high < low || high > last {
                    let message = format!("bits {high}:{low} of a number whose highest bit is {last}");
                    return Err(Problem::new(range.clone(), message));
                }
                let ty = Ty::Number { width: high - low + 1, of: None };
                Ok(Value::new(Expr::Bits(Box::new(x.expr), high, low), ty))
            }
            ("canonical", [x, width]) => {
                let (x, width) = (self.number(x)?, self.number(width)?);
                if let Some(bits) = width.constant.filter(|bits| !(1..=63).contains(bits)) {
                    return Err(Problem::new(
                        width.range,
                        format!("an address is canonical for 1 to 63 bits, not {bits}"),
                    ));
                }
                condition(Expr::Canonical(Box::new(x.expr), Box::new(width.expr)))
            }
            ("physical", [x]) => {
                let x = self.number(x)?;
                let path = ["cpuid", PHYSICAL.0, PHYSICAL.1];
                let path = path.map(|text| Name { text: text.to_owned(), range: name.range.clone() });
                let bits = self.path(&path)?;
                condition(Expr::Physical(Box::new(x.expr), Box::new(bits.expr)))
            }
            ("aligned", [x, n]) => {
                let (x, n_value) = (self.number(x)?, self.small(n)?);
                if n_value == 0 || n_value >= width_of(&x) {
                    let message = format!("{n_value} low bits of a number of {} bits", width_of(&x));
                    return Err(Problem::new(n.range.clone(), message));
                }
                condition(Expr::Masked(Box::new(x.expr), (1 << n_value) - 1, 0))
            }
            ("reserved_clear", [field]) => self.reserved(field),
            ("allowed", [word]) => {
                let (word, _) = self.word(single(word)?)?;
                self.capability(word, &arguments[0].range)?;
                condition(Expr::Allowed(word))
            }
            ("memory8", [address]) => self.memory(address, 1),
            ("memory32", [address]) => self.memory(address, 4),
            ("memory64", [address]) => self.memory(address, 8),
            ("supported", [bit]) => {
                let Kind::Path(path) = &bit.kind else { return Err(not_a_bit(bit)) };
                let [word, name] = path.as_slice() else { return Err(not_a_bit(bit)) };
                let (word, control) = self.word(word)?;
                let Some(row) = control.bits.iter().find(|row| row.head.name() == name.text) else {
                    let problem = Problem::new(
                        name.range.clone(),
                        format!("`{}` has no bit `{}`", control.head.name(), name.text),
                    );
                    return Err(suggest(problem, name, control.bits.iter().map(|row| row.head.name())));
                };
                condition(self.supported(word, row.bits.low, &bit.range, 0)?)
            }
            ("exists", [field]) => {
                let name = single(field)?;
                let row = self.field(name)?;
                let Some(exists) = &row.exists_if else {
                    let problem = Problem::new(name.range.clone(), format!("every CPU has `{}`", name.text));
                    return Err(problem.related(row.head.name.span, "it has no `exists_if` here"));
                };
                condition(self.exists(&exists.value, &name.range)?)
            }
            _ => Err(Problem::new(range.clone(), format!("`{}` is no function", name.text))),
        }
    }

    /// A number up to 63 that is always the same.
    fn small(&self, node: &Node) -> Outcome<u32> {
        let value = self.number(node)?;
        let small = value.constant.and_then(|number| u32::try_from(number).ok()).filter(|number| *number < 64);
        small.ok_or_else(|| Problem::new(node.range.clone(), "this has to be a number from 0 to 63"))
    }

    fn memory(&self, address: &Node, bytes: u32) -> Outcome<Value> {
        let address = self.number(address)?;
        let ty = Ty::Number { width: bytes * 8, of: None };
        Ok(Value::new(Expr::Memory(Box::new(address.expr), bytes), ty))
    }

    fn reserved(&self, field: &Node) -> Outcome<Value> {
        let Kind::Path(path) = &field.kind else {
            return Err(Problem::new(field.range.clone(), "`reserved_clear` takes a field"));
        };
        let (place, bits) = self.bits_of_path(path)?;
        let parts = bits.map(|bits| self.lookup.spec.parts(bits)).unwrap_or_default();
        let ones = |value| {
            let bits = parts.iter().filter(|part| part.reserved == Some(value));
            bits.fold(0, |mask, part| mask | part.bits.mask())
        };
        let (zeros, ones) = (ones(0), ones(1));
        if zeros | ones == 0 {
            let problem =
                Problem::new(field.range.clone(), format!("no bit of `{}` is listed as reserved", place.name));
            return Err(problem.help("a row of its type has `reserved = 0` or `reserved = 1` then"));
        }
        Ok(Value::new(Expr::Masked(Box::new(Expr::Read(place)), zeros, ones), Ty::Bool))
    }

    /// The MSR with the allowed settings of a word is in the tables.
    fn capability(&self, word: ControlWord, range: &Range<usize>) -> Outcome<()> {
        let control = self.lookup.control(word);
        let known = |name: &str| self.lookup.msrs.contains_key(name);
        match control {
            Some(control) if known(&control.capability.value) => Ok(()),
            _ => Err(Problem::new(range.clone(), format!("no MSR in the tables says what `{}` allows", word.name()))),
        }
    }

    /// Whether a bit of a word may be 1; of a word that needs an activating bit, whether that may be 1 too.
    fn supported(&self, word: ControlWord, bit: u32, range: &Range<usize>, depth: u32) -> Outcome<Expr> {
        self.capability(word, range)?;
        let Some(control) = self.lookup.control(word) else {
            return Err(Problem::new(range.clone(), format!("no `[[control]]` has the id `{}`", word.name())));
        };
        // The upper half of a capability MSR of 32 controls has those that may be 1.
        let at = if control.width == 64 { bit } else { bit + 32 }.min(63);
        let own = Expr::Bit(Box::new(Expr::Capability(word)), at);
        let Some(by) = &control.activated_by else { return Ok(own) };
        // A word that activates itself is another lint's business.
        if depth >= 8 {
            return Err(Problem::new(range.clone(), "control words activate one another in a circle"));
        }
        let activating = self.bit(by).ok_or_else(|| Problem::new(range.clone(), format!("there is no `{by}`")))?;
        let first = self.supported(by.word, activating, range, depth + 1)?;
        Ok(Expr::All(Box::new(first), Box::new(own)))
    }

    fn bit(&self, bit: &BitRef) -> Option<u32> {
        let control = self.lookup.control(bit.word)?;
        control.bits.iter().find(|row| row.head.name() == bit.bit).map(|row| row.bits.low)
    }

    fn exists(&self, condition: &Condition, range: &Range<usize>) -> Outcome<Expr> {
        let mut all: Option<Expr> = None;
        for term in &condition.any {
            let one = match term {
                Term::Control(bit) => {
                    let number = self.bit(bit);
                    let number = number.ok_or_else(|| Problem::new(range.clone(), format!("there is no `{bit}`")))?;
                    self.supported(bit.word, number, range, 0)?
                }
                Term::Cpuid(bit) => {
                    let path = ["cpuid", bit.layout.as_str(), bit.bit.as_str()];
                    let path = path.map(|text| Name { text: text.to_owned(), range: range.clone() });
                    self.path(&path)?.expr
                }
            };
            all = Some(match all {
                Some(all) => Expr::Any(Box::new(all), Box::new(one)),
                None => one,
            });
        }
        all.ok_or_else(|| Problem::new(range.clone(), "its `exists_if` is empty"))
    }
}

/// A name that stands alone.
fn single(node: &Node) -> Outcome<&Name> {
    match &node.kind {
        Kind::Path(path) if path.len() == 1 => Ok(&path[0]),
        _ => Err(Problem::new(node.range.clone(), "a single name is needed here")),
    }
}

fn not_a_bit(node: &Node) -> Problem {
    Problem::new(node.range.clone(), "a control bit is needed here").help("write `secondary.ENABLE_EPT`")
}
