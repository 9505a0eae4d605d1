//! What confirms a row, and what it differs from, are documents of `manuals.toml`, each once.

use std::collections::BTreeMap;

use crate::diagnostics::Diagnostic;
use crate::model::{Span, Spanned, Spec};

use super::{manuals, unresolved};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for head in spec.heads() {
        documents(spec, "is confirmed by", head.confirmed.iter().map(|own| &own.doc), out);
        // `*` is any document.
        let named = head.excuses.iter().map(|own| &own.doc).filter(|doc| doc.value != "*");
        documents(spec, "has an excuse for", named, out);
        for confirmed in &head.confirmed {
            if let Some(page) = confirmed.page.as_ref().filter(|page| !manuals::is_page(&page.value)) {
                out.push(Diagnostic::new(page.span, format!("`{}` is no page", page.value)).help(manuals::PAGE_HELP));
            }
            if !is_day(&confirmed.date.value) {
                let date = &confirmed.date;
                let error = Diagnostic::new(date.span, format!("`{}` is no day", date.value));
                out.push(error.help("write the year, the month and the day: `2026-11-22`"));
            }
        }
    }
}

fn documents<'s>(spec: &Spec, what: &str, docs: impl Iterator<Item = &'s Spanned<String>>, out: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<&str, Span> = BTreeMap::new();
    for doc in docs {
        if spec.manual(&doc.value).is_none() {
            let ids = spec.manuals.iter().map(|row| row.id.value.as_str());
            out.push(unresolved(doc, "manual", ids).help_if_none("documents are listed in manuals.toml"));
        }
        if let Some(first) = first.get(doc.value.as_str()) {
            let error = Diagnostic::new(doc.span, format!("the row {what} `{}` twice", doc.value)).label("again here");
            out.push(error.related(*first, "the first is here"));
        } else {
            first.insert(&doc.value, doc.span);
        }
    }
}

/// `2026-11-22`
fn is_day(text: &str) -> bool {
    let number = |text: &str, max: u32| text.len() == 2 && text.parse().is_ok_and(|n: u32| (1..=max).contains(&n));
    match text.split('-').collect::<Vec<_>>()[..] {
        [year, month, day] => {
            year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()) && number(month, 12) && number(day, 31)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    /// What is found when a row has this key.
    fn with(key: &str) -> Vec<String> {
        let row = "name = \"GUEST_RSP\"";
        after("intel/vmcs.toml", row, &format!("{row}\n{key}"))
    }

    #[test]
    fn what_is_listed_confirms_and_excuses() {
        assert_eq!(
            with("confirmed = [{ doc = \"sdm4\", title = \"A\", page = \"2-1\", date = \"2026-11-22\" }]"),
            [""; 0]
        );
        assert_eq!(with("excuse = [{ doc = \"sdm4\", reason = \"A\" }, { doc = \"*\", reason = \"B\" }]"), [""; 0]);
    }

    #[test]
    fn documents_that_are_not_listed_or_listed_twice() {
        let confirmed = |doc: &str| format!("{{ doc = \"{doc}\", title = \"A\", date = \"2026-11-22\" }}");
        assert_eq!(with(&format!("confirmed = [{}]", confirmed("sdm5"))), ["there is no manual `sdm5`"]);
        let twice = format!("confirmed = [{}, {}]", confirmed("sdm4"), confirmed("sdm4"));
        assert_eq!(with(&twice), ["the row is confirmed by `sdm4` twice"]);
        assert_eq!(with("excuse = [{ doc = \"sdm5\", reason = \"A\" }]"), ["there is no manual `sdm5`"]);
    }

    #[test]
    fn days_and_pages() {
        let confirmed = |rest: &str| with(&format!("confirmed = [{{ doc = \"sdm4\", title = \"A\", {rest} }}]"));
        assert_eq!(confirmed("date = \"2026-11\""), ["`2026-11` is no day"]);
        assert_eq!(confirmed("date = \"2026-13-01\""), ["`2026-13-01` is no day"]);
        assert_eq!(confirmed("date = \"2026-11-22\", page = \"page 3\""), ["`page 3` is no page"]);
    }

    #[test]
    fn keys_that_are_missing_or_too_many() {
        assert_eq!(with("confirmed = [{ doc = \"sdm4\", title = \"A\" }]"), ["this `confirmed` has no `date`"]);
        assert_eq!(with("excuse = [{ doc = \"sdm4\" }]"), ["this `excuse` has no `reason`"]);
        assert_eq!(
            with("excuse = [{ doc = \"sdm4\", reason = \"A\", why = \"\" }]"),
            ["this `excuse` cannot have `why`"]
        );
    }
}
