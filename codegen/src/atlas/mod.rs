//! The tables as a static site: a page per table, to be read in a browser, on a phone or on paper, without a network.
//!
//! [`site`] makes it. Every page collects the entries that it shows, from which come the index of the search and the counts of
//! the first page: an entry that is shown can be found.

mod bits;
mod checks;
mod controls;
mod entry;
mod exits;
mod index;
mod intercepts;
mod links;
mod manuals;
mod map;
mod memory;
mod msrs;
mod page;
mod references;
mod search;
mod site;
mod table;
mod text;
mod types;
mod uses;
mod vmcb;
mod vmcs;
mod word;

pub use site::Site;
pub use uses::Uses;

use crate::model::{Spec, Types, Vendor};
use references::References;

/// What all pages look at.
struct Atlas<'s> {
    spec: &'s Spec,
    types: Types,
    uses: &'s Uses,
    references: References,
}

/// The site of a spec that [`crate::lint()`] has nothing against. `uses` is the library's code, or nothing.
pub fn site(spec: &Spec, uses: &Uses) -> Site {
    let types = Types::of(spec);
    let references = References::of(spec, &types);
    let atlas = Atlas { spec, types, uses, references };
    let mut pages = vec![
        atlas.vmcs(),
        atlas.controls(),
        atlas.vmx_exits(),
        atlas.vmx_errors(),
        atlas.vmcb(),
        atlas.vmsa(),
        atlas.intercepts(),
        atlas.svm_exits(),
        atlas.map(),
        atlas.msrs(),
    ];
    pages.extend([Vendor::Intel, Vendor::Amd].into_iter().filter_map(|vendor| atlas.entry_checks(vendor)));
    pages.extend(atlas.types_pages());
    pages.push(atlas.manuals());
    let index = atlas.index(&pages);
    let mut files = vec![("index.html".to_owned(), page::html(&index, &pages))];
    files.extend(pages.iter().map(|page| (page.file.clone(), page::html(page, &pages))));
    files.push(("search.js".to_owned(), search::script(&pages)));
    files.push(("atlas.css".to_owned(), include_str!("assets/atlas.css").to_owned()));
    files.push(("atlas.js".to_owned(), include_str!("assets/atlas.js").to_owned()));
    Site { files }
}

#[cfg(test)]
mod tests {
    /// The dark colours are there twice: for readers whose system is dark, and for those who ask for it.
    #[test]
    fn both_dark_palettes_are_the_same() {
        let css = include_str!("assets/atlas.css");
        let palettes: Vec<Vec<&str>> = css
            .split("color-scheme: dark;")
            .filter_map(|before| Some(before.rsplit_once('{')?.1.lines().map(str::trim).collect()))
            .collect();
        assert_eq!(palettes.len(), 3, "two, and what follows the last");
        assert_eq!(palettes[0], palettes[1]);
    }
}
