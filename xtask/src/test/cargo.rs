//! Checks that are one cargo command.

use std::process::Command;
use std::time::Duration;

use super::Context;
use crate::command::{self, Ended};
use crate::report::{Outcome, counted};

/// Longer than any cargo command here takes on two cores.
const LIMIT: Duration = Duration::from_secs(1800);

/// Runs a command that must succeed.
pub fn succeeds(context: &Context, name: &str, command: &mut Command) -> Outcome {
    match run(context, name, command) {
        Ok(ended) if ended.success() => Outcome::Passed,
        Ok(ended) => Outcome::Failed(explain(command, &ended)),
        Err(error) => Outcome::Failed(error),
    }
}

/// Runs a build that must succeed and say nothing. Cargo repeats the warnings of a build that is up to date.
pub fn succeeds_without_warnings(context: &Context, name: &str, command: &mut Command) -> Outcome {
    match run(context, name, command) {
        Ok(ended) if !ended.success() => Outcome::Failed(explain(command, &ended)),
        Ok(ended) if has_warnings(&ended.output) => {
            Outcome::Failed(format!("there are warnings\n{}", explain(command, &ended)))
        }
        Ok(_) => Outcome::Passed,
        Err(error) => Outcome::Failed(error),
    }
}

/// Runs tests and counts them one by one.
pub fn tests(context: &Context, name: &str, command: &mut Command) -> Outcome {
    match run(context, name, command) {
        Err(error) => Outcome::Failed(error),
        Ok(ended) => match counted(&ended.output) {
            // A failure that no test reports: something does not build, or a test program crashed.
            Some((passed, 0, skipped)) if !ended.success() => {
                Outcome::Counted { passed, failed: 1, skipped, detail: explain(command, &ended) }
            }
            Some((passed, failed, skipped)) => {
                Outcome::Counted { passed, failed, skipped, detail: explain(command, &ended) }
            }
            None if ended.success() => Outcome::Passed,
            None => Outcome::Failed(explain(command, &ended)),
        },
    }
}

/// Runs a command, however it ends.
pub fn run(context: &Context, name: &str, command: &mut Command) -> Result<Ended, String> {
    command.envs([("CARGO_TERM_COLOR", "never"), ("NO_COLOR", "1"), ("RUST_BACKTRACE", "0")]);
    let bar = context.progress.start(name);
    let ended = command::run(command, LIMIT, &mut |line| bar.set_message(line.trim().to_owned()));
    bar.finish_and_clear();
    ended.map_err(|error| format!("{error:#}"))
}

/// What was run, and the end of what it said.
pub fn explain(command: &Command, ended: &Ended) -> String {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let directory = command.get_current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    let limit = if ended.timed_out { "\n(stopped: the time limit was reached)" } else { "" };
    format!("cargo {} (in {directory})\n{}{limit}", words.join(" "), ended.tail(80))
}

pub fn has_warnings(output: &str) -> bool {
    output.lines().any(|line| line.starts_with("warning"))
}

#[cfg(test)]
mod tests {
    use super::has_warnings;

    #[test]
    fn warnings_are_seen() {
        assert!(has_warnings("   Compiling a\nwarning: unused variable\n"));
        assert!(has_warnings("warning[E0001]: x"));
        assert!(!has_warnings("   Compiling warning v1.0.0\n    Finished\n"));
    }
}
