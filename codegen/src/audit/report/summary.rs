//! Numbers.

use crate::audit::compare::{Comparison, Outcome, TableReport};
use crate::audit::source::Standing;

/// The outcomes that a summary counts in a column each, with its heading.
pub(super) const COLUMNS: [(Outcome, &str); 9] = [
    (Outcome::Confirmed, "confirmed"),
    (Outcome::Renamed, "other name"),
    (Outcome::Contradicted, "contradicted"),
    (Outcome::MissingHere, "missing here"),
    (Outcome::MissingThere, "missing there"),
    (Outcome::Excused, "excused"),
    (Outcome::Retired, "retired"),
    (Outcome::Elsewhere, "elsewhere"),
    (Outcome::Unlisted, "unlisted"),
];

/// How much of a table a document has, in percent with one decimal; nothing of a table without rows.
pub(super) fn coverage(table: &TableReport) -> Option<f64> {
    let (have, all) = (u32::try_from(table.confirmed()).ok()?, u32::try_from(table.rows).ok()?);
    (all > 0).then(|| (f64::from(have.min(all)) * 1000.0 / f64::from(all)).floor() / 10.0)
}

/// What the word of a document is worth.
pub(super) fn standing(comparison: &Comparison) -> &'static str {
    match comparison.standing {
        Standing::Manual => "manual",
        Standing::Other => "other",
        Standing::Derived => "derived",
    }
}

/// What has to be known of a document to read its numbers.
pub(super) fn caveats(comparison: &Comparison) -> Vec<String> {
    let mut all = Vec::new();
    match (&comparison.doc, comparison.standing) {
        (_, Standing::Derived) => {
            all.push("made from tables like these, or from notes: it confirms nothing".to_owned())
        }
        (None, _) => all.push("manuals.toml does not list it".to_owned()),
        (Some(_), Standing::Manual) => {}
        (Some(_), Standing::Other) => all.push("no manual: it confirms together with another one only".to_owned()),
    }
    if comparison.tables.is_empty() {
        all.push("none of its tables corresponds to one of the spec".to_owned());
    }
    all
}
