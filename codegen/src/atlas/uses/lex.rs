//! The identifiers of a Rust file.

/// An identifier.
pub(crate) struct Word<'t> {
    pub text: &'t str,
    /// Counted from 1.
    pub line: u32,
    pub before: Before,
}

/// What precedes an identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// `Path::`
    Path(String),
    /// A dot.
    Dot,
    /// Anything else.
    Other,
}

/// The identifiers outside of comments and literals, up to the module of tests at the end of a file.
pub(crate) fn words(text: &str) -> Vec<Word<'_>> {
    let bytes = text.as_bytes();
    let (mut at, mut line) = (0, 1);
    let mut words: Vec<Word> = Vec::new();
    // The punctuation since the last identifier, as far as it matters.
    let mut between = String::new();
    while at < bytes.len() {
        let rest = &text[at..];
        let end = at + skipped(rest).unwrap_or(0);
        if end > at {
            line += newlines(&text[at..end]);
            between.push(' ');
            at = end;
            continue;
        }
        let length = identifier(rest);
        if length > 0 {
            let before = match (between.trim(), words.last()) {
                ("::", Some(last)) => Before::Path(last.text.to_owned()),
                (".", _) => Before::Dot,
                (other, _) if other.ends_with('.') && !other.ends_with("..") => Before::Dot,
                _ => Before::Other,
            };
            words.push(Word { text: &rest[..length], line, before });
            between.clear();
            at += length;
            continue;
        }
        let c = rest.chars().next().unwrap_or('\0');
        if rest.starts_with("#[cfg(test)]") && rest["#[cfg(test)]".len()..].trim_start().starts_with("mod ") {
            let module = &rest[..rest.find(['{', ';']).map_or(rest.len(), |end| end + 1)];
            if module.ends_with('{') {
                break;
            }
        }
        line += u32::from(c == '\n');
        between.push(c);
        at += c.len_utf8();
    }
    words
}

/// The length of the comment or literal that `text` starts with.
fn skipped(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let end_of = |end: Option<usize>| Some(end.unwrap_or(text.len()));
    if text.starts_with("//") {
        return end_of(text.find('\n'));
    }
    if text.starts_with("/*") {
        return Some(block(text));
    }
    if let Some(hashes) = text.strip_prefix('r').map(|rest| rest.len() - rest.trim_start_matches('#').len())
        && text[1 + hashes..].starts_with('"')
    {
        let close = format!("\"{}", "#".repeat(hashes));
        let body = 2 + hashes;
        return end_of(text[body..].find(&close).map(|end| body + end + close.len()));
    }
    match bytes.first()? {
        b'"' => Some(quoted(bytes, b'"')),
        // A character, unless it is a lifetime.
        b'\'' if bytes.get(1) == Some(&b'\\') => Some(quoted(bytes, b'\'')),
        b'\'' => {
            let c = text[1..].chars().next()?;
            text[1 + c.len_utf8()..].starts_with('\'').then(|| 2 + c.len_utf8())
        }
        byte if byte.is_ascii_digit() => {
            Some(bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count())
        }
        _ => None,
    }
}

/// The length of a block comment; they nest.
fn block(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match rest {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of a literal in quotes.
fn quoted(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn identifier(text: &str) -> usize {
    if !text.starts_with(|c: char| c == '_' || c.is_alphabetic()) {
        return 0;
    }
    text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len())
}

fn newlines(text: &str) -> u32 {
    text.bytes().filter(|byte| *byte == b'\n').map(|_| 1).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(&str, u32, Before)> {
        words(text).into_iter().map(|word| (word.text, word.line, word.before)).collect()
    }

    #[test]
    fn comments_and_literals_are_skipped() {
        let text = "a // b\n/* c /* d */ e */ \"f\\\" g\" 'h' '\\n' r#\"i \" j\"# k 0x1f l<'m>";
        let names: Vec<_> = read(text).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["a", "k", "l", "m"]);
    }

    #[test]
    fn lines_and_what_precedes_are_told() {
        let text = "A::B\n.c(D, e)\n\"x\ny\" f";
        let path = Before::Path("A".to_owned());
        let expected = [
            ("A", 1, Before::Other),
            ("B", 1, path),
            ("c", 2, Before::Dot),
            ("D", 2, Before::Other),
            ("e", 2, Before::Other),
            ("f", 4, Before::Other),
        ];
        assert_eq!(read(text), expected);
    }

    #[test]
    fn text_that_is_no_rust_harms_nobody() {
        for text in ["\"", "'", "r#\"", "/*", "'\\", "é::ö", "\"\\", "r", "'é"] {
            let _ = words(text);
        }
    }
}
