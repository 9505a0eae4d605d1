//! Rows of a document, ready to be compared.

use super::Range;
use crate::audit::names::{self, Names};
use crate::audit::source::{Kind, Row, Table};

/// A row of a document.
#[derive(Clone, Debug)]
pub(crate) struct Theirs<'t> {
    pub row: &'t Row,
    pub title: &'t str,
    pub names: Names,
    /// What identifies it; nothing when the row does not say.
    pub range: Option<Range>,
    /// The range has a low end only: an offset without a size.
    pub open: bool,
    pub reserved: bool,
    /// The upper half of a VMCS field, whose encoding was made that of the whole.
    pub half: bool,
}

impl<'t> Theirs<'t> {
    pub fn all(kind: &Kind, tables: &[&'t Table]) -> Vec<Theirs<'t>> {
        let rows = tables.iter().flat_map(|table| table.rows.iter().map(|row| (table.title.as_str(), row)));
        rows.map(|(title, row)| Theirs::new(kind, title, row)).collect()
    }

    fn new(kind: &Kind, title: &'t str, row: &'t Row) -> Theirs<'t> {
        let texts = [row.name.as_str()].into_iter().chain(row.aliases.iter().map(String::as_str));
        let mut theirs = Theirs {
            row,
            title,
            names: Names::of(texts),
            range: None,
            open: false,
            reserved: row.reserved || names::is_reserved(&row.name),
            half: false,
        };
        let bits = row.bits.map(|[high, low]| Range { low: low.into(), high: high.into() });
        let numbers = row.number.map(|low| Range { low, high: row.last.unwrap_or(low) });
        theirs.range = match kind {
            Kind::VmcsFields => numbers.map(|range| {
                theirs.half = range.low & 1 == 1;
                if theirs.half { Range::one(range.low & !1) } else { range }
            }),
            Kind::Controls(_) => bits.or(numbers),
            Kind::Bits { .. } => bits.or(numbers),
            Kind::Members(_) => row.number.map(|offset| {
                let start = offset.saturating_mul(8);
                let size = row.size.and_then(|size| i64::try_from(size).ok());
                let size = size.or_else(|| row.last.map(|last| last.saturating_sub(offset).saturating_add(1)));
                match (bits, size) {
                    (Some(bits), _) => {
                        Range { low: start.saturating_add(bits.low), high: start.saturating_add(bits.high) }
                    }
                    (None, Some(size)) => Range { low: start, high: start.saturating_add(size.saturating_mul(8) - 1) },
                    (None, None) => {
                        theirs.open = true;
                        Range { low: start, high: start }
                    }
                }
            }),
            _ => numbers,
        };
        // A range that is upside down says nothing.
        theirs.range = theirs.range.filter(|range| range.low <= range.high);
        theirs
    }
}
