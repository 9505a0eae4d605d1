//! Citations name a document of `manuals.toml`.

use std::collections::BTreeMap;

use crate::diagnostics::Diagnostic;
use crate::model::{Span, Spec};

use super::unresolved;

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let mut ids: BTreeMap<&str, Span> = BTreeMap::new();
    for id in spec.manuals.iter().map(|row| &row.id) {
        if let Some(first) = ids.get(id.value.as_str()) {
            let error = Diagnostic::new(id.span, format!("there are two manuals `{}`", id.value)).label("again here");
            out.push(error.related(*first, "the first is here"));
        } else {
            ids.insert(&id.value, id.span);
        }
    }
    let mut last = None;
    for head in spec.heads() {
        let doc = &head.cite.doc;
        // Parts that inherit a citation would repeat the mistake.
        if spec.manual(&doc.value).is_none() && last.replace(doc.span) != Some(doc.span) {
            let ids = spec.manuals.iter().map(|row| row.id.value.as_str());
            out.push(unresolved(doc, "manual", ids).help_if_none("documents are listed in manuals.toml"));
        }
    }
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
        assert!(found.contains(&"there are two manuals `sdm3`".to_owned()), "{found:?}");
    }
}
