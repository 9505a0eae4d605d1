//! For a pull request.

use std::fmt::Write as _;

use super::{Report, summary, there};
use crate::audit::compare::{Comparison, Outcome};

pub(super) fn print(report: &Report) -> String {
    let mut out = String::new();
    for comparison in report.comparisons {
        // Writing into a string does not fail.
        let _ = writeln!(out, "## {}\n\n{}\n", escaped(&comparison.title), code(&comparison.path));
        for caveat in summary::caveats(comparison) {
            let _ = writeln!(out, "Note: {caveat}.\n");
        }
        table(comparison, &mut out);
        for outcome in Outcome::ALL {
            let of = || comparison.findings().filter(|finding| finding.outcome == outcome && report.shows(finding));
            if of().next().is_none() {
                continue;
            }
            let _ = writeln!(out, "\n### {} ({})\n", outcome.id().replace('-', " "), of().count());
            for finding in of() {
                let here = finding.here.as_ref().map(|here| code(&format!("{}:{}", here.path, here.line)));
                let places: Vec<_> = here.into_iter().chain(there(finding).map(|text| escaped(&text))).collect();
                let reason =
                    finding.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", escaped(reason)));
                let _ = writeln!(out, "- {}{reason} ({})", escaped(&finding.message), places.join("; "));
            }
        }
        if !comparison.unreadable.is_empty() {
            let _ = writeln!(out, "\n### not readable ({})\n", comparison.unreadable.len());
        }
        for row in &comparison.unreadable {
            let _ = writeln!(out, "- {}: {}: {}", row.place, escaped(&row.why), code(&row.text));
        }
        out.push('\n');
    }
    for error in report.unread {
        let _ =
            writeln!(out, "**Not read**: {}: {}\n", code(&error.path.display().to_string()), escaped(&error.message));
    }
    out
}

fn table(comparison: &Comparison, out: &mut String) {
    if comparison.tables.is_empty() {
        return;
    }
    let headings: Vec<_> = summary::COLUMNS.iter().map(|(_, heading)| *heading).collect();
    let _ = writeln!(out, "| table | rows | % | {} |", headings.join(" | "));
    let _ = writeln!(out, "|---|{}", "--:|".repeat(headings.len() + 2));
    for table in &comparison.tables {
        let percent = summary::coverage(table).map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}"));
        let counts: Vec<_> = summary::COLUMNS.iter().map(|(outcome, _)| table.count(*outcome).to_string()).collect();
        let _ = writeln!(out, "| {} | {} | {percent} | {} |", code(&table.name), table.rows, counts.join(" | "));
    }
}

/// Text that keeps its characters. What is code in messages stays code.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    let mut in_code = false;
    for c in text.chars() {
        in_code ^= c == '`';
        match c {
            '\n' => out.push(' '),
            '|' => out.push_str("\\|"),
            '_' | '*' | '[' | ']' | '<' | '>' | '#' | '\\' if !in_code => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// Text as code, whatever is in it.
fn code(text: &str) -> String {
    let text = text.replace('\n', " ");
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}
