//! Why a recording or a replay cannot go on.

use core::fmt;

use super::{kind, log::LogError};
use crate::Error;

/// Why a recording or a replay cannot go on.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ReplayError {
    /// The vCPU said so.
    Vcpu(Error),
    /// The log.
    Log(LogError),
    /// The guest did not do what it did when it was recorded.
    Diverged(Divergence),
}

impl From<Error> for ReplayError {
    fn from(error: Error) -> Self {
        Self::Vcpu(error)
    }
}

impl From<LogError> for ReplayError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vcpu(error) => error.fmt(f),
            Self::Log(error) => error.fmt(f),
            Self::Diverged(divergence) => divergence.fmt(f),
        }
    }
}

impl core::error::Error for ReplayError {}

/// Where a replay is no longer what was recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divergence {
    /// How many exits were the recorded ones: the number of the exit at fault, counted from 0.
    pub exit: u64,
    /// How far the log was read, in bytes.
    pub offset: u64,
    /// What is different.
    pub what: Difference,
}

/// What is different in a replay.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Difference {
    /// The log is of another vendor's vCPU; 0: VMX, 1: SVM.
    Vendor {
        /// The log's.
        expected: u8,
        /// This vCPU's.
        found: u8,
    },
    /// The vCPU does not start in the recorded state.
    Start {
        /// The recorded hash.
        expected: u64,
        /// The hash of the state here.
        found: u64,
    },
    /// Another exit.
    Exit {
        /// The recorded reason.
        expected: Reason,
        /// The reason here.
        found: Reason,
    },
    /// The exit is the recorded one, and the guest's state is not.
    State {
        /// The reason of both.
        reason: Reason,
        /// The recorded hash.
        expected: u64,
        /// The hash here.
        found: u64,
        /// RIP here.
        rip: u64,
    },
    /// The guest was disturbed at another place than it was when it was recorded.
    Position {
        /// The recorded one: instructions since the last exit, and RIP.
        expected: (u64, u64),
        /// The place here.
        found: (u64, u64),
    },
    /// It was disturbed at the recorded place, in another state.
    PositionState {
        /// RIP.
        rip: u64,
        /// The recorded hash.
        expected: u64,
        /// The hash here.
        found: u64,
    },
    /// `run` or `decode_mmio` comes back with something else.
    Returned {
        /// The number of the recorded exit's kind.
        expected: u8,
        /// The number of the kind here; the same when the kinds agree and what the exits say does not.
        found: u8,
    },
    /// The guest did this, where the recording has something else.
    Unexpected {
        /// What the log has.
        expected: &'static str,
        /// What happened.
        found: &'static str,
    },
}

/// The reason of an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// VMX: the basic exit reason; SVM: the exit code.
    pub code: u64,
    /// The manual's name, where it is known.
    pub name: Option<&'static str>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "exit {:#x}", self.code),
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the replay diverges at exit {} (byte {} of the log): ", self.exit, self.offset)?;
        match self.what {
            Difference::Vendor { expected, found } => {
                let name = |vendor| if vendor == 0 { "VMX" } else { "SVM" };
                write!(f, "recorded on {}, replayed on {}", name(expected), name(found))
            }
            Difference::Start { expected, found } => {
                write!(f, "the vCPU starts in state {found:016x}, the recording in {expected:016x}")
            }
            Difference::Exit { expected, found } => write!(f, "expected {expected}, found {found}"),
            Difference::State { reason, expected, found, rip } => {
                write!(f, "at {reason}, RIP {rip:#x}, the state is {found:016x} and was {expected:016x}")
            }
            Difference::Position { expected, found } => write!(
                f,
                "expected to be disturbed after {} instructions at {:#x}, and was after {} at {:#x}",
                expected.0, expected.1, found.0, found.1
            ),
            Difference::PositionState { rip, expected, found } => {
                write!(f, "disturbed at {rip:#x}, the state is {found:016x} and was {expected:016x}")
            }
            Difference::Returned { expected, found } if expected == found => {
                write!(f, "{} says something else than it did", kind::name(found))
            }
            Difference::Returned { expected, found } => {
                write!(f, "expected {}, found {}", kind::name(expected), kind::name(found))
            }
            Difference::Unexpected { expected, found } => write!(f, "the log has {expected}, and there was {found}"),
        }
    }
}
