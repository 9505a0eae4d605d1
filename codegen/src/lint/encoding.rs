//! The bits of a VMCS encoding agree with the field's group and width.

use crate::diagnostics::Diagnostic;
use crate::model::{Group, Spec, Width};

/// Bits that are set in no encoding: 12, and 31:15.
const RESERVED: u64 = !0x6fff;

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for field in &spec.fields {
        let (encoding, span) = (field.encoding.value, field.encoding.span);
        if encoding & RESERVED != 0 {
            let bit = (encoding & RESERVED).trailing_zeros();
            let error = Diagnostic::new(span, format!("encoding {encoding:#06x} has bit {bit} set, which is reserved"));
            out.push(error.help("bits 31:15 and 12 of an encoding are 0"));
            continue;
        }
        if encoding & 1 != 0 {
            let error = Diagnostic::new(span, format!("encoding {encoding:#06x} is that of the upper half of a field"));
            out.push(error.help("bit 0 is 0; in 64-bit mode the whole field is read at once"));
        }
        let width = field.width.value;
        if encoding >> 13 & 3 != width.code() {
            let says =
                Width::ALL.iter().find(|(known, _)| known.code() == encoding >> 13 & 3).map_or("", |(_, name)| *name);
            let message = format!("encoding {encoding:#06x} says width {says}, not {}", width.name());
            let error = Diagnostic::new(span, message).related(field.width.span, "the width is here");
            out.push(
                error.help(format!("with that width it would be {:#06x}", encoding & !0x6000 | width.code() << 13)),
            );
        }
        let group = field.group.value;
        if encoding >> 10 & 3 != group.code() {
            let says =
                Group::ALL.iter().find(|(known, _)| known.code() == encoding >> 10 & 3).map_or("", |(_, name)| *name);
            let message = format!("encoding {encoding:#06x} says group `{says}`, not `{}`", group.name());
            let error = Diagnostic::new(span, message).related(field.group.span, "the group is here");
            out.push(error.help(format!("in that group it would be {:#06x}", encoding & !0xc00 | group.code() << 10)));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn an_encoding_of_another_width() {
        let found = after("intel/vmcs.toml", "encoding = 0x681e", "encoding = 0x481e");
        assert_eq!(found, ["encoding 0x481e says width 32, not natural"]);
    }

    #[test]
    fn an_encoding_of_another_group() {
        let found = after("intel/vmcs.toml", "encoding = 0x681e", "encoding = 0x6c1e");
        assert_eq!(found, ["encoding 0x6c1e says group `host`, not `guest`"]);
    }

    #[test]
    fn the_upper_half_of_a_field() {
        let found = after("intel/vmcs.toml", "encoding = 0x201a", "encoding = 0x201b");
        assert_eq!(found, ["encoding 0x201b is that of the upper half of a field"]);
    }

    #[test]
    fn a_reserved_bit() {
        let found = after("intel/vmcs.toml", "encoding = 0x681e", "encoding = 0x781e");
        assert_eq!(found, ["encoding 0x781e has bit 12 set, which is reserved"]);
    }
}
