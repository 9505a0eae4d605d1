//! Instruction bytes in an array that goes on behind them, so that a decoder reads first and asks once, at the end, whether what
//! it read was there.

use super::MAX_LENGTH;

/// The bytes of an instruction, and zeros behind them.
#[derive(Clone, Copy, Debug)]
pub struct Padded {
    /// The bytes.
    pub bytes: [u8; 32],
    /// How many of them are given, at most 15.
    pub length: usize,
}

impl Padded {
    /// No bytes.
    pub const EMPTY: Self = Self { bytes: [0; 32], length: 0 };

    /// A copy of at most 15 bytes.
    pub fn new(given: &[u8]) -> Self {
        let mut padded = Self { length: given.len().min(MAX_LENGTH), ..Self::EMPTY };
        for (to, from) in padded.bytes.iter_mut().zip(given.iter().take(padded.length)) {
            *to = *from;
        }
        padded
    }

    /// Takes 16 bytes as two little-endian numbers, of which 15 are given.
    #[inline]
    pub fn set_16(&mut self, [low, high]: [u64; 2]) {
        let [first, second, ..] = self.bytes.as_chunks_mut::<8>().0 else { return };
        *first = low.to_le_bytes();
        *second = high.to_le_bytes();
        self.length = MAX_LENGTH;
    }

    /// The bytes that are given.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }

    /// The byte at an offset below 24. What is read beyond `length` has no meaning.
    #[inline(always)]
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes[at & 31]
    }

    /// Eight bytes at an offset below 24; likewise.
    #[inline(always)]
    pub(super) fn bytes(&self, at: usize) -> [u8; 8] {
        match self.bytes.get(at..).and_then(|tail| tail.first_chunk()) {
            Some(bytes) => *bytes,
            None => [0; 8],
        }
    }
}
