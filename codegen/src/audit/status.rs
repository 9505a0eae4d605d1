//! How many rows were found in documents, from the tables alone.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::compare::{Entry, Here, tables};
use super::report::Format;
use crate::model::{Head, Spec, Vendor};

/// By what a row is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// By a manual.
    Manual,
    /// By two documents that are none, or more.
    Two,
    /// By one document that is none.
    One,
    /// By nothing.
    None,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 4] = [Class::Manual, Class::Two, Class::One, Class::None];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Class::Manual => "manual",
            Class::Two => "two",
            Class::One => "one",
            Class::None => "none",
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Class::Manual => "by a manual",
            Class::Two => "by two others",
            Class::One => "by one other",
            Class::None => "by none",
        }
    }

    /// That of an entry check: no document has a table of them that an audit could find, so it is whether somebody compared
    /// the rule with the manual that it cites.
    fn of_check(spec: &Spec, head: &Head) -> Class {
        let manual = spec.manual(&head.cite.doc.value).is_some_and(|manual| manual.kind == "manual");
        let found = Class::of(spec, head);
        if head.cite.unchecked.is_none() && manual { Class::Manual } else { found }
    }

    /// That of a row.
    pub(crate) fn of(spec: &Spec, head: &Head) -> Class {
        let mut others: Vec<&str> = Vec::new();
        for confirmed in &head.confirmed {
            let id = confirmed.doc.value.as_str();
            match spec.manual(id) {
                Some(manual) if manual.kind == "manual" => return Class::Manual,
                _ => others.push(id),
            }
        }
        others.sort_unstable();
        others.dedup();
        match others.len() {
            0 => Class::None,
            1 => Class::One,
            _ => Class::Two,
        }
    }
}

/// A table with its rows.
#[derive(Clone, Debug)]
pub struct TableStatus {
    /// Its name.
    pub name: String,
    /// Its rows, reserved ones apart.
    pub rows: Vec<(Class, Here)>,
}

impl TableStatus {
    /// How many rows are of this class.
    pub fn count(&self, class: Class) -> usize {
        self.rows.iter().filter(|(own, _)| *own == class).count()
    }
}

/// All tables.
#[derive(Clone, Debug)]
pub struct Status {
    /// Each of them.
    pub tables: Vec<TableStatus>,
}

impl Status {
    /// Of a spec.
    pub fn new(spec: &Spec) -> Status {
        let here = |head: &Head| {
            let span = head.name.span;
            let (line, _) = spec.sources.line_column(span);
            Here { name: head.name().to_owned(), path: spec.sources.path(span.file).to_owned(), line }
        };
        let all = tables(spec).into_iter().map(|table| {
            let own = |entry: &&Entry| !entry.reserved && !entry.borrowed;
            let rows = table.entries.iter().filter(own);
            let rows = rows.map(|entry| (Class::of(spec, entry.head), here(entry.head)));
            TableStatus { name: table.name.clone(), rows: rows.collect() }
        });
        let checks = [Vendor::Intel, Vendor::Amd].map(|vendor| {
            let rows = spec.entry_checks.iter().filter(|row| spec.vendor(row.module) == vendor);
            let rows = rows.map(|row| (Class::of_check(spec, &row.head), here(&row.head)));
            TableStatus { name: format!("entry_checks.{}", vendor.name()), rows: rows.collect() }
        });
        Status { tables: all.chain(checks).filter(|table| !table.rows.is_empty()).collect() }
    }

    /// The text, with a line break at its end; with a line per row of the classes in `list`. There is no SARIF of it.
    pub fn print(&self, format: Format, list: &[Class]) -> Option<String> {
        match format {
            Format::Text => Some(self.text(list)),
            Format::Markdown => Some(self.markdown(list)),
            Format::Json => Some(self.json(list)),
            Format::Sarif => None,
        }
    }

    fn counts(&self) -> Vec<(&str, usize, [usize; 4])> {
        let count = |table: &TableStatus| Class::ALL.map(|class| table.count(class));
        let mut all: Vec<_> =
            self.tables.iter().map(|table| (table.name.as_str(), table.rows.len(), count(table))).collect();
        let mut sum = ("all", 0, [0; 4]);
        for (_, rows, counts) in &all {
            sum.1 += rows;
            sum.2.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        all.push(sum);
        all
    }

    fn text(&self, list: &[Class]) -> String {
        let mut out = String::new();
        for (class, here) in self.listed(list) {
            // Writing into a string does not fail.
            let _ = writeln!(out, "{}:{}: {} is confirmed {}", here.path, here.line, here.name, class.heading());
        }
        if !out.is_empty() {
            out.push('\n');
        }
        let counts = self.counts();
        let width = counts.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        let headings = Class::ALL.map(Class::heading);
        let _ = writeln!(out, "{:<width$}   rows  {}", "table", headings.join("  "));
        for (name, rows, counts) in counts {
            let _ = write!(out, "{name:<width$}  {rows:>5}");
            for (count, heading) in counts.iter().zip(headings) {
                let _ = write!(out, "  {count:>width$}", width = heading.len());
            }
            out.push('\n');
        }
        out
    }

    fn markdown(&self, list: &[Class]) -> String {
        let mut out =
            format!("| table | rows | {} |\n|---|--:|--:|--:|--:|--:|\n", Class::ALL.map(Class::heading).join(" | "));
        for (name, rows, [manual, two, one, none]) in self.counts() {
            let _ = writeln!(out, "| `{name}` | {rows} | {manual} | {two} | {one} | {none} |");
        }
        for (i, (class, here)) in self.listed(list).enumerate() {
            let _ = writeln!(
                out,
                "{}- `{}` is confirmed {} (`{}:{}`)",
                if i == 0 { "\n" } else { "" },
                here.name,
                class.heading(),
                here.path,
                here.line
            );
        }
        out
    }

    fn json(&self, list: &[Class]) -> String {
        let tables = self.tables.iter().map(|table| {
            let count = |class: Class| (class.name().to_owned(), json!(table.count(class)));
            let mut object = Map::from_iter(Class::ALL.map(count));
            object.insert("name".to_owned(), json!(table.name));
            object.insert("rows".to_owned(), json!(table.rows.len()));
            Value::Object(object)
        });
        let row = |(class, here): (Class, &Here)| json!({ "class": class.name(), "name": here.name, "path": here.path, "line": here.line });
        let all =
            json!({ "tables": tables.collect::<Vec<_>>(), "list": self.listed(list).map(row).collect::<Vec<_>>() });
        // Values of these kinds always have a JSON form.
        serde_json::to_string_pretty(&all).expect("string keys") + "\n"
    }

    fn listed<'s>(&'s self, list: &'s [Class]) -> impl Iterator<Item = (Class, &'s Here)> {
        let rows = self.tables.iter().flat_map(|table| &table.rows);
        rows.filter(|(class, _)| list.contains(class)).map(|(class, here)| (*class, here))
    }
}
