//! C headers as documents to compare the tables with.
#![cfg(feature = "cli")]

use std::path::Path;

use x86_vcpu_codegen::audit::read::{Input, READERS, ReadError};
use x86_vcpu_codegen::audit::source::Source;

fn read(path: &Path) -> Result<Source, ReadError> {
    let bytes = std::fs::read(path).unwrap();
    let input = Input { path, bytes: &bytes };
    let reader = READERS.iter().find(|reader| (reader.recognises)(&input)).expect("some reader");
    (reader.read)(&input, &mut |_, _, _| {})
}

#[test]
fn dump() {
    for path in std::env::var("DUMP").unwrap_or_default().split_whitespace() {
        let source = match read(Path::new(path)) {
            Ok(source) => source,
            Err(error) => {
                println!("!! {error}");
                continue;
            }
        };
        println!("== {} {} {:?} {:?}", source.path, source.title, source.standing, source.identity);
        for table in &source.tables {
            println!("## {:?} {} {}", table.kind, table.title, table.rows.len());
            for row in &table.rows {
                println!(
                    "T {:?}|{}|{:?}|{:?}|{:?}|{:?}|{:?}|{:?}|{}|{}|{:?}|{:?}",
                    table.kind,
                    row.name,
                    row.number,
                    row.last,
                    row.bits,
                    row.width,
                    row.high,
                    row.size,
                    row.reserved,
                    row.place,
                    row.group,
                    row.aliases
                );
            }
        }
        for wrong in &source.unreadable {
            println!("?? {} {} {}", wrong.place, wrong.text, wrong.why);
        }
    }
}
