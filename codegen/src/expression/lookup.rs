//! The tables by name.

use std::collections::{BTreeMap, HashMap};

use crate::model::{Area, Control, ControlWord, Enum, Field, Layout, Member, Msr, Spec, Types, Vendor};

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

    /// The type of a member's value.
    pub fn type_of_member(&self, member: &'s Member) -> Option<&'s str> {
        Types::of_member(self.spec, member)
    }

    pub fn control(&self, id: ControlWord) -> Option<&'s Control> {
        self.spec.control(id)
    }
}
