//! Rows of Intel's tables.

use crate::model::{Access, Cite, Control, ControlBit, ControlWord, Field, Group, InstructionError, ModuleId, Width};

use super::refs::{condition, control_bit as bit_ref, control_bits};
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

pub(super) fn control(row: &mut Row, module: ModuleId) -> Option<Control> {
    let head = head(row, None);
    let id = row.need_word("id", ControlWord::ALL);
    let width = row.need_word("width", &[(32, "32"), (64, "64")]);
    let (field, capability) = (row.need_string("field"), row.need_string("capability"));
    let true_capability = row.string("true_capability");
    let activated_by = row.string("activated_by").and_then(|text| bit_ref(row, &text.value, text.span));
    let bits = parts(row, "bit", head.as_ref(), control_bit);
    Some(Control {
        module,
        head: head?,
        id: id?,
        width: width?.value,
        field: field?,
        capability: capability?,
        true_capability,
        activated_by,
        bits,
    })
}

fn control_bit(row: &mut Row, parent: Option<&Cite>) -> Option<ControlBit> {
    let head = head(row, parent);
    let (default1, reserved, retired) = (row.flag("default1"), reserved(row), row.text("retired"));
    let bits = row.need_bit("bit", 63, reserved.is_some());
    let (requires, excludes) = (control_bits(row, "requires"), control_bits(row, "excludes"));
    Some(ControlBit { head: head?, bits: bits?, default1, reserved, retired, requires, excludes })
}

pub(super) fn instruction_error(row: &mut Row, module: ModuleId) -> Option<InstructionError> {
    let head = head(row, None);
    let number = row.need_unsigned("number", u32::MAX.into());
    Some(InstructionError { module, head: head?, number: number? })
}
