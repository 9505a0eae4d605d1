//! Everything that is known of what has a name or a number.

use super::entry::Entry;
use super::page::{Cell, Ink, Page};
use super::{Explainer, Kind, Result, facts, find, number, relations, types, words};

impl Explainer<'_> {
    /// Everything that is called `query` or has that number. With `rust` the Rust that it becomes, too.
    pub fn show(&self, query: &str, kind: Option<Kind>, rust: bool) -> Result<Page> {
        let mut entries = find::named(self.spec, query, kind);
        let number = number::parse(query);
        if let Some(number) = number {
            entries.extend(find::numbered(self.spec, number, kind));
        }
        match (entries.as_slice(), number) {
            ([], Some(number)) => Err(find::no_number(self.spec, number, kind, "nothing has the number")),
            ([], None) => Err(find::no_name(self.spec, query, kind)),
            (entries, _) => {
                let mut page = Page::default();
                if entries.len() > 1 {
                    page.line(Cell::new(
                        Ink::Faint,
                        format!("{} entries match; --kind or a name as WORD.BIT narrows.", entries.len()),
                    ));
                }
                for entry in entries {
                    page.append(self.entry(*entry, number, rust));
                }
                Ok(page)
            }
        }
    }

    fn entry(&self, entry: Entry, number: Option<i128>, rust: bool) -> Page {
        let spec = self.spec;
        let mut page = Page::default();
        page.title(entry.qualified(spec), entry.what());
        let mut list: Vec<(&'static str, Cell)> = Vec::new();
        if let Some(number) = number.filter(|number| find::high_half(entry, *number)) {
            let text =
                format!("{number:#x} is the encoding of the high 32 bits of this field, for code outside 64-bit mode");
            list.push(("asked for", Cell::new(Ink::Wrong, text)));
        }
        list.extend(facts::of(spec, entry));
        list.extend(relations::of(spec, entry));
        list.extend(facts::source(spec, entry));
        page.facts(list);
        if let Some(shape) = words::type_of(spec, entry).and_then(|ty| types::shape(spec, &ty)) {
            page.heading(format!("{}, {} bits", shape.name, shape.width));
            words::table(&mut page, &shape);
        }
        let files = if rust { self.rust.of(entry) } else { Vec::new() };
        for (path, text) in files {
            page.heading(format!("generated Rust, in {path}"));
            page.code(text);
        }
        page
    }
}
