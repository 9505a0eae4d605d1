//! Ranges of bits are inside their word and do not overlap.

use crate::diagnostics::Diagnostic;
use crate::model::{LayoutField, Spec};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for layout in &spec.layouts {
        word(&layout.fields, layout.width.into(), out);
    }
    for member in &spec.members {
        word(&member.bits, member.size.value * 8, out);
    }
}

fn word(fields: &[LayoutField], width: u64, out: &mut Vec<Diagnostic>) {
    for (index, field) in fields.iter().enumerate() {
        let (bits, name) = (field.bits, field.head.name());
        if bits.high < bits.low {
            let error = Diagnostic::new(bits.span, format!("{name} ends before it starts"));
            out.push(error.help(format!("the highest bit comes first: `[{}, {}]`", bits.low, bits.high)));
            continue;
        }
        if u64::from(bits.high) >= width {
            out.push(Diagnostic::new(
                bits.span,
                format!("bit {} of {name} is not in a word of {width} bits", bits.high),
            ));
        }
        let before = fields[..index].iter().filter(|other| other.bits.high >= other.bits.low);
        if let Some(other) = before.into_iter().find(|other| other.bits.mask() & bits.mask() != 0) {
            let both = other.bits.mask() & bits.mask();
            let message = format!("bit {} belongs to {} already", both.trailing_zeros(), other.head.name());
            let error = Diagnostic::new(bits.span, message).label(name);
            out.push(error.related(other.bits.span, format!("{} is here", other.head.name())));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_range_upside_down() {
        let found = after("intel/structures.toml", "bits = [2, 0]", "bits = [0, 2]");
        assert_eq!(found, ["MEMORY_TYPE ends before it starts"]);
    }

    #[test]
    fn a_bit_outside_of_its_word() {
        let found = after("x86/registers.toml", "bits = [31, 31]", "bits = [32, 32]");
        assert_eq!(found, ["bit 32 of PG is not in a word of 32 bits"]);
    }

    #[test]
    fn a_bit_that_two_ranges_have() {
        let found = after("intel/structures.toml", "bits = [5, 3]", "bits = [5, 2]");
        assert_eq!(found, ["bit 2 belongs to MEMORY_TYPE already"]);
    }

    #[test]
    fn a_bit_of_a_member_that_two_ranges_have() {
        let found = after("amd/vmcb.toml", "bits = [8, 8]", "bits = [7, 7]");
        assert_eq!(found, ["bit 7 belongs to V_TPR already"]);
    }
}
