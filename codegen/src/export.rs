//! The tables for other programs: JSON and CSV. `EXPORT.md` of this crate describes every column.

mod amd;
mod checks;
mod intel;
mod map;
mod msr_policy;
mod types;

use std::io;

use serde_json::{Map, Value, json};

use crate::model::{Head, ModuleId, Spec};

/// A table: rows of values by column.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its rows; each has the same columns.
    pub rows: Vec<Row>,
}

/// A row.
pub type Row = Vec<(&'static str, Value)>;

/// All tables, in a fixed order.
pub fn tables(spec: &Spec) -> Vec<Table> {
    vec![
        intel::vmcs(spec),
        intel::vmx_controls(spec),
        intel::vmx_control_words(spec),
        intel::vmx_exits(spec),
        intel::vmx_instruction_errors(spec),
        amd::vmcb(spec),
        amd::vmsa(spec),
        amd::vmcb_clean(spec),
        amd::svm_intercepts(spec),
        amd::svm_intercept_words(spec),
        amd::svm_exits(spec),
        types::msrs(spec),
        types::types(spec),
        types::layouts(spec),
        types::enums(spec),
        map::exit_map(spec),
        map::state_map(spec),
        msr_policy::msr_policy(spec),
        msr_policy::msr_bitmaps(spec),
        checks::entry_checks(spec),
        checks::entry_definitions(spec),
        types::manuals(spec),
    ]
}

/// A row with what all rows have, and `own` columns between the names and the citation.
fn row(spec: &Spec, module: ModuleId, head: &Head, own: impl IntoIterator<Item = (&'static str, Value)>) -> Row {
    let cite = &head.cite;
    let rev = spec.manual(&cite.doc.value).map(|manual| manual.revision.clone());
    let mut row: Row = vec![
        ("name", json!(head.name())),
        ("manual_name", json!(head.manual_name)),
        ("vendor", json!(spec.vendor(module).name())),
    ];
    row.extend(own);
    row.extend([
        ("aliases", json!(head.aliases.iter().map(|alias| &alias.value).collect::<Vec<_>>())),
        ("note", json!(head.note)),
        ("cite", json!({ "doc": cite.doc.value, "rev": rev, "title": cite.title })),
        ("page", json!(cite.page.as_ref().map(|page| &page.value))),
        ("unchecked", json!(cite.unchecked)),
    ]);
    row
}

/// One object with an array per table.
pub fn json(tables: &[Table]) -> String {
    let rows = |table: &Table| {
        let object =
            |row: &Row| row.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<Map<_, _>>();
        Value::Array(table.rows.iter().map(|row| Value::Object(object(row))).collect())
    };
    let all: Map<_, _> = tables.iter().map(|table| (table.name.to_owned(), rows(table))).collect();
    // Values of these kinds always have a JSON form.
    serde_json::to_string_pretty(&all).expect("string keys") + "\n"
}

/// A header and a line per row. With `named` the first column is the name of the table, and a row has nothing in columns
/// that only other tables have. The parts of a citation are columns of their own.
pub fn csv(tables: &[Table], named: bool) -> io::Result<String> {
    let mut columns: Vec<String> = Vec::new();
    let flat: Vec<_> = tables.iter().flat_map(|t| t.rows.iter().map(|row| (t.name, flattened(row)))).collect();
    for (key, _) in flat.iter().flat_map(|(_, row)| row) {
        if !columns.contains(key) {
            columns.push(key.clone());
        }
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(named.then_some("table").into_iter().chain(columns.iter().map(String::as_str)))?;
    for (name, row) in &flat {
        let cell = |column| row.iter().find(|(key, _)| key == column).map_or("", |(_, text)| text.as_str());
        writer.write_record(named.then_some(*name).into_iter().chain(columns.iter().map(cell)))?;
    }
    let bytes = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// The columns that are objects, with their parts: in CSV columns of their own, in rows without an object too.
const OBJECTS: [(&str, [&str; 3]); 2] = [("cite", ["doc", "rev", "title"]), ("cpuid", ["leaf", "subleaf", "register"])];

/// The cells of a row: objects by part, lists joined, nothing for null.
fn flattened(row: &Row) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    for (key, value) in row {
        match OBJECTS.iter().find(|(object, _)| object == key) {
            Some((_, parts)) => cells.extend(parts.map(|part| (format!("{key}_{part}"), cell(&value[part])))),
            None => cells.push(((*key).to_owned(), cell(value))),
        }
    }
    cells
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        // `[high, low]` as manuals write it.
        Value::Array(items) if items.iter().all(Value::is_number) => {
            items.iter().map(Value::to_string).collect::<Vec<_>>().join(":")
        }
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}
