//! Types by name, whatever table defines them: words with their parts, enumerations with their values.

use crate::model::{BitRange, CLEAN_MEMBER, CLEAN_TYPE, Head, Part, Spec, Types, Vendor, Word};

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

impl Part<'_> {
    /// Their value within a word.
    pub fn of(&self, word: u64) -> u64 {
        (word & self.bits.mask()).checked_shr(self.bits.low).unwrap_or(0)
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

impl BitRange {
    /// "31" or "7:0".
    pub(super) fn place(self) -> String {
        if self.high == self.low { self.low.to_string() } else { format!("{}:{}", self.high, self.low) }
    }
}

/// The type with this very name.
pub(super) fn shape<'s>(spec: &'s Spec, name: &str) -> Option<Shape<'s>> {
    if let Some(built_in) = built_in(spec, name) {
        return Some(built_in);
    }
    if let Some(word) = spec.word(name) {
        let (name, manual_name, width) = match word {
            Word::Layout(layout) => (layout.head.name(), layout.head.manual_name.as_str(), layout.width),
            Word::Control(control) => (control.head.name(), control.head.manual_name.as_str(), control.width),
            Word::Intercepts(row) => (row.head.name(), row.head.manual_name.as_str(), 32),
            Word::Member(member) => {
                let ty = member.ty.as_ref()?.value.as_str();
                (ty, member.head.manual_name.as_str(), u32::try_from(member.size.value.min(8) * 8).unwrap_or(64))
            }
            Word::Clean => {
                let member = spec.members.iter().find(|member| member.head.name() == CLEAN_MEMBER);
                (CLEAN_TYPE, member.map_or("VMCB clean bits", |member| &member.head.manual_name), 32)
            }
        };
        let mut parts = spec.parts(word);
        parts.sort_by_key(|part| part.bits.low);
        return Some(Shape { name, manual_name, width, content: Content::Word(parts) });
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
        _ => return None,
    };
    Some(Shape { name, manual_name, width, content: Content::Values(values, false) })
}

/// The names of all types.
pub(super) fn names(spec: &Spec) -> Vec<String> {
    Types::of(spec).names().map(str::to_owned).collect()
}
