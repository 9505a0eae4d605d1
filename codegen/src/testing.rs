//! A small spec without mistakes, for tests that put one in.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

use crate::Spec;

/// The spec in `tests/base`.
pub(crate) fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/base")
}

/// What is found after one text of a file, which occurs once, was replaced by another.
pub(crate) fn after(file: &str, from: &str, to: &str) -> Vec<String> {
    let text = fs::read_to_string(base().join(file)).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from} in {file}");
    with(file, &text.replace(from, to))
}

/// What is found with another text in a file.
pub(crate) fn with(file: &str, text: &str) -> Vec<String> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("x86_vcpu_codegen-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = env::temp_dir().join(name);
    copy(&base(), &dir);
    fs::write(dir.join(file), text).unwrap();
    let list = Spec::load(&dir).map_or_else(|errors| errors.list, |spec| crate::lint(&spec));
    fs::remove_dir_all(dir).unwrap();
    list.into_iter().map(|error| error.message).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

#[test]
fn the_base_has_no_mistakes() {
    let spec = Spec::load(base()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(crate::lint(&spec), []);
}
