//! Exports and tables of facts as documents to compare the tables with.
#![cfg(feature = "cli")]

#[path = "common/audit.rs"]
mod common;

use std::path::Path;

use common::{read_bytes, rows, shown};
use x86_vcpu_codegen::audit::source::{Kind, Source, Standing};
use x86_vcpu_codegen::model::{Area, ControlWord};
use x86_vcpu_codegen::{Spec, export};

fn source(text: &str) -> Source {
    read_bytes(Path::new("document"), text.as_bytes()).expect("a reader").unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn both_forms_of_our_export_say_what_the_spec_says() {
    let spec = Spec::load(Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec")).expect("the spec loads");
    let tables = export::tables(&spec);
    let json = source(&export::json(&tables));
    let csv = source(&export::csv(&tables, true).unwrap());
    for source in [&json, &csv] {
        assert_eq!(source.standing, Standing::Derived);
        assert!(source.unreadable.is_empty());
        assert_eq!(rows(source, &Kind::VmcsFields).len(), spec.fields.len());
        assert_eq!(rows(source, &Kind::VmxExits).len() + rows(source, &Kind::SvmExits).len(), spec.exits.len());
        assert_eq!(rows(source, &Kind::InstructionErrors).len(), spec.instruction_errors.len());
        assert_eq!(rows(source, &Kind::Msrs).len(), spec.msrs.len());
        assert_eq!(rows(source, &Kind::Intercepts).len(), spec.intercepts.len());
        for word in &spec.controls {
            assert_eq!(rows(source, &Kind::Controls(word.id.value)).len(), word.bits.len());
        }
        for area in [Area::Control, Area::Save, Area::Vmsa] {
            let members = spec.members_of(area).map(|member| 1 + member.bits.len());
            assert_eq!(rows(source, &Kind::Members(area)).len(), members.sum::<usize>());
        }
        let bits: Vec<_> = source.tables.iter().filter(|table| matches!(table.kind, Kind::Bits { .. })).collect();
        let of_bits = spec.layouts.iter().map(|layout| layout.fields.len()).sum::<usize>();
        let of_enums = spec.enums.iter().map(|list| list.values.len()).sum::<usize>();
        let found = bits.iter().map(|table| table.rows.len()).sum::<usize>();
        assert_eq!(found, of_bits + of_enums + spec.clean.len());
        assert!(bits.iter().any(|table| table.kind == Kind::Bits { msr: Some("IA32_VMX_BASIC".to_owned()) }));
    }
    for (a, b) in json.tables.iter().flat_map(|table| &table.rows).zip(rows(&json, &Kind::Msrs)) {
        assert!(!a.name.is_empty() && !b.name.is_empty());
    }
    // The order of tables is that of the file, which JSON objects do not keep.
    for kind in [Kind::VmcsFields, Kind::SvmExits, Kind::Controls(ControlWord::Pin), Kind::Members(Area::Save)] {
        assert_eq!(shown(&json, &kind), shown(&csv, &kind));
    }
    for table in &tables {
        let csv = export::csv(std::slice::from_ref(table), false).unwrap();
        let read = read_bytes(Path::new("one.csv"), csv.as_bytes());
        let known = ["vmcs", "vmx_controls", "vmx_exits", "vmx_instruction_errors", "vmcb", "vmsa", "vmcb_clean"];
        if known.contains(&table.name) || ["svm_intercepts", "svm_exits", "msrs"].contains(&table.name) {
            let rows: usize = read.unwrap().unwrap().tables.iter().map(|table| table.rows.len()).sum();
            assert_eq!(rows, table.rows.len(), "{}", table.name);
        }
    }
}

#[test]
fn a_row_of_an_export() {
    let source = source(
        r#"{ "vmcs": [{ "name": "EPTP", "manual_name": "EPT pointer", "encoding": 8218, "width": 64, "group": "control",
             "aliases": ["EPT_POINTER"], "exists_if": "secondary.ENABLE_EPT", "new_column": [1, {}] }],
             "svm_intercepts": [{ "manual_name": "x", "name": "X", "word": 3, "bit": 4, "bits": [7, 4], "reserved": 0 }],
             "new_table": [{ "name": "Y" }] }"#,
    );
    let [field] = &rows(&source, &Kind::VmcsFields)[..] else { panic!() };
    assert_eq!((field.name.as_str(), field.number, field.width), ("EPT pointer", Some(0x201a), Some(64)));
    assert_eq!(field.aliases, ["EPT_POINTER", "EPTP"]);
    assert_eq!(shown(&source, &Kind::Intercepts), ["x 0x64-0x67 reserved"]);
}

#[test]
fn tables_of_facts() {
    let fields = "table,width,type,name,encoding_hex,access,footnote,footnote_provenance
B-4,64-bit,Control,TSC offset,00002010,full,This field exists.,x
B-4,64-bit,Control,TSC offset,00002011,high,,
B-14,Natural width,Guest state,Guest RIP,0000681E,full,,
";
    let fields = source(fields);
    assert_eq!(shown(&fields, &Kind::VmcsFields), ["TSC offset 0x2010 high 0x2011", "Guest RIP 0x681e"]);
    let [first, second] = &rows(&fields, &Kind::VmcsFields)[..] else { panic!() };
    assert_eq!((first.width, second.width), (Some(64), Some(0)));
    assert_eq!((first.group.as_deref(), second.group.as_deref()), (Some("control"), Some("guest")));
    assert_eq!(first.place.line, Some(2));
    assert_eq!(first.condition.as_deref(), Some("This field exists."));

    let members = source(
        "area,offset_hex,bits,size_bytes,name\ncontrol,010,31:16,2,Intercept\ncontrol,018-03B,,36,\"RESERVED, SBZ\"\nvmsa,400,,8,X87_DP\n",
    );
    let expected = ["Intercept 0x10 [31:16]", "RESERVED, SBZ 0x18-0x3b 36 bytes reserved"];
    assert_eq!(shown(&members, &Kind::Members(Area::Control)), expected);
    assert_eq!(shown(&members, &Kind::Members(Area::Vmsa)), ["X87_DP 0x400 8 bytes"]);

    let codes = source("code_hex,name\n-0x1,VMEXIT_INVALID\n0x400,VMEXIT_NPF\n");
    assert_eq!(shown(&codes, &Kind::SvmExits), ["VMEXIT_INVALID -1", "VMEXIT_NPF 0x400"]);
    let bits = source("field,bits,name\nSEV_FEATURES,0,SNPActive\nVINTR_CTRL,7:0,V_TPR\n");
    assert_eq!(bits.tables.len(), 2);
    assert_eq!(bits.tables[1].title, "VINTR_CTRL");
    let controls = source("control,bit,name_in_other_sources\nexit2,3,SHADOW_STACK\n");
    assert_eq!(shown(&controls, &Kind::Controls(ControlWord::Exit2)), ["SHADOW_STACK [3:3]"]);
    let exits = source("number,ia32doc,kvm,bochs\n75,A_TIMEOUT,EXIT_REASON_NOTIFY,\n71,,,B\n");
    assert_eq!(shown(&exits, &Kind::VmxExits), ["A_TIMEOUT 0x4b", "B 0x47"]);
    assert_eq!(rows(&exits, &Kind::VmxExits)[0].aliases, ["EXIT_REASON_NOTIFY"]);
}

#[test]
fn what_is_no_export() {
    for (text, wanted) in [
        ("{ \"vmcs\": [{ \"manual_name\": ", "is no JSON"),
        ("[ \"manual_name\" ]", "no object of tables"),
        ("{ \"vmcs\": [ 1 ], \"manual_name\": 0 }", "row 1 of vmcs is no object"),
        ("{ \"manual_name\": 1 }", "no row of a table"),
        ("code_hex,name\n1,2,3\n", "line 2"),
        ("code_hex,name\n", "no row of a table"),
        ("code_hex,name\nzz,A\n", "no row of a table"),
    ] {
        let error = read_bytes(Path::new("document"), text.as_bytes()).unwrap().unwrap_err();
        assert!(error.to_string().contains(wanted), "{text}: {error}");
    }
    for text in ["", "a,b\n1,2\n", "{}", "name,manual_name\n1,2\n", "\u{feff}"] {
        assert!(read_bytes(Path::new("document"), text.as_bytes()).is_none(), "{text}");
    }
}
