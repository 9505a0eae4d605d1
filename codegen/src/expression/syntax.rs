//! Expressions as they are written.

use std::ops::Range;

/// A word with its place.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub text: String,
    pub range: Range<usize>,
}

/// An expression with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub kind: Kind,
    pub range: Range<usize>,
    /// How deep it nests.
    pub depth: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Number(u64),
    Bool(bool),
    /// `GUEST_CR0.PE`
    Path(Vec<Name>),
    /// `ActivityState::HLT`
    Constant(Name, Name),
    Call(Name, Vec<Node>),
    Not(Box<Node>),
    Complement(Box<Node>),
    Binary(&'static str, Box<Node>, Box<Node>),
    In {
        value: Box<Node>,
        negated: bool,
        /// A value, or the first and the last of a range.
        list: Vec<(Node, Option<Node>)>,
    },
}
