//! Crates that depend on this one from outside: what a downstream user sees, and what axvm sees.

mod custom;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::cargo::succeeds_without_warnings;
use super::{Check, Context};
use crate::repo::Repo;
use crate::report::Outcome;
use crate::size;

/// The features for which stable compilers are told to build: the README tells users the same.
pub(super) const BOOTSTRAP: &str = "axaddrspace";

pub fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::new("outside: the core, on stable, with nothing set", false, |context| {
            outside(context, "tests/outside/core", &[], "build")
        }),
        Check::new("outside: the default features, as the README says", false, |context| {
            outside(context, "tests/outside/default", &[("RUSTC_BOOTSTRAP", BOOTSTRAP)], "build")
        }),
        Check::new("compat: axvm 0.3 type-checks", false, |context| {
            compat(context, &["check", "--package", "check-axvm"])
        }),
        Check::new("compat: an image with axvm and axvisor links", false, |context| {
            match compat(context, &["build", "--release", "--package", "link-axvm"]) {
                Outcome::Passed => holds_the_library(&context.repo.target.join("compat/release/link-axvm")),
                other => other,
            }
        }),
    ];
    checks.extend(custom::checks());
    checks
}

/// Builds a crate in a copy outside this repository, where none of its settings apply.
fn outside(context: &Context, crate_directory: &str, variables: &[(&str, &str)], subcommand: &str) -> Outcome {
    let copy = match copy(context.repo, crate_directory) {
        Ok(copy) => copy,
        Err(error) => return Outcome::Failed(format!("{error:#}")),
    };
    let mut command = context.repo.cargo(".");
    command.current_dir(&copy).arg(subcommand).envs(variables.iter().copied());
    command.env("CARGO_TARGET_DIR", context.repo.target.join("outside"));
    let outcome = succeeds_without_warnings(context, "cargo build", &mut command);
    // What is left behind in a temporary directory harms nobody.
    let _ = fs::remove_dir_all(&copy);
    outcome
}

/// A copy of a crate, and where it is.
fn copy(repo: &Repo, crate_directory: &str) -> Result<PathBuf> {
    let from = repo.root.join(crate_directory);
    let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let to = std::env::temp_dir().join(format!("x86_vcpu-outside-{name}-{}", std::process::id()));
    copy_tree(&from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    let manifest = to.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(&manifest, with_absolute_path(&text, &repo.root))?;
    Ok(to)
}

pub(super) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_name() == "target" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The manifests say `../../..`, which is the repository's root only where they are.
fn with_absolute_path(manifest: &str, root: &Path) -> String {
    manifest.replace("\"../../..\"", &toml::Value::from(root.display().to_string()).to_string())
}

/// A cargo command in `compat/`, which has its own settings file.
fn compat(context: &Context, arguments: &[&str]) -> Outcome {
    let mut command = context.repo.cargo("compat");
    command.args(arguments).env("CARGO_TARGET_DIR", context.repo.target.join("compat"));
    succeeds_without_warnings(context, "cargo", &mut command)
}

/// The linker drops what nothing reaches, and then misses nothing: the image must hold the library.
fn holds_the_library(image: &Path) -> Outcome {
    match size::library(image) {
        Ok(size) if size.functions > 0 => Outcome::Passed,
        Ok(_) => Outcome::Failed(format!("{} holds nothing of the library", image.display())),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::with_absolute_path;

    #[test]
    fn the_copy_points_back() {
        let manifest = "x86_vcpu = { path = \"../../..\", default-features = false }";
        assert_eq!(
            with_absolute_path(manifest, Path::new("/r")),
            "x86_vcpu = { path = \"/r\", default-features = false }"
        );
    }
}
