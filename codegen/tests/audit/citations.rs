//! What confirms a row is written into the tables, and nothing else of them changes.

use std::fs;
use std::path::Path;

use x86_vcpu_codegen::audit::citations::{self, Update};
use x86_vcpu_codegen::audit::source::{Identity, Kind, Place, Source, Standing};
use x86_vcpu_codegen::audit::status::{Class, Status};
use x86_vcpu_codegen::audit::{Auditor, Format};
use x86_vcpu_codegen::{Spec, lint};

use crate::common::{self, Scratch};
use crate::export::{find, source};

fn spec(dir: &Path) -> Spec {
    let spec = Spec::load(dir).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(lint(&spec), []);
    spec
}

/// The document of the base with this id, which has all that the base has.
fn document(spec: &Spec, id: &str, standing: Standing) -> Source {
    let mut source = source(spec);
    source.identity = Identity { id: Some(id.to_owned()), ..Identity::default() };
    source.standing = standing;
    for row in source.tables.iter_mut().flat_map(|table| &mut table.rows) {
        row.place = Place { printed: Some("B-2".to_owned()), page: Some(7), line: None };
    }
    source
}

/// Writes what the documents confirm.
fn update(dir: &Path, sources: &[Source], date: &str) -> Update {
    let spec = spec(dir);
    let auditor = Auditor::new(&spec);
    let comparisons: Vec<_> = sources.iter().map(|source| auditor.compare(source)).collect();
    let update = citations::update(&spec, &comparisons, date).unwrap_or_else(|error| panic!("{error}"));
    for file in &update.files {
        fs::write(&file.path, &file.text).unwrap();
    }
    update
}

fn count(dir: &Path, class: Class) -> usize {
    Status::new(&spec(dir)).tables.iter().map(|table| table.count(class)).sum()
}

#[test]
fn each_row_and_each_part_is_confirmed_and_a_second_run_changes_nothing() {
    let scratch = Scratch::of_base();
    let before = common::files(scratch.path());
    let source = document(&spec(scratch.path()), "sdm3", Standing::Manual);
    let rows = count(scratch.path(), Class::None);
    let first = update(scratch.path(), std::slice::from_ref(&source), "2026-11-22");
    assert_eq!((first.written, first.removed), (rows, 0));
    assert_eq!((count(scratch.path(), Class::Manual), count(scratch.path(), Class::None)), (rows, 0));
    // Lines were added, and none touched.
    for ((path, old), (_, new)) in before.iter().zip(common::files(scratch.path())) {
        let (old, new) = (String::from_utf8(old.clone()).unwrap(), String::from_utf8(new).unwrap());
        let rest: Vec<_> = new.lines().filter(|line| !line.starts_with("confirmed = ")).collect();
        assert_eq!(rest, old.lines().collect::<Vec<_>>(), "{}", path.display());
    }
    let text = fs::read_to_string(scratch.path().join("intel/vmcs.toml")).unwrap();
    let line = "confirmed = [{ doc = \"sdm3\", title = \"Encodings\", page = \"B-2\", date = \"2026-11-22\" }]\n";
    assert!(text.contains(line), "{text}");
    // Another day is no reason to write.
    let second = update(scratch.path(), &[source], "2027-01-01");
    assert_eq!((second.written, second.removed, second.files.len()), (0, 0, 0));
}

#[test]
fn what_a_document_no_longer_has_is_taken_away() {
    let scratch = Scratch::of_base();
    let before = common::files(scratch.path());
    let good = document(&spec(scratch.path()), "sdm3", Standing::Manual);
    update(scratch.path(), std::slice::from_ref(&good), "2026-11-22");
    let rows = count(scratch.path(), Class::Manual);
    let mut wrong = good.clone();
    find(&mut wrong, &Kind::VmcsFields, "GUEST_RIP").number = Some(0x6820);
    let second = update(scratch.path(), &[wrong], "2026-11-23");
    assert_eq!((second.written, second.removed), (0, 1));
    assert_eq!(count(scratch.path(), Class::Manual), rows - 1);
    // Without any of them the files are those of before.
    let mut none = good;
    for table in &mut none.tables {
        table.rows.clear();
    }
    update(scratch.path(), &[none], "2026-11-23");
    let rest: Vec<_> = common::files(scratch.path());
    for ((path, old), (_, new)) in before.iter().zip(&rest) {
        // A table of bits without rows is not recognised.
        if path.ends_with("intel/vmcs.toml") || path.ends_with("exits.toml") || path.ends_with("controls.toml") {
            assert!(old == new, "{}", path.display());
        }
    }
}

#[test]
fn two_documents_that_are_no_manuals_count_together() {
    let scratch = Scratch::of_base();
    let manuals = scratch.path().join("manuals.toml");
    let mut text = fs::read_to_string(&manuals).unwrap();
    for id in ["one", "two"] {
        text.push_str(&format!(
            "\n[[manual]]\nid = \"{id}\"\ntitle = \"A\"\nrevision = \"1\"\nkind = \"source\"\nurl = \"https://example.org\"\n"
        ));
    }
    fs::write(&manuals, text).unwrap();
    let load = || Spec::load(scratch.path()).unwrap_or_else(|errors| panic!("{errors}"));
    let one = document(&load(), "one", Standing::Other);
    let two = document(&load(), "two", Standing::Other);
    // Nothing cites the second yet, which is against a lint.
    let spec = load();
    let auditor = Auditor::new(&spec);
    let both = citations::update(&spec, &[auditor.compare(&one), auditor.compare(&two)], "2026-11-22").unwrap();
    for file in &both.files {
        fs::write(&file.path, &file.text).unwrap();
    }
    assert_eq!((count(scratch.path(), Class::One), count(scratch.path(), Class::Manual)), (0, 0));
    assert!(count(scratch.path(), Class::Two) > 20);
    let text = fs::read_to_string(scratch.path().join("intel/exits.toml")).unwrap();
    let lines = "confirmed = [\n    { doc = \"one\", title = \"Exits\", page = \"B-2\", date = \"2026-11-22\" },\n    { doc = \"two\",";
    assert!(text.contains(lines), "{text}");
    assert_eq!(update(scratch.path(), &[one, two], "2026-11-23").files.len(), 0);
}

#[test]
fn what_confirms_nothing() {
    let scratch = Scratch::of_base();
    let spec = spec(scratch.path());
    let compare = |source: &Source| citations::update(&spec, &[Auditor::new(&spec).compare(source)], "2026-11-22");
    assert_eq!(compare(&document(&spec, "sdm3", Standing::Derived)).unwrap().files.len(), 0);
    // An entry to add, for what is not listed.
    let mut other = document(&spec, "sdm5", Standing::Manual);
    (other.identity.order, other.identity.revision) = (Some("332831".to_owned()), Some("080".to_owned()));
    let error = compare(&other).unwrap_err().to_string();
    assert!(error.contains("[[manual]]\nid = \"sdm5\"\n"), "{error}");
    assert!(error.contains("order = \"332831\"\nrevision = \"080\"\nkind = \"manual\"\n"), "{error}");
    // One who says that it is a manual.
    let error = compare(&document(&spec, "sdm3", Standing::Other)).unwrap_err().to_string();
    assert!(error.contains("`sdm3` of manuals.toml says `kind = \"manual\"`, which it is not"), "{error}");
}

#[test]
fn a_status_lists_rows_with_their_places() {
    let scratch = Scratch::of_base();
    let status = Status::new(&spec(scratch.path()));
    let text = status.print(Format::Text, &[Class::None]).unwrap();
    assert!(text.contains("intel/vmcs.toml:72: ") || text.contains("GUEST_RIP is confirmed by none"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("vmcs") && line.ends_with('8')), "{text}");
    let json: serde_json::Value = serde_json::from_str(&status.print(Format::Json, &[]).unwrap()).unwrap();
    assert_eq!((&json["tables"][0]["name"], &json["tables"][0]["none"]), (&"vmcs".into(), &8.into()));
    assert_eq!(json["list"], serde_json::json!([]));
    assert_eq!(status.print(Format::Sarif, &[]), None);
}
