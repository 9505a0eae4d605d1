//! Instructions, as far as a hypervisor has to read them.
//!
//! Two questions are asked of a guest's instruction bytes. How long is the instruction that an intercept has named
//! ([`skip_length`])? And what did an instruction want to do with the memory that is a device ([`MmioInstruction`])?
//!
//! Both are answered by a decoder of our own, because both need little: the published decoders without a heap know every
//! instruction in three modes, in dozens of times the code. The tests hold it to two of them on random bytes.

#[cfg(feature = "amd")]
mod control;
mod instruction;
mod modrm;
mod opcodes;
mod padded;
mod prefixes;
#[cfg(any(feature = "amd", test))]
mod skip;
#[cfg(feature = "amd")]
mod string_operands;
#[cfg(test)]
mod tests;

#[cfg(feature = "amd")]
pub use self::skip::unprefixed_length;
#[cfg(any(feature = "amd", test))]
pub use self::skip::{Expected, skip_length};
#[cfg(feature = "amd")]
pub use self::{
    control::{ControlAccess, WordOperand},
    string_operands::string_operands,
};
pub use self::{
    instruction::{
        Address, Arithmetic, BitIndex, BitOperation, Condition, MmioInstruction, Operation, Register, Source,
        StringAddress, Unary,
    },
    modrm::MemoryOperand,
    padded::Padded,
    prefixes::Repeat,
};

/// No instruction is longer: the CPU raises #GP.
pub const MAX_LENGTH: usize = 15;

/// Why bytes were not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The instruction goes on behind the bytes that were given.
    Truncated,
    /// It is none of those that the library emulates.
    Unsupported,
}
