//! For programs.

use serde_json::{Map, Value, json};

use super::Report;
use crate::diff::{Column, Difference, Place, TableDiff};

pub(super) fn print(report: &Report) -> String {
    let (level, changes, why) = match &report.comparison.api {
        Ok(api) => (Some(api.level().name()), &*api.changes, None),
        Err(why) => (None, &[][..], Some(why)),
    };
    let changes = changes.iter().map(|change| {
        json!({
            "level": change.kind.level().name(),
            "kind": change.kind.id(),
            "path": change.path,
            "old": change.old,
            "new": change.new,
        })
    });
    let all = json!({
        "old": { "source": report.old, "version": report.old_version },
        "new": { "source": report.new, "version": report.new_version },
        "tables": report.comparison.tables.iter().map(table).collect::<Vec<_>>(),
        "api": { "level": level, "unknown": why, "changes": changes.collect::<Vec<_>>() },
        "version": { "needed": report.needed(), "sufficient": report.sufficient() },
    });
    // Values of these kinds always have a JSON form.
    serde_json::to_string_pretty(&all).expect("string keys") + "\n"
}

fn table(table: &TableDiff) -> Value {
    json!({
        "name": table.name,
        "added": table.added.iter().map(place).collect::<Vec<_>>(),
        "removed": table.removed.iter().map(place).collect::<Vec<_>>(),
        "renamed": table.renamed.iter().map(|row| {
            json!({ "old": row.old, "new": row.new, "number": number(&row.number), "alias": row.alias })
        }).collect::<Vec<_>>(),
        "renumbered": table.renumbered.iter().map(difference).collect::<Vec<_>>(),
        "changed": table.changed.iter().map(difference).collect::<Vec<_>>(),
        "reserved": table.reserved.iter().map(|row| {
            json!({
                "name": row.name,
                "change": row.change.name(),
                "other": row.other,
                "number": number(&row.number),
                "columns": columns(&row.columns),
            })
        }).collect::<Vec<_>>(),
        "notes": table.notes.iter().map(difference).collect::<Vec<_>>(),
    })
}

fn place(row: &Place) -> Value {
    json!({ "name": row.name, "number": number(&row.number) })
}

fn difference(row: &Difference) -> Value {
    json!({ "name": row.name, "columns": columns(&row.columns) })
}

fn number(number: &[(&'static str, Value)]) -> Value {
    Value::Object(number.iter().map(|(column, value)| ((*column).to_owned(), value.clone())).collect())
}

fn columns(columns: &[Column]) -> Value {
    let change = |column: &Column| (column.name.to_owned(), json!({ "old": column.old, "new": column.new }));
    Value::Object(columns.iter().map(change).collect::<Map<_, _>>())
}
