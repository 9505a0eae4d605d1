//! Instruction bytes in an array that goes on behind them, so that a decoder reads first and asks once, at the end, whether what
//! it read was there. That halves its instructions.

use super::MAX_LENGTH;

/// 15 bytes of an instruction, and zeros; 8 bytes can be read at each of the first 16 offsets.
pub type PaddedBytes = [u8; 24];

/// Padded bytes, and how many of them are given.
#[derive(Clone, Copy, Debug)]
pub struct Padded {
    /// The bytes.
    pub bytes: PaddedBytes,
    /// How many of them are given.
    pub length: usize,
}

impl Padded {
    /// A copy of at most 15 bytes.
    pub fn new(given: &[u8]) -> Self {
        let length = given.len().min(MAX_LENGTH);
        let mut bytes = [0; 24];
        for (to, from) in bytes.iter_mut().zip(given.iter().take(length)) {
            *to = *from;
        }
        Self { bytes, length }
    }
}

/// The byte at an offset. Offsets beyond 15 give some byte: the caller finds out by the length.
#[inline(always)]
pub(super) fn byte(bytes: &PaddedBytes, at: usize) -> u8 {
    bytes[at & 15]
}

/// Up to eight bytes at an offset; likewise.
#[inline(always)]
pub(super) fn bytes_at<const N: usize>(bytes: &PaddedBytes, at: usize) -> [u8; N] {
    const { assert!(N <= 8) };
    let mut found = [0; N];
    let mut index = 0;
    while index < N {
        found[index] = bytes[(at & 15) + index];
        index += 1;
    }
    found
}
