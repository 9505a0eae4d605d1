//! What all pages have: the head, the bar with the search, the list of tables.

use maud::{DOCTYPE, Markup, html};

use super::links;

/// A page.
pub(super) struct Page {
    /// Its name.
    pub file: String,
    /// Its part of the list of tables.
    pub section: Section,
    /// Its name in that list.
    pub short: String,
    /// Its heading.
    pub title: String,
    /// A sentence or two below the heading.
    pub lead: Markup,
    /// The rest.
    pub body: Markup,
    /// The entries that it shows.
    pub entries: Vec<Found>,
}

/// The parts of the list of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Vmx,
    Svm,
    Both,
    Types,
    Sources,
}

impl Section {
    pub const ALL: [(Section, &'static str); 5] = [
        (Section::Vmx, "Intel VMX"),
        (Section::Svm, "AMD SVM"),
        (Section::Both, "Both"),
        (Section::Types, "Types"),
        (Section::Sources, "Sources"),
    ];
}

/// An entry, for the search and the counts.
pub(super) struct Found {
    /// Its anchor.
    pub id: String,
    /// Our name, with that of its word where it is a part of one.
    pub name: String,
    /// What the manual calls it.
    pub manual_name: String,
    /// What it is.
    pub kind: &'static str,
    /// Its number, if one is its own.
    pub number: Option<u64>,
    /// Other names.
    pub aliases: Vec<String>,
    /// Whether it is reserved: counted, but not looked for.
    pub reserved: bool,
    /// Whether nobody compared it with its document.
    pub unchecked: bool,
    /// Whether an audit confirmed it.
    pub confirmed: bool,
}

/// The whole text of a page.
pub(super) fn html(page: &Page, all: &[Page]) -> String {
    let is_index = page.file == links::INDEX;
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content="x86-vcpu-spec atlas";
                title { (page.title) @if !is_index { " · x86_vcpu atlas" } }
                // Without it browsers ask for one, which is an error on a disk.
                link rel="icon" href="data:,";
                link rel="stylesheet" href="atlas.css";
                script src="atlas.js" {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.bar {
                    a.home href=(links::INDEX) { "x86_vcpu" span { " atlas" } }
                    (search())
                    button #theme .script type="button" { "Theme" }
                }
                div.frame {
                    nav.tables aria-label="Tables" {
                        details open { summary { "Tables" } (list(page, all)) }
                    }
                    main #main tabindex="-1" {
                        h1 { (page.title) }
                        div.lead { (page.lead) }
                        (page.body)
                    }
                }
                footer { "Generated from the tables in " code { "spec/" } " by " code { "cargo spec atlas" } "." }
            }
        }
    };
    markup.into_string()
}

fn search() -> Markup {
    html! {
        div.search.script role="search" {
            input #q type="search" placeholder="Search a name or a number" aria-label="Search all tables by name or number"
                role="combobox" aria-expanded="false" aria-controls="hits" aria-autocomplete="list" autocomplete="off"
                spellcheck="false" aria-keyshortcuts="/";
            kbd aria-hidden="true" { "/" }
            div #hits role="listbox" aria-label="Results" hidden {}
            p #said .unseen role="status" {}
        }
    }
}

fn list(page: &Page, all: &[Page]) -> Markup {
    let entry = |file: &str, text: &str| {
        let current = (file == page.file).then_some("page");
        html! { li { a href=(file) aria-current=[current] { (text) } } }
    };
    html! {
        ul { (entry(links::INDEX, "Overview")) }
        @for (section, name) in Section::ALL {
            h2 { (name) }
            ul { @for other in all.iter().filter(|other| other.section == section) { (entry(&other.file, &other.short)) } }
        }
    }
}
