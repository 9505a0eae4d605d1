//! The command, from outside.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::audit::source::Kind;
use x86_vcpu_codegen::audit::{Auditor, Format, Report};

use crate::common::{Scratch, manifest};
use crate::export::{find, source};

fn run(arguments: &[&str], spec: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_x86-vcpu-spec"));
    command.arg("audit").args(arguments).arg("--spec").arg(spec).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn what_cannot_be_read_is_2_and_all_of_it_is_said() {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("directory")).unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("letter.txt"), "Dear reader,\n").unwrap();
    let names = ["directory", "empty", "letter.txt", "nowhere"].map(path);
    let arguments: Vec<&str> = ["--against"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let output = run(&arguments, &manifest("tests/base"));
    assert_eq!(output.status.code(), Some(2));
    let text = stdout(&output);
    for (name, says) in
        names.iter().zip(["it is a directory", "the file is empty", "no kind of document", "No such file"])
    {
        assert!(text.contains(&format!("error: {name}: {says}")), "{text}");
    }
    assert!(text.contains("help: known are: "), "{text}");
    let between = run(&["--between", &names[1], &names[2]], &manifest("tests/base"));
    assert_eq!(between.status.code(), Some(2));
    let errors = String::from_utf8(between.stderr).unwrap();
    assert!(errors.contains("the file is empty") && errors.contains("no kind of document"), "{errors}");
}

#[test]
fn wrong_usage_and_tables_that_cannot_be_read_are_2() {
    let base = manifest("tests/base");
    for arguments in [&[][..], &["--status", "--against", "a"], &["--list", "none"], &["--between", "a"]] {
        assert_eq!(run(arguments, &base).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(run(&["--status"], &manifest("tests/nowhere")).status.code(), Some(2));
    assert_eq!(run(&["--status", "--format", "sarif"], &base).status.code(), Some(2));
}

#[test]
fn status_needs_no_document() {
    let output = run(&["--status", "--list", "none"], &manifest("tests/base"));
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("GUEST_RIP is confirmed by none"));
}

#[test]
fn sarif_has_both_places() {
    let spec = Spec::load(manifest("tests/base")).unwrap_or_else(|errors| panic!("{errors}"));
    let mut source = source(&spec);
    find(&mut source, &Kind::VmcsFields, "GUEST_RIP").number = Some(0x6820);
    let comparisons = [Auditor::new(&spec).compare(&source)];
    let report = Report { comparisons: &comparisons, unread: &[], verbose: false };
    let all: serde_json::Value = serde_json::from_str(&report.print(Format::Sarif)).unwrap();
    assert_eq!(all["version"], "2.1.0");
    let run = &all["runs"][0];
    let [result] = &run["results"].as_array().unwrap()[..] else { panic!("{all}") };
    assert_eq!((&result["ruleId"], &result["level"]), (&"contradicted".into(), &"error".into()));
    let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][rule]["id"], "contradicted");
    let here = &result["locations"][0]["physicalLocation"];
    assert!(here["artifactLocation"]["uri"].as_str().unwrap().ends_with("tests/base/intel/vmcs.toml"));
    assert!(here["region"]["startLine"].as_u64() > Some(0));
    let there = &result["relatedLocations"][0]["physicalLocation"];
    assert_eq!(there["artifactLocation"]["uri"], "export.json");
    // The others have it too.
    for (format, says) in [(Format::Json, "\"contradicted\""), (Format::Markdown, "### contradicted (1)")] {
        assert!(report.print(format).contains(says), "{}", report.print(format));
    }
}
