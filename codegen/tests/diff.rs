//! What is said of two versions of the tables.
#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::path::Path;

use common::{Scratch, manifest};
use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::diff::{Comparison, Format, Kind, Level, Report, TableDiff};

fn load(path: &Path) -> Spec {
    Spec::load(path).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The base with one text of a file, which occurs once, replaced.
fn after(edits: &[(&str, &str, &str)]) -> Comparison {
    let scratch = Scratch::of_base();
    for (file, from, to) in edits {
        let path = scratch.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from} in {file}");
        fs::write(path, text.replace(from, to)).unwrap();
    }
    Comparison::new(&load(&manifest("tests/base")), &load(scratch.path()))
}

fn table<'c>(comparison: &'c Comparison, name: &str) -> &'c TableDiff {
    comparison.tables.iter().find(|table| table.name == name).unwrap_or_else(|| panic!("nothing differs in {name}"))
}

fn level(comparison: &Comparison) -> Level {
    comparison.api.as_ref().unwrap().level()
}

/// What happened to each item: `removed spec::…`.
fn changes(comparison: &Comparison) -> Vec<String> {
    let changes = &comparison.api.as_ref().unwrap().changes;
    let named = changes.iter().filter(|change| change.kind <= Kind::Value);
    named.map(|change| format!("{} {}", change.kind.name(), change.path)).collect()
}

const RIP: &str = "name = \"GUEST_RIP\"\n";

#[test]
fn nothing_differs_from_itself() {
    let comparison = after(&[]);
    assert!(comparison.is_empty());
    assert_eq!(level(&comparison), Level::None);
}

#[test]
fn another_number_compiles_and_behaves_differently() {
    let comparison = after(&[("intel/vmcs.toml", "encoding = 0x681e", "encoding = 0x6820")]);
    let table = table(&comparison, "vmcs");
    assert_eq!(table.renumbered.len(), 1);
    assert_eq!(table.renumbered[0].name, "GUEST_RIP");
    assert!(table.added.is_empty() && table.removed.is_empty() && table.renamed.is_empty() && table.changed.is_empty());
    assert_eq!(level(&comparison), Level::Patch);
    assert_eq!(changes(&comparison), ["other value spec::intel::vmcs::GUEST_RIP"]);
    let [old_version, new_version] = [Some("1.0.0".to_owned()), None];
    let (old, new) = ("a".to_owned(), "b".to_owned());
    let report = Report { comparison: &comparison, old, new, old_version, new_version, verbose: false };
    let text = report.print(Format::Text);
    assert!(text.contains("1 item has another value: code compiles as before and may behave differently\n"), "{text}");
    assert!(text.contains("GUEST_RIP: Field::new(0x681e) -> Field::new(0x6820)\n"), "{text}");
    assert!(text.contains("version: 1.0.0 becomes at least 1.0.1 "), "{text}");
}

#[test]
fn another_name_breaks_even_with_an_alias() {
    for (alias, known) in [("", false), ("aliases = [\"GUEST_RIP\"]\n", true)] {
        let to = format!("name = \"GUEST_INSTRUCTION_POINTER\"\n{alias}");
        let comparison = after(&[("intel/vmcs.toml", RIP, &to)]);
        let renamed = &table(&comparison, "vmcs").renamed[0];
        assert_eq!((&*renamed.old, &*renamed.new), ("GUEST_RIP", "GUEST_INSTRUCTION_POINTER"));
        assert_eq!(renamed.alias, known);
        assert_eq!(level(&comparison), Level::Major);
        assert_eq!(
            changes(&comparison),
            ["removed spec::intel::vmcs::GUEST_RIP", "added spec::intel::vmcs::GUEST_INSTRUCTION_POINTER"]
        );
    }
}

#[test]
fn an_alias_finds_a_row_with_another_name_and_another_number() {
    let comparison = after(&[
        ("intel/vmcs.toml", RIP, "name = \"GUEST_POINTER\"\naliases = [\"GUEST_RIP\"]\n"),
        ("intel/vmcs.toml", "encoding = 0x681e", "encoding = 0x6820"),
    ]);
    let table = table(&comparison, "vmcs");
    assert!(table.renamed[0].alias);
    assert_eq!(table.renumbered[0].name, "GUEST_POINTER");
    assert!(table.added.is_empty() && table.removed.is_empty());
}

#[test]
fn a_new_row_is_a_minor_change_and_a_row_that_is_gone_a_major_one() {
    let field = "[[field]]\nname = \"NEW\"\nmanual_name = \"New\"\nencoding = 0x6824\nwidth = \"natural\"\n\
        group = \"guest\"\naccess = \"read_write\"\ncite = { doc = \"sdm3\", title = \"Encodings\" }\n";
    let scratch = Scratch::of_base();
    let file = scratch.path().join("intel/vmcs.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + "\n" + field).unwrap();
    let (old, new) = (load(&manifest("tests/base")), load(scratch.path()));
    let grown = Comparison::new(&old, &new);
    assert_eq!(table(&grown, "vmcs").added[0].name, "NEW");
    assert_eq!(level(&grown), Level::Minor);
    assert_eq!(changes(&grown), ["added spec::intel::vmcs::NEW"]);
    let shrunk = Comparison::new(&new, &old);
    assert_eq!(table(&shrunk, "vmcs").removed[0].name, "NEW");
    assert_eq!(level(&shrunk), Level::Major);
    assert!(shrunk.may_break() && !grown.may_break());
}

#[test]
fn another_type_changes_a_signature() {
    let comparison = after(&[("intel/vmcs.toml", RIP, "name = \"GUEST_RIP\"\ntype = \"Cr0\"\n")]);
    assert_eq!(table(&comparison, "vmcs").changed[0].columns[0].name, "type");
    assert_eq!(level(&comparison), Level::Major);
    assert_eq!(changes(&comparison), ["changed spec::intel::vmcs::GUEST_RIP"]);
}

#[test]
fn notes_and_citations_are_documentation() {
    let comparison = after(&[("intel/vmcs.toml", RIP, "name = \"GUEST_RIP\"\naliases = [\"RIP\"]\n")]);
    let table = table(&comparison, "vmcs");
    assert_eq!(table.notes[0].columns[0].name, "aliases");
    assert!(table.changed.is_empty());
    assert_eq!(level(&comparison), Level::Patch);
    assert!(changes(&comparison).is_empty());
    assert!(!comparison.is_empty());
}

#[test]
fn a_bit_that_got_a_name_was_reserved() {
    let old = Scratch::of_base();
    let file = old.path().join("x86/registers.toml");
    let text = fs::read_to_string(&file).unwrap();
    let reserved = "bits = [30, 1]\nreserved = 0\n";
    assert_eq!(text.matches(reserved).count(), 1);
    let with = |name: &str, more: &str| {
        let bit = format!("[[layout.field]]\nname = \"{name}\"\nmanual_name = \"{name}\"\nbits = [30, 30]\n{more}\n");
        fs::write(&file, text.replace(reserved, &format!("bits = [29, 1]\nreserved = 0\n\n{bit}"))).unwrap();
    };
    with("RESERVED_30", "reserved = 0");
    let before = load(old.path());
    with("ZZ", "");
    let comparison = Comparison::new(&before, &load(old.path()));
    let table = table(&comparison, "layouts");
    assert_eq!(table.reserved[0].name, "Cr0.RESERVED_30");
    assert_eq!(table.reserved[0].other.as_deref(), Some("Cr0.ZZ"));
    assert_eq!(table.added[0].name, "Cr0.ZZ");
    assert!(table.renamed.is_empty());
    assert_eq!(level(&comparison), Level::Minor);
}

#[test]
fn what_is_in_an_item_that_is_gone_is_not_listed_again() {
    let comparison = after(&[("x86/registers.toml", "name = \"Cr0\"", "name = \"ControlRegister0\"")]);
    let changes = changes(&comparison);
    assert!(changes.contains(&"removed spec::x86::registers::Cr0".to_owned()), "{changes:?}");
    assert!(!changes.iter().any(|change| change.contains("Cr0::") || change.contains("Cr0 (")), "{changes:?}");
}

#[test]
fn a_type_with_another_name_keeps_its_bits() {
    let to = "name = \"ControlRegister0\"\naliases = [\"Cr0\"]";
    let comparison = after(&[("x86/registers.toml", "name = \"Cr0\"", to)]);
    assert_eq!(table(&comparison, "types").renamed[0].new, "ControlRegister0");
    assert!(!comparison.tables.iter().any(|table| table.name == "layouts"));
}

#[test]
fn a_wider_word_breaks() {
    let text = fs::read_to_string(manifest("tests/base/x86/registers.toml")).unwrap();
    let width = text.lines().find(|line| line.starts_with("width = ")).unwrap();
    let to = if width.ends_with("64") { "width = 32" } else { "width = 64" };
    let comparison = after(&[("x86/registers.toml", width, to)]);
    assert_eq!(table(&comparison, "types").changed[0].name, "Cr0");
    assert_eq!(level(&comparison), Level::Major);
}

#[test]
fn a_spec_that_cannot_become_code_has_no_verdict() {
    let comparison = after(&[("intel/vmcs.toml", RIP, "name = \"guest rip\"\n")]);
    assert_eq!(table(&comparison, "vmcs").renamed[0].new, "guest rip");
    assert!(comparison.api.as_ref().unwrap_err().contains("SCREAMING_SNAKE_CASE"));
    assert!(comparison.may_break());
}

#[test]
fn every_format_tells_the_version() {
    let comparison = after(&[("intel/vmcs.toml", RIP, "name = \"GUEST_POINTER\"\n")]);
    let report = Report {
        comparison: &comparison,
        old: "old".to_owned(),
        new: "new".to_owned(),
        old_version: Some("0.1.0".to_owned()),
        new_version: Some("0.1.5".to_owned()),
        verbose: false,
    };
    let text = report.print(Format::Text);
    assert!(text.starts_with("old -> new\n\nvmcs: 1 renamed\n"), "{text}");
    assert!(text.contains("\n  renamed     GUEST_RIP -> GUEST_POINTER: encoding 0x681e\n"), "{text}");
    assert!(text.contains("\nAPI: major\n  major  removed      spec::intel::vmcs::GUEST_RIP: const GUEST_RIP: Field<"));
    assert!(text.contains("version: 0.1.0 becomes at least 0.2.0 "), "{text}");
    assert!(text.ends_with("; 0.1.5 is too low\n"), "{text}");
    let markdown = report.print(Format::Markdown);
    assert!(markdown.starts_with("## `old` → `new`\n"), "{markdown}");
    assert!(markdown.contains("\n- renamed `GUEST_RIP -> GUEST_POINTER: encoding 0x681e`\n"), "{markdown}");
    assert!(markdown.contains("\n### API: **major**\n"), "{markdown}");
    let json: serde_json::Value = serde_json::from_str(&report.print(Format::Json)).unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&json), "api new old tables version");
    assert_eq!(keys(&json["api"]), "changes level unknown");
    assert_eq!(keys(&json["api"]["changes"][0]), "kind level new old path");
    assert_eq!(keys(&json["tables"][0]), "added changed name notes removed renamed renumbered reserved");
    assert_eq!(json["tables"][0]["renamed"][0]["old"], "GUEST_RIP");
    assert_eq!(json["tables"][0]["renamed"][0]["number"]["encoding"], 0x681e);
    assert_eq!(json["api"]["level"], "major");
    assert_eq!(json["version"], serde_json::json!({ "needed": "0.2.0", "sufficient": false }));
}

#[test]
fn the_library_has_an_api() {
    let path = manifest("../spec");
    if path.exists() {
        let spec = load(&path);
        let nothing = Comparison::new(&Spec::default(), &spec);
        let added = nothing.api.unwrap();
        assert!(added.changes.iter().any(|change| change.path == "spec::intel::vmcs::GUEST_RIP"));
        assert!(Comparison::new(&spec, &spec).is_empty());
    }
}

/// Whatever loads is compared: nothing that a file says makes the comparison panic.
#[test]
fn no_value_is_too_odd() {
    let old = load(&manifest("tests/base"));
    let base = common::files(&manifest("tests/base"));
    let scratch = Scratch::of_base();
    let mut compared = 0;
    for (path, bytes) in base {
        let text = String::from_utf8(bytes).unwrap();
        let file = scratch.path().join(path.strip_prefix(manifest("tests/base")).unwrap());
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate().step_by(2) {
            let Some((key, _)) = line.split_once(" = ") else { continue };
            // One for every other line, since all for all take a minute.
            let value = ["\"Other\"", "63", "\"a b\"", "0", "[63, 0]"][number % 5];
            let odd = format!("{key} = {value}");
            let mut edited = lines.clone();
            edited[number] = &odd;
            fs::write(&file, edited.join("\n")).unwrap();
            if let Ok(new) = Spec::load(scratch.path()) {
                let comparison = Comparison::new(&old, &new);
                let same = number_of(line) == number_of(&odd) || *line == odd;
                assert!(same || !comparison.is_empty(), "{}: {line}: {odd}", file.display());
                compared += 1;
            }
        }
        fs::write(&file, &text).unwrap();
    }
    assert!(compared > 25, "{compared}");
}

/// The number that a line gives, however it is written.
fn number_of(line: &str) -> Option<u64> {
    let value = line.split_once(" = ")?.1.split('#').next()?.trim();
    value.strip_prefix("0x").map_or_else(|| value.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
}
