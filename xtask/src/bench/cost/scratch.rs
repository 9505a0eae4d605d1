//! A package with nothing but the generated code and what it builds on, built as a user's cargo builds it: in the default
//! profile, the build script and its dependencies unoptimised.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{run, wrapper};
use crate::repo::Repo;

/// The name of the package.
pub const NAME: &str = "generated-alone";
/// The shortest of so many is what a check of the generated code takes.
const CHECKS: u32 = 5;

pub struct Scratch<'r> {
    repo: &'r Repo,
    directory: PathBuf,
}

impl<'r> Scratch<'r> {
    /// Writes the package; what an earlier one was built to is removed.
    pub fn create(repo: &'r Repo) -> Result<Scratch<'r>> {
        let directory = repo.scratch("cost/package")?;
        let target = directory.join("target");
        if target.exists() {
            fs::remove_dir_all(&target).with_context(|| format!("cannot remove {}", target.display()))?;
        }
        fs::create_dir_all(directory.join("src"))?;
        let root = repo.root.display();
        fs::write(directory.join("Cargo.toml"), manifest(&root.to_string()))?;
        fs::write(directory.join("build.rs"), fs::read(repo.root.join("build.rs"))?)?;
        fs::write(
            directory.join("src/lib.rs"),
            format!(
                "#![no_std]\n#[path = {:?}]\npub mod spec;\n#[path = {:?}]\npub mod entry;\n",
                repo.root.join("src/spec/mod.rs"),
                repo.root.join("src/entry/mod.rs")
            ),
        )?;
        // The versions that the repository is tested with.
        fs::copy(repo.root.join("Cargo.lock"), directory.join("Cargo.lock"))?;
        copy_tables(&repo.root.join("spec"), &directory.join("spec"))?;
        Ok(Scratch { repo, directory })
    }

    /// Builds everything, and says what each package took.
    pub fn build(&self) -> Result<Vec<(String, Duration)>> {
        self.compile(&["check"])?;
        let crates = wrapper::read(&self.log())?;
        Ok(crates.into_iter().filter(|(name, _)| name != "bitflags").collect())
    }

    /// One run of the build script.
    pub fn run_script(&self) -> Result<Duration> {
        let script = find(&self.directory.join("target/debug/build"), "build-script-build")?;
        let out = self.directory.join("target/out");
        fs::create_dir_all(&out)?;
        run(Command::new(script).env("OUT_DIR", out).current_dir(&self.directory))
    }

    /// What the compiler takes to check the generated code and the types that it builds on.
    pub fn check_generated(&self) -> Result<Duration> {
        let mut least = None;
        for _ in 0..CHECKS {
            let main = self.directory.join("src/lib.rs");
            fs::write(&main, fs::read(&main)?)?;
            self.compile(&["check"])?;
            let own = wrapper::read(&self.log())?.into_iter().find(|(name, _)| name == NAME);
            let (_, time) = own.context("cargo did not check the package again")?;
            least = Some(least.map_or(time, |least: Duration| least.min(time)));
        }
        least.context("nothing was measured")
    }

    /// The bytes of the generated files.
    pub fn source_size(&self) -> Result<u64> {
        let mut size = 0;
        for path in files(&self.directory.join("target/out/spec"))? {
            size += fs::metadata(path)?.len();
        }
        Ok(size)
    }

    /// The bytes of the library that a release build makes of it.
    pub fn rlib_size(&self) -> Result<u64> {
        self.compile(&["build", "--release"])?;
        let path = self.directory.join("target/release/libgenerated_alone.rlib");
        Ok(fs::metadata(path)?.len())
    }

    /// What cargo takes when everything is built but for a table that changed, and how many programs it runs.
    pub fn again(&self, table: Option<&str>) -> Result<(Duration, u64)> {
        run(&mut self.cargo("check"))?;
        if let Some(table) = table {
            let path = self.directory.join("spec").join(table);
            let text = fs::read_to_string(&path)? + "\n# Changed.\n";
            fs::write(path, text)?;
        }
        let mut command = self.cargo("check");
        command.arg("--verbose");
        let (ended, time) = crate::cpu_time::run(&mut command)?;
        if !ended.success() {
            bail!("cargo check failed:\n{}", ended.tail(20));
        }
        let ran = ended.output.lines().filter(|line| line.trim_start().starts_with("Running `")).count();
        Ok((time, ran as u64))
    }

    fn log(&self) -> PathBuf {
        self.directory.join("cost.log")
    }

    fn cargo(&self, command: &str) -> Command {
        let mut cargo = self.repo.cargo(".");
        cargo.current_dir(&self.directory).env("CARGO_TARGET_DIR", self.directory.join("target"));
        for other in ["RUSTC_WRAPPER", "RUSTFLAGS", "X86_VCPU_SPEC"] {
            cargo.env_remove(other);
        }
        cargo.arg(command);
        cargo
    }

    /// Runs cargo with us as the compiler's wrapper. Not incrementally: a package from a registry is not built so either.
    fn compile(&self, arguments: &[&str]) -> Result<()> {
        let _ = fs::remove_file(self.log());
        let mut cargo = self.cargo(arguments[0]);
        cargo.args(&arguments[1..]).env("CARGO_INCREMENTAL", "0");
        cargo.env("RUSTC_WRAPPER", std::env::current_exe()?).env(wrapper::LOG, self.log());
        run(&mut cargo).map(drop)
    }
}

fn manifest(root: &str) -> String {
    format!(
        "[package]\nname = {NAME:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[features]\nserde = []\n\n[dependencies]\n\
         bitflags = \"2\"\n\n[build-dependencies]\nx86_vcpu_codegen = {{ path = \"{root}/codegen\", default-features = false }}\n\n[workspace]\n"
    )
}

fn copy_tables(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    for path in files(from)? {
        let copy = to.join(path.strip_prefix(from)?);
        fs::create_dir_all(copy.parent().unwrap_or(to))?;
        fs::copy(&path, copy)?;
    }
    Ok(())
}

/// Every file under a directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() { all.extend(files(&path)?) } else { all.push(path) }
    }
    Ok(all)
}

/// The build script of the package, in cargo's directory of them.
fn find(directory: &Path, name: &str) -> Result<PathBuf> {
    let own = files(directory)?.into_iter().find(|path| {
        let parent = path.parent().and_then(Path::file_name).and_then(|parent| parent.to_str()).unwrap_or_default();
        path.file_name().is_some_and(|file| file == name) && parent.starts_with(NAME)
    });
    own.context("cargo built no build script")
}
