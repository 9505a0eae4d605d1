//! Appendix A: the bits of the VMX capability MSRs, which are items of lists there.

use super::Found;
use super::lines::Line;
use super::tables::is_heading;
use super::text;
use crate::audit::read::pdf::Word;
use crate::audit::source::{Kind, Row, Table};

/// An item of a list.
#[derive(Debug)]
struct Item {
    words: Vec<Word>,
    line: Line,
}

/// Reads the lists that the text introduces with the name of a VMX capability MSR.
pub fn read(pages: &[Vec<Line>], found: &mut Found) {
    let mut lists: Vec<(String, String, Vec<Item>)> = Vec::new();
    let mut heading = String::new();
    // The paragraph at the left margin, which says what the list below it is about.
    let mut paragraph = String::new();
    let mut in_list = false;
    // Whether the section has no list yet.
    let mut fresh = true;
    let appendix = |line: &&Line| line.place.printed.as_ref().is_some_and(|printed| printed.starts_with("A-"));
    for page in pages {
        let Some(margin) = page.iter().map(|line| line.line.x0()).reduce(f32::min) else { continue };
        for line in page.iter().filter(appendix) {
            let x0 = line.line.x0();
            let Some(first) = line.line.words.first() else { continue };
            if is_heading(line) {
                heading = text::join(line.line.words.iter().skip(1));
                paragraph.clear();
                in_list = false;
                fresh = true;
            } else if matches!(first.text.as_str(), "•" | "—" | "–") {
                if !in_list {
                    in_list = true;
                    // What introduces nothing, a table for one, interrupts a list only.
                    if paragraph.trim_end().ends_with(':') || fresh {
                        lists.push((capability(&paragraph).unwrap_or_default(), heading.clone(), Vec::new()));
                    }
                    fresh = false;
                    paragraph.clear();
                }
                if let Some((_, _, items)) = lists.last_mut() {
                    let words = line.line.words.iter().skip(1).cloned().collect();
                    items.push(Item { words, line: line.clone() });
                }
            } else if x0 > margin + 10.0 {
                if let Some(item) = lists.last_mut().filter(|_| in_list).and_then(|(_, _, items)| items.last_mut()) {
                    item.words.extend(line.line.words.iter().cloned());
                }
            } else if first.text.strip_suffix('.').is_some_and(|mark| mark.bytes().all(|b| b.is_ascii_digit())) {
                // Notes fill the rest of the page.
                break;
            } else {
                in_list = false;
                paragraph.push_str(&line.line.text());
                paragraph.push(' ');
                // Paragraphs that introduce nothing end with a full stop.
                if paragraph.ends_with(". ") {
                    paragraph.clear();
                }
            }
        }
    }
    for (msr, title, items) in lists.into_iter().filter(|(msr, ..)| !msr.is_empty()) {
        let mut rows: Vec<Row> = items.iter().flat_map(rows).collect();
        let parts: Vec<_> = rows.iter().filter_map(|row| row.bits).collect();
        // "Bits 8:6 report …", whose own items are about a bit each.
        rows.retain(|row| {
            let Some([high, low]) = row.bits else { return false };
            high == low || !(low..=high).all(|bit| parts.contains(&[bit, bit]))
        });
        if !rows.is_empty() {
            found.tables.push(Table { kind: Kind::Bits { msr: Some(msr) }, title, complete: false, rows });
        }
    }
}

/// The MSR that a paragraph is about: "The IA32_VMX_MISC MSR (index 485H) …", or the first one.
fn capability(paragraph: &str) -> Option<String> {
    if !paragraph.trim_end().ends_with(':') {
        return None;
    }
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let about = words.windows(3).find(|words| matches!(words, [_, "MSR", "(index"])).and_then(|words| words.first());
    let word = about.or(words.iter().find(|word| word.starts_with("IA32_")))?;
    word.starts_with("IA32_VMX_").then(|| word.trim_end_matches(|c: char| !c.is_alphanumeric()).to_string())
}

/// What "the processor supports execute-only translations" and "the INVEPT instruction is supported" are about.
fn about(name: &str) -> Option<String> {
    const STARTS: [&str; 14] = [
        "is used to ",
        "reports (if set) ",
        "reports ",
        "report ",
        "indicates ",
        "indicate ",
        "contain ",
        "contains ",
        "enumerate ",
        "the logical ",
        "the processor ",
        "processor ",
        "supports ",
        "reports ",
    ];
    let mut short = name;
    for start in STARTS.into_iter().chain(["the support for ", "support for ", "the "]) {
        short = short.strip_prefix(start).unwrap_or(short);
    }
    for end in [" is supported", " are supported"] {
        short = short.strip_suffix(end).unwrap_or(short);
    }
    (short != name && !short.is_empty()).then(|| short.to_string())
}

/// The rows of "Bits 4:0 report …", "If bit 5 is read as 1, …", "Bits 13:9 and bit 31 are reserved …".
fn rows(item: &Item) -> Vec<Row> {
    // Marks of notes apart.
    let text = text::join(item.words.iter().filter(|word| !word.small || word.text.len() > 2 || word.height() > 9.5));
    let text = text.as_str();
    let lower = text.to_lowercase();
    let Some(rest) = ["the values of ", "if ", ""].iter().find_map(|start| {
        let rest = lower.strip_prefix(start)?;
        (rest.starts_with("bit ") || rest.starts_with("bits ")).then_some(rest)
    }) else {
        return Vec::new();
    };
    let words: Vec<&str> = rest.split_whitespace().collect();
    let mut ranges = Vec::new();
    let mut used = 0;
    for (at, word) in words.iter().enumerate() {
        match *word {
            "bit" | "bits" | "and" => (),
            _ => match text::bits(word.trim_end_matches(',')) {
                Some(Some(bits)) => ranges.push(bits),
                _ => break,
            },
        }
        used = at + 1;
    }
    // "If bit 55 in the MSR" is about another one.
    if matches!(words.get(used), Some(&("in" | "of"))) {
        return Vec::new();
    }
    let start = text.len().saturating_sub(rest.len());
    let skipped: usize = words.iter().take(used).map(|word| word.len() + 1).sum();
    let told = text.get((start + skipped).min(text.len())..).unwrap_or_default();
    let name = text::first_sentence(told.strip_prefix("is read as 1, ").unwrap_or(told));
    let reserved = ["are reserved", "is reserved", "is always 0"].iter().any(|nothing| name.starts_with(nothing));
    let aliases: Vec<String> = (!reserved).then(|| about(&name)).flatten().into_iter().collect();
    let row = |bits| Row {
        name: name.clone(),
        aliases: aliases.clone(),
        bits: Some(bits),
        reserved,
        place: item.line.place.clone(),
        ..Row::default()
    };
    ranges.into_iter().map(row).collect()
}
