//! Written expressions to typed ones.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use crate::model::Span;

use super::lookup::Lookup;
use super::names::unresolved;
use super::syntax::{Kind, Name, Node};
use super::typed::{Binary, Expr};
use super::{Outcome, Problem};

/// What kind of value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ty {
    Bool,
    /// A single bit: a condition that can be compared with 0 and 1.
    Bit,
    Number {
        width: u32,
        /// The enumeration that its values are from.
        of: Option<String>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Value {
    pub expr: Expr,
    pub ty: Ty,
    /// The value, if it is the same whatever the state is.
    pub constant: Option<u64>,
    pub range: Range<usize>,
}

impl Value {
    /// Its place is filled in where it is known.
    pub fn new(expr: Expr, ty: Ty) -> Self {
        Value { expr, ty, constant: None, range: 0..0 }
    }

    pub fn constant(number: u64, of: Option<String>) -> Self {
        let ty = Ty::Number { width: (64 - number.leading_zeros()).max(1), of };
        Value { expr: Expr::Number(number), ty, constant: Some(number), range: 0..0 }
    }

    fn condition(expr: Expr) -> Self {
        Value::new(expr, Ty::Bool)
    }
}

/// A definition that expressions may use.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub index: usize,
    /// Nothing if it has a mistake.
    pub ty: Option<Ty>,
    /// The number, if it is always the same.
    pub constant: Option<u64>,
}

/// What an expression may name.
pub(super) struct Resolver<'a, 's> {
    pub lookup: &'a Lookup<'s>,
    pub known: &'a HashMap<String, Known>,
    /// Definitions that stand below.
    pub later: &'a HashMap<String, Span>,
    /// Whether `entry.index` and the like are there.
    pub entries: bool,
    /// Definitions that were used.
    pub used: RefCell<BTreeSet<usize>>,
}

fn mask(width: u32) -> u64 {
    if width >= 64 { u64::MAX } else { (1 << width) - 1 }
}

impl Resolver<'_, '_> {
    pub fn value(&self, node: &Node) -> Outcome<Value> {
        let mut value = match &node.kind {
            Kind::Number(number) => Value::constant(*number, None),
            Kind::Bool(value) => Value::condition(Expr::Bool(*value)),
            Kind::Path(path) => self.path(path)?,
            Kind::Constant(ty, name) => self.enum_value(ty, name)?,
            Kind::Call(name, arguments) => self.call(name, arguments, &node.range)?,
            Kind::Not(inner) => {
                let inner = self.condition(inner)?;
                Value::condition(Expr::Not(Box::new(inner.expr)))
            }
            Kind::Complement(inner) => {
                let inner = self.number(inner)?;
                let expr = Expr::Complement(Box::new(inner.expr));
                folded(expr, 64, inner.constant.map(|value| !value))
            }
            Kind::Binary(operator, left, right) => self.binary(operator, left, right)?,
            Kind::In { value, negated, list } => self.list(value, *negated, list)?,
        };
        value.range = node.range.clone();
        Ok(value)
    }

    /// A value that holds or does not.
    pub fn condition(&self, node: &Node) -> Outcome<Value> {
        let value = self.value(node)?;
        match &value.ty {
            Ty::Bool | Ty::Bit => Ok(value),
            Ty::Number { width, .. } => {
                let message = format!("a number of {width} bits, where a condition is needed");
                let problem = Problem::new(value.range, message);
                Err(problem.help("compare it: `… != 0`"))
            }
        }
    }

    pub fn number(&self, node: &Node) -> Outcome<Value> {
        let value = self.value(node)?;
        match &value.ty {
            Ty::Number { .. } => Ok(value),
            Ty::Bool | Ty::Bit => {
                let problem = Problem::new(value.range, "a condition, where a number is needed");
                Err(problem.help("conditions are joined by `&&` and `||`"))
            }
        }
    }

    fn enum_value(&self, ty: &Name, name: &Name) -> Outcome<Value> {
        if ty.text == "Msr" {
            let Some(msr) = self.lookup.msrs.get(name.text.as_str()) else {
                return Err(unresolved("MSR", name, self.lookup.msrs.keys().copied()));
            };
            return Ok(Value::constant(msr.address.value, None));
        }
        let Some(table) = self.lookup.enums.get(ty.text.as_str()) else {
            return Err(unresolved("enumeration", ty, self.lookup.enums.keys().copied()));
        };
        let Some(value) = table.values.iter().find(|value| value.head.name() == name.text) else {
            let names = table.values.iter().map(|value| value.head.name());
            let mut problem = unresolved("value", name, names);
            problem.message = format!("`{}` has no value `{}`", ty.text, name.text);
            return Err(problem.related(table.head.name.span, "the enumeration is here"));
        };
        Ok(Value::constant(value.number.value, Some(ty.text.clone())))
    }

    fn binary(&self, operator: &'static str, left: &Node, right: &Node) -> Outcome<Value> {
        let (op, width): (Binary, fn(u32, u32) -> u32) = match operator {
            "&&" | "||" | "=>" => {
                let (left, right) = (self.condition(left)?, self.condition(right)?);
                for side in [&left, &right] {
                    if let Expr::Bool(value) = side.expr {
                        return Err(Problem::new(side.range.clone(), format!("`{value}` decides nothing here")));
                    }
                }
                let (left, right) = (Box::new(left.expr), Box::new(right.expr));
                return Ok(Value::condition(match operator {
                    "&&" => Expr::All(left, right),
                    "||" => Expr::Any(left, right),
                    _ => Expr::Any(Box::new(Expr::Not(left)), right),
                }));
            }
            "==" => return self.compare(Binary::Equal, left, right),
            "!=" => return self.compare(Binary::Unequal, left, right),
            "<" => return self.compare(Binary::Less, left, right),
            "<=" => return self.compare(Binary::AtMost, left, right),
            ">" => return self.compare(Binary::More, left, right),
            ">=" => return self.compare(Binary::AtLeast, left, right),
            "|" => (Binary::Or, u32::max),
            "^" => (Binary::Xor, u32::max),
            "&" => (Binary::And, u32::min),
            "<<" => (Binary::Left, |_, _| 64),
            ">>" => (Binary::Right, |left, _| left),
            "+" => (Binary::Add, |_, _| 64),
            "-" => (Binary::Subtract, |_, _| 64),
            other => return Err(Problem::new(left.range.start..right.range.end, format!("`{other}` is no operator"))),
        };
        let (left, right) = (self.number(left)?, self.number(right)?);
        let (a, b) = (width_of(&left), width_of(&right));
        // A mask that has nothing of what it is laid over is a slip.
        for (value, of, constant) in [(&left, b, left.constant), (&right, a, right.constant)] {
            if op == Binary::And
                && left.constant.is_some() != right.constant.is_some()
                && constant.is_some_and(|mask_of| mask_of & mask(of) == 0)
            {
                return Err(Problem::new(
                    value.range.clone(),
                    format!("no bit of this mask is in a number of {of} bits"),
                ));
            }
        }
        let width = match (op, right.constant) {
            (Binary::Right, Some(by)) => a.saturating_sub(u32::try_from(by).unwrap_or(64)).max(1),
            _ => width(a, b),
        };
        let constant = left.constant.zip(right.constant).map(|(a, b)| op.apply(a, b));
        let expr = Expr::Binary(op, Box::new(left.expr), Box::new(right.expr));
        Ok(folded(expr, width, constant))
    }

    fn compare(&self, op: Binary, left: &Node, right: &Node) -> Outcome<Value> {
        let range = left.range.start..right.range.end;
        let (left, right) = (self.value(left)?, self.value(right)?);
        let equality = matches!(op, Binary::Equal | Binary::Unequal);
        let negate = |expr: Expr, negated| if negated { Expr::Not(Box::new(expr)) } else { expr };
        match (&left.ty, &right.ty) {
            (Ty::Number { .. }, Ty::Number { .. }) => {}
            // A bit and 0 or 1.
            (Ty::Bit, Ty::Number { .. }) | (Ty::Number { .. }, Ty::Bit) => {
                let (bit, number) = if left.ty == Ty::Bit { (left, right) } else { (right, left) };
                let Some(value @ (0 | 1)) = number.constant.filter(|_| equality) else {
                    let problem = Problem::new(range, "a single bit is compared with a number");
                    return Err(problem.help("a bit is a condition, and `== 0` or `== 1` of it too"));
                };
                return Ok(Value::condition(negate(bit.expr, (value == 0) == (op == Binary::Equal))));
            }
            (Ty::Number { .. }, _) | (_, Ty::Number { .. }) => {
                return Err(Problem::new(range, "a condition is compared with a number"));
            }
            (Ty::Bit | Ty::Bool, Ty::Bit | Ty::Bool) => {
                if !equality {
                    return Err(Problem::new(range, "conditions have no order").help("there are `==`, `!=` and `=>`"));
                }
                if let Some(side) = [&left, &right].into_iter().find(|side| matches!(side.expr, Expr::Bool(_))) {
                    let problem = Problem::new(side.range.clone(), "a condition is compared with `true` or `false`");
                    return Err(problem.help("write the condition itself, or `!` before it"));
                }
                let expr = Expr::Same(Box::new(left.expr), Box::new(right.expr));
                return Ok(Value::condition(negate(expr, op == Binary::Unequal)));
            }
        }
        enums(&left, &right)?;
        match (left.constant, right.constant) {
            (Some(_), Some(_)) => return Err(Problem::new(range, "two numbers that are always the same are compared")),
            (None, Some(number)) => fits(&left, number, &right.range)?,
            (Some(number), None) => fits(&right, number, &left.range)?,
            (None, None) if left.expr == right.expr => {
                return Err(Problem::new(range, "a value is compared with itself"));
            }
            (None, None) => {}
        }
        // Of unsigned numbers.
        let decided = match (op, left.constant, right.constant) {
            (Binary::Less | Binary::AtLeast, _, Some(0)) | (Binary::More | Binary::AtMost, Some(0), _) => true,
            (Binary::More | Binary::AtMost, _, Some(most)) => most == mask(width_of(&left)),
            (Binary::Less | Binary::AtLeast, Some(most), _) => most == mask(width_of(&right)),
            _ => false,
        };
        if decided {
            return Err(Problem::new(range, "the comparison has the same outcome for every value"));
        }
        Ok(Value::condition(Expr::Binary(op, Box::new(left.expr), Box::new(right.expr))))
    }

    fn list(&self, value: &Node, negated: bool, list: &[(Node, Option<Node>)]) -> Outcome<Value> {
        let value = match self.number(value) {
            Err(mut problem) if matches!(value.kind, Kind::Not(_)) => {
                problem.help = Some("write `x not in (…)`".to_owned());
                return Err(problem);
            }
            value => value?,
        };
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (first, last) in list {
            let range = first.range.start..last.as_ref().unwrap_or(first).range.end;
            let low = self.element(&value, first)?;
            let high = match last {
                Some(last) => self.element(&value, last)?,
                None => low,
            };
            if high < low || (last.is_some() && high == low) {
                return Err(Problem::new(range, "a range goes from a lower to a higher value"));
            }
            if ranges.iter().any(|(first, last)| *first <= high && low <= *last) {
                return Err(Problem::new(range, "this is in the list already"));
            }
            ranges.push((low, high));
        }
        let all = ranges.iter().fold(0_u128, |sum, (low, high)| sum + u128::from(high - low) + 1);
        if all == u128::from(mask(width_of(&value))) + 1 {
            return Err(Problem::new(value.range, "every value that it can have is in the list"));
        }
        let expr = Expr::In(Box::new(value.expr), ranges);
        Ok(Value::condition(if negated { Expr::Not(Box::new(expr)) } else { expr }))
    }

    /// A value of a list.
    fn element(&self, of: &Value, node: &Node) -> Outcome<u64> {
        let value = self.number(node)?;
        let Some(number) = value.constant else {
            let problem = Problem::new(value.range, "a list has numbers that are always the same");
            return Err(problem.help("join comparisons with `||`"));
        };
        if of.constant.is_some() {
            return Err(Problem::new(of.range.clone(), "a number that is always the same is looked for"));
        }
        enums(of, &value)?;
        fits(of, number, &value.range)?;
        Ok(number)
    }
}

impl Binary {
    /// The outcome; of a comparison 0 or 1.
    pub fn apply(self, a: u64, b: u64) -> u64 {
        let shift = |b: u64| u32::try_from(b).unwrap_or(u32::MAX);
        match self {
            Binary::Or => a | b,
            Binary::Xor => a ^ b,
            Binary::And => a & b,
            Binary::Left => a.checked_shl(shift(b)).unwrap_or(0),
            Binary::Right => a.checked_shr(shift(b)).unwrap_or(0),
            Binary::Add => a.wrapping_add(b),
            Binary::Subtract => a.wrapping_sub(b),
            Binary::Equal => u64::from(a == b),
            Binary::Unequal => u64::from(a != b),
            Binary::Less => u64::from(a < b),
            Binary::AtMost => u64::from(a <= b),
            Binary::More => u64::from(a > b),
            Binary::AtLeast => u64::from(a >= b),
        }
    }
}

pub(super) fn width_of(value: &Value) -> u32 {
    match &value.ty {
        Ty::Number { width, .. } => (*width).clamp(1, 64),
        Ty::Bool | Ty::Bit => 1,
    }
}

/// A number; the constant itself if it is one.
fn folded(expr: Expr, width: u32, constant: Option<u64>) -> Value {
    match constant {
        Some(number) => Value::constant(number, None),
        None => Value::new(expr, Ty::Number { width, of: None }),
    }
}

/// A number that a value can have at all.
fn fits(value: &Value, number: u64, range: &Range<usize>) -> Outcome<()> {
    let width = width_of(value);
    if number <= mask(width) {
        return Ok(());
    }
    let bits = if width == 1 { "bit" } else { "bits" };
    Err(Problem::new(range.clone(), format!("{number:#x} does not fit into {width} {bits}, with which it is compared")))
}

/// Values of an enumeration are compared with those of the same.
fn enums(left: &Value, right: &Value) -> Outcome<()> {
    let of = |value: &Value| match &value.ty {
        Ty::Number { of, .. } => of.clone(),
        Ty::Bool | Ty::Bit => None,
    };
    let problem = |at: &Value, message| Err(Problem::new(at.range.clone(), message));
    match (of(left), of(right)) {
        (Some(a), Some(b)) if a != b => problem(right, format!("a value of `{b}`, where one of `{a}` is needed")),
        // Not every range of bits has its enumeration for a type.
        _ => Ok(()),
    }
}
