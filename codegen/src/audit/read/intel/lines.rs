//! Lines with their places, running heads and feet apart.

use crate::audit::read::pdf::{self, Page};
use crate::audit::source::Place;

/// A line and where it stands.
#[derive(Clone, Debug)]
pub struct Line {
    pub line: pdf::Line,
    pub place: Place,
}

/// Each page's lines between its head and its foot, where the foot says the number that is printed on the page.
pub fn clean(pages: &[Page]) -> Vec<Vec<Line>> {
    pages.iter().map(page).collect()
}

fn page(page: &Page) -> Vec<Line> {
    let mut lines = page.lines.as_slice();
    let mut place = Place { page: Some(page.number), ..Place::default() };
    if let Some((last, rest)) = lines.split_last()
        && let Some(label) = foot(last)
    {
        place.printed = Some(label);
        lines = rest;
    }
    if let Some((first, rest)) = lines.split_first()
        && is_head(first)
    {
        lines = rest;
    }
    lines.iter().map(|line| Line { line: line.clone(), place: place.clone() }).collect()
}

/// "B-2" of "B-2 Vol. 3D" or "Vol. 3D B-3".
fn foot(line: &pdf::Line) -> Option<String> {
    let words: Vec<_> = line.words.iter().map(|word| word.text.as_str()).collect();
    match words.as_slice() {
        ["Vol.", volume, label] | [label, "Vol.", volume] if volume.starts_with(|c: char| c.is_ascii_digit()) => {
            let (chapter, page) = label.split_once('-')?;
            let short = !chapter.is_empty() && chapter.len() <= 2 && chapter.chars().all(char::is_alphanumeric);
            (short && page.bytes().all(|b| b.is_ascii_digit())).then(|| (*label).to_string())
        }
        _ => None,
    }
}

/// "FIELD ENCODING IN VMCS": the title of the chapter in capital letters.
fn is_head(line: &pdf::Line) -> bool {
    let text = line.text();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    // "MODEL-SPECIFIC REGISTERS (MSRs)"
    let small = text.replace("MSRs", "").chars().filter(|c| c.is_lowercase()).count();
    letters >= 6 && small == 0 && !text.contains('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_feet_are_no_rows() {
        let text = "   FIELD ENCODING IN VMCS\n\n name  0001H\n\nB-2 Vol. 3D\n\x0c VM EXITS\n\n more\n   Vol. 3C 27-19\n\x0cIA32_MSR\n 2-x Vol. 4\n";
        let pages = clean(
            &pdf::pages(&crate::audit::read::Input { path: "x".as_ref(), bytes: text.as_bytes() }, &mut |_, _, _| {})
                .unwrap(),
        );
        let texts: Vec<Vec<_>> = pages.iter().map(|page| page.iter().map(|line| line.line.text()).collect()).collect();
        assert_eq!(texts, [vec!["name 0001H"], vec!["more"], vec!["IA32_MSR", "2-x Vol. 4"]]);
        assert_eq!(pages[0][0].place.printed.as_deref(), Some("B-2"));
        assert_eq!(pages[1][0].place.printed.as_deref(), Some("27-19"));
    }
}
