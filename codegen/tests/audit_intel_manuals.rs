//! The reader of Intel's manual with real ones: a directory with manuals, which the environment variable `X86_VCPU_MANUALS`
//! names, or `shared/manuals` beside the repository. Without one it is skipped.
#![cfg(feature = "cli")]

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;
use std::{env, fs};

use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::audit::read::{Input, READERS};
use x86_vcpu_codegen::audit::source::{Kind, Row, Source, Table};
use x86_vcpu_codegen::model::{ControlWord, Group, Vendor, Width};

/// The three PDFs of revision 077 that have the tables, or nothing.
fn revision_077() -> Option<[Source; 3]> {
    let beside = common::manifest("../../shared/manuals");
    let dir = env::var_os("X86_VCPU_MANUALS").map(PathBuf::from).or(beside.is_dir().then_some(beside));
    let Some(dir) = dir else {
        eprintln!("skipped: no directory with manuals");
        return None;
    };
    let mut found = BTreeMap::new();
    let mut paths: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "pdf")) {
        let bytes = fs::read(path).unwrap();
        let input = Input { path, bytes: &bytes };
        let Some(reader) = READERS.iter().find(|reader| (reader.recognises)(&input)) else { continue };
        if reader.what != "Intel SDM" {
            continue;
        }
        let start = Instant::now();
        let mut told = 0;
        let source = (reader.read)(&input, &mut |_, done, _| told = told.max(done)).unwrap();
        println!("{}: {told} pages in {:.1?}", source.title, start.elapsed());
        if source.identity.revision.as_deref() == Some("077") {
            found.insert(source.identity.order.clone().unwrap_or_default(), source);
        }
    }
    let volumes = ["326019", "332831", "335592"].map(|order| found.remove(order));
    let [Some(c), Some(d), Some(four)] = volumes else {
        eprintln!(
            "skipped: the directory with manuals has not the volumes 3C, 3D and 4 of revision 077, or pdftotext is not here"
        );
        return None;
    };
    Some([c, d, four])
}

fn tables<'a>(source: &'a Source, kind: &Kind) -> Vec<&'a Table> {
    source.tables.iter().filter(|table| table.kind == *kind).collect()
}

fn spec() -> Spec {
    Spec::load(common::manifest("../spec")).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A name as it is compared here: letters and digits.
fn plain(name: &str) -> String {
    name.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
}

fn is_called(row: &Row, names: impl IntoIterator<Item = impl AsRef<str>>) -> bool {
    names.into_iter().any(|name| plain(name.as_ref()) == plain(&row.name))
}

#[test]
fn every_row_of_revision_077() {
    let Some([c, d, four]) = revision_077() else { return };
    for source in [&c, &d, &four] {
        assert!(source.unreadable.is_empty(), "{}: {:#?}", source.title, source.unreadable);
        assert_eq!(source.identity.date.as_deref(), Some("2022-04"));
    }
    let spec = spec();
    let mut differ = Vec::new();

    let fields: Vec<&Row> = tables(&d, &Kind::VmcsFields).into_iter().flat_map(|table| &table.rows).collect();
    assert_eq!(tables(&d, &Kind::VmcsFields).len(), 15);
    assert_eq!(fields.len(), 172);
    assert_eq!(fields.iter().filter(|row| row.high.is_some()).count(), 49);
    for row in &fields {
        let number = row.number.unwrap();
        let field = spec.fields.iter().find(|field| i64::try_from(field.encoding.value) == Ok(number));
        let field = field.unwrap_or_else(|| panic!("{row:?}"));
        let width = match field.width.value {
            Width::W16 => 16,
            Width::W32 => 32,
            Width::W64 => 64,
            Width::Natural => 0,
        };
        let group: Group = field.group.value;
        assert_eq!((row.width, row.group.as_deref()), (Some(width), Some(group.name())), "{row:?}");
        assert_eq!(row.high, (width == 64).then_some(number + 1), "{row:?}");
        let aliases = field.head.aliases.iter().map(|alias| &alias.value);
        if !is_called(row, aliases.chain([&field.head.manual_name])) {
            differ.push(format!("{number:#x} {} / {}", row.name, field.head.manual_name));
        }
        assert_eq!(
            row.condition.is_some(),
            field.exists_if.is_some() || field.head.name() == "CR3_TARGET_VALUE_3",
            "{row:?}"
        );
    }

    let [exits] = tables(&d, &Kind::VmxExits)[..] else { panic!("one table of exits") };
    assert_eq!(exits.rows.len(), 67);
    for row in &exits.rows {
        let exit = spec
            .exits
            .iter()
            .find(|exit| spec.modules[exit.module.0].vendor == Vendor::Intel && Some(exit.number.value) == row.number);
        let exit = exit.unwrap_or_else(|| panic!("{row:?}"));
        if !is_called(row, exit.head.aliases.iter().map(|alias| &alias.value).chain([&exit.head.manual_name])) {
            differ.push(format!("exit {:?} {} / {}", row.number, row.name, exit.head.manual_name));
        }
    }

    let [errors] = tables(&c, &Kind::InstructionErrors)[..] else { panic!("one table of errors") };
    assert_eq!(errors.rows.len(), spec.instruction_errors.len());
    for row in &errors.rows {
        let error = spec.instruction_errors.iter().find(|error| i64::try_from(error.number.value).ok() == row.number);
        if !error.is_some_and(|error| is_called(row, [&error.head.manual_name])) {
            differ.push(format!("error {:?} {}", row.number, row.name));
        }
    }

    let counts = [
        (ControlWord::Pin, 5),
        (ControlWord::Primary, 22),
        (ControlWord::Secondary, 28),
        (ControlWord::Tertiary, 4),
        (ControlWord::Exit, 17),
        (ControlWord::Entry, 13),
        (ControlWord::Vmfunc, 1),
    ];
    for (word, count) in counts {
        let [table] = tables(&c, &Kind::Controls(word))[..] else { panic!("one table of {word:?}") };
        assert_eq!(table.rows.len(), count, "{word:?}");
        let control = spec.controls.iter().find(|control| control.id.value == word).unwrap();
        for row in &table.rows {
            let [high, low] = row.bits.unwrap();
            assert_eq!(high, low, "{row:?}");
            let has_class = control.true_capability.is_some();
            assert_eq!(row.default1.is_some(), has_class, "{word:?} {row:?}");
            let bit = control.bits.iter().find(|bit| bit.bits.low == low).unwrap_or_else(|| panic!("{word:?} {row:?}"));
            assert_eq!(row.default1.unwrap_or(false), bit.default1, "{word:?} {row:?}");
            if !is_called(row, bit.head.aliases.iter().map(|alias| &alias.value).chain([&bit.head.manual_name])) {
                differ.push(format!("{word:?} {low} {} / {}", row.name, bit.head.manual_name));
            }
        }
    }

    let [msrs] = tables(&four, &Kind::Msrs)[..] else { panic!("one table of MSRs") };
    assert_eq!(msrs.rows.len(), 411);
    for msr in spec.msrs.iter().filter(|msr| msr.head.cite.doc.value == "sdm-vol4-077") {
        let row = msrs.rows.iter().find(|row| row.number == i64::try_from(msr.address.value).ok());
        if !row.is_some_and(|row| is_called(row, [&msr.head.manual_name])) {
            differ.push(format!("{:#x} {} / {:?}", msr.address.value, msr.head.manual_name, row.map(|row| &row.name)));
        }
    }
    // Every bit is in one row; one table has a printed error.
    for table in c.tables.iter().filter(|table| table.kind == Kind::Bits { msr: None }) {
        let mut bits: Vec<[u32; 2]> = table.rows.iter().filter_map(|row| row.bits).collect();
        // Lists of values have none.
        if bits.is_empty() {
            continue;
        }
        bits.sort_by_key(|[_, low]| *low);
        let mut next = 0;
        let mut odd = Vec::new();
        for [high, low] in bits {
            if low != next {
                odd.push(low);
            }
            next = high + 1;
        }
        let expected: &[u32] = match table.title.rsplit(' ').next() {
            Some("LOADIWKEY") => &[28],
            _ => &[],
        };
        assert_eq!(odd, expected, "{table:#?}");
        assert!([32, 64, 128].contains(&next), "{table:#?}");
    }
    println!("names that differ from those of the spec:\n{}", differ.join("\n"));
    assert!(differ.is_empty());
}
