//! What all commands have: exit codes, help, output for programs and for people.
#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::process::Command;

use common::{Scratch, manifest, transcript::run};

const COMMANDS: [&str; 7] = ["check", "show", "decode", "generate", "export", "doctor", "completions"];

#[test]
fn exit_codes_tell_mistakes_from_wrong_usage() {
    let base = manifest("tests/base");
    let nowhere = manifest("tests/nowhere");
    let cases: &[(&[&str], i32)] = &[
        (&["show", "GUEST_RIP"], 0),
        (&["show", "GUEST_RPI"], 1),
        (&["show", "0x12345"], 1),
        (&["show"], 2),
        (&["show", "GUEST_RIP", "--kind", "nonsense"], 2),
        (&["decode", "Cr0", "0x11"], 0),
        (&["decode", "Cr8", "0x11"], 1),
        (&["decode", "Cr0"], 2),
        (&["decode", "Cr0", "1", "2"], 2),
        (&["decode", "Cr0", "zz"], 2),
        (&["decode", "vmcs", "zz"], 2),
        (&["decode", "vmcs", "0x1ffffffffffffffff"], 2),
        (&["decode"], 2),
        (&["nonsense"], 2),
        (&["check"], 0),
        (&["check", "--format", "nonsense"], 2),
        (&["check", "--manifest-path", "Cargo.toml"], 2),
    ];
    for (arguments, code) in cases {
        let output = run(arguments, &base);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {output:?}");
    }
    for arguments in [&["show", "GUEST_RIP"][..], &["decode", "error", "7"], &["export"]] {
        assert_eq!(run(arguments, &nowhere).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(run(&["check"], &nowhere).status.code(), Some(1));
}

#[test]
fn help_has_examples_and_exit_codes() {
    let base = manifest("tests/base");
    let help = |arguments: &[&str]| String::from_utf8(run(arguments, &base).stdout).unwrap();
    assert!(help(&["--help"]).contains("Exit codes:"));
    for command in COMMANDS {
        assert!(help(&[command, "--help"]).contains("x86-vcpu-spec"), "{command}");
        assert!(help(&["--help"]).contains(&format!("  {command} ")), "{command}");
    }
    assert!(help(&["--version"]).starts_with("x86-vcpu-spec "));
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell], &manifest("tests/base"));
        assert!(
            output.status.success() && String::from_utf8_lossy(&output.stdout).contains("x86-vcpu-spec"),
            "{shell}"
        );
    }
}

/// A spec with one mistake.
fn mistaken() -> Scratch {
    let scratch = Scratch::of_base();
    let file = scratch.path().join("intel/vmcs.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("0x681e", "0x681c")).unwrap();
    scratch
}

#[test]
fn mistakes_are_printed_for_programs_and_for_people() {
    let scratch = mistaken();
    let check = |arguments: &[&str]| {
        let output = run(arguments, scratch.path());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let plain = check(&["check"]);
    assert!(plain.lines().next().unwrap().contains("vmcs.toml:72:12: error: "), "{plain}");
    assert_eq!(check(&["check", "--format", "plain"]), plain);
    let pretty = check(&["check", "--format", "pretty"]);
    assert!(pretty.contains("72 | encoding = 0x681c") && pretty.contains("vmcs.toml:72:12: error: "), "{pretty}");
    assert_eq!(check(&["check", "--pretty"]), pretty);
    assert!(!pretty.contains('\x1b'));
    let json: serde_json::Value = serde_json::from_str(&check(&["check", "--format", "json"])).unwrap();
    assert_eq!((&json[0]["line"], &json[0]["column"]), (&72.into(), &12.into()));
    assert_eq!(json[0]["related"][0]["line"], 63);
    let none = run(&["check", "--format", "json"], &manifest("tests/base"));
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&none.stdout).unwrap(), serde_json::json!([]));
}

#[test]
fn a_command_without_the_tables_says_what_is_wrong_with_them() {
    let output = run(&["show", "GUEST_RIP"], mistaken().path());
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &[][..]));
    assert!(String::from_utf8(output.stderr).unwrap().contains("vmcs.toml:72:12: error: "));
}

#[test]
fn compiling_needs_the_librarys_sources() {
    let (scratch, elsewhere) = (Scratch::of_base(), Scratch::new());
    let mut command = Command::new(env!("CARGO_BIN_EXE_x86-vcpu-spec"));
    let output = command.args(["check", "--compile", "--spec"]).arg(scratch.path()).current_dir(elsewhere.path());
    let output = output.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("--manifest-path"));
}

#[test]
fn the_tables_are_found_from_a_directory_below() {
    let scratch = Scratch::new();
    common::copy(&manifest("tests/base"), &scratch.path().join("spec"));
    let below = scratch.path().join("spec/intel");
    let mut command = Command::new(env!("CARGO_BIN_EXE_x86-vcpu-spec"));
    let output = command.args(["show", "0x681e"]).current_dir(below).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
