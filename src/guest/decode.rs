//! Instructions, as far as a hypervisor has to read them.
//!
//! Two questions are asked of a guest's instruction bytes. How long is the instruction that an intercept has named
//! ([`skip_length`])? And what did an instruction want to do with the memory that is a device ([`MmioInstruction`])?
//!
//! The second is answered by a published decoder without a heap, [`library`]. Before it comes a fast path of our own for plain
//! MOVs ([`fast_mov`](super::fast_mov)), and the first question has one too, since the opcode is known. The tests hold all of
//! them to one another and to a second published decoder.

#[cfg(feature = "amd")]
mod control;
mod instruction;
mod library;
mod memory_operand;
#[cfg(any(feature = "amd", test))]
mod modrm;
mod padded;
mod prefixes;
#[cfg(all(feature = "replay", any(feature = "vmx", feature = "amd")))]
mod repeated;
#[cfg(any(feature = "amd", test))]
mod skip;
#[cfg(feature = "amd")]
mod string_operands;
#[cfg(test)]
mod tests;

#[cfg(all(feature = "replay", any(feature = "vmx", feature = "amd")))]
pub use self::repeated::is_repeated_string;
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
        Address, Arithmetic, BitIndex, BitOperation, Condition, Count, DoubleShift, MmioInstruction, Operation,
        Register, Shift, Source, StringAddress, Unary,
    },
    memory_operand::MemoryOperand,
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
    /// It has a LOCK prefix and may not have one: #UD.
    NotLockable,
    /// It does not end within 15 bytes: #GP.
    TooLong,
}
