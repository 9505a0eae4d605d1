//! What can differ between two rows.

use serde_json::Value;

/// A row that only one side has.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Its name, with what it is part of.
    pub name: String,
    /// Its number, by column.
    pub number: Vec<(&'static str, Value)>,
}

/// A value that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The name of the column, as in the export.
    pub name: &'static str,
    /// Before; null where there was none.
    pub old: Value,
    /// After; null where there is none.
    pub new: Value,
}

/// A row that both sides have, with what differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Its name, with what it is part of.
    pub name: String,
    /// The values.
    pub columns: Vec<Column>,
}

/// A row with another name.
#[derive(Clone, Debug, PartialEq)]
pub struct Renamed {
    /// Before.
    pub old: String,
    /// After.
    pub new: String,
    /// Its number now, by column.
    pub number: Vec<(&'static str, Value)>,
    /// Whether one of the two rows lists the other's name among its `aliases`.
    pub alias: bool,
}

/// What happened to reserved bits or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedChange {
    /// They have a name now.
    Named,
    /// They had a name.
    Unnamed,
    /// They were not listed.
    Added,
    /// They are no longer listed.
    Removed,
    /// They must have another value, or are other ones.
    Changed,
}

impl ReservedChange {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            ReservedChange::Named => "named",
            ReservedChange::Unnamed => "unnamed",
            ReservedChange::Added => "added",
            ReservedChange::Removed => "removed",
            ReservedChange::Changed => "changed",
        }
    }
}

/// Reserved bits or bytes that differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Reserved {
    /// Their name, with what they are part of.
    pub name: String,
    /// What happened.
    pub change: ReservedChange,
    /// The name that they have now, or had.
    pub other: Option<String>,
    /// Their number, by column: the new one if there is one.
    pub number: Vec<(&'static str, Value)>,
    /// What else differs.
    pub columns: Vec<Column>,
}
