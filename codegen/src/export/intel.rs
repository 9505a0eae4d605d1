//! Intel's tables.

use serde_json::json;

use super::types::{bits, list, text, word};
use super::{Table, row};
use crate::model::{Information, Spec, Vendor, VmxInformation, Width};

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

/// A row per bit; reserved ones may be several bits in a row.
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
                    ("bits", bits(bit.bits)),
                    ("default1", json!(bit.default1)),
                    ("requires", list(&bit.requires)),
                    ("excludes", list(&bit.excludes)),
                    ("reserved", json!(bit.reserved)),
                    ("retired", json!(bit.retired)),
                ],
            )
        })
    });
    Table { name: "vmx_controls", rows: rows.collect() }
}

pub(super) fn vmx_control_words(spec: &Spec) -> Table {
    let rows = spec.controls.iter().map(|control| {
        row(
            spec,
            control.module,
            &control.head,
            [
                ("word", json!(control.id.value.name())),
                ("width", json!(control.width)),
                ("field", json!(control.field.value)),
                ("capability", json!(control.capability.value)),
                ("true_capability", text(control.true_capability.as_ref())),
                ("activated_by", json!(control.activated_by.as_ref().map(ToString::to_string))),
            ],
        )
    });
    Table { name: "vmx_control_words", rows: rows.collect() }
}

pub(super) fn vmx_exits(spec: &Spec) -> Table {
    let rows = spec.exits_of(Vendor::Intel).map(|exit| {
        let none = VmxInformation::default();
        let known = match &exit.information {
            Information::Vmx(known) => known,
            Information::Svm(_) => &none,
        };
        let mut own = vec![
            ("number", json!(exit.number.value)),
            ("payload", json!(exit.payload_name())),
            ("qualification", text(known.qualification.as_ref())),
            ("instruction_information", text(known.instruction_information.as_ref())),
        ];
        own.extend(known.flags().map(|(key, _, valid)| (key, word(valid))));
        row(spec, exit.module, &exit.head, own)
    });
    Table { name: "vmx_exits", rows: rows.collect() }
}

pub(super) fn vmx_instruction_errors(spec: &Spec) -> Table {
    let rows = spec.instruction_errors.iter();
    let rows = rows.map(|error| row(spec, error.module, &error.head, [("number", json!(error.number.value))]));
    Table { name: "vmx_instruction_errors", rows: rows.collect() }
}
