//! Words, joined and cut.

use crate::audit::read::pdf::Word;

/// Joins words; what a hyphen ends at the end of a line goes on without a space.
pub fn join<'a>(words: impl IntoIterator<Item = &'a Word>) -> String {
    let mut text = String::new();
    let mut last: Option<&Word> = None;
    for word in words {
        if let Some(last) = last {
            let same_line = (last.middle() - word.middle()).abs() < 5.0;
            let hyphen = last.text.ends_with('-') && last.text.len() > 1;
            if same_line || !(hyphen || is_cut(&last.text, &word.text)) {
                text.push(' ');
            }
        }
        // Where these stand is up to the program that read them.
        text.extend(word.text.chars().filter(|c| !matches!(c, '®' | '™')));
        last = Some(word);
    }
    text
}

/// Whether the name of an MSR goes on in the next line: "IA32_PERF_GLOBA", "L_CTRL".
fn is_cut(end: &str, start: &str) -> bool {
    let name = |text: &str| text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let begins = |text: &str| text.starts_with("IA32_") || text.starts_with("MSR_");
    begins(end) && name(end) && name(start) && !begins(start) && (end.ends_with('_') || start.contains('_'))
}

/// The first sentence: what a description is called by. Without its full stop or colon, and without "(see Section 1.2)".
pub fn first_sentence(text: &str) -> String {
    let mut end = text.len();
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        let rest = text.get(at + c.len_utf8()..).unwrap_or_default();
        let starts =
            rest.strip_prefix(' ').is_some_and(|rest| rest.starts_with(|c: char| c.is_uppercase() || c == '('));
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            // Not within a remark, and not after an abbreviation.
            '.' if depth <= 0 && starts && !text.get(..at).is_some_and(|text| text.ends_with("e.g")) => {
                end = at;
                break;
            }
            _ => (),
        }
    }
    let mut text = text.get(..end).unwrap_or(text).to_string();
    if let Some(from) = text.find(" (see ")
        && let Some(to) = text.get(from..).and_then(|rest| rest.find(')'))
    {
        text.replace_range(from..=from + to, "");
    }
    text.trim().trim_end_matches(['.', ':', ';']).trim_end().to_string()
}

/// `3:0`, `31–17`, `5`, and `N–1:12` or `(MAXPHYADDR - 1):12`: the bits of an address, which are taken for those up to bit 51.
/// `None` within the outer one for what is no bit when addresses are that wide: `51:N`.
pub fn bits(text: &str) -> Option<Option<[u32; 2]>> {
    const WIDTH: u32 = 52;
    let text: String = text.chars().filter(|c| !c.is_whitespace() && !"()[]".contains(*c)).collect();
    let text = text.replace(['–', '—', '−'], "-").replace("MAXPHYSADDR", "N").replace("MAXPHYADDR", "N");
    let text = text.replace('M', "N").replace("N-1", "@");
    let number = |text: &str| match text {
        "@" => Some(WIDTH - 1),
        "N" => Some(WIDTH),
        // Entries of memory have up to 128 bits.
        _ if text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().ok().filter(|&bit: &u32| bit < 128)
        }
        _ => None,
    };
    let (high, low) = match text.split_once([':', '-']) {
        Some((high, low)) => (number(high)?, number(low)?),
        None if text == "@" || text == "N" => return None,
        None => (number(&text)?, number(&text)?),
    };
    if high == WIDTH - 1 && low == WIDTH {
        return Some(None);
    }
    // Some tables have the lower one first.
    Some(Some([high.max(low), high.min(low)]))
}

/// Whether it is a range of bits that ends where the processor says: `31:n+1`.
pub fn is_open_range(text: &str) -> bool {
    let end = |text: &str| {
        let (name, more) = text.split_once(['+', '-']).unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (digits(name) || matches!(name, "n" | "N" | "m" | "M")) && digits(more)
    };
    text.split_once(':').is_some_and(|(high, low)| end(high) && end(low)) && bits(text).is_none()
}

/// A number with an H, as encodings and addresses have it.
pub fn hex(text: &str) -> Option<i64> {
    let digits = text.strip_suffix(['H', 'h'])?.replace('_', "");
    let ok = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    ok.then(|| i64::from_str_radix(&digits, 16).ok()).flatten()
}

/// A number without one.
pub fn decimal(text: &str) -> Option<i64> {
    let digits = text.replace(',', "");
    let ok = (1..=10).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    ok.then(|| digits.parse().ok()).flatten()
}

/// Whether a description says that there is nothing to describe.
pub fn is_reserved(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let nothing = [
        "reserved",
        "not currently defined",
        "undefined",
        "ignored",
        "cleared to 0",
        "always cleared to 0",
        "not defined",
        "not used",
        "must be 0",
    ];
    nothing.iter().any(|nothing| text.starts_with(nothing)) && !text.contains("except for")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_the_next_begins() {
        assert_eq!(first_sentence("RSM. Guest software"), "RSM");
        assert_eq!(first_sentence("Access type:"), "Access type");
        assert_eq!(first_sentence("Number (0 for A. And B). Bit 3"), "Number (0 for A. And B)");
        assert_eq!(first_sentence("Walk length (see Section 28.3.2)"), "Walk length");
        assert_eq!(first_sentence("IA32_EFER.LMA is stored"), "IA32_EFER.LMA is stored");
    }

    #[test]
    fn ranges_of_bits() {
        assert_eq!(bits("31:17"), Some(Some([31, 17])));
        assert_eq!(bits("5"), Some(Some([5, 5])));
        assert_eq!(bits("4–6"), Some(Some([6, 4])));
        assert_eq!(bits("(N–1):30"), Some(Some([51, 30])));
        assert_eq!(bits("63:N"), Some(Some([63, 52])));
        assert_eq!(bits("51:N"), Some(None));
        assert_eq!(bits("(MAXPHYADDR - 1):12"), Some(Some([51, 12])));
        for range in ["31:n", "n:0", "63:N+32"] {
            assert!(is_open_range(range) && bits(range).is_none(), "{range}");
        }
        assert!(!is_open_range("31:0") && !is_open_range("a:b"));
        for wrong in ["", "128", "0100", "a:b", "1:", "Bits", "N", "-"] {
            assert_eq!(bits(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(hex("0000201AH"), Some(0x201a));
        assert_eq!(hex("C000_0080h"), Some(0xc000_0080));
        assert_eq!((hex("H"), hex("12"), hex("XYH")), (None, None, None));
        assert_eq!((decimal("1,024"), decimal("12H"), decimal("")), (Some(1024), None, None));
    }
}
