//! `cargo xtask bench --cost`: what the library costs those who build it, in CPU seconds.

mod scratch;
pub mod wrapper;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cpu_time;
use crate::progress::Progress;
use crate::repo::Repo;
use scratch::Scratch;

/// Short programs run as often as this: CPU times come in hundredths of a second.
const RUNS: u32 = 20;

/// A line of the table.
struct Row {
    what: String,
    measured: Amount,
    most: Option<Amount>,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Amount {
    Seconds(f64),
    Bytes(u64),
    Count(u64),
}

impl Row {
    fn new(what: impl Into<String>, measured: Amount) -> Row {
        Row { what: what.into(), measured, most: None }
    }

    fn most(mut self, most: Amount) -> Row {
        self.most = Some(most);
        self
    }

    fn is_missed(&self) -> bool {
        self.most.is_some_and(|most| self.measured > most)
    }
}

/// Measures, prints the table, and writes it to `json` when that is given.
pub fn cost(repo: &Repo, json: Option<&Path>) -> Result<()> {
    let progress = Progress::default();
    let bar = progress.start("bench: what building costs");
    let rows = measure(repo, &mut |step| bar.set_message(step.to_owned()));
    bar.finish_and_clear();
    let rows = rows?;
    print!("{}", table(&rows));
    if let Some(path) = json {
        let list: Vec<_> = rows.iter().map(as_json).collect();
        let text = serde_json::to_string_pretty(&list)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn measure(repo: &Repo, step: &mut dyn FnMut(&str)) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let scratch = Scratch::create(repo)?;

    step("a clean build of the build dependencies");
    let crates = scratch.build()?;
    let all = crates.iter().filter(|(name, _)| name != scratch::NAME).map(|(_, time)| *time).sum();
    rows.push(Row::new("build dependencies, clean build", seconds(all)).most(Amount::Seconds(11.0)));
    for (name, time) in crates.iter().filter(|(name, _)| name != scratch::NAME) {
        rows.push(Row::new(format!("  {name}"), seconds(*time)));
    }

    step("the build script");
    let script = average(|| scratch.run_script())?;
    rows.push(Row::new("build script: load, lint, emit, write", seconds(script)).most(Amount::Seconds(0.03)));

    step("a check of the generated code");
    rows.push(
        Row::new("type-check of the generated code", seconds(scratch.check_generated()?)).most(Amount::Seconds(0.3)),
    );
    rows.push(Row::new("generated code, source", Amount::Bytes(scratch.source_size()?)));
    rows.push(Row::new("generated code, rlib of a release build", Amount::Bytes(scratch.rlib_size()?)));

    step("the library again, nothing changed");
    let (nothing, scripts) = scratch.again(None)?;
    rows.push(Row::new("cargo check again, nothing changed", seconds(nothing)));
    rows.push(Row::new("  programs run by it", Amount::Count(scripts)).most(Amount::Count(0)));
    step("the library again, one table changed");
    let (one, _) = scratch.again(Some("intel/vmcs.toml"))?;
    rows.push(Row::new("cargo check again, one table changed", seconds(one)));

    step("cargo spec");
    let command = spec_command(repo)?;
    let check = average(|| run(Command::new(&command).arg("check").current_dir(&repo.root)))?;
    rows.push(Row::new("cargo spec check", seconds(check)));
    let out = repo.scratch("cost/generated")?;
    let generate =
        average(|| run(Command::new(&command).args(["generate", "--out"]).arg(&out).current_dir(&repo.root)))?;
    rows.push(Row::new("cargo spec generate", seconds(generate)));
    Ok(rows)
}

/// Builds the command behind `cargo spec`, as that alias does, and gives its path.
fn spec_command(repo: &Repo) -> Result<std::path::PathBuf> {
    let mut build = repo.cargo(".");
    build.args(["build", "--quiet", "--package", "x86_vcpu_codegen", "--features", "cli", "--bin", "x86-vcpu-spec"]);
    run(&mut build)?;
    Ok(repo.target.join("debug/x86-vcpu-spec"))
}

fn average(mut one: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for _ in 0..RUNS {
        sum += one()?;
    }
    Ok(sum / RUNS)
}

/// Runs what has to succeed, and gives its CPU time.
fn run(command: &mut Command) -> Result<Duration> {
    let (ended, time) = cpu_time::run(command)?;
    if !ended.success() {
        bail!("{command:?} failed:\n{}", ended.tail(20));
    }
    Ok(time)
}

fn seconds(time: Duration) -> Amount {
    Amount::Seconds(time.as_secs_f64())
}

fn shown(amount: Amount) -> String {
    match amount {
        Amount::Seconds(seconds) => format!("{seconds:.2} s"),
        Amount::Bytes(bytes) => format!("{} KiB", bytes.div_ceil(1024)),
        Amount::Count(count) => count.to_string(),
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("{:<44}{:>11}  {:>9}\n", "what building costs, in CPU time", "measured", "at most");
    for row in rows {
        let (measured, most) = (shown(row.measured), row.most.map_or_else(|| "-".into(), shown));
        let mark = if row.is_missed() { '!' } else { ' ' };
        text.push_str(&format!("{:<44}{measured:>11}{mark} {most:>9}\n", row.what));
    }
    text
}

fn as_json(row: &Row) -> Value {
    let number = |amount| match amount {
        Amount::Seconds(seconds) => json!(seconds),
        Amount::Bytes(number) | Amount::Count(number) => json!(number),
    };
    let unit = match row.measured {
        Amount::Seconds(_) => "cpu_seconds",
        Amount::Bytes(_) => "bytes",
        Amount::Count(_) => "count",
    };
    json!({ "what": row.what.trim(), "unit": unit, "measured": number(row.measured), "at_most": row.most.map(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_that_is_missed_is_marked() {
        let rows = [
            Row::new("a", Amount::Seconds(0.5)).most(Amount::Seconds(0.25)),
            Row::new("b", Amount::Bytes(1025)),
            Row::new("c", Amount::Count(0)).most(Amount::Count(0)),
        ];
        let text = table(&rows);
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        assert!(lines[1].ends_with("0.50 s!    0.25 s"), "{}", lines[1]);
        assert!(lines[2].ends_with("2 KiB          -"), "{}", lines[2]);
        assert!(lines[3].ends_with("0          0"), "{}", lines[3]);
        assert_eq!(as_json(&rows[0])["at_most"], 0.25);
    }
}
