//! The tables by name.

use std::collections::{BTreeMap, HashMap};

use crate::model::{
    Area, BitRange, CLEAN_TYPE, Control, ControlWord, Enum, Field, Head, InterceptWord, Layout, LayoutField, Member,
    Msr, Spec, Types, Vendor,
};

/// The rows of a spec by what expressions call them.
pub(super) struct Lookup<'s> {
    pub spec: &'s Spec,
    pub vendor: Vendor,
    pub fields: HashMap<&'s str, &'s Field>,
    pub members: BTreeMap<(Area, &'s str), &'s Member>,
    pub msrs: HashMap<&'s str, &'s Msr>,
    pub layouts: HashMap<&'s str, &'s Layout>,
    pub enums: HashMap<&'s str, &'s Enum>,
}

/// A bit or a range of bits of a word, whatever table it is from.
#[derive(Clone, Copy)]
pub(super) struct Part<'s> {
    pub head: &'s Head,
    pub bits: BitRange,
    pub ty: Option<&'s str>,
    pub reserved: Option<u64>,
}

/// A type with bits.
pub(super) enum Bits<'s> {
    Fields(&'s [LayoutField]),
    Control(&'s Control),
    Intercepts(&'s InterceptWord),
    Clean,
}

impl<'s> Lookup<'s> {
    pub fn new(spec: &'s Spec, vendor: Vendor) -> Self {
        let mut members = BTreeMap::new();
        for member in spec.members.iter().filter(|member| member.area != Area::Vmsa) {
            members.entry((member.area, member.head.name())).or_insert(member);
        }
        // The one of its own vendor first, where both have one.
        let own = |msr: &&Msr| [vendor, Vendor::X86].contains(&spec.vendor(msr.module));
        Lookup {
            spec,
            vendor,
            fields: spec.fields.iter().map(|field| (field.head.name(), field)).collect(),
            members,
            msrs: spec.msrs.iter().filter(own).map(|msr| (msr.head.name(), msr)).collect(),
            layouts: spec.layouts.iter().map(|layout| (layout.head.name(), layout)).collect(),
            enums: spec.enums.iter().map(|table| (table.head.name(), table)).collect(),
        }
    }

    /// The bits of a type that has some.
    pub fn bits_of(&self, ty: &str) -> Option<Bits<'s>> {
        let spec = self.spec;
        if let Some(layout) = self.layouts.get(ty) {
            return Some(Bits::Fields(&layout.fields));
        }
        if let Some(control) = spec.controls.iter().find(|control| control.head.name() == ty) {
            return Some(Bits::Control(control));
        }
        if let Some(word) = spec.words.iter().find(|word| word.head.name() == ty) {
            return Some(Bits::Intercepts(word));
        }
        if ty == CLEAN_TYPE {
            return Some(Bits::Clean);
        }
        let of_type =
            |member: &&Member| member.ty.as_ref().is_some_and(|own| own.value == ty) && !member.bits.is_empty();
        spec.members.iter().find(of_type).map(|member| Bits::Fields(&member.bits))
    }

    /// Every bit and range of it.
    pub fn parts(&self, bits: &Bits<'s>) -> Vec<Part<'s>> {
        let spec = self.spec;
        match bits {
            Bits::Fields(fields) => fields
                .iter()
                .map(|field| Part {
                    head: &field.head,
                    bits: field.bits,
                    ty: field.ty.as_ref().map(|ty| ty.value.as_str()),
                    reserved: field.reserved,
                })
                .collect(),
            Bits::Control(control) => {
                let part = |head, bits, reserved| Part { head, bits, ty: None, reserved };
                control.bits.iter().map(|bit| part(&bit.head, bit.bits, bit.reserved)).collect()
            }
            Bits::Intercepts(word) => {
                let own = spec.intercepts.iter().filter(|row| row.word.value == word.number.value);
                own.map(|row| Part { head: &row.head, bits: row.bits, ty: None, reserved: row.reserved }).collect()
            }
            Bits::Clean => {
                let rows = spec.clean.iter();
                rows.map(|row| Part { head: &row.head, bits: row.bits, ty: None, reserved: row.reserved }).collect()
            }
        }
    }

    /// The type of a member's value.
    pub fn type_of_member(&self, member: &'s Member) -> Option<&'s str> {
        Types::of_member(self.spec, member)
    }

    pub fn control(&self, id: ControlWord) -> Option<&'s Control> {
        self.spec.control(id)
    }
}
