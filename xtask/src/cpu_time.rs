//! CPU time of programs, which other work on the machine changes less than the clock on the wall.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::{self, Ended};

/// What a second has of the units in `/proc`: Linux tells every program so, whatever the kernel counts in.
const TICKS: u32 = 100;

/// The CPU time, in user and in system mode, of every program that we started and that has ended, and of those that
/// they started. None where there is no `/proc`.
pub fn of_children() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    parse(&stat)
}

/// The name is in parentheses and may hold anything; cutime and cstime are the 14th and 15th word after it.
fn parse(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_whitespace().skip(13).map(str::parse::<u32>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(Duration::from_secs(1) * (user + system) / TICKS)
}

/// Runs `command` and gives how it ended, and the CPU time that it took.
pub fn run(command: &mut Command) -> Result<(Ended, Duration)> {
    let before = of_children().context("there is no /proc to read CPU times from")?;
    let ended = command::run(command, Duration::from_secs(1800), &mut |_| {})?;
    let after = of_children().context("there is no /proc to read CPU times from")?;
    Ok((ended, after.saturating_sub(before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_are_skipped() {
        let stat = "7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 150 25 20 0";
        assert_eq!(parse(stat), Some(Duration::from_millis(1750)));
        assert_eq!(parse("7 (a) S 1"), None);
    }

    #[test]
    fn work_is_counted() {
        let Some(_) = of_children() else { return };
        let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done";
        let (ended, time) = run(Command::new("sh").args(["-c", busy])).expect("sh runs");
        assert!(ended.success() && time > Duration::ZERO);
    }
}
