//! A crate with tables of its own: what `X86_VCPU_SPEC` promises.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{copy, copy_tree};
use crate::command::Ended;
use crate::report::Outcome;
use crate::test::cargo::{explain, has_warnings, run};
use crate::test::{Check, Context};

/// The crate; the entries in its `tables/` are added to a copy of the library's tables.
const CRATE: &str = "tests/outside/custom";

/// The variable that names the directory of the tables.
const VARIABLE: &str = "X86_VCPU_SPEC";

pub fn checks() -> Vec<Check> {
    let check = |name, run: fn(&Custom) -> Result<()>| {
        Check::new(name, false, move |context| match Custom::new(context).and_then(|custom| run(&custom)) {
            Ok(()) => Outcome::Passed,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        })
    };
    vec![
        check("outside: one entry in a user's tables makes a typed field", entries),
        check("outside: a change of a user's tables builds again, nothing else does", changes),
        check("outside: a mistake in a user's tables is shown with its place", mistakes),
    ]
}

fn entries(custom: &Custom) -> Result<()> {
    custom.add("vmcs.toml")?;
    custom.builds(&[])?;
    custom.add("layout.toml")?;
    custom.builds(&["--features", "layout"])
}

fn changes(custom: &Custom) -> Result<()> {
    custom.add("vmcs.toml")?;
    custom.builds(&[])?;
    custom.is_fresh()?;
    // The crate refuses another number, which it only notices if the tables are read again.
    custom.replace("0x43fe", "0x43fa")?;
    custom.fails(&["EXAMPLE_CONTROL.encoding() == 0x43fe"])?;
    custom.replace("0x43fa", "0x43fe")?;
    custom.builds(&[])?;
    // As users may name the directory for good: Cargo makes the path absolute.
    fs::create_dir(custom.directory.join(".cargo"))?;
    let settings = format!("[env]\n{VARIABLE} = {{ value = \"spec\", relative = true }}\n");
    fs::write(custom.directory.join(".cargo/config.toml"), settings)?;
    let ended = custom.cargo(None, &["build"])?;
    ensure!(ended.success(), "with `[env]` in .cargo/config.toml:\n{}", ended.tail(40));
    custom.replace("0x43fe", "0x43fa")?;
    let ended = custom.cargo(None, &["build"])?;
    ensure!(!ended.success(), "with `[env]` in .cargo/config.toml a change is not noticed");
    Ok(())
}

fn mistakes(custom: &Custom) -> Result<()> {
    custom.add("vmcs.toml")?;
    custom.replace("0x43fe", "0x63fe")?;
    let file = custom.spec().join("intel/vmcs.toml");
    let text = fs::read_to_string(&file)?;
    let line = text.lines().position(|line| line.contains("0x63fe")).context("the entry is gone")? + 1;
    let place = format!("{}:{line}:12: error: encoding 0x63fe says width natural, not 32", file.display());
    custom.fails(&[&place, "    help: with that width it would be 0x43fe"])?;
    // What cannot be meant is said as well.
    let ended = custom.cargo(Some(Path::new("no/such/tables")), &["build"])?;
    ensure!(!ended.success() && ended.output.contains("help: give an absolute path"), "{}", ended.tail(40));
    // The library has a directory of this name, and so has the crate, which does not build with the library's.
    let ended = custom.cargo(Some(Path::new("spec")), &["build"])?;
    ensure!(!ended.success() && ended.output.contains("is relative: the tables are those in"), "{}", ended.tail(40));
    Ok(())
}

/// A copy of the crate, with a copy of the library's tables beside it.
struct Custom<'c> {
    context: &'c Context<'c>,
    directory: PathBuf,
}

impl<'c> Custom<'c> {
    fn new(context: &'c Context) -> Result<Self> {
        let custom = Custom { context, directory: copy(context.repo, CRATE)? };
        copy_tree(&context.repo.root.join("spec"), &custom.spec()).context("cannot copy the tables")?;
        Ok(custom)
    }

    fn spec(&self) -> PathBuf {
        self.directory.join("spec")
    }

    /// Adds entries to the tables of the VMCS.
    fn add(&self, entries: &str) -> Result<()> {
        let file = self.spec().join("intel/vmcs.toml");
        let text = fs::read_to_string(&file)? + &fs::read_to_string(self.directory.join("tables").join(entries))?;
        Ok(fs::write(file, text)?)
    }

    fn replace(&self, from: &str, to: &str) -> Result<()> {
        let file = self.spec().join("intel/vmcs.toml");
        let text = fs::read_to_string(&file)?;
        ensure!(text.matches(from).count() == 1, "{from} is not once in {}", file.display());
        Ok(fs::write(file, text.replace(from, to))?)
    }

    fn cargo(&self, spec: Option<&Path>, arguments: &[&str]) -> Result<Ended> {
        let repo = self.context.repo;
        let mut command = repo.cargo(".");
        command.current_dir(&self.directory).args(arguments).env_remove(VARIABLE);
        command.env("CARGO_TARGET_DIR", repo.target.join("outside")).envs(spec.map(|spec| (VARIABLE, spec)));
        let ended = run(self.context, "cargo build", &mut command).map_err(anyhow::Error::msg)?;
        ensure!(!ended.timed_out, "{}", explain(&command, &ended));
        Ok(ended)
    }

    fn builds(&self, features: &[&str]) -> Result<()> {
        let ended = self.cargo(Some(&self.spec()), &[&["build"], features].concat())?;
        ensure!(ended.success() && !has_warnings(&ended.output), "does not build cleanly:\n{}", ended.tail(80));
        Ok(())
    }

    fn fails(&self, saying: &[&str]) -> Result<()> {
        let ended = self.cargo(Some(&self.spec()), &["build"])?;
        ensure!(!ended.success(), "builds although it should not");
        for text in saying {
            ensure!(ended.output.contains(text), "does not say `{text}`:\n{}", ended.tail(80));
        }
        Ok(())
    }

    /// Nothing is built or run when nothing has changed.
    fn is_fresh(&self) -> Result<()> {
        let ended = self.cargo(Some(&self.spec()), &["build", "--verbose"])?;
        let busy = |line: &&str| matches!(line.split_whitespace().next(), Some("Dirty" | "Compiling" | "Running"));
        let busy: Vec<_> = ended.output.lines().filter(busy).collect();
        ensure!(ended.success() && busy.is_empty(), "built again without a change:\n{}", busy.join("\n"));
        Ok(())
    }
}

impl Drop for Custom<'_> {
    fn drop(&mut self) {
        // What is left behind in a temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
