//! The output of `pdftotext -bbox`: a line per word, so that no XML library is needed to read it.

use super::{Page, Word};

/// Its pages; the first has the number `first`.
pub fn pages(text: &str, first: u32) -> Vec<Page> {
    let mut pages = Vec::new();
    let mut words = Vec::new();
    for line in text.lines().map(str::trim_start) {
        if let Some(line) = line.strip_prefix("<word ") {
            words.extend(word(line));
        } else if line.starts_with("</page>") {
            let number = first.saturating_add(u32::try_from(pages.len()).unwrap_or(u32::MAX));
            pages.push(Page::of(number, std::mem::take(&mut words)));
        }
    }
    pages
}

fn word(line: &str) -> Option<Word> {
    let (attributes, text) = line.split_once('>')?;
    let text = unescape(text.strip_suffix("</word>")?);
    let edge = |name: &str| {
        let value = attributes.split_once(name)?.1.strip_prefix("=\"")?;
        value.split_once('"')?.0.parse().ok().filter(|edge: &f32| edge.is_finite())
    };
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    Some(Word {
        x0: edge("xMin")?,
        y0: edge("yMin")?,
        x1: edge("xMax")?,
        y1: edge("yMax")?,
        text: text.to_string(),
        small: false,
    })
}

/// Without entities, ligatures and spaces of other widths: those hide words from who looks for them.
fn unescape(mut text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    while let Some(c) = text.chars().next() {
        let entity = text.strip_prefix('&').and_then(|rest| rest.split_once(';')).and_then(|(name, rest)| {
            let c = match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                _ => char::from_u32(name.strip_prefix('#')?.parse().ok()?)?,
            };
            Some((c, rest))
        });
        let (c, rest) = entity.unwrap_or((c, text.get(c.len_utf8()..).unwrap_or_default()));
        text = rest;
        match c {
            'ﬁ' => plain.push_str("fi"),
            'ﬂ' => plain.push_str("fl"),
            '\u{ad}' => plain.push('-'),
            c if c.is_whitespace() => plain.push(' '),
            c if c.is_control() => (),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_their_boxes() {
        let text = "<doc>\n  <page width=\"612.0\" height=\"792.0\">\n\
            <word xMin=\"1.5\" yMin=\"10\" xMax=\"20\" yMax=\"21.0\">A&amp;B&#38;&lt;C&nothing;</word>\n\
            <word xMin=\"nan\" yMin=\"10\" xMax=\"20\" yMax=\"21.0\">lost</word>\n\
            <word xMin=\"1\" yMin=\"10\">half\n  </page>\n  <page>\n  </page>\n";
        let pages = pages(text, 7);
        assert_eq!(pages.iter().map(|page| page.number).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(pages[0].lines.len(), 1);
        assert_eq!(pages[0].lines[0].text(), "A&B&<C&nothing;");
        assert_eq!(pages[0].lines[0].x0(), 1.5);
        assert!(pages[1].lines.is_empty());
    }
}
