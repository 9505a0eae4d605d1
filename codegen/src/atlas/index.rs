//! The first page: what there is, and how much of it was compared with its documents.

use maud::{Markup, html};

use super::Atlas;
use super::links;
use super::page::{Page, Section};

impl Atlas<'_> {
    pub fn index(&self, pages: &[Page]) -> Page {
        let rows = |page: &Page| {
            let all = page.entries.len();
            let unchecked = page.entries.iter().filter(|entry| entry.unchecked).count();
            (all, unchecked)
        };
        let (all, unchecked) = pages.iter().map(rows).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        let body = html! {
            p.how {
                "Press " kbd { "/" } " and type a name or a number: " code { "GUEST_RIP" } ", " code { "0x681e" } ", "
                code { "681e" } " or " code { "26654" } ". A press on a name opens what else is known of it; every entry has an "
                "address of its own, such as " (self.example()) "."
            }
            table.overview aria-label="Tables" {
                thead { tr { th scope="col" { "Table" } th scope="col" { "Entries" } th scope="col" { "Compared with the cited document" } } }
                @for (section, name) in Section::ALL {
                    @let of = pages.iter().filter(|page| page.section == section).collect::<Vec<_>>();
                    @if !of.is_empty() {
                        tbody {
                            tr { th.group colspan="3" scope="rowgroup" { (name) } }
                            @for page in of { (line(page, rows(page))) }
                        }
                    }
                }
                tfoot { tr { th scope="row" { "All" } td.m { (all) } td { (share(all, unchecked)) } } }
            }
            @if self.uses.files() > 0 {
                p.sub {
                    "“Used in” was looked for in " (self.uses.files()) " Rust files, by name: what a macro makes of a name is not "
                    "seen, and a method counts in files that name its type."
                }
            }
        };
        Page {
            file: links::INDEX.to_owned(),
            section: Section::Sources,
            short: "Overview".to_owned(),
            title: "The hardware tables of x86_vcpu".to_owned(),
            lead: html! {
                "Every number of Intel VMX and AMD SVM that the library uses, with the place in a manual where it can be checked, "
                "and the Rust that is generated from it."
            },
            body,
            entries: Vec::new(),
        }
    }

    fn example(&self) -> Markup {
        let field = self.spec.fields.iter().find(|field| field.head.name() == "GUEST_RIP").or(self.spec.fields.first());
        match field.map(|field| links::field(field.head.name())) {
            Some(link) => html! { a href=(link.href()) { code { (link.href()) } } },
            None => html! { code { (links::VMCS) } },
        }
    }
}

fn line(page: &Page, (all, unchecked): (usize, usize)) -> Markup {
    html! {
        tr {
            th scope="row" { a href=(page.file) { (page.short) } }
            td.m { (all) }
            td { @if matches!(page.file.as_str(), links::MAP | links::MANUALS) { span.no { "cites nothing itself" } } @else { (share(all, unchecked)) } }
        }
    }
}

/// A bar and the number.
fn share(all: usize, unchecked: usize) -> Markup {
    let checked = all - unchecked;
    html! {
        meter min="0" max=(all) value=(checked) aria-hidden="true" {} " "
        @if unchecked == 0 { "all" } @else { (checked) ", " (unchecked) " unchecked" }
    }
}
