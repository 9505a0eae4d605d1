//! Expressions of entry checks can be read, name what there is, and compare what can be compared.

use crate::diagnostics::Diagnostic;
use crate::model::{Spec, Vendor};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for vendor in [Vendor::Intel, Vendor::Amd] {
        out.extend(spec.rules(vendor).problems.iter().cloned());
    }
}
