//! Notes below a table, and the marks that point at them.

use super::{Block, PITCH, SLACK, is_notes};
use crate::audit::read::intel::lines::Line;
use crate::audit::read::intel::text;
use crate::audit::read::pdf::Word;

/// The notes that begin here, if some do.
pub fn take(lines: &[Line]) -> (Vec<(String, String)>, &[Line]) {
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
}

fn first_len(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
}
