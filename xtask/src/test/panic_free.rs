//! Nothing that a guest does makes the library panic, shown on the object code.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::cargo::{explain, run};
use super::{Check, Context};
use crate::panic_free::{Allowed, Code, Reached, search};
use crate::report::Outcome;

/// The crate that calls whatever a VMM calls while a guest runs.
const CRATE: &str = "tests/outside/panic_free";

/// The panics that no guest reaches, with the reasons.
const LIST: &str = "tests/panic_free.toml";

/// What the search must come across, or it has looked at the wrong code: both vendors' run loops, walks of page tables, and
/// the embedder's function that the seeded panic is in.
const LANDMARKS: [&str; 4] = ["x86_vcpu::vmx::", "x86_vcpu::svm::", "x86_vcpu::guest::walk::", "phys_to_virt"];

pub fn checks() -> Vec<Check> {
    let check = |name, run: fn(&Context) -> Result<()>| {
        Check::new(name, false, move |context| match run(context) {
            Ok(()) => Outcome::Passed,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        })
    };
    vec![
        check("panic-free: no panic that a guest can reach", the_library),
        check("panic-free: nor one with statistics", with_statistics),
        check("panic-free: nor one with statistics and a trace", with_trace),
        check("panic-free: a panic that a guest can reach is found", seeded),
        check("panic-free: an entry that nothing needs is found", obsolete),
    ]
}

fn the_library(context: &Context) -> Result<()> {
    let said = list(context)?.compare(&reached(context, &[])?.found);
    ensure!(said.is_empty(), "{LIST} and the object code differ:\n{said}");
    Ok(())
}

fn with_statistics(context: &Context) -> Result<()> {
    let said = list(context)?.compare(&reached(context, &["--features", "statistics"])?.found);
    ensure!(said.is_empty(), "{LIST} and the object code with statistics differ:\n{said}");
    Ok(())
}

fn with_trace(context: &Context) -> Result<()> {
    let said = list(context)?.compare(&reached(context, &["--features", "statistics,trace"])?.found);
    ensure!(said.is_empty(), "{LIST} and the object code with a trace differ:\n{said}");
    Ok(())
}

fn seeded(context: &Context) -> Result<()> {
    let said = list(context)?.compare(&reached(context, &["--features", "seeded"])?.found);
    ensure!(said.contains("core::option::unwrap_failed") && said.contains("root_"), "it is not found:\n{said}");
    Ok(())
}

fn obsolete(context: &Context) -> Result<()> {
    let entry = "[[allowed]]\nfunction = \"x86_vcpu::*\"\npanics = \"core::panicking::no_such_panic\"\nwhy = \"there is no such panic in any function\"\n";
    let said = Allowed::read(entry)?.compare(&reached(context, &[])?.found);
    ensure!(said.contains("no longer needed: x86_vcpu::* with"), "it is not found:\n{said}");
    Ok(())
}

fn list(context: &Context) -> Result<Allowed> {
    let text = fs::read_to_string(context.repo.root.join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    Allowed::read(&text).with_context(|| format!("in {LIST}"))
}

fn reached(context: &Context, arguments: &[&str]) -> Result<Reached> {
    let target = context.repo.target.join("panic-free");
    let mut command = context.repo.cargo(CRATE);
    command.args(["build", "--release", "--locked"]).args(arguments).env("CARGO_TARGET_DIR", &target);
    let ended = run(context, "cargo build", &mut command).map_err(anyhow::Error::msg)?;
    ensure!(ended.success(), "{}", explain(&command, &ended));
    let archive = target.join("release/libpanic_free.a");
    let archive = fs::read(&archive).with_context(|| format!("cannot read {}", archive.display()))?;
    let reached = search(&Code::read(&archive)?);
    for landmark in LANDMARKS {
        ensure!(reached.names.iter().any(|name| name.contains(landmark)), "nothing of `{landmark}` is reached");
    }
    Ok(reached)
}
