//! The image's log while a guest runs: how it ended, and what made it exit.

use serde::Deserialize;

use super::end::End;

/// A log, taken apart. Lines of other kinds are for people.
#[derive(Debug, Default, PartialEq)]
pub struct Monitor {
    /// `GUEST END`, the last one.
    pub end: Option<End>,
    pub exits: Vec<Exits>,
    /// All instructions of all vCPUs from the guest's start to its end, the guest's own included.
    pub instructions: u64,
}

/// All exits for one reason, of all vCPUs. Instructions are what the host's time-stamp counter counts.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Exits {
    /// The manual's name.
    pub reason: String,
    pub count: u64,
    /// How many the library answered by itself.
    pub inside: u64,
    /// What the library executed for them ...
    pub instructions_inside: u64,
    /// ... and everybody.
    pub instructions: u64,
}

/// A vCPU's whole run.
#[derive(Deserialize)]
struct Total {
    instructions: u64,
}

impl Monitor {
    pub fn parse(log: &str) -> Monitor {
        let mut monitor = Monitor::default();
        for line in log.lines() {
            // Lines of JSON that were cut off by the end say nothing.
            if let Some(words) = line.strip_prefix("GUEST END ") {
                monitor.end = Some(End::parse(words));
            } else if let Some(row) = line.strip_prefix("EXITS ") {
                serde_json::from_str(row).into_iter().for_each(|row| monitor.add(row));
            } else if let Some(total) = line.strip_prefix("TOTAL ") {
                monitor.instructions += serde_json::from_str(total).map_or(0, |total: Total| total.instructions);
            } else if let (Some(why), None) = (line.strip_prefix("RESULT: FAILED "), &monitor.end) {
                monitor.end = Some(End::Failed(why.into()));
            }
        }
        monitor
    }

    fn add(&mut self, row: Exits) {
        match self.exits.iter_mut().find(|known| known.reason == row.reason) {
            Some(known) => {
                known.count += row.count;
                known.inside += row.inside;
                known.instructions_inside += row.instructions_inside;
                known.instructions += row.instructions;
            }
            None => self.exits.push(row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_and_the_exits_are_found() {
        let log = "guest: 256 MiB\nEXITS {\"vcpu\":0,\"reason\":\"HLT\",\"count\":2,\"inside\":1,\"instructions_inside\":40,\"instructions\":99}\nEXITS {\"vcpu\":1,\"reason\":\"HLT\",\
            \"count\":1,\"inside\":0,\"instructions_inside\":1,\"instructions\":1}\nPORTS {\"vcpu\":0,\"port\":\"0x3f8\",\"count\":1}\nTOTAL {\"vcpu\":0,\"exits\":2,\
            \"vmm_instructions\":99,\"instructions\":500}\nTOTAL {\"vcpu\":1,\"exits\":1,\"vmm_instructions\":1,\"instructions\":400}\n\
            GUEST END reason=exit-port status=3\nEXITS {\"reas\nRESULT: ok\n";
        let exits =
            vec![Exits { reason: "HLT".into(), count: 3, inside: 1, instructions_inside: 41, instructions: 100 }];
        assert_eq!(Monitor::parse(log), Monitor { end: Some(End::ExitPort(3)), exits, instructions: 900 });
        assert_eq!(Monitor::parse(""), Monitor::default());
    }

    #[test]
    fn what_went_wrong_is_said() {
        let log = "TOTAL {}\nGUEST END reason=unhandled: NestedPageFault\nRESULT: FAILED unhandled\n";
        assert_eq!(Monitor::parse(log).end, Some(End::Unhandled("NestedPageFault".into())));
        let log = "RESULT: FAILED panic at memory.rs\n";
        assert_eq!(Monitor::parse(log).end, Some(End::Failed("panic at memory.rs".into())));
    }
}
