//! Volume 4: the architectural MSRs, and below each the bits that it has.
//!
//! The titles of this table's columns are centred, so the columns are found by what is in them.

mod address;
mod names;

use super::Found;
use super::lines::Line;
use super::tables::{Block, Part, common_starts};
use super::text;
use crate::audit::read::pdf::Word;
use crate::audit::source::{Kind, Row, Table};
use address::{Address, address, is_formula, upper};
use names::{alias, is_name, title, without_access};

/// Where the columns of a part of the table begin.
#[derive(Clone, Copy)]
struct Columns {
    name: f32,
    description: f32,
    comment: f32,
}

/// What a line is.
enum What {
    /// The first line of an MSR, or of a range of them; the last one may stand on the next line.
    Msr { first: i64, last: Option<i64>, range: bool },
    /// The first line of an MSR whose address goes on in the next line: "C000_", "0081H".
    Upper(String),
    /// An MSR whose address is calculated: "C90H+n".
    Formula,
    /// The first line of bits.
    Bits(Option<[u32; 2]>),
    /// Another.
    More,
}

/// Reads such a table.
pub fn read(block: &Block, found: &mut Found) {
    if block.title != "IA-32 Architectural MSRs" {
        return;
    }
    let mut reader = Reader {
        block,
        found,
        msrs: Vec::new(),
        layouts: Vec::new(),
        open: Vec::new(),
        upper: None,
        last: false,
        full: false,
        range: false,
    };
    let mut columns = None;
    for part in &block.parts {
        columns = Columns::of(part).or(columns);
        let Some(columns) = columns else { continue };
        for line in &part.lines {
            reader.line(line, columns);
        }
        reader.close();
    }
    let Reader { mut msrs, layouts, .. } = reader;
    // Each has an entry in both.
    let layouts: Vec<Table> =
        layouts.into_iter().zip(&msrs).filter(|(_, msr)| msr.number.is_some()).map(|(layout, _)| layout).collect();
    msrs.retain(|msr| msr.number.is_some());
    // "Reserved MSR Address Space for CAT Mask Registers" stands above the registers that there are.
    let named: Vec<Option<i64>> = msrs.iter().filter(|msr| !msr.reserved).map(|msr| msr.number).collect();
    msrs.retain(|msr| !msr.reserved || !named.contains(&msr.number));
    found.tables.push(Table { kind: Kind::Msrs, title: block.title.clone(), complete: false, rows: msrs });
    found.tables.extend(layouts.into_iter().filter(|layout| !layout.rows.is_empty()));
}

impl Columns {
    fn of(part: &Part) -> Option<Columns> {
        const SLACK: f32 = 5.0;
        let common = common_starts(&part.lines);
        // Where the word behind the two numbers begins; or, on a page without an MSR, bits.
        let name = part.lines.iter().find_map(|line| {
            let at = address(line).map(|address| address.words).or(upper(line).map(|_| 1))?;
            line.line.words.get(at).map(|word| word.x0)
        });
        let bits = || {
            let lines = part.lines.iter().filter_map(|line| line.line.words.first());
            lines.filter(|word| text::bits(&word.text).is_some()).map(|word| word.x0).reduce(f32::min)
        };
        let name = name.or_else(bits)?;
        let most = |from: f32, to: f32| {
            let columns = common.iter().filter(|(start, _)| (from..to).contains(start));
            columns.max_by_key(|(_, count)| *count).map(|(start, _)| *start)
        };
        let description = most(name + 60.0, name + 220.0)?;
        let comment = most(description + 110.0, f32::MAX).unwrap_or(f32::MAX);
        Some(Columns { name: name - SLACK, description: description - SLACK, comment: comment - SLACK })
    }
}
struct Reader<'a> {
    block: &'a Block,
    found: &'a mut Found,
    msrs: Vec<Row>,
    layouts: Vec<Table>,
    /// The first lines of the description of the bits that were read last.
    open: Vec<Vec<Word>>,
    /// The upper half of the last MSR's address.
    upper: Option<String>,
    /// Whether that is the last address of its range.
    last: bool,
    /// Whether the name of the last MSR goes up to the edge of its column.
    full: bool,
    /// Whether the last MSR is the first of a range whose end is not known yet.
    range: bool,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line, columns: Columns) {
        let within = |from: f32, to: f32| -> Vec<Word> {
            line.line.words.iter().filter(|word| (from..to).contains(&word.x0) && !word.small).cloned().collect()
        };
        let edge = columns.description - 15.0;
        let (name, description) =
            (within(columns.name, columns.description), within(columns.description, columns.comment));
        let is_full = name.last().is_some_and(|word| word.x1 > edge);
        let key: String = text::join(&name);
        let addressed = line.line.x0() < columns.name;
        let what = match address(line) {
            Some(address) if addressed && self.upper.is_some() => {
                self.lower(line, address.first);
                What::More
            }
            Some(address) if addressed && self.range => {
                self.range = false;
                if let Some(row) = self.msrs.last_mut() {
                    row.last = Some(address.first);
                }
                What::More
            }
            // An address beside which no name stands is the end of a range.
            Some(address) if addressed && name.is_empty() => {
                match self.msrs.last_mut().filter(|row| row.number.is_some_and(|first| first < address.first)) {
                    Some(row) => row.last = Some(address.first),
                    None => self.found.unreadable(line, "an address without a name"),
                }
                What::More
            }
            Some(Address { first, last, open: range, .. }) if addressed => What::Msr { first, last, range },
            _ if addressed => match upper(line) {
                Some(upper) => What::Upper(upper),
                None if is_formula(line) => What::Formula,
                // The bits below are those of an MSR that is not known, not of the one above.
                None if line.line.words.iter().any(|word| word.x0 < columns.name && word.text.len() > 3) => {
                    self.found.unreadable(line, "an address that is no number in hexadecimal digits");
                    What::Formula
                }
                None => What::More,
            },
            _ if text::is_open_range(&key.replace(' ', "")) => What::Bits(None),
            _ => text::bits(&key).map_or(What::More, What::Bits),
        };
        match what {
            What::Msr { first, last, range } => {
                self.close();
                self.msr(line, &name, Some(first), last);
                self.full = is_full;
                self.range = range;
            }
            What::Formula => {
                self.close();
                self.msr(line, &name, None, None);
            }
            // Without a name it is the end of a range.
            What::Upper(upper) if name.is_empty() => {
                self.upper = Some(upper);
                self.last = true;
            }
            What::Upper(upper) => {
                self.close();
                self.msr(line, &name, None, None);
                self.upper = Some(upper);
            }
            What::Bits(bits) => {
                self.close();
                self.bits(line, bits, description);
            }
            What::More if self.open.is_empty() => self.more_of_the_name(&key, line),
            What::More => {
                if !description.is_empty() {
                    self.open.push(description);
                }
                if key.starts_with(|c: char| c.is_ascii_digit()) {
                    self.found.unreadable(line, "bits that are no range");
                }
            }
        }
    }

    /// The lower half of the last MSR's address.
    fn lower(&mut self, line: &Line, lower: i64) {
        let upper = self.upper.take().and_then(|upper| i64::from_str_radix(&upper, 16).ok());
        match (upper, self.msrs.last_mut()) {
            (Some(upper), Some(row)) if (0..0x1_0000).contains(&lower) => {
                let number = Some(upper << 16 | lower);
                *(if std::mem::take(&mut self.last) { &mut row.last } else { &mut row.number }) = number;
            }
            _ => self.found.unreadable(line, "the lower half of an address without an upper one"),
        }
    }

    fn msr(&mut self, line: &Line, name: &[Word], first: Option<i64>, last: Option<i64>) {
        if self.upper.take().is_some() || std::mem::take(&mut self.range) {
            self.found.unreadable(line, "the address of the MSR above ends on another line, which was not found");
        }
        let text = text::join(name);
        let (name, rest) = text.split_once(' ').unwrap_or((&text, ""));
        // In text the mark of a note that these have is a part of the name.
        let marked = name.strip_prefix("IA32_MC").and_then(|name| name.split_once("_ADDR"));
        let name = match marked {
            Some((_, mark)) if !mark.is_empty() => name.trim_end_matches(|c: char| c.is_ascii_digit()),
            _ => name,
        };
        let mut row = Row { name: name.into(), number: first, last, place: line.place.clone(), ..Row::default() };
        let reserved = name.is_empty() || text::is_reserved(name);
        if reserved {
            row.reserved = true;
            row.name = "Reserved".into();
        }
        if !reserved {
            row.aliases.extend(alias(rest));
        }
        self.msrs.push(row);
        let kind = Kind::Bits { msr: Some(name.to_string()) };
        self.layouts.push(Table { kind, title: self.block.title.clone(), complete: true, rows: Vec::new() });
    }

    fn more_of_the_name(&mut self, text: &str, line: &Line) {
        let bits_follow = self.layouts.last().is_some_and(|layout| !layout.rows.is_empty());
        let Some(row) = self.msrs.last_mut().filter(|_| !text.is_empty()) else { return };
        let begins = text.starts_with(|c: char| c.is_ascii_digit());
        if begins && (bits_follow || text.contains(':')) {
            self.found.unreadable(line, "bits that are no range");
        } else if bits_follow {
            // The name is complete.
        } else if text.starts_with('(') {
            row.aliases.extend(alias(text));
        } else if !row.reserved && (row.name.ends_with('_') || text.starts_with('_') || self.full && is_name(text)) {
            row.name.push_str(text);
            if let Some(Table { kind: Kind::Bits { msr }, .. }) = self.layouts.last_mut() {
                *msr = Some(row.name.clone());
            }
        }
    }

    fn bits(&mut self, line: &Line, bits: Option<[u32; 2]>, description: Vec<Word>) {
        let Some(layout) = self.layouts.last_mut() else {
            return self.found.unreadable(line, "bits of no MSR");
        };
        let Some(bits) = bits else {
            layout.complete = false;
            return;
        };
        layout.rows.push(Row { bits: Some(bits), place: line.place.clone(), ..Row::default() });
        self.open.push(description);
    }

    /// Names the bits that were read last.
    fn close(&mut self) {
        let lines = std::mem::take(&mut self.open);
        let Some(row) = self.layouts.last_mut().and_then(|layout| layout.rows.last_mut()).filter(|_| !lines.is_empty())
        else {
            return;
        };
        let mut words: Vec<Word> = Vec::new();
        for line in lines {
            let y = |words: &[Word]| words.last().map_or(0.0, Word::middle);
            if !words.is_empty() && (y(&line) - y(&words) > 12.5 || y(&line) < y(&words)) {
                break;
            }
            words.extend(line);
        }
        let description = text::join(&words);
        row.name = title(&description);
        // "SYSCALL Enable: IA32_EFER.SCE (R/W)"
        let long = without_access(&text::first_sentence(&description));
        row.aliases.extend((long != row.name && !long.is_empty()).then_some(long));
        row.reserved = row.name.is_empty() || text::is_reserved(&row.name);
        if row.name.is_empty() {
            row.name = "Reserved".into();
        }
    }
}
