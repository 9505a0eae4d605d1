//! An item that a user of the generated code can name.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A public item, or a trait that a public type implements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// What it is part of: a module, a type.
    pub parent: String,
    /// What users write code against. Another signature breaks them.
    pub signature: String,
    /// What it does or is: a constant's value, a function's body.
    pub contents: String,
    /// Whether `contents` is a number or a rule that users may have relied on, rather than a list that grows.
    pub has_value: bool,
    /// Its documentation.
    pub docs: String,
    /// Whether another item in it breaks users: an enumeration whose variants they match, a structure that they build.
    pub closed: bool,
    /// Whether it is such a part.
    pub part: bool,
}

/// Tokens in a line, spaced for readers.
pub(super) fn line(tokens: &TokenStream) -> String {
    let mut line = String::new();
    write(tokens, &mut line);
    line
}

fn write(tokens: &TokenStream, out: &mut String) {
    let mut joint = false;
    for token in tokens.clone() {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => (" { ", " }"),
                    Delimiter::None => ("", ""),
                };
                out.push_str(open);
                write(&group.stream(), out);
                out.push_str(close);
                joint = false;
            }
            TokenTree::Punct(punct) => {
                let (c, spaced) = (punct.as_char(), matches!(punct.as_char(), '=' | '|' | '+' | '-'));
                if spaced && !joint && !out.ends_with([' ', '(', '[']) {
                    out.push(' ');
                }
                out.push(c);
                let arrow = c == '>' && out.ends_with("->");
                joint = punct.spacing() == proc_macro2::Spacing::Joint;
                if !joint && (spaced || arrow || matches!(c, ',' | ';') || (c == ':' && !out.ends_with("::"))) {
                    out.push(' ');
                }
            }
            word => {
                if out.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ')' | ']' | '>' | '"')) {
                    out.push(' ');
                }
                out.push_str(&word.to_string());
                joint = false;
            }
        }
    }
    if out.ends_with([' ']) && !out.ends_with("{ ") {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::line;

    #[test]
    fn a_line_reads_like_rust() {
        let tokens = quote! { pub const A: Field<crate::spec::X, ReadWrite, If<conditions::Y>> = Field::new(0x201a); };
        assert_eq!(
            line(&tokens),
            "pub const A: Field<crate::spec::X, ReadWrite, If<conditions::Y>> = Field::new(0x201a);"
        );
        let tokens = quote! { pub const fn f(&self, value: u8) -> &[u8; 4] };
        assert_eq!(line(&tokens), "pub const fn f(&self, value: u8) -> &[u8; 4]");
    }
}
