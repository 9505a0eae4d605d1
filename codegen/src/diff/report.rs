//! A comparison for readers and for programs.

mod json;
mod markdown;
mod text;
mod values;

use super::{Comparison, Level, version};

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Text,
    /// For programs.
    Json,
    /// For a changelog or a pull request.
    Markdown,
}

/// A comparison with what is known of the two sides.
#[derive(Clone, Debug)]
pub struct Report<'c> {
    /// What differs.
    pub comparison: &'c Comparison,
    /// What the old side is called.
    pub old: String,
    /// What the new side is called.
    pub new: String,
    /// The version of the package with the old tables, if it is known.
    pub old_version: Option<String>,
    /// The version of the package with the new tables, if it is known.
    pub new_version: Option<String>,
    /// Show each note and citation, instead of how many differ.
    pub verbose: bool,
}

impl Report<'_> {
    /// The text, with a line break at its end.
    pub fn print(&self, format: Format) -> String {
        match format {
            Format::Text => text::print(self),
            Format::Json => json::print(self),
            Format::Markdown => markdown::print(self),
        }
    }

    /// The level, if it is known.
    fn level(&self) -> Option<Level> {
        self.comparison.api.as_ref().ok().map(|api| api.level())
    }

    /// The version that Cargo's rules ask for, if it is known.
    fn needed(&self) -> Option<String> {
        version::needed(self.old_version.as_deref()?, self.level()?)
    }

    /// Whether the new version will do, if it is known.
    fn sufficient(&self) -> Option<bool> {
        version::sufficient(self.old_version.as_deref()?, self.new_version.as_deref()?, self.level()?)
    }

    /// What the versions have to be, in words.
    fn advice(&self) -> Option<String> {
        let (old, needed, level) = (self.old_version.as_deref()?, self.needed()?, self.level()?);
        let why = match level {
            Level::None => return Some(format!("{old} may stay: the generated code is the same")),
            Level::Major if old.starts_with("0.") => "the API breaks, which at 0.y asks for another minor version",
            Level::Major => "the API breaks, which asks for another major version",
            Level::Minor if old.starts_with("0.") => "the API grows, for which at 0.y a patch version will do",
            Level::Minor => "the API grows, which asks for another minor version",
            Level::Patch => "no signature differs, for which a patch version will do",
        };
        let now = match (self.new_version.as_deref(), self.sufficient()) {
            (Some(new), Some(true)) => format!("; {new} will do"),
            (Some(new), Some(false)) => format!("; {new} is too low"),
            _ => String::new(),
        };
        Some(format!("{old} becomes at least {needed} ({why}){now}"))
    }
}
