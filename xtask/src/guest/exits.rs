//! The table of exits: which there were, how many, and what they cost.

use std::fmt::Write as _;

use super::monitor::Exits;

/// What the columns are. In real time the time-stamp counter counts no instructions, but is in the same proportions.
const LEGEND: &str =
    "instructions: the hypervisor's, outside of the library (in real time: time-stamp counts); share: of all";

/// A table for people, the dearest first, as parts of `all` instructions; nothing when there are no exits.
pub fn table(exits: &[Exits], all: u64) -> String {
    let mut rows = exits.to_vec();
    rows.sort_by(|a, b| b.instructions.cmp(&a.instructions).then_with(|| a.reason.cmp(&b.reason)));
    let mut text = String::new();
    if rows.is_empty() {
        return text;
    }
    let sum = |of: fn(&Exits) -> u64| exits.iter().map(of).sum();
    let total = Exits { reason: "all".into(), count: sum(|row| row.count), instructions: sum(|row| row.instructions) };
    rows.push(total);
    let _ = writeln!(text, "{:<20}{:>12}{:>16}{:>10}{:>9}", "exit", "count", "instructions", "each", "share");
    for row in &rows {
        let each = row.instructions.checked_div(row.count).unwrap_or(0);
        let (count, instructions) = (row.count, row.instructions);
        let share = share(instructions, all);
        let _ = writeln!(text, "{:<20}{count:>12}{instructions:>16}{each:>10}{share:>8.2}%", row.reason);
    }
    let _ = writeln!(text, "{LEGEND} {all} of the run");
    text
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { 100.0 * part as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(reason: &str, count: u64, instructions: u64) -> Exits {
        Exits { reason: reason.into(), count, instructions }
    }

    #[test]
    fn the_dearest_come_first() {
        let text = table(&[row("cpuid", 10, 1000), row("out", 4, 3000), row("none", 0, 0)], 40_000);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["out", "4", "3000", "750", "7.50%"]);
        assert_eq!(lines[2], ["cpuid", "10", "1000", "100", "2.50%"]);
        assert_eq!(lines[3], ["none", "0", "0", "0", "0.00%"]);
        assert_eq!(lines[4], ["all", "14", "4000", "285", "10.00%"]);
        assert_eq!(table(&[], 0), "");
    }
}
