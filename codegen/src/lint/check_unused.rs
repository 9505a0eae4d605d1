//! Each definition of `entry_checks.toml` is used.

use std::collections::BTreeSet;

use crate::diagnostics::Diagnostic;
use crate::model::{Spec, Vendor};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for vendor in [Vendor::Intel, Vendor::Amd] {
        let rules = spec.rules(vendor);
        // What could not be read may have used it.
        if !rules.problems.is_empty() {
            continue;
        }
        // Of a template it is enough that one row of it is.
        let used: BTreeSet<_> = rules.used.iter().map(|index| rules.definitions[*index].row).collect();
        let all: BTreeSet<_> = rules.definitions.iter().map(|definition| definition.row).collect();
        for row in all.difference(&used).map(|row| &spec.defines[*row]) {
            let message = format!("nothing uses the definition `{}`", row.name.value);
            out.push(Diagnostic::new(row.name.span, message));
        }
    }
}
