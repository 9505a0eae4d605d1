//! What entries of all tables have: a name, a citation, notes, and where the library uses them.

use maud::{Markup, html};

use super::page::Found;
use super::text::prose;
use super::uses::Place;
use super::{Atlas, links};
use crate::audit::status::Class;
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
        facts.extend(self.audit(head));
        if !around.is_some_and(|around| same(around, &head.cite)) {
            facts.push(("Source", self.cite(&head.cite)));
            if let Some(why) = &head.cite.unchecked {
                facts.push(("Unchecked", prose(why)));
            }
        }
        facts
    }

    /// What audits found, and why what they found otherwise is wrong.
    fn audit(&self, head: &Head) -> Vec<Fact> {
        let mut facts = Vec::new();
        if !head.confirmed.is_empty() {
            let list = html! {
                @for (i, found) in head.confirmed.iter().enumerate() {
                    @if i > 0 { "; " }
                    // Mostly it is the place that the row cites.
                    @if found.doc.value == head.cite.doc.value && found.title == head.cite.title { "as cited" }
                    @else { (self.document(&found.doc.value)) ", " cite { (found.title) } }
                    @if let Some(page) = &found.page { ", p. " (page.value) }
                    ", on " (found.date.value)
                }
            };
            facts.push(("Audited", list));
        }
        if !head.excuses.is_empty() {
            let list = html! {
                @for (i, excuse) in head.excuses.iter().enumerate() {
                    @if i > 0 { "; " }
                    @if excuse.doc.value == "*" { "any document" } @else { (self.document(&excuse.doc.value)) }
                    ": " (prose(&excuse.reason))
                }
            };
            facts.push(("Differs from", list));
        }
        facts
    }

    /// A document with its revision.
    fn document(&self, id: &str) -> Markup {
        html! {
            @match self.spec.manual(id) {
                Some(manual) => { a href=(links::manual(id).href()) { (manual.short()) } " " (revision(&manual.revision)) }
                None => (id),
            }
        }
    }

    /// Whether an audit confirmed a row: by a manual, or by two others.
    pub fn is_confirmed(&self, head: &Head) -> bool {
        matches!(Class::of(self.spec, head), Class::Manual | Class::Two)
    }

    /// The entry of a row, for the search. `name` is what is shown there.
    pub fn found(&self, id: &str, kind: &'static str, name: String, head: &Head, number: Option<u64>) -> Found {
        Found {
            id: id.to_owned(),
            name,
            manual_name: head.manual_name.clone(),
            kind,
            number,
            aliases: head.aliases.iter().map(|alias| alias.value.clone()).collect(),
            reserved: false,
            unchecked: head.cite.unchecked.is_some(),
            confirmed: self.is_confirmed(head),
        }
    }

    /// The words that [`super::table::Filter::checked`] asks for.
    pub fn checked(&self, head: &Head) -> String {
        let compared = if head.cite.unchecked.is_some() { "c:n" } else { "c:y" };
        if self.is_confirmed(head) { format!("{compared} c:f") } else { compared.to_owned() }
    }

    /// A citation with its document.
    pub fn cite(&self, cite: &Cite) -> Markup {
        html! {
            (self.document(&cite.doc.value)) ", "
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
