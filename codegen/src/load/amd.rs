//! Rows of AMD's tables.

use crate::diagnostics::Diagnostic;
use crate::model::{Area, Clean, Intercept, InterceptWord, Member, ModuleId};

use super::row::Row;
use super::types::{head, layout_field, parts, reserved};

pub(super) fn clean(row: &mut Row, module: ModuleId) -> Option<Clean> {
    let head = head(row, None);
    let reserved = reserved(row);
    let bits = row.need_bit("bit", 31, reserved.is_some());
    Some(Clean { module, head: head?, bits: bits?, reserved })
}

pub(super) fn member(row: &mut Row, module: ModuleId, vmsa: bool) -> Option<Member> {
    let head = head(row, None);
    // The VMSA is one area; saying so again is allowed.
    let area = if vmsa {
        row.word("area", &[(Area::Vmsa, "vmsa")]).map_or(Some(Area::Vmsa), |area| Some(area.value))
    } else {
        row.need_word("area", &[(Area::Control, "control"), (Area::Save, "save")]).map(|area| area.value)
    };
    let (offset, size) = (row.need_unsigned("offset", 0xfff), row.need_unsigned("size", 0x1000));
    let (ty, clean, reserved) = (row.string("type"), row.string("clean"), reserved(row));
    // Reserved bytes are never written, and the VMSA has no clean bits.
    if clean.is_none() && !vmsa && reserved.is_none() {
        row.missing::<()>("clean", None);
    }
    let clean = clean.filter(|group| group.value != "none");
    if let Some(group) = clean.as_ref().filter(|_| vmsa) {
        row.push(Diagnostic::new(group.span, "no clean bits belong to the VMSA"));
    }
    let bits = parts(row, "bit", head.as_ref(), layout_field);
    Some(Member { module, head: head?, area: area?, offset: offset?, size: size?, ty, clean, reserved, bits })
}

pub(super) fn word(row: &mut Row, module: ModuleId) -> Option<InterceptWord> {
    let head = head(row, None);
    let (number, member) = (row.need_unsigned("number", 5), row.need_string("member"));
    Some(InterceptWord { module, head: head?, number: number?, member: member? })
}

pub(super) fn intercept(row: &mut Row, module: ModuleId) -> Option<Intercept> {
    let head = head(row, None);
    let (word, reserved) = (row.need_unsigned("word", 5), reserved(row));
    let bits = row.need_bit("bit", 31, reserved.is_some());
    Some(Intercept { module, head: head?, word: word?, bits: bits?, reserved })
}
