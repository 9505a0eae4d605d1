//! The serial log of the image: what it says of scenarios, the guests' own lines, the numbers, and how it all ended.

use std::fmt;

use serde_json::{Map, Value};

/// A log, taken apart.
#[derive(Debug, Default)]
pub struct Log {
    pub scenarios: Vec<Scenario>,
    /// The answer to `list`: the names of all scenarios, and how many CPUs each needs.
    pub names: Vec<(String, u32)>,
    /// `BENCH` rows.
    pub bench: Vec<Map<String, Value>>,
    /// `RESULT`: none when the image did not get that far.
    pub result: Option<Result<(), String>>,
    /// Guest lines after the last verdict: of a scenario that did not end.
    pub unfinished: Vec<String>,
}

/// One scenario, and what its guest printed.
#[derive(Debug, PartialEq, Eq)]
pub struct Scenario {
    pub name: String,
    pub verdict: Verdict,
    pub guest: Vec<String>,
}

/// What the image says of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    Failed(String),
    /// The machine lacks something that the scenario needs.
    Refused(String),
    /// The scenario was not wanted, for instance because it needs more CPUs than there are.
    Skipped(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Verdict::Ok => write!(f, "ok"),
            Verdict::Failed(reason) => write!(f, "FAILED {reason}"),
            Verdict::Refused(reason) => write!(f, "REFUSED {reason}"),
            Verdict::Skipped(reason) => write!(f, "SKIPPED {reason}"),
        }
    }
}

impl Log {
    pub fn parse(text: &str) -> Log {
        let mut log = Log::default();
        for line in text.lines() {
            if let Some(guest) = guest_line(line) {
                log.unfinished.push(guest.into());
            } else if line.starts_with("BEGIN ") {
                log.unfinished.clear();
            } else if let Some(rest) = line.strip_prefix("NAME ") {
                let (name, cpus) = rest.split_once(' ').unwrap_or((rest, "1"));
                log.names.push((name.into(), cpus.trim().parse().unwrap_or(1)));
            } else if let Some(rest) = line.strip_prefix("SCENARIO ") {
                let (name, verdict) = rest.split_once(": ").unwrap_or((rest, ""));
                let guest = std::mem::take(&mut log.unfinished);
                log.scenarios.push(Scenario { name: name.into(), verdict: verdict_of(verdict), guest });
            } else if let Some(json) = line.strip_prefix("BENCH ") {
                match serde_json::from_str(json) {
                    Ok(row) => log.bench.push(row),
                    Err(error) => log.result = Some(Err(format!("unreadable line `{line}`: {error}"))),
                }
            } else if let Some(rest) = line.strip_prefix("RESULT: ") {
                log.result = Some(match rest {
                    "ok" => Ok(()),
                    other => Err(other.strip_prefix("FAILED").unwrap_or(other).trim().into()),
                });
            }
        }
        log
    }

    /// The verdict on one scenario.
    pub fn scenario(&self, name: &str) -> Option<&Scenario> {
        self.scenarios.iter().find(|scenario| scenario.name == name)
    }
}

/// The guest's own text, when `line` is the guest's.
pub fn guest_line(line: &str) -> Option<&str> {
    match line.strip_prefix('>') {
        Some("") => Some(""),
        Some(rest) => rest.strip_prefix(' '),
        None => None,
    }
}

fn verdict_of(text: &str) -> Verdict {
    if text == "ok" {
        return Verdict::Ok;
    }
    let (word, reason) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "REFUSED" => Verdict::Refused(reason.into()),
        "SKIPPED" => Verdict::Skipped(reason.into()),
        "FAILED" => Verdict::Failed(reason.into()),
        _ => Verdict::Failed(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "x86_vcpu image: VMX\n> stray\nBEGIN real\n> hello\n>\n> bye\nSCENARIO real: ok\nSCENARIO smp: SKIPPED one CPU\n> half\n\
        SCENARIO long: FAILED exit 33\nBENCH {\"exit\":\"cpuid\",\"instructions\":120}\n> rest\nRESULT: FAILED 1 of 3\n";

    #[test]
    fn every_kind_of_line_is_known() {
        let log = Log::parse(LOG);
        let expected = |name: &str, verdict, guest: &[&str]| Scenario {
            name: name.into(),
            verdict,
            guest: guest.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(
            log.scenarios,
            [
                expected("real", Verdict::Ok, &["hello", "", "bye"]),
                expected("smp", Verdict::Skipped("one CPU".into()), &[]),
                expected("long", Verdict::Failed("exit 33".into()), &["half"]),
            ]
        );
        assert_eq!(log.bench[0]["instructions"], 120);
        assert_eq!(log.unfinished, ["rest"]);
        assert_eq!(log.result, Some(Err("1 of 3".into())));
        assert_eq!(log.scenario("smp"), Some(&log.scenarios[1]));
    }

    #[test]
    fn a_log_that_stops_has_no_result() {
        let log = Log::parse("> one\nSCENARIO real");
        assert_eq!(log.result, None);
        assert_eq!(log.scenarios[0].verdict, Verdict::Failed(String::new()));
        assert_eq!(Log::parse("RESULT: ok\n").result, Some(Ok(())));
    }

    #[test]
    fn names_are_listed() {
        assert_eq!(Log::parse("NAME real 1\nNAME smp 2\nRESULT: ok\n").names, [("real".into(), 1), ("smp".into(), 2)]);
    }

    #[test]
    fn a_broken_number_is_an_error() {
        assert!(matches!(Log::parse("BENCH {\n").result, Some(Err(_))));
    }
}
