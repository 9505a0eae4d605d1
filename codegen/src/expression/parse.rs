//! Tokens to expressions. Total: what is too deep or too large is a mistake like any other.

use std::ops::Range;

use super::lex::{self, Token};
use super::syntax::{Kind, Name, Node};
use super::{DEEPEST, LARGEST, Outcome, Problem};

/// What binds how tight; comparisons do not chain.
const COMPARISON: u32 = 4;

/// The expression that a text is.
pub(super) fn parse(text: &str) -> Outcome<Node> {
    let tokens = lex::lex(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, end: text.len(), depth: 0, nodes: 0 };
    let node = parser.expression(0)?;
    match parser.tokens.get(parser.at) {
        None => Ok(node),
        Some((token, range)) => {
            Err(Problem::new(range.clone(), format!("an operator is missing before {}", shown(*token))))
        }
    }
}

struct Parser<'t> {
    tokens: &'t [(Token<'t>, Range<usize>)],
    at: usize,
    /// Where the text ends.
    end: usize,
    /// How many calls deep.
    depth: u32,
    nodes: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<Token<'t>> {
        self.tokens.get(self.at).map(|(token, _)| *token)
    }

    /// The place of the next token.
    fn place(&self) -> Range<usize> {
        // At the end the place is the last token: an empty range behind it would be the quote.
        let last = || self.tokens.last().map_or(0..self.end, |(_, range)| range.clone());
        self.tokens.get(self.at).map_or_else(last, |(_, range)| range.clone())
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(next)) if next == sign);
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, sign: &str, after: &str) -> Outcome<Range<usize>> {
        let place = self.place();
        if self.takes(sign) {
            return Ok(place);
        }
        let space = if after.is_empty() { "" } else { " " };
        Err(Problem::new(place, format!("`{sign}` is missing{space}{after}{}", self.instead())))
    }

    /// What stands there instead.
    fn instead(&self) -> String {
        self.peek().map_or(", where the expression ends".to_owned(), |token| format!(", before {}", shown(token)))
    }

    fn node(&mut self, kind: Kind, range: Range<usize>, inner: u32) -> Outcome<Node> {
        self.nodes += 1;
        if self.nodes > LARGEST {
            return Err(lex::too_large(range));
        }
        if inner >= DEEPEST {
            return Err(too_deep(range));
        }
        Ok(Node { kind, range, depth: inner + 1 })
    }

    /// An expression whose operators bind at least as tight as `least`.
    fn expression(&mut self, least: u32) -> Outcome<Node> {
        if self.depth >= DEEPEST {
            return Err(too_deep(self.place()));
        }
        self.depth += 1;
        let node = self.operators(least);
        self.depth -= 1;
        node
    }

    fn operators(&mut self, least: u32) -> Outcome<Node> {
        let mut left = self.prefix()?;
        let mut compared = false;
        while let Some(token) = self.peek() {
            let Some((operator, strength)) = operator(token) else { break };
            if strength < least {
                break;
            }
            if strength == COMPARISON && compared {
                let problem = Problem::new(self.place(), "comparisons do not chain");
                return Err(problem.help("join them with `&&`, or put one in parentheses"));
            }
            compared = strength == COMPARISON;
            let start = left.range.start;
            self.at += 1;
            left = match operator {
                "in" => self.list(left, false)?,
                "not" => {
                    if self.peek() != Some(Token::Word("in")) {
                        let problem = Problem::new(self.place(), "`in` is missing after `not`");
                        return Err(problem.help("`x not in (…)`; a negation is `!`"));
                    }
                    self.at += 1;
                    self.list(left, true)?
                }
                _ => {
                    // `=>` associates to the right, all others to the left.
                    let right = self.expression(if operator == "=>" { strength } else { strength + 1 })?;
                    let (range, depth) = (start..right.range.end, left.depth.max(right.depth));
                    self.node(Kind::Binary(operator, Box::new(left), Box::new(right)), range, depth)?
                }
            };
        }
        Ok(left)
    }

    /// What follows `in`.
    fn list(&mut self, value: Node, negated: bool) -> Outcome<Node> {
        self.need("(", "after `in`")?;
        let mut list = Vec::new();
        let mut depth = value.depth;
        let end = loop {
            if let Some(Token::Sign(")")) = self.peek()
                && !list.is_empty()
            {
                break self.need(")", "")?;
            }
            let first = self.expression(COMPARISON + 1)?;
            let last = if self.takes("..=") { Some(self.expression(COMPARISON + 1)?) } else { None };
            depth = depth.max(first.depth).max(last.as_ref().map_or(0, |last| last.depth));
            list.push((first, last));
            if !self.takes(",") {
                break self.need(")", "after the list")?;
            }
        };
        let range = value.range.start..end.end;
        self.node(Kind::In { value: Box::new(value), negated, list }, range, depth)
    }

    fn prefix(&mut self) -> Outcome<Node> {
        let place = self.place();
        let sign = match self.peek() {
            Some(Token::Sign(sign @ ("!" | "~"))) => sign,
            _ => return self.primary(),
        };
        if self.depth >= DEEPEST {
            return Err(too_deep(place));
        }
        self.at += 1;
        self.depth += 1;
        let inner = self.prefix();
        self.depth -= 1;
        let inner = inner?;
        let (range, depth) = (place.start..inner.range.end, inner.depth);
        let inner = Box::new(inner);
        self.node(if sign == "!" { Kind::Not(inner) } else { Kind::Complement(inner) }, range, depth)
    }

    fn primary(&mut self) -> Outcome<Node> {
        let place = self.place();
        let Some(token) = self.peek() else {
            return Err(Problem::new(place, "the expression ends where a value is missing"));
        };
        self.at += 1;
        match token {
            Token::Number(number) => self.node(Kind::Number(number), place, 0),
            Token::Word("true") => self.node(Kind::Bool(true), place, 0),
            Token::Word("false") => self.node(Kind::Bool(false), place, 0),
            Token::Word(word @ ("in" | "not")) => {
                let problem = Problem::new(place, format!("a value is missing before `{word}`"));
                Err(if word == "not" { problem.help("a negation is `!`") } else { problem })
            }
            Token::Word(word) => self.named(Name { text: word.to_owned(), range: place }),
            Token::Sign("(") => {
                let mut inner = self.expression(0)?;
                let end = self.need(")", "")?;
                inner.range = place.start..end.end;
                Ok(inner)
            }
            Token::Sign(sign) => {
                let problem = Problem::new(place, format!("a value is missing before `{sign}`"));
                Err(if sign == "-" { problem.help("numbers have no sign; `a - b` wraps at 64 bits") } else { problem })
            }
        }
    }

    /// What starts with a word.
    fn named(&mut self, first: Name) -> Outcome<Node> {
        let start = first.range.start;
        if self.takes("(") {
            let mut list = Vec::new();
            let mut depth = 0;
            let end = loop {
                if let Some(Token::Sign(")")) = self.peek() {
                    break self.need(")", "")?;
                }
                let argument = self.expression(0)?;
                depth = depth.max(argument.depth);
                list.push(argument);
                if !self.takes(",") {
                    break self.need(")", "after the arguments")?;
                }
            };
            return self.node(Kind::Call(first, list), start..end.end, depth);
        }
        if self.takes("::") {
            let value = self.word("`::`")?;
            let range = start..value.range.end;
            return self.node(Kind::Constant(first, value), range, 0);
        }
        let mut path = vec![first];
        while self.takes(".") {
            path.push(self.word("the full stop")?);
        }
        let end = path.last().map_or(start, |last| last.range.end);
        self.node(Kind::Path(path), start..end, 0)
    }

    fn word(&mut self, after: &str) -> Outcome<Name> {
        let place = self.place();
        match self.peek() {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(Name { text: word.to_owned(), range: place })
            }
            _ => Err(Problem::new(place, format!("a name is missing after {after}"))),
        }
    }
}

fn too_deep(range: Range<usize>) -> Problem {
    let problem = Problem::new(range, format!("the expression nests more than {DEEPEST} deep"));
    problem.help("give parts of it a name with `[[define]]`")
}

/// The operator between two values, and how tight it binds.
fn operator(token: Token) -> Option<(&'static str, u32)> {
    Some(match token {
        Token::Word("in") => ("in", COMPARISON),
        Token::Word("not") => ("not", COMPARISON),
        Token::Sign(sign) => {
            let strength = match sign {
                "=>" => 1,
                "||" => 2,
                "&&" => 3,
                "==" | "!=" | "<" | "<=" | ">" | ">=" => COMPARISON,
                "|" => 5,
                "^" => 6,
                "&" => 7,
                "<<" | ">>" => 8,
                "+" | "-" => 9,
                _ => return None,
            };
            (sign, strength)
        }
        _ => return None,
    })
}

fn shown(token: Token) -> String {
    match token {
        Token::Number(number) => format!("`{number}`"),
        Token::Word(word) => format!("`{word}`"),
        Token::Sign(sign) => format!("`{sign}`"),
    }
}
