//! The addresses that a line of the table begins with.

use crate::audit::read::intel::lines::Line;
use crate::audit::read::intel::text;

/// The addresses at the beginning of a line.
pub struct Address {
    pub first: i64,
    pub last: Option<i64>,
    /// "180H-": the last one is on the next line.
    pub open: bool,
    /// How many words they take, the decimal ones included.
    pub words: usize,
}

/// `10H 16 …`, or a range.
pub fn address(line: &Line) -> Option<Address> {
    let words: Vec<&str> = line.line.words.iter().map(|word| word.text.as_str()).collect();
    let dashes = ['-', '–'];
    let is_dash = |word: &str| matches!(word, "-" | "–" | "to" | "through");
    let first = words.first()?;
    let (start, end) = first.split_once(dashes).unwrap_or((first, ""));
    let mut address = Address { first: text::hex(start)?, last: None, open: false, words: 1 };
    if !end.is_empty() {
        address.last = Some(text::hex(end)?);
    } else if first.ends_with(dashes) || words.get(1).is_some_and(|word| is_dash(word)) {
        let at = if first.ends_with(dashes) { 1 } else { 2 };
        address.last = words.get(at).and_then(|word| text::hex(word));
        address.open = address.last.is_none();
        address.words = if address.open { at } else { at + 1 };
    }
    let is_decimal = |word: &str| word.chars().all(|c| c.is_ascii_digit() || ",-–".contains(c));
    while words.get(address.words).is_some_and(|word| is_decimal(word)) {
        address.words += 1;
    }
    Some(address)
}

/// "C90H+": the address of as many MSRs as the processor has.
pub fn is_formula(line: &Line) -> bool {
    let first = line.line.words.first().and_then(|word| word.text.split_once('+'));
    first.is_some_and(|(start, _)| text::hex(start).is_some())
}

/// "C000_", the upper half of an address.
pub fn upper(line: &Line) -> Option<String> {
    let digits = line.line.words.first()?.text.strip_suffix('_')?;
    (digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| digits.to_string())
}
