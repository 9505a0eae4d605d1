//! Command lines with what they print, in one text.
//!
//! With [`check`] a line `$ show GUEST_RIP` is a command; what follows, up to the next one, is what it has to print, on standard output
//! and then on standard error, and `=> 1` where the exit code is not 0. Lines with `#` before the first command stay as
//! they are. With `UPDATE_EXPECT=1` everything else is written anew. With [`check_some`] what follows a command are lines that
//! it has to print among others: for tables that change.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::manifest;

/// Runs the command.
pub fn run(arguments: &[impl AsRef<std::ffi::OsStr>], spec: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_x86-vcpu-spec"));
    // How wide a page is must not depend on who runs the test.
    command.args(arguments).arg("--spec").arg(spec).env_remove("COLUMNS").output().unwrap()
}

/// Runs the commands of `tests/cli/FILE` with these tables and compares all that they print.
pub fn check(file: &str, spec: &Path) {
    let path = manifest("tests/cli").join(file);
    let expected = fs::read_to_string(&path).unwrap();
    let mut found = String::new();
    for line in expected.lines().take_while(|line| line.starts_with('#') || line.is_empty()) {
        found.push_str(&format!("{line}\n"));
    }
    for line in expected.lines().filter_map(|line| line.strip_prefix("$ ")) {
        found.push_str(&format!("$ {line}\n{}\n", printed(line, spec)));
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &found).unwrap();
    } else if found != expected {
        let differs = found.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
        let line = differs.map_or(0, |line| line + 1);
        panic!("{}:{line} differs; UPDATE_EXPECT=1 accepts what is printed now:\n{found}", path.display());
    }
}

/// Runs the commands of `tests/cli/FILE` with these tables and looks for the lines that each has to print, in their order
/// and however wide their columns are.
pub fn check_some(file: &str, spec: &Path) {
    let text = fs::read_to_string(manifest("tests/cli").join(file)).unwrap();
    let even = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let (mut line, mut found) = (String::new(), Vec::new());
    for wanted in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some(command) = wanted.strip_prefix("$ ") {
            line = command.to_owned();
            found = printed(command, spec).lines().map(even).collect();
            continue;
        }
        let at = found.iter().position(|found| *found == even(wanted));
        let at = at.unwrap_or_else(|| panic!("{file}: `{line}` does not print `{wanted}`:\n{}", printed(&line, spec)));
        found.drain(..=at);
    }
}

/// What a command prints, and its exit code where that is not 0.
fn printed(line: &str, spec: &Path) -> String {
    let output = run(&words(line), spec);
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat();
    assert!(!text.contains('\x1b'), "{line}: escape sequences in a pipe");
    let text = text.replace(&*spec.to_string_lossy(), "spec");
    match output.status.code() {
        Some(0) => text,
        code => format!("{text}=> {}\n", code.map_or("killed".to_owned(), |code| code.to_string())),
    }
}

/// Words as a shell would make them, as far as double quotes go.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('"').enumerate();
    let parts = quoted.flat_map(|(i, part)| match i % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    parts.collect()
}
