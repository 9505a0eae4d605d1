//! Two editions of a document.

use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::audit::between::Change;
use x86_vcpu_codegen::audit::source::{Kind, Row, Source, Table};
use x86_vcpu_codegen::audit::{Between, Format};

use crate::common::manifest;
use crate::export::{find, source};

/// What differs after something was changed in the newer edition.
fn after(change: impl FnOnce(&mut Source)) -> Vec<(Change, String)> {
    let spec = Spec::load(manifest("tests/base")).unwrap_or_else(|errors| panic!("{errors}"));
    let old = source(&spec);
    let mut new = old.clone();
    change(&mut new);
    let between = Between::new(&old, &new);
    assert_eq!(between.alone, []);
    assert!(between.print(Format::Text).is_some() && between.print(Format::Markdown).is_some());
    let rows = between.tables.into_iter().flat_map(|table| table.differences);
    rows.map(|row| (row.change, row.message)).collect()
}

#[test]
fn nothing() {
    assert_eq!(after(|_| {}), []);
}

#[test]
fn rows_that_come_and_go() {
    let found = after(|new| {
        let table: &mut Table = &mut new.tables[0];
        table.rows.retain(|row| row.name != "Guest RIP");
        table.rows.push(Row { name: "Guest SSP".to_owned(), number: Some(0x682a), ..Row::default() });
    });
    let removed = (Change::Removed, "`Guest RIP`, encoding 0x681e".to_owned());
    assert_eq!(found, [(Change::Added, "`Guest SSP`, encoding 0x682a".to_owned()), removed]);
}

#[test]
fn rows_that_move_or_are_renamed() {
    let found = after(|new| find(new, &Kind::VmcsFields, "GUEST_RIP").number = Some(0x6820));
    assert_eq!(found, [(Change::Renumbered, "`Guest RIP`: encoding 0x681e to encoding 0x6820".to_owned())]);
    let found = after(|new| {
        let row = find(new, &Kind::VmcsFields, "GUEST_RIP");
        (row.name, row.aliases) = ("Guest instruction pointer".to_owned(), Vec::new());
    });
    let text = "encoding 0x681e: `Guest RIP` to `Guest instruction pointer`";
    assert_eq!(found, [(Change::Renamed, text.to_owned())]);
}

#[test]
fn rows_whose_condition_or_width_changes() {
    let found = after(|new| {
        let row = find(new, &Kind::VmcsFields, "GUEST_RIP");
        (row.condition, row.width) = (Some("This field exists sometimes.".to_owned()), Some(64));
    });
    let text = "`Guest RIP`: width 0 to 64; condition none to “This field exists sometimes.”";
    assert_eq!(found, [(Change::Changed, text.to_owned())]);
}
