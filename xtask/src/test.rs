//! `cargo xtask test`: everything that CI runs, each check with its time, and one closing line for scripts.

mod atlas;
mod audit;
mod cargo;
mod guest;
mod handover;
mod host;
mod machine;
mod moves;
mod numbers;
mod outside;
mod packages;
mod panic_free;
mod run;

use std::time::Instant;

use anyhow::Result;

use crate::progress::Progress;
use crate::repo::Repo;
use crate::report::{Outcome, Report};
use crate::toolchain;

/// The arguments.
pub struct Wanted {
    pub quick: bool,
    pub list: bool,
    pub filter: Option<String>,
}

impl Wanted {
    fn takes(&self, name: &str, quick: bool) -> bool {
        (quick || !self.quick) && self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()))
    }
}

/// What checks work with.
struct Context<'a> {
    repo: &'a Repo,
    progress: Progress,
}

/// One check that runs alone.
struct Check {
    name: String,
    /// Part of `--quick`.
    quick: bool,
    run: Box<dyn FnOnce(&Context) -> Outcome>,
}

impl Check {
    fn new(name: impl Into<String>, quick: bool, run: impl FnOnce(&Context) -> Outcome + 'static) -> Check {
        Check { name: name.into(), quick, run: Box::new(run) }
    }
}

pub fn test(repo: &Repo, wanted: &Wanted) -> Result<bool> {
    let context = Context { repo, progress: Progress::default() };
    let mut report = Report::new(context.progress.clone());
    let mut checks = host::checks();
    checks.extend(outside::checks());
    checks.extend(packages::checks());
    checks.extend(run::checks());
    checks.extend(panic_free::checks());
    checks.extend(atlas::checks());
    checks.extend(audit::checks());
    checks.extend(handover::checks());
    checks.extend(moves::checks());
    checks.retain(|check| wanted.takes(&check.name, check.quick));
    let machine = machine::Plan::new(repo, wanted)?;
    if wanted.list {
        checks.iter().for_each(|check| println!("{}", check.name));
        machine.names().iter().for_each(|name| println!("{name}"));
        return Ok(true);
    }
    context.progress.say(&format!("compiler: {}", toolchain::check()?));
    let started = Instant::now();
    for check in checks {
        let begun = Instant::now();
        let outcome = (check.run)(&context);
        report.add(&check.name, outcome, begun.elapsed());
    }
    machine.run(&context, &mut report);
    context.progress.say(&format!("in {:.0} s", started.elapsed().as_secs_f32()));
    report.close();
    Ok(!report.has_failed())
}
