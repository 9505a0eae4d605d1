//! Excuses beside a row, and what an excuse is no longer needed for.

use std::fs;

use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::audit::source::{Identity, Kind, Source, Standing};
use x86_vcpu_codegen::audit::{Auditor, compare::Outcome};

use crate::common::Scratch;
use crate::export::{find, source};

/// The outcomes of GUEST_RIP with this key, apart from confirmations, and whether the audit fails.
fn with(key: &str, change: impl FnOnce(&mut Source)) -> (Vec<(Outcome, Option<String>)>, bool) {
    let scratch = Scratch::of_base();
    let file = scratch.path().join("intel/vmcs.toml");
    let text = fs::read_to_string(&file).unwrap();
    let row = "name = \"GUEST_RIP\"\n";
    assert_eq!(text.matches(row).count(), 1);
    fs::write(&file, text.replace(row, &format!("{row}{key}\n"))).unwrap();
    let spec = Spec::load(scratch.path()).unwrap_or_else(|errors| panic!("{errors}"));
    let mut source = source(&spec);
    source.standing = Standing::Manual;
    source.identity = Identity { id: Some("sdm3".to_owned()), ..Identity::default() };
    change(&mut source);
    let comparison = Auditor::new(&spec).compare(&source);
    let found = comparison.findings().filter(|finding| finding.outcome != Outcome::Confirmed);
    (found.map(|finding| (finding.outcome, finding.reason.clone())).collect(), comparison.fails())
}

fn renumber(source: &mut Source) {
    find(source, &Kind::VmcsFields, "GUEST_RIP").number = Some(0x6820);
}

fn remove(source: &mut Source) {
    source.tables.iter_mut().for_each(|table| table.rows.retain(|row| row.name != "Guest RIP"));
}

#[test]
fn a_row_may_differ_from_a_document_or_from_all() {
    let reason = Some("A misprint".to_owned());
    for doc in ["sdm3", "*"] {
        let key = format!("excuse = [{{ doc = \"{doc}\", reason = \"A misprint\" }}]");
        assert_eq!(with(&key, renumber), (vec![(Outcome::Excused, reason.clone())], false));
        assert_eq!(with(&key, remove), (vec![(Outcome::Excused, reason.clone())], false));
    }
    let key = "excuse = [{ doc = \"sdm4\", reason = \"A misprint\" }]";
    assert_eq!(with(key, renumber), (vec![(Outcome::Contradicted, None)], true));
}

#[test]
fn an_excuse_that_is_not_needed() {
    let reason = Some("A misprint".to_owned());
    let key = |doc| format!("excuse = [{{ doc = \"{doc}\", reason = \"A misprint\" }}]");
    assert_eq!(with(&key("sdm3"), |_| {}), (vec![(Outcome::Unneeded, reason)], false));
    // Of a document that was not read nothing is known.
    assert_eq!(with(&key("sdm4"), |_| {}), (vec![], false));
    assert_eq!(with(&key("*"), |_| {}), (vec![], false));
}

#[test]
fn retired_rows_and_those_of_other_documents_may_be_missing() {
    assert_eq!(with("retired = \"Long ago\"", remove), (vec![(Outcome::Retired, None)], false));
    let by_others = |source: &mut Source| {
        remove(source);
        source.identity.id = Some("sdm4".to_owned());
        // Of the other rows each cites `sdm3` too.
        source.tables.retain(|table| table.kind == Kind::VmcsFields);
    };
    assert_eq!(with("", by_others), (vec![(Outcome::Elsewhere, None)], false));
    assert_eq!(with("", remove), (vec![(Outcome::MissingThere, None)], true));
}
