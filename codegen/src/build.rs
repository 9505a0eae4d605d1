//! Everything that a build script does with a spec.

use std::path::{Path, PathBuf};
use std::{env, process};

use crate::diagnostics::Diagnostics;
use crate::{Spec, emit, lint};

/// The environment variable that names another spec directory.
const OVERRIDE: &str = "X86_VCPU_SPEC";

/// Loads the spec in `dir`, or the one that `X86_VCPU_SPEC` names, lints it and writes the generated Rust into
/// `OUT_DIR/spec`. Tells Cargo what to watch. Prints what is wrong with the spec and ends the process with 1.
pub fn build(dir: impl AsRef<Path>) {
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    let dir = match env::var_os(OVERRIDE) {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => dir.as_ref().to_path_buf(),
    };
    // Cargo scans a directory's files too, so that an added, a removed and a changed one all count.
    println!("cargo::rerun-if-changed={}", dir.display());
    let Some(out) = env::var_os("OUT_DIR") else { fail("OUT_DIR is not set: this function is for build scripts") };
    let spec = match checked(&dir) {
        Ok(spec) => spec,
        Err(diagnostics) => fail(diagnostics),
    };
    let out = Path::new(&out).join("spec");
    if let Err(error) = emit(&spec).write(&out) {
        fail(format_args!("{}: error: cannot write: {error}\n", out.display()));
    }
}

/// Loads and lints.
pub(crate) fn checked(dir: &Path) -> Result<Spec, Diagnostics> {
    let spec = Spec::load(dir)?;
    let list = lint(&spec);
    if list.is_empty() { Ok(spec) } else { Err(Diagnostics::new(spec.sources, list)) }
}

fn fail(message: impl std::fmt::Display) -> ! {
    eprint!("{message}");
    process::exit(1)
}
