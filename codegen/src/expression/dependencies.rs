//! `requires` and `excludes` of control bits are rules too, without a row of their own.

use crate::model::{BitRef, Cite, Control, ControlBit, ControlWord, Phase, Severity};

use super::lookup::Lookup;
use super::names::field_place;
use super::rules::{Rule, Rules};
use super::typed::Expr;

/// Adds a rule for each.
pub(super) fn rules(lookup: &Lookup, out: &mut Rules) {
    for control in &lookup.spec.controls {
        for bit in &control.bits {
            let all =
                bit.requires.iter().map(|other| (true, other)).chain(bit.excludes.iter().map(|other| (false, other)));
            for (requires, other) in all {
                let rule = rule(lookup, out, control, bit, requires, other);
                out.rules.extend(rule);
            }
        }
    }
}

/// The section on checks, in the document of the row; where nobody could compare the row with it, what the row has.
fn cite(control: &Control, bit: &ControlBit) -> Cite {
    let own = bit.head.cite.clone();
    if own.unchecked.is_some() {
        return own;
    }
    let title = match control.id.value {
        ControlWord::Exit | ControlWord::Exit2 => "VM-Exit Control Fields",
        ControlWord::Entry => "VM-Entry Control Fields",
        _ => "VM-Execution Control Fields",
    };
    Cite { title: title.to_owned(), page: None, ..own }
}

/// Nothing if a bit is not there, of which a lint tells.
fn rule(
    lookup: &Lookup,
    rules: &Rules,
    control: &Control,
    bit: &ControlBit,
    requires: bool,
    other: &BitRef,
) -> Option<Rule> {
    let other_control = lookup.control(other.word)?;
    let other_bit = other_control.bits.iter().find(|row| row.head.name() == other.bit)?;
    let field = field_place(lookup.fields.get(control.field.value.as_str())?);
    lookup.fields.get(other_control.field.value.as_str())?;
    let value = |control: &Control, bit: &ControlBit| Expr::Bit(Box::new(Expr::Word(control.id.value)), bit.bits.low);
    let (own, wanted) = (value(control, bit), value(other_control, other_bit));
    let (id, other_id) = (control.id.value.name(), other.word.name());
    let (verb, not) = if requires { ("REQUIRES", "") } else { ("EXCLUDES", "!") };
    let name = format!("{id}_{}_{verb}_{other_id}_{}", bit.head.name(), other.bit).to_uppercase();
    let (title, other_title) = (&bit.head.manual_name, &other_bit.head.manual_name);
    let (explain, hint) = if requires {
        (
            format!("\"{title}\" can only be 1 when \"{other_title}\" is 1"),
            format!("Set {other_id}.{} or clear {id}.{}.", other.bit, bit.head.name()),
        )
    } else {
        (
            format!("\"{title}\" and \"{other_title}\" cannot both be 1"),
            format!("Clear one of {id}.{} and {other_id}.{}.", bit.head.name(), other.bit),
        )
    };
    let when = vec![own];
    let require = if requires { wanted } else { Expr::Not(Box::new(wanted)) };
    let mut inputs = Vec::new();
    when.iter().chain([&require]).for_each(|expr| rules.add_inputs(expr, &mut inputs));
    Some(Rule {
        name,
        row: None,
        span: other.span,
        phase: Phase::Controls,
        severity: Severity::Failure,
        qualification: 0,
        cite: cite(control, bit),
        note: None,
        field,
        when,
        require,
        shows: None,
        entries: None,
        inputs,
        when_text: vec![format!("{id}.{}", bit.head.name())],
        require_text: format!("{not}{other}"),
        shows_text: None,
        explain,
        hint,
    })
}
