//! What each crate costs: xtask stands between cargo and the compiler as `RUSTC_WRAPPER`, and writes down the CPU time.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cpu_time;

/// The variable that makes xtask such a wrapper: the file to write to.
pub const LOG: &str = "X86_VCPU_COST_LOG";

/// Runs the compiler if we are its wrapper.
pub fn run_if_asked() -> Option<ExitCode> {
    let log = env::var_os(LOG)?;
    let mut arguments = env::args_os().skip(1);
    // Inherited streams: cargo reads messages from them.
    let status = Command::new(arguments.next()?).args(arguments).status();
    let name = env::var("CARGO_PKG_NAME").unwrap_or_default();
    let time = cpu_time::of_children().unwrap_or_default();
    if !name.is_empty()
        && let Ok(mut file) = OpenOptions::new().create(true).append(true).open(log)
    {
        // A line that is lost makes a number too small, no more.
        let _ = file.write_all(format!("{name} {}\n", time.as_millis()).as_bytes());
    }
    let code = status.ok().and_then(|status| status.code());
    Some(code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The CPU time of each package, build scripts' compilation with it, in the order of the costs.
pub fn read(log: &Path) -> Result<Vec<(String, Duration)>> {
    let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<(String, Duration)> {
    let mut crates: Vec<(String, Duration)> = Vec::new();
    for line in text.lines() {
        let Some((name, milliseconds)) = line.split_once(' ') else { continue };
        let time = Duration::from_millis(milliseconds.parse().unwrap_or(0));
        match crates.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += time,
            None => crates.push((name.to_owned(), time)),
        }
    }
    crates.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    crates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_and_its_build_script_are_one() {
        let crates = parse("quote 100\ntoml 700\nquote 50\n\n");
        let of = |name: &str, time| (name.to_owned(), Duration::from_millis(time));
        assert_eq!(crates, [of("toml", 700), of("quote", 150)]);
    }
}
