//! `exists_if` names control bits, and different conditions become different types.

use std::collections::BTreeMap;

use crate::diagnostics::Diagnostic;
use crate::model::{LayoutBit, Spec, Term};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let mut types = BTreeMap::new();
    for condition in spec.fields.iter().filter_map(|field| field.exists_if.as_ref()) {
        for term in &condition.value.any {
            match term {
                Term::Control(bit) => drop(super::control_bit(spec, bit, out)),
                Term::Cpuid(bit) => cpuid(spec, bit, out),
            }
        }
        let name = condition.value.type_name();
        let (other, span) = types.entry(name.clone()).or_insert((condition.value.to_string(), condition.span));
        if *other != condition.value.to_string() {
            let message = format!("`{}` and `{other}` would both become the type `{name}`", condition.value);
            out.push(Diagnostic::new(condition.span, message).related(*span, "the other is here"));
        }
    }
}

/// A bit that CPUID reports.
fn cpuid(spec: &Spec, bit: &LayoutBit, out: &mut Vec<Diagnostic>) {
    let Some(layout) = super::layout_bit(spec, bit, out) else { return };
    if layout.cpuid.is_none() {
        let error = Diagnostic::new(bit.span, format!("`{}` does not say where CPUID reports it", bit.layout));
        let error = error.related(layout.head.name.span, "the layout is here");
        out.push(error.help("give it `cpuid = { leaf = 7, subleaf = 1, register = \"eax\" }`"));
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_bit_that_is_not_listed() {
        let found = after("intel/vmcs.toml", "secondary.ENABLE_EPT", "secondary.ENABLE_ETP");
        assert_eq!(found, ["`SecondaryControls` has no bit `ENABLE_ETP`"]);
    }

    #[test]
    fn a_word_that_is_not_listed() {
        let found = after("intel/vmcs.toml", "secondary.ENABLE_EPT", "tertiary.ENABLE_EPT");
        assert_eq!(found, ["no `[[control]]` has the id `tertiary`"]);
    }

    #[test]
    fn two_conditions_with_one_name() {
        let found =
            after("intel/vmcs.toml", "exists_if = \"primary.USE_MSR_BITMAPS\"", "exists_if = \"primary.ENABLE_EPT\"");
        assert_eq!(
            found,
            [
                "`PrimaryControls` has no bit `ENABLE_EPT`",
                "`secondary.ENABLE_EPT` and `primary.ENABLE_EPT` would both become the type `EnableEpt`",
            ]
        );
    }
}
