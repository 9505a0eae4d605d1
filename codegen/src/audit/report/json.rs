//! For programs.

use serde_json::{Map, Value, json};

use super::{Report, summary};
use crate::audit::compare::{Comparison, Finding, Outcome, TableReport};
use crate::audit::source::Place;

pub(super) fn print(report: &Report) -> String {
    let unread = report
        .unread
        .iter()
        .map(|error| json!({ "path": error.path.display().to_string(), "message": error.message, "help": error.help }));
    let all = json!({
        "sources": report.comparisons.iter().map(|one| source(report, one)).collect::<Vec<_>>(),
        "unread": unread.collect::<Vec<_>>(),
    });
    // Values of these kinds always have a JSON form.
    serde_json::to_string_pretty(&all).expect("string keys") + "\n"
}

fn source(report: &Report, comparison: &Comparison) -> Value {
    let unreadable = comparison.unreadable.iter();
    json!({
        "path": comparison.path,
        "title": comparison.title,
        "standing": summary::standing(comparison),
        "doc": comparison.doc,
        "tables": comparison.tables.iter().map(|one| table(report, one)).collect::<Vec<_>>(),
        "unknown_tables": comparison.unknown,
        "unreadable": unreadable.map(|row| {
            json!({ "place": place(&row.place), "text": row.text, "why": row.why })
        }).collect::<Vec<_>>(),
        "fails": comparison.fails(),
    })
}

fn table(report: &Report, table: &TableReport) -> Value {
    let count = |outcome: &Outcome| (outcome.id().replace('-', "_"), json!(table.count(*outcome)));
    json!({
        "name": table.name,
        "titles": table.titles,
        "rows": table.rows,
        "coverage": summary::coverage(table),
        "counts": Outcome::ALL.iter().map(count).collect::<Map<_, _>>(),
        "findings": table.findings.iter().filter(|one| report.shows(one)).map(finding).collect::<Vec<_>>(),
    })
}

fn finding(finding: &Finding) -> Value {
    let here = finding.here.as_ref();
    let there = finding.there.as_ref();
    json!({
        "outcome": finding.outcome.id(),
        "message": finding.message,
        "here": here.map(|here| json!({ "name": here.name, "path": here.path, "line": here.line })),
        "there": there.map(|there| json!({ "name": there.name, "table": there.title, "place": place(&there.place) })),
        "reason": finding.reason,
    })
}

fn place(place: &Place) -> Value {
    json!({ "page": place.page, "printed": place.printed, "line": place.line })
}
