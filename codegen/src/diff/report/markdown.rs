//! For a changelog or a pull request.

use std::fmt::Write as _;

use super::{Report, text, values};
use crate::diff::{Kind, Level};

pub(super) fn print(report: &Report) -> String {
    let mut out = format!("## `{}` → `{}`\n", report.old, report.new);
    for table in &report.comparison.tables {
        // Writing into a string does not fail.
        let _ = writeln!(out, "\n### `{}`: {}\n", table.name, values::counts(table));
        for (word, line) in values::lines(table, report.verbose) {
            let _ = writeln!(out, "- {word} {}", code(&line));
        }
    }
    if report.comparison.tables.is_empty() {
        out.push_str("\nNo row differs.\n");
    }
    match &report.comparison.api {
        Ok(api) => {
            let _ = writeln!(out, "\n### API: **{}**\n", api.level().name());
            if let Some(behaviour) = api.behaviour() {
                let _ = writeln!(out, "{behaviour}.\n");
            }
            for level in [Level::Major, Level::Minor, Level::Patch] {
                let of_level = api.changes.iter().filter(|change| change.kind.level() == level);
                for change in of_level.filter(|c| report.verbose || c.kind <= Kind::Value) {
                    let what = match (&change.old, &change.new) {
                        (Some(old), Some(new)) => {
                            let (old, new) = text::differing(old, new);
                            format!(": {} → {}", code(&text::short(old)), code(&text::short(new)))
                        }
                        (Some(text), None) | (None, Some(text)) => format!(": {}", code(&text::short(text))),
                        (None, None) => String::new(),
                    };
                    let _ = writeln!(out, "- {} ({}) {}{what}", level.name(), change.kind.name(), code(&change.path));
                }
            }
            let others = api.changes.iter().filter(|change| change.kind > Kind::Value).count();
            if others > 0 && !report.verbose {
                let _ = writeln!(out, "- patch: {others} with other documentation or contents");
            }
        }
        Err(why) => {
            let _ = writeln!(out, "\n### API: **unknown**\n\n{why}");
        }
    }
    if let Some(advice) = report.advice() {
        let _ = writeln!(out, "\nVersion: {advice}.");
    }
    out
}

/// Text as code, whatever is in it.
fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let text = text.replace('\n', " ");
    match longest {
        0 => format!("`{text}`"),
        _ => format!("{fence} {text} {fence}"),
    }
}
