//! Two editions of a document, compared with each other.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::json;

use super::compare::{Range, Theirs, shown};
use super::names::Names;
use super::report::Format;
use super::source::{Kind, Place, Row, Source, Table};

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is in the new edition only.
    Added,
    /// It is in the old edition only.
    Removed,
    /// It has another number.
    Renumbered,
    /// Its number has another name.
    Renamed,
    /// Its condition, or something else of it, is another.
    Changed,
}

impl Change {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Renumbered => "renumbered",
            Change::Renamed => "renamed",
            Change::Changed => "changed",
        }
    }
}

/// A row that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What happened to it.
    pub change: Change,
    /// In words.
    pub message: String,
    /// Where it is in the old edition.
    pub old: Option<Place>,
    /// Where it is in the new edition.
    pub new: Option<Place>,
}

/// What differs in a kind of tables.
#[derive(Clone, Debug)]
pub struct TableChanges {
    /// What the rows are.
    pub kind: Kind,
    /// The title.
    pub title: String,
    /// The rows.
    pub differences: Vec<Difference>,
}

/// What differs between two editions.
#[derive(Clone, Debug)]
pub struct Between {
    /// What the old edition is.
    pub old: String,
    /// What the new edition is.
    pub new: String,
    /// Tables with differences.
    pub tables: Vec<TableChanges>,
    /// Titles of tables of which the other edition has none of that kind: with "old" or "new", which has them.
    pub alone: Vec<(&'static str, String)>,
}

impl Between {
    /// Compares an edition with a later one.
    pub fn new(old: &Source, new: &Source) -> Between {
        let mut between =
            Between { old: old.title.clone(), new: new.title.clone(), tables: Vec::new(), alone: Vec::new() };
        let (olds, news) = (groups(old), groups(new));
        for (kind, title, tables) in &olds {
            match news.iter().find(|(other, of, _)| same_table((kind, title), (other, of))) {
                Some((_, _, others)) => {
                    let differences = compare(kind, tables, others);
                    if !differences.is_empty() {
                        between.tables.push(TableChanges { kind: kind.clone(), title: title.clone(), differences });
                    }
                }
                None => between.alone.push(("old", title.clone())),
            }
        }
        for (kind, title, _) in &news {
            if !olds.iter().any(|(other, of, _)| same_table((kind, title), (other, of))) {
                between.alone.push(("new", title.clone()));
            }
        }
        between
    }

    /// The text, with a line break at its end. There is no SARIF of it.
    pub fn print(&self, format: Format) -> Option<String> {
        match format {
            Format::Text => Some(self.text()),
            Format::Markdown => Some(self.markdown()),
            Format::Json => Some(self.json()),
            Format::Sarif => None,
        }
    }

    fn text(&self) -> String {
        let mut out = format!("{} -> {}\n", self.old, self.new);
        for table in &self.tables {
            // Writing into a string does not fail.
            let _ = writeln!(out, "\n{}:", table.title);
            for Difference { change, message, old, new } in &table.differences {
                let places: Vec<_> = [old, new].into_iter().flatten().map(Place::to_string).collect();
                let _ = writeln!(out, "  {:<10}  {message} ({})", change.name(), places.join("; "));
            }
        }
        for (which, title) in &self.alone {
            let _ = writeln!(out, "\nin the {which} one only: “{title}”");
        }
        if self.tables.is_empty() && self.alone.is_empty() {
            out.push_str("\nno row differs\n");
        }
        out
    }

    fn markdown(&self) -> String {
        let mut out = format!("## {} → {}\n", self.old, self.new);
        for table in &self.tables {
            let _ = writeln!(out, "\n### {}\n", table.title);
            for Difference { change, message, .. } in &table.differences {
                let _ = writeln!(out, "- {}: {}", change.name(), message.replace('_', "\\_"));
            }
        }
        for (which, title) in &self.alone {
            let _ = writeln!(out, "\nIn the {which} one only: “{title}”");
        }
        if self.tables.is_empty() && self.alone.is_empty() {
            out.push_str("\nNo row differs.\n");
        }
        out
    }

    fn json(&self) -> String {
        let place = |place: &Option<Place>| {
            place.as_ref().map(|place| json!({ "page": place.page, "printed": place.printed, "line": place.line }))
        };
        let tables = self.tables.iter().map(|table| {
            let rows = table.differences.iter().map(|row| {
                json!({
                    "change": row.change.name(),
                    "message": row.message,
                    "old": place(&row.old),
                    "new": place(&row.new),
                })
            });
            json!({ "title": table.title, "differences": rows.collect::<Vec<_>>() })
        });
        let alone = self.alone.iter().map(|(which, title)| json!({ "in": which, "title": title }));
        let all = json!({
            "old": self.old,
            "new": self.new,
            "tables": tables.collect::<Vec<_>>(),
            "alone": alone.collect::<Vec<_>>(),
        });
        // Values of these kinds always have a JSON form.
        serde_json::to_string_pretty(&all).expect("string keys") + "\n"
    }
}

/// Tables of one kind belong together; of bits each is its own.
fn groups(source: &Source) -> Vec<(Kind, String, Vec<&Table>)> {
    let mut all: Vec<(Kind, String, Vec<&Table>)> = Vec::new();
    for table in &source.tables {
        let known = all.iter_mut().find(|(kind, title, _)| same_table((kind, title), (&table.kind, &table.title)));
        match known {
            Some((_, _, tables)) => tables.push(table),
            None => all.push((table.kind.clone(), table.title.clone(), vec![table])),
        }
    }
    all
}

fn same_table((kind, title): (&Kind, &str), (other, of): (&Kind, &str)) -> bool {
    match (kind, other) {
        (Kind::Bits { msr: Some(a) }, Kind::Bits { msr: Some(b) }) => a == b,
        (Kind::Bits { .. }, Kind::Bits { .. }) => Names::of([title]).same(&Names::of([of])),
        _ => kind == other,
    }
}

fn compare(kind: &Kind, old: &[&Table], new: &[&Table]) -> Vec<Difference> {
    let (olds, news) = (Theirs::all(kind, old), Theirs::all(kind, new));
    let (mut left, mut taken): (Vec<&Theirs>, BTreeSet<usize>) = Default::default();
    let mut found = Vec::new();
    let mut pair = |change, message, old: &Theirs, new: &Theirs| {
        let places = (Some(old.row.place.clone()), Some(new.row.place.clone()));
        found.push(Difference { change, message, old: places.0, new: places.1 });
    };
    let number = |row: &Theirs| row.range.map_or_else(|| "no number".to_owned(), |range| shown(kind, range, row.open));
    let take = |taken: &mut BTreeSet<usize>, test: &dyn Fn(&Theirs) -> bool| {
        let at = (0..news.len()).find(|at| !taken.contains(at) && test(&news[*at]))?;
        taken.insert(at);
        Some(&news[at])
    };
    for row in olds.iter().filter(|row| !row.reserved) {
        let same =
            |new: &Theirs| key(new) == key(row) && new.row.number == row.row.number && new.names.same(&row.names);
        match take(&mut taken, &same) {
            Some(new) => {
                let differ = attributes(row.row, new.row);
                if !differ.is_empty() {
                    pair(Change::Changed, format!("`{}`: {}", new.row.name, differ.join("; ")), row, new);
                }
            }
            None => left.push(row),
        }
    }
    let mut gone = Vec::new();
    for row in left {
        if let Some(new) = take(&mut taken, &|new| !new.reserved && new.half == row.half && new.names.same(&row.names))
        {
            pair(Change::Renumbered, format!("`{}`: {} to {}", row.row.name, number(row), number(new)), row, new);
        } else {
            gone.push(row);
        }
    }
    let mut removed = Vec::new();
    for row in gone {
        let same = |new: &Theirs| !new.reserved && row.range.is_some() && key(new) == key(row) && new.half == row.half;
        match take(&mut taken, &same) {
            Some(new) => {
                let mut message = format!("{}: `{}` to `{}`", number(row), row.row.name, new.row.name);
                let differ = attributes(row.row, new.row);
                if !differ.is_empty() {
                    let _ = write!(message, "; {}", differ.join("; "));
                }
                pair(Change::Renamed, message, row, new);
            }
            None => removed.push(row),
        }
    }
    for row in removed {
        let message = format!("`{}`, {}", row.row.name, number(row));
        found.push(Difference { change: Change::Removed, message, old: Some(row.row.place.clone()), new: None });
    }
    let added = news.iter().enumerate().filter(|(at, row)| !row.reserved && !taken.contains(at));
    for (_, row) in added {
        let message = format!("`{}`, {}", row.row.name, number(row));
        found.push(Difference { change: Change::Added, message, old: None, new: Some(row.row.place.clone()) });
    }
    found.sort_by_key(|row| row.change);
    found
}

fn key(row: &Theirs) -> Option<Range> {
    row.range
}

/// What else differs. Where one edition does not say, nothing is known to differ, conditions apart.
fn attributes(old: &Row, new: &Row) -> Vec<String> {
    let mut all = Vec::new();
    let mut differ = |what: &str, old: Option<String>, new: Option<String>| {
        if let (Some(old), Some(new)) = (old, new)
            && old != new
        {
            all.push(format!("{what} {old} to {new}"));
        }
    };
    differ("width", old.width.map(|n| n.to_string()), new.width.map(|n| n.to_string()));
    differ("group", old.group.clone(), new.group.clone());
    differ("upper half", old.high.map(|n| format!("{n:#06x}")), new.high.map(|n| format!("{n:#06x}")));
    differ("size", old.size.map(|n| n.to_string()), new.size.map(|n| n.to_string()));
    let default1 = |row: &Row| row.default1.map(|set| if set { "default1" } else { "not default1" }.to_owned());
    differ("class", default1(old), default1(new));
    let condition = |row: &Row| row.condition.as_deref().map(plain);
    if condition(old) != condition(new) {
        let text = |row: &Row| row.condition.as_ref().map_or_else(|| "none".to_owned(), |text| format!("“{text}”"));
        all.push(format!("condition {} to {}", text(old), text(new)));
    }
    all
}

/// Letters and digits alone: line breaks and quotation marks differ between editions.
fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}
