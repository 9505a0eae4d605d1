//! Characters to tokens.

use std::ops::Range;

use super::{Outcome, Problem};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    Number(u64),
    /// A name or a word.
    Word(&'t str),
    /// An operator or another sign.
    Sign(&'static str),
}

/// Longer ones before those that they start with.
const SIGNS: &[&str] = &[
    "..=", "=>", "||", "&&", "==", "!=", "<=", ">=", "<<", ">>", "::", "|", "^", "&", "+", "-", "!", "~", "<", ">",
    "(", ")", ",", ".",
];

/// All tokens, each with its place.
pub(super) fn lex(text: &str) -> Outcome<Vec<(Token<'_>, Range<usize>)>> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let start = at;
        let token = if first.is_ascii_alphanumeric() || first == '_' {
            let rest = &text[at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            at += end;
            let word = &text[start..at];
            if first.is_ascii_digit() { Token::Number(number(word, start..at)?) } else { Token::Word(word) }
        } else if let Some(sign) = SIGNS.iter().find(|sign| text[at..].starts_with(**sign)) {
            at += sign.len();
            Token::Sign(sign)
        } else {
            let problem = Problem::new(at..at + first.len_utf8(), format!("`{first}` means nothing in an expression"));
            return Err(match first {
                '=' => problem.help("a comparison is `==`"),
                '{' | '}' => problem.help("`{SEG}` is replaced in rows that have `each`"),
                '*' | '/' | '%' => problem.help("there are +, -, << and >>"),
                '[' | ']' => problem.help("bits are `bits(x, high, low)`"),
                _ => problem,
            });
        };
        all.push((token, start..at));
        if all.len() > 4 * super::LARGEST {
            return Err(too_large(start..at));
        }
    }
    Ok(all)
}

pub(super) fn too_large(range: Range<usize>) -> Problem {
    let problem = Problem::new(range, format!("the expression has more than {} parts", super::LARGEST));
    problem.help("give parts of it a name with `[[define]]`")
}

fn number(word: &str, range: Range<usize>) -> Outcome<u64> {
    let (digits, radix) = match word.get(..2) {
        Some("0x") => (&word[2..], 16),
        Some("0b") => (&word[2..], 2),
        _ => (word, 10),
    };
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        let problem = Problem::new(range, format!("`{word}` is no number"));
        return Err(problem.help("numbers are written 31, 0x1f or 0b11111"));
    }
    u64::from_str_radix(&digits, radix).map_err(|_| Problem::new(range, format!("`{word}` has more than 64 bits")))
}
