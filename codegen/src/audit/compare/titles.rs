//! Tables of bits are found by their titles, or by the MSR that they describe.

use super::ours::Ours;
use super::theirs::Theirs;
use crate::audit::names::{Likeness, Names};
use crate::audit::source::{Kind, Table};

/// The table of the spec whose rows fit best among those with that title.
pub(super) fn find(ours: &[Ours], table: &Table, msr: Option<&str>) -> Option<usize> {
    // A title that many MSRs share says nothing.
    let wanted = Names::of_title(msr.unwrap_or(&table.title));
    let rows = Theirs::all(&table.kind, &[table]);
    let has_bits = table.rows.iter().any(|row| row.bits.is_some());
    let fit = |ours: &Ours| {
        let fits = |theirs: &&Theirs| {
            ours.entries.iter().any(|entry| {
                Some(entry.range) == theirs.range
                    && (entry.reserved && theirs.reserved || entry.names.likeness(&theirs.names) > Likeness::None)
            })
        };
        rows.iter().filter(fits).count()
    };
    let known = |ours: &(usize, &Ours)| {
        matches!(ours.1.kind, Kind::Bits { .. })
            && ours.1.name.starts_with("enum.") != has_bits
            && if msr.is_some() { ours.1.names.same(&wanted) } else { ours.1.titles.same(&wanted) }
    };
    let candidates: Vec<(usize, &Ours)> = ours.iter().enumerate().filter(known).collect();
    let best = candidates.iter().map(|(at, ours)| (fit(ours), std::cmp::Reverse(*at))).max()?;
    // One whose title is unique is meant even if nothing in it fits; but a table of bits may list the values of more than one of
    // its ranges, and the spec may have an enumeration for another one only.
    let unique = candidates.len() == 1 && (has_bits || table.complete);
    (best.0 > 0 || unique).then_some(best.1.0)
}
