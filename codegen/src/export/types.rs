//! Tables that any vendor may have.

use serde_json::{Value, json};

use super::{Table, row};
use crate::model::{BitRange, Spanned, Spec, Valid};

/// `[high, low]`
pub(super) fn bits(bits: BitRange) -> Value {
    json!([bits.high, bits.low])
}

/// A name, if there is one.
pub(super) fn text(name: Option<&Spanned<String>>) -> Value {
    json!(name.map(|name| &name.value))
}

/// When information is valid; null for never.
pub(super) fn word(valid: Option<&Spanned<Valid>>) -> Value {
    json!(valid.map(|valid| valid.value.name()))
}

/// References as they are written.
pub(super) fn list(references: &[impl ToString]) -> Value {
    json!(references.iter().map(ToString::to_string).collect::<Vec<_>>())
}

pub(super) fn msrs(spec: &Spec) -> Table {
    let rows = spec.msrs.iter().map(|msr| {
        row(
            spec,
            msr.module,
            &msr.head,
            [
                ("address", json!(msr.address.value)),
                ("layout", text(msr.layout.as_ref())),
                ("reset", json!(msr.reset.as_ref().map(|reset| reset.value))),
            ],
        )
    });
    Table { name: "msrs", rows: rows.collect() }
}

/// A row per layout and per enumeration; their parts are in tables of their own.
pub(super) fn types(spec: &Spec) -> Table {
    let layouts = spec.layouts.iter().map(|layout| {
        let place = layout
            .cpuid
            .map(|place| json!({ "leaf": place.leaf, "subleaf": place.subleaf, "register": place.register.name() }));
        let own = [
            ("kind", json!("layout")),
            ("width", json!(layout.width)),
            ("others", Value::Null),
            ("cpuid", json!(place)),
        ];
        row(spec, layout.module, &layout.head, own)
    });
    let enums = spec.enums.iter().map(|table| {
        let own = [
            ("kind", json!("enum")),
            ("width", json!(table.width)),
            ("others", json!(table.others)),
            ("cpuid", Value::Null),
        ];
        row(spec, table.module, &table.head, own)
    });
    Table { name: "types", rows: layouts.chain(enums).collect() }
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
                    ("bits", bits(field.bits)),
                    ("type", text(field.ty.as_ref())),
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

/// The documents. A document is its own citation.
pub(super) fn manuals(spec: &Spec) -> Table {
    let rows = spec.manuals.iter().map(|manual| {
        vec![
            ("name", json!(manual.id.value)),
            ("manual_name", json!(manual.title)),
            ("vendor", Value::Null),
            ("short", json!(manual.short)),
            ("order", json!(manual.order)),
            ("revision", json!(manual.revision)),
            ("date", json!(manual.date.as_ref().map(|date| &date.value))),
            ("sha256", json!(manual.sha256.as_ref().map(|sum| &sum.value))),
            ("kind", json!(manual.kind)),
            ("url", json!(manual.url)),
            ("note", json!(manual.note)),
            ("cite", json!({ "doc": manual.id.value, "rev": manual.revision, "title": manual.title })),
        ]
    });
    Table { name: "manuals", rows: rows.collect() }
}
