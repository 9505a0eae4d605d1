//! Our own exports, in JSON or CSV, so that two revisions of the tables can be compared; and tables of facts in CSV.
//!
//! All of them were made from tables or from notes on a manual: none confirms anything.

use std::collections::BTreeMap;

use serde_json::Value;

use super::export_facts;
use super::{Input, Progress, ReadError, Reader};
use crate::audit::source::{Identity, Kind, Place, Row, Source, Standing, Table};
use crate::model::{Area, ControlWord};

/// What of exports is read.
pub(super) const READER: Reader = Reader { what: "an export of tables like these, in JSON or CSV", recognises, read };

/// The cells of a row by column.
pub(super) type Cells = BTreeMap<String, String>;

/// Rows by table; a table of one row for each line of the file.
type Rows = Vec<(String, Cells, Place)>;

/// Tables of exports and the column that only they have, by which a file of one table is known.
const TABLES: [(&str, &[&str]); 10] = [
    ("vmcs", &["encoding", "width", "group"]),
    ("vmx_controls", &["word", "bit", "default1"]),
    ("vmx_exits", &["number", "qualification"]),
    ("svm_exits", &["number", "exit_info1"]),
    ("vmcb", &["area", "clean", "offset"]),
    ("vmsa", &["offset", "size", "member"]),
    ("svm_intercepts", &["word", "bit", "bits"]),
    ("vmcb_clean", &["bit", "bits", "reserved"]),
    ("msrs", &["address"]),
    ("vmx_instruction_errors", &["number", "manual_name"]),
];

fn recognises(input: &Input) -> bool {
    let Ok(text) = std::str::from_utf8(input.bytes) else {
        return false;
    };
    let json = text.trim_start().starts_with(['{', '[']) && text.contains("\"manual_name\"");
    json || header(text).is_some_and(|columns| export_facts::knows(&columns) || of_export(&columns).is_some())
}

fn header(text: &str) -> Option<Vec<String>> {
    let mut reader = csv::Reader::from_reader(text.lines().next()?.trim_start_matches('\u{feff}').as_bytes());
    Some(reader.headers().ok()?.iter().map(str::to_owned).collect())
}

/// What a CSV file has: all tables, or which one.
fn of_export(columns: &[String]) -> Option<&'static str> {
    let has = |name: &str| columns.iter().any(|column| column == name);
    if !has("manual_name") || !has("name") {
        return None;
    }
    if has("table") {
        return Some("");
    }
    TABLES.iter().find(|(_, wanted)| wanted.iter().all(|column| has(column))).map(|(name, _)| *name)
}

fn read(input: &Input, _: Progress) -> Result<Source, ReadError> {
    let text = std::str::from_utf8(input.bytes).map_err(|_| input.error("is no text", "give what `export` prints"))?;
    let text = text.trim_start_matches('\u{feff}');
    let (title, tables) = if text.trim_start().starts_with(['{', '[']) {
        ("an export of tables, JSON".to_owned(), tables(&of_json(input, text)?))
    } else {
        let columns = header(text).unwrap_or_default();
        let rows = of_csv(input, text)?;
        match of_export(&columns) {
            Some(table) => {
                let named = |(_, mut cells, place): (String, Cells, Place)| {
                    let name = cells.remove("table").unwrap_or_else(|| table.to_owned());
                    (name, cells, place)
                };
                ("an export of tables, CSV".to_owned(), tables(&rows.into_iter().map(named).collect()))
            }
            None => {
                let facts: Vec<_> = rows.into_iter().map(|(_, cells, place)| (cells, place)).collect();
                ("a table of facts, CSV".to_owned(), export_facts::tables(&columns, &facts))
            }
        }
    };
    if tables.iter().all(|table| table.rows.is_empty()) {
        return Err(input.error("has no row of a table that this command knows", "EXPORT.md says what `export` prints"));
    }
    let path = input.path.display().to_string();
    Ok(Source {
        path,
        title,
        standing: Standing::Derived,
        identity: Identity::default(),
        tables,
        unreadable: Vec::new(),
    })
}

fn of_json(input: &Input, text: &str) -> Result<Rows, ReadError> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        input.error(&format!("is no JSON: {error}"), "is the file whole? `export --format json` prints such")
    })?;
    let Value::Object(all) = value else {
        return Err(input.error("is JSON, but no object of tables", "`export --format json` prints such"));
    };
    let mut rows = Vec::new();
    for (table, list) in all {
        for (number, row) in list.as_array().into_iter().flatten().enumerate() {
            let Some(row) = row.as_object() else {
                let message = format!("row {} of {table} is no object", number + 1);
                return Err(input.error(&message, "`export --format json` prints such"));
            };
            let mut cells = Cells::new();
            for (column, value) in row {
                match value {
                    Value::Object(parts) => {
                        cells.extend(parts.iter().map(|(part, value)| (format!("{column}_{part}"), cell(value))));
                    }
                    value => {
                        cells.insert(column.clone(), cell(value));
                    }
                }
            }
            rows.push((table.clone(), cells, Place::default()));
        }
    }
    Ok(rows)
}

/// As the CSV export writes it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let separator = if items.iter().all(Value::is_number) { ":" } else { "; " };
            items.iter().map(cell).collect::<Vec<_>>().join(separator)
        }
        other => other.to_string(),
    }
}

fn of_csv(input: &Input, text: &str) -> Result<Rows, ReadError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let error = |error: csv::Error| {
        let line = error.position().map(|position| format!("line {}: ", position.line())).unwrap_or_default();
        input.error(&format!("{line}{error}"), "every line must have as many cells as the first")
    };
    let columns = reader.headers().map_err(error)?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(error)?;
        let line = record.position().and_then(|position| u32::try_from(position.line()).ok());
        let cells = columns.iter().zip(&record).map(|(column, cell)| (column.to_owned(), cell.to_owned()));
        rows.push((String::new(), cells.collect(), Place { line, ..Place::default() }));
    }
    Ok(rows)
}

/// A cell that says something.
pub(super) fn text<'a>(cells: &'a Cells, column: &str) -> Option<&'a str> {
    cells.get(column).map(String::as_str).filter(|text| !text.is_empty())
}

fn number(cells: &Cells, column: &str) -> Option<i64> {
    let text = text(cells, column)?;
    text.parse().ok().or_else(|| text.parse::<u64>().ok().map(|number| number as i64))
}

/// `high:low`, or one bit.
pub(super) fn bits(text: &str) -> Option<[u32; 2]> {
    let (high, low) = text.split_once(':').unwrap_or((text, text));
    let bits = [high.trim().parse().ok()?, low.trim().parse().ok()?];
    (bits[0] >= bits[1] && bits[0] < 8192).then_some(bits)
}

/// The tables of an export.
fn tables(rows: &Rows) -> Vec<Table> {
    // The register that a layout is of.
    let mut msrs: BTreeMap<&str, &str> = BTreeMap::new();
    for (_, cells, _) in rows.iter().filter(|(table, _, _)| table == "msrs") {
        if let (Some(layout), Some(name)) = (text(cells, "layout"), text(cells, "name")) {
            msrs.entry(layout).or_insert(name);
        }
    }
    let mut tables: Vec<Table> = Vec::new();
    for (table, cells, place) in rows {
        let Some((kind, title, row)) = row(table, cells, &msrs) else {
            continue;
        };
        let name = text(cells, "manual_name").or(text(cells, "name")).unwrap_or_default().to_owned();
        let aliases = text(cells, "aliases").into_iter().flat_map(|names| names.split("; ")).chain(text(cells, "name"));
        let row = Row {
            aliases: aliases.filter(|alias| *alias != name).map(str::to_owned).collect(),
            name,
            reserved: text(cells, "reserved").is_some(),
            place: place.clone(),
            ..row
        };
        match tables.iter_mut().find(|table| table.kind == kind && table.title == title) {
            Some(table) => table.rows.push(row),
            None => tables.push(Table { kind, title, complete: true, rows: vec![row] }),
        }
    }
    tables
}

/// The table that a row is of, and its numbers.
fn row(table: &str, cells: &Cells, msrs: &BTreeMap<&str, &str>) -> Option<(Kind, String, Row)> {
    let range = text(cells, "bits").and_then(bits);
    let one = |column| Some(Row { number: Some(number(cells, column)?), ..Row::default() });
    let title = table.to_owned();
    // Titles of layouts are not unique, names of types are.
    let of_type = |column| {
        let name = text(cells, column)?;
        Some((Kind::Bits { msr: msrs.get(name).map(|msr| (*msr).to_owned()) }, name.to_owned()))
    };
    Some(match table {
        "vmcs" => {
            let width = match text(cells, "width")? {
                "natural" => 0,
                bits => bits.parse().ok()?,
            };
            let group = text(cells, "group").map(str::to_owned);
            let condition = text(cells, "exists_if").map(str::to_owned);
            (Kind::VmcsFields, title, Row { width: Some(width), group, condition, ..one("encoding")? })
        }
        "vmx_controls" => {
            let word = text(cells, "word")?;
            let (word, _) = *ControlWord::ALL.iter().find(|(_, name)| *name == word)?;
            (Kind::Controls(word), title, Row { bits: Some(range?), ..Row::default() })
        }
        "vmx_exits" => (Kind::VmxExits, title, one("number")?),
        "vmx_instruction_errors" => (Kind::InstructionErrors, title, one("number")?),
        "svm_exits" => (Kind::SvmExits, title, one("number")?),
        "msrs" => (Kind::Msrs, title, one("address")?),
        "svm_intercepts" => {
            let [high, low] = range?.map(i64::from);
            let first = number(cells, "word")?.checked_mul(32)?;
            let last = (high > low).then_some(first + high);
            (Kind::Intercepts, title, Row { number: Some(first + low), last, ..Row::default() })
        }
        "vmcb" | "vmsa" => {
            let area = match text(cells, "area") {
                Some("control") => Area::Control,
                Some("save") => Area::Save,
                _ => Area::Vmsa,
            };
            let size = number(cells, "size").and_then(|size| u64::try_from(size).ok());
            (Kind::Members(area), title, Row { bits: range, size, ..one("offset")? })
        }
        "vmcb_clean" => {
            (Kind::Bits { msr: None }, "VMCB Clean Field".to_owned(), Row { bits: Some(range?), ..Row::default() })
        }
        "layouts" => {
            let (kind, title) = of_type("layout")?;
            (kind, title, Row { bits: Some(range?), ..Row::default() })
        }
        "enums" => {
            let (kind, title) = of_type("enum")?;
            (kind, title, one("number")?)
        }
        _ => return None,
    })
}
