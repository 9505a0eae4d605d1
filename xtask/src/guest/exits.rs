//! The table of exits: which there were, how many, and what they cost.

use std::fmt::Write as _;

use super::monitor::Exits;

/// What the columns are. In real time the time-stamp counter counts no instructions, but is in the same proportions.
const LEGEND: &str = "inside: answered by the library; instructions: the host's from the exit to the next entry (in real time: \
    time-stamp counts), and of these the library's; share: of all";

/// A table for people, the dearest first, as parts of `all` instructions; nothing when there are no exits.
pub fn table(exits: &[Exits], all: u64) -> String {
    let mut rows = exits.to_vec();
    rows.sort_by(|a, b| b.instructions.cmp(&a.instructions).then_with(|| a.reason.cmp(&b.reason)));
    let mut text = String::new();
    if rows.is_empty() {
        return text;
    }
    let sum = |of: fn(&Exits) -> u64| exits.iter().map(of).sum();
    rows.push(Exits {
        reason: "all".into(),
        count: sum(|row| row.count),
        inside: sum(|row| row.inside),
        instructions_inside: sum(|row| row.instructions_inside),
        instructions: sum(|row| row.instructions),
    });
    let _ = writeln!(
        text,
        "{:<24}{:>10}{:>10}{:>14}{:>14}{:>9}{:>9}",
        "exit", "count", "inside", "instructions", "the library's", "each", "share"
    );
    for row in &rows {
        let each = row.instructions.checked_div(row.count).unwrap_or(0);
        let Exits { reason, count, inside, instructions_inside, instructions } = row;
        let share = share(*instructions, all);
        let _ = writeln!(
            text,
            "{reason:<24}{count:>10}{inside:>10}{instructions:>14}{instructions_inside:>14}{each:>9}{share:>8.2}%"
        );
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

    fn row(reason: &str, count: u64, inside: u64, instructions_inside: u64, instructions: u64) -> Exits {
        Exits { reason: reason.into(), count, inside, instructions_inside, instructions }
    }

    #[test]
    fn the_dearest_come_first() {
        let rows = [row("CPUID", 10, 10, 1000, 1000), row("IOIO", 4, 1, 400, 3000), row("NPF", 0, 0, 0, 0)];
        let text = table(&rows, 40_000);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["IOIO", "4", "1", "3000", "400", "750", "7.50%"]);
        assert_eq!(lines[2], ["CPUID", "10", "10", "1000", "1000", "100", "2.50%"]);
        assert_eq!(lines[3], ["NPF", "0", "0", "0", "0", "0", "0.00%"]);
        assert_eq!(lines[4], ["all", "14", "11", "4000", "1400", "285", "10.00%"]);
        assert_eq!(table(&[], 0), "");
    }
}
