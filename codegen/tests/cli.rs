//! The command, from outside.
#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{Scratch, manifest};
use x86_vcpu_codegen::{Spec, emit};

fn run(arguments: &[&str], spec: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_x86-vcpu-spec")).args(arguments).arg("--spec").arg(spec).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The base, and the library's own tables when this is a checkout of the whole repository.
fn specs() -> Vec<std::path::PathBuf> {
    [manifest("tests/base"), manifest("../spec")].into_iter().filter(|path| path.exists()).collect()
}

#[test]
fn generate_writes_the_bytes_of_the_build_script() {
    for dir in specs() {
        let (formatted, plain) = (Scratch::new(), Scratch::new());
        let spec = Spec::load(&dir).unwrap_or_else(|errors| panic!("{errors}"));
        emit(&spec).write(plain.path()).unwrap();
        let output = run(&["generate", "--out", formatted.path().to_str().unwrap()], &dir);
        assert!(output.status.success(), "{output:?}");
        let bytes = |scratch: &Scratch| {
            let relative = |path: std::path::PathBuf| path.strip_prefix(scratch.path()).unwrap().to_owned();
            common::files(scratch.path()).into_iter().map(|(path, bytes)| (relative(path), bytes)).collect::<Vec<_>>()
        };
        assert!(bytes(&plain) == bytes(&formatted));
    }
}

#[test]
fn check_says_where_both_places_of_a_conflict_are() {
    let scratch = Scratch::of_base();
    let file = scratch.path().join("intel/vmcs.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("0x681e", "0x681c").replace("width = 16", "width = 32")).unwrap();
    let output = run(&["check"], scratch.path());
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    let place = |line: usize| format!("{}:{line}:", file.display());
    for line in [place(72) + "12: error: ", place(63) + "12: note: ", place(54) + "12: error: "] {
        assert!(text.contains(&line), "{line} in {text}");
    }
    assert!(stdout(&run(&["check", "--pretty"], scratch.path())).contains("encoding = 0x681c"));
}

#[test]
fn check_has_nothing_against_the_tables() {
    for dir in specs() {
        let output = run(&["check"], &dir);
        assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    }
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let output = run(&["check"], &manifest("tests/nowhere"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("nowhere:1:1: error: cannot read the directory"));
}

#[test]
fn json_has_numbers_as_integers_and_citations_with_revisions() {
    let output = run(&["export", "--format", "json"], &manifest("tests/base"));
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rip = all["vmcs"].as_array().unwrap().iter().find(|row| row["name"] == "GUEST_RIP").unwrap();
    assert_eq!(rip["encoding"], 0x681e);
    assert_eq!(rip["width"], "natural");
    assert_eq!(rip["cite"], serde_json::json!({ "doc": "sdm3", "rev": "077", "title": "Encodings" }));
    assert_eq!(all["svm_exits"][0]["number"], -1);
    assert_eq!(all["vmx_controls"][0]["word"], "primary");
    let bits = |row: &&serde_json::Value| row["name"] == "V_TPR";
    let v_tpr = all["vmcb"].as_array().unwrap().iter().find(bits).unwrap();
    assert_eq!((&v_tpr["offset"], &v_tpr["size"]), (&0x60.into(), &8.into()));
    assert_eq!((&v_tpr["bits"], &v_tpr["clean"]), (&serde_json::json!([7, 0]), &"TPR".into()));
}

#[test]
fn csv_has_one_table_or_all_with_their_names() {
    let dir = manifest("tests/base");
    let one = stdout(&run(&["export", "--format", "csv", "--table", "vmx_exits"], &dir));
    assert!(one.starts_with("name,manual_name,vendor,number,"));
    assert!(one.contains("\nCPUID,CPUID,intel,10,"));
    let all = stdout(&run(&["export", "--format", "csv"], &dir));
    assert!(all.starts_with("table,name,manual_name,vendor,"));
    assert!(all.contains("\nvmx_exits,CPUID,CPUID,intel,"));
    assert_eq!(run(&["export", "--table", "vmx_exit"], &dir).status.code(), Some(1));
}
