//! The default1 class: the paragraph below a table of controls says which of them the first processors knew as 1 only.

use super::Found;
use super::lines::Line;
use super::text;
use crate::audit::source::Kind;
use crate::model::ControlWord;

/// Marks the controls that were read.
pub fn read(pages: &[Vec<Line>], found: &mut Found) {
    for page in pages {
        if !page.iter().any(|line| line.line.text().contains("irst processors to support")) {
            continue;
        }
        let text = text::join(page.iter().flat_map(|line| &line.line.words));
        for paragraph in text.split("only the 1-settings of bits ").skip(1) {
            let Some((word, bits)) = class(paragraph) else { continue };
            let tables = found.tables.iter_mut().filter(|table| table.kind == Kind::Controls(word));
            for row in tables.flat_map(|table| &mut table.rows) {
                row.default1 = row.bits.map(|[_, low]| bits.iter().any(|[high, from]| (*from..=*high).contains(&low)));
            }
        }
    }
}

/// The word and the bits of "1, 4–6, and 26. The VMX capability MSR IA32_VMX_PROCBASED_CTLS will always …".
fn class(paragraph: &str) -> Option<(ControlWord, Vec<[u32; 2]>)> {
    let (list, rest) = paragraph.split_once(". ")?;
    let msr = rest.split_whitespace().take(8).find(|word| word.starts_with("IA32_VMX_"))?;
    let word = match msr {
        "IA32_VMX_PINBASED_CTLS" => ControlWord::Pin,
        "IA32_VMX_PROCBASED_CTLS" => ControlWord::Primary,
        "IA32_VMX_EXIT_CTLS" => ControlWord::Exit,
        "IA32_VMX_ENTRY_CTLS" => ControlWord::Entry,
        _ => return None,
    };
    // "13– 16" at the end of a line.
    let list = list.replace("– ", "–").replace(" and ", ",");
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    Some((word, items.map(|item| text::bits(item).flatten()).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_bits() {
        let text = "1, 4–6, 13– 16, and 26. The VMX capability MSR IA32_VMX_PROCBASED_CTLS will always report that";
        assert_eq!(class(text), Some((ControlWord::Primary, vec![[1, 1], [6, 4], [16, 13], [26, 26]])));
        assert_eq!(class("0–8 and 12. The VMX capability MSR IA32_VMX_ENTRY_CTLS").unwrap().1, [[8, 0], [12, 12]]);
        assert_eq!(class("one. The MSR IA32_VMX_ENTRY_CTLS"), None);
        assert_eq!(class("1. The MSR of others"), None);
    }
}
