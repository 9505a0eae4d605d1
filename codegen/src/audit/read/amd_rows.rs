//! Rows of the tables that have one number each: the state save area, the VMSA, exit codes.

use super::amd::{Part, cell, column, refuse};
use super::pdf::Line;
use crate::audit::source::{Row, Unreadable};
use crate::model::Area;

/// `0E8h–0EFh` and `100h`: the first number, and the last of a range.
pub(super) fn range(text: &str) -> Option<(i64, Option<i64>)> {
    let text = text.replace(['–', '—', '−'], "-").replace(' ', "");
    if let Some(code) = text.strip_prefix('-') {
        return Some((-code.parse::<i64>().ok()?, None));
    }
    let number = |text: &str| {
        let digits = text.strip_suffix('h').unwrap_or(text).replace('_', "");
        // Codes are written in upper case; lower case is a word.
        let known = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
        (known && digits.len() <= 8).then(|| i64::from_str_radix(&digits, 16).ok()).flatten()
    };
    match text.split_once('-') {
        // `2A0-2DFh` is in the manual.
        Some((first, last)) if last.ends_with('h') => Some((number(first)?, Some(number(last)?))),
        None if text.ends_with('h') => Some((number(&text)?, None)),
        _ => None,
    }
}

/// The words that say a size, and their bytes.
fn size(text: &str) -> Option<u64> {
    match text {
        "byte" => Some(1),
        "word" => Some(2),
        "dword" => Some(4),
        "qword" => Some(8),
        _ => text.strip_suffix("bytes").or_else(|| text.strip_suffix("byte"))?.trim().parse().ok(),
    }
}

pub(super) fn is_reserved(name: &str) -> bool {
    name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("reserved"))
}

/// A row with the lines that belong to it.
struct Entry<'p> {
    part: &'p Part,
    first: &'p Line,
    number: i64,
    last: Option<i64>,
    /// It goes on to the end of the area: `7C8h to ends of VMCB`.
    open: bool,
    /// The text of each column but the first, a line each.
    cells: Vec<Vec<String>>,
}

/// The rows whose number is in the first column. Words that stand before any row of the page belong to the last one of the
/// page before.
fn entries<'p>(parts: &'p [Part], unreadable: &mut Vec<Unreadable>) -> Vec<Entry<'p>> {
    let mut entries: Vec<Entry> = Vec::new();
    for part in parts {
        for line in &part.lines {
            let number = cell(part, line, 0);
            let open = number.contains(" to end");
            let mut found = range(&number);
            // Codes may be so wide that the next column starts in theirs.
            let mut spilled = String::new();
            if let (None, Some((short, rest))) = (found, number.split_once(' ')) {
                found = range(short);
                spilled = if found.is_some() && !rest.starts_with('(') && !open { rest.to_owned() } else { spilled };
            }
            let columns = part.columns.len();
            let texts = (1..columns).map(|at| match at {
                1 => format!("{spilled} {}", cell(part, line, 1)).trim().to_owned(),
                _ => cell(part, line, at),
            });
            match found {
                Some((number, last)) => {
                    // What is between the offset and the name says where the area ends.
                    let name = |text: String| text.find("RESERVED").map_or(String::new(), |at| text[at..].to_owned());
                    let texts = texts.map(|text| if open { name(text) } else { text });
                    let cells = texts.map(|text| if text.is_empty() { Vec::new() } else { vec![text] }).collect();
                    entries.push(Entry { part, first: line, number, last, open, cells });
                }
                None if entries.is_empty() => refuse(unreadable, part, line, "no row begins here"),
                None => {
                    if let Some(entry) = entries.last_mut() {
                        for (cell, text) in entry.cells.iter_mut().zip(texts).filter(|(_, text)| !text.is_empty()) {
                            cell.push(text);
                        }
                    }
                }
            }
        }
    }
    entries
}

/// The lines of a cell as one name: `IBS_FETCH_` goes on without a space.
fn joined(lines: &[String]) -> String {
    let mut all = String::new();
    for line in lines {
        if !all.is_empty() && !all.ends_with('_') {
            all.push(' ');
        }
        all.push_str(line);
    }
    all
}

/// The members of the state save area or of the VMSA.
pub(super) fn members(area: Area, parts: &[Part], unreadable: &mut Vec<Unreadable>) -> Vec<Row> {
    const PARTS: [&str; 4] = ["selector", "attrib", "limit", "base"];
    let registers = registers(parts, &PARTS);
    let mut rows = Vec::new();
    for entry in entries(parts, unreadable) {
        let (place, text) =
            (entry.part.place.clone(), |at: usize| joined(entry.cells.get(at).map_or(&[], Vec::as_slice)));
        let mut name = text(1);
        let mut stated = size(&text(0));
        if stated.is_none() && !text(0).is_empty() {
            // The size is left out of some rows, and their name stands in its place.
            name = format!("{} {name}", text(0)).trim().to_owned();
        }
        let segment = PARTS.iter().find(|part| name.split(' ').any(|word| word == **part));
        if let Some(part) = segment {
            match registers.iter().find(|(block, _)| *block == entry.number & !0xf) {
                Some((_, register)) => name = format!("{register} {part}"),
                None => refuse(unreadable, entry.part, entry.first, "which register it is of is not said"),
            }
        }
        if let Some(last) = entry.last {
            let bytes = u64::try_from(last - entry.number + 1).ok();
            if let (Some(stated), Some(bytes)) = (stated, bytes.filter(|bytes| Some(*bytes) != stated)) {
                let why = format!("it says {stated} bytes, and its offsets are {bytes}");
                refuse(unreadable, entry.part, entry.first, &why);
            }
            stated = bytes.or(stated);
        }
        if name.is_empty() {
            refuse(unreadable, entry.part, entry.first, "it has no name");
            continue;
        }
        if entry.open {
            stated = u64::try_from(entry.number).ok().and_then(|start| area.size().checked_sub(start));
        }
        let reserved = is_reserved(&name) || segment.is_some() && is_reserved(&text(2));
        let row = Row { number: Some(entry.number), size: stated, place, ..Row::default() };
        let notes: Vec<_> = entry.cells.iter().skip(2).flatten().map(String::as_str).collect();
        rows.push(Row { name, last: entry.last, reserved, ..row.clone() });
        rows.extend(noted_bits(&notes).into_iter().map(|(bits, name)| Row {
            reserved: is_reserved(&name),
            name,
            bits: Some(bits),
            size: None,
            ..row.clone()
        }));
    }
    rows
}

/// Which register each block of 16 bytes is of. The name stands once beside four rows: at the first, or in the middle.
fn registers(parts: &[Part], members: &[&str]) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    for part in parts {
        // The blocks of the page, with the lines they reach over.
        let mut blocks: Vec<(i64, f32, f32)> = Vec::new();
        for line in &part.lines {
            let Some((number, _)) = range(&cell(part, line, 0)) else {
                continue;
            };
            if cell(part, line, 2).split(' ').any(|word| members.contains(&word)) {
                let block = number & !0xf;
                match blocks.last_mut().filter(|(last, _, _)| *last == block) {
                    Some((_, _, end)) => *end = line.middle(),
                    None => blocks.push((block, line.middle(), line.middle())),
                }
            }
        }
        for line in &part.lines {
            let name = line.words.iter().find(|word| {
                column(&part.columns, word.x0) == 2
                    && (2..=4).contains(&word.text.len())
                    && word.text.bytes().all(|byte| byte.is_ascii_uppercase())
            });
            let Some(name) = name else { continue };
            let near = |(_, start, end): &&(i64, f32, f32)| (start - 2.0..=end + 2.0).contains(&line.middle());
            if let Some((block, _, _)) = blocks.iter().find(near) {
                found.push((*block, name.text.clone()));
            }
        }
    }
    found
}

/// Bits that the notes of a row list: `• Bits 15:13: Reserved, SBZ`.
fn noted_bits(lines: &[&str]) -> Vec<([u32; 2], String)> {
    let mut found: Vec<([u32; 2], String)> = Vec::new();
    let mut open = false;
    for line in lines {
        let item = line.strip_prefix('•').map(str::trim_start);
        let bits = item.and_then(|item| item.strip_prefix("Bits ").or_else(|| item.strip_prefix("Bit ")));
        if let Some(bits) = bits {
            let end = bits.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(bits.len());
            let (numbers, name) = bits.split_at(end);
            let numbers = numbers.trim_end_matches(':');
            let (high, low) = numbers.split_once(':').unwrap_or((numbers, numbers));
            if let (Ok(high), Ok(low)) = (high.parse(), low.parse()) {
                found.push(([high, low], name.trim().trim_end_matches('*').trim().to_owned()));
                open = true;
                continue;
            }
        }
        // The rest of an item's line; what follows the items begins with a mark of its own.
        open &= item.is_none() && !line.starts_with('*');
        if let Some((_, name)) = found.last_mut().filter(|(_, name)| open && name.is_empty()) {
            name.push_str(line.trim());
        }
    }
    found
}

/// The exit codes.
pub(super) fn exits(parts: &[Part], unreadable: &mut Vec<Unreadable>) -> Vec<Row> {
    let mut rows = Vec::new();
    for entry in entries(parts, unreadable) {
        // A name is one word; what follows it may be the next column, a space away.
        let words = entry.cells.iter().flatten().flat_map(|cell| cell.split(' ')).find(|word| !word.is_empty());
        let Some(name) = words.map(str::to_owned) else {
            refuse(unreadable, entry.part, entry.first, "it has no name");
            continue;
        };
        let place = entry.part.place.clone();
        rows.push(Row { name, number: Some(entry.number), last: entry.last, place, ..Row::default() });
    }
    rows
}
