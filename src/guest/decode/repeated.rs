//! String instructions that are interrupted between two iterations: SDM volume 2B, "REP/REPE/REPZ/REPNE/REPNZ".

use super::prefixes::Prefixes;
use crate::guest::segmentation::CodeSize;

/// Whether a string instruction with a repeat prefix stands at the start of `bytes`.
pub fn is_repeated_string(bytes: &[u8], code: CodeSize) -> bool {
    let prefixes = Prefixes::scan(bytes, code);
    let opcode = bytes.get(usize::from(prefixes.length));
    let string = matches!(opcode, Some(0x6c..=0x6f | 0xa4..=0xa7 | 0xaa..=0xaf));
    string && prefixes.repeat().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_strings() {
        let is = |bytes: &[u8]| is_repeated_string(bytes, CodeSize::Bits64);
        assert!(is(&[0xf3, 0xaa]) && is(&[0xf2, 0x48, 0xa7]) && is(&[0x67, 0xf3, 0x6c, 0x90]));
        assert!(!is(&[0xaa]) && !is(&[0xf3, 0x90]) && !is(&[0xf3, 0xa8]) && !is(&[0xf3]) && !is(&[]));
    }
}
