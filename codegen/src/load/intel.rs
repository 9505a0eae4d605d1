//! Rows of Intel's tables.

use crate::diagnostics::Diagnostic;
use crate::model::{
    Access, BitRef, Cite, Condition, Control, ControlBit, ControlWord, Field, Group, InstructionError, ModuleId, Span,
    Spanned, Width,
};

use super::nearest::nearest;
use super::row::Row;
use super::types::{head, parts, reserved};

pub(super) fn field(row: &mut Row, module: ModuleId) -> Option<Field> {
    let head = head(row, None);
    let encoding = row.need_unsigned("encoding", u32::MAX.into());
    let (width, group) = (row.need_word("width", Width::ALL), row.need_word("group", Group::ALL));
    let (access, ty) = (row.need_word("access", Access::ALL), row.string("type"));
    let exists_if = row.string("exists_if").and_then(|text| condition(row, &text));
    let retired = row.text("retired");
    Some(Field {
        module,
        head: head?,
        encoding: encoding?,
        width: width?,
        group: group?,
        access: access?,
        ty,
        exists_if,
        retired,
    })
}

/// `word.BIT | word.BIT`
fn condition(row: &Row, text: &Spanned<String>) -> Option<Spanned<Condition>> {
    let mut any = Vec::new();
    // The quote comes first; positions count only in a plain string, where each character stands for itself.
    let mut start = text.span.start + 1;
    for part in text.value.split('|') {
        let trimmed = part.trim();
        let lead = u32::try_from(part.len() - part.trim_start().len()).unwrap_or(0);
        let end = start + lead + u32::try_from(trimmed.len()).unwrap_or(0);
        let span = Span { file: text.span.file, start: start + lead, end };
        start += u32::try_from(part.len() + 1).unwrap_or(0);
        any.push(bit_ref(row, trimmed, span)?);
    }
    Some(Spanned { value: Condition { any }, span: text.span })
}

fn bit_ref(row: &Row, text: &str, span: Span) -> Option<BitRef> {
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

pub(super) fn control(row: &mut Row, module: ModuleId) -> Option<Control> {
    let head = head(row, None);
    let id = row.need_word("id", ControlWord::ALL);
    let width = row.need_word("width", &[(32, "32"), (64, "64")]);
    let (field, capability) = (row.need_string("field"), row.need_string("capability"));
    let true_capability = row.string("true_capability");
    let bits = parts(row, "bit", head.as_ref(), control_bit);
    Some(Control {
        module,
        head: head?,
        id: id?,
        width: width?.value,
        field: field?,
        capability: capability?,
        true_capability,
        bits,
    })
}

fn control_bit(row: &mut Row, parent: Option<&Cite>) -> Option<ControlBit> {
    let head = head(row, parent);
    let bit = row.need_unsigned("bit", 63);
    let (default1, reserved, retired) = (row.flag("default1"), reserved(row), row.text("retired"));
    Some(ControlBit { head: head?, bit: bit?, default1, reserved, retired })
}

pub(super) fn instruction_error(row: &mut Row, module: ModuleId) -> Option<InstructionError> {
    let head = head(row, None);
    let number = row.need_unsigned("number", u32::MAX.into());
    Some(InstructionError { module, head: head?, number: number? })
}
