//! The phase of an entry check is one of its vendor, and an exit qualification belongs to the phase that has one.

use crate::diagnostics::Diagnostic;
use crate::model::{Phase, Spec, Vendor};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for row in &spec.entry_checks {
        let (phase, vendor) = (row.phase.value, spec.vendor(row.module));
        if (phase == Phase::Vmrun) != (vendor == Vendor::Amd) {
            let what = if vendor == Vendor::Amd { "SVM" } else { "VMX" };
            let error = Diagnostic::new(row.phase.span, format!("{what} has no phase `{}`", phase.name()));
            out.push(error.help(match vendor {
                Vendor::Amd => "there is `vmrun`",
                _ => "there are controls, host, guest and msr_load",
            }));
        }
        if let Some(number) = row.qualification.as_ref().filter(|_| phase != Phase::Guest) {
            let error =
                Diagnostic::new(number.span, format!("no exit qualification comes of the phase `{}`", phase.name()));
            let error = error.related(row.phase.span, "the phase is here");
            out.push(if phase == Phase::MsrLoad {
                error.help("it is the number of the entry, which `entries` gives")
            } else {
                error
            });
        }
    }
}
