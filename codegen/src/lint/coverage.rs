//! Every bit of every word is in some row: one that nobody thought of is neither a name nor reserved.

use crate::diagnostics::Diagnostic;
use crate::model::{BitRange, CLEAN_MEMBER, Head, LayoutField, Span, Spec};

/// What to write for bits that are missing: the header of the row, and what else it needs.
struct Wanted {
    header: &'static str,
    also: String,
}

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let wanted = |header, also| Wanted { header, also };
    for layout in spec.layouts.iter().filter(|layout| !layout.fields.is_empty()) {
        word(
            &layout.head,
            layout.width.into(),
            ranges(&layout.fields),
            &wanted("[[layout.field]]", String::new()),
            out,
        );
    }
    for member in spec.members.iter().filter(|member| !member.bits.is_empty() && member.size.value <= 8) {
        let bits = ranges(&member.bits);
        word(&member.head, member.size.value * 8, bits, &wanted("[[member.bit]]", String::new()), out);
    }
    for control in spec.controls.iter().filter(|control| !control.bits.is_empty()) {
        let bits = control.bits.iter().map(|bit| bit.bits);
        word(&control.head, control.width.into(), bits, &wanted("[[control.bit]]", String::new()), out);
    }
    for row in &spec.words {
        let number = row.number.value;
        let bits = spec.intercepts.iter().filter(|row| row.word.value == number).map(|row| row.bits);
        word(&row.head, 32, bits, &wanted("[[intercept]]", format!(", `word = {number}`")), out);
    }
    if let Some(first) = spec.clean.first() {
        let bits = spec.clean.iter().map(|row| row.bits);
        named(CLEAN_MEMBER, first.head.name.span, 32, bits, &wanted("[[clean]]", String::new()), out);
    }
}

fn ranges(fields: &[LayoutField]) -> impl Iterator<Item = BitRange> {
    fields.iter().map(|field| field.bits)
}

fn word(head: &Head, width: u64, bits: impl Iterator<Item = BitRange>, wanted: &Wanted, out: &mut Vec<Diagnostic>) {
    named(head.name(), head.name.span, width, bits, wanted, out);
}

fn named(
    name: &str,
    span: Span,
    width: u64,
    bits: impl Iterator<Item = BitRange>,
    wanted: &Wanted,
    out: &mut Vec<Diagnostic>,
) {
    let mut missing = u64::MAX >> (64 - width.clamp(1, 64));
    for bits in bits {
        // A range that is wrong leaves a gap where it belongs: one mistake, of which another lint tells.
        if bits.high < bits.low || missing & bits.mask() != bits.mask() {
            return;
        }
        missing &= !bits.mask();
    }
    let mut gaps = Vec::new();
    while missing != 0 {
        let low = missing.trailing_zeros();
        let high = low + (missing >> low).trailing_ones() - 1;
        gaps.push((high, low));
        missing &= !BitRange { high, low, span }.mask();
    }
    // Once per word: the highest comes first, as in manuals.
    gaps.reverse();
    let Some((high, low)) = gaps.first() else { return };
    let list = gaps.iter().map(|(high, low)| shown(*high, *low)).collect::<Vec<_>>().join(", ");
    let (bit, have) = if gaps.len() == 1 && high == low { ("bit", "is") } else { ("bits", "are") };
    let message = format!("{bit} {list} of {name} {have} in no row");
    let row = format!("a reserved row is `{}` with `bits = [{high}, {low}]`, `reserved = 0`", wanted.header);
    out.push(Diagnostic::new(span, message).help(row + &wanted.also));
}

fn shown(high: u32, low: u32) -> String {
    if high == low { high.to_string() } else { format!("{high}:{low}") }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_layout() {
        let found = after("intel/structures.toml", "bits = [47, 12]", "bits = [45, 13]");
        assert_eq!(found, ["bits 47:46, 12 of EptPointer are in no row"]);
    }

    #[test]
    fn a_member() {
        let found = after("amd/vmcb.toml", "bits = [63, 9]", "bits = [63, 10]");
        assert_eq!(found, ["bit 9 of VIRTUAL_INTERRUPT is in no row"]);
    }

    #[test]
    fn controls() {
        let found = after("intel/controls.toml", "bits = [27, 0]", "bits = [26, 0]");
        assert_eq!(found, ["bit 27 of PrimaryControls is in no row"]);
    }

    #[test]
    fn intercepts() {
        let found = after("amd/intercepts.toml", "bits = [17, 1]", "bits = [16, 2]");
        assert_eq!(found, ["bits 17, 1 of InterceptMisc1 are in no row"]);
    }

    #[test]
    fn clean_bits() {
        let found = after("amd/vmcb.toml", "bits = [31, 4]", "bits = [30, 4]");
        assert_eq!(found, ["bit 31 of CLEAN_BITS is in no row"]);
    }
}
