//! How a guest's run ended, and the exit status that tells it.
//!
//! The guest itself chooses the odd ones, by writing to its exit port; all others are even.

use std::fmt;

use crate::emulator::Status;

/// The end of a guest's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It switched the machine off.
    PowerOff,
    /// It wrote this to port 0xf4.
    ExitPort(u8),
    /// A fault while a double fault was being delivered.
    TripleFault,
    /// It reset the machine.
    Reset,
    /// Every vCPU is halted and nothing is left that could wake one.
    Halted,
    /// It was saved, to go on in another run.
    Saved,
    /// It did what the hypervisor has no answer for.
    Unhandled(String),
    /// The hypervisor or the emulator failed, not the guest.
    Failed(String),
    /// The time limit was reached.
    TimedOut,
    /// The user ended it.
    Interrupted,
}

/// The status when nothing was booted: a wrong argument or file, or a missing emulator. clap uses the same.
pub const NOT_STARTED: u8 = 2;

/// What `--help` and docs/guests.md say.
pub const STATUSES: &str = "\
Exit status of `run --guest`:
  (V << 1) | 1  the guest wrote V to port 0xf4 (the lowest 8 bits of the result)
  0             the guest switched the machine off
  2             nothing was started: wrong arguments or files, no emulator
  4             the guest ended in a triple fault
  6             the guest reset the machine
  8             the guest halted for good: no vCPU can wake up
  10            the guest did what the hypervisor has no answer for
  12            the time limit was reached
  14            the hypervisor or the emulator failed
  16            the guest was saved (--save)
  130           ended by Ctrl-A x or by a signal";

impl End {
    /// From the words of the image's line `GUEST END`.
    pub fn parse(words: &str) -> End {
        let (words, detail) = words.split_once(": ").unwrap_or((words, ""));
        let value = |key: &str| {
            let mut pairs = words.split_whitespace().filter_map(|word| word.split_once('='));
            pairs.find_map(|(name, value)| (name == key).then_some(value))
        };
        match (value("reason"), value("status").and_then(|status| status.parse::<u64>().ok())) {
            (Some("power-off"), _) => End::PowerOff,
            // The port takes wider values as well; a status has eight bits.
            (Some("exit-port"), Some(status)) => End::ExitPort((status & 0xFF) as u8),
            (Some("triple-fault"), _) => End::TripleFault,
            (Some("reset"), _) => End::Reset,
            (Some("halted"), _) => End::Halted,
            (Some("time-limit"), _) => End::TimedOut,
            (Some("saved"), _) => End::Saved,
            (Some("unhandled"), _) => End::Unhandled(detail.into()),
            (Some("failed"), _) => End::Failed(detail.into()),
            _ => End::Failed(format!("the image ended with `{words}`, which is not known")),
        }
    }

    /// From what the image said, if it came to say it, and how the emulator ended.
    pub fn of(said: Option<End>, status: &Status) -> End {
        match (said, status) {
            (_, Status::TimedOut) => End::TimedOut,
            (_, Status::Interrupted) => End::Interrupted,
            (Some(end), _) => end,
            (None, Status::Stopped(why)) => End::Failed(why.clone()),
            (None, Status::Finished) => End::Failed("the image ended without a word about the guest".into()),
        }
    }

    /// The exit status of `cargo xtask run --guest`.
    pub fn status(&self) -> u8 {
        match self {
            End::PowerOff => 0,
            End::ExitPort(value) => value << 1 | 1,
            End::TripleFault => 4,
            End::Reset => 6,
            End::Halted => 8,
            End::Unhandled(_) => 10,
            End::TimedOut => 12,
            End::Failed(_) => 14,
            End::Saved => 16,
            End::Interrupted => 130,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            End::PowerOff => write!(f, "the guest switched the machine off"),
            End::ExitPort(value) => write!(f, "the guest wrote {value:#x} to its exit port"),
            End::TripleFault => write!(f, "the guest ended in a triple fault"),
            End::Reset => write!(f, "the guest reset the machine"),
            End::Halted => write!(f, "the guest halted for good"),
            End::Saved => write!(f, "the guest was saved"),
            End::Unhandled(what) => write!(f, "the guest did what the hypervisor has no answer for: {what}"),
            End::TimedOut => write!(f, "the time limit was reached"),
            End::Failed(why) => write!(f, "the hypervisor failed: {why}"),
            End::Interrupted => write!(f, "ended by the user"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_words_are_known() {
        for (words, end, status) in [
            ("reason=power-off", End::PowerOff, 0),
            ("reason=exit-port status=0", End::ExitPort(0), 1),
            ("reason=exit-port status=16", End::ExitPort(16), 33),
            ("reason=exit-port status=255", End::ExitPort(255), 255),
            ("reason=exit-port status=257", End::ExitPort(1), 3),
            ("reason=triple-fault", End::TripleFault, 4),
            ("reason=reset", End::Reset, 6),
            ("reason=halted", End::Halted, 8),
            ("reason=time-limit", End::TimedOut, 12),
            ("reason=saved", End::Saved, 16),
            ("reason=unhandled: exit 33 at 0x7c00", End::Unhandled("exit 33 at 0x7c00".into()), 10),
            ("reason=failed: no memory: 3", End::Failed("no memory: 3".into()), 14),
        ] {
            assert_eq!(End::parse(words), end, "{words}");
            assert_eq!(end.status(), status, "{words}");
        }
        assert!(matches!(End::parse("reason=boredom"), End::Failed(_)));
        assert!(matches!(End::parse("reason=exit-port"), End::Failed(_)));
        assert!(matches!(End::parse(""), End::Failed(_)));
    }

    #[test]
    fn only_the_exit_port_gives_odd_statuses() {
        let others = [
            End::PowerOff,
            End::TripleFault,
            End::Reset,
            End::Halted,
            End::Saved,
            End::Unhandled(String::new()),
            End::TimedOut,
            End::Failed(String::new()),
            End::Interrupted,
        ];
        let mut seen: Vec<u8> = others.iter().map(End::status).chain([NOT_STARTED]).collect();
        assert!(seen.iter().all(|status| status % 2 == 0));
        seen.sort_unstable();
        assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}");
        for status in seen {
            let line = format!("\n  {status:<14}");
            assert!(STATUSES.contains(&line), "the help says nothing of {status}");
        }
    }

    #[test]
    fn what_the_emulator_did_counts_when_the_image_said_nothing() {
        assert_eq!(End::of(Some(End::PowerOff), &Status::Finished), End::PowerOff);
        assert_eq!(End::of(Some(End::PowerOff), &Status::TimedOut), End::TimedOut);
        assert_eq!(End::of(None, &Status::Interrupted), End::Interrupted);
        assert_eq!(End::of(None, &Status::Stopped("x".into())), End::Failed("x".into()));
        assert!(matches!(End::of(None, &Status::Finished), End::Failed(_)));
    }
}
