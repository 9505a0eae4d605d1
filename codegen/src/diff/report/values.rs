//! Values of the export as the tables write them.

use serde_json::Value;

use crate::diff::{Column, TableDiff};

/// A value; nothing for null.
pub(super) fn shown(table: &str, column: &str, value: &Value) -> String {
    let hex =
        matches!(column, "encoding" | "address" | "offset" | "reset") || (table, column) == ("svm_exits", "number");
    match value {
        Value::Null => "none".to_owned(),
        Value::Number(number) if hex => number.as_u64().map_or_else(|| number.to_string(), |n| format!("{n:#x}")),
        Value::String(text) => text.clone(),
        Value::Array(items) if column == "bits" => items.iter().map(Value::to_string).collect::<Vec<_>>().join(":"),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(|item| shown(table, column, item)).collect::<Vec<_>>().join(", "),
        Value::Object(parts) => parts.values().map(|part| shown(table, column, part)).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// `encoding 0x681e`
pub(super) fn number(table: &TableDiff, number: &[(&'static str, Value)]) -> String {
    let parts = number.iter().map(|(column, value)| format!("{column} {}", shown(table.name, column, value)));
    parts.collect::<Vec<_>>().join(", ")
}

/// `encoding 0x681c -> 0x681e`
pub(super) fn columns(table: &TableDiff, columns: &[Column]) -> String {
    let change = |column: &Column| {
        let side = |value| shown(table.name, column.name, value);
        format!("{} {} -> {}", column.name, side(&column.old), side(&column.new))
    };
    columns.iter().map(change).collect::<Vec<_>>().join(", ")
}

/// "3 added, 1 renumbered"
pub(super) fn counts(table: &TableDiff) -> String {
    let counts = [
        (table.added.len(), "added"),
        (table.removed.len(), "removed"),
        (table.renamed.len(), "renamed"),
        (table.renumbered.len(), "renumbered"),
        (table.changed.len(), "changed"),
        (table.reserved.len(), "reserved"),
        (table.notes.len(), if table.notes.len() == 1 { "note or citation" } else { "notes or citations" }),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// The rows of a table: a sign and a text for each.
pub(super) fn lines(table: &TableDiff, verbose: bool) -> Vec<(&'static str, String)> {
    let with = |name: &str, rest: String| if rest.is_empty() { name.to_owned() } else { format!("{name}: {rest}") };
    let mut lines = Vec::new();
    lines.extend(table.removed.iter().map(|row| ("removed", with(&row.name, number(table, &row.number)))));
    lines.extend(table.added.iter().map(|row| ("added", with(&row.name, number(table, &row.number)))));
    lines.extend(table.renamed.iter().map(|row| {
        let alias = if row.alias { "; one lists the other as an alias" } else { "" };
        ("renamed", with(&format!("{} -> {}", row.old, row.new), number(table, &row.number) + alias))
    }));
    let changes = [("renumbered", &table.renumbered), ("changed", &table.changed)];
    let notes = verbose.then_some(("words", &table.notes));
    for (word, rows) in changes {
        lines.extend(rows.iter().map(|row| (word, with(&row.name, columns(table, &row.columns)))));
    }
    lines.extend(table.reserved.iter().map(|row| {
        let what = match &row.other {
            Some(other) if *other == row.name => format!("{} under the same name", row.change.name()),
            Some(other) if row.change == crate::diff::ReservedChange::Named => format!("is {other} now"),
            Some(other) => format!("was {other}"),
            None if row.columns.is_empty() => format!("{}, {}", row.change.name(), number(table, &row.number)),
            None => columns(table, &row.columns),
        };
        ("reserved", with(&row.name, what))
    }));
    if let Some((word, rows)) = notes {
        lines.extend(rows.iter().map(|row| (word, with(&row.name, columns(table, &row.columns)))));
    }
    lines
}
