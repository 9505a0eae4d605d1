//! `check --compile`: whether the library compiles with the generated code.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use crate::failure::Failure;
use crate::output;

/// Sets of features that compile different parts of the generated code or of its users: with the defaults or without, and
/// which.
const FEATURES: [(bool, &str); 9] = [
    (true, ""),
    (false, ""),
    (false, "vmx"),
    (false, "amd"),
    (false, "vmx,amd"),
    (false, "axvcpu"),
    (false, "amd,axvcpu"),
    (false, "serde"),
    (false, "vmx,amd,axvcpu,axvisor,serde"),
];

/// Runs `cargo check` on the library at `manifest` with the tables in `dir`. Cargo prints the errors.
pub fn run(dir: &Path, manifest: Option<&Path>) -> Result<(), Failure> {
    let manifest = match manifest {
        Some(path) => path.canonicalize().map_err(|error| cannot(path, "read", &error))?,
        None => manifest_above(&env::current_dir()?).ok_or_else(|| {
            Failure::Usage(
                "--compile needs the sources of x86_vcpu: run it inside a checkout, or name its Cargo.toml with --manifest-path"
                    .to_owned(),
            )
        })?,
    };
    let root = manifest.parent().unwrap_or(Path::new("."));
    let spec = dir.canonicalize().map_err(|error| cannot(dir, "read", &error))?;
    let mut failed = 0;
    for (default, features) in FEATURES {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // From there, so that Cargo finds the configuration of the checkout.
        cargo.current_dir(root).args(["check", "--quiet", "--package", "x86_vcpu", "--lib", "--manifest-path"]);
        cargo.arg(&manifest).args(["--features", features]);
        if !default {
            cargo.arg("--no-default-features");
        }
        // The library's own tables need no variable, and without it what Cargo has built before is still good.
        if root.join("spec").canonicalize().is_ok_and(|own| own == spec) {
            cargo.env_remove("X86_VCPU_SPEC");
        } else {
            cargo.env("X86_VCPU_SPEC", &spec);
        }
        let status = cargo.status().map_err(|error| cannot(Path::new("cargo"), "run", &error))?;
        let set = match (default, features) {
            (true, _) => "default features",
            (false, "") => "no features",
            (false, features) => features,
        };
        failed += usize::from(!status.success());
        output::print(&format!("{set}: {}\n", if status.success() { "compiles" } else { "does not compile" }))?;
    }
    if failed == 0 { Ok(()) } else { Err(Failure::Mistakes) }
}

/// The manifest of the library in this directory or above it.
fn manifest_above(dir: &Path) -> Option<PathBuf> {
    let is_library = |path: &PathBuf| {
        fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.trim() == "name = \"x86_vcpu\""))
    };
    dir.ancestors().map(|dir| dir.join("Cargo.toml")).find(is_library)
}

fn cannot(path: &Path, what: &str, error: &io::Error) -> Failure {
    Failure::Io(io::Error::new(error.kind(), format!("cannot {what} {}: {error}", path.display())))
}
