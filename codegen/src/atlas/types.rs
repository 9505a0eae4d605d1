//! Layouts and enumerations, a page per file of the tables.

use maud::{Markup, html};

use super::Atlas;
use super::entry::{Fact, list, mark};
use super::links::{self, Link};
use super::page::{Found, Page, Section};
use super::table::{CHECKED, Filter, Row, filters, mono, name, table, text};
use super::text::{counted, hex};
use super::word::{Part, Word, path};
use crate::model::{Enum, Layout, ModuleId};

impl Atlas<'_> {
    /// The pages of the files that have any.
    pub fn types_pages(&self) -> Vec<Page> {
        let ids = (0..self.spec.modules.len()).map(ModuleId);
        ids.filter_map(|id| self.types_page(id)).collect()
    }

    fn types_page(&self, id: ModuleId) -> Option<Page> {
        let module = self.spec.module(id);
        let file = links::types_page(module.vendor, &module.name);
        let mut entries = Vec::new();
        let layouts = self.spec.layouts.iter().filter(|row| row.module == id);
        let layouts: Vec<_> =
            layouts.map(|row| (row.head.name(), self.word(&self.layout(&file, row), &mut entries))).collect();
        let enums = self.spec.enums.iter().filter(|row| row.module == id);
        let enums: Vec<_> = enums.map(|row| (row.head.name(), self.enumeration(&file, row, &mut entries))).collect();
        if layouts.is_empty() && enums.is_empty() {
            return None;
        }
        let title = format!("{}::{}", module.vendor.name(), module.name);
        let kinds = Filter {
            name: "Kind",
            key: "g",
            choices: vec![("layout".to_owned(), "layouts".to_owned()), ("enum".to_owned(), "enumerations".to_owned())],
        };
        let choices = [kinds, reserved_filter(), checked_filter(&entries)];
        let contents = |title: &str, list: &[(&str, Markup)]| {
            html! {
                @if !list.is_empty() {
                    p.toc { b { (title) } " " @for (name, _) in list { a href={"#" (links::ty("", name).id)} { (name) } " " } }
                }
            }
        };
        let body = html! {
            (contents("Layouts", &layouts))
            (contents("Enumerations", &enums))
            (filters(&choices))
            @for (_, section) in layouts.iter().chain(&enums) { (section) }
        };
        Some(Page {
            file,
            section: Section::Types,
            short: title.clone(),
            title: format!("Types of {title}"),
            lead: html! {
                "What " code { "spec/" (module.vendor.name()) "/" (module.name) ".toml" } " has of words with bits and of enumerations, as "
                code { "spec::" (title) } " in Rust. Enumerations are open: a value that no table lists is kept."
            },
            body,
            entries,
        })
    }

    fn layout<'a>(&self, file: &str, layout: &'a Layout) -> Word<'a> {
        let place = layout.cpuid.map(|place| {
            let text = format!(
                "leaf {}, subleaf {}, {}",
                hex(place.leaf.into(), 1),
                place.subleaf,
                place.register.name().to_ascii_uppercase()
            );
            ("CPUID", html! { (text) })
        });
        Word {
            link: links::ty(file, layout.head.name()),
            name: layout.head.name(),
            manual_name: &layout.head.manual_name,
            head: Some(&layout.head),
            width: layout.width,
            path: path(self, layout.head.name()),
            facts: place.into_iter().collect(),
            tags: vec!["g:layout".to_owned()],
            parts: layout.fields.iter().map(Part::of).collect(),
            kind: "bits",
            extra: None,
        }
    }

    fn enumeration(&self, file: &str, table_row: &Enum, out: &mut Vec<Found>) -> Markup {
        let head = &table_row.head;
        let link = links::ty(file, head.name());
        out.push(self.found(&link.id, "type", head.name().to_owned(), head, None));
        let mut facts: Vec<Fact> = vec![
            ("Rust", html! { code { (path(self, head.name())) } ", " (counted(table_row.width, "bit")) }),
            (
                "Others",
                html! { @if table_row.others == "none" { "every value is listed" } @else { (table_row.others) } },
            ),
        ];
        facts.extend(self.references.users(head.name()).map(|users| ("Type of", users)));
        facts.extend(self.facts_of(head, None));
        facts.extend(self.used(&self.uses.constant(&[head.name()])));
        let rows: Vec<_> = table_row.values.iter().map(|value| self.value(&link, table_row, value, out)).collect();
        html! {
            section.w id=(link.id) data-t="g:enum" {
                h2 { a href={"#" (link.id)} { (head.name()) } (mark(head)) }
                p.sub { (head.manual_name) }
                (list(&facts))
                (table(&format!("Values of {}", head.name()), &[mono("Value"), text("Name")], &rows))
            }
        }
    }

    fn value(&self, of: &Link, table: &Enum, value: &crate::model::EnumValue, out: &mut Vec<Found>) -> Row {
        let (head, ty) = (&value.head, table.head.name());
        let id = links::part(of, head.name()).id;
        out.push(self.found(&id, "value", format!("{ty}.{}", head.name()), head, None));
        let mut facts = self.facts_of(head, Some(&table.head.cite));
        facts.extend(self.used(&self.uses.of_type(ty, head.name())));
        let number = value.number.value;
        let cells = vec![html! { (number) @if number > 9 { " " small { (hex(number, 2)) } } }, name(&id, head)];
        Row { id, tags: vec!["g:enum".to_owned(), self.checked(head), "r:n".to_owned()], reserved: false, cells, facts }
    }
}

/// Whether reserved rows are shown.
pub(super) fn reserved_filter() -> Filter {
    let choices = vec![("n".to_owned(), "hide".to_owned()), ("y".to_owned(), "only".to_owned())];
    Filter { name: "Reserved", key: "r", choices }
}

/// As [`Filter::checked`], for pages of words.
pub(super) fn checked_filter(entries: &[Found]) -> Filter {
    let there = |choice: &str| {
        entries.iter().any(|entry| match choice {
            "f" => entry.confirmed,
            choice => entry.unchecked == (choice == "n"),
        })
    };
    let choices = CHECKED.into_iter().filter(|(choice, _)| there(choice));
    let choices = choices.map(|(choice, name)| (choice.to_owned(), name.to_owned())).collect();
    Filter { name: "Source", key: "c", choices }
}
