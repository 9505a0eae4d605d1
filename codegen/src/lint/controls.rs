//! A control word names the VMCS field that holds it and the MSRs that say what is allowed.

use crate::diagnostics::Diagnostic;
use crate::model::{Control, Group, Spec, Vendor};

use super::{Item, unique, unresolved};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    // One of two words would be read from the other's place.
    unique(out, spec.controls.iter().map(|row| Item::new(&row.field, &row.head)), |name| format!("the field {name}"));
    let capabilities = spec.controls.iter().flat_map(|row| {
        [Some(&row.capability), row.true_capability.as_ref()].into_iter().flatten().map(|msr| Item::new(msr, &row.head))
    });
    unique(out, capabilities, |name| format!("the capability {name}"));
    for field in &spec.fields {
        let Some(ty) = &field.ty else { continue };
        let home = |control: &Control| spec.fields.iter().find(|field| field.head.name() == control.field.value);
        // A word that names the wrong field is told of below.
        if let Some(control) = spec.controls.iter().find(|control| control.head.name() == ty.value)
            && home(control).and_then(|home| home.ty.as_ref()).is_some_and(|home| home.value == ty.value)
            && control.field.value != field.head.name()
        {
            let message = format!("{} is in {}, not in {}", ty.value, control.field.value, field.head.name());
            out.push(Diagnostic::new(ty.span, message).related(control.field.span, "the word says so here"));
        }
    }
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
            Some(field) => match &field.ty {
                Some(ty) if ty.value == control.head.name() => {}
                ty => {
                    let message = format!("{} holds {}, but has another type", name.value, control.head.name());
                    let error = Diagnostic::new(ty.as_ref().map_or(field.head.name.span, |ty| ty.span), message);
                    let error = error.related(name.span, "the word is here");
                    out.push(error.help(format!("write `type = \"{}\"`", control.head.name())));
                }
            },
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
    fn two_words_in_one_place() {
        let found = after("intel/controls.toml", "field = \"SECONDARY_CONTROLS\"", "field = \"PRIMARY_CONTROLS\"");
        assert_eq!(
            found,
            [
                "SecondaryControls has the field PRIMARY_CONTROLS, which is that of PrimaryControls already",
                "PRIMARY_CONTROLS holds SecondaryControls, but has another type",
            ]
        );
        let found = after("intel/controls.toml", "\"IA32_VMX_PROCBASED_CTLS2\"", "\"IA32_VMX_PROCBASED_CTLS\"");
        assert_eq!(
            found,
            ["SecondaryControls has the capability IA32_VMX_PROCBASED_CTLS, which is that of PrimaryControls already"]
        );
    }

    #[test]
    fn a_field_of_another_type() {
        let found = after("intel/vmcs.toml", "type = \"SecondaryControls\"\n", "");
        assert_eq!(found, ["SECONDARY_CONTROLS holds SecondaryControls, but has another type"]);
        let found = after("intel/vmcs.toml", "encoding = 0x440c\n", "encoding = 0x440c\ntype = \"PrimaryControls\"\n");
        assert_eq!(found, ["PrimaryControls is in PRIMARY_CONTROLS, not in EXIT_INSTRUCTION_LENGTH"]);
    }

    #[test]
    fn a_field_of_another_width() {
        let found = after("intel/controls.toml", "field = \"SECONDARY_CONTROLS\"", "field = \"EPT_POINTER\"");
        assert_eq!(found, ["EPT_POINTER has 64 bits, not 32"]);
    }
}
