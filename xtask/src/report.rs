//! What was checked, and how it went.

use std::fmt::Write as _;
use std::time::Duration;

use crate::progress::Progress;

/// How one check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// With what a reader needs to find the cause.
    Failed(String),
    /// With the reason.
    Skipped(String),
    /// A program that counts its own checks, such as `cargo test`.
    Counted {
        passed: usize,
        failed: usize,
        skipped: usize,
        detail: String,
    },
}

/// The checks so far.
pub struct Report {
    progress: Progress,
    passed: usize,
    failed: usize,
    skipped: usize,
    failures: Vec<(String, String)>,
}

impl Report {
    pub fn new(progress: Progress) -> Report {
        Report { progress, passed: 0, failed: 0, skipped: 0, failures: Vec::new() }
    }

    /// Counts a check and prints its line.
    pub fn add(&mut self, name: &str, outcome: Outcome, time: Duration) {
        let mut line = format!("{:7} {name}", word(&outcome));
        match &outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(detail) => {
                self.failed += 1;
                self.failures.push((name.into(), detail.clone()));
            }
            Outcome::Skipped(reason) => {
                self.skipped += 1;
                let _ = write!(line, ": {reason}");
            }
            Outcome::Counted { passed, failed, skipped, detail } => {
                self.passed += passed;
                self.failed += failed;
                self.skipped += skipped;
                let _ = write!(line, ": {passed} passed, {failed} failed, {skipped} skipped");
                if *failed > 0 {
                    self.failures.push((name.into(), detail.clone()));
                }
            }
        }
        let _ = write!(line, "  ({:.1} s)", time.as_secs_f32());
        self.progress.say(&line);
    }

    /// True when something failed.
    pub fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// The closing line, which scripts read.
    pub fn closing(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }

    /// What failed, in full, then the closing line.
    pub fn close(&self) {
        for (name, detail) in &self.failures {
            self.progress.say(&format!("\n---- {name}\n{}", detail.trim_end()));
        }
        self.progress.say(&format!("\n{}", self.closing()));
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed | Outcome::Counted { failed: 0, .. } => "ok",
        Outcome::Failed(_) | Outcome::Counted { .. } => "FAILED",
        Outcome::Skipped(_) => "skipped",
    }
}

/// What `cargo test` counted: the sum over its `test result:` lines, none when there is not one.
pub fn counted(output: &str) -> Option<(usize, usize, usize)> {
    let mut sum = None;
    for line in output.lines().filter(|line| line.starts_with("test result:")) {
        let number = |word: &str| -> usize {
            let before = line.split(word).next().unwrap_or_default();
            before.split_whitespace().last().and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        let (passed, failed, skipped) = sum.unwrap_or((0, 0, 0));
        sum = Some((passed + number(" passed"), failed + number(" failed"), skipped + number(" ignored")));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_test_is_summed() {
        let output = "running 3 tests\ntest a ... ok\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s\n";
        assert_eq!(counted(output), Some((7, 1, 1)));
        assert_eq!(counted("error: could not compile"), None);
    }

    #[test]
    fn everything_is_counted() {
        let mut report = Report::new(Progress::default());
        report.add("a", Outcome::Passed, Duration::ZERO);
        report.add("b", Outcome::Skipped("no emulator".into()), Duration::ZERO);
        assert!(!report.has_failed());
        report.add("c", Outcome::Counted { passed: 4, failed: 1, skipped: 2, detail: String::new() }, Duration::ZERO);
        assert!(report.has_failed());
        assert_eq!(report.closing(), "5 passed, 1 failed, 3 skipped");
    }
}
