//! Rows that stand for several of ours, such as `EXCP0-31`, and ours that stand for several of theirs.

use super::{Matching, selection};
use crate::audit::compare::{Entry, Outcome, Range, Theirs};
use crate::audit::names::{Likeness, Names};

/// Rows whose range is that of no entry.
pub(super) fn wider(matching: &mut Matching, rows: Vec<usize>) {
    for i in rows {
        let theirs = &matching.theirs[i];
        let inside = theirs.range.filter(|_| !theirs.open).map(|range| covered(matching, range));
        match inside {
            Some(inside) if !inside.is_empty() => covers(matching, theirs, &inside),
            _ => unknown(matching, theirs),
        }
    }
}

/// The entries inside of a range.
fn covered(matching: &Matching, range: Range) -> Vec<usize> {
    let entries = matching.ours.entries.iter().enumerate();
    let inside = entries.filter(|(_, entry)| range.contains(entry.range) && range != entry.range && !entry.reserved);
    inside.map(|(at, _)| at).collect()
}

/// A row stands for several entries.
fn covers<'m>(matching: &mut Matching<'m, '_>, theirs: &'m Theirs<'m>, inside: &[usize]) {
    let stem = Names::of([without_numbers(&theirs.row.name).as_str()]);
    let mut related = false;
    for at in inside {
        let entry = &matching.ours.entries[*at];
        let own = [entry.head.manual_name.as_str(), entry.head.name()].map(without_numbers);
        let likeness = Names::of(own.iter().map(String::as_str)).likeness(&stem);
        if likeness == Likeness::None {
            continue;
        }
        related = true;
        if let Some((own, expected)) = misnumbered(theirs, entry) {
            let own = format!("{} is number {own} of `{}`", entry.head.name(), theirs.row.name);
            let text = format!("{own}, and stands where number {expected} is there");
            matching.verdicts.row(Outcome::Contradicted, Some(*at), entry, theirs, text);
            continue;
        }
        if !matching.verdicts.is_touched(*at) {
            let outcome = if likeness == Likeness::Same { Outcome::Confirmed } else { Outcome::Renamed };
            let text = format!("{}: one of `{}`", entry.head.name(), theirs.row.name);
            matching.verdicts.row(outcome, Some(*at), entry, theirs, text);
        }
    }
    let Some(first) = inside.first().filter(|_| !related) else { return gaps(matching, theirs) };
    // What is inside has been found under its own names: the row says the same in sum.
    if inside.iter().all(|at| matching.verdicts.is_settled(*at)) {
        return;
    }
    let entry = &matching.ours.entries[*first];
    let text =
        format!("{} is `{}` there, of which nothing here has the name", matching.number(theirs), theirs.row.name);
    let outcome = if theirs.names.is_prose() { Outcome::Remark } else { Outcome::Contradicted };
    matching.verdicts.row(outcome, Some(*first), entry, theirs, text);
}

/// The number in an entry's name, and that which is at its place in "VMEXIT_DR[0–15]_WRITE", where they differ.
fn misnumbered(theirs: &Theirs, entry: &Entry) -> Option<(i64, i64)> {
    let range = theirs.range?;
    let numbers = numbers(&theirs.row.name);
    let count = range.high - range.low;
    let first = numbers.windows(2).find(|pair| pair[1] - pair[0] == count)?[0];
    let expected = first + entry.range.low - range.low;
    let own = self::numbers(&entry.head.manual_name);
    let [number] = own[..] else { return None };
    (entry.range.low == entry.range.high && number != expected).then_some((number, expected))
}

/// The numbers in a name.
fn numbers(name: &str) -> Vec<i64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Numbers of a row's range that no entry has.
fn gaps<'m>(matching: &mut Matching<'m, '_>, theirs: &'m Theirs<'m>) {
    let Some(Range { low, high }) = theirs.range else { return };
    // What is around the row, such as the member whose bits these are, has none of its numbers.
    // Reserved bits may go on behind it: the row may be of half a member.
    let inside = |entry: &&Entry| {
        let range = entry.range;
        low <= range.low && range.low <= high && (range.high <= high || entry.reserved)
    };
    let mut have: Vec<Range> = matching.ours.entries.iter().filter(inside).map(|entry| entry.range).collect();
    have.sort();
    let (mut next, mut missing) = (low, Vec::new());
    for range in have {
        if range.low > next && next <= high {
            missing.push(Range { low: next, high: high.min(range.low - 1) });
        }
        next = next.max(range.high.saturating_add(1));
    }
    if next <= high {
        missing.push(Range { low: next, high });
    }
    for range in missing {
        let text = format!("of `{}` nothing here has {}", theirs.row.name, matching.shown(range, false));
        let outcome = if selection(&matching.ours.kind) { Outcome::Unlisted } else { Outcome::MissingHere };
        matching.verdicts.unknown(outcome, theirs, text);
    }
}

/// A row of which no entry has the number, nor the name.
fn unknown<'m>(matching: &mut Matching<'m, '_>, theirs: &'m Theirs<'m>) {
    let name = &theirs.row.name;
    let Some(range) = theirs.range else {
        let text = format!("`{name}` has no number there");
        return matching.verdicts.unknown(Outcome::Remark, theirs, text);
    };
    let number = matching.number(theirs);
    let entries = matching.ours.entries.iter().enumerate();
    let around = entries.filter(|(_, entry)| entry.range.contains(range));
    let around = around.min_by_key(|(_, entry)| entry.range.high - entry.range.low);
    match around {
        // "GDTR selector, RESERVED"
        Some((_, entry)) if entry.reserved && entry.names.likeness(&theirs.names) != Likeness::None => {}
        Some((_, entry)) if entry.reserved => {
            let text = format!("`{name}`, {number}, is reserved here");
            matching.verdicts.row(Outcome::MissingHere, None, entry, theirs, text);
        }
        Some((at, entry)) => {
            matching.verdicts.see(at);
            if entry.names.likeness(&theirs.names) == Likeness::None {
                let text = format!("`{name}`, {number}, is a part of {} here", entry.head.name());
                matching.verdicts.row(Outcome::Remark, None, entry, theirs, text);
            }
        }
        None => {
            let outcome = if selection(&matching.ours.kind) { Outcome::Unlisted } else { Outcome::MissingHere };
            matching.verdicts.unknown(outcome, theirs, format!("`{name}`, {number}, is not here"));
        }
    }
}

/// Entries that the document has as the parts that they are made of, each found or reserved.
pub(super) fn made_of_parts(matching: &mut Matching) {
    for (at, entry) in matching.ours.entries.iter().enumerate() {
        if entry.reserved || matching.verdicts.is_touched(at) {
            continue;
        }
        let inside = matching
            .theirs
            .iter()
            .filter(|theirs| !theirs.open && theirs.range.is_some_and(|range| entry.range.contains(range)));
        let mut parts: Vec<(Range, &Theirs)> = inside.filter_map(|theirs| Some((theirs.range?, theirs))).collect();
        parts.sort_by_key(|(range, _)| *range);
        let Some((_, first)) = parts.iter().find(|(_, theirs)| !theirs.reserved) else { continue };
        matching.verdicts.see(at);
        let mut next = entry.range.low;
        for (range, _) in &parts {
            if range.low <= next {
                next = next.max(range.high + 1);
            }
        }
        if next > entry.range.high {
            let text = format!("{}: the sum of its parts", entry.head.name());
            matching.verdicts.row(Outcome::Confirmed, Some(at), entry, first, text);
        }
    }
}

/// "VMEXIT_EXCP" of "VMEXIT_EXCP[0–31]" and of "VMEXIT_EXCP5".
fn without_numbers(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_digit() || matches!(c, '[' | ']' | '–') { ' ' } else { c }).collect()
}
