//! Numbers fit where hardware has them.

use crate::diagnostics::Diagnostic;
use crate::model::{Spec, Vendor};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for row in spec.exits_of(Vendor::Intel) {
        if !(0..=0xffff).contains(&row.number.value) {
            let message = format!("basic exit reasons have 16 bits: {} is none", row.number.value);
            out.push(Diagnostic::new(row.number.span, message));
        }
    }
    for control in &spec.controls {
        for row in control.bits.iter().filter(|row| row.bits.high >= control.width) {
            let message =
                format!("bit {} of {} is not in a word of {} bits", row.bits.high, row.head.name(), control.width);
            out.push(Diagnostic::new(row.bits.span, message));
        }
    }
    // Larger members become bytes: there is no integer to have bits.
    for member in spec.members.iter().filter(|member| !member.bits.is_empty() && member.reserved.is_none()) {
        if !matches!(member.size.value, 1 | 2 | 4 | 8) {
            let message = format!("{} has bits, but {} bytes are no integer", member.head.name(), member.size.value);
            out.push(Diagnostic::new(member.size.span, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn an_exit_reason_of_more_than_16_bits() {
        let found = after("intel/exits.toml", "number = 10\n", "number = 0x1000a\n");
        assert_eq!(found, ["basic exit reasons have 16 bits: 65546 is none"]);
    }

    #[test]
    fn a_control_bit_outside_of_its_word() {
        let found = after("intel/controls.toml", "bit = 28", "bit = 33");
        assert_eq!(found, ["bit 33 of USE_MSR_BITMAPS is not in a word of 32 bits"]);
    }
}
