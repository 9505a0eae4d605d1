//! `decode control`: a word of controls, and what it lacks.

use crate::model::{BitRef, Control, ControlBit, Spec};

use super::super::facts::control_bit_of;
use super::super::number::bits;
use super::super::page::{Cell, Ink, Page};
use super::super::types::shape;
use super::super::{Explainer, Kind, Result, Unknown, entry::Entry, find, words};

impl Explainer<'_> {
    /// The controls of a word that are 1, and which other controls VM entry would miss. The word is `secondary`, the name of
    /// the type, or that of the VMCS field.
    pub fn control(&self, word: &str, value: i128) -> Result<Page> {
        let wanted = find::squash(word);
        let is_called = |control: &&Control| {
            let names = [control.id.value.name(), control.head.name(), &control.field.value, &control.head.manual_name];
            names.iter().any(|name| find::squash(name) == wanted)
        };
        match self.spec.controls.iter().find(is_called) {
            Some(control) => self.control_word(control, bits(value)),
            None => {
                let mut unknown = find::no_name(self.spec, word, Some(Kind::Control));
                let words = self.spec.controls.iter().map(|control| Entry::Control(control).summary(self.spec));
                unknown.candidates = self
                    .spec
                    .controls
                    .iter()
                    .map(|c| c.id.value.name().to_owned())
                    .zip(words)
                    .map(|(id, text)| format!("{id}: {text}"))
                    .collect();
                Err(Unknown { message: format!("there is no word of controls `{word}`"), ..unknown })
            }
        }
    }

    pub(super) fn control_word(&self, control: &Control, value: u64) -> Result<Page> {
        let mut page = Page::default();
        page.title(format!("{} = {value:#x}", control.head.name()), control.head.manual_name.as_str());
        if let Some(shape) = shape(self.spec, control.head.name()) {
            words::decode(self.spec, &mut page, &shape, value)?;
        }
        if let Some(bit) = &control.activated_by {
            page.line(Cell::new(Ink::Faint, format!("The processor takes this word for 0 where {bit} is 0.")));
        }
        let set = |bit: &&ControlBit| bit.reserved.is_none() && value & bit.bits.mask() != 0;
        let mut rows = Vec::new();
        for bit in control.bits.iter().filter(set) {
            rows.extend(bit.requires.iter().filter_map(|other| unmet(self.spec, control, bit, other, value, true)));
            rows.extend(bit.excludes.iter().filter_map(|other| unmet(self.spec, control, bit, other, value, false)));
        }
        // A pair is written down once, on either side; within one word the other side is seen above too.
        let elsewhere = self.spec.controls.iter().filter(|other| other.id.value != control.id.value);
        for (other_word, other) in elsewhere.flat_map(|word| word.bits.iter().map(move |bit| (word, bit))) {
            let excluded = other.excludes.iter().filter(|bit| bit.word == control.id.value);
            for bit in excluded.filter_map(|bit| control_bit_of(self.spec, bit)).map(|(_, bit)| bit).filter(set) {
                let text = format!("{}.{} to be 0: in another word", other_word.id.value.name(), other.head.name());
                rows.push(vec![bit.head.name().into(), "wants".into(), text.into()]);
            }
        }
        if !rows.is_empty() {
            page.heading("what VM entry wants with these");
            page.rows(rows);
        }
        Ok(page)
    }
}

/// What a control that is 1 wants of another one, unless this word shows that it is so.
fn unmet(
    spec: &Spec,
    control: &Control,
    bit: &ControlBit,
    other: &BitRef,
    value: u64,
    wanted: bool,
) -> Option<Vec<Cell>> {
    let number = u64::from(wanted);
    let name = bit.head.name();
    if other.word != control.id.value {
        let text = format!("{other} to be {number}: in another word");
        return Some(vec![name.into(), "wants".into(), text.into()]);
    }
    let (_, row) = control_bit_of(spec, other)?;
    let is_set = value & row.bits.mask() != 0;
    (is_set != wanted).then(|| {
        let text = format!("{} to be {number}, and it is {}", other.bit, u64::from(is_set));
        vec![Cell::new(Ink::Wrong, name), Cell::new(Ink::Wrong, "wants"), Cell::new(Ink::Wrong, text)]
    })
}
