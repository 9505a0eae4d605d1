//! Tables of facts in CSV: notes on a manual, made by hand.

use super::export::{Cells, bits, text};
use crate::audit::source::{Kind, Place, Row, Table};
use crate::model::{Area, ControlWord};

/// The columns by which such a table is known.
const KNOWN: [&[&str]; 6] = [
    &["type", "name", "encoding_hex", "access"],
    &["area", "offset_hex", "bits", "size_bytes", "name"],
    &["field", "bits", "name"],
    &["code_hex", "name"],
    &["control", "bit", "name_in_other_sources"],
    &["number", "ia32doc", "kvm", "bochs"],
];

/// Whether a file with these columns is such a table.
pub(super) fn knows(columns: &[String]) -> bool {
    KNOWN.iter().any(|known| known.iter().all(|name| columns.iter().any(|column| column == name)))
}

/// Its tables.
pub(super) fn tables(columns: &[String], rows: &[(Cells, Place)]) -> Vec<Table> {
    let has = |known: &[&str]| known.iter().all(|name| columns.iter().any(|column| column == name));
    let mut tables: Vec<Table> = Vec::new();
    for (cells, place) in rows {
        let row = if has(KNOWN[0]) {
            if text(cells, "access") == Some("high") {
                add_high(&mut tables, cells);
                continue;
            }
            field(cells)
        } else if has(KNOWN[1]) {
            member(cells)
        } else if has(KNOWN[2]) {
            text(cells, "field").zip(text(cells, "bits").and_then(bits)).map(|(title, bits)| {
                (Kind::Bits { msr: None }, title.to_owned(), Row { bits: Some(bits), ..Row::default() })
            })
        } else if has(KNOWN[3]) {
            code(cells)
                .map(|number| (Kind::SvmExits, "exit codes".to_owned(), Row { number: Some(number), ..Row::default() }))
        } else if has(KNOWN[4]) {
            control(cells)
        } else {
            exit(cells)
        };
        let Some((kind, title, row)) = row else {
            continue;
        };
        let name = text(cells, "name").or(text(cells, "name_in_other_sources")).map(str::to_owned).unwrap_or(row.name);
        let reserved =
            name.to_ascii_uppercase().starts_with("RESERVED") || name.to_ascii_lowercase().contains("reserved for");
        let row = Row { name, reserved, place: place.clone(), ..row };
        match tables.iter_mut().find(|table| table.kind == kind && table.title == title) {
            Some(table) => table.rows.push(row),
            None => tables.push(Table { kind, title, complete: false, rows: vec![row] }),
        }
    }
    tables
}

fn hex(text: &str) -> Option<i64> {
    i64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

fn field(cells: &Cells) -> Option<(Kind, String, Row)> {
    let width = match text(cells, "width")? {
        "Natural width" => 0,
        bits => bits.trim_end_matches("-bit").parse().ok()?,
    };
    let kind = text(cells, "type")?;
    let group = match kind {
        "Control" => "control",
        "Read-only data" => "exit_info",
        "Guest state" => "guest",
        "Host state" => "host",
        _ => return None,
    };
    let row = Row {
        number: Some(hex(text(cells, "encoding_hex")?)?),
        width: Some(width),
        group: Some(group.to_owned()),
        // Notes that stop in the middle of a sentence say half of a condition.
        condition: text(cells, "footnote").filter(|note| note.ends_with('.')).map(str::to_owned),
        ..Row::default()
    };
    Some((Kind::VmcsFields, format!("{} {kind} fields", text(cells, "width")?), row))
}

/// The upper half of the field before it.
fn add_high(tables: &mut [Table], cells: &Cells) {
    let name = text(cells, "name");
    let row = tables.last_mut().and_then(|table| table.rows.last_mut());
    if let Some(row) = row.filter(|row| Some(row.name.as_str()) == name) {
        row.high = text(cells, "encoding_hex").and_then(hex);
    }
}

fn member(cells: &Cells) -> Option<(Kind, String, Row)> {
    let area = match text(cells, "area")? {
        "control" => Area::Control,
        "save" => Area::Save,
        "vmsa" => Area::Vmsa,
        _ => return None,
    };
    let offset = text(cells, "offset_hex")?;
    let (first, last) = offset.split_once('-').unwrap_or((offset, ""));
    let range = text(cells, "bits").and_then(bits);
    // Of bits the size says how many bytes they touch, and not how large the member is.
    let size = text(cells, "size_bytes").and_then(|size| size.parse().ok()).filter(|_| range.is_none());
    let row = Row { number: Some(hex(first)?), last: hex(last), bits: range, size, ..Row::default() };
    Some((Kind::Members(area), format!("{} area", area.name()), row))
}

fn code(cells: &Cells) -> Option<i64> {
    let text = text(cells, "code_hex")?;
    match text.strip_prefix('-') {
        Some(text) => hex(text).map(|code| -code),
        None => hex(text),
    }
}

fn control(cells: &Cells) -> Option<(Kind, String, Row)> {
    let name = text(cells, "control")?;
    let (word, _) = *ControlWord::ALL.iter().find(|(_, known)| *known == name)?;
    Some((Kind::Controls(word), name.to_owned(), Row { bits: bits(text(cells, "bit")?), ..Row::default() }))
}

/// An exit with the names that several sources have for it.
fn exit(cells: &Cells) -> Option<(Kind, String, Row)> {
    let mut names = ["ia32doc", "kvm", "bochs"].iter().filter_map(|source| text(cells, source)).map(str::to_owned);
    let name = names.next()?;
    let row = Row { name, aliases: names.collect(), number: text(cells, "number")?.parse().ok(), ..Row::default() };
    Some((Kind::VmxExits, "exit reasons".to_owned(), row))
}
