//! References that are written as text: `secondary.ENABLE_EPT`, `Cpuid8000000aEdx.DECODE_ASSISTS`, `save.RIP`.

use crate::diagnostics::Diagnostic;
use crate::model::{Area, BitRef, Condition, ControlWord, LayoutBit, MemberRef, Span, Spanned, Term};

use super::nearest::nearest;
use super::row::Row;

/// Terms joined by ` | `.
pub(super) fn condition(row: &Row, text: &Spanned<String>) -> Option<Spanned<Condition>> {
    let mut any = Vec::new();
    // The quote comes first; positions count only in a plain string, where each character stands for itself.
    let mut start = text.span.start + 1;
    for part in text.value.split('|') {
        let trimmed = part.trim();
        let lead = u32::try_from(part.len() - part.trim_start().len()).unwrap_or(0);
        let end = start + lead + u32::try_from(trimmed.len()).unwrap_or(0);
        let span = Span { file: text.span.file, start: start + lead, end };
        start += u32::try_from(part.len() + 1).unwrap_or(0);
        any.push(match trimmed.strip_prefix("cpuid.") {
            Some(bit) => Term::Cpuid(layout_bit(row, bit, span)?),
            None => Term::Control(control_bit(row, trimmed, span)?),
        });
    }
    Some(Spanned { value: Condition { any }, span: text.span })
}

/// `word.BIT`
pub(super) fn control_bit(row: &Row, text: &str, span: Span) -> Option<BitRef> {
    let Some((word, bit)) = text.split_once('.') else {
        let error = Diagnostic::new(span, format!("`{text}` names no control bit"));
        row.push(error.help("write `secondary.ENABLE_EPT`, or several joined by ` | `"));
        return None;
    };
    if let Some((word, _)) = ControlWord::ALL.iter().find(|(_, name)| *name == word) {
        return Some(BitRef { word: *word, bit: bit.to_owned(), span });
    }
    let error = Diagnostic::new(span, format!("there is no control word `{word}`"));
    row.push(match nearest(word, ControlWord::ALL.iter().map(|(_, name)| *name)) {
        Some(name) => error.help(format!("there is `{name}`")),
        None => error.help("there are pin, primary, secondary, tertiary, exit, exit2, entry and vmfunc"),
    });
    None
}

/// Each of a list of `word.BIT`.
pub(super) fn control_bits(row: &mut Row, key: &'static str) -> Vec<BitRef> {
    let texts = row.strings(key);
    texts.iter().filter_map(|text| control_bit(row, &text.value, text.span)).collect()
}

/// `Layout.BIT`
pub(super) fn layout_bit(row: &Row, text: &str, span: Span) -> Option<LayoutBit> {
    let Some((layout, bit)) = text.split_once('.') else {
        let error = Diagnostic::new(span, format!("`{text}` names no bit of a layout"));
        row.push(error.help("write the name of the layout, a full stop and the name of the bit: `Cpuid1Ecx.VMX`"));
        return None;
    };
    Some(LayoutBit { layout: layout.to_owned(), bit: bit.to_owned(), span })
}

/// `area.MEMBER`
pub(super) fn member(row: &Row, text: &str, span: Span) -> Option<MemberRef> {
    let parts = text.split_once('.');
    let area = match parts {
        Some(("control", _)) => Area::Control,
        Some(("save", _)) => Area::Save,
        _ => {
            let error = Diagnostic::new(span, format!("`{text}` names no member of the VMCB"));
            row.push(error.help("write `save.RIP` or `control.TSC_OFFSET`"));
            return None;
        }
    };
    parts.map(|(_, member)| MemberRef { area, member: member.to_owned(), span })
}
