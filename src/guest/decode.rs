//! Instructions, as far as a hypervisor has to read them.
//!
//! Two questions are asked of a guest's instruction bytes. How long is the instruction that an intercept has named
//! ([`skip_length`])? And what did an instruction want to do with the memory that is a device ([`MmioInstruction`])?

mod modrm;
mod prefixes;
mod skip;

pub use self::{
    modrm::MemoryOperand,
    prefixes::Repeat,
    skip::{Expected, skip_length, unprefixed_length},
};

/// No instruction is longer: the CPU raises #GP.
pub const MAX_LENGTH: usize = 15;
