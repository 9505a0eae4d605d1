//! Appendix C, the basic exit reasons, and the VM-instruction errors.

use super::Found;
use super::tables::Block;
use super::text;
use crate::audit::source::{Kind, Row, Table};

/// Reads such a table.
pub fn read(block: &Block, found: &mut Found) {
    let kind = match block.title.as_str() {
        "Basic Exit Reasons" => Kind::VmxExits,
        "VM-Instruction Error Numbers" => Kind::InstructionErrors,
        _ => return,
    };
    let rows = block.rows(|key| range(key).is_some(), found);
    let mut read = Vec::new();
    for row in rows {
        let Some((number, last)) = range(&row.key) else { continue };
        let paragraph = row.paragraph(0, block);
        // A description begins with the name; an error is a description.
        let name = match kind {
            Kind::VmxExits => text::first_sentence(&paragraph),
            _ => paragraph.trim_end_matches('.').to_string(),
        };
        if name.is_empty() {
            found.unreadable(&row.line, "no name");
            continue;
        }
        let reserved = text::is_reserved(&name);
        read.push(Row { name, number: Some(number), last, reserved, place: row.line.place.clone(), ..Row::default() });
    }
    found.tables.push(Table { kind, title: block.title.clone(), complete: true, rows: read });
}

/// `18`, or `65–66`.
fn range(key: &str) -> Option<(i64, Option<i64>)> {
    match key.split_once(['–', '-']) {
        Some((first, last)) => Some((text::decimal(first.trim())?, Some(text::decimal(last.trim())?))),
        None => Some((text::decimal(key)?, None)),
    }
}
