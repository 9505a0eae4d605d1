//! Rows for people, with what they are compared with beside them.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::COUNTS;
use crate::goals::Goals;
use crate::machines::Machine;

/// What the columns are.
pub const LEGEND: &str = "host instructions per round trip, the guest's loop included, of the plain release build; the counts of \
slow instructions are of the counting build.\nfloor: entry and exit alone; kvm: Debian 6.1, mitigations off; 0.7.1: the published \
x86_vcpu; most: the goal, `!` where it is missed";

/// The table of one machine.
pub fn of(machine: &Machine, rows: &[Map<String, Value>], goals: &Goals) -> String {
    let mut table = format!("{} on {}, {}\n", machine.vendor.title(), machine.emulator.name(), machine.model);
    let _ = write!(table, "{:<13}{:>12} {:>6} {:>6} {:>6}", "exit", "instructions", "floor", "0.7.1", "most");
    for count in COUNTS {
        let _ = write!(table, " {count:>8}");
    }
    let _ = writeln!(table, "  kvm");
    for row in rows {
        let exit = row.get("exit").and_then(Value::as_str).unwrap_or_default();
        let goal = goals.find(machine, exit);
        let measured = row.get("instructions").and_then(Value::as_f64);
        let missed = goal.is_some_and(|goal| measured.is_none_or(|measured| measured > f64::from(goal.most)));
        let floor = goal.and_then(|goal| goal.floor).map(|floor| floor.to_string());
        let old = goal.and_then(|goal| goal.old.as_deref()).and_then(|old| old.split_whitespace().next());
        let most = goal.map(|goal| goal.most.to_string());
        let _ = write!(
            table,
            "{exit:<13}{:>11}{} {:>6} {:>6} {:>6}",
            number(row.get("instructions")),
            if missed { '!' } else { ' ' },
            floor.as_deref().unwrap_or("-"),
            old.unwrap_or("-"),
            most.as_deref().unwrap_or("-"),
        );
        for count in COUNTS {
            let value = row.get(count);
            let limit = goals.count(machine, exit, count);
            let missed = limit.is_some_and(|limit| value.and_then(Value::as_f64).is_none_or(|value| value > limit));
            let _ = write!(table, " {:>7}{}", number(value), if missed { '!' } else { ' ' });
        }
        let _ = writeln!(table, "  {}", goal.and_then(|goal| goal.kvm.as_deref()).unwrap_or("-"));
    }
    table
}

/// A whole number as it is, another with two digits.
fn number(value: Option<&Value>) -> String {
    match value {
        Some(value) if value.is_u64() => value.to_string(),
        Some(value) => value.as_f64().map_or_else(|| "-".into(), |number| format!("{number:.2}")),
        None => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::number;

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(Some(&json!(120))), "120");
        assert_eq!(number(Some(&json!(0.5))), "0.50");
        assert_eq!(number(Some(&json!(null))), "-");
        assert_eq!(number(None), "-");
    }
}
