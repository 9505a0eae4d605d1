//! A document that has what the tables have.

use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::audit::source::{Identity, Kind, Place, Row, Source, Standing, Table};
use x86_vcpu_codegen::model::{Area, BitRange, Head, Vendor, Width};

/// A document with all tables of a spec, each row on a line of its own.
pub fn source(spec: &Spec) -> Source {
    let mut tables = Vec::new();
    let mut add = |kind: Kind, title: &str, rows: Vec<Row>| {
        tables.push(Table { kind, title: title.to_owned(), complete: true, rows });
    };
    let fields = spec.fields.iter().map(|field| Row {
        number: number(field.encoding.value),
        width: Some(if field.width.value == Width::Natural { 0 } else { field.width.value.bits() }),
        group: Some(field.group.value.name().to_owned()),
        high: (field.width.value == Width::W64).then(|| number(field.encoding.value + 1)).flatten(),
        ..row(&field.head)
    });
    add(Kind::VmcsFields, "Encodings", fields.collect());
    for control in &spec.controls {
        let bits = control.bits.iter().map(|bit| Row {
            bits: Some([bit.bits.high, bit.bits.low]),
            reserved: bit.reserved.is_some(),
            default1: Some(bit.default1),
            ..row(&bit.head)
        });
        add(Kind::Controls(control.id.value), &control.head.cite.title, bits.collect());
    }
    for (kind, vendor) in [(Kind::VmxExits, Vendor::Intel), (Kind::SvmExits, Vendor::Amd)] {
        let exits = spec.exits_of(vendor).map(|exit| Row { number: Some(exit.number.value), ..row(&exit.head) });
        add(kind, "Exits", exits.collect());
    }
    let errors = &spec.instruction_errors;
    let errors = errors.iter().map(|error| Row { number: number(error.number.value), ..row(&error.head) });
    add(Kind::InstructionErrors, "Errors", errors.collect());
    let msrs = spec.msrs.iter().map(|msr| Row { number: number(msr.address.value), ..row(&msr.head) });
    add(Kind::Msrs, "MSRs", msrs.collect());
    for area in [Area::Control, Area::Save, Area::Vmsa] {
        let mut rows = Vec::new();
        for member in spec.members_of(area) {
            let offset = number(member.offset.value);
            rows.push(Row {
                number: offset,
                size: Some(member.size.value),
                reserved: member.reserved.is_some(),
                ..row(&member.head)
            });
            rows.extend(
                member.bits.iter().map(|bit| Row { number: offset, ..bits(&bit.head, bit.bits, bit.reserved) }),
            );
        }
        add(Kind::Members(area), "Layout", rows);
    }
    let intercepts = spec.intercepts.iter().map(|intercept| Row {
        number: number(32 * intercept.word.value + u64::from(intercept.bits.low)),
        last: number(32 * intercept.word.value + u64::from(intercept.bits.high)),
        reserved: intercept.reserved.is_some(),
        ..row(&intercept.head)
    });
    add(Kind::Intercepts, "Intercepts", intercepts.collect());
    let clean = spec.clean.iter().map(|clean| bits(&clean.head, clean.bits, clean.reserved));
    add(Kind::Bits { msr: None }, "VMCB Clean Bits", clean.collect());
    for layout in &spec.layouts {
        let fields = layout.fields.iter().map(|field| bits(&field.head, field.bits, field.reserved));
        add(Kind::Bits { msr: None }, layout.head.name(), fields.collect());
    }
    for table in &spec.enums {
        let values = table.values.iter().map(|value| Row { number: number(value.number.value), ..row(&value.head) });
        add(Kind::Bits { msr: None }, table.head.name(), values.collect());
    }
    let mut line = 0;
    for row in tables.iter_mut().flat_map(|table| &mut table.rows) {
        line += 1;
        row.place = Place { line: Some(line), ..Place::default() };
    }
    Source {
        path: "export.json".to_owned(),
        title: "An export".to_owned(),
        standing: Standing::Derived,
        identity: Identity::default(),
        tables,
        unreadable: Vec::new(),
    }
}

fn row(head: &Head) -> Row {
    Row { name: head.manual_name.clone(), aliases: vec![head.name().to_owned()], ..Row::default() }
}

fn bits(head: &Head, bits: BitRange, reserved: Option<u64>) -> Row {
    Row { bits: Some([bits.high, bits.low]), reserved: reserved.is_some(), ..row(head) }
}

fn number(value: u64) -> Option<i64> {
    i64::try_from(value).ok()
}

/// The row of that name in the first table of that kind which has one.
pub fn find<'s>(source: &'s mut Source, kind: &Kind, name: &str) -> &'s mut Row {
    let tables = source.tables.iter_mut().filter(|table| table.kind == *kind);
    let found = tables.flat_map(|table| &mut table.rows).find(|row| row.aliases.iter().any(|own| own == name));
    found.unwrap_or_else(|| panic!("no {name}"))
}
