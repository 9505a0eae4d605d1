//! The bytes of the guest's current instruction.

#[cfg(test)]
mod tests;

use super::{
    decode::{DecodeError, MAX_LENGTH, MmioInstruction, Padded},
    memory::GuestMemory,
    segmentation::CodeSize,
    walk::{LinearAccess, Paging, WalkFault},
};
use crate::frame::FrameSource;

/// Where the guest executes.
#[derive(Clone, Copy, Debug)]
pub struct CodeAddress {
    /// The kind of code.
    pub size: CodeSize,
    /// The linear address of the instruction ([`CodeSize::linear`]).
    pub linear: u64,
}

/// Up to 15 bytes from the start of an instruction.
#[derive(Clone, Copy, Debug)]
pub struct InstructionBytes(Padded);

const PAGE: u64 = 0x1000;

impl InstructionBytes {
    /// Bytes that the CPU has delivered (the decode assists of SVM); those beyond 15 are dropped.
    #[allow(dead_code, reason = "for CPUs with decode assists")]
    pub fn new(given: &[u8]) -> Self {
        Self(Padded::new(given))
    }

    /// No bytes.
    pub const EMPTY: Self = Self(Padded::EMPTY);

    /// Reads the instruction at `code` as far as its first byte's page goes, which is far enough for nearly all.
    ///
    /// # Errors
    /// The CPU has fetched this instruction just before, so a fault means that another CPU took the page away since: the
    /// guest goes on where it is, and raises the fault itself.
    pub fn fetch<S: FrameSource>(
        memory: &mut GuestMemory<'_, S>,
        paging: &Paging,
        code: CodeAddress,
    ) -> Result<Self, WalkFault> {
        let mut bytes = Self::EMPTY;
        bytes.fetch_into(memory, paging, code)?;
        Ok(bytes)
    }

    /// The same, in place.
    ///
    /// # Errors
    /// As [`InstructionBytes::fetch`].
    #[inline]
    pub fn fetch_into<S: FrameSource>(
        &mut self,
        memory: &mut GuestMemory<'_, S>,
        paging: &Paging,
        code: CodeAddress,
    ) -> Result<(), WalkFault> {
        let gpa = paging.translate(memory, code.linear, LinearAccess::Done)?;
        let in_page = PAGE - (code.linear & (PAGE - 1));
        if in_page >= 16 {
            self.0.length = MAX_LENGTH;
            self.0.set_16(memory.read_code_16(gpa)?);
        } else {
            self.0.length = in_page.min(MAX_LENGTH as u64) as usize;
            if let Some(piece) = self.0.bytes.get_mut(..self.0.length) {
                memory.read_code(gpa, piece)?;
            }
        }
        Ok(())
    }

    /// Reads what lies in the next page too, if bytes are missing. Says whether there were any.
    ///
    /// # Errors
    /// As [`InstructionBytes::fetch`].
    #[cold]
    pub fn extend<S: FrameSource>(
        &mut self,
        memory: &mut GuestMemory<'_, S>,
        paging: &Paging,
        code: CodeAddress,
    ) -> Result<bool, WalkFault> {
        let have = self.0.length;
        let Some(missing) = self.0.bytes.get_mut(have..MAX_LENGTH).filter(|missing| !missing.is_empty()) else {
            return Ok(false);
        };
        let mut linear = code.linear.wrapping_add(have as u64);
        if code.size != CodeSize::Bits64 {
            linear &= 0xffff_ffff;
        }
        let gpa = paging.translate(memory, linear, LinearAccess::Done)?;
        memory.read_code(gpa, missing)?;
        self.0.length = MAX_LENGTH;
        Ok(true)
    }

    /// The bytes in an array that goes on behind them.
    #[inline]
    pub fn padded(&self) -> &Padded {
        &self.0
    }

    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Decodes an instruction that accessed a device.
    ///
    /// # Errors
    /// As [`InstructionBytes::fetch`].
    pub fn decode_mmio<S: FrameSource>(
        &mut self,
        memory: &mut GuestMemory<'_, S>,
        paging: &Paging,
        code: CodeAddress,
    ) -> Result<Result<MmioInstruction, DecodeError>, WalkFault> {
        self.decode(memory, paging, code, |bytes| MmioInstruction::decode(bytes, code.size))
    }

    /// Gives the bytes to `decode`, and once more with those of the next page if they are too few.
    ///
    /// # Errors
    /// As [`InstructionBytes::fetch`].
    #[inline]
    pub fn decode<S: FrameSource, T>(
        &mut self,
        memory: &mut GuestMemory<'_, S>,
        paging: &Paging,
        code: CodeAddress,
        decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Result<T, DecodeError>, WalkFault> {
        match decode(self.as_slice()) {
            Err(DecodeError::Truncated) if self.extend(memory, paging, code)? => Ok(decode(self.as_slice())),
            decoded => Ok(decoded),
        }
    }
}
