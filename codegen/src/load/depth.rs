//! How deep the tables of a file nest, found before they are parsed.
//!
//! A parsed table is freed by recursion, so a few kilobytes of brackets or of dotted keys could exhaust the stack. The
//! parser limits brackets and dots each for itself, not what both together make.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// Far more than any table needs, and little for a stack.
pub(super) const LIMIT: usize = 64;

/// The first place that is nested too deep.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    // The dots of the key before each open bracket, and the brackets themselves.
    let mut open = vec![0_usize];
    let mut depth = 0;
    for token in Source::new(text).lex() {
        let outside = open.len() == 1;
        let dots = open.last_mut()?;
        match token.kind() {
            TokenKind::Dot => {
                *dots += 1;
                depth += 1;
            }
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                open.push(0);
                depth += 1;
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket if !outside => {
                depth -= 1 + open.pop().unwrap_or(0);
            }
            // The next key.
            TokenKind::Comma => depth -= std::mem::take(dots),
            TokenKind::Newline if outside => depth -= std::mem::take(dots),
            _ => {}
        }
        if depth > LIMIT {
            return Some(token.span().start());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, too_deep};

    #[test]
    fn brackets_and_dots_count_together() {
        assert_eq!(too_deep(&"[".repeat(LIMIT)), None);
        assert_eq!(too_deep(&"[".repeat(LIMIT + 1)), Some(LIMIT));
        let part = format!("a{}={{", ".a".repeat(9));
        assert_eq!(too_deep(&part.repeat(6)), None);
        assert_eq!(too_deep(&part.repeat(7)), Some(6 * part.len() + 9));
    }

    #[test]
    fn keys_next_to_each_other_do_not_add_up() {
        assert_eq!(too_deep(&"a.b.c = { d.e = 1.5, f.g = [1.5, 2.5] }\n".repeat(1000)), None);
        assert_eq!(too_deep(&"[[control.bit]]\n".repeat(1000)), None);
    }

    #[test]
    fn texts_and_comments_do_not_count() {
        let many = "[.".repeat(LIMIT);
        assert_eq!(too_deep(&format!("a = \"{many}\" # {many}\nb = '''\n{many}'''\n")), None);
    }
}
