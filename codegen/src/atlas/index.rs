//! The first page: what there is, and how much of it was compared with its documents.

use maud::{Markup, html};

use super::Atlas;
use super::links;
use super::page::{Found, Page, Section};

impl Atlas<'_> {
    pub fn index(&self, pages: &[Page]) -> Page {
        let cited = pages.iter().filter(|page| cites(page));
        let all = cited.map(Counts::of).fold(Counts::default(), Counts::and);
        let audited = all.confirmed > 0;
        let body = html! {
            p.how {
                "Press " kbd { "/" } " and type a name or a number: " code { "GUEST_RIP" } ", " code { "0x681e" } ", "
                code { "681e" } " or " code { "26654" } ". A press on a name opens what else is known of it; every entry has an "
                "address of its own, such as " (self.example()) "."
            }
            table.overview aria-label="Tables" {
                thead {
                    tr {
                        th scope="col" { "Table" }
                        th scope="col" { "Entries" }
                        th scope="col" { "Compared with the cited document" }
                        @if audited { th scope="col" { "Confirmed by an audit" } }
                    }
                }
                @for (section, name) in Section::ALL {
                    @let of = pages.iter().filter(|page| page.section == section).collect::<Vec<_>>();
                    @if !of.is_empty() {
                        tbody {
                            tr { th.group colspan=(if audited { "4" } else { "3" }) scope="rowgroup" { (name) } }
                            @for page in of { (line(page, audited)) }
                        }
                    }
                }
                tfoot { tr { th scope="row" { "All that cite" } (all.cells(audited)) } }
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

/// How many entries there are, and what is known of them.
#[derive(Clone, Copy, Default)]
struct Counts {
    all: usize,
    unchecked: usize,
    confirmed: usize,
}

impl Counts {
    fn of(page: &Page) -> Counts {
        let count = |is: fn(&Found) -> bool| page.entries.iter().filter(|entry| is(entry)).count();
        Counts {
            all: page.entries.len(),
            unchecked: count(|entry| entry.unchecked),
            confirmed: count(|entry| entry.confirmed),
        }
    }

    fn and(self, other: Counts) -> Counts {
        Counts {
            all: self.all + other.all,
            unchecked: self.unchecked + other.unchecked,
            confirmed: self.confirmed + other.confirmed,
        }
    }

    /// The cells behind the name.
    fn cells(self, audited: bool) -> Markup {
        let compared = self.all - self.unchecked;
        html! {
            td.m { (self.all) }
            td {
                (bar(self.all, compared)) " "
                @if self.unchecked == 0 { "all" } @else { (compared) ", " (self.unchecked) " unchecked" }
            }
            @if audited { td { (bar(self.all, self.confirmed)) " " (self.confirmed) } }
        }
    }
}

fn bar(all: usize, some: usize) -> Markup {
    html! { meter min="0" max=(all) value=(some) aria-hidden="true" {} }
}

/// Whether the rows of a page cite documents; the map and the documents do not.
fn cites(page: &Page) -> bool {
    !matches!(page.file.as_str(), links::MAP | links::MANUALS)
}

fn line(page: &Page, audited: bool) -> Markup {
    let counts = Counts::of(page);
    html! {
        tr {
            th scope="row" { a href=(page.file) { (page.short) } }
            @if cites(page) { (counts.cells(audited)) }
            @else { td.m { (counts.all) } td colspan=[audited.then_some("2")] { span.no { "cites nothing itself" } } }
        }
    }
}
