//! An entry check is about the field that it blames.

use crate::diagnostics::Diagnostic;
use crate::load::nearest;
use crate::model::{Spec, Vendor};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for vendor in [Vendor::Intel, Vendor::Amd] {
        let mut found = Vec::new();
        for rule in &spec.rules(vendor).rules {
            let Some(row) = rule.row.map(|row| &spec.entry_checks[row]) else { continue };
            let names = || rule.inputs.iter().map(|place| place.name.as_str());
            if names().next().is_none() {
                let message = format!("{} looks at no field, and blames `{}`", rule.name, rule.field.name);
                found.push(Diagnostic::new(row.require.span, message).related(row.field.span, "the field is here"));
            } else if !rule.inputs.contains(&rule.field) {
                let message = format!("{} blames `{}`, at which it does not look", rule.name, rule.field.name);
                let error = Diagnostic::new(row.field.span, message).related(row.require.span, "what it asks is here");
                let name = nearest(&rule.field.name, names()).or_else(|| names().next()).unwrap_or_default();
                found.push(error.help(format!("it looks at `{name}`")));
            }
        }
        found.dedup_by_key(|error| error.span);
        out.extend(found);
    }
}
