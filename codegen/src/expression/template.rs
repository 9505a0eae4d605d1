//! Rows that stand for several: `{SEG}` in a text is replaced, and places in the result are traced back to the table.

use std::ops::Range;

use crate::diagnostics::Diagnostic;
use crate::load::nearest;
use crate::model::{Each, Sources, Span, Spanned};

/// Which value each key has.
pub(super) type Binding<'s> = Vec<(&'s str, &'s str)>;

/// Every combination of values, the first key changing slowest.
pub(super) fn bindings(each: &[Each]) -> Vec<Binding<'_>> {
    let mut all = vec![Vec::new()];
    for Each { key, values } in each {
        let mut more = Vec::new();
        for binding in &all {
            for value in values {
                more.push([binding.as_slice(), &[(key.value.as_str(), value.value.as_str())]].concat());
            }
        }
        all = more;
    }
    all
}

/// A text with its templates filled in.
pub(super) struct Filled {
    pub text: String,
    /// The whole text in the table, quotes included.
    span: Span,
    /// Where its characters start in the file; nothing if they are not written as they are read.
    origin: Option<usize>,
    parts: Vec<Part>,
    /// A template has no value.
    pub is_broken: bool,
}

/// A part of the result: where it starts, and which bytes of the original it comes from.
struct Part {
    start: usize,
    source: Range<usize>,
    /// They are the same; else they took the place of a template.
    verbatim: bool,
}

impl Filled {
    /// The place in the table that some bytes of the result come from.
    pub fn span(&self, range: Range<usize>) -> Span {
        let whole = self.span;
        let start = self.source(range.start).map(|(part, at)| if part.verbatim { at } else { part.source.start });
        let last = self.source(range.end.max(range.start + 1) - 1);
        let end = last.map(|(part, at)| if part.verbatim { at + 1 } else { part.source.end });
        match (self.origin, start, end) {
            (Some(origin), Some(start), Some(end)) => {
                let at = |n: usize| u32::try_from(origin + n).unwrap_or(u32::MAX);
                Span { file: whole.file, start: at(start), end: at(end.max(start)) }
            }
            _ => whole,
        }
    }

    /// The part that has a byte of the result, and the byte of the original if it is there as it was.
    fn source(&self, at: usize) -> Option<(&Part, usize)> {
        let part = self.parts.iter().rev().find(|part| part.start <= at)?;
        Some((part, part.source.start + (at - part.start)))
    }
}

/// Fills in the templates of a text.
pub(super) fn fill(
    sources: &Sources,
    text: &Spanned<String>,
    each: &[Each],
    binding: &Binding,
    out: &mut Vec<Diagnostic>,
) -> Filled {
    let source = text.value.as_str();
    let origin = origin(sources, text);
    let mut filled = Filled { text: String::new(), span: text.span, origin, parts: Vec::new(), is_broken: false };
    let mut at = 0;
    // Without keys nothing is a template.
    while let Some(open) = source[at..].find('{').filter(|_| !each.is_empty()) {
        let open = at + open;
        filled.push(at..open, &source[at..open], true);
        let Some(length) = source[open..].find('}') else {
            at = open;
            break;
        };
        let close = open + length + 1;
        let key = &source[open + 1..close - 1];
        match replacement(key, binding) {
            Some(value) => filled.push(open..close, &value, false),
            None => {
                filled.is_broken = true;
                filled.push(open..close, &source[open..close], true);
                let span = filled.span(filled.text.len() - (close - open)..filled.text.len());
                let error = Diagnostic::new(span, format!("`each` has no `{key}`"));
                out.push(match nearest(key, each.iter().map(|each| each.key.value.as_str())) {
                    Some(name) => error.help(format!("there is `{{{name}}}`")),
                    None => error,
                });
            }
        }
        at = close;
    }
    filled.push(at..source.len(), &source[at..], true);
    filled
}

impl Filled {
    fn push(&mut self, source: Range<usize>, text: &str, verbatim: bool) {
        if !text.is_empty() {
            self.parts.push(Part { start: self.text.len(), source, verbatim });
            self.text.push_str(text);
        }
    }
}

/// `{SEG}` is the value, `{seg}` the value in lower case.
fn replacement(key: &str, binding: &Binding) -> Option<String> {
    let find = |key: &str| binding.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    find(key).map(str::to_owned).or_else(|| {
        let upper = key.to_ascii_uppercase();
        if key != key.to_ascii_lowercase() { None } else { find(&upper).map(str::to_ascii_lowercase) }
    })
}

/// Whether the text has the key's template.
pub(super) fn uses(text: &str, key: &str) -> bool {
    text.contains(&format!("{{{key}}}")) || text.contains(&format!("{{{}}}", key.to_ascii_lowercase()))
}

/// Where the characters of a string start in its file, if they stand there as they are.
fn origin(sources: &Sources, text: &Spanned<String>) -> Option<usize> {
    let Span { file, start, end } = text.span;
    let file = sources.text(file);
    let written = file.get(start as usize..end as usize)?;
    // Behind one quote or three; the newline after three is no part of it.
    let skip =
        [1, 3, 4, 5].into_iter().find(|skip| written.get(*skip..).is_some_and(|rest| rest.starts_with(&text.value)))?;
    Some(start as usize + skip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_table() {
        let mut sources = Sources::default();
        let line = "expr = \"GUEST_{SEG}_LIMIT + usable_{seg}\"";
        let file = sources.add("x".to_owned(), line.to_owned());
        let span = Span { file, start: 7, end: u32::try_from(line.len()).unwrap() };
        let word = |text: &str| Spanned { value: text.to_owned(), span };
        let each = [Each { key: word("SEG"), values: vec![word("CS"), word("LDTR")] }];
        let bindings = bindings(&each);
        let text = word("GUEST_{SEG}_LIMIT + usable_{seg}");
        let mut out = Vec::new();
        let filled = fill(&sources, &text, &each, &bindings[1], &mut out);
        assert_eq!(filled.text, "GUEST_LDTR_LIMIT + usable_ldtr");
        assert_eq!(out, []);
        let shown = |range: Range<usize>| {
            let span = filled.span(range);
            &sources.text(file)[span.start as usize..span.end as usize]
        };
        assert_eq!(shown(0..16), "GUEST_{SEG}_LIMIT");
        assert_eq!(shown(7..9), "{SEG}");
        assert_eq!(shown(17..18), "+");
        assert_eq!(shown(19..30), "usable_{seg}");
    }
}
