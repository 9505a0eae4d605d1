//! The documents that citations point at.

use maud::html;

use super::Atlas;
use super::links;
use super::page::{Found, Page, Section};
use super::table::{Row, mono, table, text};
use super::text::prose;
use crate::model::Manual;

impl Atlas<'_> {
    pub fn manuals(&self) -> Page {
        let mut entries = Vec::new();
        let rows = self.spec.manuals.iter().map(|manual| {
            let id = links::manual(&manual.id.value).id;
            entries.push(Found {
                id: id.clone(),
                name: manual.id.value.clone(),
                manual_name: manual.title.clone(),
                kind: "document",
                number: None,
                aliases: manual.order.iter().chain(&manual.short).cloned().collect(),
                reserved: false,
                unchecked: false,
                confirmed: false,
            });
            self.manual(id, manual)
        });
        let rows: Vec<_> = rows.collect();
        let columns =
            [mono("Id"), text("Title"), mono("Order"), mono("Revision"), mono("Date"), text("Kind"), text("Cited by")];
        Page {
            file: links::MANUALS.to_owned(),
            section: Section::Sources,
            short: "Manuals".to_owned(),
            title: "Manuals and other sources".to_owned(),
            lead: html! {
                "Every row cites one of these by the title of the table or section, for numbers of tables move between revisions. "
                "“Unchecked” rows were not compared with the document that they cite."
            },
            body: html! { (table("Documents", &columns, &rows)) },
            entries,
        }
    }

    fn manual(&self, id: String, manual: &Manual) -> Row {
        let mut facts = Vec::new();
        if let Some(note) = &manual.note {
            facts.push(("Note", prose(note)));
        }
        // Other addresses than those of the web are text.
        if let Some(url) = &manual.url {
            let is_web = url.starts_with("https://") || url.starts_with("http://");
            facts.push(("Address", html! { @if is_web { a href=(url) rel="noreferrer" { (url) } } @else { (url) } }));
        }
        if let Some(sum) = &manual.sha256 {
            facts.push(("SHA-256", html! { code.long { (sum.value) } }));
        }
        let cells = vec![
            html! { a.n href={"#" (id)} { (manual.id.value) } },
            html! { (manual.title) },
            html! { @if let Some(order) = &manual.order { (order) } },
            html! { span.long { (super::entry::revision(&manual.revision)) } },
            html! { @if let Some(date) = &manual.date { (date.value) } },
            html! { (manual.kind) },
            html! { (self.citing(&manual.id.value)) " rows" },
        ];
        Row { id, tags: Vec::new(), reserved: false, cells, facts }
    }

    /// How many rows cite a document themselves.
    fn citing(&self, id: &str) -> usize {
        self.spec.heads().into_iter().filter(|head| head.cite.doc.value == id).count()
    }
}
