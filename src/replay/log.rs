//! The log: a header, then records, each a tag, its numbers, and a check byte.
//!
//! | part | form |
//! |---|---|
//! | header | `x86vRPLY`, the version (16 bits, little endian), then [`Header`]'s numbers and a check byte |
//! | tag | one byte |
//! | number | LEB128, at most 10 bytes; hashes are 8 bytes, little endian |
//! | check byte | the low byte of a hash over all of the log up to here |
//!
//! Nothing here trusts a log: whatever is read, the result is a record or an error.

mod reader;
mod record;
mod wire;
mod writer;

use self::wire::Wire;
pub use self::{
    reader::{LogReader, Source},
    record::{MEMORY_BYTES, Record},
    writer::{LogWriter, Sink},
};

/// The version of the format that this build writes, and the only one that it reads.
pub const VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"x86vRPLY";

/// What a log begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// 0: VMX; 1: SVM.
    pub vendor: u8,
    /// The hash of the state in which the recording begins.
    pub state: u64,
    /// What the CPU multiplies its time-stamp counter with for the guest, in the vendor's format.
    pub tsc_ratio: u64,
    /// What it adds then.
    pub tsc_offset: u64,
    /// IA32_TSC_ADJUST.
    pub tsc_adjust: u64,
}

impl Header {
    /// Writes or reads all numbers of it, in their order.
    fn fields(&mut self, wire: &mut impl Wire) -> Result<(), LogError> {
        wire.byte(&mut self.vendor)?;
        wire.hash(&mut self.state)?;
        wire.number(&mut self.tsc_ratio)?;
        wire.number(&mut self.tsc_offset)?;
        wire.number(&mut self.tsc_adjust)
    }
}

/// Why a log cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogError {
    /// It does not begin as logs do.
    NoLog,
    /// It has this version, which is not [`VERSION`].
    Version(u16),
    /// It ends in the middle; so many bytes were there.
    Truncated(u64),
    /// What stands from this byte on was not written so.
    Damaged(u64),
    /// The sink took no more.
    Full,
}

impl core::fmt::Display for LogError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoLog => f.write_str("this is no log of a recording"),
            Self::Version(found) => write!(f, "the log has version {found}; this build reads version {VERSION}"),
            Self::Truncated(at) => write!(f, "the log is cut off after {at} bytes"),
            Self::Damaged(at) => write!(f, "the log is damaged at byte {at}"),
            Self::Full => f.write_str("the sink of the log took no more"),
        }
    }
}

impl core::error::Error for LogError {}
