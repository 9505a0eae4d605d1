//! Small pieces of text.

use maud::{Markup, html};

/// Running text; what stands between backticks is code.
pub(super) fn prose(text: &str) -> Markup {
    html! {
        @for (i, piece) in text.split('`').enumerate() {
            @if i % 2 == 1 { code { (piece) } } @else { (piece) }
        }
    }
}

/// A number as manuals and C print it, with at least `digits` digits.
pub(super) fn hex(number: u64, digits: usize) -> String {
    format!("{number:#0width$x}", width = digits + 2)
}

/// "1 byte", "2 bytes".
pub(super) fn counted(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Bits as manuals write them.
pub(super) fn range(high: u32, low: u32) -> String {
    if high == low { low.to_string() } else { format!("{high}:{low}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_code_is_marked() {
        assert_eq!(prose("a < `b & c`").into_string(), "a &lt; <code>b &amp; c</code>");
        assert_eq!(hex(0x2a, 4), "0x002a");
        assert_eq!(counted(1u32, "byte") + &range(7, 0), "1 byte7:0");
    }
}
