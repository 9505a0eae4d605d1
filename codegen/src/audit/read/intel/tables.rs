//! Tables by their titles: their parts on one page after another, the columns of each, their rows, their notes.

mod columns;
mod notes;
mod rows;

use super::lines::Line;
use super::text;
pub use columns::common_starts;
pub use rows::Row;

/// How far words of one column may stand apart: a column of text in which a character is as wide as another.
const SLACK: f32 = 5.0;
/// What is farther to the left than the table begins stands below it: text begins a little before tables do.
const LEFT: f32 = 2.5;
/// The space between two words is less, that between two cells is more.
const GAP: f32 = 6.0;
/// The distance of two lines of a paragraph is less, that of two paragraphs is more.
const PITCH: f32 = 12.5;

/// A table.
#[derive(Debug, Default)]
pub struct Block {
    /// "24-5"
    number: String,
    /// "Definitions of Pin-Based VM-Execution Controls"
    pub title: String,
    /// Its parts, one per page.
    pub parts: Vec<Part>,
    /// Its notes, each with its mark.
    pub notes: Vec<(String, String)>,
}

/// What of a table stands on one page.
#[derive(Debug, Default)]
pub struct Part {
    /// Where its columns begin, as its head has them.
    pub columns: Vec<f32>,
    /// Its lines, the head apart.
    pub lines: Vec<Line>,
}

/// All tables, in order.
pub fn blocks(pages: &[Vec<Line>]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // Whether the last table may go on where the page begins.
    let mut open = false;
    for page in pages {
        let mut rest = page.as_slice();
        if open && rest.first().is_some_and(is_notes) {
            let (notes, after) = notes::take(rest);
            if let Some(block) = blocks.last_mut() {
                block.notes.extend(notes);
            }
            rest = after;
        }
        open = false;
        while let Some((first, after)) = rest.split_first() {
            let Some((number, title)) = title(first) else {
                rest = after;
                continue;
            };
            let (title, after) = whole_title(title, after);
            let title = title.trim_end_matches("(Contd.)").trim_end().to_string();
            if blocks.last().is_none_or(|block| block.number != number) {
                blocks.push(Block { number, title, ..Block::default() });
            }
            let (part, after) = part(after);
            let (notes, after) = notes::take(after);
            if let Some(block) = blocks.last_mut() {
                block.parts.push(part);
                block.notes.extend(notes);
            }
            open = after.is_empty();
            rest = after;
        }
    }
    blocks
}

/// The number and the title of "Table 24-5. Definitions of …".
fn title(line: &Line) -> Option<(String, String)> {
    let mut words = line.line.words.iter();
    if words.next()?.text != "Table" {
        return None;
    }
    let number = words.next()?.text.strip_suffix('.')?;
    let (chapter, table) = number.split_once('-')?;
    let ok = |text: &str| {
        (1..=3).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase())
    };
    let title = text::join(words);
    // "Table 24-9." alone ends a sentence.
    (ok(chapter) && ok(table) && title.starts_with(char::is_uppercase)).then(|| (number.into(), title))
}

/// Joins a title that takes more than one line: what stands above the head of the table.
fn whole_title(mut title: String, lines: &[Line]) -> (String, &[Line]) {
    const MOST: usize = 3;
    if let Some(more) = lines.iter().take(MOST).position(is_head) {
        let (above, rest) = lines.split_at(more);
        for line in above {
            title = format!("{title} {}", line.line.text());
        }
        return (title, rest);
    }
    (title, lines)
}

/// Whether a line has nothing but titles of columns.
fn is_head(line: &Line) -> bool {
    const WORDS: &str = "Bit Bits Position Position(s) Positions Name Names Description Field Fields Content Contents Note Notes \
        Index Encoding Basic Exit Reason Error Number Register Address Architectural MSR MSRs / (Former Name) MSR/Bit Hex Dec \
        Dec. Decimal At Reset Comment Comments Value Value(s) Values Meaning Component Offset Scope Model Avail.";
    line.line.words.iter().all(|word| WORDS.split_whitespace().any(|known| known == word.text))
}

fn is_notes(line: &Line) -> bool {
    matches!(line.line.words.as_slice(), [word] if matches!(word.text.as_str(), "NOTES:" | "NOTE:"))
}

/// "B.1.2 16-Bit Guest-State Fields"
pub fn is_heading(line: &Line) -> bool {
    let [number, title, ..] = line.line.words.as_slice() else { return false };
    let mut parts = number.text.split('.');
    let chapter = parts.next().unwrap_or_default();
    let chapter_is = chapter.len() <= 2 && chapter.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
    let mut sections = 0;
    for part in parts {
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return false;
        }
        sections += 1;
    }
    chapter_is && !chapter.is_empty() && sections > 0 && title.x0 - number.x1 > GAP
}

/// Splits the lines of a table on this page from what follows it.
fn part(lines: &[Line]) -> (Part, &[Line]) {
    let (head, rest) = lines.split_at(lines.iter().take_while(|line| is_head(line)).count());
    let left = head.iter().chain(rest.first()).map(|line| line.line.x0()).fold(f32::MAX, f32::min);
    // Cells that are centred may begin farther to the left, but then others stand beside them; and they are no marks of a
    // list or of a note.
    let beside = |line: &Line| {
        let first = line.line.words.first().map_or("", |word| word.text.as_str());
        let is_cell = first.chars().all(|c| c.is_ascii_alphanumeric() || "_+-–".contains(c)) && first.len() < 12;
        let is_address = text::hex(first).is_some() || text::hex(&first.replace('_', "H")).is_some();
        is_address || is_cell && first != "-" && columns::starts(line).get(1).is_some_and(|next| *next > left + SLACK)
    };
    let below = |line: &Line| line.line.x0() < left - LEFT && !beside(line);
    let ends = |line: &Line| below(line) || is_notes(line) || title(line).is_some() || is_heading(line);
    let (body, rest) = rest.split_at(rest.iter().take_while(|line| !ends(line)).count());
    (Part { columns: columns::find(head, body), lines: body.to_vec() }, rest)
}
