//! Seeded mistakes and what is said of them.
//!
//! Each directory of `tests/ui` is a case: the spec in `tests/base` with the files of `input/` put over it, then with
//! the edits of `edit.txt` made; `diagnostics.txt` has the expected lines. With `UPDATE_EXPECT=1` it is written.
//!
//! `edit.txt` names a file in a line of its own, then has blocks of lines that start with `-`, which occur once, and
//! those that start with `+`, which take their place.

mod common;

use std::fs;
use std::path::Path;

use common::{Scratch, manifest};
use x86_vcpu_codegen::{Diagnostics, Spec, lint};

#[test]
fn every_seeded_mistake_is_found() {
    let mut cases: Vec<_> = fs::read_dir(manifest("tests/ui")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 218);
    let failed: Vec<_> = cases.iter().filter(|case| !passes(case)).collect();
    assert!(failed.is_empty(), "unexpected diagnostics; UPDATE_EXPECT=1 accepts them: {failed:#?}");
}

fn passes(case: &Path) -> bool {
    let scratch = Scratch::of_base();
    if case.join("input").exists() {
        common::copy(&case.join("input"), scratch.path());
    }
    if let Ok(edits) = fs::read_to_string(case.join("edit.txt")) {
        edit(scratch.path(), &edits);
    }
    let found = match Spec::load(scratch.path()) {
        Err(errors) => errors.to_string(),
        Ok(spec) => {
            let list = lint(&spec);
            Diagnostics::new(spec.sources, list).to_string()
        }
    };
    let found = found.replace(&*scratch.path().to_string_lossy(), "spec");
    assert!(!found.is_empty(), "{}: no mistake was found", case.display());
    let expected = case.join("diagnostics.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&expected, &found).unwrap();
    }
    let same = fs::read_to_string(&expected).unwrap_or_default() == found;
    if !same {
        eprintln!("--- {}\n{found}", case.display());
    }
    same
}

/// Applies the edits of a case.
fn edit(dir: &Path, edits: &str) {
    let mut file = None;
    let mut lines = edits.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(first) = line.strip_prefix('-') else {
            file = Some(dir.join(line));
            continue;
        };
        let (mut old, mut new) = (format!("{first}\n"), String::new());
        while let Some(line) = lines.next_if(|line| line.starts_with('-')) {
            old += &format!("{}\n", &line[1..]);
        }
        while let Some(line) = lines.next_if(|line| line.starts_with('+')) {
            new += &format!("{}\n", &line[1..]);
        }
        let file = file.as_ref().expect("a file is named first");
        // Whole lines only: each follows the end of one.
        let text = format!("\n{}", fs::read_to_string(file).unwrap());
        let (old, new) = (format!("\n{old}"), format!("\n{new}"));
        assert_eq!(text.matches(&old).count(), 1, "{old} in {}", file.display());
        fs::write(file, &text.replace(&old, &new)[1..]).unwrap();
    }
}
