//! Mistakes put in are found, with their places in the tables and in the document.

use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::audit::compare::Outcome;
use x86_vcpu_codegen::audit::source::{Identity, Kind, Source, Standing, Table};
use x86_vcpu_codegen::audit::{Auditor, Comparison, Format, Report};
use x86_vcpu_codegen::model::{Area, ControlWord};

use crate::common::manifest;
use crate::export::{find, source};

fn spec(dir: &str) -> Spec {
    Spec::load(manifest(dir)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn text(comparison: &Comparison) -> String {
    Report { comparisons: std::slice::from_ref(comparison), unread: &[], verbose: false }.print(Format::Text)
}

/// What is found after something was changed in the document: everything that is no plain confirmation.
fn planted(spec: &Spec, change: impl FnOnce(&mut Source)) -> Vec<(Outcome, String)> {
    let mut source = source(spec);
    change(&mut source);
    let comparison = Auditor::new(spec).compare(&source);
    let found = comparison.findings().filter(|finding| finding.outcome != Outcome::Confirmed);
    let found = found.map(|finding| {
        if let Some(here) = &finding.here {
            assert!(here.path.ends_with(".toml") && here.line > 0, "{here:?}");
        }
        if let Some(there) = &finding.there {
            assert!(there.place.line.is_some(), "{there:?}");
        }
        let both = finding.here.is_some() && finding.there.is_some();
        assert!(both || !matches!(finding.outcome, Outcome::Contradicted | Outcome::Renamed), "{finding:?}");
        (finding.outcome, finding.message.clone())
    });
    found.collect()
}

fn contradicted(text: &str) -> (Outcome, String) {
    (Outcome::Contradicted, text.to_owned())
}

#[test]
fn tables_agree_with_themselves() {
    for dir in ["tests/base", "../spec"].map(manifest).into_iter().filter(|dir| dir.exists()) {
        let spec = Spec::load(&dir).unwrap_or_else(|errors| panic!("{errors}"));
        let comparison = Auditor::new(&spec).compare(&source(&spec));
        for table in &comparison.tables {
            assert_eq!(table.confirmed(), table.rows, "{}: {}", table.name, text(&comparison));
        }
        assert!(!comparison.fails(), "{}", text(&comparison));
    }
}

#[test]
fn a_wrong_encoding() {
    let found = planted(&spec("tests/base"), |source| {
        find(source, &Kind::VmcsFields, "GUEST_RIP").number = Some(0x6820);
    });
    assert_eq!(found, [contradicted("GUEST_RIP has encoding 0x681e here, encoding 0x6820 there")]);
}

#[test]
fn two_encodings_swapped() {
    let found = planted(&spec("tests/base"), |source| {
        find(source, &Kind::VmcsFields, "GUEST_RIP").number = Some(0x681c);
        find(source, &Kind::VmcsFields, "GUEST_RSP").number = Some(0x681e);
    });
    let text = "GUEST_RSP and GUEST_RIP are swapped: GUEST_RSP has encoding 0x681c here, encoding 0x681e there";
    assert_eq!(found, [contradicted(text)]);
}

#[test]
fn a_wrong_width_group_or_upper_half() {
    let spec = spec("tests/base");
    let found = planted(&spec, |source| find(source, &Kind::VmcsFields, "MSR_BITMAPS").width = Some(32));
    assert_eq!(found, [contradicted("MSR_BITMAPS: width 64 here, 32 there")]);
    let found = planted(&spec, |source| find(source, &Kind::VmcsFields, "GUEST_RIP").group = Some("host".to_owned()));
    assert_eq!(found, [contradicted("GUEST_RIP: group `guest` here, `host` there")]);
    let found = planted(&spec, |source| find(source, &Kind::VmcsFields, "MSR_BITMAPS").high = Some(0x2007));
    assert_eq!(found, [contradicted("MSR_BITMAPS: upper half 0x2005 here, 0x2007 there")]);
}

#[test]
fn a_shifted_bit() {
    let spec = spec("tests/base");
    let primary = Kind::Controls(ControlWord::Primary);
    let found = planted(&spec, |source| find(source, &primary, "USE_MSR_BITMAPS").bits = Some([29, 29]));
    assert_eq!(found, [contradicted("USE_MSR_BITMAPS has bit 28 here, bit 29 there")]);
    let found = planted(&spec, |source| find(source, &primary, "USE_MSR_BITMAPS").default1 = Some(true));
    let text = "USE_MSR_BITMAPS: not in the default1 class here, in the default1 class there";
    assert_eq!(found, [contradicted(text)]);
    let bits = Kind::Bits { msr: None };
    let found = planted(&spec, |source| find(source, &bits, "WALK_LENGTH").bits = Some([6, 4]));
    assert_eq!(found, [contradicted("WALK_LENGTH has bits 5:3 here, bits 6:4 there")]);
}

#[test]
fn a_wrong_offset_or_size() {
    let spec = spec("tests/base");
    let (control, save) = (Kind::Members(Area::Control), Kind::Members(Area::Save));
    let found = planted(&spec, |source| find(source, &save, "RAX").number = Some(0x1f8));
    assert_eq!(found, [contradicted("RAX has offset 0x178, 8 bytes here, offset 0x1f8, 8 bytes there")]);
    let found = planted(&spec, |source| find(source, &control, "PAUSE_FILTER_THRESHOLD").size = Some(4));
    let text = "PAUSE_FILTER_THRESHOLD has offset 0x03c, 2 bytes here, offset 0x03c, 4 bytes there";
    assert_eq!(found, [contradicted(text)]);
    let found = planted(&spec, |source| find(source, &control, "V_IRQ").bits = Some([9, 9]));
    assert_eq!(found, [contradicted("V_IRQ has offset 0x060 bit 8 here, offset 0x060 bit 9 there")]);
}

#[test]
fn a_missing_row() {
    let spec = spec("tests/base");
    let found = planted(&spec, |source| {
        source.tables.iter_mut().for_each(|table| table.rows.retain(|row| row.name != "Guest RIP"));
    });
    assert_eq!(found, [(Outcome::MissingThere, "GUEST_RIP (encoding 0x681e) is not there".to_owned())]);
    // A table that has a selection may lack it.
    let found = planted(&spec, |source| {
        for table in &mut source.tables {
            table.rows.retain(|row| row.name != "Guest RIP");
            table.complete = false;
        }
    });
    assert_eq!(found, []);
    let found = planted(&spec, |source| {
        let row = find(source, &Kind::VmcsFields, "GUEST_RIP");
        (row.number, row.name, row.aliases) = (Some(0x6822), "Guest FOO".to_owned(), Vec::new());
    });
    let there = (Outcome::MissingThere, "GUEST_RIP (encoding 0x681e) is not there".to_owned());
    assert_eq!(found, [(Outcome::MissingHere, "`Guest FOO`, encoding 0x6822, is not here".to_owned()), there]);
}

#[test]
fn a_name_that_is_reserved_here() {
    let found = planted(&spec("tests/base"), |source| {
        let primary = Kind::Controls(ControlWord::Primary);
        let row = find(source, &primary, "RESERVED_30_29");
        *row = x86_vcpu_codegen::audit::source::Row {
            name: "MONITOR exiting".to_owned(),
            bits: Some([29, 29]),
            place: row.place.clone(),
            ..Default::default()
        };
    });
    assert_eq!(found, [(Outcome::MissingHere, "`MONITOR exiting`, bit 29, is reserved here".to_owned())]);
}

#[test]
fn a_misspelled_name_and_one_of_something_else() {
    let spec = spec("tests/base");
    let rename = |name: &'static str| {
        planted(&spec, move |source| {
            let row = find(source, &Kind::VmcsFields, "GUEST_RIP");
            (row.name, row.aliases) = (name.to_owned(), Vec::new());
        })
    };
    let text = "GUEST_RIP: `Guest RIP` here, `Guset RIP` there";
    assert_eq!(rename("Guset RIP"), [(Outcome::Renamed, text.to_owned())]);
    let text = "encoding 0x681e is GUEST_RIP (`Guest RIP`) here, `Guest RFLAGS` there";
    assert_eq!(rename("Guest RFLAGS"), [contradicted(text)]);
    // Of ours: that the identifier is right does not hide it.
    let mut misspelled = spec.clone();
    let field = misspelled.fields.iter_mut().find(|field| field.head.name() == "GUEST_RIP").unwrap();
    field.head.manual_name = "Guset RIP".to_owned();
    let text = "GUEST_RIP: `Guset RIP` here, `Guest RIP` there";
    let found = planted(&misspelled, |found| *found = Source { standing: Standing::Manual, ..source(&spec) });
    assert_eq!(found, [(Outcome::Renamed, text.to_owned())]);
    // Punctuation, abbreviations and macros of headers are no other name.
    assert_eq!(rename("VMX_VMCS_GUEST_RIP"), []);
}

#[test]
fn conditions_of_footnotes() {
    let spec = spec("tests/base");
    let with = |name: &'static str, text: &'static str| {
        planted(&spec, |source| find(source, &Kind::VmcsFields, name).condition = Some(text.to_owned()))
    };
    let text =
        "This field exists only on processors that support the 1-setting of the “enable EPT” VM-execution control.";
    assert_eq!(with("EPT_POINTER", text), []);
    let wrong = "MSR_BITMAPS: exists if `primary.USE_MSR_BITMAPS` here, `secondary.ENABLE_EPT` there";
    assert_eq!(with("MSR_BITMAPS", text), [contradicted(wrong)]);
    assert_eq!(with("GUEST_RIP", text), [contradicted("GUEST_RIP: no condition here, `secondary.ENABLE_EPT` there")]);
    let found = with("EPT_POINTER", "the 1-setting of the “frobnicate” VM-exit control");
    assert_eq!(found[0].0, Outcome::Remark);
}

#[test]
fn rows_that_stand_for_many() {
    let mut source = Source {
        path: "apm.pdf".to_owned(),
        title: "A manual".to_owned(),
        standing: Standing::Manual,
        identity: Identity { id: Some("apm2-3.44".to_owned()), ..Identity::default() },
        tables: Vec::new(),
        unreadable: Vec::new(),
    };
    let row = |name: &str, number, last| x86_vcpu_codegen::audit::source::Row {
        name: name.to_owned(),
        number: Some(number),
        last: Some(last),
        ..Default::default()
    };
    let rows = vec![row("VMEXIT_CR[0–15]_READ", 0, 15), row("VMEXIT_CR[0–15]_WRITE", 16, 31)];
    source.tables.push(Table { kind: Kind::SvmExits, title: "Codes".to_owned(), complete: false, rows });
    let dir = manifest("../spec");
    if !dir.exists() {
        return;
    }
    let spec = Spec::load(dir).unwrap_or_else(|errors| panic!("{errors}"));
    let comparison = Auditor::new(&spec).compare(&source);
    assert_eq!(comparison.tables[0].confirmed(), 32, "{}", text(&comparison));
    assert!(!comparison.fails());
}

/// Every number of the real tables, off by one: each is found.
#[test]
fn any_number_of_the_real_tables() {
    let dir = manifest("../spec");
    if !dir.exists() {
        return;
    }
    let spec = Spec::load(dir).unwrap_or_else(|errors| panic!("{errors}"));
    let (good, auditor) = (source(&spec), Auditor::new(&spec));
    // A few of each table keep this fast.
    let base = Source { tables: Vec::new(), ..good.clone() };
    for table in &good.tables {
        for r in (0..table.rows.len()).step_by(table.rows.len() / 3 + 1) {
            if table.rows[r].reserved {
                continue;
            }
            let mut only = Source { tables: vec![table.clone()], ..base.clone() };
            let row = &mut only.tables[0].rows[r];
            match &mut row.bits {
                Some([high, low]) => (*high, *low) = (*high + 1, *low + 1),
                None => row.number = row.number.map(|number| number + 2),
            }
            row.last = row.last.map(|last| last + 2);
            let comparison = auditor.compare(&only);
            assert!(comparison.fails(), "{:?} of {}\n{}", only.tables[0].rows[r], table.title, text(&comparison));
        }
    }
}
