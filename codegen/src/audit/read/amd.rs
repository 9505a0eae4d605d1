//! AMD's Architecture Programmer's Manual, volume 2: the layouts of the VMCB and the VMSA, and the exit codes of SVM.
//!
//! A table is found by its title. Where a page has its lines is taken from their coordinates, so that the order in which
//! the file has them does not matter: continuation captions, for instance, follow their rows there.

use super::amd_control;
use super::amd_rows;
use super::date;
use super::pdf::{self, Line, Page};
use super::{Input, Progress, ReadError, Reader};
use crate::audit::source::{Identity, Kind, Place, Source, Standing, Table, Unreadable};
use crate::model::Area;

/// The reader.
pub(super) const READER: Reader = Reader { what: "AMD APM volume 2", recognises, read };

/// The publisher's number of the volume.
const ORDER: &str = "24593";

/// The titles of the tables, without their numbers, and what is in them.
const TITLES: [(&str, Contents); 4] = [
    ("VMCB Layout, Control Area", Contents::Control),
    ("VMCB Layout, State Save Area", Contents::Members(Area::Save)),
    ("VMSA Layout, State Save Area for SEV-ES", Contents::Members(Area::Vmsa)),
    ("SVM Intercept Codes", Contents::Exits),
];

#[derive(Clone, Copy, PartialEq)]
enum Contents {
    Control,
    Members(Area),
    Exits,
}

/// The part of a table that is on one page.
pub(super) struct Part {
    /// Where each column starts.
    pub(super) columns: Vec<f32>,
    pub(super) lines: Vec<Line>,
    pub(super) place: Place,
}

/// A table on all of its pages.
struct Block {
    contents: Contents,
    title: &'static str,
    parts: Vec<Part>,
}

fn recognises(input: &Input) -> bool {
    edition(&pdf::first_pages(input, 3)).is_some()
}

fn read(input: &Input, progress: Progress) -> Result<Source, ReadError> {
    let pages = pdf::pages(input, progress)?;
    let Some(edition) = edition(&pages) else {
        return Err(input.error("does not say that it is AMD's APM volume 2", "give the whole PDF"));
    };
    let mut tables = Vec::new();
    let mut unreadable = Vec::new();
    for block in blocks(&pages) {
        let (kind, rows) = match block.contents {
            Contents::Control => (Kind::Members(Area::Control), amd_control::rows(&block.parts, &mut unreadable)),
            Contents::Members(area) => (Kind::Members(area), amd_rows::members(area, &block.parts, &mut unreadable)),
            Contents::Exits => (Kind::SvmExits, amd_rows::exits(&block.parts, &mut unreadable)),
        };
        if !rows.is_empty() {
            // The bits of the VMSA's members have tables of their own.
            let complete = block.contents != Contents::Members(Area::Vmsa);
            tables.push(Table { kind, title: block.title.to_owned(), complete, rows });
        }
    }
    if tables.is_empty() {
        let help = "those are in appendices B and C of volume 2";
        let message = format!("is {}, which has none of the tables that are compared", edition.title());
        return Err(input.error(&message, help));
    }
    let identity = Identity {
        sha256: Some(pdf::sha256(input.bytes)),
        order: Some(ORDER.to_owned()),
        revision: edition.revision.clone(),
        date: edition.date.clone(),
        id: None,
    };
    let standing = if edition.facsimile { Standing::Derived } else { Standing::Manual };
    let path = input.path.display().to_string();
    Ok(Source { path, title: edition.title(), standing, identity, tables, unreadable })
}

/// What a document says of itself.
#[derive(Default)]
struct Edition {
    revision: Option<String>,
    date: Option<String>,
    /// Set by others from the facts.
    facsimile: bool,
}

impl Edition {
    fn title(&self) -> String {
        let revision = self.revision.as_deref().map(|revision| format!(", revision {revision}")).unwrap_or_default();
        let what = if self.facsimile { "a facsimile of AMD64 APM volume 2" } else { "AMD64 APM volume 2" };
        format!("{what}{revision}")
    }
}

/// The edition, from the running heads: `24593—Rev. 3.44—March 2026`.
fn edition(pages: &[Page]) -> Option<Edition> {
    let lines = || pages.iter().flat_map(|page| &page.lines).map(Line::text);
    let amd = lines().any(|line| line.contains("AMD64") || line.contains("Advanced Micro Devices"));
    let order = |line: &String| line.split(|c: char| !c.is_ascii_digit()).any(|word| word == ORDER);
    if !amd || !lines().any(|line| order(&line)) {
        return None;
    }
    // Facsimiles made for tests are called so on their first page or in their footers.
    let facsimile = lines().any(|line| {
        let line = line.to_ascii_lowercase();
        line.contains("facsimile") || line.contains("not amd's document")
    });
    let mut edition = Edition { facsimile, ..Edition::default() };
    for line in lines().filter(order) {
        let Some((_, after)) = line.split_once("Rev.").or_else(|| line.split_once("Revision")) else {
            continue;
        };
        let number = |c: char| c.is_ascii_digit() || c == '.';
        let after = after.trim_start();
        let end = after.find(|c| !number(c)).unwrap_or(after.len());
        let (revision, rest) = after.split_at(end);
        if revision.contains('.') {
            edition.revision = Some(revision.trim_end_matches('.').to_owned());
            edition.date = date::month(rest);
            break;
        }
    }
    Some(edition)
}

/// The tables that are known by their titles.
fn blocks(pages: &[Page]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for page in pages {
        let (lines, printed) = body(page);
        let place = Place { page: Some(page.number), printed, line: None };
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            at += 1;
            let Some((title, contents)) = caption(line) else {
                continue;
            };
            // Its column heads, maybe after the rest of a long title.
            let Some((head, columns)) = (at..lines.len().min(at + 3)).find_map(|at| Some((at, heads(lines.get(at)?)?)))
            else {
                continue;
            };
            let end = (head + 1..lines.len()).find(|at| ends(&lines[*at], &columns)).unwrap_or(lines.len());
            let part = Part { columns, lines: lines[head + 1..end].to_vec(), place: place.clone() };
            at = end;
            match blocks.iter_mut().find(|block| block.contents == contents) {
                Some(block) => block.parts.push(part),
                None => blocks.push(Block { contents, title, parts: vec![part] }),
            }
        }
    }
    blocks
}

/// The lines of a page between its running head and its foot, and the number of the page. The foot of an even page looks
/// like a row: `738   VMCB Layout`.
fn body(page: &Page) -> (Vec<Line>, Option<String>) {
    let mut lines = page.lines.clone();
    let head = |line: &Line| {
        let text = line.text();
        text.contains("AMD64 Technology") || text.contains("[AMD") || text.contains(&format!("{ORDER}—Rev"))
    };
    while lines.first().is_some_and(head) {
        lines.remove(0);
    }
    let mut number = None;
    for _ in 0..4 {
        let Some(line) = lines.last() else { break };
        let text = line.text();
        let words: Vec<_> = text.split(' ').collect();
        let is_number = |word: &&str| word.len() <= 4 && word.bytes().all(|byte| byte.is_ascii_digit());
        let outer = [words.first(), words.last()].into_iter().flatten().find(|word| is_number(word));
        // The title of the chapter stands beside it, far away.
        let apart = line.words.windows(2).any(|pair| pair[1].x0 - pair[0].x1 > 100.0);
        if let Some(found) = outer.filter(|_| apart && number.is_none()) {
            number = Some((*found).to_owned());
            lines.pop();
        } else if text.contains("AMD Public Use") || text.contains("AMD Confidential") || text.starts_with("Facsimile")
        {
            lines.pop();
        } else {
            break;
        }
    }
    (lines, number)
}

/// The table of a caption: `Table B-1. VMCB Layout, Control Area (continued)`.
fn caption(line: &Line) -> Option<(&'static str, Contents)> {
    let text = line.text();
    let (number, title) = text.strip_prefix("Table ")?.split_once(['.', ':'])?;
    if number.len() > 6 || number.contains(' ') {
        return None;
    }
    let title = title.trim().trim_end_matches("(continued)").trim();
    TITLES.iter().copied().find(|(known, _)| title.eq_ignore_ascii_case(known))
}

/// Where the columns start, of a line of column heads.
fn heads(line: &Line) -> Option<Vec<f32>> {
    let words: Vec<_> = line.words.iter().map(|word| word.text.as_str()).collect();
    let has = |word: &str| words.contains(&word);
    if !(has("Offset") && (has("Bit(s)") || has("Bits") || has("Size")) || has("Code") && has("Name")) {
        return None;
    }
    // The second words of two-word heads are no columns.
    let second =
        |word: &str, before: Option<&str>| matches!((before, word), (Some("Byte"), "Offset") | (Some("Swap"), "Type"));
    let columns = line
        .words
        .iter()
        .enumerate()
        .filter(|(at, word)| !second(&word.text, at.checked_sub(1).map(|before| words[before])));
    Some(columns.map(|(_, word)| word.x0).collect())
}

/// Whether a line is below the table: another caption, or prose, which starts left of what stands in the second column and
/// is no offset or code.
fn ends(line: &Line, columns: &[f32]) -> bool {
    if caption(line).is_some() || line.text().starts_with("Table ") {
        return true;
    }
    let Some(first) = line.words.first() else {
        return false;
    };
    let second = columns.get(1).copied().unwrap_or(f32::MAX);
    if column(columns, first.x0) > 0 {
        return false;
    }
    // What continues the first column: `(continued)`, `(vector 3)`, `to ends of VMCB`.
    let number = amd_rows::range(&first.text).is_some();
    let wrapped = line.words.iter().all(|word| word.x1 < second);
    !number && !wrapped
}

/// How far words may start left of their column's head.
const TOLERANCE: f32 = 6.0;

/// The column of what starts at a place.
pub(super) fn column(columns: &[f32], x: f32) -> usize {
    columns.iter().skip(1).filter(|start| x >= *start - TOLERANCE).count()
}

/// The text of a column of a line.
pub(super) fn cell(part: &Part, line: &Line, wanted: usize) -> String {
    let words = line.words.iter().filter(|word| column(&part.columns, word.x0) == wanted);
    words.map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// Notes what looks like a row and is none.
pub(super) fn refuse(unreadable: &mut Vec<Unreadable>, part: &Part, line: &Line, why: &str) {
    unreadable.push(Unreadable { place: part.place.clone(), text: line.text(), why: why.to_owned() });
}
