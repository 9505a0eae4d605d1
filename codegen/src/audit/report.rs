//! An audit for readers and for programs.

mod json;
mod markdown;
mod sarif;
mod summary;
mod text;

use super::compare::{Comparison, Finding, Outcome};
use super::read::ReadError;

/// How an audit is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Text,
    /// For programs.
    Json,
    /// For a pull request.
    Markdown,
    /// For services that show findings beside the lines: SARIF 2.1.0.
    Sarif,
}

/// What was found in all documents.
#[derive(Debug)]
pub struct Report<'r> {
    /// One per document that could be read.
    pub comparisons: &'r [Comparison],
    /// Documents that could not be read.
    pub unread: &'r [ReadError],
    /// Show each row that is confirmed, or missing with a reason.
    pub verbose: bool,
}

impl Report<'_> {
    /// The text, with a line break at its end.
    pub fn print(&self, format: Format) -> String {
        match format {
            Format::Text => text::print(self),
            Format::Json => json::print(self),
            Format::Markdown => markdown::print(self),
            Format::Sarif => sarif::print(self),
        }
    }

    /// Whether a finding is shown, and not only counted.
    fn shows(&self, finding: &Finding) -> bool {
        let counted =
            matches!(finding.outcome, Outcome::Confirmed | Outcome::Unlisted | Outcome::Elsewhere | Outcome::Retired);
        self.verbose || !counted
    }
}

/// The place of a finding in the document: "page B-9 (12 of the file), “Encodings”".
fn there(finding: &Finding) -> Option<String> {
    let there = finding.there.as_ref()?;
    Some(format!("{}, “{}”", there.place, there.title))
}
