//! Words with bits: a picture, and a table of the parts.

use maud::{Markup, html};

use super::Atlas;
use super::bits::{Drawn, diagram};
use super::entry::{Fact, list, mark};
use super::links::{self, Link};
use super::page::Found;
use super::table::{Column, Row, mono, name, table, text};
use super::text::{counted, range};
use crate::model::{BitRange, Cite, Head, LayoutField};

/// A word.
pub(super) struct Word<'a> {
    pub link: Link,
    pub name: &'a str,
    pub manual_name: &'a str,
    /// The row that is the word, with its citation, when it has one of its own.
    pub head: Option<&'a Head>,
    pub width: u32,
    /// `spec::x86::registers::Cr4`
    pub path: String,
    pub facts: Vec<Fact>,
    pub tags: Vec<String>,
    pub parts: Vec<Part<'a>>,
    /// What its parts are, for the search.
    pub kind: &'static str,
    /// The column between the name and Rust, where such words have one.
    pub extra: Option<&'static str>,
}

/// A part of a word.
pub(super) struct Part<'a> {
    pub head: &'a Head,
    pub bits: BitRange,
    pub reserved: Option<u64>,
    pub ty: Option<&'a str>,
    /// The content of the extra column.
    pub extra: Markup,
    pub facts: Vec<Fact>,
    /// Words that filters ask for, beyond those of the word.
    pub tags: Vec<String>,
    /// Its anchor where that is not made of the word's.
    pub link: Option<Link>,
}

impl<'a> Part<'a> {
    /// A part of a layout or of a member.
    pub fn of(field: &'a LayoutField) -> Part<'a> {
        Part {
            head: &field.head,
            bits: field.bits,
            reserved: field.reserved,
            ty: field.ty.as_ref().map(|ty| ty.value.as_str()),
            extra: Markup::default(),
            facts: Vec::new(),
            tags: Vec::new(),
            link: None,
        }
    }

    /// Whether it becomes a constant, unless it is reserved; else it becomes a getter and a setter.
    fn is_flag(&self) -> bool {
        self.bits.high == self.bits.low && self.ty.is_none()
    }

    fn is_range(&self) -> bool {
        self.reserved.is_none() && !self.is_flag()
    }
}

impl Atlas<'_> {
    /// The section of a word; its entries go to `out`.
    pub fn word(&self, word: &Word, out: &mut Vec<Found>) -> Markup {
        let ids: Vec<Link> = word.parts.iter().map(|part| self.part_link(word, part)).collect();
        let drawn: Vec<_> = (word.parts.iter().zip(&ids))
            .map(|(part, link)| Drawn {
                high: part.bits.high,
                low: part.bits.low,
                name: part.head.name(),
                reserved: part.reserved.is_some(),
                id: &link.id,
            })
            .collect();
        let has_ranges = word.parts.iter().any(Part::is_range);
        let mut columns = vec![mono("Bits"), text("Name")];
        columns.extend(word.extra.map(text));
        if has_ranges {
            columns.push(mono("Rust"));
        }
        let rows: Vec<_> = word.parts.iter().zip(&ids).map(|(part, link)| self.part(word, part, link, out)).collect();
        if let Some(head) = word.head {
            out.push(self.found(&word.link.id, "type", word.name.to_owned(), head, None));
        }
        html! {
            section.w id=(word.link.id) data-t=[(!word.tags.is_empty()).then(|| word.tags.join(" "))] {
                h2 { a href={"#" (word.link.id)} { (word.name) } @if let Some(head) = word.head { (mark(head)) } }
                p.sub { (word.manual_name) }
                (diagram(word.width, &drawn))
                (list(&self.word_facts(word)))
                (parts_table(word.name, &columns, &rows))
            }
        }
    }

    fn part_link(&self, word: &Word, part: &Part) -> Link {
        part.link.clone().unwrap_or_else(|| links::part(&word.link, part.head.name()))
    }

    fn word_facts(&self, word: &Word) -> Vec<Fact> {
        let mut facts = vec![("Rust", rust(word))];
        facts.extend(word.facts.iter().cloned());
        facts.extend(self.references.users(word.name).map(|users| ("Type of", users)));
        if let Some(head) = word.head {
            facts.extend(self.facts_of(head, None));
        }
        facts.extend(self.used(&self.uses.constant(&[word.name])));
        facts
    }

    fn part(&self, word: &Word, part: &Part, link: &Link, out: &mut Vec<Found>) -> Row {
        let head = part.head;
        let mut facts = part.facts.clone();
        facts.extend(self.facts_of(head, word.head.map(|head| &head.cite)));
        if part.reserved.is_none() {
            facts.extend(self.used_part(word.name, part));
        }
        let kind = if part.reserved.is_some() { "reserved" } else { word.kind };
        // The number of a bit is nothing to search for: every word has a bit 3.
        let mut entry = self.found(&link.id, kind, format!("{}.{}", word.name, head.name()), head, None);
        entry.reserved = part.reserved.is_some();
        out.push(entry);
        let mut tags = [word.tags.as_slice(), &part.tags].concat();
        tags.push(self.checked(head));
        tags.push(if part.reserved.is_some() { "r:y" } else { "r:n" }.to_owned());
        let shown = match part.reserved {
            Some(value) => html! {
                span.n { "reserved, " (value) } " " small { (head.manual_name) } (mark_of(word, head))
            },
            None => {
                html! { (name_of(word, &link.id, head)) @if let Some(ty) = part.ty { " " span.ty { (self.ty(ty)) } } }
            }
        };
        let mut cells = vec![html! { (range(part.bits.high, part.bits.low)) }, shown];
        if word.extra.is_some() {
            cells.push(part.extra.clone());
        }
        if part.is_range() {
            cells.push(html! { (head.name().to_ascii_lowercase()) "()" });
        }
        Row { id: link.id.clone(), tags, reserved: part.reserved.is_some(), cells, facts }
    }

    fn used_part(&self, word: &str, part: &Part) -> Option<Fact> {
        let name = part.head.name();
        if part.is_flag() {
            return self.used(&self.uses.of_type(word, name));
        }
        let lower = name.to_ascii_lowercase();
        let (with, mask) = (format!("with_{lower}"), format!("{name}_MASK"));
        self.used(&self.uses.methods(&[word], &[&lower, &with, &mask]))
    }
}

/// The mark of what is unchecked, where the word around it does not say so already.
fn mark_of(word: &Word, head: &Head) -> Markup {
    let said = word.head.is_some_and(|head| head.cite.unchecked.is_some());
    if said { Markup::default() } else { mark(head) }
}

fn name_of(word: &Word, id: &str, head: &Head) -> Markup {
    let said = word.head.is_some_and(|head| head.cite.unchecked.is_some());
    if !said {
        return name(id, head);
    }
    html! { a.n href={"#" (id)} { (head.name()) } " " (super::entry::printed(head)) }
}

fn parts_table(name: &str, columns: &[Column], rows: &[Row]) -> Markup {
    table(&format!("Bits of {name}"), columns, rows)
}

/// What the word becomes, with an example of what its bits do.
fn rust(word: &Word) -> Markup {
    let flag = word.parts.iter().find(|part| part.reserved.is_none() && part.is_flag());
    let range = word.parts.iter().find(|part| part.is_range()).map(|part| part.head.name().to_ascii_lowercase());
    html! {
        code { (word.path) } ", " (counted(word.width, "bit"))
        @if let Some(flag) = flag { "; a single bit is a constant: " code { (word.name) "::" (flag.head.name()) } }
        @if let Some(range) = range { "; a range is read and set: " code { (range) "()" } ", " code { "with_" (range) "()" } }
    }
}

/// The Rust path of a type.
pub(super) fn path(atlas: &Atlas, name: &str) -> String {
    match atlas.types.get(name) {
        Some(ty) => format!("spec::{}::{}::{}", ty.vendor.name(), ty.module, ty.name),
        None => name.to_owned(),
    }
}

/// Facts about where a citation belongs, for words that are no row.
pub(super) fn source(atlas: &Atlas, cite: &Cite) -> Fact {
    ("Source", atlas.cite(cite))
}
