//! `show`, from outside.
#![cfg(feature = "cli")]

mod common;

use common::{Scratch, copy, manifest, transcript};
use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::explain::Explainer;

#[test]
fn entries_are_shown() {
    let scratch = Scratch::of_base();
    copy(&manifest("tests/cli/input"), scratch.path());
    transcript::check("show.txt", scratch.path());
}

#[test]
fn entries_of_the_librarys_tables_are_shown() {
    let spec = manifest("../spec");
    if spec.exists() {
        transcript::check_some("show_spec.txt", &spec);
    }
}

/// Whoever asks for a row by the name that it is printed with gets it. Of the thousands some, which takes seconds.
#[test]
fn rows_are_found_and_have_their_rust() {
    for dir in [manifest("tests/base"), manifest("../spec")].into_iter().filter(|dir| dir.exists()) {
        let spec = Spec::load(&dir).unwrap_or_else(|errors| panic!("{errors}"));
        let explainer = Explainer::new(&spec);
        for name in explainer.names().into_iter().step_by(31) {
            let page = explainer.show(&name, None, false).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(page.render(100).contains(&name), "{name}");
        }
        assert_eq!(explainer.without_rust(), Vec::<String>::new());
    }
}
