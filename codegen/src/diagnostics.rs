//! What is wrong with a spec, and where.

use std::fmt;

use crate::model::{Sources, Span};

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in one line.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What the place itself is called when it is shown with its line, such as "used again here".
    pub label: String,
    /// Other places that have to do with it, such as the first of two equal encodings.
    pub related: Vec<(Span, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A mistake at `span`.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Diagnostic { message: one_line(message.into()), span, label: String::new(), related: Vec::new(), help: None }
    }

    /// Adds a word to the place itself.
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.label = one_line(text.into());
        self
    }

    /// Adds another place.
    pub fn related(mut self, span: Span, text: impl Into<String>) -> Self {
        self.related.push((span, one_line(text.into())));
        self
    }

    /// Adds what to do.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(one_line(text.into()));
        self
    }

    /// Adds what to do, unless something better is known.
    pub fn help_if_none(self, text: impl Into<String>) -> Self {
        if self.help.is_some() { self } else { self.help(text) }
    }

    /// The diagnostic in plain lines, `path:line:col: error: …` first.
    pub fn plain<'a>(&'a self, sources: &'a Sources) -> impl fmt::Display + 'a {
        Plain { diagnostic: self, sources }
    }
}

/// The text with what would break the line, or turn it around, as an escape: messages quote what stands in the tables.
fn one_line(text: String) -> String {
    let harmful = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(harmful) {
        return text;
    }
    text.chars().map(|c| if harmful(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

struct Plain<'a> {
    diagnostic: &'a Diagnostic,
    sources: &'a Sources,
}

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plain { diagnostic, sources } = self;
        writeln!(f, "{}: error: {}", sources.place(diagnostic.span), diagnostic.message)?;
        for (span, text) in &diagnostic.related {
            writeln!(f, "{}: note: {text}", sources.place(*span))?;
        }
        if let Some(help) = &diagnostic.help {
            writeln!(f, "    help: {help}")?;
        }
        Ok(())
    }
}

/// Every mistake of a spec, with the texts they point into.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    /// The files.
    pub sources: Sources,
    /// The mistakes, in the order of the files and of the places in them.
    pub list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Puts `list` in the order of its places.
    pub fn new(sources: Sources, mut list: Vec<Diagnostic>) -> Self {
        sort(&mut list);
        Diagnostics { sources, list }
    }
}

/// Sorts by place; the sort is stable, so two mistakes at one place keep the order in which they were found.
pub(crate) fn sort(list: &mut [Diagnostic]) {
    list.sort_by_key(|d| d.span);
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.iter().try_for_each(|d| write!(f, "{}", d.plain(&self.sources)))
    }
}

impl std::error::Error for Diagnostics {}
