//! The exits by reason, and by the page that the guest was in.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::file::{Exit, Trace};
use super::words::Words;

/// How many pages are listed.
const PAGES: usize = 20;
const PAGE_SHIFT: u32 = 12;

/// The two tables.
pub fn of(trace: &Trace, words: &Words) -> String {
    let mut reasons: BTreeMap<String, Vec<&Exit>> = BTreeMap::new();
    let mut pages: BTreeMap<u64, Vec<&Exit>> = BTreeMap::new();
    for exit in &trace.exits {
        reasons.entry(words.name(exit)).or_default().push(exit);
        pages.entry(exit.rip >> PAGE_SHIFT << PAGE_SHIFT).or_default().push(exit);
    }
    let mut text = String::new();
    let (count, all) = (trace.exits.len(), host(&trace.exits.iter().collect::<Vec<_>>()));
    let _ =
        writeln!(text, "{count} exits of {} vCPU; {all} instructions (time-stamp counts) of the host\n", trace.vcpus);
    let _ = writeln!(
        text,
        "{:<24}{:>9}{:>9}{:>14}{:>8}{:>9}{:>9}{:>9}{:>11}{:>11}",
        "exit", "count", "inside", "host", "share", "p50", "p90", "p99", "max", "guest p50"
    );
    for (name, exits) in dearest(reasons) {
        let inside = exits.iter().filter(|exit| exit.is_inside()).count();
        let hosts = sorted(exits.iter().filter_map(|exit| exit.host));
        let guests = sorted(exits.iter().map(|exit| exit.guest()));
        let sum = host(&exits);
        let _ = writeln!(
            text,
            "{name:<24}{:>9}{inside:>9}{sum:>14}{:>7.2}%{:>9}{:>9}{:>9}{:>11}{:>11}",
            exits.len(),
            100.0 * sum as f64 / all.max(1) as f64,
            percentile(&hosts, 50),
            percentile(&hosts, 90),
            percentile(&hosts, 99),
            percentile(&hosts, 100),
            percentile(&guests, 50),
        );
    }
    let _ = writeln!(text, "\n{:<20}{:>9}{:>14}{:>8}  most of them", "page of RIP", "count", "host", "share");
    for (page, exits) in dearest(pages).into_iter().take(PAGES) {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        exits.iter().for_each(|exit| *names.entry(words.name(exit)).or_default() += 1);
        let most = names.into_iter().max_by_key(|(_, count)| *count).map_or_else(String::new, |(name, _)| name);
        let sum = host(&exits);
        let share = 100.0 * sum as f64 / all.max(1) as f64;
        let _ = writeln!(text, "{page:<#20x}{:>9}{sum:>14}{share:>7.2}%  {most}", exits.len());
    }
    text
}

fn host(exits: &[&Exit]) -> u64 {
    exits.iter().filter_map(|exit| exit.host).sum()
}

fn dearest<K: Ord>(groups: BTreeMap<K, Vec<&Exit>>) -> Vec<(K, Vec<&Exit>)> {
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, exits)| std::cmp::Reverse(host(exits)));
    groups
}

fn sorted(numbers: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

/// The smallest number that so many of a hundred are not above.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::TRACE;
    use super::*;
    use crate::repo::Repo;

    #[test]
    fn percentiles_are_numbers_that_there_were() {
        let numbers: Vec<u64> = (1..=200).collect();
        assert_eq!([50, 90, 99, 100].map(|percent| percentile(&numbers, percent)), [100, 180, 198, 200]);
        assert_eq!((percentile(&[7], 50), percentile(&[], 50)), (7, 0));
    }

    #[test]
    fn the_dearest_come_first() {
        let trace = Trace::parse(TRACE).expect("a trace");
        let text = of(&trace, &Words::load(&Repo::find().expect("a repository"), trace.vendor).expect("tables"));
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[3][..4], ["IO_INSTRUCTION", "1", "0", "750"]);
        assert_eq!(rows[4][..4], ["CPUID", "1", "1", "50"]);
        assert!(text.contains("0xf000") && text.starts_with("5 exits of 2 vCPU; 800 "), "{text}");
    }
}
