//! Tables: a line per entry, its details in a second one that a press on the name opens, and the filters above.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::entry::{Fact, list};
use crate::model::Head;

/// A column.
pub(super) struct Column {
    pub name: &'static str,
    /// Numbers and the like are in a typeface of equal widths.
    pub mono: bool,
}

/// A column of running text.
pub(super) const fn text(name: &'static str) -> Column {
    Column { name, mono: false }
}

/// A column of numbers.
pub(super) const fn mono(name: &'static str) -> Column {
    Column { name, mono: true }
}

/// An entry.
pub(super) struct Row {
    pub id: String,
    /// Words that the filters ask for.
    pub tags: Vec<String>,
    pub reserved: bool,
    /// One per column.
    pub cells: Vec<Markup>,
    pub facts: Vec<Fact>,
}

/// A table. What it is about is said by `label`, which is read out but not shown.
pub(super) fn table(label: &str, columns: &[Column], rows: &[Row]) -> Markup {
    html! {
        table aria-label=(label) {
            thead { tr { @for column in columns { th scope="col" { (column.name) } } } }
            @for row in rows { (body(columns, row)) }
        }
    }
}

/// A line, and its details when there are any.
fn body(columns: &[Column], row: &Row) -> Markup {
    let tags = (!row.tags.is_empty()).then(|| row.tags.join(" "));
    html! {
        tbody.res[row.reserved] id=(row.id) data-t=[tags] {
            tr {
                @for (column, cell) in columns.iter().zip(&row.cells) { td.m[column.mono] { (cell) } }
            }
            @if !row.facts.is_empty() { tr.d { td colspan=(columns.len()) { (list(&row.facts)) } } }
        }
    }
}

/// The cell with the name of an entry: a link to itself, what the manual prints, and whether it was compared.
pub(super) fn name(id: &str, head: &Head) -> Markup {
    html! {
        a.n href={"#" (id)} { (head.name()) } (super::entry::mark(head)) " " (super::entry::printed(head))
    }
}

/// The choices of [`Filter::checked`].
pub(super) const CHECKED: [(&str, &str); 3] = [("y", "compared"), ("n", "unchecked"), ("f", "confirmed by an audit")];

/// A filter: what it is called, the word before the colon in tags, and the choices with the names that are shown.
pub(super) struct Filter {
    pub name: &'static str,
    pub key: &'static str,
    pub choices: Vec<(String, String)>,
}

impl Filter {
    /// A filter with these choices, each a value and a name; those that no entry has are left out.
    pub fn new<'a>(
        name: &'static str,
        key: &'static str,
        choices: impl IntoIterator<Item = (&'a str, &'a str)>,
        rows: impl IntoIterator<Item = &'a Row>,
    ) -> Filter {
        let there: BTreeSet<&str> =
            rows.into_iter().flat_map(|row| &row.tags).flat_map(|tags| tags.split(' ')).collect();
        let owned = |(value, name): (&str, &str)| (value.to_owned(), name.to_owned());
        let is_there = |(value, _): &(&str, &str)| there.contains(format!("{key}:{value}").as_str());
        Filter { name, key, choices: choices.into_iter().filter(is_there).map(owned).collect() }
    }

    /// By whether rows were compared with their document.
    pub fn checked<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Filter {
        Filter::new("Source", "c", CHECKED, rows)
    }
}

/// The filters of a page, which work on all of its tables. Filters with one choice are left out.
pub(super) fn filters(filters: &[Filter]) -> Markup {
    html! {
        form.filters.script role="search" aria-label="Filter this page" {
            label { span { "Filter" } input #filter type="search" placeholder="name, number or note" autocomplete="off" spellcheck="false"; }
            @for filter in filters.iter().filter(|filter| filter.choices.len() > 1) {
                label {
                    span { (filter.name) }
                    select {
                        option value="" { "all" }
                        @for (value, name) in &filter.choices { option value={(filter.key) ":" (value)} { (name) } }
                    }
                }
            }
            button #all type="button" aria-pressed="false" { "All details" }
            output #count {}
        }
    }
}
