//! `diff`, from outside: directories, git revisions, exit statuses.
#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{Scratch, copy, manifest};

fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_x86-vcpu-spec"));
    command.current_dir(directory).arg("diff").args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs git with nothing of the user's settings. False when there is no git.
fn git(directory: &Path, arguments: &[&str]) -> bool {
    let settings =
        ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"];
    let mut command = Command::new("git");
    command.current_dir(directory).args(settings).args(arguments);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    command.output().is_ok_and(|output| output.status.success())
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from));
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

/// A repository with two commits, the first tagged `v1`, and a change that is not committed. None without git.
fn repository() -> Option<Scratch> {
    let scratch = Scratch::new();
    let root = scratch.path();
    copy(&manifest("tests/base"), &root.join("spec"));
    fs::write(root.join("Cargo.toml"), "[package]\nname = \"a\"\nversion = \"0.3.1\"\n").unwrap();
    let vmcs = root.join("spec/intel/vmcs.toml");
    let commit = || git(root, &["add", "."]) && git(root, &["commit", "-q", "-m", "a"]);
    if !(git(root, &["init", "-q"]) && commit() && git(root, &["tag", "-a", "-m", "a", "v1"])) {
        eprintln!("skipped: git cannot be used here");
        return None;
    }
    replace(&vmcs, "name = \"GUEST_RIP\"\n", "name = \"GUEST_POINTER\"\n");
    fs::write(root.join("Cargo.toml"), "[package]\nname = \"a\"\nversion = \"0.4.0\"\n").unwrap();
    assert!(commit());
    replace(&vmcs, "name = \"GUEST_POINTER\"\n", "name = \"GUEST_POINTER\"\naliases = [\"RIP\"]\n");
    Some(scratch)
}

#[test]
fn a_revision_is_compared_with_the_tables_as_they_are() {
    let Some(repository) = repository() else { return };
    let root = repository.path();
    let output = run(root, &["v1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("v1:spec -> spec\n\nvmcs: 1 renamed, 1 note or citation\n"), "{text}");
    assert!(text.contains("version: 0.3.1 becomes at least 0.4.0 "), "{text}");
    assert!(text.ends_with("; 0.4.0 will do\n"), "{text}");
}

#[test]
fn revisions_directories_and_paths_may_be_mixed() {
    let Some(repository) = repository() else { return };
    let root = repository.path();
    for (old, new, says) in [
        ("HEAD~1", "HEAD", "vmcs: 1 renamed\n"),
        ("HEAD", "spec", "vmcs: 1 note or citation\n"),
        ("HEAD:./spec/", "v1^{}:spec", "vmcs: 1 renamed\n"),
        ("spec", "spec", "no row differs\n"),
        ("v1", "HEAD~1", "no row differs\n"),
    ] {
        let output = run(root, &[old, new]);
        assert_eq!(output.status.code(), Some(0), "{old} {new}: {}", stderr(&output));
        assert!(stdout(&output).contains(says), "{old} {new}: {}", stdout(&output));
    }
    // From a directory of the repository, a revision means the same.
    assert!(stdout(&run(&root.join("spec/intel"), &["v1", "HEAD"])).contains("vmcs: 1 renamed\n"));
}

#[test]
fn the_exit_status_says_what_was_asked() {
    let Some(repository) = repository() else { return };
    let status = |arguments: &[&str]| run(repository.path(), arguments).status.code();
    assert_eq!(status(&["v1", "--exit-code"]), Some(1));
    assert_eq!(status(&["v1", "v1", "--exit-code"]), Some(0));
    assert_eq!(status(&["HEAD", "--exit-code"]), Some(1));
    assert_eq!(status(&["HEAD", "--deny", "breaking"]), Some(0));
    assert_eq!(status(&["v1", "--deny", "breaking"]), Some(1));
}

#[test]
fn a_side_that_cannot_be_read_is_2() {
    let Some(repository) = repository() else { return };
    let root = repository.path();
    for (arguments, says) in [
        (["v2"], "error: `v2` is neither a directory nor a git revision\n"),
        (["-x"], "error: "),
        ([":spec"], "error: `:spec` is neither a directory nor a git revision\n"),
        (["HEAD:tables"], "error: HEAD:tables: the revision has no directory `tables`\n"),
        (["HEAD:spec/manuals.toml"], "has no directory `spec/manuals.toml`\n"),
        (["Cargo.toml"], "error: `Cargo.toml` is not a directory\n"),
    ] {
        let output = run(root, &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(says), "{arguments:?}: {}", stderr(&output));
    }
    let output = run(root, &["HEAD", "--spec", "nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("error: nowhere: "), "{}", stderr(&output));
}

#[test]
fn without_git_directories_are_compared() {
    let base = manifest("tests/base");
    let run = |old: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_x86-vcpu-spec"));
        command.current_dir(&base).env("PATH", "").args(["diff", old, "."]).output().unwrap()
    };
    assert_eq!(run(".").status.code(), Some(0));
    let output = run("HEAD");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("git was not found"), "{}", stderr(&output));
}

#[test]
fn mistakes_are_said_and_what_loads_is_compared() {
    let Some(repository) = repository() else { return };
    let root = repository.path();
    // Of two fields with one encoding code can be generated: a lint is against it.
    let vmcs = root.join("spec/intel/vmcs.toml");
    replace(&vmcs, "encoding = 0x681e", "encoding = 0x681c");
    let output = run(root, &["v1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("spec/intel/vmcs.toml:"), "{}", stderr(&output));
    assert!(stdout(&output).contains("API: major\n"), "{}", stdout(&output));
    // Of a name that is no identifier none can; the place is that of the revision, not that of a temporary file.
    replace(&vmcs, "name = \"GUEST_POINTER\"", "name = \"guest pointer\"");
    assert!(git(root, &["commit", "-q", "-a", "-m", "a"]));
    let output = run(root, &["HEAD", "v1"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("API: unknown: the old tables become no API: HEAD:spec/intel/vmcs.toml:"));
    // What is no table cannot be compared.
    replace(&vmcs, "[[field]]", "[[field]");
    assert_eq!(run(root, &["v1"]).status.code(), Some(2));
    assert!(git(root, &["commit", "-q", "-a", "-m", "a"]));
    let output = run(root, &["HEAD", "v1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("HEAD:spec/intel/vmcs.toml:"), "{}", stderr(&output));
}
