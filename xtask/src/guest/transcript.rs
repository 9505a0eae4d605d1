//! What the Linux guest prints, line by line, and what of it is looked at.

use super::initrd::{CPUS, DONE, REACHED, RELEASE};

/// How far a Linux guest has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing has come from it.
    #[default]
    Silent,
    Kernel,
    UserSpace,
    SwitchingOff,
}

impl Phase {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Silent => "starting",
            Phase::Kernel => "kernel",
            Phase::UserSpace => "user space",
            Phase::SwitchingOff => "switching off",
        }
    }
}

/// The guest's output so far.
#[derive(Debug, Default)]
pub struct Transcript {
    pub phase: Phase,
    /// Whole lines, without what ends them.
    pub lines: Vec<String>,
    rest: Vec<u8>,
}

impl Transcript {
    /// Takes what came from the serial port, and shows each line that is whole now to `on_line`.
    pub fn add(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(Phase, &str)) {
        for byte in bytes {
            if *byte != b'\n' {
                self.rest.push(*byte);
                continue;
            }
            let line = String::from_utf8_lossy(&self.rest).trim_end().to_owned();
            self.rest.clear();
            let phase = match line.as_str() {
                REACHED => Phase::UserSpace,
                DONE => Phase::SwitchingOff,
                _ => Phase::Kernel,
            };
            self.phase = self.phase.max(phase);
            on_line(self.phase, &line);
            self.lines.push(line);
        }
    }

    /// What the script printed: the lines between its first and its last, without the kernel's.
    pub fn of_script(&self) -> impl Iterator<Item = &str> {
        let lines = self.lines.iter().map(String::as_str);
        let script = lines.skip_while(|line| *line != REACHED).skip(1).take_while(|line| *line != DONE);
        script.filter(|line| !line.starts_with('['))
    }

    /// What is missing for a guest with this kernel and so many CPUs that came to its end.
    pub fn problem(&self, release: &str, cpus: u32) -> Option<String> {
        if self.phase < Phase::SwitchingOff {
            let last = self.lines.last().map_or("", String::as_str);
            return Some(format!("the guest came no further than to {}: {last}", self.phase.name()));
        }
        let wanted = [format!("{RELEASE}{release}"), format!("{CPUS}{cpus}")];
        let missing = wanted.iter().find(|line| !self.of_script().any(|other| other == *line));
        missing.map(|line| format!("the guest did not print `{line}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "[    0.000000] Linux version\r\nguest: user space\r\nLinux (none)\r\n[    1.0] random: crng\r\n\
        guest: release 6.1.0-x\r\nguest: CPUs 2\r\nguest: switching off\r\n[    1.2] reboot: Power down\r\n";

    fn of(output: &str) -> (Transcript, Vec<(Phase, String)>) {
        let (mut transcript, mut shown) = (Transcript::default(), Vec::new());
        for bytes in output.as_bytes().chunks(7) {
            transcript.add(bytes, &mut |phase, line| shown.push((phase, line.to_owned())));
        }
        (transcript, shown)
    }

    #[test]
    fn phases_follow_each_other() {
        let (transcript, shown) = of(OUTPUT);
        assert_eq!(shown[0], (Phase::Kernel, "[    0.000000] Linux version".into()));
        assert_eq!(shown[2], (Phase::UserSpace, "Linux (none)".into()));
        assert_eq!(transcript.phase, Phase::SwitchingOff);
        assert_eq!(
            transcript.of_script().collect::<Vec<_>>(),
            ["Linux (none)", "guest: release 6.1.0-x", "guest: CPUs 2"]
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let (transcript, _) = of(OUTPUT);
        assert_eq!(transcript.problem("6.1.0-x", 2), None);
        assert_eq!(transcript.problem("6.1.0-x", 1).as_deref(), Some("the guest did not print `guest: CPUs 1`"));
        assert!(transcript.problem("6.1.0", 2).is_some());
        let (early, _) = of(&OUTPUT[..60]);
        assert!(early.problem("6.1.0-x", 2).is_some_and(|why| why.contains("user space")));
        assert!(of("").0.problem("x", 1).is_some_and(|why| why.contains("starting")));
    }
}
