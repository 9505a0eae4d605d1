//! Generated code is the same whenever and wherever it is generated.

mod common;

use common::{Scratch, files, manifest};
use x86_vcpu_codegen::{Spec, emit};

fn base() -> Spec {
    Spec::load(manifest("tests/base")).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn two_runs_write_the_same_bytes() {
    let (first, second) = (Scratch::new(), Scratch::new());
    emit(&base()).write(first.path()).unwrap();
    emit(&base()).write(second.path()).unwrap();
    let bytes = |scratch: &Scratch| files(scratch.path()).into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>();
    assert_eq!(bytes(&first), bytes(&second));
}

#[test]
fn a_file_that_would_not_change_is_not_touched() {
    let scratch = Scratch::new();
    let times = || {
        emit(&base()).write(scratch.path()).unwrap();
        let modified = |path| std::fs::metadata(path).unwrap().modified().unwrap();
        files(scratch.path()).into_iter().map(|(path, _)| modified(path)).collect::<Vec<_>>()
    };
    assert_eq!(times(), times());
}

#[test]
fn modules_that_handwritten_code_names_are_always_there() {
    let files = emit(&Spec::default()).files;
    let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    for path in ["mod.rs", "intel/mod.rs", "intel/conditions.rs", "intel/exits.rs", "intel/vmcs.rs", "amd/vmcb.rs"] {
        assert!(paths.contains(&path), "{path}");
    }
}
