//! What INS and OUTS address, for CPUs whose intercepts do not say.
//!
//! SDM volume 2, "INS/INSB/INSW/INSD", "OUTS/OUTSB/OUTSW/OUTSD".

use super::{DecodeError, prefixes::Prefixes};
use crate::guest::segmentation::{AddressSize, CodeSize, SegmentRegister};

/// The address size of the string instruction at the start of `bytes`, and the segment of its source.
///
/// # Errors
/// [`DecodeError::Truncated`] when there are prefixes only, [`DecodeError::Unsupported`] when it is neither INS nor OUTS.
pub fn string_operands(bytes: &[u8], code: CodeSize) -> Result<(AddressSize, SegmentRegister), DecodeError> {
    let prefixes = Prefixes::scan(bytes, code);
    match bytes.get(usize::from(prefixes.length)) {
        Some(0x6c..=0x6f) => Ok((prefixes.address_size(code), prefixes.segment().unwrap_or(SegmentRegister::Ds))),
        Some(_) => Err(DecodeError::Unsupported),
        None => Err(DecodeError::Truncated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_count() {
        let (long, short) = (CodeSize::Bits64, CodeSize::Bits16);
        assert_eq!(string_operands(&[0x6e], long), Ok((AddressSize::Bits64, SegmentRegister::Ds)));
        assert_eq!(string_operands(&[0xf3, 0x67, 0x64, 0x6f], long), Ok((AddressSize::Bits32, SegmentRegister::Fs)));
        assert_eq!(string_operands(&[0x2e, 0x66, 0x6f], short), Ok((AddressSize::Bits16, SegmentRegister::Cs)));
        assert_eq!(string_operands(&[0x67, 0x6d], short), Ok((AddressSize::Bits32, SegmentRegister::Ds)));
        assert_eq!(string_operands(&[0xf3], short), Err(DecodeError::Truncated));
        assert_eq!(string_operands(&[0xf3, 0xa4], short), Err(DecodeError::Unsupported));
    }
}
