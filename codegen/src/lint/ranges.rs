//! Numbers fit where hardware has them.

use crate::diagnostics::Diagnostic;
use crate::model::{BitRange, Spec, Vendor};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for row in spec.exits_of(Vendor::Intel) {
        if !(0..=0xffff).contains(&row.number.value) {
            let message = format!("basic exit reasons have 16 bits: {} is none", row.number.value);
            out.push(Diagnostic::new(row.number.span, message).help("the bits above tell other things of an exit"));
        }
    }
    for control in &spec.controls {
        for row in &control.bits {
            bits(row.bits, row.head.name(), control.width, out);
        }
    }
    for row in &spec.intercepts {
        bits(row.bits, row.head.name(), 32, out);
    }
    for row in &spec.clean {
        bits(row.bits, row.head.name(), 32, out);
    }
    // Larger members become bytes: there is no integer to have bits.
    for member in spec.members.iter().filter(|member| !member.bits.is_empty() && member.reserved.is_none()) {
        if !matches!(member.size.value, 1 | 2 | 4 | 8) {
            let message = format!("{} has bits, but {} bytes are no integer", member.head.name(), member.size.value);
            out.push(Diagnostic::new(member.size.span, message));
        }
    }
}

/// A bit, or the bits of a reserved row.
fn bits(bits: BitRange, name: &str, width: u32, out: &mut Vec<Diagnostic>) {
    if bits.high < bits.low {
        let error = Diagnostic::new(bits.span, format!("{name} ends before it starts"));
        out.push(error.help(format!("the highest bit comes first: `[{}, {}]`", bits.low, bits.high)));
    } else if bits.high >= width {
        let message = format!("bit {} of {name} is not in a word of {width} bits", bits.high);
        out.push(Diagnostic::new(bits.span, message));
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

    #[test]
    fn reserved_bits_upside_down_or_outside() {
        let found = after("intel/controls.toml", "bits = [27, 0]", "bits = [0, 27]");
        assert_eq!(found, ["RESERVED_27_0 ends before it starts"]);
        let found = after("amd/intercepts.toml", "bits = [31, 19]", "bits = [32, 19]");
        assert_eq!(found, ["bit 32 of RESERVED_31_19 is not in a word of 32 bits"]);
        let found = after("amd/vmcb.toml", "bits = [31, 4]", "bits = [63, 4]");
        assert_eq!(found, ["bit 63 of RESERVED_31_4 is not in a word of 32 bits"]);
    }
}
