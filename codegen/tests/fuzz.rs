//! Random damage to whole specs: nothing panics or hangs, every mistake is told with a place, and what is accepted becomes
//! Rust in which no name is there twice.
//!
//! The run is the same each time. `FUZZ_SEED=n` makes another, `FUZZ_SECONDS=n` a longer one. What fails is written to the
//! directory for temporary files of the build, as a file to be put into `tests/fuzz/corpus`: its name up to the first full
//! stop is the path of the file in the spec, with `-` for `/`.

mod common;
#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/rust.rs"]
mod rust;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use common::{Scratch, files, manifest};
use mutate::Mutator;
use x86_vcpu_codegen::model::{Sources, Span};
use x86_vcpu_codegen::{Diagnostic, Spec, emit, lint};

/// Texts of files, by their path in the spec.
fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let (base, corpus) = (manifest("tests/base"), manifest("tests/fuzz/corpus"));
    let mut all: Vec<_> =
        files(&base).into_iter().map(|(path, bytes)| (path.strip_prefix(&base).unwrap().to_owned(), bytes)).collect();
    for (path, bytes) in files(&corpus) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let stem = name.split('.').next().unwrap().replace('-', "/");
        all.push((format!("{stem}.toml").into(), bytes));
    }
    all
}

/// A spec in which one file at a time has another text.
struct Bench {
    spec: Scratch,
    out: Scratch,
    base: BTreeMap<PathBuf, Vec<u8>>,
    /// Generated files that are Rust.
    checked: RefCell<BTreeSet<Vec<u8>>>,
}

impl Bench {
    fn new() -> Self {
        let (spec, base) = (Scratch::of_base(), manifest("tests/base"));
        let base = files(&base).into_iter().map(|(path, bytes)| (path.strip_prefix(&base).unwrap().to_owned(), bytes));
        Bench { base: base.collect(), spec, out: Scratch::new(), checked: RefCell::default() }
    }

    /// Whether the spec is accepted with this text in the file; what it must not do, it panics about.
    fn accepts(&self, path: &Path, text: &[u8]) -> bool {
        let file = self.spec.path().join(path);
        fs::write(&file, text).unwrap();
        let accepted = self.check();
        match self.base.get(path) {
            Some(text) => fs::write(file, text).unwrap(),
            None => fs::remove_file(file).unwrap(),
        }
        accepted
    }

    /// Every word of what the base and the corpus become.
    fn words(&self, corpus: &[(PathBuf, Vec<u8>)]) -> Vec<String> {
        let mut words = BTreeSet::new();
        for (path, text) in corpus {
            assert!(self.accepts(path, text), "{}", path.display());
            for (_, text) in files(self.out.path()) {
                words.extend(rust::words(&String::from_utf8(text).unwrap()));
            }
        }
        words.into_iter().collect()
    }

    fn check(&self) -> bool {
        let start = Instant::now();
        let (sources, list, spec) = match Spec::load(self.spec.path()) {
            Err(errors) => {
                assert!(!errors.list.is_empty(), "refused without a mistake");
                (errors.sources, errors.list, None)
            }
            Ok(spec) => (spec.sources.clone(), lint(&spec), Some(spec)),
        };
        assert!(start.elapsed() < Duration::from_secs(20), "it took {:?}", start.elapsed());
        list.iter().for_each(|error| told(&sources, error));
        let Some(spec) = spec.filter(|_| list.is_empty()) else { return false };
        emit(&spec).write(self.out.path()).unwrap();
        for (path, bytes) in files(self.out.path()) {
            // Most files are those of the run before.
            if !self.checked.borrow().contains(&bytes) {
                rust::check(&path, &String::from_utf8(bytes.clone()).unwrap());
                self.checked.borrow_mut().insert(bytes);
            }
        }
        true
    }
}

/// A mistake has words and places.
fn told(sources: &Sources, error: &Diagnostic) {
    let inside = |span: Span| {
        let text = sources.text(span.file);
        let place = text.get(span.start as usize..span.end as usize);
        assert!(place.is_some(), "{span:?} is not in a text of {} bytes: {error:?}", text.len());
    };
    inside(error.span);
    error.related.iter().for_each(|(span, _)| inside(*span));
    let texts = [&error.message].into_iter().chain(error.related.iter().map(|(_, text)| text)).chain(&error.help);
    for text in texts {
        assert!(!text.trim().is_empty(), "{error:?}");
    }
    let lines = error.plain(sources).to_string();
    assert_eq!(lines.lines().count(), 1 + error.related.len() + usize::from(error.help.is_some()), "{lines}");
    assert!(!lines.chars().any(|c| c.is_control() && c != '\n'), "{lines:?}");
}

#[test]
fn damaged_specs() {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seed, seconds) = (number("FUZZ_SEED").unwrap_or(1), number("FUZZ_SECONDS"));
    // As many runs as fit on a slow machine, so that the number does not depend on it; the time is for a slower one.
    let (most, time) = (if seconds.is_some() { u64::MAX } else { 3000 }, Duration::from_secs(seconds.unwrap_or(15)));
    let (bench, corpus, start) = (Bench::new(), corpus(), Instant::now());
    let (mut runs, mut accepted) = (0, 0);
    while runs < most && start.elapsed() < time {
        let (path, text) = Mutator::new(seed, runs).damage(&corpus);
        match catch_unwind(AssertUnwindSafe(|| bench.accepts(path, &text))) {
            Ok(accepts) => accepted += u64::from(accepts),
            Err(_) => {
                let name = format!("{}.{seed}-{runs}.toml", path.with_extension("").display()).replace('/', "-");
                let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
                fs::write(&kept, &text).unwrap();
                panic!("run {runs} of seed {seed}: {} has what failed", kept.display());
            }
        }
        runs += 1;
    }
    println!("{runs} damaged specs, of which {accepted} were accepted, in {:?}", start.elapsed());
    assert!(
        accepted > runs / 100 && accepted < runs / 2,
        "{accepted} of {runs} were accepted: the damage is of no use"
    );
}

/// Rows called like anything in the generated code: refused, or the code is Rust nevertheless.
#[test]
fn names_that_are_taken() {
    let (bench, corpus) = (Bench::new(), corpus());
    let words = bench.words(&corpus);
    // All of them take minutes.
    let step = if env::var_os("FUZZ_SECONDS").is_some() { 1 } else { 101 };
    let (mut pairs, mut runs, mut accepted, mut failed) = (0, 0, 0, Vec::new());
    for (path, text) in &corpus {
        let text = str::from_utf8(text).unwrap();
        for old in mutate::names(text) {
            for new in words.iter().filter(|word| mutate::is_camel(word) == mutate::is_camel(old)) {
                pairs += 1;
                if pairs % step != 0 {
                    continue;
                }
                let text = text.replace(&format!("\"{old}\""), &format!("\"{new}\""));
                let accepts = catch_unwind(AssertUnwindSafe(|| bench.accepts(path, text.as_bytes())));
                let Ok(accepts) = accepts else {
                    failed.push(format!("{}: {old} called {new}", path.display()));
                    continue;
                };
                (runs, accepted) = (runs + 1, accepted + u64::from(accepts));
            }
        }
    }
    println!("{runs} of {pairs} other names, of which {accepted} were accepted");
    assert!(failed.is_empty(), "{failed:#?}");
}
