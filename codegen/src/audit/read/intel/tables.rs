//! Tables by their titles: their parts on one page after another, the columns of each, their rows, their notes.

use super::Found;
use super::lines::Line;
use super::text;
use crate::audit::read::pdf::Word;
use crate::audit::source::Place;

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

/// A row whose first cell says what it is about.
#[derive(Debug)]
pub struct Row {
    /// The first cell.
    pub key: String,
    /// Its first line.
    pub line: Line,
    /// The other cells; each is a list of lines.
    cells: Vec<Vec<CellLine>>,
}

#[derive(Debug, Clone)]
struct CellLine {
    place: Place,
    words: Vec<Word>,
}

/// All tables, in order.
pub fn blocks(pages: &[Vec<Line>]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // Whether the last table may go on where the page begins.
    let mut open = false;
    for page in pages {
        let mut rest = page.as_slice();
        if open && rest.first().is_some_and(is_notes) {
            let (notes, after) = take_notes(rest);
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
            let (notes, after) = take_notes(after);
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
        is_address || is_cell && first != "-" && starts(line).get(1).is_some_and(|next| *next > left + SLACK)
    };
    let below = |line: &Line| line.line.x0() < left - LEFT && !beside(line);
    let ends = |line: &Line| below(line) || is_notes(line) || title(line).is_some() || is_heading(line);
    let (body, rest) = rest.split_at(rest.iter().take_while(|line| !ends(line)).count());
    (Part { columns: columns(head, body), lines: body.to_vec() }, rest)
}

/// Where the columns begin: where their titles do, or, for titles that are centred, where most cells below do.
fn columns(head: &[Line], body: &[Line]) -> Vec<f32> {
    // A title of two lines has its words above one another.
    let mut titles: Vec<(f32, f32)> = Vec::new();
    for (start, end) in head.iter().flat_map(head_cells) {
        match titles.iter_mut().find(|(from, to)| start < *to && *from < end || (*from - start).abs() <= SLACK) {
            Some((from, to)) => (*from, *to) = (from.min(start), to.max(end)),
            None => titles.push((start, end)),
        }
    }
    let mut columns: Vec<f32> = titles.into_iter().map(|(start, _)| start).collect();
    columns.sort_by(f32::total_cmp);
    let cells = common_starts(body);
    let mut before = f32::MIN;
    for column in &mut columns {
        let near = |start: f32| (start - *column).abs() <= SLACK;
        if !cells.iter().any(|&(start, _)| near(start)) {
            let left = cells.iter().filter(|(start, _)| *start > before + SLACK && *start < *column);
            if let Some((start, _)) = left.max_by_key(|(_, count)| *count) {
                *column = *start;
            }
        }
        before = *column;
    }
    columns
}

/// Where the cells of a head begin and end. In text a single space may be between two: there their words tell.
fn head_cells(line: &Line) -> Vec<(f32, f32)> {
    const FIRST: [&str; 12] = [
        "Name",
        "Description",
        "Content",
        "Contents",
        "Field",
        "Notes",
        "Index",
        "Encoding",
        "Comment",
        "Meaning",
        "At",
        "Bit",
    ];
    const SECOND: [&str; 5] = ["Bit", "Field", "MSR", "MSR/Bit", "Register"];
    let mut starts = starts(line);
    for pair in line.line.words.windows(2) {
        let [before, word] = pair else { continue };
        if FIRST.contains(&word.text.as_str()) && !SECOND.contains(&before.text.as_str()) && !starts.contains(&word.x0)
        {
            starts.push(word.x0);
        }
    }
    starts.sort_by(f32::total_cmp);
    let ends = |from: f32, to: f32| {
        let words = line.line.words.iter().filter(|word| (from..to).contains(&word.x0));
        words.map(|word| word.x1).fold(from, f32::max)
    };
    let next = starts.iter().skip(1).copied().chain([f32::MAX]);
    starts.iter().zip(next).map(|(&start, next)| (start, ends(start, next))).collect()
}

/// Where the cells of a line begin.
pub fn starts(line: &Line) -> Vec<f32> {
    let mut starts = Vec::new();
    let mut end = f32::MIN;
    for word in &line.line.words {
        if word.x0 - end > GAP && !word.small {
            starts.push(word.x0);
        }
        end = word.x1;
    }
    starts
}

/// Where cells begin, and how many do there, the left ones first.
pub fn common_starts(lines: &[Line]) -> Vec<(f32, usize)> {
    let mut all: Vec<f32> = lines.iter().flat_map(starts).collect();
    all.sort_by(f32::total_cmp);
    let mut common: Vec<(f32, usize)> = Vec::new();
    for start in all {
        match common.last_mut() {
            Some((first, count)) if start - *first <= LEFT => *count += 1,
            _ => common.push((start, 1)),
        }
    }
    common
}

/// The notes that begin here, if some do.
fn take_notes(lines: &[Line]) -> (Vec<(String, String)>, &[Line]) {
    let Some((_, mut rest)) = lines.split_first().filter(|(first, _)| is_notes(first)) else {
        return (Vec::new(), lines);
    };
    let mut notes: Vec<(String, String)> = Vec::new();
    let left = rest.first().map_or(0.0, |line| line.line.x0());
    let mut above = f32::MAX;
    while let Some((line, after)) = rest.split_first() {
        let x0 = line.line.x0();
        let mark = line.line.words.first().and_then(|word| word.text.strip_suffix('.')).filter(|mark| is_mark(mark));
        // Notes stand a little farther apart than lines do; what follows them stands farther away.
        let near = line.line.middle() - above < 1.6 * PITCH;
        match mark {
            Some(mark) if (x0 - left).abs() <= SLACK && (near || notes.is_empty()) => {
                notes.push((mark.to_string(), text::join(line.line.words.iter().skip(1))));
            }
            None if x0 > left + SLACK && near => {
                if let Some((_, note)) = notes.last_mut() {
                    note.push(' ');
                    note.push_str(&line.line.text());
                }
            }
            _ => break,
        }
        above = line.line.middle();
        rest = after;
    }
    (notes, rest)
}

/// Whether it marks a note: a number, or a letter.
fn is_mark(mark: &str) -> bool {
    (1..=2).contains(&mark.len()) && mark.bytes().all(|b| b.is_ascii_digit())
        || mark.len() == 1 && mark.bytes().all(|b| b.is_ascii_lowercase())
}

impl Block {
    /// The words of a cell without the marks of notes, and those marks.
    pub fn without_marks<'a>(&self, words: impl IntoIterator<Item = &'a Word>) -> (Vec<Word>, Vec<String>) {
        let mut marks = Vec::new();
        let mut plain: Vec<Word> = Vec::new();
        for word in words {
            if word.small && word.text.split(',').all(is_mark) {
                marks.extend(word.text.split(',').map(str::to_string));
            } else {
                plain.push(word.clone());
            }
        }
        // Text has no sizes: there the mark is a part of the word, behind a punctuation mark or at the end of all.
        if marks.is_empty() {
            let last = plain.len().saturating_sub(1);
            for (index, word) in plain.iter_mut().enumerate() {
                let Some((stem, glued)) = self.glued_marks(&word.text, index == last) else { continue };
                marks.extend(glued.split(',').map(str::to_string));
                word.text = stem;
            }
        }
        (plain, marks)
    }

    /// "(full)" and "14" of "(full)14", but nothing of "CR3".
    fn glued_marks(&self, word: &str, is_last: bool) -> Option<(String, String)> {
        let known = |marks: &str| marks.split(',').all(|mark| self.note(mark).is_some());
        let split = |at: usize| Some((word.get(..at)?.to_string(), word.get(at..)?.to_string()));
        let behind = word.rfind([')', '.', ';', '”']).map(|at| at + word.get(at..).map_or(1, first_len));
        let behind = behind.or_else(|| word.find(',').map(|at| at + 1));
        if let Some(at) = behind.filter(|&at| at > 2 && word.get(at..).is_some_and(known)) {
            return split(at);
        }
        let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
        let register =
            ["CR", "DR", "XCR", "R", "B", "DPL", "MM", "INT", "PDPTE"].contains(&stem.trim_start_matches('('));
        let is_name = !register && stem.len() > 1 && stem.ends_with(char::is_alphabetic);
        (is_last && is_name && word.get(stem.len()..).is_some_and(known)).then(|| split(stem.len())).flatten()
    }

    /// The text of the note with this mark.
    pub fn note(&self, mark: &str) -> Option<&str> {
        self.notes.iter().find(|(known, _)| known == mark).map(|(_, note)| note.as_str())
    }

    /// The rows of a table whose first cells are keys. What has cells like a row, but no key, is unreadable.
    pub fn rows(&self, is_key: impl Fn(&str) -> bool, found: &mut Found) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for part in &self.parts {
            let [left, second, ..] = part.columns.as_slice() else {
                if let Some(line) = part.lines.first() {
                    found.unreadable(line, "the columns of the table are not where they were looked for");
                }
                continue;
            };
            for line in &part.lines {
                let mut cells = part.cells(line).into_iter();
                let first = cells.next().unwrap_or_default();
                let cells = cells.map(|words| CellLine { place: line.place.clone(), words });
                if first.is_empty() {
                    if let Some(row) = rows.last_mut() {
                        row.cells.iter_mut().zip(cells).for_each(|(all, more)| all.push(more));
                    }
                    continue;
                }
                let (first, _) = self.without_marks(&first);
                let key = text::join(&first);
                if is_key(&key) {
                    rows.push(Row { key, line: line.clone(), cells: cells.map(|line| vec![line]).collect() });
                } else if line.line.x0() - left <= SLACK
                    && starts(line).iter().any(|start| (start - second).abs() <= SLACK)
                {
                    found.unreadable(line, "it has the cells of a row, but does not begin like one");
                } else {
                    // Text below the table that begins like a cell.
                    break;
                }
            }
        }
        rows
    }
}

impl Part {
    /// The words of a line by columns.
    pub fn cells(&self, line: &Line) -> Vec<Vec<Word>> {
        let mut cells = vec![Vec::new(); self.columns.len().max(1)];
        let mut end = f32::MIN;
        let mut column = 0;
        for word in &line.line.words {
            let begins = self.columns.iter().rposition(|column| (column - word.x0).abs() <= SLACK);
            if let Some(begins) = begins.filter(|&begins| begins > column && !word.small) {
                column = begins;
            } else if word.x0 - end > GAP && !word.small {
                // In text cells do not quite begin where their columns do.
                let distance = |column: &f32| (column - word.x0).abs();
                let nearest =
                    self.columns.iter().enumerate().min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)));
                column = column.max(nearest.map_or(0, |(nearest, _)| nearest));
            }
            if let Some(cell) = cells.get_mut(column) {
                cell.push(word.clone());
            }
            end = word.x1;
        }
        // In text a single space may be between two cells, and the second a little off its column.
        const OFF: f32 = 16.0;
        for column in 1..cells.len() {
            let start = self.columns.get(column).copied().unwrap_or(f32::MAX);
            let (Some(before), Some(cell)) = (cells.get(column - 1), cells.get(column)) else { continue };
            let wide = before.last().is_some_and(|word| word.x1 > start + 2.0 * OFF);
            if !wide || !cell.is_empty() {
                continue;
            }
            let begins = |word: &Word| (word.x0 - start).abs() <= OFF && word.text.starts_with(char::is_uppercase);
            if let Some(at) = before.iter().skip(1).position(begins)
                && let Some(rest) = cells.get_mut(column - 1).map(|before| before.split_off(at + 1))
                && let Some(cell) = cells.get_mut(column)
            {
                *cell = rest;
            }
        }
        cells
    }
}

fn first_len(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
}

impl Row {
    /// How many cells there are beside the key.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// The first paragraph of a cell: neither the values that stand indented below it nor what a space sets apart.
    pub fn paragraph(&self, cell: usize, block: &Block) -> String {
        self.paragraphs(cell, block).into_iter().next().unwrap_or_default()
    }

    /// All paragraphs of a cell at its left edge.
    pub fn paragraphs(&self, cell: usize, block: &Block) -> Vec<String> {
        let mut paragraphs: Vec<Vec<Word>> = Vec::new();
        let mut above: Option<&CellLine> = None;
        let mut left = f32::MAX;
        for line in self.cells.get(cell).into_iter().flatten().filter(|line| !line.words.is_empty()) {
            let (x0, y) = line.words.first().map_or((0.0, 0.0), |word| (word.x0, middle(&line.words)));
            left = left.min(x0);
            let goes_on = above.is_some_and(|above| above.place == line.place && y - middle(&above.words) < PITCH);
            let item = paragraphs.last().and_then(|words| words.first()).is_some_and(|word| word.text == "•");
            if x0 > left + SLACK && !(goes_on && item) {
                above = None;
                continue;
            }
            above = Some(line);
            let (words, _) = block.without_marks(&line.words);
            match paragraphs.last_mut() {
                Some(last) if goes_on => last.extend(words),
                _ => paragraphs.push(words),
            }
        }
        paragraphs.iter().map(text::join).collect()
    }

    /// The lines of a cell that stand indented.
    pub fn indented(&self, cell: usize, block: &Block) -> Vec<(Place, String)> {
        let lines: Vec<&CellLine> =
            self.cells.get(cell).into_iter().flatten().filter(|line| !line.words.is_empty()).collect();
        let x0 = |line: &CellLine| line.words.first().map_or(0.0, |word| word.x0);
        let left = lines.iter().map(|line| x0(line)).fold(f32::MAX, f32::min);
        let indented = lines.into_iter().filter(|line| x0(line) > left + SLACK);
        indented.map(|line| (line.place.clone(), text::join(&block.without_marks(&line.words).0))).collect()
    }

    /// All of a cell, where it is a name that may take several lines.
    pub fn name(&self, cell: usize, block: &Block) -> String {
        let lines = self.cells.get(cell).into_iter().flatten();
        let words: Vec<Word> = lines.flat_map(|line| block.without_marks(&line.words).0).collect();
        text::join(&words)
    }
}

fn middle(words: &[Word]) -> f32 {
    let tallest = words.iter().max_by(|a, b| a.height().total_cmp(&b.height()));
    tallest.map_or(0.0, Word::middle)
}
