//! Which rows differ. Works on what `export` prints, so that no column is forgotten.

use std::collections::BTreeMap;

use serde_json::Value;

use super::keys::{DOCUMENTATION, Keys, column, keys, text};
use super::rows::{Column, Difference, Place, Renamed, Reserved, ReservedChange};
use crate::export::{self, Row, Table};
use crate::model::Spec;

/// What differs in a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableDiff {
    /// The table, as in the export.
    pub name: &'static str,
    /// New rows.
    pub added: Vec<Place>,
    /// Rows that are gone.
    pub removed: Vec<Place>,
    /// The same number under another name.
    pub renamed: Vec<Renamed>,
    /// The same name with another number.
    pub renumbered: Vec<Difference>,
    /// Another type, width, access, condition, payload.
    pub changed: Vec<Difference>,
    /// Reserved bits and bytes.
    pub reserved: Vec<Reserved>,
    /// Other words: names of the manual, aliases, notes, citations.
    pub notes: Vec<Difference>,
}

impl TableDiff {
    fn is_empty(&self) -> bool {
        *self == TableDiff { name: self.name, ..TableDiff::default() }
    }
}

/// The tables in which something differs.
pub(super) fn compare(old: &Spec, new: &Spec) -> Vec<TableDiff> {
    let (mut old, new) = (export::tables(old), export::tables(new));
    follow_types(&mut old, &new);
    let pairs = old.iter().zip(&new).map(|(old, new)| table(old.name, &old.rows, &new.rows));
    pairs.filter(|diff| !diff.is_empty()).collect()
}

/// Lets the bits and the values of a type that has another name now go by that.
fn follow_types(old: &mut [Table], new: &[Table]) {
    let rows = |tables: &[Table]| tables.iter().find(|table| table.name == "types").map(|table| table.rows.clone());
    let (Some(before), Some(after)) = (rows(old), rows(new)) else { return };
    let (mut left, mut right): (Vec<_>, Vec<_>) = (before.iter().collect(), after.iter().collect());
    let _same = pairs(&mut left, &mut right, |row| Some(text(row, "name").to_owned()));
    let names: BTreeMap<_, _> = aliased(&mut left, &mut right)
        .into_iter()
        .map(|(old, new)| (column(old, "name").to_string(), column(new, "name")))
        .collect();
    for row in old.iter_mut().filter(|table| matches!(table.name, "layouts" | "enums")).flat_map(|t| &mut t.rows) {
        for (_, value) in row.iter_mut().filter(|(column, _)| matches!(*column, "layout" | "enum")) {
            if let Some(name) = names.get(&value.to_string()) {
                *value = (*name).clone();
            }
        }
    }
}

fn table(name: &'static str, old: &[Row], new: &[Row]) -> TableDiff {
    let keys = keys(name);
    let mut diff = TableDiff { name, ..TableDiff::default() };
    let (mut left, mut right): (Vec<_>, Vec<_>) = (old.iter().collect(), new.iter().collect());
    for (old, new) in pairs(&mut left, &mut right, |row| Some(keys.by_name(row))) {
        diff.same_name(&keys, old, new);
    }
    let reserved = |row: &Row| is_reserved(row).then(|| keys.by_number(row)).flatten();
    for (old, new) in pairs(&mut left, &mut right, reserved) {
        diff.reserved_pair(&keys, old, new, ReservedChange::Changed);
    }
    let named = |row: &Row| (!is_reserved(row)).then(|| keys.by_number(row)).flatten();
    for (old, new) in pairs(&mut left, &mut right, named) {
        diff.rename(&keys, old, new);
    }
    for (old, new) in aliased(&mut left, &mut right) {
        diff.rename(&keys, old, new);
    }
    for (old, new) in pairs(&mut left, &mut right, |row| keys.by_number(row)) {
        let change = if is_reserved(old) { ReservedChange::Named } else { ReservedChange::Unnamed };
        diff.reserved_pair(&keys, old, new, change);
        if change == ReservedChange::Named {
            diff.added.push(place(&keys, new));
        } else {
            diff.removed.push(place(&keys, old));
        }
    }
    for (rows, change) in [(left, ReservedChange::Removed), (right, ReservedChange::Added)] {
        for row in rows {
            let Place { name, number } = place(&keys, row);
            if is_reserved(row) {
                diff.reserved.push(Reserved { name, change, other: None, number, columns: Vec::new() });
            } else if change == ReservedChange::Removed {
                diff.removed.push(Place { name, number });
            } else {
                diff.added.push(Place { name, number });
            }
        }
    }
    diff
}

impl TableDiff {
    fn same_name(&mut self, keys: &Keys, old: &Row, new: &Row) {
        let change = match (is_reserved(old), is_reserved(new)) {
            (false, false) => return self.columns(keys, old, new),
            (true, true) if differing(old, new).is_empty() => return,
            (true, true) => ReservedChange::Changed,
            (true, false) => ReservedChange::Named,
            (false, true) => ReservedChange::Unnamed,
        };
        self.reserved_pair(keys, old, new, change);
        match change {
            ReservedChange::Named => self.added.push(place(keys, new)),
            ReservedChange::Unnamed => self.removed.push(place(keys, old)),
            _ => {}
        }
    }

    fn rename(&mut self, keys: &Keys, old: &Row, new: &Row) {
        let Place { name, number } = place(keys, new);
        let alias = knows(old, new) || knows(new, old);
        // Parts follow their parent.
        if text(old, "name") != text(new, "name") {
            self.renamed.push(Renamed { old: keys.shown(old), new: name, number, alias });
        }
        self.columns(keys, old, new);
    }

    /// Sorts what differs by what it means.
    fn columns(&mut self, keys: &Keys, old: &Row, new: &Row) {
        let name = keys.shown(new);
        let (mut numbers, mut notes, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for change in differing(old, new) {
            match change.name {
                "name" => {}
                column if keys.number.contains(&column) => numbers.push(change),
                // Of a part that follows its parent.
                column if keys.scope.contains(&column) => {}
                column if DOCUMENTATION.contains(&column) => notes.push(change),
                _ => others.push(change),
            }
        }
        let all = [(numbers, &mut self.renumbered), (notes, &mut self.notes), (others, &mut self.changed)];
        for (columns, list) in all {
            if !columns.is_empty() {
                list.push(Difference { name: name.clone(), columns });
            }
        }
    }

    fn reserved_pair(&mut self, keys: &Keys, old: &Row, new: &Row, change: ReservedChange) {
        let other = match change {
            ReservedChange::Named => Some(keys.shown(new)),
            ReservedChange::Unnamed => Some(keys.shown(old)),
            _ => None,
        };
        let row = if change == ReservedChange::Named { old } else { new };
        let (words, columns): (Vec<_>, Vec<_>) =
            differing(old, new).into_iter().partition(|c| c.name == "name" || DOCUMENTATION.contains(&c.name));
        if change == ReservedChange::Changed && !words.is_empty() {
            self.notes.push(Difference { name: keys.shown(new), columns: words });
        }
        if change != ReservedChange::Changed || !columns.is_empty() {
            let number = place(keys, new).number;
            self.reserved.push(Reserved { name: keys.shown(row), change, other, number, columns });
        }
    }
}

/// Takes out of both lists the rows that have the same key.
fn pairs<'r>(
    old: &mut Vec<&'r Row>,
    new: &mut Vec<&'r Row>,
    key: impl Fn(&Row) -> Option<String>,
) -> Vec<(&'r Row, &'r Row)> {
    // Of rows with equal keys, which only a spec with mistakes has, the first belong together.
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, row) in new.iter().enumerate().rev() {
        if let Some(key) = key(row) {
            places.entry(key).or_default().push(index);
        }
    }
    let mut taken = vec![false; new.len()];
    let mut found = Vec::new();
    old.retain(|row| {
        let Some(index) = key(row).and_then(|key| places.get_mut(&key)?.pop()) else { return true };
        taken[index] = true;
        found.push((*row, new[index]));
        false
    });
    let mut taken = taken.into_iter();
    new.retain(|_| !taken.next().unwrap_or_default());
    found
}

/// Takes out of both lists the rows of which one lists the other's name.
fn aliased<'r>(old: &mut Vec<&'r Row>, new: &mut Vec<&'r Row>) -> Vec<(&'r Row, &'r Row)> {
    let mut found = Vec::new();
    old.retain(|row| {
        if is_reserved(row) {
            return true;
        }
        let Some(index) = new.iter().position(|other| !is_reserved(other) && (knows(row, other) || knows(other, row)))
        else {
            return true;
        };
        found.push((*row, new.remove(index)));
        false
    });
    found
}

/// Whether a row lists another's name, or the manual's name of it.
fn knows(row: &Row, other: &Row) -> bool {
    let Value::Array(aliases) = column(row, "aliases") else { return false };
    let names = [text(other, "name"), text(other, "manual_name")];
    aliases.iter().filter_map(Value::as_str).any(|alias| names.contains(&alias))
}

fn is_reserved(row: &Row) -> bool {
    !column(row, "reserved").is_null()
}

fn place(keys: &Keys, row: &Row) -> Place {
    // What the name says already is not repeated.
    let number = keys.number.iter().filter(|name| !keys.scope.contains(name));
    let number = number.map(|name| (*name, column(row, name).clone())).filter(|(_, value)| !value.is_null());
    Place { name: keys.shown(row), number: number.collect() }
}

/// The columns that differ, in the order of the new row.
fn differing(old: &Row, new: &Row) -> Vec<Column> {
    let gone = old.iter().filter(|(name, _)| !new.iter().any(|(other, _)| other == name));
    let names = new.iter().chain(gone).map(|(name, _)| *name);
    let change = |name| Column { name, old: column(old, name).clone(), new: column(new, name).clone() };
    names.map(change).filter(|change| change.old != change.new).collect()
}
