//! The table of exits: which there were, how many, and what they cost.

use std::fmt::Write as _;

use super::monitor::Exits;

/// A table for people, the dearest first; nothing when there are none.
pub fn table(exits: &[Exits]) -> String {
    let mut rows = exits.to_vec();
    rows.sort_by(|a, b| b.instructions.cmp(&a.instructions).then_with(|| a.reason.cmp(&b.reason)));
    let (count, instructions) = total(&rows);
    let mut text = String::new();
    if rows.is_empty() {
        return text;
    }
    let _ = writeln!(text, "{:<28}{:>12}{:>16}{:>10}{:>8}", "exit", "count", "instructions", "each", "share");
    rows.push(Exits { reason: "all".into(), count, instructions });
    for row in &rows {
        let each = row.instructions.checked_div(row.count).unwrap_or(0);
        let _ = writeln!(
            text,
            "{:<28}{:>12}{:>16}{each:>10}{:>7.1}%",
            row.reason,
            row.count,
            row.instructions,
            share(row.instructions, instructions)
        );
    }
    text
}

/// The sums of counts and instructions.
pub fn total(exits: &[Exits]) -> (u64, u64) {
    exits.iter().fold((0, 0), |(count, instructions), row| (count + row.count, instructions + row.instructions))
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
        let text = table(&[row("cpuid", 10, 1000), row("out", 4, 3000), row("none", 0, 0)]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["out", "4", "3000", "750", "75.0%"]);
        assert_eq!(lines[2], ["cpuid", "10", "1000", "100", "25.0%"]);
        assert_eq!(lines[3], ["none", "0", "0", "0", "0.0%"]);
        assert_eq!(lines[4], ["all", "14", "4000", "285", "100.0%"]);
        assert_eq!(table(&[]), "");
    }
}
