//! Comparing what a guest printed with what it should have printed, byte for byte.

use std::fmt::Write as _;

use crate::machines::Vendor;

/// What is expected of this vendor: a line that starts with `[vmx] ` or `[svm] ` is so of that one alone.
pub fn of_vendor(transcript: &str, vendor: Vendor) -> String {
    let (own, other) = match vendor {
        Vendor::Vmx => ("[vmx] ", "[svm] "),
        Vendor::Svm => ("[svm] ", "[vmx] "),
    };
    let lines = transcript.split_inclusive('\n').filter(|line| !line.starts_with(other));
    lines.map(|line| line.strip_prefix(own).unwrap_or(line)).collect()
}

/// The difference, for a reader; none when there is none.
pub fn difference(expected: &str, printed: &[String]) -> Option<String> {
    let mut text = printed.join("\n");
    if !printed.is_empty() {
        text.push('\n');
    }
    if text == expected {
        return None;
    }
    let expected: Vec<&str> = expected.split('\n').collect();
    let printed: Vec<&str> = text.split('\n').collect();
    let same = expected.iter().zip(&printed).take_while(|(a, b)| a == b).count();
    let mut shown = format!("the transcripts differ from line {} on (- expected, + printed)\n", same + 1);
    for line in &expected[same.saturating_sub(2)..same] {
        let _ = writeln!(shown, "  {line}");
    }
    let part = |shown: &mut String, sign: char, lines: &[&str]| {
        for line in lines.iter().skip(same).take(6) {
            let _ = writeln!(shown, "{sign} {}", line.escape_debug());
        }
        if lines.len() > same + 6 {
            let _ = writeln!(shown, "{sign} … {} more", lines.len() - same - 6);
        }
    };
    part(&mut shown, '-', &expected);
    part(&mut shown, '+', &printed);
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::{Vendor, difference, of_vendor};

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_line_may_be_of_one_vendor() {
        let text = "both\n[vmx] one\n[svm] other\nend";
        assert_eq!(of_vendor(text, Vendor::Vmx), "both\none\nend");
        assert_eq!(of_vendor(text, Vendor::Svm), "both\nother\nend");
    }

    #[test]
    fn the_same_text_has_no_difference() {
        assert_eq!(difference("a\nb\n", &lines(&["a", "b"])), None);
        assert_eq!(difference("", &[]), None);
    }

    #[test]
    fn the_first_difference_is_shown() {
        let shown = difference("a\nb\nc\n", &lines(&["a", "B", "c"])).expect("they differ");
        assert!(shown.contains("line 2"), "{shown}");
        assert!(shown.contains("\n- b\n") && shown.contains("\n+ B\n"), "{shown}");
    }

    #[test]
    fn nothing_is_forgiven() {
        assert!(difference("a\n", &lines(&["a "])).is_some());
        assert!(difference("a\n", &lines(&["a", ""])).is_some());
        assert!(difference("a", &lines(&["a"])).is_some());
        assert!(difference("a\n", &[]).is_some());
    }
}
