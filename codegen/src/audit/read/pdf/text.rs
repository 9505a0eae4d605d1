//! The output of `pdftotext -layout`: a character is as wide as another, a line as high, and the boxes follow from it.

use super::{Line, Page, Word};

/// The width of a column, in the points of a page that has about 130 of them.
const COLUMN: f32 = 4.5;
/// The distance of two lines.
const LINE: f32 = 12.0;
/// The height of a word, and that of the mark of a footnote.
const HEIGHT: f32 = 11.0;
const SMALL: f32 = 9.0;

/// Its pages.
pub fn pages(text: &str) -> Vec<Page> {
    let text = text.strip_suffix('\x0c').unwrap_or(text);
    let numbers = 1..;
    numbers.zip(text.split('\x0c')).map(|(number, text)| Page { number, lines: lines(text) }).collect()
}

fn lines(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut y = 0.0;
    for line in text.lines() {
        y += LINE;
        let words = words(line, y);
        if !words.is_empty() {
            lines.push(Line { words });
        }
    }
    // Marks that stand on lines of their own belong to a word below, or else to one above. What is centred beside two rows
    // may stand between them.
    const NEAR: usize = 2;
    for index in 0..lines.len() {
        let Some(line) = lines.get(index).filter(|line| line.words.iter().all(is_mark)) else { continue };
        let marks = line.words.clone();
        let below = index + 1..lines.len().min(index + 1 + NEAR);
        let above = index.saturating_sub(NEAR)..index;
        let home = below.chain(above.rev()).find(|&other| {
            let words = lines.get(other).map(|line| line.words.as_slice()).unwrap_or_default();
            marks.iter().all(|mark| touches(words, mark))
        });
        let Some(home) = home.and_then(|home| lines.get_mut(home)) else { continue };
        let top = home.words.first().map_or(0.0, |word| word.y0) - 1.5;
        home.words.extend(marks.into_iter().map(|mark| Word { y0: top, y1: top + SMALL, small: true, ..mark }));
        home.words.sort_by(|a, b| a.x0.total_cmp(&b.x0));
        if let Some(line) = lines.get_mut(index) {
            line.words.clear();
        }
    }
    lines.retain(|line| !line.words.is_empty());
    lines
}

fn is_mark(word: &Word) -> bool {
    word.text.len() <= 2 && word.text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a mark stands near the end of a cell that has none. Not right there: a line of its own has other columns.
fn touches(words: &[Word], mark: &Word) -> bool {
    const NEAR: f32 = 9.0 * COLUMN;
    const CELL: f32 = 1.5 * COLUMN;
    words.iter().enumerate().any(|(index, word)| {
        let ends_cell = words.get(index + 1).is_none_or(|next| next.x0 - word.x1 > CELL);
        let has_none = !word.text.ends_with(|c: char| c.is_ascii_digit());
        let is_text = word.text.chars().any(char::is_alphabetic) && !word.text.starts_with("000");
        ends_cell && has_none && is_text && (mark.x0 - word.x1).abs() < NEAR
    })
}

fn words(line: &str, y: f32) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut inside = false;
    let mut x = 0.0;
    for c in line.chars() {
        let end = x + COLUMN;
        if c.is_whitespace() || c.is_control() {
            inside = false;
        } else if let Some(word) = words.last_mut().filter(|_| inside) {
            word.text.push(c);
            word.x1 = end;
        } else {
            inside = true;
            words.push(Word { x0: x, y0: y, x1: end, y1: y + HEIGHT, text: c.into(), small: false });
        }
        x = end;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_boxes() {
        let pages = pages("  one  two\n\n   three\n\x0cfour\n\x0c");
        assert_eq!(pages.len(), 2);
        let [one, three] = pages[0].lines.as_slice() else { panic!("{:?}", pages[0]) };
        assert_eq!(one.text(), "one two");
        assert_eq!((one.x0(), one.words[1].x0), (2.0 * COLUMN, 7.0 * COLUMN));
        assert_eq!(three.words[0].y0 - one.words[0].y0, 2.0 * LINE);
        assert_eq!((pages[1].number, pages[1].lines[0].text()), (2, "four".to_string()));
    }

    #[test]
    fn a_mark_on_a_line_of_its_own_joins_its_word() {
        let text = "Field (full)2      2008H\n            2\n                000B\nField (high)       2009H\n       12\nAddress    200AH\n";
        let pages = pages(text);
        let texts: Vec<_> = pages[0].lines.iter().map(Line::text).collect();
        assert_eq!(
            texts,
            ["Field (full)2 2008H", "000B", "Field (high) 2 2009H", "Address 12 200AH"].map(String::from)
        );
        assert!(pages[0].lines[3].words[1].small);
    }
}
