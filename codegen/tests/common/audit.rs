//! Documents for the tests of the audit's readers.
// Not every test needs all of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use x86_vcpu_codegen::audit::read::{Input, READERS, ReadError};
use x86_vcpu_codegen::audit::source::{Kind, Row, Source, Table};

/// Reads a document of these bytes. `None` when no reader knows it.
pub fn read_bytes(path: &Path, bytes: &[u8]) -> Option<Result<Source, ReadError>> {
    let input = Input { path, bytes };
    let reader = READERS.iter().find(|reader| (reader.recognises)(&input))?;
    Some((reader.read)(&input, &mut |_, _, _| {}))
}

/// Reads a file that can be read.
pub fn read(path: &Path) -> Source {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    read_bytes(path, &bytes).expect("a reader").unwrap_or_else(|error| panic!("{error}"))
}

/// A file of `tests/audit/`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit").join(name)
}

/// The rows of all tables of a kind.
pub fn rows(source: &Source, kind: &Kind) -> Vec<Row> {
    let of_kind = |table: &&Table| table.kind == *kind;
    source.tables.iter().filter(of_kind).flat_map(|table| table.rows.clone()).collect()
}

/// `name number last bits size high`, without what is not there.
pub fn show(row: &Row) -> String {
    let mut text = row.name.clone();
    if let Some(number) = row.number {
        text += &if number < 0 { format!(" {number}") } else { format!(" {number:#x}") };
    }
    if let Some(last) = row.last {
        text += &format!("-{last:#x}");
    }
    if let Some([high, low]) = row.bits {
        text += &format!(" [{high}:{low}]");
    }
    if let Some(size) = row.size {
        text += &format!(" {size} bytes");
    }
    if let Some(high) = row.high {
        text += &format!(" high {high:#x}");
    }
    if row.reserved {
        text += " reserved";
    }
    text
}

/// All rows of a kind.
pub fn shown(source: &Source, kind: &Kind) -> Vec<String> {
    rows(source, kind).iter().map(show).collect()
}
