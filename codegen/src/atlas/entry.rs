//! What entries of all tables have: a name, a citation, notes, and where the library uses them.

use maud::{Markup, html};

use super::page::Found;
use super::text::prose;
use super::uses::Place;
use super::{Atlas, links};
use crate::model::{Cite, Head};

/// A fact of an entry: what it is called, and what is shown.
pub(super) type Fact = (&'static str, Markup);

impl Atlas<'_> {
    /// What every row has, below what is its own. The citation is left out when it is the one of the word around it.
    pub fn facts_of(&self, head: &Head, around: Option<&Cite>) -> Vec<Fact> {
        let mut facts = Vec::new();
        if let Some(note) = &head.note {
            facts.push(("Note", prose(note)));
        }
        if !head.aliases.is_empty() {
            let names: Vec<_> = head.aliases.iter().map(|alias| alias.value.as_str()).collect();
            facts.push(("Also", html! { (names.join("; ")) }));
        }
        if !around.is_some_and(|around| same(around, &head.cite)) {
            facts.push(("Source", self.cite(&head.cite)));
            if let Some(why) = &head.cite.unchecked {
                facts.push(("Unchecked", prose(why)));
            }
        }
        facts
    }

    /// A citation with its document.
    pub fn cite(&self, cite: &Cite) -> Markup {
        let manual = self.spec.manual(&cite.doc.value);
        html! {
            @match manual {
                Some(manual) => {
                    a href=(links::manual(&cite.doc.value).href()) { (manual.short()) } " " (revision(&manual.revision)) ", "
                }
                None => { (cite.doc.value) ", " }
            }
            cite { (cite.title) }
            @if let Some(page) = &cite.page { ", p. " (page.value) }
        }
    }

    /// A type by its name, linked when a table defines it.
    pub fn ty(&self, name: &str) -> Markup {
        match self.references.of_type(name) {
            Some(link) => html! { a href=(link.href()) { code { (name) } } },
            None => html! { code { (name) } },
        }
    }

    /// The fact of where the library uses an entry.
    pub fn used(&self, places: &[Place]) -> Option<Fact> {
        const SHOWN: usize = 8;
        let lines = |place: &Place| place.lines.iter().take(SHOWN).map(u32::to_string).collect::<Vec<_>>().join(",");
        let list = html! {
            @for (i, place) in places.iter().enumerate() {
                @if i > 0 { ", " }
                code { (place.file) ":" (lines(place)) }
                @if place.lines.len() > SHOWN { " and " (place.lines.len() - SHOWN) " more" }
            }
        };
        (!places.is_empty()).then_some(("Used in", list))
    }
}

/// "rev. 077"; a revision that is a commit by its beginning.
pub(super) fn revision(revision: &str) -> Markup {
    let commit = revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    html! {
        @if commit { "rev. " (revision[..10]) }
        @else if revision == "unspecified" { "(no revision named)" }
        @else { "rev. " (revision) }
    }
}

/// Whether two citations say the same.
fn same(one: &Cite, other: &Cite) -> bool {
    one.doc.value == other.doc.value
        && one.title == other.title
        && one.page.as_ref().map(|page| &page.value) == other.page.as_ref().map(|page| &page.value)
        && one.unchecked == other.unchecked
}

/// The entry of a row, for the search. `name` is what is shown there.
pub(super) fn found(id: &str, kind: &'static str, name: String, head: &Head, number: Option<u64>) -> Found {
    Found {
        id: id.to_owned(),
        name,
        manual_name: head.manual_name.clone(),
        kind,
        number,
        aliases: head.aliases.iter().map(|alias| alias.value.clone()).collect(),
        reserved: false,
        unchecked: head.cite.unchecked.is_some(),
    }
}

/// The mark of a row that nobody compared with its document.
pub(super) fn mark(head: &Head) -> Markup {
    html! {
        @if head.cite.unchecked.is_some() {
            " " span.mark { "unchecked" }
        }
    }
}

/// What the manual calls it, unless that is our name in other letters.
pub(super) fn printed(head: &Head) -> Markup {
    let plain = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_ascii_uppercase();
    html! {
        @if plain(&head.manual_name) != plain(head.name()) { small { (head.manual_name) } }
    }
}

/// A list of facts.
pub(super) fn list(facts: &[Fact]) -> Markup {
    html! {
        dl { @for (name, value) in facts { dt { (name) } dd { (value) } } }
    }
}
