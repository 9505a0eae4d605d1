//! What users get who have no checkout: the packages, and the command.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::cargo::{explain, run};
use super::outside::{BOOTSTRAP, copy_tree};
use super::{Check, Context};
use crate::report::Outcome;

/// The packages with their manifests.
const PACKAGES: [(&str, &str); 2] = [("x86_vcpu_codegen", "codegen/Cargo.toml"), ("x86_vcpu", "Cargo.toml")];

pub fn checks() -> Vec<Check> {
    let check = |name, run: fn(&Context, &Scratch) -> Result<()>| {
        Check::new(name, false, move |context| match Scratch::new().and_then(|scratch| run(context, &scratch)) {
            Ok(()) => Outcome::Passed,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        })
    };
    vec![
        check("packages: cargo package, and both build outside the repository", build_outside),
        check("packages: the command installs and runs outside the repository", install),
    ]
}

/// Unpacks what would be published, and uses it.
///
/// This is also what Cargo's own verification does, which takes a generator of the same version that it has built before
/// for the one at hand.
fn build_outside(context: &Context, scratch: &Scratch) -> Result<()> {
    let mut command = context.repo.cargo(".");
    command.args(["package", "--no-verify", "--allow-dirty"]);
    command.args(PACKAGES.iter().flat_map(|(package, _)| ["--package", *package]));
    must(context, "cargo package", &mut command)?;
    let mut directories = Vec::new();
    for (package, manifest) in PACKAGES {
        let name = full_name(context, package, manifest)?;
        let mut command = Command::new("tar");
        command.arg("-xzf").arg(context.repo.target.join(format!("package/{name}.crate"))).arg("-C").arg(&scratch.0);
        must(context, "tar", &mut command)?;
        directories.push(scratch.0.join(name));
    }
    let [codegen, library] = &directories[..] else { unreachable!("two packages") };
    // The one takes the other from here, not from a registry.
    let patch = toml::Value::from(codegen.display().to_string());
    fs::create_dir(scratch.0.join(".cargo"))?;
    let settings = format!("[patch.crates-io]\nx86_vcpu_codegen.path = {patch}\n");
    fs::write(scratch.0.join(".cargo/config.toml"), settings)?;
    // The adapter to ArceOS needs what the README tells users to set.
    for (features, bootstrap) in
        [(&["--no-default-features", "--features", "vmx,amd"][..], None), (&["--features", "amd"], Some(BOOTSTRAP))]
    {
        let mut command = context.repo.cargo(".");
        command.current_dir(library).arg("build").args(features).envs(bootstrap.map(|list| ("RUSTC_BOOTSTRAP", list)));
        must(context, "cargo build", &mut command)?;
    }
    let mut command = context.repo.cargo(".");
    command.current_dir(codegen).args(["run", "--quiet", "--", "check", "--spec"]);
    must(context, "cargo run", command.arg(library.join("spec")))?;
    // Without its default features it is what build scripts use.
    let mut command = context.repo.cargo(".");
    command.current_dir(codegen).args(["build", "--no-default-features"]);
    must(context, "cargo build", &mut command).map(drop)
}

/// The name of a package with its version, as Cargo names its file.
fn full_name(context: &Context, package: &str, manifest: &str) -> Result<String> {
    let text = fs::read_to_string(context.repo.root.join(manifest))?;
    let manifest: toml::Table = toml::from_str(&text)?;
    let version = manifest.get("package").and_then(|package| package.get("version")).and_then(toml::Value::as_str);
    Ok(format!("{package}-{}", version.with_context(|| format!("{package} has no version"))?))
}

/// `cargo install` as users do it, but for the profile, so that what the tests have built is used again.
fn install(context: &Context, scratch: &Scratch) -> Result<()> {
    let mut command = context.repo.cargo(".");
    command.args(["install", "--path", "codegen", "--locked", "--debug", "--no-track", "--root"]).arg(&scratch.0);
    must(context, "cargo install", &mut command)?;
    let tables = scratch.0.join("tables");
    copy_tree(&context.repo.root.join("spec"), &tables).context("cannot copy the tables")?;
    let said = |arguments: &[&str]| -> Result<String> {
        let mut command = Command::new(scratch.0.join("bin/x86-vcpu-spec"));
        command.current_dir(&scratch.0).args(arguments).args(["--spec", "tables"]);
        must(context, "x86-vcpu-spec", &mut command)
    };
    ensure!(said(&["check"])?.contains("no mistakes"), "`check` does not say that there are no mistakes");
    ensure!(said(&["export", "--format", "csv", "--table", "vmx_exits"])?.contains("\nCPUID,"), "`export` lacks CPUID");
    ensure!(said(&["diff", "tables", "--exit-code"])?.contains("API: none"), "`diff` finds what is not there");
    said(&["generate", "--out", "generated"])?;
    ensure!(scratch.0.join("generated/intel/vmcs.rs").is_file(), "`generate` writes nothing");
    Ok(())
}

/// What a command that must succeed says.
fn must(context: &Context, name: &str, command: &mut Command) -> Result<String> {
    let ended = run(context, name, command).map_err(anyhow::Error::msg)?;
    ensure!(ended.success(), "{}", explain(command, &ended));
    Ok(ended.output)
}

/// A directory outside the repository that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch> {
        let path = std::env::temp_dir().join(format!("x86_vcpu-packages-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind in a temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
