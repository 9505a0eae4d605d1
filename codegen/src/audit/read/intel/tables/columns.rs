//! Where the columns of a table begin, and which words are in which.

use super::{GAP, LEFT, Part, SLACK};
use crate::audit::read::intel::lines::Line;
use crate::audit::read::pdf::Word;

/// Where the columns begin: where their titles do, or, for titles that are centred, where most cells below do.
pub fn find(head: &[Line], body: &[Line]) -> Vec<f32> {
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
