//! Citations name a document of `manuals.toml`.

use crate::diagnostics::Diagnostic;
use crate::model::{Head, Spec};

use super::{Item, unique, unresolved};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    unique(
        out,
        spec.manuals.iter().map(|row| Item { key: &row.id.value, span: row.id.span, name: &row.title }),
        |id| format!("the id `{id}`"),
    );
    let mut last = None;
    for head in heads(spec) {
        let doc = &head.cite.doc;
        // Parts that inherit a citation would repeat the mistake.
        if spec.manual(&doc.value).is_none() && last.replace(doc.span) != Some(doc.span) {
            let ids = spec.manuals.iter().map(|row| row.id.value.as_str());
            out.push(unresolved(doc, "manual", ids).help_if_none("documents are listed in manuals.toml"));
        }
    }
}

/// What every row and every part of one has, parts right after their row.
pub(super) fn heads(spec: &Spec) -> Vec<&Head> {
    let mut all: Vec<&Head> = Vec::new();
    all.extend(spec.fields.iter().map(|row| &row.head));
    for row in &spec.controls {
        all.extend([&row.head].into_iter().chain(row.bits.iter().map(|bit| &bit.head)));
    }
    all.extend(spec.exits.iter().map(|row| &row.head));
    all.extend(spec.instruction_errors.iter().map(|row| &row.head));
    for row in &spec.layouts {
        all.extend([&row.head].into_iter().chain(row.fields.iter().map(|field| &field.head)));
    }
    for row in &spec.enums {
        all.extend([&row.head].into_iter().chain(row.values.iter().map(|value| &value.head)));
    }
    all.extend(spec.msrs.iter().map(|row| &row.head));
    all.extend(spec.clean.iter().map(|row| &row.head));
    for row in &spec.members {
        all.extend([&row.head].into_iter().chain(row.bits.iter().map(|bit| &bit.head)));
    }
    all.extend(spec.words.iter().map(|row| &row.head));
    all.extend(spec.intercepts.iter().map(|row| &row.head));
    all
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_document_that_is_not_listed() {
        let found = after("amd/exits.toml", "doc = \"apm2\", title = \"Codes\"", "doc = \"apm3\", title = \"Codes\"");
        assert_eq!(found, ["there is no manual `apm3`"]);
    }

    #[test]
    fn two_documents_with_one_id() {
        let found = after("manuals.toml", "id = \"sdm4\"", "id = \"sdm3\"");
        let title = |n| format!("Software Developer's Manual, Volume {n}");
        let message =
            format!("{}: Registers has the id `sdm3`, which is that of {}: System already", title(4), title(3));
        assert!(found.contains(&message), "{found:?}");
    }
}
