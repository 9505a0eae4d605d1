//! The words of a PDF and where they stand on its pages, by poppler's `pdftotext`; or of the text that
//! `pdftotext -layout` made of one, where the columns of the text say it.
//!
//! The readers of manuals share what is here: nothing of it knows a manual.

mod program;
mod text;
mod xhtml;

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::{Input, Progress, ReadError, Reader};
use crate::audit::source::Source;

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Its number in the file, from 1.
    pub number: u32,
    /// Its lines from top to bottom.
    pub lines: Vec<Line>,
}

/// Words side by side, from left to right.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Never empty.
    pub words: Vec<Word>,
}

/// A word in its box: points from the upper left corner of the page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Word {
    /// The left edge.
    pub x0: f32,
    /// The upper edge.
    pub y0: f32,
    /// The right edge.
    pub x1: f32,
    /// The lower edge.
    pub y1: f32,
    /// What it says.
    pub text: String,
    /// Whether it is set smaller than its line, as the mark of a footnote is.
    pub small: bool,
}

impl Word {
    /// How high it is.
    pub fn height(&self) -> f32 {
        self.y1 - self.y0
    }

    /// The middle between its upper and its lower edge.
    pub fn middle(&self) -> f32 {
        (self.y0 + self.y1) / 2.0
    }
}

impl Line {
    /// Its words, a space between two.
    pub fn text(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| word.text.as_str()).collect();
        words.join(" ")
    }

    /// The left edge of its first word.
    pub fn x0(&self) -> f32 {
        self.words.first().map_or(0.0, |word| word.x0)
    }

    /// The right edge of its last word.
    pub fn x1(&self) -> f32 {
        self.words.last().map_or(0.0, |word| word.x1)
    }

    /// The middle of its tallest word, which marks of footnotes do not move.
    pub fn middle(&self) -> f32 {
        self.tallest().map_or(0.0, Word::middle)
    }

    /// The height of its tallest word.
    pub fn height(&self) -> f32 {
        self.tallest().map_or(0.0, Word::height)
    }

    fn tallest(&self) -> Option<&Word> {
        // The mark of an item of a list may be set larger than its text.
        let text = self.words.iter().filter(|word| word.text.contains(char::is_alphanumeric));
        text.max_by(|a, b| a.height().total_cmp(&b.height())).or(self.words.first())
    }
}

impl Page {
    /// Makes lines of words in any order.
    fn of(number: u32, mut words: Vec<Word>) -> Page {
        // Words of one line have the same middle, but for marks of footnotes: those stand a quarter of the line's height
        // higher. What is centred between two lines (a cell beside two rows) is half a line away from both.
        const SAME_LINE: f32 = 0.35;
        words.sort_by(|a, b| a.middle().total_cmp(&b.middle()));
        let mut lines: Vec<Line> = Vec::new();
        for word in words {
            match lines.last_mut() {
                Some(line) if word.middle() - line.middle() < SAME_LINE * line.height().max(word.height()) => {
                    line.words.push(word);
                }
                _ => lines.push(Line { words: vec![word] }),
            }
        }
        for line in &mut lines {
            line.words.sort_by(|a, b| a.x0.total_cmp(&b.x0));
            let height = line.height();
            for word in &mut line.words {
                word.small = word.height() < 0.88 * height;
            }
        }
        Page { number, lines }
    }
}

/// Whether a file says that it is a PDF.
pub fn is_pdf(bytes: &[u8]) -> bool {
    // Readers of PDFs accept a little rubbish in front of it.
    bytes.get(..bytes.len().min(1024)).is_some_and(|start| start.windows(5).any(|window| window == b"%PDF-"))
}

/// The pages of a PDF, or of the text that `pdftotext -layout` made of one.
///
/// # Errors
///
/// When the file is neither, is damaged or asks for a password, or when poppler's programs are not there.
pub fn pages(input: &Input, progress: Progress) -> Result<Vec<Page>, ReadError> {
    if is_pdf(input.bytes) { program::pages(input, progress) } else { plain(input).map(text::pages) }
}

/// The first pages, to see what the document is: nothing when they cannot be read.
pub fn first_pages(input: &Input, count: u32) -> Vec<Page> {
    if is_pdf(input.bytes) {
        return program::range(input, 1, count).unwrap_or_default();
    }
    let Ok(text) = plain(input) else { return Vec::new() };
    // Texts without page breaks are one page each.
    const ENOUGH: usize = 50_000;
    let end = text.match_indices('\x0c').nth(count.saturating_sub(1) as usize).map_or(text.len(), |(at, _)| at);
    let mut end = end.min(ENOUGH);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).map(text::pages).unwrap_or_default()
}

fn plain<'a>(input: &Input<'a>) -> Result<&'a str, ReadError> {
    let error = |message: &str, help: &str| Err(input.error(message, help));
    if input.path.is_dir() {
        return error("is a directory", "name the files in it");
    }
    if input.bytes.iter().all(u8::is_ascii_whitespace) {
        return error("is empty", "download it again");
    }
    match std::str::from_utf8(input.bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => error(
            "is no PDF: it does not start with %PDF",
            "give the PDF itself, or what `pdftotext -layout` made of it",
        ),
    }
}

/// The SHA-256 sum of a file in hexadecimal digits, as `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut sum, byte| {
        let _ = write!(sum, "{byte:02x}");
        sum
    })
}

/// What takes the PDFs that nobody knows, to say what is wrong with them. The last of all readers.
pub const UNKNOWN: Reader = Reader { what: "PDF", recognises: is_pdf_or_should_be, read: refuse };

fn is_pdf_or_should_be(input: &Input) -> bool {
    // The name says nothing about what is in a file, only what its owner believes it to be: enough for the message.
    is_pdf(input.bytes) || input.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("pdf"))
}

fn refuse(input: &Input, progress: Progress) -> Result<Source, ReadError> {
    // Whatever keeps its text from being read is the better message.
    if is_pdf(input.bytes) {
        program::range(input, 1, 1)?;
        pages(input, progress)?;
    } else {
        plain(input)?;
    }
    Err(input.error(
        "is no manual that this command knows",
        "it reads Intel's SDM (volumes 3 and 4) and AMD's APM (volume 2)",
    ))
}

#[cfg(test)]
mod tests;
