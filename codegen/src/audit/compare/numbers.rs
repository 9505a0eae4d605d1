//! Numbers as readers know them.

use super::Range;
use crate::audit::source::Kind;

/// "encoding 0x681e", "bit 3", "offset 0x60, 8 bytes".
pub(crate) fn shown(kind: &Kind, range: Range, open: bool) -> String {
    let Range { low, high } = range;
    let one = low == high;
    match kind {
        Kind::VmcsFields if one => format!("encoding {low:#06x}"),
        Kind::VmcsFields => format!("encodings {low:#06x} to {high:#06x}"),
        Kind::Controls(_) | Kind::Bits { .. } if one => format!("bit {low}"),
        Kind::Controls(_) | Kind::Bits { .. } => format!("bits {high}:{low}"),
        Kind::VmxExits | Kind::InstructionErrors if one => format!("number {low}"),
        Kind::VmxExits | Kind::InstructionErrors => format!("numbers {low} to {high}"),
        Kind::Msrs if one => format!("address {low:#x}"),
        Kind::Msrs => format!("addresses {low:#x} to {high:#x}"),
        Kind::SvmExits if one => format!("code {}", code(low)),
        Kind::SvmExits => format!("codes {} to {}", code(low), code(high)),
        Kind::Intercepts if one => format!("word {} bit {}", low / 32, low % 32),
        Kind::Intercepts => format!("word {} bits {}:{}", low / 32, high % 32, low % 32),
        Kind::Members(_) => member(range, open),
    }
}

/// A value of an enumeration.
pub(super) fn value(range: Range) -> String {
    if range.low == range.high {
        format!("value {}", range.low)
    } else {
        format!("values {} to {}", range.low, range.high)
    }
}

fn code(number: i64) -> String {
    if number < 0 { number.to_string() } else { format!("{number:#x}") }
}

fn member(Range { low, high }: Range, open: bool) -> String {
    let (offset, bits) = (low / 8, high - low + 1);
    if open {
        format!("offset {offset:#05x}")
    } else if low % 8 == 0 && bits % 8 == 0 {
        format!("offset {offset:#05x}, {} {}", bits / 8, if bits == 8 { "byte" } else { "bytes" })
    } else {
        // Counted from the 8 bytes that they are in.
        let word = low / 64 * 64;
        let (high, low) = (high - word, low - word);
        let bits = if high == low { format!("bit {low}") } else { format!("bits {high}:{low}") };
        format!("offset {:#05x} {bits}", word / 8)
    }
}
