//! Names are unique in their table, names of types everywhere.

use crate::diagnostics::Diagnostic;
use crate::model::{Area, Head, Spec, Types, Vendor};

use super::{Item, unique};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    table(spec.fields.iter().map(|row| &row.head), "field", out);
    for vendor in [Vendor::Intel, Vendor::Amd] {
        table(spec.exits_of(vendor).map(|row| &row.head), "exit", out);
        let own = spec.msrs.iter().filter(|row| [vendor, Vendor::X86].contains(&spec.vendor(row.module)));
        let mut found = Vec::new();
        table(own.map(|row| &row.head), "MSR", &mut found);
        out.extend(found.into_iter().filter(|error| !out.contains(error)).collect::<Vec<_>>());
    }
    table(spec.instruction_errors.iter().map(|row| &row.head), "VM-instruction error", out);
    for row in &spec.controls {
        table(row.bits.iter().map(|bit| &bit.head), "bit", out);
    }
    for row in &spec.layouts {
        table(row.fields.iter().map(|field| &field.head), "field", out);
    }
    for row in &spec.enums {
        table(row.values.iter().map(|value| &value.head), "value", out);
    }
    table(spec.clean.iter().map(|row| &row.head), "clean-bit group", out);
    for area in [Area::Control, Area::Save, Area::Vmsa] {
        table(spec.members_of(area).map(|row| &row.head), "member", out);
    }
    for row in &spec.members {
        table(row.bits.iter().map(|bit| &bit.head), "bit", out);
    }
    // Constants of the word's type.
    for word in &spec.words {
        let own = spec.intercepts.iter().filter(|row| row.word.value == word.number.value);
        table(own.map(|row| &row.head), "intercept", out);
    }
    types(spec, out);
}

fn table<'a>(rows: impl Iterator<Item = &'a Head>, what: &str, out: &mut Vec<Diagnostic>) {
    let rows = rows.map(|head| Item { key: head.name(), span: head.name.span, name: head.name() });
    let mut found = Vec::new();
    unique(&mut found, rows, |name| name.to_string());
    for error in &mut found {
        error.message = format!("there are two {what}s `{}`", error.label);
        error.label = "again here".to_owned();
        error.related[0].1 = "the first is here".to_owned();
    }
    out.extend(found);
}

fn types(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let types = Types::of(spec);
    for again in &types.repeated {
        let (Some(span), Some(first)) = (again.span, types.get(&again.name)) else { continue };
        let error = Diagnostic::new(span, format!("there are two types `{}`", again.name));
        out.push(match first.span {
            Some(span) => error.label("again here").related(span, "the first is here"),
            None => error.help("that one is generated from a whole table"),
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn two_fields_of_one_name() {
        let found = after("intel/vmcs.toml", "name = \"GUEST_RIP\"", "name = \"GUEST_RSP\"");
        assert_eq!(found, ["there are two fields `GUEST_RSP`"]);
    }

    #[test]
    fn two_types_of_one_name() {
        let found = after("x86/registers.toml", "name = \"Cr0\"", "name = \"EptPointer\"");
        assert_eq!(found, ["there are two types `EptPointer`"]);
    }

    #[test]
    fn a_type_that_is_generated_anyway() {
        let found = after("x86/registers.toml", "name = \"Cr0\"", "name = \"ExitCode\"");
        assert_eq!(found, ["there are two types `ExitCode`"]);
    }
}
