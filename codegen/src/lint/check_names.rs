//! Entry checks and definitions have names of their own, in the case that tells them apart.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostics::Diagnostic;
use crate::expression::is_reserved;
use crate::load::is_snake_case;
use crate::model::{Span, Spanned, Spec, Vendor};

use super::{is_keyword, names};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for vendor in [Vendor::Intel, Vendor::Amd] {
        let rules = spec.rules(vendor);
        let checks = rules.rules.iter().map(|rule| Spanned { value: rule.name.clone(), span: rule.span });
        let definitions = rules
            .definitions
            .iter()
            .map(|definition| Spanned { value: definition.name.clone(), span: spec.defines[definition.row].name.span });
        let (checks, definitions): (Vec<_>, Vec<_>) = (checks.collect(), definitions.collect());
        let mut found = Vec::new();
        checks.iter().for_each(|name| names::constant(name, &mut found));
        definitions.iter().for_each(|name| definition(name, &mut found));
        unique("checks", &checks, &mut found);
        // What control bits require twice is told where they do.
        let dependencies: BTreeSet<_> =
            rules.rules.iter().filter(|rule| rule.row.is_none()).map(|rule| rule.span).collect();
        found.retain(|error| !dependencies.contains(&error.span));
        unique("definitions", &definitions, &mut found);
        // Rows that one template stands for have the same mistake.
        found.dedup_by_key(|error| error.span);
        out.extend(found);
    }
}

fn definition(name: &Spanned<String>, out: &mut Vec<Diagnostic>) {
    let text = &name.value;
    if is_reserved(text) {
        out.push(Diagnostic::new(name.span, format!("`{text}` has a meaning in expressions already")));
    } else if !is_snake_case(text) || is_keyword(text) {
        let error = Diagnostic::new(name.span, format!("`{text}` is not snake_case, no keyword"));
        out.push(error.help("so that a definition is no field: `unrestricted_guest`"));
    }
}

fn unique(what: &str, names: &[Spanned<String>], out: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<&str, Span> = BTreeMap::new();
    for name in names {
        match first.get(name.value.as_str()) {
            Some(other) => {
                let error = Diagnostic::new(name.span, format!("there are two {what} `{}`", name.value));
                out.push(error.label("again here").related(*other, "the first is here"));
            }
            None => drop(first.insert(&name.value, name.span)),
        }
    }
}
