//! The smoke test of the bench: a row for every exit, and numbers in it.

use serde_json::Value;

use crate::bench::{COUNTS, EXITS, rows};
use crate::log::Log;
use crate::machines::Machine;
use crate::report::Outcome;

/// Every kind of round trip must have been measured, in both builds. How low the numbers are is for `bench` to show.
pub fn judge(machine: &Machine, plain: &Log, counting: &Log) -> Outcome {
    let rows = rows::rows(machine, plain, counting);
    let mut problems = Vec::new();
    for exit in EXITS {
        let Some(row) = rows.iter().find(|row| row.get("exit").and_then(Value::as_str) == Some(exit)) else {
            problems.push(format!("no row for {exit}"));
            continue;
        };
        for column in COUNTS.iter().chain(&["instructions"]) {
            if !row.get(*column).is_some_and(Value::is_number) {
                problems.push(format!("{exit}: no number of {column}"));
            }
        }
    }
    if problems.is_empty() { Outcome::Passed } else { Outcome::Failed(problems.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::Emulator;

    #[test]
    fn every_exit_needs_a_row() {
        let machine = Machine::unlisted(Emulator::Bochs, "m");
        let counts: Vec<String> = COUNTS.iter().map(|count| format!("\"{count}\":0")).collect();
        let line = |exit: &str| format!("BENCH {{\"exit\":\"{exit}\",\"instructions\":1,{}}}\n", counts.join(","));
        let all: String = EXITS.iter().map(|exit| line(exit)).collect();
        let log = Log::parse(&all);
        assert_eq!(judge(&machine, &log, &log), Outcome::Passed);
        let most = Log::parse(&all[all.find('\n').unwrap_or(0) + 1..]);
        assert!(matches!(judge(&machine, &most, &log), Outcome::Failed(_)));
        assert!(matches!(judge(&machine, &log, &most), Outcome::Failed(_)));
    }
}
