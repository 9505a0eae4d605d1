//! The tests that docs/testing.md names exist: a mistake that others made has somebody who looks for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The table's title.
const TITLE: &str = "## Mistakes that hypervisors make";

#[test]
fn what_the_table_of_mistakes_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/testing.md")).expect("the page");
    let known = known(root);
    let rows = rows(&text);
    assert!(rows.len() >= 15, "the table has only {} rows", rows.len());
    for (mistake, names) in rows {
        assert!(!names.is_empty(), "nobody looks for: {mistake}");
        for name in names {
            assert!(known.contains(name) || name.contains('/') && root.join(name).exists(), "{name} of: {mistake}");
        }
    }
}

#[test]
fn names_and_tests_are_found() {
    let text = format!(
        "| `a` | `b` |\n{TITLE}\n| mistake | where |\n|---|---|\n| `x` of it | scenario `c`; `d` |\n\n| e | `f` |"
    );
    assert_eq!(rows(&text), [("`x` of it", vec!["c", "d"])]);
    let source = "#[test]\n#[ignore]\nfn one() {}\nfn two() {}\n    #[test]\n    fn three() {\n";
    assert_eq!(tests(source), ["one", "three"]);
    assert_eq!(machines("[[machine]]\nname = \"epyc\"\nmodel = \"EPYC\"\n"), ["epyc"]);
}

/// The first table behind the title: what is wrong, and the names in the second column.
fn rows(text: &str) -> Vec<(&str, Vec<&str>)> {
    let (_, table) = text.split_once(TITLE).expect("the title");
    let lines = table.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = lines.skip(2).filter_map(|line| line.trim_matches('|').rsplit_once('|'));
    cells.map(|(mistake, names)| (mistake.trim(), names.split('`').skip(1).step_by(2).collect())).collect()
}

/// Scenarios, machines and tests.
fn known(root: &Path) -> BTreeSet<String> {
    let read = |path: &Path| fs::read_to_string(path).expect("a text");
    let transcripts = fs::read_dir(root.join("tests/machine/transcripts")).expect("transcripts");
    let mut known: BTreeSet<String> = transcripts
        .map(|entry| entry.expect("a transcript").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    known.extend(machines(&read(&root.join("tests/machine/machines.toml"))).into_iter().map(str::to_owned));
    for directory in ["src", "tests", "codegen"] {
        for file in sources(&root.join(directory)) {
            let text = read(&file);
            known.extend(tests(&text).into_iter().map(str::to_owned));
        }
    }
    known
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The functions that follow `#[test]`.
fn tests(text: &str) -> Vec<&str> {
    let behind = text.split("#[test]\n").skip(1);
    behind.filter_map(|text| text.split_once("fn ")?.1.split_once('(').map(|(name, _)| name)).collect()
}

fn machines(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("name = \"")?.split_once('"').map(|(name, _)| name)).collect()
}
