//! The text that somebody waits for a guest to print.

/// A text that the guest is waited for to print: how much of it has been seen.
pub fn is_wanted(text: &[u8], seen: &mut usize, byte: u8) -> bool {
    while *seen > 0 && text.get(*seen) != Some(&byte) {
        // The longest beginning of the text that what was seen ends in.
        let so_far = text.get(..*seen).unwrap_or_default();
        *seen = (0..*seen).rev().find(|length| so_far.ends_with(&text[..*length])).unwrap_or(0);
    }
    if text.get(*seen) == Some(&byte) {
        *seen += 1;
    }
    let whole = *seen == text.len() && !text.is_empty();
    if whole {
        *seen = 0;
    }
    whole
}
