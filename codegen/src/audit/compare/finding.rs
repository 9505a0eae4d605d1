//! What is found.

use super::Address;
use crate::audit::source::Place;

/// What a document says of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Something else.
    Contradicted,
    /// The document has it, the spec has not.
    MissingHere,
    /// The spec has it and cites the document, which has it not.
    MissingThere,
    /// It differs, and the row says why.
    Excused,
    /// An excuse for nothing: the document agrees.
    Unneeded,
    /// Not there, as the row is retired.
    Retired,
    /// Not there, and the row cites another document.
    Elsewhere,
    /// In the document, of whose rows the spec has a selection.
    Unlisted,
    /// Something that could not be compared.
    Remark,
    /// The same, under another name.
    Renamed,
    /// The same.
    Confirmed,
}

impl Outcome {
    /// All of them, in the order of reports.
    pub const ALL: [Outcome; 11] = [
        Outcome::Contradicted,
        Outcome::MissingHere,
        Outcome::MissingThere,
        Outcome::Excused,
        Outcome::Unneeded,
        Outcome::Retired,
        Outcome::Elsewhere,
        Outcome::Unlisted,
        Outcome::Remark,
        Outcome::Renamed,
        Outcome::Confirmed,
    ];

    /// A word for reports that programs read.
    pub fn id(self) -> &'static str {
        match self {
            Outcome::Contradicted => "contradicted",
            Outcome::MissingHere => "missing-here",
            Outcome::MissingThere => "missing-there",
            Outcome::Excused => "excused",
            Outcome::Unneeded => "unneeded-excuse",
            Outcome::Retired => "retired",
            Outcome::Elsewhere => "elsewhere",
            Outcome::Unlisted => "unlisted",
            Outcome::Remark => "remark",
            Outcome::Renamed => "other-name",
            Outcome::Confirmed => "confirmed",
        }
    }

    /// What it means, for readers.
    pub fn meaning(self) -> &'static str {
        match self {
            Outcome::Contradicted => "the document says otherwise",
            Outcome::MissingHere => "the document has it, the tables do not",
            Outcome::MissingThere => "the tables have it, the document does not",
            Outcome::Excused => "differs, and the row says why",
            Outcome::Unneeded => "the excuse is not needed: the document agrees",
            Outcome::Retired => "retired, and not in the document",
            Outcome::Elsewhere => "cited from another document, and not in this one",
            Outcome::Unlisted => "in the document, of which the tables have a selection",
            Outcome::Remark => "not compared",
            Outcome::Renamed => "confirmed under another name",
            Outcome::Confirmed => "confirmed",
        }
    }

    /// Whether the document has the row as it is here.
    pub fn confirms(self) -> bool {
        matches!(self, Outcome::Renamed | Outcome::Confirmed)
    }

    /// Whether an audit fails for it.
    pub fn fails(self) -> bool {
        matches!(self, Outcome::Contradicted | Outcome::MissingHere | Outcome::MissingThere)
    }
}

/// A row of the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// Our identifier.
    pub name: String,
    /// The file.
    pub path: String,
    /// The line.
    pub line: usize,
}

/// A row of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct There {
    /// The name as it is printed.
    pub name: String,
    /// The title of its table.
    pub title: String,
    /// Where it is.
    pub place: Place,
}

/// What was found of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In a word.
    pub outcome: Outcome,
    /// In a sentence, with the names.
    pub message: String,
    /// The row of the spec, if there is one; of two swapped rows the first.
    pub here: Option<Here>,
    /// The row of the document, if there is one.
    pub there: Option<There>,
    /// Why it is excused.
    pub reason: Option<String>,
    /// The rows of the spec that it is about.
    pub(crate) about: Vec<Address>,
}
