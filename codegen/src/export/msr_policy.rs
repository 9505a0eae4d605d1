//! The policy for MSRs: our own, so that no manual has a name for it; and the bitmaps.

use serde_json::{Value, json};

use super::{Row, Table, row};
use crate::model::{Spanned, Spec, SvmPlace};

pub(super) fn msr_policy(spec: &Spec) -> Table {
    let rows = spec.msr_policy.iter().map(|rule| {
        let place = |place: &SvmPlace| match place {
            SvmPlace::Member(member) => format!("{}.{}", member.area.name(), member.member),
            SvmPlace::Bind(_) => crate::model::AT_BIND.to_owned(),
        };
        let ranges = rule.ranges.iter().map(|[first, last]| format!("{}..{}", first.value, last.value));
        let mut row: Row = vec![
            ("name", json!(rule.name.value)),
            ("manual_name", Value::Null),
            ("vendor", json!(rule.on.map(|on| on.name()))),
        ];
        row.extend([
            ("msrs", names(&rule.msrs)),
            ("ranges", json!(ranges.collect::<Vec<_>>())),
            ("read", json!(rule.read.value.name())),
            ("write", json!(rule.write.value.name())),
            ("handler", json!(rule.handler.as_ref().map(|handler| &handler.value))),
            ("value", names(&rule.value)),
            ("writable", names(&rule.writable)),
            ("ignored", names(&rule.ignored)),
            ("vmx", names(&rule.vmx)),
            ("svm", json!(rule.svm.iter().map(place).collect::<Vec<_>>())),
            ("needs", json!(rule.needs.as_ref().map(|needs| &needs.value))),
            ("host", json!(rule.host.is_some())),
            ("reason", json!(rule.reason)),
            ("cite", Value::Null),
        ]);
        row
    });
    Table { name: "msr_policy", rows: rows.collect() }
}

pub(super) fn msr_bitmaps(spec: &Spec) -> Table {
    let rows = spec.msr_bitmaps.iter().map(|map| {
        let own = [
            ("first", json!(map.first.value)),
            ("last", json!(map.last.value)),
            ("read", json!(map.read.value)),
            ("write", json!(map.write.value)),
            ("stride", json!(map.stride)),
        ];
        row(spec, map.module, &map.head, own)
    });
    Table { name: "msr_bitmaps", rows: rows.collect() }
}

fn names(list: &[Spanned<String>]) -> Value {
    json!(list.iter().map(|name| &name.value).collect::<Vec<_>>())
}
