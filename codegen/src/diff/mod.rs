//! What differs between two specs: row by row, and in the API that is generated from them.

mod api;
mod item;
mod keys;
mod report;
mod rows;
mod tables;
mod verdict;
mod version;

pub use report::{Format, Report};
pub use rows::{Column, Difference, Place, Renamed, Reserved, ReservedChange};
pub use tables::TableDiff;
pub use verdict::{ApiChange, ApiDiff, Kind, Level};
pub use version::{needed, sufficient};

use crate::model::Spec;

/// What differs between two specs.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The tables in which something differs, in the order of the export.
    pub tables: Vec<TableDiff>,
    /// What that means for the users of the generated code, or why it cannot be said.
    pub api: Result<ApiDiff, String>,
}

impl Comparison {
    /// Compares `old` with `new`. Lints may have something against either: then the API may be unknown.
    pub fn new(old: &Spec, new: &Spec) -> Self {
        let api = api::items(old).map_err(|why| format!("the old tables become no API: {why}")).and_then(|old| {
            let new = api::items(new).map_err(|why| format!("the new tables become no API: {why}"))?;
            Ok(ApiDiff::new(&old, &new))
        });
        Comparison { tables: tables::compare(old, new), api }
    }

    /// Whether nothing differs, notes and citations included.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.api.as_ref().is_ok_and(|api| api.level() == Level::None)
    }

    /// Whether the API breaks, or may.
    pub fn may_break(&self) -> bool {
        self.api.as_ref().map_or(true, |api| api.level() == Level::Major)
    }
}
