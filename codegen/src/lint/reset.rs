//! The value of an MSR after RESET is one that its layout allows.

use crate::diagnostics::Diagnostic;
use crate::model::{BitRange, LayoutField, Msr, Spanned, Spec};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for msr in &spec.msrs {
        let (Some(reset), Some(layout)) = (&msr.reset, &msr.layout) else { continue };
        let Some(layout) = spec.layout(&layout.value) else { continue };
        layout.fields.iter().for_each(|field| check(spec, msr, reset, field, out));
    }
}

fn check(spec: &Spec, msr: &Msr, reset: &Spanned<u64>, field: &LayoutField, out: &mut Vec<Diagnostic>) {
    let BitRange { low, .. } = field.bits;
    let bits = reset.value & field.bits.mask();
    let message = match (field.reserved, field.ty.as_ref()) {
        (Some(0), _) if bits != 0 => {
            format!("`reset` of {} sets bit {}, which is reserved to 0", msr.head.name(), bits.trailing_zeros())
        }
        (Some(1), _) if bits != field.bits.mask() => {
            let bit = (field.bits.mask() & !bits).trailing_zeros();
            format!("`reset` of {} clears bit {bit}, which is reserved to 1", msr.head.name())
        }
        (None, Some(ty)) => {
            let value = bits >> low.min(63);
            let Some(table) = spec.enums.iter().find(|table| table.head.name() == ty.value) else { return };
            if table.values.iter().any(|row| row.number.value == value) {
                return;
            }
            format!(
                "`reset` of {} has {value} as {}, which `{}` does not list",
                msr.head.name(),
                field.head.name(),
                ty.value
            )
        }
        _ => return,
    };
    out.push(Diagnostic::new(reset.span, message).related(field.bits.span, format!("{} is here", field.head.name())));
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    /// What is found when an MSR of the layout `EptPointer` has this value.
    fn with(reset: &str) -> Vec<String> {
        let keys = format!("address = 0x480\nlayout = \"EptPointer\"\nreset = {reset}\n");
        after("intel/msrs.toml", "address = 0x480\n", &keys)
    }

    #[test]
    fn reserved_bits() {
        assert_eq!(with("0x40"), [""; 0]);
        assert_eq!(with("0x100"), ["`reset` of IA32_VMX_BASIC sets bit 8, which is reserved to 0"]);
    }

    #[test]
    fn a_value_that_is_not_listed() {
        assert_eq!(with("5"), ["`reset` of IA32_VMX_BASIC has 5 as MEMORY_TYPE, which `MemoryType` does not list"]);
    }
}
