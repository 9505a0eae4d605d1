//! Every kind of table that the library builds on has a row, and no word or enumeration is empty.

use crate::diagnostics::Diagnostic;
use crate::model::{Area, Head, Span, Spec, Vendor};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let tables = [
        (spec.fields.is_empty(), "field", "intel/vmcs.toml"),
        (spec.controls.is_empty(), "control", "intel/controls.toml"),
        (spec.exits_of(Vendor::Intel).next().is_none(), "exit", "intel/exits.toml"),
        (spec.instruction_errors.is_empty(), "instruction_error", "intel/exits.toml"),
        (spec.exits_of(Vendor::Amd).next().is_none(), "exit", "amd/exits.toml"),
        (spec.clean.is_empty(), "clean", "amd/vmcb.toml"),
        (spec.members_of(Area::Control).next().is_none(), "member", "amd/vmcb.toml"),
        (spec.members_of(Area::Save).next().is_none(), "member", "amd/vmcb.toml"),
        (spec.words.is_empty(), "word", "amd/intercepts.toml"),
        (spec.intercepts.is_empty(), "intercept", "amd/intercepts.toml"),
    ];
    for (_, table, file) in tables.into_iter().filter(|(empty, ..)| *empty) {
        // The file may be missing: any place has to do.
        let home = spec.modules.iter().find(|module| file == format!("{}/{}.toml", module.vendor.name(), module.name));
        let span = home.map_or_else(Span::default, |module| Span { file: module.file, ..Span::default() });
        out.push(Diagnostic::new(span, format!("there is no `[[{table}]]` in {file}")));
    }
    let layouts = spec.layouts.iter().filter(|row| row.fields.is_empty()).map(|row| (&row.head, "field"));
    let controls = spec.controls.iter().filter(|row| row.bits.is_empty()).map(|row| (&row.head, "bit"));
    let enums = spec.enums.iter().filter(|row| row.values.is_empty()).map(|row| (&row.head, "value"));
    out.extend(layouts.chain(controls).chain(enums).map(|(head, part)| hollow(head, part)));
}

fn hollow(head: &Head, part: &str) -> Diagnostic {
    Diagnostic::new(head.name.span, format!("{} has no `{part}`", head.name()))
}

#[cfg(test)]
mod tests {
    use crate::testing::{after, with};

    #[test]
    fn a_file_without_its_table() {
        let enumeration = "[[enum]]\nname = \"X\"\nmanual_name = \"X\"\nwidth = 8\nothers = \"reserved\"\n\
            cite = { doc = \"apm2\", title = \"X\" }\n[[enum.value]]\nname = \"A\"\nmanual_name = \"A\"\nnumber = 1\n";
        let found = with("amd/exits.toml", enumeration);
        assert_eq!(found, ["there is no `[[exit]]` in amd/exits.toml"]);
    }

    #[test]
    fn an_enumeration_without_values() {
        let value = "[[enum.value]]\nname = \"UNCACHEABLE\"\nmanual_name = \"Uncacheable (UC)\"\nnumber = 0\n";
        assert_eq!(after("intel/structures.toml", value, ""), ["MemoryType has no `value`"]);
    }
}
