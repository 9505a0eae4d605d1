//! Intel's tables.

use serde_json::json;

use super::{Table, row};
use crate::model::{Spec, Vendor, Width};

pub(super) fn vmcs(spec: &Spec) -> Table {
    let rows = spec.fields.iter().map(|field| {
        let width = match field.width.value {
            Width::Natural => json!("natural"),
            other => json!(other.bits()),
        };
        row(
            spec,
            field.module,
            &field.head,
            [
                ("encoding", json!(field.encoding.value)),
                ("width", width),
                ("group", json!(field.group.value.name())),
                ("access", json!(field.access.value.name())),
                ("type", json!(field.ty.as_ref().map(|ty| &ty.value))),
                ("exists_if", json!(field.exists_if.as_ref().map(|condition| condition.value.to_string()))),
                ("retired", json!(field.retired)),
            ],
        )
    });
    Table { name: "vmcs", rows: rows.collect() }
}

pub(super) fn vmx_controls(spec: &Spec) -> Table {
    let rows = spec.controls.iter().flat_map(|control| {
        control.bits.iter().map(move |bit| {
            row(
                spec,
                control.module,
                &bit.head,
                [
                    ("word", json!(control.id.value.name())),
                    ("bit", json!(bit.bits.low)),
                    ("default1", json!(bit.default1)),
                    ("reserved", json!(bit.reserved)),
                    ("retired", json!(bit.retired)),
                ],
            )
        })
    });
    Table { name: "vmx_controls", rows: rows.collect() }
}

pub(super) fn vmx_exits(spec: &Spec) -> Table {
    let rows = spec.exits_of(Vendor::Intel);
    let rows = rows.map(|exit| row(spec, exit.module, &exit.head, [("number", json!(exit.number.value))]));
    Table { name: "vmx_exits", rows: rows.collect() }
}

pub(super) fn vmx_instruction_errors(spec: &Spec) -> Table {
    let rows = spec.instruction_errors.iter();
    let rows = rows.map(|error| row(spec, error.module, &error.head, [("number", json!(error.number.value))]));
    Table { name: "vmx_instruction_errors", rows: rows.collect() }
}
