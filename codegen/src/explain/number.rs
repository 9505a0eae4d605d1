//! Numbers as people and manuals write them.

/// `0x1f`, `1FH`, `0b101`, `31`, each with `_` between digits and with a sign; nothing that 64 bits cannot hold.
pub fn parse(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.replace('_', "").to_ascii_lowercase();
    let (digits, radix) = if let Some(hex) = digits.strip_prefix("0x") {
        (hex, 16)
    } else if let Some(hex) = digits.strip_suffix('h') {
        (hex, 16)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        (binary, 2)
    } else if let Some(octal) = digits.strip_prefix("0o") {
        (octal, 8)
    } else {
        (digits.as_str(), 10)
    };
    // Or a second sign would be read.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let number = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let number = if negative { -number } else { number };
    (number >= i128::from(i64::MIN)).then_some(number)
}

/// The 64 bits of a number; of a negative one its two's complement.
pub fn bits(number: i128) -> u64 {
    u64::try_from(number).unwrap_or_else(|_| i64::try_from(number).unwrap_or(0).cast_unsigned())
}

/// `681eh`, as the manuals write it.
pub fn hex(number: u64) -> String {
    format!("{number:x}h")
}

/// A hexadecimal number and, where that differs, the decimal one.
pub fn both(number: u64) -> String {
    if number < 10 { number.to_string() } else { format!("{number:#x} ({number})") }
}

/// An exit code, of which those with the top bits set are negative numbers.
pub fn code(number: i64) -> String {
    if number < 0 { number.to_string() } else { format!("{number:#x}") }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn numbers_are_read_in_all_their_forms() {
        for (text, number) in [
            ("0x681e", 0x681e),
            ("681EH", 0x681e),
            ("26654", 26654),
            ("0b10_01", 9),
            ("0xFFFF_FFFF_FFFF_FFFF", u64::MAX.into()),
            ("-1", -1),
            ("0b1h", 0xb1),
            ("0o17", 15),
            ("_1", 1),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for text in ["", "h", "0x", "--1", "-", "_", "0x+1", "681e", "name", "18446744073709551616", "1 2", "ß"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
