//! For a terminal: a line per finding, the place first.

use std::fmt::Write as _;

use super::{Report, summary, there};
use crate::audit::compare::{Comparison, Finding, Outcome};

pub(super) fn print(report: &Report) -> String {
    let mut out = String::new();
    for comparison in report.comparisons {
        // Writing into a string does not fail.
        let doc = comparison.doc.as_ref().map_or_else(String::new, |doc| format!(", `{doc}`"));
        let _ = writeln!(out, "{} ({}{doc})", comparison.title, comparison.path);
        for caveat in summary::caveats(comparison) {
            let _ = writeln!(out, "note: {caveat}");
        }
        out.push('\n');
        let before = out.len();
        for outcome in Outcome::ALL {
            for finding in comparison.findings().filter(|finding| finding.outcome == outcome && report.shows(finding)) {
                line(comparison, finding, &mut out);
            }
        }
        for row in &comparison.unreadable {
            let _ = writeln!(out, "{}: {}: not readable: {}: `{}`", comparison.path, row.place, row.why, row.text);
        }
        if out.len() > before {
            out.push('\n');
        }
        out.push_str(&table(comparison));
        if report.verbose {
            for title in &comparison.unknown {
                let _ = writeln!(out, "not of the spec: “{title}”");
            }
        } else if let count @ 1.. = comparison.unknown.len() {
            let _ = writeln!(out, "{count} of its tables are not of the spec");
        }
        out.push('\n');
    }
    for error in report.unread {
        let _ = writeln!(out, "error: {error}");
    }
    out
}

fn line(comparison: &Comparison, finding: &Finding, out: &mut String) {
    let word = finding.outcome.id().replace('-', " ");
    let message = short(&finding.message);
    let there = there(finding);
    let _ = match (&finding.here, there) {
        (Some(here), Some(there)) => {
            writeln!(out, "{}:{}: {word}: {message} ({}: {there})", here.path, here.line, comparison.path)
        }
        (Some(here), None) => writeln!(out, "{}:{}: {word}: {message}", here.path, here.line),
        (None, Some(there)) => writeln!(out, "{}: {there}: {word}: {message}", comparison.path),
        (None, None) => writeln!(out, "{}: {word}: {message}", comparison.path),
    };
    if let Some(reason) = &finding.reason {
        let _ = writeln!(out, "    excuse: {reason}");
    }
}

/// The quotations of a message, each shortened: some documents have sentences for names.
fn short(message: &str) -> String {
    const LIMIT: usize = 60;
    let part = |(i, part): (usize, &str)| match part.char_indices().nth(LIMIT) {
        Some((end, _)) if i % 2 == 1 => format!("{}…", &part[..end]),
        _ => part.to_owned(),
    };
    message.split('`').enumerate().map(part).collect::<Vec<_>>().join("`")
}

/// A row per table; columns in which nothing is counted are left out.
fn table(comparison: &Comparison) -> String {
    let used = summary::COLUMNS.iter().filter(|(outcome, _)| {
        *outcome == Outcome::Confirmed || comparison.tables.iter().any(|table| table.count(*outcome) > 0)
    });
    let used: Vec<_> = used.collect();
    let mut rows = vec![vec!["table".to_owned(), "rows".to_owned(), "%".to_owned()]];
    rows[0].extend(used.iter().map(|(_, heading)| (*heading).to_owned()));
    for table in &comparison.tables {
        let percent = summary::coverage(table).map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}"));
        let mut row = vec![table.name.clone(), table.rows.to_string(), percent];
        row.extend(used.iter().map(|(outcome, _)| table.count(*outcome).to_string()));
        rows.push(row);
    }
    if rows.len() == 1 {
        return String::new();
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if i == 0 { write!(out, "{cell:<width$}") } else { write!(out, "  {cell:>width$}") };
        }
        out.push('\n');
    }
    out
}
