//! Tables that any vendor may have.

use serde_json::{Value, json};

use super::{Table, row};
use crate::model::{LayoutField, Spec};

/// `[high, low]`
pub(super) fn bits(field: &LayoutField) -> Value {
    json!([field.bits.high, field.bits.low])
}

pub(super) fn msrs(spec: &Spec) -> Table {
    let rows = spec.msrs.iter().map(|msr| {
        row(
            spec,
            msr.module,
            &msr.head,
            [("address", json!(msr.address.value)), ("layout", json!(msr.layout.as_ref().map(|layout| &layout.value)))],
        )
    });
    Table { name: "msrs", rows: rows.collect() }
}

/// A row per range of bits.
pub(super) fn layouts(spec: &Spec) -> Table {
    let rows = spec.layouts.iter().flat_map(|layout| {
        layout.fields.iter().map(move |field| {
            row(
                spec,
                layout.module,
                &field.head,
                [
                    ("layout", json!(layout.head.name())),
                    ("width", json!(layout.width)),
                    ("bits", bits(field)),
                    ("type", json!(field.ty.as_ref().map(|ty| &ty.value))),
                    ("reserved", json!(field.reserved)),
                ],
            )
        })
    });
    Table { name: "layouts", rows: rows.collect() }
}

/// A row per value.
pub(super) fn enums(spec: &Spec) -> Table {
    let rows = spec.enums.iter().flat_map(|table| {
        table.values.iter().map(move |value| {
            row(
                spec,
                table.module,
                &value.head,
                [
                    ("enum", json!(table.head.name())),
                    ("width", json!(table.width)),
                    ("number", json!(value.number.value)),
                ],
            )
        })
    });
    Table { name: "enums", rows: rows.collect() }
}

pub(super) fn manuals(spec: &Spec) -> Table {
    let rows = spec.manuals.iter().map(|manual| {
        vec![
            ("name", json!(manual.id.value)),
            ("manual_name", json!(manual.title)),
            ("order", json!(manual.order)),
            ("revision", json!(manual.revision)),
            ("date", json!(manual.date)),
            ("sha256", json!(manual.sha256)),
            ("kind", json!(manual.kind)),
            ("url", json!(manual.url)),
            ("note", json!(manual.note)),
        ]
    });
    Table { name: "manuals", rows: rows.collect() }
}
