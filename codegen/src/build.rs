//! Everything that a build script does with a spec.

use std::path::{Path, PathBuf};
use std::{env, process};

use crate::diagnostics::Diagnostics;
use crate::{Spec, emit, lint};

/// The environment variable that names another spec directory.
const OVERRIDE: &str = "X86_VCPU_SPEC";

/// Loads the spec in `dir`, or the one that `X86_VCPU_SPEC` names, lints it and writes the generated Rust into
/// `OUT_DIR/spec`. Tells Cargo what to watch. Prints what is wrong with the spec and ends the process with 1.
///
/// A build script runs in the directory of its package, so a relative path in the variable counts from there; of a
/// package that Cargo has unpacked somewhere, where nobody can mean it, it is refused.
pub fn build(dir: impl AsRef<Path>) {
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    let named = env::var_os(OVERRIDE).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    // Cargo adds this file to packages.
    let packaged = Path::new("Cargo.toml.orig").exists();
    if let Some(message) = named.as_ref().and_then(|dir| refusal(dir, packaged, dir.is_dir())) {
        fail(message);
    }
    if let Some(dir) = named.as_ref().filter(|dir| dir.is_relative()) {
        // Who builds elsewhere with this package as a path dependency may have meant a directory of their own.
        let whole = env::current_dir().unwrap_or_default().join(dir);
        println!("cargo::warning={OVERRIDE} is relative: the tables are those in {}", whole.display());
    }
    let dir = named.unwrap_or_else(|| dir.as_ref().to_path_buf());
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

/// What is wrong with the directory that the variable names, as far as the user needs to be told how to name one.
fn refusal(dir: &Path, packaged: bool, exists: bool) -> Option<String> {
    let why = match () {
        () if dir.is_relative() && packaged => "it is relative, and would count from where Cargo keeps the package",
        () if exists => return None,
        () if dir.is_relative() => "there is no such directory in the package, from which relative paths count",
        () => "there is no such directory",
    };
    let dir = dir.display();
    Some(format!(
        "error: {OVERRIDE} is `{dir}`: {why}\n    help: give an absolute path, or let Cargo make one of it: in the \
         `.cargo/config.toml` of your workspace write\n\n        [env]\n        {OVERRIDE} = {{ value = \"{dir}\", relative = \
         true }}\n\n    for a directory beside `.cargo`\n"
    ))
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::refusal;

    #[test]
    fn a_path_is_refused_where_it_cannot_be_meant() {
        let relative = Path::new("my/spec");
        assert_eq!(refusal(relative, false, true), None);
        assert!(refusal(relative, false, false).unwrap().contains("no such directory in the package"));
        // A package has a directory `spec` too: not that of who set the variable.
        let message = refusal(relative, true, true).unwrap();
        assert!(message.contains("X86_VCPU_SPEC = { value = \"my/spec\", relative = true }\n"), "{message}");
        let absolute = std::env::temp_dir();
        assert_eq!(refusal(&absolute, true, true), None);
        assert!(refusal(&absolute, true, false).unwrap().contains(": there is no such directory\n"));
    }
}
