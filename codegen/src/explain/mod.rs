//! What is known of an entry of the tables, and what the bits of a value mean: for people, as text.

mod decode;
mod entry;
mod facts;
mod find;
mod kind;
pub mod number;
mod page;
mod relations;
mod rust;
mod show;
mod types;
mod words;

pub use decode::{SvmExit, VmxExit};
pub use kind::Kind;
pub use page::{Cell, Ink, Page};

use std::fmt;

use crate::model::Spec;

/// Nothing in the tables is what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// What was not found.
    pub message: String,
    /// What was probably meant, best first.
    pub candidates: Vec<String>,
}

/// What was asked for, or what is near it.
pub type Result<T> = std::result::Result<T, Unknown>;

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if !self.candidates.is_empty() {
            write!(f, "\nnearest:")?;
        }
        self.candidates.iter().try_for_each(|candidate| write!(f, "\n  {candidate}"))
    }
}

impl std::error::Error for Unknown {}

/// Answers questions about a spec that [`crate::lint()`] has nothing against.
pub struct Explainer<'s> {
    spec: &'s Spec,
    rust: rust::Rust<'s>,
}

impl<'s> Explainer<'s> {
    /// For these tables.
    pub fn new(spec: &'s Spec) -> Self {
        Explainer { spec, rust: rust::Rust::new(spec) }
    }

    /// The names of all entries, with what it takes to tell them from others.
    pub fn names(&self) -> Vec<String> {
        let all = entry::all(self.spec).into_iter().filter(|entry| !entry.is_reserved());
        all.map(|entry| entry.qualified(self.spec)).collect()
    }

    /// The names of the entries that should become Rust and do not.
    pub fn without_rust(&self) -> Vec<String> {
        let all = entry::all(self.spec).into_iter().filter(|entry| entry.rust_path(self.spec).is_some());
        all.filter(|entry| self.rust.of(*entry).is_empty()).map(|entry| entry.qualified(self.spec)).collect()
    }

    /// Whether a type is a word with bits; else it is an enumeration.
    pub fn is_word(&self, ty: &str) -> bool {
        types::shape(self.spec, ty).is_some_and(|shape| matches!(shape.content, types::Content::Word(_)))
    }

    /// The names of all types whose values can be decoded, with the number of their bits.
    pub fn types(&self) -> Vec<(String, u32)> {
        let width = |name: &String| types::shape(self.spec, name).map(|shape| shape.width);
        types::names(self.spec).into_iter().filter_map(|name| width(&name).map(|width| (name, width))).collect()
    }
}
