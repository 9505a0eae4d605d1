//! What of one vendor corresponds to what of the other: our own comparison, so that no manual has a name for it.

use serde_json::{Value, json};

use super::{Row, Table};
use crate::model::{Spanned, Spec};

pub(super) fn exit_map(spec: &Spec) -> Table {
    let rows = spec.exit_map.iter().map(|map| {
        let own = [("vmx", names(&map.vmx)), ("svm", names(&map.svm)), ("neutral", names(&map.neutral))];
        row(&map.name, own, map.note.as_deref())
    });
    Table { name: "exit_map", rows: rows.collect() }
}

pub(super) fn state_map(spec: &Spec) -> Table {
    let rows = spec.state_map.iter().map(|map| {
        let members = map.svm.iter().map(|member| format!("{}.{}", member.area.name(), member.member));
        let own = [("vmx", names(&map.vmx)), ("svm", json!(members.collect::<Vec<_>>()))];
        row(&map.name, own, map.note.as_deref())
    });
    Table { name: "state_map", rows: rows.collect() }
}

fn row(name: &Spanned<String>, own: impl IntoIterator<Item = (&'static str, Value)>, note: Option<&str>) -> Row {
    let mut row = vec![("name", json!(name.value)), ("manual_name", Value::Null), ("vendor", Value::Null)];
    row.extend(own);
    row.extend([("note", json!(note)), ("cite", Value::Null)]);
    row
}

fn names(list: &[Spanned<String>]) -> Value {
    json!(list.iter().map(|name| &name.value).collect::<Vec<_>>())
}
