//! What the values of some bits mean, where a table lists them below the bits: "0 = MOV to CR", "1: scale by 2".

use super::Found;
use super::tables::{Block, Row};
use super::text;
use crate::audit::source::{self, Kind, Place, Table};

/// Reads a table whose rows are values.
pub fn read(block: &Block, found: &mut Found) {
    if block.title != "Memory Types Recommended for VMCS and Related Data Structures" {
        return;
    }
    let mut values = Vec::new();
    for row in block.rows(|key| range(key).is_some(), found) {
        let name = row.paragraph(0, block);
        values.extend(range(&row.key).map(|range| value(range, &name, &row.line.place)));
    }
    found.tables.push(Table {
        kind: Kind::Bits { msr: None },
        title: block.title.clone(),
        complete: true,
        rows: values,
    });
}

/// Reads the values that a row of a table of bits lists. Each list makes a table, with the title of the table that it is in;
/// the one that many tables share is that of the first.
pub fn of_row(row: &Row, block: &Block, found: &mut Found) {
    let mut values: Vec<source::Row> = Vec::new();
    for (place, line) in row.indented(row.cells().saturating_sub(1), block) {
        // "8 –15 = R8 – R15"
        let line = line.replace(" –", "–").replace("– ", "–");
        match told(&line) {
            Some((range, name)) => values.push(value(range, name, &place)),
            // A line that goes on, if it is not about something else.
            None => {
                let other = ["•", "—", "Other values", "Undefined"].iter().any(|start| line.starts_with(start));
                if let Some(last) = values.last_mut().filter(|_| !other) {
                    last.name = format!("{} {line}", last.name);
                }
            }
        }
    }
    for value in &mut values {
        value.name = name(&value.name);
    }
    let same = |table: &&Table| {
        let rows = table.rows.iter().map(|row| (row.number, &row.name));
        rows.eq(values.iter().map(|row| (row.number, &row.name)))
    };
    if values.len() > 1 && found.tables.iter().find(same).is_none() {
        let kind = Kind::Bits { msr: None };
        found.tables.push(Table { kind, title: block.title.clone(), complete: false, rows: values });
    }
}

fn value((number, last): (i64, Option<i64>), name: &str, place: &Place) -> source::Row {
    let reserved = text::is_reserved(name) || name.eq_ignore_ascii_case("not used");
    let (number, name, place) = (Some(number), name.to_string(), place.clone());
    source::Row { name, number, last, reserved, place, ..source::Row::default() }
}

/// `6`, or `7–15`.
fn range(text: &str) -> Option<(i64, Option<i64>)> {
    match text.split_once(['–', '-']) {
        Some((first, last)) => Some((text::decimal(first)?, Some(text::decimal(last)?))),
        None => Some((text::decimal(text)?, None)),
    }
}

/// The number and the name in "0 = MOV to CR", "1: scale by 2" and "8–15 represent R8–R15".
fn told(line: &str) -> Option<((i64, Option<i64>), &str)> {
    let (number, name) = line.split_once(' ')?;
    let (number, colon) = number.strip_suffix(':').map_or((number, false), |number| (number, true));
    let rest = name.strip_prefix("= ").or_else(|| name.strip_prefix("represent "));
    let name = if colon { Some(name) } else { rest }?;
    Some((range(number)?, name))
}

/// Without the remark that all processors of today meet, and without what follows the first sentence.
fn name(text: &str) -> String {
    text::first_sentence(text.split(" (used only on ").next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_values() {
        assert_eq!(told("0 = MOV to CR"), Some(((0, None), "MOV to CR")));
        assert_eq!(told("3: scale by 8 (x)"), Some(((3, None), "scale by 8 (x)")));
        assert_eq!(told("8–15 represent R8–R15, respectively"), Some(((8, Some(15)), "R8–R15, respectively")));
        for wrong in ["0", "for CLTS", "1 is one", "Bits 1: one"] {
            assert_eq!(told(wrong), None, "{wrong}");
        }
    }
}
