//! The expressions of `entry_checks.toml`: read, typed against the tables, and evaluated.
//!
//! [`Rules::of`] makes of a vendor's rows what can be judged; [`violations`] judges it on a state whose values are asked
//! for by name. The grammar is in the README of the `spec/` directory. A value that the state does not have makes what
//! depends on it unknown: such a rule is neither broken nor kept.

mod dependencies;
mod evaluate;
mod functions;
mod lex;
mod lookup;
mod names;
mod parse;
mod resolve;
mod rules;
mod syntax;
mod template;
mod typed;

#[cfg(test)]
mod tests;

pub use evaluate::{Judgement, State, Verdict, judge, judge_some, violations};
pub use rules::{Definition, Rule, Rules};
pub use typed::{Binary, Capability, EntryPart, Expr, Place, Register};

/// As deep may an expression nest, and as many definitions may stand behind one another.
pub(crate) const DEEPEST: u32 = 48;
/// As many definitions may stand behind one another.
pub(crate) const LONGEST_CHAIN: u32 = 16;
/// As many parts may an expression have.
pub(crate) const LARGEST: usize = 1000;

/// What is wrong in an expression: bytes of its text, after templates were filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub range: std::ops::Range<usize>,
    pub message: String,
    pub help: Option<String>,
    /// Another place, in the tables.
    pub related: Option<(crate::model::Span, String)>,
}

impl Problem {
    fn new(range: std::ops::Range<usize>, message: impl Into<String>) -> Self {
        Problem { range, message: message.into(), help: None, related: None }
    }

    fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    fn related(mut self, span: crate::model::Span, text: impl Into<String>) -> Self {
        self.related = Some((span, text.into()));
        self
    }
}

/// Whether a word has a meaning in expressions, so that no definition can be called so.
pub(crate) fn is_reserved(name: &str) -> bool {
    names::HEADS.contains(&name) || functions::is_function(name)
}

type Outcome<T> = Result<T, Problem>;
