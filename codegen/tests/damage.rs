//! Damaged tables are refused or accepted, but nothing panics, and what is accepted can be generated.

mod common;

use std::fs;
use std::path::Path;

use common::{Scratch, files, manifest};
use x86_vcpu_codegen::{Spec, emit, lint};

/// Loads the base with another text in one file.
fn survive(scratch: &Scratch, file: &Path, text: &str) {
    fs::write(scratch.path().join(file), text).unwrap();
    match Spec::load(scratch.path()) {
        Err(errors) => assert!(!errors.to_string().is_empty()),
        Ok(spec) if lint(&spec).is_empty() => drop(emit(&spec)),
        Ok(_) => {}
    }
}

/// Tries many damages to each file, each file in turn being the only damaged one.
fn damage(each: impl Fn(&[&str]) -> Vec<String>) {
    let base = manifest("tests/base");
    let scratch = Scratch::of_base();
    for (path, bytes) in files(&base) {
        let (file, text) = (path.strip_prefix(&base).unwrap(), String::from_utf8(bytes).unwrap());
        let lines: Vec<_> = text.lines().collect();
        for damaged in each(&lines) {
            survive(&scratch, file, &damaged);
        }
        fs::write(scratch.path().join(file), text).unwrap();
    }
}

/// A text for each line with another in its place; which of `others` goes round, since all of them take long.
fn with_each_line(lines: &[&str], others: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    let replaced = |(index, line): (usize, &&str)| {
        let text = |other| [&lines[..index], &[other], &lines[index + 1..]].concat().join("\n");
        let others = others(line);
        others.get(index % others.len().max(1)).map(|other| text(other.as_str()))
    };
    lines.iter().enumerate().flat_map(replaced).collect()
}

#[test]
fn lines_that_are_missing_doubled_or_cut() {
    damage(|lines| {
        with_each_line(lines, |line| {
            let half = line.len() / 2;
            vec![String::new(), format!("{line}\n{line}"), line[..half].to_owned()]
        })
    });
}

#[test]
fn values_that_nobody_would_write() {
    let values = [
        "-1",
        "0",
        "7",
        "0xffff_ffff_ffff_ffff",
        "99999999999999999999",
        "1.5",
        "\"\"",
        "\"Self\"",
        "[]",
        "[63, 0]",
        "{}",
    ];
    damage(|lines| {
        with_each_line(lines, |line| match line.split_once(" = ") {
            Some((key, _)) => values.iter().map(|value| format!("{key} = {value}")).collect(),
            None => Vec::new(),
        })
    });
}
