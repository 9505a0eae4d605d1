//! Rows whose first cell says what they are about, and what is in their other cells.

use super::columns::starts;
use super::{Block, PITCH, SLACK};
use crate::audit::read::intel::Found;
use crate::audit::read::intel::lines::Line;
use crate::audit::read::intel::text;
use crate::audit::read::pdf::Word;
use crate::audit::source::Place;

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

impl Block {
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
