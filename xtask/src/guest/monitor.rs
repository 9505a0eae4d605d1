//! The image's log while a guest runs: how it ended, and what made it exit.

use serde::Deserialize;

use super::end::End;

/// A log, taken apart. Lines of other kinds are for people.
#[derive(Debug, Default, PartialEq)]
pub struct Monitor {
    /// `GUEST END`, the last one.
    pub end: Option<End>,
    /// `EXITS`, one a reason.
    pub exits: Vec<Exits>,
}

/// All exits for one reason.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Exits {
    /// In the library's words.
    pub reason: String,
    pub count: u64,
    /// The hypervisor's instructions (time-stamp counter), of all these exits together.
    pub instructions: u64,
}

impl Monitor {
    pub fn parse(log: &str) -> Monitor {
        let mut monitor = Monitor::default();
        for line in log.lines() {
            if let Some(words) = line.strip_prefix("GUEST END ") {
                monitor.end = Some(End::parse(words));
            } else if let Some(row) = line.strip_prefix("EXITS ") {
                // A line that was cut off by the end says nothing.
                monitor.exits.extend(serde_json::from_str::<Exits>(row));
            } else if let Some(why) = line.strip_prefix("RESULT: FAILED ") {
                monitor.end = Some(End::Failed(why.into()));
            }
        }
        monitor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_and_the_exits_are_found() {
        let log = "x86_vcpu image: VMX\nGUEST END reason=exit-port status=3\nEXITS {\"reason\":\"cpuid\",\"count\":2,\"instructions\":99}\n\
            EXITS {\"reas\nRESULT: ok\n";
        let exits = vec![Exits { reason: "cpuid".into(), count: 2, instructions: 99 }];
        assert_eq!(Monitor::parse(log), Monitor { end: Some(End::ExitPort(3)), exits });
        assert_eq!(Monitor::parse(""), Monitor::default());
    }

    #[test]
    fn a_failure_of_the_image_is_the_end() {
        let log = "GUEST END reason=power-off\nRESULT: FAILED frames are missing\n";
        assert_eq!(Monitor::parse(log).end, Some(End::Failed("frames are missing".into())));
    }
}
