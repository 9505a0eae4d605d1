//! AMD's tables.

use serde_json::{Value, json};

use super::types::{bits, text, word};
use super::{Row, Table, row};
use crate::model::{Area, Head, Information, LayoutField, Member, Spec, SvmInformation, Types, Vendor};

/// A row per member, and after it one per range of bits.
pub(super) fn vmcb(spec: &Spec) -> Table {
    let members = spec.members_of(Area::Control).chain(spec.members_of(Area::Save));
    let place = |member: &Member| {
        let clean = member.clean.as_ref().map_or("none", |group| &group.value);
        vec![("area", json!(member.area.name())), ("clean", json!(clean))]
    };
    Table { name: "vmcb", rows: members.flat_map(|member| rows(spec, member, place(member))).collect() }
}

/// The same for the VMSA, which has one area and no clean bits.
pub(super) fn vmsa(spec: &Spec) -> Table {
    Table {
        name: "vmsa",
        rows: spec.members_of(Area::Vmsa).flat_map(|member| rows(spec, member, Vec::new())).collect(),
    }
}

fn rows(spec: &Spec, member: &Member, place: Row) -> Vec<Row> {
    let one = |head: &Head, bits: Value, parent: Option<&str>, ty: Option<&str>, reserved: Option<u64>| {
        let mut own = place.clone();
        own.extend([
            ("offset", json!(member.offset.value)),
            ("size", json!(member.size.value)),
            ("bits", bits),
            ("member", json!(parent)),
            ("type", json!(ty)),
            ("reserved", json!(reserved)),
        ]);
        row(spec, member.module, head, own)
    };
    let whole = one(&member.head, Value::Null, None, Types::of_member(spec, member), member.reserved);
    let part = |field: &LayoutField| {
        let ty = field.ty.as_ref().map(|ty| ty.value.as_str());
        one(&field.head, bits(field.bits), Some(member.head.name()), ty, field.reserved)
    };
    [whole].into_iter().chain(member.bits.iter().map(part)).collect()
}

pub(super) fn vmcb_clean(spec: &Spec) -> Table {
    let rows = spec.clean.iter().map(|group| {
        let own = [("bit", json!(group.bits.low)), ("bits", bits(group.bits)), ("reserved", json!(group.reserved))];
        row(spec, group.module, &group.head, own)
    });
    Table { name: "vmcb_clean", rows: rows.collect() }
}

/// A row per bit; reserved ones may be several bits in a row.
pub(super) fn svm_intercepts(spec: &Spec) -> Table {
    let rows = spec.intercepts.iter().map(|intercept| {
        row(
            spec,
            intercept.module,
            &intercept.head,
            [
                ("word", json!(intercept.word.value)),
                ("bit", json!(intercept.bits.low)),
                ("bits", bits(intercept.bits)),
                ("reserved", json!(intercept.reserved)),
            ],
        )
    });
    Table { name: "svm_intercepts", rows: rows.collect() }
}

pub(super) fn svm_intercept_words(spec: &Spec) -> Table {
    let rows = spec.words.iter().map(|word| {
        let own = [("word", json!(word.number.value)), ("member", json!(word.member.value))];
        row(spec, word.module, &word.head, own)
    });
    Table { name: "svm_intercept_words", rows: rows.collect() }
}

pub(super) fn svm_exits(spec: &Spec) -> Table {
    let rows = spec.exits_of(Vendor::Amd).map(|exit| {
        let none = SvmInformation::default();
        let known = match &exit.information {
            Information::Svm(known) => known,
            Information::Vmx(_) => &none,
        };
        let own = [
            ("number", json!(exit.number.value)),
            ("payload", json!(exit.payload_name())),
            ("exit_info1", text(known.exit_info1.as_ref())),
            ("exit_info2", text(known.exit_info2.as_ref())),
            ("info_if", json!(known.info_if.as_ref().map(ToString::to_string))),
            ("next_rip", word(known.next_rip.as_ref())),
            ("instruction_bytes", word(known.instruction_bytes.as_ref())),
        ];
        row(spec, exit.module, &exit.head, own)
    });
    Table { name: "svm_exits", rows: rows.collect() }
}
