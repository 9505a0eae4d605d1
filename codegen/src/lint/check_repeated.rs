//! Each rule stands once.

use std::collections::BTreeMap;

use crate::diagnostics::Diagnostic;
use crate::model::{Spec, Vendor};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for vendor in [Vendor::Intel, Vendor::Amd] {
        let mut first = BTreeMap::new();
        let mut found = Vec::new();
        // What control bits require twice is told where they do.
        for rule in spec.rules(vendor).rules.iter().filter(|rule| rule.row.is_some()) {
            let key = (&rule.field.name, format!("{:?} {:?} {:?}", rule.when, rule.require, rule.entries));
            match first.get(&key) {
                Some((name, span)) => {
                    let error = Diagnostic::new(rule.span, format!("{} is the same rule as {name}", rule.name));
                    found.push(error.related(*span, format!("{name} is here")));
                }
                None => drop(first.insert(key, (&rule.name, rule.span))),
            }
        }
        found.dedup_by_key(|error| error.span);
        out.extend(found);
    }
}
