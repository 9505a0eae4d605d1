//! Words by name, whatever table defines them, and the bits that they are made of.

use super::{BitRange, CLEAN_TYPE, Control, ControlBit, Head, InterceptWord, Layout, LayoutField, Member, Spec};

/// A type with bits.
#[derive(Clone, Copy)]
pub(crate) enum Word<'s> {
    Layout(&'s Layout),
    Control(&'s Control),
    Intercepts(&'s InterceptWord),
    /// That of a member of the VMCB with bits of its own.
    Member(&'s Member),
    Clean,
}

/// A bit or a range of bits of a word.
#[derive(Clone, Copy)]
pub(crate) struct Part<'s> {
    pub head: &'s Head,
    pub bits: BitRange,
    /// The name of the type of their value.
    pub ty: Option<&'s str>,
    /// The value that reserved bits must have.
    pub reserved: Option<u64>,
    /// The control that this bit is.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "for the command"))]
    pub control: Option<(&'s Control, &'s ControlBit)>,
}

impl Spec {
    /// The type with this very name, if it has bits.
    pub(crate) fn word(&self, name: &str) -> Option<Word<'_>> {
        let of_type =
            |member: &&Member| member.ty.as_ref().is_some_and(|own| own.value == name) && !member.bits.is_empty();
        let control = || self.controls.iter().find(|control| control.head.name() == name).map(Word::Control);
        let intercepts = || self.words.iter().find(|word| word.head.name() == name).map(Word::Intercepts);
        let clean = || (name == CLEAN_TYPE).then_some(Word::Clean);
        let member = || self.members.iter().find(of_type).map(Word::Member);
        self.layout(name).map(Word::Layout).or_else(control).or_else(intercepts).or_else(clean).or_else(member)
    }

    /// Every bit and range of it.
    pub(crate) fn parts<'s>(&'s self, word: Word<'s>) -> Vec<Part<'s>> {
        let plain = |head, bits, reserved| Part { head, bits, ty: None, reserved, control: None };
        match word {
            Word::Layout(layout) => layout.fields.iter().map(Part::of_field).collect(),
            Word::Member(member) => member.bits.iter().map(Part::of_field).collect(),
            Word::Control(control) => {
                let part = |bit: &'s ControlBit| Part {
                    control: Some((control, bit)),
                    ..plain(&bit.head, bit.bits, bit.reserved)
                };
                control.bits.iter().map(part).collect()
            }
            Word::Intercepts(word) => {
                let own = self.intercepts.iter().filter(|row| row.word.value == word.number.value);
                own.map(|row| plain(&row.head, row.bits, row.reserved)).collect()
            }
            Word::Clean => self.clean.iter().map(|row| plain(&row.head, row.bits, row.reserved)).collect(),
        }
    }
}

impl<'s> Part<'s> {
    fn of_field(field: &'s LayoutField) -> Self {
        let ty = field.ty.as_ref().map(|ty| ty.value.as_str());
        Part { head: &field.head, bits: field.bits, ty, reserved: field.reserved, control: None }
    }
}
