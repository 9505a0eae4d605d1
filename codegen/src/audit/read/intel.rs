//! Intel's Software Developer's Manual: volumes 3A to 3D and 4, apart or combined.
//!
//! A table is found by its title, whatever its number and its volume, so that the full set and editions that moved tables
//! are read alike.

mod default1;
mod exits;
mod identity;
mod layouts;
mod lines;
mod lists;
mod msrs;
mod tables;
mod text;
mod values;
mod vmcs;

use super::{Input, Progress, ReadError, Reader, pdf};
use crate::audit::source::{Source, Standing, Table, Unreadable};
use identity::Edition;
use tables::Block;

/// The reader.
pub const READER: Reader = Reader { what: "Intel SDM", recognises, read };

/// How many pages the title takes.
const TITLE_PAGES: u32 = 2;

fn recognises(input: &Input) -> bool {
    Edition::of(&pdf::first_pages(input, TITLE_PAGES)).is_some()
}

fn read(input: &Input, progress: Progress) -> Result<Source, ReadError> {
    let pages = pdf::pages(input, progress)?;
    let Some(edition) = Edition::of(&pages) else {
        return Err(input.error("has no title page of Intel's Software Developer's Manual", "give the whole PDF"));
    };
    let mut found = Found::default();
    let pages = lines::clean(&pages);
    for block in tables::blocks(&pages) {
        found.read(&block);
    }
    default1::read(&pages, &mut found);
    lists::read(&pages, &mut found);
    if found.tables.is_empty() {
        let help = "those are in volumes 3C (VMX), 3D (appendices A to C) and 4 (MSRs), and in the combined volumes";
        return Err(
            input.error(&format!("is {}, which has none of the tables that are compared", edition.title()), help)
        );
    }
    Ok(Source {
        path: input.path.display().to_string(),
        title: edition.title(),
        standing: Standing::Manual,
        identity: edition.identity(pdf::sha256(input.bytes)),
        tables: found.tables,
        unreadable: found.unreadable,
    })
}

/// What was read.
#[derive(Default)]
struct Found {
    tables: Vec<Table>,
    unreadable: Vec<Unreadable>,
}

impl Found {
    /// Reads a table when its title says that it is one of ours.
    fn read(&mut self, block: &Block) {
        vmcs::read(block, self);
        exits::read(block, self);
        layouts::read(block, self);
        values::read(block, self);
        msrs::read(block, self);
    }

    fn unreadable(&mut self, line: &lines::Line, why: &str) {
        self.unreadable.push(Unreadable { place: line.place.clone(), text: line.line.text(), why: why.into() });
    }
}
