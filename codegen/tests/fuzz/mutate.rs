//! Damage that is the same for the same numbers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::common::random::Random;

/// Values at the edges, and what is special in TOML or in Rust.
const SPECIAL: &[&str] = &[
    "-1",
    "0",
    "1",
    "8",
    "31",
    "32",
    "33",
    "63",
    "64",
    "255",
    "0xffff",
    "0xffff_ffff",
    "0xffff_ffff_ffff_ffff",
    "18446744073709551616",
    "-9223372036854775808",
    "1.5",
    "nan",
    "1979-05-27",
    "true",
    "\"\"",
    "\" \"",
    "\"\\n\"",
    "\"\\u0000\"",
    "\"Self\"",
    "\"u64\"",
    "\"TYPE\"",
    "\"none\"",
    "\"natural\"",
    "[]",
    "{}",
    "[63, 0]",
    "[0, 63]",
    "[[",
    "]]",
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "#",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "\\",
    "\r",
    "\n",
    "\0",
    "\u{feff}",
    "\u{85}",
    "\u{202e}",
    "é",
    "reserved = 0\n",
    "retired = \"x\"\n",
    "bits = [1, 0]\n",
    "note = \"*/ `\"\n",
];

type Corpus = [(PathBuf, Vec<u8>)];

/// A source of numbers, and what is done with them.
pub struct Mutator(Random);

impl Mutator {
    /// Another one for each seed and run.
    pub fn new(seed: u64, run: u64) -> Self {
        Mutator(Random(Random(seed).next() ^ run.wrapping_mul(0xd129_0ddb_1f2c_7e55)))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0.below(end)
    }

    fn pick<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    /// A damaged text, and the file that it is for.
    pub fn damage<'c>(&mut self, corpus: &'c Corpus) -> (&'c Path, Vec<u8>) {
        let (path, text) = self.pick(corpus);
        let mut text = text.clone();
        // Mostly little, so that what is behind the first mistake is reached.
        for _ in 0..1 + self.below(4) * self.below(2) {
            text = self.once(text, corpus);
        }
        (path, text)
    }

    fn once(&mut self, mut text: Vec<u8>, corpus: &Corpus) -> Vec<u8> {
        match self.below(12) {
            0 => {
                let (at, byte) = (self.below(text.len()), self.0.next().to_le_bytes()[0]);
                if let Some(old) = text.get_mut(at) {
                    *old = byte;
                }
                text
            }
            1 => {
                let start = self.below(text.len());
                let end = (start + 1 + self.below(40)).min(text.len());
                text.drain(start..end);
                text
            }
            2 => {
                let other = &self.pick(corpus).1;
                let (head, tail) = (self.below(text.len()), self.below(other.len()));
                [&text[..head], &other[tail..]].concat()
            }
            3..=5 => self.lines(&text, corpus),
            _ => self.token(&text, corpus),
        }
    }

    /// Whole lines: doubled, gone, exchanged, or from elsewhere.
    fn lines(&mut self, text: &[u8], corpus: &Corpus) -> Vec<u8> {
        let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let (from, to) = (self.below(lines.len()), self.below(lines.len() + 1));
        let count = 1 + self.below(8).min(lines.len().saturating_sub(from + 1));
        match self.below(4) {
            0 => drop(lines.drain(from..(from + count).min(lines.len()))),
            1 => {
                let block: Vec<_> = lines.iter().skip(from).take(count).copied().collect();
                lines.splice(to..to, block);
            }
            2 if to < lines.len() => lines.swap(from, to),
            _ => {
                let other: Vec<&[u8]> = self.pick(corpus).1.split_inclusive(|byte| *byte == b'\n').collect();
                let start = self.below(other.len());
                lines.splice(to..to, other.into_iter().skip(start).take(count));
            }
        }
        lines.concat()
    }

    /// A word, a text or a sign in another's place: one of any file, or a special one.
    fn token(&mut self, text: &[u8], corpus: &Corpus) -> Vec<u8> {
        let old = tokens(text);
        let Some(&(start, end)) = old.get(self.below(old.len())) else { return text.to_vec() };
        let other = match self.below(3) {
            0 => self.pick(SPECIAL).as_bytes().to_vec(),
            _ => {
                // Of one's own file more often: what it names is there.
                let from = if self.below(2) == 0 { text } else { &self.pick(corpus).1 };
                let all = tokens(from);
                // A number for a number, a text for a text.
                let kind = text[start];
                let alike = |(at, _): &&(usize, usize)| {
                    from[*at].is_ascii_digit() == kind.is_ascii_digit() && (from[*at] == b'"') == (kind == b'"')
                };
                let alike: Vec<_> = all.iter().filter(alike).collect();
                match alike.get(self.below(alike.len())) {
                    Some((start, end)) => from[*start..*end].to_vec(),
                    None => Vec::new(),
                }
            }
        };
        [&text[..start], &other, &text[end..]].concat()
    }
}

/// Words, texts in quotes and single signs.
fn tokens(text: &[u8]) -> Vec<(usize, usize)> {
    let (mut all, mut at) = (Vec::new(), 0);
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    while at < text.len() {
        let start = at;
        match text[at] {
            b' ' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            b'"' => at += 1 + text[at + 1..].iter().take_while(|byte| !b"\"\n".contains(byte)).count(),
            byte if word(&byte) => at += text[at + 1..].iter().take_while(|byte| word(byte)).count(),
            _ => {}
        }
        at = (at + 1).min(text.len());
        all.push((start, at));
    }
    all
}

/// The names that a file gives to rows, types and payloads, each once.
pub fn names(text: &str) -> BTreeSet<&str> {
    let keys = ["\nname = \"", "\ntype = \"", "\npayload = \"", "{ name = \""];
    let rests = keys.into_iter().flat_map(|key| text.match_indices(key).map(move |(at, key)| &text[at + key.len()..]));
    rests.filter_map(|rest| rest.split('"').next()).filter(|name| !name.is_empty()).collect()
}

/// Whether a name is in camel case.
pub fn is_camel(name: &str) -> bool {
    name.contains(|c: char| c.is_ascii_lowercase())
}
