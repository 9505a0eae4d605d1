//! Tokens to text that reads like Rust.
//!
//! Only as good as generated code needs: a line per item, statement and element of a list in braces, doc comments as such.
//! Nothing is added or left out, so the build script and the command write the same files, and neither needs a parser.

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// Lists in parentheses and brackets that do not fit get a line per element.
const WIDTH: usize = 110;

/// The text of a file.
pub(super) fn render(tokens: &TokenStream) -> String {
    let mut renderer = Renderer::default();
    renderer.stream(tokens, Style::Lines);
    renderer.line();
    renderer.text
}

/// What stands between the elements of a stream.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    /// Statements, items, members: a line each.
    Lines,
    /// Arguments and the like: all in one line.
    Inline,
    /// Arguments that do not fit: a line each.
    Broken,
}

/// What was written last, as far as spaces depend on it.
#[derive(Clone, Copy, Default, PartialEq)]
enum Last {
    /// Nothing that wants a space after it.
    #[default]
    Open,
    /// An identifier, a literal or a group: a binary operator may follow.
    Operand,
    /// A keyword before an expression or a pattern.
    Keyword,
    /// An operator with a space after it.
    Operator,
    /// A comma or a colon.
    Separator,
}

#[derive(Default)]
struct Renderer {
    text: String,
    indent: usize,
    last: Last,
    /// How many `<` of generics are open.
    generics: usize,
}

impl Renderer {
    fn stream(&mut self, tokens: &TokenStream, style: Style) {
        let tokens: Vec<_> = tokens.clone().into_iter().collect();
        let mut rest = tokens.as_slice();
        while let Some(token) = rest.first() {
            if let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = rest
                && hash.as_char() == '#'
            {
                self.attribute(attribute);
                rest = &rest[2..];
                continue;
            }
            rest = &rest[1..];
            match token {
                TokenTree::Group(group) => self.group(group, rest.first(), style),
                TokenTree::Ident(ident) => {
                    let word = ident.to_string();
                    let keyword = matches!(word.as_str(), "match" | "return" | "if" | "else" | "in" | "as");
                    self.word(&word, if keyword { Last::Keyword } else { Last::Operand });
                }
                TokenTree::Literal(literal) => self.word(&literal.to_string(), Last::Operand),
                TokenTree::Punct(first) => {
                    let mut operator = String::from(first.as_char());
                    let mut spacing = first.spacing();
                    while spacing == Spacing::Joint
                        && let [TokenTree::Punct(next), ..] = rest
                    {
                        operator.push(next.as_char());
                        spacing = next.spacing();
                        rest = &rest[1..];
                    }
                    self.punctuation(&operator, style);
                }
            }
        }
    }

    fn word(&mut self, word: &str, last: Last) {
        if self.last != Last::Open {
            self.text.push(' ');
        }
        self.text.push_str(word);
        self.last = last;
    }

    fn punctuation(&mut self, operator: &str, style: Style) {
        match operator {
            "," | ";" => {
                self.text.push_str(operator);
                self.last = Last::Separator;
                let ends = match style {
                    Style::Lines => self.generics == 0,
                    Style::Inline => false,
                    Style::Broken => operator == "," && self.generics == 0,
                };
                if ends {
                    self.line();
                }
            }
            ":" => self.glue(":", Last::Separator),
            "::" | "." => self.glue(operator, Last::Open),
            // A macro, or a negation.
            "!" if self.last == Last::Operand => self.glue("!", Last::Open),
            "<" => {
                self.generics += 1;
                self.glue("<", Last::Open);
            }
            ">" | ">>" if self.generics >= operator.len() => {
                self.generics -= operator.len();
                self.glue(operator, Last::Operand);
            }
            // Prefixes: of a reference, a negation, a lifetime.
            "&" | "!" | "'" | "&'" if self.last != Last::Operand => self.word(operator, Last::Open),
            _ => self.word(operator, Last::Operator),
        }
    }

    /// Writes without a space before.
    fn glue(&mut self, text: &str, last: Last) {
        self.text.push_str(text);
        self.last = last;
    }

    /// `#[…]` in a line of its own; documentation as a comment.
    fn attribute(&mut self, attribute: &Group) {
        let tokens: Vec<_> = attribute.stream().into_iter().collect();
        if let [TokenTree::Ident(doc), TokenTree::Punct(_), TokenTree::Literal(text)] = tokens.as_slice()
            && doc == "doc"
            && let Some(text) = unquoted(&text.to_string())
        {
            // Documented items stand apart, the first after an opening brace not.
            if !self.text.trim_end_matches([' ', '\n']).ends_with('{')
                && !self.comment_before()
                && !self.text.is_empty()
                && self.at_line_start()
            {
                self.text.truncate(self.text.trim_end_matches(' ').len());
                self.text.push('\n');
                self.text.extend(std::iter::repeat_n(' ', self.indent * 4));
            }
            for (i, text) in text.split('\n').enumerate() {
                if i > 0 {
                    self.line();
                }
                self.text.push_str("///");
                self.text.push_str(text);
            }
        } else {
            self.text.push('#');
            self.last = Last::Open;
            self.group(attribute, None, Style::Inline);
        }
        self.line();
    }

    fn at_line_start(&self) -> bool {
        self.text.trim_end_matches(' ').ends_with('\n')
    }

    /// Whether the line before is part of the same comment.
    fn comment_before(&self) -> bool {
        self.text
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .is_some_and(|line| line.trim_start().starts_with("///"))
    }

    fn group(&mut self, group: &Group, next: Option<&TokenTree>, style: Style) {
        let tokens = group.stream();
        // What is inside is no part of the generics around it.
        let generics = std::mem::take(&mut self.generics);
        match group.delimiter() {
            Delimiter::Brace => {
                let space = if self.at_line_start() { "" } else { " " };
                self.glue(&format!("{space}{{"), Last::Open);
                if !tokens.is_empty() {
                    self.lines(&tokens, Style::Lines);
                }
                self.glue("}", Last::Operand);
                let goes_on = match next {
                    Some(TokenTree::Punct(punct)) => matches!(punct.as_char(), ',' | ';' | '.'),
                    Some(TokenTree::Group(_)) => true,
                    _ => false,
                };
                if style == Style::Lines && !goes_on {
                    self.line();
                }
            }
            Delimiter::None => self.stream(&tokens, style),
            delimiter => {
                let (open, close) = if delimiter == Delimiter::Bracket { ("[", "]") } else { ("(", ")") };
                let call = delimiter == Delimiter::Parenthesis && self.last == Last::Operand;
                if call {
                    self.glue(open, Last::Open)
                } else {
                    self.word(open, Last::Open)
                }
                let flat = {
                    let mut inside = Renderer::default();
                    inside.stream(&tokens, Style::Inline);
                    inside.text
                };
                let column = self.text.len() - self.text.rfind('\n').map_or(0, |newline| newline + 1);
                if column + flat.len() > WIDTH && flat.contains(", ") {
                    self.lines(&tokens, Style::Broken);
                } else {
                    self.text.push_str(&flat);
                }
                self.glue(close, Last::Operand);
            }
        }
        self.generics = generics;
    }

    /// The elements of a group, between its delimiters.
    fn lines(&mut self, tokens: &TokenStream, style: Style) {
        self.indent += 1;
        self.line();
        self.stream(tokens, style);
        self.indent -= 1;
        self.line();
    }

    /// Ends the line, if there is one.
    fn line(&mut self) {
        self.last = Last::Open;
        self.text.truncate(self.text.trim_end_matches(' ').len());
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.extend(std::iter::repeat_n(' ', self.indent * 4));
    }
}

/// The text of a string literal that can be a doc comment.
fn unquoted(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('r') {
        let raw = raw.trim_matches('#');
        return raw.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
    }
    let mut text = String::new();
    let mut chars = literal.strip_prefix('"')?.strip_suffix('"')?.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(match chars.next()? {
                'n' => '\n',
                escaped => Some(escaped).filter(|escaped| matches!(escaped, '\\' | '"' | '\''))?,
            }),
            c => text.push(c),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use proc_macro2::{TokenStream, TokenTree};
    use quote::quote;

    use super::render;
    use crate::Spec;
    use crate::testing::base;

    /// The tokens one by one; of a string its value, and of a doc comment its lines, since documentation has two forms.
    fn flat(tokens: TokenStream, out: &mut Vec<String>) {
        for token in tokens {
            match token {
                TokenTree::Group(group) if group.stream().to_string().starts_with("doc =") => {
                    let text = group.stream().into_iter().last().unwrap().to_string();
                    let text = super::unquoted(&text).unwrap();
                    // The `#` is there once per line in one form, once in all in the other.
                    out.pop();
                    out.extend(text.split('\n').map(|line| format!("///{line}")));
                }
                TokenTree::Group(group) => {
                    out.push(format!("{:?}", group.delimiter()));
                    flat(group.stream(), out);
                    out.push("end".to_owned());
                }
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    out.push(super::unquoted(&text).unwrap_or(text));
                }
                token => out.push(token.to_string()),
            }
        }
    }

    #[test]
    fn no_token_is_lost() {
        let spec = Spec::load(base()).unwrap();
        for file in crate::emit(&spec).files {
            let (mut before, mut after) = (Vec::new(), Vec::new());
            flat(TokenStream::from_str(&render(&file.tokens)).unwrap(), &mut after);
            flat(file.tokens, &mut before);
            assert_eq!(before, after, "{}", file.path);
        }
    }

    #[test]
    fn text_reads_like_rust() {
        let tokens = quote! {
            /// A word.
            #[derive(Clone, Copy)]
            pub struct A(u32);
            impl A {
                /// A bit, "quoted".
                pub const B: Self = Self(0x1);
                /// A range.
                pub const fn c(self) -> u8 { ((self.0 & !0xf0) >> 4) as u8 }
            }
            pub const F: Field<u64, ReadWrite, If<conditions::X>> = Field::new(0x0);
            word! { A(u32) { B 0x1, } { C 7 4, } }
            pub static ALL: &[&'static str] = &["one"];
        };
        let text = "\
/// A word.
#[derive(Clone, Copy)]
pub struct A(u32);
impl A {
    /// A bit, \"quoted\".
    pub const B: Self = Self(0x1);

    /// A range.
    pub const fn c(self) -> u8 {
        ((self.0 & !0xf0) >> 4) as u8
    }
}
pub const F: Field<u64, ReadWrite, If<conditions::X>> = Field::new(0x0);
word! {
    A(u32) {
        B 0x1,
    } {
        C 7 4,
    }
}
pub static ALL: &[&'static str] = &[\"one\"];
";
        assert_eq!(render(&tokens), text);
    }
}
