//! A reader can find the documents and the pages that rows cite.

use std::collections::BTreeSet;

use crate::diagnostics::Diagnostic;
use crate::model::{Manual, Spanned, Spec};

/// What to do about a page that is none.
pub(super) const PAGE_HELP: &str = "write it as it is printed at the foot: `B-9`, `25-3`, `719`";

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for manual in &spec.manuals {
        own(manual, out);
    }
    let (mut cited, mut pages) = (BTreeSet::new(), BTreeSet::new());
    for head in spec.heads() {
        cited.insert(head.cite.doc.value.as_str());
        cited.extend(head.confirmed.iter().map(|own| own.doc.value.as_str()));
        cited.extend(head.excuses.iter().map(|own| own.doc.value.as_str()));
        // Parts that inherit a citation would repeat the mistake.
        if let Some(page) = head.cite.page.as_ref().filter(|page| !is_page(&page.value) && pages.insert(page.span)) {
            let error = Diagnostic::new(page.span, format!("`{}` is no page", page.value));
            out.push(error.help(PAGE_HELP));
        }
    }
    for manual in spec.manuals.iter().filter(|manual| !cited.contains(manual.id.value.as_str())) {
        out.push(Diagnostic::new(manual.id.span, format!("no row cites `{}`", manual.id.value)));
    }
}

fn own(manual: &Manual, out: &mut Vec<Diagnostic>) {
    let source = manual.kind == "source";
    let wrong = |text: &Spanned<String>, what: &str, help: &str| {
        Diagnostic::new(text.span, format!("`{}` is no {what}", text.value)).help(help)
    };
    if let Some(sum) = manual.sha256.as_ref().filter(|sum| !is_sum(&sum.value)) {
        out.push(wrong(sum, "SHA-256 sum", "it has 64 digits, 0 to 9 and a to f"));
    }
    // Of a source the revision says it exactly.
    if let Some(date) = manual.date.as_ref().filter(|date| !(is_month(&date.value) || source && is_year(&date.value))) {
        out.push(wrong(date, "month", "write the year and the month: `2022-04`"));
    }
    if source && manual.url.is_none() {
        let error = Diagnostic::new(manual.id.span, format!("the source `{}` has no `url`", manual.id.value));
        out.push(error.help("facts come from what any reader can get"));
    }
}

/// `719`, `25-3` or `B-9`.
pub(crate) fn is_page(text: &str) -> bool {
    let number = |text: &str| matches!(text.len(), 1..=4) && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('-') {
        Some((chapter, page)) => number(page) && (number(chapter) || matches!(chapter.as_bytes(), [b'A'..=b'Z'])),
        None => number(text),
    }
}

fn is_sum(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_month(text: &str) -> bool {
    let month = |month: &str| month.len() == 2 && month.parse().is_ok_and(|month| (1..=12).contains(&month));
    text.split_once('-').is_some_and(|(year, rest)| is_year(year) && month(rest))
}

fn is_year(text: &str) -> bool {
    text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    /// What is found when the document of SVM has these keys.
    fn with(keys: &str) -> Vec<String> {
        after("manuals.toml", "revision = \"3.44\"\nkind = \"manual\"", &format!("revision = \"3.44\"\n{keys}"))
    }

    #[test]
    fn sums_and_dates() {
        assert_eq!(with("kind = \"manual\"\ndate = \"2026-03\""), [""; 0]);
        assert_eq!(with("kind = \"manual\"\ndate = \"2026-13\""), ["`2026-13` is no month"]);
        assert_eq!(with("kind = \"manual\"\ndate = \"2026\""), ["`2026` is no month"]);
        assert_eq!(with("kind = \"manual\"\nsha256 = \"123\""), ["`123` is no SHA-256 sum"]);
    }

    #[test]
    fn a_source_that_nobody_can_get() {
        assert_eq!(with("kind = \"source\"\ndate = \"2026\""), ["the source `apm2` has no `url`"]);
    }

    #[test]
    fn a_document_that_nobody_cites() {
        let found =
            with("kind = \"manual\"\n[[manual]]\nid = \"apm3\"\ntitle = \"A\"\nrevision = \"1\"\nkind = \"manual\"");
        assert_eq!(found, ["no row cites `apm3`"]);
    }

    #[test]
    fn a_page_that_is_none() {
        assert_eq!(after("intel/vmcs.toml", "page = \"B-9\"", "page = \"Table B-9\""), ["`Table B-9` is no page"]);
    }
}
