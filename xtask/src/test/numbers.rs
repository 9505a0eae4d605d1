//! The smoke test of the bench: a row for every exit, numbers in it, and the goals that are held.

use serde_json::Value;

use crate::bench::{COUNTS, EXITS, rows};
use crate::goals::Goals;
use crate::log::Log;
use crate::machines::Machine;
use crate::report::Outcome;

/// Every kind of round trip must have been measured, in both builds, and no goal missed that is held.
pub fn judge(machine: &Machine, goals: &Goals, plain: &Log, counting: &Log) -> Outcome {
    let rows = rows::rows(machine, plain, counting);
    let mut problems = Vec::new();
    for exit in EXITS {
        let Some(row) = rows.iter().find(|row| row.get("exit").and_then(Value::as_str) == Some(exit)) else {
            problems.push(format!("no row for {exit}"));
            continue;
        };
        let held = goals.find(machine, exit).filter(|goal| goal.held && !goal.missed_on.contains(&machine.name));
        let most = held.map(|goal| f64::from(goal.most));
        let limits = COUNTS.iter().map(|count| (*count, goals.count(machine, exit, count)));
        for (column, limit) in limits.chain([("instructions", most)]) {
            match (row.get(column).and_then(Value::as_f64), limit) {
                (None, _) => problems.push(format!("{exit}: no number of {column}")),
                (Some(number), Some(limit)) if number > limit => {
                    problems.push(format!("{exit}: {number} {column}, but {limit} is the goal"));
                }
                (Some(_), _) => {}
            }
        }
    }
    if problems.is_empty() { Outcome::Passed } else { Outcome::Failed(problems.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::Emulator;
    use crate::repo::Repo;

    #[test]
    fn every_exit_needs_a_row() {
        let machine = Machine::unlisted(Emulator::Bochs, "m");
        let goals = Goals::load(&Repo::find().expect("a repository")).expect("goals.toml");
        let counts: Vec<String> = COUNTS.iter().map(|count| format!("\"{count}\":0")).collect();
        let line = |exit: &str, instructions: u32| {
            format!("BENCH {{\"exit\":\"{exit}\",\"instructions\":{instructions},{}}}\n", counts.join(","))
        };
        let all: String = EXITS.iter().map(|exit| line(exit, 1)).collect();
        let log = Log::parse(&all);
        assert_eq!(judge(&machine, &goals, &log, &log), Outcome::Passed);
        let most = Log::parse(&all[all.find('\n').unwrap_or(0) + 1..]);
        assert!(matches!(judge(&machine, &goals, &most, &log), Outcome::Failed(_)));
        assert!(matches!(judge(&machine, &goals, &log, &most), Outcome::Failed(_)));
        let slow: String = EXITS.iter().map(|exit| line(exit, 100_000)).collect();
        assert!(matches!(judge(&machine, &goals, &Log::parse(&slow), &log), Outcome::Failed(_)));
    }
}
