//! A control word names the VMCS field that holds it and the MSRs that say what is allowed.

use crate::diagnostics::Diagnostic;
use crate::model::{Group, Spec, Vendor};

use super::unresolved;

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for control in &spec.controls {
        let name = &control.field;
        match spec.fields.iter().find(|field| field.head.name() == name.value) {
            None => out.push(unresolved(name, "VMCS field", spec.fields.iter().map(|field| field.head.name()))),
            Some(field) if field.group.value != Group::Control => {
                let error = Diagnostic::new(name.span, format!("{} is no control field", name.value));
                out.push(error.related(field.group.span, "its group is here"));
            }
            Some(field) if field.width.value.bits() != control.width => {
                let message = format!("{} has {} bits, not {}", name.value, field.width.value.bits(), control.width);
                out.push(Diagnostic::new(name.span, message).related(field.width.span, "its width is here"));
            }
            Some(_) => {}
        }
        for msr in [Some(&control.capability), control.true_capability.as_ref()].into_iter().flatten() {
            let names =
                || spec.msrs.iter().filter(|row| spec.vendor(row.module) != Vendor::Amd).map(|row| row.head.name());
            if !names().any(|known| known == msr.value) {
                out.push(unresolved(msr, "MSR", names()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_capability_msr_that_is_not_listed() {
        let found = after("intel/controls.toml", "\"IA32_VMX_PROCBASED_CTLS2\"", "\"IA32_VMX_PROCBASED_CTL2\"");
        assert_eq!(found, ["there is no MSR `IA32_VMX_PROCBASED_CTL2`"]);
    }

    #[test]
    fn a_field_that_is_not_listed() {
        let found = after("intel/controls.toml", "field = \"SECONDARY_CONTROLS\"", "field = \"SECOND_CONTROLS\"");
        assert_eq!(found, ["there is no VMCS field `SECOND_CONTROLS`"]);
    }

    #[test]
    fn a_field_of_another_width() {
        let found = after("intel/controls.toml", "field = \"SECONDARY_CONTROLS\"", "field = \"EPT_POINTER\"");
        assert_eq!(found, ["EPT_POINTER has 64 bits, not 32"]);
    }
}
