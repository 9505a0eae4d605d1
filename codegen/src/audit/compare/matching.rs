//! Which row of a document is which of ours, and what differs.

mod ranges;
mod verdicts;

use super::document::Document;
use super::ours::Ours;
use super::{Entry, Outcome, Range, TableReport, Theirs, attributes, numbers};
use crate::audit::names::{Likeness, Names};
use crate::audit::source::{Kind, Table};
use crate::model::Spec;
use verdicts::Verdicts;

/// Compares a table of ours with those of the document that have its rows.
pub(super) fn compare(spec: &Spec, document: &Document, ours: &Ours, tables: &[&Table]) -> TableReport {
    let theirs = Theirs::all(&ours.kind, tables);
    let verdicts = Verdicts::new(spec, document, ours.entries.len());
    let mut matching = Matching { spec, ours, theirs: &theirs, verdicts, is_manual: document.is_manual() };
    let rest = matching.same_names();
    let rest = matching.same_numbers(rest);
    ranges::wider(&mut matching, rest);
    matching.reserved();
    ranges::made_of_parts(&mut matching);
    if tables.iter().all(|table| table.complete) {
        matching.missing_there(document);
    }
    let mut titles: Vec<String> = tables.iter().map(|table| table.title.clone()).collect();
    titles.dedup();
    let all_borrowed = ours.entries.iter().all(|entry| entry.borrowed);
    let counted = |entry: &&Entry| !entry.reserved && (!entry.borrowed || all_borrowed);
    TableReport {
        name: ours.name.clone(),
        titles,
        rows: ours.entries.iter().filter(counted).count(),
        findings: matching.verdicts.finish(&ours.entries),
    }
}

struct Matching<'m, 's> {
    spec: &'s Spec,
    ours: &'m Ours<'s>,
    theirs: &'m [Theirs<'m>],
    verdicts: Verdicts<'m, 's>,
    is_manual: bool,
}

impl<'m, 's> Matching<'m, 's> {
    /// The entry at the row's number; of several the one whose name is most like the row's.
    fn at_number(&self, theirs: &Theirs) -> Option<(usize, Likeness)> {
        let range = theirs.range?;
        let same = |entry: &Entry| match theirs.open {
            true => entry.range.low == range.low && entry.address.part.is_none() && !entry.borrowed,
            false => entry.range == range,
        };
        let found = self.ours.entries.iter().enumerate().filter(|(_, entry)| same(entry));
        let rated = found.map(|(at, entry)| (at, entry.names.likeness(&theirs.names)));
        // The first of equals, and what has a meaning before what is reserved.
        rated.min_by_key(|(at, likeness)| (std::cmp::Reverse(*likeness), self.ours.entries[*at].reserved, *at))
    }

    /// Rows that have a name of ours, and its number. What remains.
    fn same_names(&mut self) -> Vec<usize> {
        let mut rest = Vec::new();
        for (i, theirs) in self.theirs.iter().enumerate() {
            match self.at_number(theirs) {
                Some((at, Likeness::Same)) if self.ours.entries[at].reserved => {}
                // Even if it is called reserved: "Reserved for host use" is a name.
                Some((at, Likeness::Same)) => self.agree(at, theirs, Outcome::Confirmed),
                _ if theirs.reserved => {}
                _ => rest.push(i),
            }
        }
        rest
    }

    /// An entry has the row's number and one of its names, or a name that is like it.
    fn agree(&mut self, at: usize, theirs: &'m Theirs<'m>, outcome: Outcome) {
        let entry = &self.ours.entries[at];
        let found = attributes::compare(self.spec, entry, theirs);
        for text in found.unclear {
            self.verdicts.row(Outcome::Remark, Some(at), entry, theirs, format!("{}: {text}", entry.head.name()));
        }
        if !found.differ.is_empty() {
            let text = format!("{}: {}", entry.head.name(), found.differ.join("; "));
            self.verdicts.row(Outcome::Contradicted, Some(at), entry, theirs, text);
        } else if theirs.half {
            // It says nothing of the field as a whole.
        } else if self.verdicts.is_settled(at) {
            // Said again, in another table or under another of its names.
        } else {
            let outcome = if self.is_printed(entry, theirs) { outcome } else { Outcome::Renamed };
            let text = match outcome {
                Outcome::Renamed => {
                    format!("{}: `{}` here, `{}` there", entry.head.name(), entry.head.manual_name, theirs.row.name)
                }
                _ => format!("{}: {}", entry.head.name(), self.number(theirs)),
            };
            self.verdicts.row(outcome, Some(at), entry, theirs, text);
        }
    }

    /// Whether a manual has the name that our row says is the manual's; our identifier may well be the same as what is misspelled
    /// there.
    fn is_printed(&self, entry: &Entry, theirs: &Theirs) -> bool {
        let head = entry.head;
        let names =
            [head.manual_name.as_str()].into_iter().chain(head.aliases.iter().map(|alias| alias.value.as_str()));
        !self.is_manual || Names::of(names).same(&theirs.names)
    }

    /// Rows whose name is that of another number, and rows whose number has another name. What remains.
    fn same_numbers(&mut self, rows: Vec<usize>) -> Vec<usize> {
        let mut rest = Vec::new();
        // Entries with the name of a row that has another number.
        let mut moved: Vec<(usize, usize)> = Vec::new();
        let mut at_number: Vec<(usize, usize, Likeness)> = Vec::new();
        for i in rows {
            let theirs = &self.theirs[i];
            let named = self.ours.entries.iter().enumerate().find(|(at, entry)| {
                !entry.reserved && !self.verdicts.is_settled(*at) && entry.names.same(&theirs.names)
            });
            let named = named.filter(|(_, entry)| comparable(theirs, entry)).map(|(at, _)| at);
            if let Some(named) = named.filter(|at| held(&self.ours.kind, theirs, &self.ours.entries[*at])) {
                self.agree(named, theirs, Outcome::Confirmed);
                continue;
            }
            match (self.at_number(theirs), named) {
                (_, Some(named)) => moved.push((named, i)),
                (Some((at, likeness)), None) if !self.ours.entries[at].reserved => at_number.push((at, i, likeness)),
                _ => rest.push(i),
            }
        }
        self.moved(&moved);
        for (at, i, likeness) in at_number {
            let (entry, theirs) = (&self.ours.entries[at], &self.theirs[i]);
            if likeness == Likeness::Related {
                self.agree(at, theirs, Outcome::Renamed);
                continue;
            }
            // What stands there has been found elsewhere, or is here only: the row itself is unknown.
            let (number, own, name) = (self.number(theirs), entry.head.name(), &theirs.row.name);
            let text = format!("{number} is {own} (`{}`) here, `{name}` there", entry.head.manual_name);
            // A sentence is no other name, and headers list the MSRs of models of which manuals no longer speak.
            let other_model = self.ours.kind == Kind::Msrs && !self.is_manual;
            let unclear = theirs.names.is_prose() || other_model;
            let outcome = if unclear { Outcome::Remark } else { Outcome::Contradicted };
            self.verdicts.row(outcome, Some(at), entry, theirs, text);
        }
        rest
    }

    /// Entries that have another number in the document; of two that have each other's it is said once.
    fn moved(&mut self, moved: &[(usize, usize)]) {
        let mut done = Vec::new();
        for (at, i) in moved {
            if done.contains(at) {
                continue;
            }
            let (entry, theirs) = (&self.ours.entries[*at], &self.theirs[*i]);
            let other = moved.iter().find(|(other, j)| {
                other != at
                    && !done.contains(other)
                    && self.theirs[*j].range == Some(entry.range)
                    && theirs.range == Some(self.ours.entries[*other].range)
            });
            let (own, there) = (self.own_number(entry, theirs), self.number(theirs));
            if let Some((second, _)) = other {
                let second_entry = &self.ours.entries[*second];
                let (a, b) = (entry.head.name(), second_entry.head.name());
                let text = format!("{a} and {b} are swapped: {a} has {own} here, {there} there");
                self.verdicts.row(Outcome::Contradicted, Some(*at), entry, theirs, text);
                self.verdicts.also_about(*second, second_entry);
                done.extend([*at, *second]);
            } else {
                let text = format!("{} has {own} here, {there} there", entry.head.name());
                self.verdicts.row(Outcome::Contradicted, Some(*at), entry, theirs, text);
                done.push(*at);
            }
        }
    }

    /// Reserved rows: compared where ours is the same word.
    fn reserved(&mut self) {
        for theirs in self.theirs.iter().filter(|theirs| theirs.reserved) {
            let Some(range) = theirs.range else { continue };
            let same = self.ours.entries.iter().enumerate().find(|(_, entry)| entry.range == range && entry.reserved);
            if let Some((at, entry)) = same {
                let found = attributes::compare(self.spec, entry, theirs);
                if !found.differ.is_empty() {
                    let text = format!("{}: {}", entry.head.name(), found.differ.join("; "));
                    self.verdicts.row(Outcome::Contradicted, Some(at), entry, theirs, text);
                }
            }
        }
    }

    /// Entries of which the document, which has all rows, has none.
    fn missing_there(&mut self, document: &Document) {
        for (at, entry) in self.ours.entries.iter().enumerate() {
            if entry.reserved || entry.borrowed || self.verdicts.is_touched(at) || self.in_less_detail(entry) {
                continue;
            }
            let reserved = self
                .theirs
                .iter()
                .find(|theirs| theirs.reserved && theirs.range.is_some_and(|range| range.contains(entry.range)));
            let number = self.shown(entry.range, false);
            let text = match reserved {
                Some(_) => format!("{} ({number}) is reserved there", entry.head.name()),
                None => format!("{} ({number}) is not there", entry.head.name()),
            };
            let outcome = if entry.retired {
                Outcome::Retired
            } else if document.should_have(self.spec, entry.head) {
                Outcome::MissingThere
            } else {
                Outcome::Elsewhere
            };
            self.verdicts.missing(outcome, at, entry, reserved, text);
        }
    }

    /// Whether the document has nothing inside of the member that this is a part of.
    fn in_less_detail(&self, entry: &Entry) -> bool {
        if entry.address.part.is_none() || !matches!(self.ours.kind, Kind::Members(_)) {
            return false;
        }
        let member = self.ours.entries.iter().find(|member| {
            member.address.part.is_none() && !member.borrowed && member.address.row == entry.address.row
        });
        member.is_some_and(|member| {
            let inside = |range: Range| member.range.contains(range) && range != member.range;
            !self.theirs.iter().any(|theirs| !theirs.open && theirs.range.is_some_and(inside))
        })
    }

    fn number(&self, theirs: &Theirs) -> String {
        theirs.range.map_or_else(|| "no number".to_owned(), |range| self.shown(range, theirs.open))
    }

    fn own_number(&self, entry: &Entry, theirs: &Theirs) -> String {
        self.shown(entry.range, theirs.open && entry.range.low % 8 == 0)
    }

    fn shown(&self, range: Range, open: bool) -> String {
        if self.ours.name.starts_with("enum.") {
            numbers::value(range)
        } else {
            numbers::shown(&self.ours.kind, range, open)
        }
    }
}

/// Whether a row and an entry of one name can be told to differ. A row without a number says nothing of it; of a field
/// that is written in two halves the upper one has the number of the lower.
fn comparable(theirs: &Theirs, entry: &Entry) -> bool {
    theirs.range.is_some_and(|range| range != entry.range) && !(theirs.open && entry.address.part.is_some())
}

/// Whether a row has the bits of a member that mean something: of an address without those that are always 0.
fn held(kind: &Kind, theirs: &Theirs, entry: &Entry) -> bool {
    matches!(kind, Kind::Members(_))
        && entry.address.part.is_none()
        && theirs.row.bits.is_some()
        && theirs.row.number.is_some_and(|offset| offset.saturating_mul(8) == entry.range.low)
        && theirs.range.is_some_and(|range| entry.range.contains(range))
}

/// Whether less than what a row says is expected to be there.
fn selection(kind: &Kind) -> bool {
    *kind == Kind::Msrs
}
