//! Rows of `map.toml`.

use crate::model::{ExitMap, StateMap};

use super::refs::member;
use super::row::Row;

pub(super) fn exit(row: &mut Row) -> Option<ExitMap> {
    let name = row.need_string("name");
    let (vmx, svm) = (row.strings("vmx"), row.strings("svm"));
    let (neutral, note) = (row.strings("neutral"), row.text("note"));
    Some(ExitMap { name: name?, vmx, svm, neutral, note, span: row.span })
}

pub(super) fn state(row: &mut Row) -> Option<StateMap> {
    let name = row.need_string("name");
    let (vmx, svm) = (row.strings("vmx"), row.strings("svm"));
    let svm = svm.iter().filter_map(|text| member(row, &text.value, text.span)).collect();
    let note = row.text("note");
    Some(StateMap { name: name?, vmx, svm, note, span: row.span })
}
