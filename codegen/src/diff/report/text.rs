//! For a terminal.

use std::fmt::Write as _;

use super::{Report, values};
use crate::diff::{ApiDiff, Kind};

pub(super) fn print(report: &Report) -> String {
    let mut out = format!("{} -> {}\n", report.old, report.new);
    for table in &report.comparison.tables {
        // Writing into a string does not fail.
        let _ = writeln!(out, "\n{}: {}", table.name, values::counts(table));
        for (word, line) in values::lines(table, report.verbose) {
            let _ = writeln!(out, "  {word:<10}  {line}");
        }
    }
    if report.comparison.tables.is_empty() {
        out.push_str("\nno row differs\n");
    }
    match &report.comparison.api {
        Ok(api) => {
            let _ = writeln!(out, "\nAPI: {}", api.level().name());
            if let Some(behaviour) = api.behaviour() {
                let _ = writeln!(out, "  note   {behaviour}");
            }
            changes(api, report.verbose, &mut out);
        }
        Err(why) => {
            let _ = writeln!(out, "\nAPI: unknown: {why}");
        }
    }
    if let Some(advice) = report.advice() {
        let _ = writeln!(out, "version: {advice}");
    }
    out
}

/// A line per item. What only differs in its documentation is counted, unless everything is asked for.
fn changes(api: &ApiDiff, verbose: bool, out: &mut String) {
    let counted = |kind| matches!(kind, Kind::Contents | Kind::Documentation) && !verbose;
    for change in api.changes.iter().filter(|change| !counted(change.kind)) {
        let what = match (&change.old, &change.new) {
            (Some(old), Some(new)) => {
                let (old, new) = differing(old, new);
                format!(": {} -> {}", short(old), short(new))
            }
            (Some(text), None) | (None, Some(text)) => format!(": {}", short(text)),
            (None, None) => String::new(),
        };
        let (level, kind) = (change.kind.level().name(), change.kind.name());
        let _ = writeln!(out, "  {level:<5}  {kind:<11}  {}{what}", change.path);
    }
    for kind in [Kind::Contents, Kind::Documentation] {
        let count = api.changes.iter().filter(|change| change.kind == kind).count();
        if count > 0 && counted(kind) {
            let _ = writeln!(out, "  patch  {count} with {}", kind.name());
        }
    }
}

/// Two texts from where they differ, if that is far from their start.
pub(super) fn differing<'t>(old: &'t str, new: &'t str) -> (&'t str, &'t str) {
    const NEAR: usize = 60;
    let same = old.char_indices().zip(new.chars()).find(|((_, a), b)| a != b).map_or(0, |((at, _), _)| at);
    // From the start of the element that differs.
    let start = old[..same].rfind([',', '{', ';']).map_or(0, |at| at + 1);
    if same < NEAR { (old, new) } else { (&old[start..], &new[start..]) }
}

/// The start of a long text.
pub(super) fn short(text: &str) -> String {
    const LIMIT: usize = 100;
    let text = text.trim();
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
