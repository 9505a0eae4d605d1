//! Mistakes with VMCS fields that must not compile, and what the compiler says to them.
#![cfg(feature = "vmx")]

use std::process::Command;

/// The compiler whose words are in `compile_fail/*.stderr`. Another says the same with other decoration.
const COMPILER: &str = "rustc 1.95";

#[test]
fn mistakes_with_fields_do_not_compile() {
    let version = Command::new("rustc").arg("--version").output().expect("rustc runs");
    let version = String::from_utf8_lossy(&version.stdout);
    if !version.starts_with(COMPILER) {
        eprintln!("skipped: the expected messages are those of {COMPILER}, and this is {version}");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
