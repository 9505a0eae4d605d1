//! Mistakes put in are found, with their places.

use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::audit::{Comparison, Format, Report};

use crate::common::manifest;
use crate::export::source;

fn text(comparison: Comparison) -> String {
    Report { comparisons: &[comparison], unread: &[], verbose: false }.print(Format::Text)
}

#[test]
fn tables_agree_with_themselves() {
    for dir in ["tests/base", "../spec"].map(manifest).into_iter().filter(|dir| dir.exists()) {
        let spec = Spec::load(&dir).unwrap_or_else(|errors| panic!("{errors}"));
        let comparison = Comparison::new(&spec, &source(&spec));
        for table in &comparison.tables {
            assert_eq!(table.confirmed(), table.rows, "{}: {}", table.name, text(comparison.clone()));
        }
        assert!(!comparison.fails(), "{}", text(comparison));
    }
}
