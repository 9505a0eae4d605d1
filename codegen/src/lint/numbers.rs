//! What hardware tells apart by a number has different numbers.

use crate::diagnostics::Diagnostic;
use crate::model::{BitRange, Head, Spec, Vendor};

use super::{Item, unique};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let fields = spec.fields.iter().map(|row| Item::new(&row.encoding, &row.head));
    unique(out, fields, |n| format!("encoding {n:#06x}"));
    for vendor in [Vendor::Intel, Vendor::Amd] {
        unique(out, spec.exits_of(vendor).map(|row| Item::new(&row.number, &row.head)), |n| format!("number {n}"));
        // An MSR of `x86/` is there on either vendor's CPUs, and those of the two never meet.
        let own = spec.msrs.iter().filter(|row| [vendor, Vendor::X86].contains(&spec.vendor(row.module)));
        let mut found = Vec::new();
        unique(&mut found, own.map(|row| Item::new(&row.address, &row.head)), |n| format!("address {n:#x}"));
        out.extend(found.into_iter().filter(|error| !out.contains(error)).collect::<Vec<_>>());
    }
    let errors = spec.instruction_errors.iter().map(|row| Item::new(&row.number, &row.head));
    unique(out, errors, |n| format!("number {n}"));
    for table in &spec.enums {
        unique(out, table.values.iter().map(|row| Item::new(&row.number, &row.head)), |n| format!("number {n}"));
    }
    let places = spec.layouts.iter().filter_map(|row| {
        let place = row.cpuid?;
        let key = (place.leaf, place.subleaf, place.register);
        Some(Item { key, span: row.head.name.span, name: row.head.name() })
    });
    unique(out, places, |(leaf, subleaf, register)| format!("leaf {leaf:#x}, subleaf {subleaf}, {}", register.name()));
    unique(out, spec.controls.iter().map(|row| Item::new(&row.id, &row.head)), |id| format!("the id `{}`", id.name()));
    for control in &spec.controls {
        bits(out, control.bits.iter().map(|row| (row.bits, &row.head)), "");
    }
    bits(out, spec.clean.iter().map(|row| (row.bits, &row.head)), "");
    unique(out, spec.words.iter().map(|row| Item::new(&row.number, &row.head)), |n| format!("number {n}"));
    unique(out, spec.words.iter().map(|row| Item::new(&row.member, &row.head)), |name| format!("member {name}"));
    for number in 0..6 {
        let own = spec.intercepts.iter().filter(|row| row.word.value == number);
        bits(out, own.map(|row| (row.bits, &row.head)), &format!(" of word {number}"));
    }
}

/// The same of rows that may have several bits.
fn bits<'a>(out: &mut Vec<Diagnostic>, rows: impl Iterator<Item = (BitRange, &'a Head)>, of: &str) {
    let mut before: Vec<(BitRange, &Head)> = Vec::new();
    for (bits, head) in rows {
        if let Some((other, first)) = before.iter().find(|(other, _)| other.mask() & bits.mask() != 0) {
            let (bit, name) = ((other.mask() & bits.mask()).trailing_zeros(), first.name());
            let message = format!("{} has bit {bit}{of}, which is that of {name} already", head.name());
            let error = Diagnostic::new(bits.span, message).label(head.name());
            out.push(error.related(other.span, format!("{name} is here")));
        }
        before.push((bits, head));
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn two_fields_with_one_encoding() {
        let found = after("intel/vmcs.toml", "encoding = 0x681e", "encoding = 0x681c");
        assert_eq!(found, ["GUEST_RIP has encoding 0x681c, which is that of GUEST_RSP already"]);
    }

    #[test]
    fn two_exits_with_one_number() {
        let found = after("intel/exits.toml", "number = 10\n", "number = 12\n");
        assert_eq!(found, ["HLT has number 12, which is that of CPUID already"]);
    }

    #[test]
    fn two_msrs_with_one_address() {
        let found = after("intel/msrs.toml", "address = 0x480", "address = 0x1b");
        assert_eq!(found, ["IA32_APIC_BASE has address 0x1b, which is that of IA32_VMX_BASIC already"]);
    }

    #[test]
    fn two_words_of_one_register_of_cpuid() {
        let found = after(
            "x86/registers.toml",
            "width = 32\n",
            "width = 32\ncpuid = { leaf = 1, register = \"eax\" }\nfield = [{ name = \"A\", manual_name = \"A\", bits = [31, 0] }]\n\
             cite = { doc = \"sdm3\", title = \"A\" }\n\n[[layout]]\nname = \"Cr1\"\nmanual_name = \"CR1\"\nwidth = 32\n\
             cpuid = { leaf = 1, subleaf = 0, register = \"eax\" }\n",
        );
        assert_eq!(found, ["Cr1 has leaf 0x1, subleaf 0, eax, which is that of Cr0 already"]);
    }

    #[test]
    fn two_intercepts_of_one_bit() {
        let found = after("amd/intercepts.toml", "word = 3\nbit = 18", "word = 3\nbit = 0");
        assert_eq!(found, ["CPUID has bit 0 of word 3, which is that of INTR already"]);
    }
}
