//! Tokens of C, and what a constant expression made of them is worth.
//!
//! No compiler: integers alone, in 128 bits, and types are passed over. That is what the headers need which hypervisors
//! and emulators write down hardware numbers in.

use std::collections::HashMap;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tok {
    /// A name or a keyword.
    Ident(String),
    /// An integer, and whether it is written in hexadecimal.
    Number(i128, bool),
    /// An operator or a bracket.
    Punct(&'static str),
    /// Strings, characters, floating-point numbers and what C does not have.
    Other(String),
    /// The end of a line that no backslash continues.
    Newline,
}

/// A token and its line, from 1.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) tok: Tok,
    pub(super) line: u32,
    /// Whether nothing stands between it and the token before.
    pub(super) glued: bool,
}

impl Token {
    /// The name, of a name.
    pub(super) fn ident(&self) -> Option<&str> {
        match &self.tok {
            Tok::Ident(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it is this operator or bracket.
    pub(super) fn is(&self, punct: &str) -> bool {
        matches!(&self.tok, Tok::Punct(have) if *have == punct)
    }
}

/// What is wrong with a header, and in which line.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: u32,
    pub(super) message: String,
}

/// The longest first.
const PUNCTUATION: &[&str] = &[
    "...", "<<=", ">>=", "##", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "->", "::", "++", "--", "+=", "-=",
    "|=", "&=", "+", "-", "*", "/", "%", "&", "|", "^", "~", "!", "<", ">", "=", "?", ":", ";", ",", ".", "(", ")",
    "{", "}", "[", "]", "#",
];

/// The tokens of a text.
pub(super) fn lex(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let (mut rest, mut line, mut glued) = (text, 1, false);
    while let Some(first) = rest.chars().next() {
        let Some((length, tok)) = lexeme(rest, first) else {
            return Err(Fault { line, message: "the comment that starts here has no end".to_owned() });
        };
        let after = std::mem::replace(&mut glued, tok.is_some());
        tokens.extend(tok.map(|tok| Token { tok, line, glued: after }));
        let (passed, left) = rest.split_at(length);
        line += passed.matches('\n').count() as u32;
        rest = left;
    }
    Ok(tokens)
}

/// The bytes that come next and the token they are; nothing where a comment has no end.
fn lexeme(text: &str, first: char) -> Option<(usize, Option<Tok>)> {
    let until = |stop: fn(char) -> bool| text.find(stop).unwrap_or(text.len());
    Some(match first {
        '\n' => (1, Some(Tok::Newline)),
        '\\' if text.starts_with("\\\n") => (2, None),
        '\\' if text.starts_with("\\\r\n") => (3, None),
        _ if first.is_whitespace() => (first.len_utf8(), None),
        '/' if text.starts_with("//") => (until(|c| c == '\n'), None),
        '/' if text.starts_with("/*") => (text.get(2..)?.find("*/")? + 4, None),
        '"' | '\'' => {
            let length = quoted(text, first);
            (length, Some(Tok::Other(text[..length].to_owned())))
        }
        '0'..='9' => {
            let length = until(|c| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
            let word = &text[..length];
            (length, Some(integer(word).unwrap_or_else(|| Tok::Other(word.to_owned()))))
        }
        _ if first.is_alphabetic() || first == '_' => {
            let length = until(|c| !c.is_alphanumeric() && c != '_');
            (length, Some(Tok::Ident(text[..length].to_owned())))
        }
        _ => match PUNCTUATION.iter().find(|punct| text.starts_with(**punct)) {
            Some(punct) => (punct.len(), Some(Tok::Punct(punct))),
            None => (first.len_utf8(), Some(Tok::Other(first.to_string()))),
        },
    })
}

/// How long a string or a character is. One that its line does not end is an apostrophe in an `#error`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn integer(word: &str) -> Option<Tok> {
    let lower = word.to_ascii_lowercase();
    let digits = lower.trim_end_matches(['u', 'l']);
    let (digits, radix) = match digits {
        "0" => ("0", 10),
        _ if digits.starts_with("0x") => (&digits[2..], 16),
        _ if digits.starts_with("0b") => (&digits[2..], 2),
        _ if digits.starts_with('0') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    // No header has more than 64 bits.
    let value = u64::from_str_radix(digits, radix).ok()?;
    Some(Tok::Number(value.into(), radix == 16))
}

/// `#define`
#[derive(Clone, Debug)]
pub(super) struct Macro {
    pub(super) name: String,
    /// Of a macro that takes any.
    pub(super) parameters: Option<Vec<String>>,
    pub(super) body: Vec<Token>,
    pub(super) line: u32,
}

/// What names mean.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    macros: HashMap<String, Macro>,
    constants: HashMap<String, i128>,
}

/// Macros within macros grow without bounds; none that means a number comes near.
const MOST_TOKENS: usize = 20_000;
const DEEPEST: usize = 60;

/// An expansion under way.
#[derive(Default)]
struct Expansion {
    /// The macros that are being replaced.
    hidden: Vec<String>,
    out: Vec<Token>,
    /// Tokens that were looked at, those that came to nothing too.
    seen: usize,
}

impl Symbols {
    /// A macro; the last one of a name counts.
    pub(super) fn define(&mut self, definition: Macro) {
        self.macros.insert(definition.name.clone(), definition);
    }

    /// A constant of an enumeration.
    pub(super) fn constant(&mut self, name: &str, value: i128) {
        self.constants.insert(name.to_owned(), value);
    }

    /// What an expression is worth, or why nobody knows.
    pub(super) fn evaluate(&self, tokens: &[Token]) -> Result<i128, String> {
        let mut expansion = Expansion::default();
        self.expand(tokens, &mut expansion)?;
        let mut parser = Parser { symbols: self, tokens: &expansion.out, depth: 0 };
        let value = parser.ternary()?;
        match parser.tokens.first() {
            None => Ok(value),
            Some(token) => Err(format!("{} is not expected there", show(&token.tok))),
        }
    }

    /// Replaces macros by their bodies, except inside of themselves.
    fn expand(&self, tokens: &[Token], expansion: &mut Expansion) -> Result<(), String> {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            expansion.seen += 1;
            if expansion.seen > MOST_TOKENS {
                return Err("its macros do not come to an end".to_owned());
            }
            let found = token.ident().and_then(|name| self.macros.get(name));
            let Some(found) = found.filter(|found| !expansion.hidden.contains(&found.name)) else {
                expansion.out.push(token.clone());
                continue;
            };
            let body = match &found.parameters {
                None => found.body.clone(),
                Some(parameters) => {
                    let Some((arguments, length)) = arguments(&tokens[at..]) else {
                        expansion.out.push(token.clone());
                        continue;
                    };
                    at += length;
                    substituted(found, parameters, &arguments)?
                }
            };
            if expansion.hidden.len() > DEEPEST {
                return Err("its macros are nested too deep".to_owned());
            }
            expansion.hidden.push(found.name.clone());
            self.expand(&body, expansion)?;
            expansion.hidden.pop();
        }
        Ok(())
    }
}

/// The arguments of a call that starts with its bracket, and how many tokens the brackets and what is in them are.
fn arguments(tokens: &[Token]) -> Option<(Vec<Vec<Token>>, usize)> {
    if !tokens.first()?.is("(") {
        return None;
    }
    let mut all = vec![Vec::new()];
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        if token.is("(") {
            depth += 1;
            if depth == 1 {
                continue;
            }
        } else if token.is(")") {
            depth -= 1;
            if depth == 0 {
                return Some((all, at + 1));
            }
        } else if token.is(",") && depth == 1 {
            all.push(Vec::new());
            continue;
        }
        all.last_mut()?.push(token.clone());
    }
    None
}

/// The body of a macro with its arguments, names pasted.
fn substituted(found: &Macro, parameters: &[String], arguments: &[Vec<Token>]) -> Result<Vec<Token>, String> {
    if parameters.len() != arguments.len() {
        return Err(format!("{} takes {} arguments", found.name, parameters.len()));
    }
    let mut body: Vec<Token> = Vec::new();
    let mut paste = false;
    for token in &found.body {
        if token.is("##") {
            paste = true;
            continue;
        }
        let argument = token.ident().and_then(|name| parameters.iter().position(|parameter| parameter == name));
        let mut with = match argument {
            Some(number) => arguments[number].clone(),
            None => vec![token.clone()],
        };
        if std::mem::take(&mut paste)
            && !with.is_empty()
            && let Some(left) = body.pop()
        {
            let name = format!("{}{}", show(&left.tok), show(&with[0].tok));
            with[0] = Token { tok: Tok::Ident(name), ..left };
        }
        body.extend(with);
        if body.len() > MOST_TOKENS {
            return Err("its macros do not come to an end".to_owned());
        }
    }
    Ok(body)
}

fn show(tok: &Tok) -> String {
    match tok {
        Tok::Ident(text) | Tok::Other(text) => text.clone(),
        Tok::Number(value, _) => value.to_string(),
        Tok::Punct(punct) => (*punct).to_owned(),
        Tok::Newline => "the end of the line".to_owned(),
    }
}

/// Operators by what they bind, the loosest first.
const LEVELS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<", "<=", ">", ">="],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

struct Parser<'a> {
    symbols: &'a Symbols,
    tokens: &'a [Token],
    depth: usize,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    /// Passes over an operator if it stands there.
    fn eat(&mut self, punct: &str) -> bool {
        let found = self.tokens.first().is_some_and(|token| token.is(punct));
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn expect(&mut self, punct: &str) -> Result<(), String> {
        if self.eat(punct) { Ok(()) } else { Err(format!("a `{punct}` is missing")) }
    }

    fn ternary(&mut self) -> Result<i128, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("it is nested too deep".to_owned());
        }
        let mut value = self.binary(0)?;
        if self.eat("?") {
            let yes = self.ternary()?;
            self.expect(":")?;
            let no = self.ternary()?;
            value = if value != 0 { yes } else { no };
        }
        self.depth -= 1;
        Ok(value)
    }

    fn binary(&mut self, level: usize) -> Result<i128, String> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.eat(operator)) {
            let right = self.binary(level + 1)?;
            left = apply(operator, left, right).ok_or_else(|| format!("`{operator}` has no result"))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<i128, String> {
        let mut signs = Vec::new();
        loop {
            if let Some(sign) = ["-", "+", "~", "!"].iter().find(|sign| self.eat(sign)) {
                signs.push(*sign);
            } else if !self.cast() {
                break;
            }
        }
        let value = self.primary()?;
        Ok(signs.iter().rev().fold(value, |value, sign| match *sign {
            "-" => value.wrapping_neg(),
            "~" => !value,
            "!" => i128::from(value == 0),
            _ => value,
        }))
    }

    /// Passes over a type in brackets.
    fn cast(&mut self) -> bool {
        if !self.tokens.first().is_some_and(|token| token.is("(")) {
            return false;
        }
        let Some(end) = self.tokens.iter().position(|token| token.is(")")) else {
            return false;
        };
        let types = &self.tokens[1..end];
        let is_type = |token: &Token| token.is("*") || token.ident().is_some_and(is_integer_type);
        let cast = !types.is_empty() && types.iter().all(is_type);
        if cast {
            self.tokens = &self.tokens[end + 1..];
        }
        cast
    }

    fn primary(&mut self) -> Result<i128, String> {
        if self.eat("(") {
            let value = self.ternary()?;
            self.expect(")")?;
            return Ok(value);
        }
        let Some(token) = self.next() else {
            return Err("it has no end".to_owned());
        };
        match &token.tok {
            Tok::Number(value, _) => Ok(*value),
            Tok::Ident(name) => self.named(name),
            other => Err(format!("{} is no integer", show(other))),
        }
    }

    /// A constant, or one of the macros that these headers take from others.
    fn named(&mut self, name: &str) -> Result<i128, String> {
        if let Some(value) = self.symbols.constants.get(name) {
            return Ok(*value);
        }
        let Some((arguments, length)) = arguments(self.tokens) else {
            return Err(format!("{name} is not defined here"));
        };
        let argument = |number: usize| {
            let tokens = arguments.get(number).ok_or_else(|| format!("{name} wants more arguments"))?;
            let mut parser = Parser { symbols: self.symbols, tokens, depth: self.depth };
            let value = parser.ternary()?;
            if parser.tokens.is_empty() { Ok(value) } else { Err(format!("what {name} gets is no number")) }
        };
        let bit = |number: usize| match argument(number)? {
            bit @ 0..=63 => Ok(bit as u32),
            other => Err(format!("{name} takes no bit {other}")),
        };
        let value = match name {
            "BIT" | "BIT_ULL" | "_BITUL" | "_BITULL" => 1 << bit(0)?,
            "GENMASK" | "GENMASK_ULL" => {
                let (high, low) = (bit(0)?, bit(1)?);
                if high < low {
                    return Err(format!("the bits of {name} are reversed"));
                }
                (1 << (high + 1)) - (1 << low)
            }
            // The second argument of _AC is a suffix.
            "_AC" | "UL" | "ULL" | "_UL" | "_ULL" | "U" | "BX_CONST64" | "UINT32_C" | "UINT64_C" => argument(0)?,
            _ => return Err(format!("{name} is not defined here")),
        };
        self.tokens = &self.tokens[length..];
        Ok(value)
    }
}

fn is_integer_type(name: &str) -> bool {
    integer_size(name).is_some() || matches!(name, "unsigned" | "signed" | "long" | "const")
}

/// The bytes of an integer type whose name says how wide it is, and of those whose width every x86 compiler agrees on.
pub(super) fn integer_size(name: &str) -> Option<u64> {
    let bits = match name {
        "char" | "bool" | "_Bool" => 8,
        "short" => 16,
        "int" => 32,
        _ => {
            let digits = name
                .trim_start_matches('_')
                .trim_start_matches("uint")
                .trim_start_matches("int")
                .trim_start_matches("Bit")
                .trim_start_matches(['u', 's'])
                .trim_end_matches("_t")
                .trim_end_matches(['u', 's']);
            if digits == name { return None } else { digits.parse().ok()? }
        }
    };
    matches!(bits, 8 | 16 | 32 | 64).then_some(bits / 8)
}

fn apply(operator: &str, left: i128, right: i128) -> Option<i128> {
    let shift = || u32::try_from(right).ok().filter(|count| *count < 64);
    match operator {
        "||" => Some((left != 0 || right != 0).into()),
        "&&" => Some((left != 0 && right != 0).into()),
        "|" => Some(left | right),
        "^" => Some(left ^ right),
        "&" => Some(left & right),
        "==" => Some((left == right).into()),
        "!=" => Some((left != right).into()),
        "<" => Some((left < right).into()),
        "<=" => Some((left <= right).into()),
        ">" => Some((left > right).into()),
        ">=" => Some((left >= right).into()),
        "<<" => left.checked_mul(1 << shift()?),
        ">>" => Some(left >> shift()?),
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        "/" => left.checked_div(right),
        "%" => left.checked_rem(right),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<i128, String> {
        let mut symbols = Symbols::default();
        symbols.constant("THREE", 3);
        for (name, parameters, body) in [
            ("FEATURE_HLT", None, "( 1*32+  7)"),
            ("CONTROL", Some(vec!["x".to_owned()]), "BIT(FEATURE_##x & 0x1f)"),
            ("SUM", None, "1 + 2"),
            ("SELF", None, "SELF + 1"),
            ("D0", None, "(D1+D1)"),
        ] {
            symbols.define(Macro { name: name.to_owned(), parameters, body: lex(body).unwrap(), line: 1 });
        }
        for n in 1..50 {
            let body = lex(&format!("(D{0}+D{0})", n + 1)).unwrap();
            symbols.define(Macro { name: format!("D{n}"), parameters: None, body, line: 1 });
        }
        symbols.evaluate(&lex(text).unwrap())
    }

    #[test]
    fn expressions() {
        for (text, expected) in [
            ("0x80000000", 0x8000_0000),
            ("0X1fUL", 31),
            ("017", 15),
            ("0", 0),
            ("1u << 31", 1 << 31),
            ("BIT_ULL(63)", 1 << 63),
            ("GENMASK(7, 4)", 0xf0),
            ("(u64)1 << (2 + THREE * 2)", 256),
            ("((unsigned long) 3)", 3),
            ("-1", -1),
            ("~0x0fULL & 0xff", 0xf0),
            ("_AC(1, ULL) << 4", 16),
            ("CONTROL(HLT)", 128),
            // As text, without brackets.
            ("SUM * 2", 5),
            ("THREE ? 0x10 : 0x20", 16),
            ("1 << 2 | 1 /* a comment */", 5),
            ("BIT(1) | \\\n BIT(2)", 6),
            ("!0", 1),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_number() {
        for (text, why) in [
            ("NOWHERE", "not defined"),
            ("NOWHERE(1)", "not defined"),
            ("SELF", "not defined"),
            ("D0", "do not come to an end"),
            ("1 << 99", "no result"),
            ("1 / 0", "no result"),
            ("BIT(64)", "no bit 64"),
            ("GENMASK(1, 2)", "reversed"),
            ("1 2", "not expected"),
            ("(1", "missing"),
            ("", "no end"),
            ("1.5", "no integer"),
            ("\"text\"", "no integer"),
            ("0xffffffffffffffffff", "no integer"),
            ("CONTROL(HLT, HLT)", "takes 1 arguments"),
            (&"(".repeat(10_000), "too deep"),
        ] {
            let error = value(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_comment_without_end_names_its_line() {
        assert_eq!(lex("a\n\nb /* c\nd").unwrap_err().line, 3);
        // No fault: preprocessors pass over it.
        assert!(lex("#error Don't\n1").is_ok());
    }
}
