//! The rules of the MSR policy name registers, fields and bits that there are, and rules have names of their own.

use std::collections::BTreeMap;

use crate::diagnostics::Diagnostic;
use crate::model::{ALL_BITS, Msr, MsrPolicy, Span, Spanned, Spec};

use super::{lacking, names, unresolved};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let mut rules: BTreeMap<&str, Span> = BTreeMap::new();
    for rule in &spec.msr_policy {
        if let Some(first) = rules.get(rule.name.value.as_str()) {
            let message = format!("there are two rules `{}`", rule.name.value);
            out.push(Diagnostic::new(rule.name.span, message).label("again here").related(*first, "the first is here"));
        } else {
            rules.insert(&rule.name.value, rule.name.span);
        }
        names::constant(&rule.name, out);
        if let Some(handler) = &rule.handler {
            names::constant(handler, out);
        }
        if let Some(needs) = &rule.needs {
            names::constant(needs, out);
        }
        if rule.msrs.is_empty() && rule.ranges.is_empty() {
            out.push(Diagnostic::new(rule.span, format!("{} names no register", rule.name.value)));
        }
        let known = || spec.msrs.iter().map(|msr| msr.head.name());
        for name in rule.msrs.iter().chain(rule.ranges.iter().flatten()) {
            match spec.msr(&name.value) {
                None => out.push(unresolved(name, "MSR", known())),
                Some(msr) => bits(spec, rule, msr, out),
            }
        }
    }
}

/// The bits of a register that a rule names.
fn bits(spec: &Spec, rule: &MsrPolicy, msr: &Msr, out: &mut Vec<Diagnostic>) {
    let fields = msr.layout.as_ref().and_then(|layout| spec.layout(&layout.value)).map(|layout| &layout.fields);
    let known = |name: &&Spanned<String>| {
        let mut fields = fields.into_iter().flatten();
        name.value == ALL_BITS || fields.any(|field| field.head.name() == name.value && field.reserved.is_none())
    };
    for name in [&rule.value, &rule.writable, &rule.ignored].into_iter().flatten().filter(|name| !known(name)) {
        let all = fields.into_iter().flatten().filter(|field| field.reserved.is_none()).map(|field| field.head.name());
        out.push(lacking(msr.head.name(), "bit", name, all));
    }
}
