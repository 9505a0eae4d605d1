//! Rows of the control area: bits at an offset that stands once beside all of them.

use super::amd::{Part, cell, refuse};
use super::amd_rows::{is_reserved, range};
use super::pdf::Line;
use crate::audit::source::{Row, Unreadable};

/// An offset and where its cell stands.
struct Offset {
    number: i64,
    last: Option<i64>,
    y: f32,
}

/// A row of bits with the lines of its function, and where it starts and ends.
struct Bits<'p> {
    bits: Option<[u32; 2]>,
    function: Vec<String>,
    first: &'p Line,
    top: f32,
    bottom: f32,
}

/// The rows of the control area.
pub(super) fn rows(parts: &[Part], unreadable: &mut Vec<Unreadable>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for part in parts {
        let (offsets, mut bits) = read(part);
        if let (Some(line), true) = (part.lines.first(), offsets.is_empty()) {
            refuse(unreadable, part, line, "no row of this page has an offset");
            continue;
        }
        for (offset, members) in offsets.iter().zip(groups(&offsets, &mut bits)) {
            for row in members {
                let name = name(&row.function);
                if name.is_empty() {
                    refuse(unreadable, part, row.first, "it has no function");
                    continue;
                }
                rows.push(Row {
                    reserved: is_reserved(&name),
                    name,
                    number: Some(offset.number),
                    last: offset.last,
                    size: offset.last.and_then(|last| u64::try_from(last - offset.number + 1).ok()),
                    bits: row.bits,
                    place: part.place.clone(),
                    ..Row::default()
                });
            }
        }
    }
    whole(&mut rows);
    rows
}

/// The offsets and the rows of a page.
fn read(part: &Part) -> (Vec<Offset>, Vec<Bits<'_>>) {
    let mut offsets = Vec::new();
    let mut rows: Vec<Bits> = Vec::new();
    for line in &part.lines {
        let label = cell(part, line, 0);
        // `00Ch (vector 3)`, `060h (continued)`; `100h – 107h` has spaces of its own.
        let label = label.split(" (").next().unwrap_or_default();
        let offset = range(label);
        if let Some((number, last)) = offset {
            offsets.push(Offset { number, last, y: line.middle() });
        }
        let (bits, function) = (cell(part, line, 1), cell(part, line, 2));
        let found = range_of_bits(&bits);
        // A range of bytes has no bits; what it is may stand in their column.
        if found.is_some() || offset.is_some() && (!bits.is_empty() || !function.is_empty()) {
            let text = if found.is_some() { function } else { format!("{bits} {function}").trim().to_owned() };
            let (top, bottom) = (line.middle(), line.middle());
            rows.push(Bits { bits: found, function: vec![text], first: line, top, bottom });
        } else if let Some(row) = rows.last_mut().filter(|_| !function.is_empty()) {
            row.function.push(function);
            row.bottom = line.middle();
        }
    }
    (offsets, rows)
}

fn range_of_bits(text: &str) -> Option<[u32; 2]> {
    let (high, low) = text.split_once(':').unwrap_or((text, text));
    let bits = [high.trim().parse().ok()?, low.trim().parse().ok()?];
    (bits[0] >= bits[1] && bits[0] < 4096).then_some(bits)
}

/// Which rows belong to which offset. Its cell is as high as they are together, and the offset stands at its top in some
/// editions and in its middle in others.
fn groups<'p>(offsets: &[Offset], rows: &mut Vec<Bits<'p>>) -> Vec<Vec<Bits<'p>>> {
    const NEAR: f32 = 3.0;
    let mut rest: Vec<_> = std::mem::take(rows).into_iter().collect();
    let at_row = |offset: &Offset| rest.iter().any(|row| (row.top - offset.y).abs() < NEAR);
    let first = rest.first().is_some_and(|row| offsets.first().is_some_and(|offset| (row.top - offset.y).abs() < NEAR));
    let top = first && offsets.iter().all(at_row);
    let mut groups = Vec::new();
    for (at, offset) in offsets.iter().enumerate() {
        let next = offsets.get(at + 1);
        let end = match next {
            None => rest.len(),
            Some(next) if top => rest.iter().take_while(|row| row.top < next.y - NEAR).count(),
            // As far below the offset as the first row is above it.
            Some(_) => {
                let start = rest.first().map_or(offset.y, |row| row.top);
                let end = 2.0 * offset.y - start + NEAR;
                rest.iter().take_while(|row| row.bottom <= end).count().max(1)
            }
        };
        let remaining = rest.split_off(end.min(rest.len()));
        groups.push(std::mem::replace(&mut rest, remaining));
    }
    groups
}

/// What a row is called: what stands before the dash or the sentence that explains it.
fn name(lines: &[String]) -> String {
    // Values and notes have lines of their own.
    let values = |line: &&String| {
        let start = line.trim_start();
        let value = start.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches('h').trim_start();
        let counted = value.len() < start.len() && value.starts_with(['—', '–', '-']);
        counted || start.to_ascii_uppercase().starts_with("NOTE")
    };
    let text = lines.iter().enumerate().take_while(|(at, line)| *at == 0 || !values(line));
    let text = text.map(|(_, line)| line.as_str()).collect::<Vec<_>>().join(" ");
    let identifier =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let mut name = text.split('—').next().unwrap_or_default();
    for mark in [" - ", ": "] {
        if let Some((first, _)) = name.split_once(mark).filter(|(first, _)| identifier(first)) {
            name = first;
        }
    }
    // What follows in another sentence, or in brackets after a name, explains it.
    for mark in [". ", "; ", " ("] {
        name = name.split_once(mark).map_or(name, |(first, _)| first);
    }
    name.trim().trim_end_matches('.').to_owned()
}

/// An offset with one row that starts at bit 0 is a member with so many bytes.
fn whole(rows: &mut [Row]) {
    let alone: Vec<bool> =
        rows.iter().map(|row| rows.iter().filter(|other| other.number == row.number).count() == 1).collect();
    for (row, alone) in rows.iter_mut().zip(alone) {
        if let Some([high, 0]) = row.bits.filter(|[high, _]| alone && high % 8 == 7) {
            row.bits = None;
            row.size = Some(u64::from(high / 8 + 1));
        }
    }
}
