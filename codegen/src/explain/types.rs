//! Types by name, whatever table defines them: words with their parts, enumerations with their values.

use crate::model::{BitRange, CLEAN_MEMBER, CLEAN_TYPE, Control, ControlBit, Head, LayoutField, Spec, Types, Vendor};

/// A type.
pub(super) struct Shape<'s> {
    pub name: &'s str,
    pub manual_name: &'s str,
    /// Bits.
    pub width: u32,
    pub content: Content<'s>,
}

/// What a type is made of.
pub(super) enum Content<'s> {
    /// Bits, from the lowest to the highest.
    Word(Vec<Part<'s>>),
    /// Values, and whether every possible one is among them.
    Values(Vec<(i128, &'s Head)>, bool),
}

/// Bits of a word.
#[derive(Clone, Copy)]
pub(super) struct Part<'s> {
    pub head: &'s Head,
    pub bits: BitRange,
    /// The name of the type of their value.
    pub ty: Option<&'s str>,
    /// The value that reserved bits must have.
    pub reserved: Option<u64>,
    /// The control that this bit is.
    pub control: Option<(&'s Control, &'s ControlBit)>,
}

impl Part<'_> {
    /// Their value within a word.
    pub fn of(&self, word: u64) -> u64 {
        (word & self.bits.mask()).checked_shr(self.bits.low).unwrap_or(0)
    }

    /// "31" or "7:0".
    pub fn place(&self) -> String {
        place(self.bits)
    }

    /// Whether it is one bit that is 0 or 1.
    pub fn is_flag(&self) -> bool {
        self.bits.high == self.bits.low && self.ty.is_none()
    }

    /// The value that reserved bits must have.
    pub fn wanted(&self) -> Option<u64> {
        let ones = self.bits.mask().checked_shr(self.bits.low).unwrap_or(0);
        self.reserved.map(|value| if value == 0 { 0 } else { ones })
    }
}

/// "31" or "7:0".
pub(super) fn place(bits: BitRange) -> String {
    if bits.high == bits.low { bits.low.to_string() } else { format!("{}:{}", bits.high, bits.low) }
}

/// The type with this very name.
pub(super) fn shape<'s>(spec: &'s Spec, name: &str) -> Option<Shape<'s>> {
    if let Some(built_in) = built_in(spec, name) {
        return Some(built_in);
    }
    let word = |head: &'s Head, name: &'s str, width, parts| {
        Some(Shape { name, manual_name: head.manual_name.as_str(), width, content: Content::Word(sorted(parts)) })
    };
    if let Some(layout) = spec.layout(name) {
        return word(&layout.head, layout.head.name(), layout.width, fields(&layout.fields));
    }
    if let Some(control) = spec.controls.iter().find(|control| control.head.name() == name) {
        return word(&control.head, control.head.name(), control.width, controls(control));
    }
    if let Some(row) = spec.words.iter().find(|word| word.head.name() == name) {
        let bits = spec.intercepts.iter().filter(|bit| bit.word.value == row.number.value);
        let part =
            bits.map(|bit| Part { head: &bit.head, bits: bit.bits, ty: None, reserved: bit.reserved, control: None });
        return word(&row.head, row.head.name(), 32, part.collect());
    }
    let of_member = spec.members.iter().find_map(|member| {
        let ty = member.ty.as_ref().filter(|ty| ty.value == name && !member.bits.is_empty())?;
        Some((member, ty.value.as_str()))
    });
    if let Some((member, ty)) = of_member {
        let width = u32::try_from(member.size.value.min(8) * 8).unwrap_or(64);
        return word(&member.head, ty, width, fields(&member.bits));
    }
    let table = spec.enums.iter().find(|table| table.head.name() == name)?;
    let values = table.values.iter().map(|value| (value.number.value.into(), &value.head)).collect();
    Some(Shape {
        name: table.head.name(),
        manual_name: &table.head.manual_name,
        width: table.width,
        content: Content::Values(values, table.others == "none"),
    })
}

/// The types that whole tables become.
fn built_in<'s>(spec: &'s Spec, name: &str) -> Option<Shape<'s>> {
    let exits = |vendor| spec.exits_of(vendor).map(|exit| (exit.number.value.into(), &exit.head)).collect();
    let (name, manual_name, width, values) = match name {
        "ExitReason" => ("ExitReason", "Basic exit reason", 16, exits(Vendor::Intel)),
        "ExitCode" => ("ExitCode", "EXITCODE", 64, exits(Vendor::Amd)),
        "InstructionError" => {
            let errors = spec.instruction_errors.iter().map(|error| (error.number.value.into(), &error.head));
            ("InstructionError", "VM-instruction error", 32, errors.collect())
        }
        _ if name == CLEAN_TYPE => {
            let part = spec.clean.iter().map(|row| Part {
                head: &row.head,
                bits: row.bits,
                ty: None,
                reserved: row.reserved,
                control: None,
            });
            let content = Content::Word(sorted(part.collect()));
            let member = spec.members.iter().find(|member| member.head.name() == CLEAN_MEMBER);
            let manual_name = member.map_or("VMCB clean bits", |member| &member.head.manual_name);
            return Some(Shape { name: CLEAN_TYPE, manual_name, width: 32, content });
        }
        _ => return None,
    };
    Some(Shape { name, manual_name, width, content: Content::Values(values, false) })
}

fn fields(fields: &[LayoutField]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    for LayoutField { head, bits, ty, reserved } in fields {
        let ty = ty.as_ref().map(|ty| ty.value.as_str());
        parts.push(Part { head, bits: *bits, ty, reserved: *reserved, control: None });
    }
    parts
}

fn controls(control: &Control) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    for bit in &control.bits {
        let control = Some((control, bit));
        parts.push(Part { head: &bit.head, bits: bit.bits, ty: None, reserved: bit.reserved, control });
    }
    parts
}

fn sorted(mut parts: Vec<Part<'_>>) -> Vec<Part<'_>> {
    parts.sort_by_key(|part| part.bits.low);
    parts
}

/// The names of all types.
pub(super) fn names(spec: &Spec) -> Vec<String> {
    Types::of(spec).names().map(str::to_owned).collect()
}
