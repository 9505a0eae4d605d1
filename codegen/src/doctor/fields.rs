//! The fields of both vendors by their names, and how wide they are.

use std::collections::HashMap;

use crate::model::{Area, Member, Spec, Types, Vendor};

/// A field of the VMCS or a member of the VMCB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'s> {
    /// Whose.
    pub vendor: Vendor,
    /// Bytes.
    pub bytes: u32,
    /// The name of the type of its value.
    pub ty: Option<&'s str>,
    /// The manual's name.
    pub manual_name: &'s str,
}

impl Place<'_> {
    /// Ones in the bits that it has.
    pub fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bytes.clamp(1, 8) * 8)
    }
}

/// All fields, by the names that rules call them: `GUEST_RIP`, `save.RIP`.
pub(super) struct Fields<'s>(HashMap<String, Place<'s>>);

impl<'s> Fields<'s> {
    pub fn of(spec: &'s Spec) -> Self {
        let mut all = HashMap::new();
        for field in &spec.fields {
            let bytes = field.width.value.bits() / 8;
            let (ty, manual_name) = (field.ty.as_ref().map(|ty| ty.value.as_str()), &*field.head.manual_name);
            let place = Place { vendor: Vendor::Intel, bytes, ty, manual_name };
            all.insert(field.head.name().to_owned(), place);
        }
        for member in members(spec) {
            let Ok(bytes @ 1..=8) = u32::try_from(member.size.value) else { continue };
            let (ty, manual_name) = (Types::of_member(spec, member), &*member.head.manual_name);
            all.insert(member_name(member), Place { vendor: Vendor::Amd, bytes, ty, manual_name });
        }
        Fields(all)
    }

    pub fn get(&self, name: &str) -> Option<Place<'s>> {
        self.0.get(name).copied()
    }

    /// How many a vendor has.
    pub fn count(&self, vendor: Vendor) -> usize {
        self.0.values().filter(|place| place.vendor == vendor).count()
    }
}

/// The members of the VMCB that mean something.
pub(super) fn members(spec: &Spec) -> impl Iterator<Item = &Member> {
    spec.members.iter().filter(|member| member.area != Area::Vmsa && member.reserved.is_none())
}

/// `save.RIP`
pub(super) fn member_name(member: &Member) -> String {
    let area = if member.area == Area::Save { "save" } else { "control" };
    format!("{area}.{}", member.head.name())
}
