//! What refers to what: types to their users, exits and fields to their rows of the map.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::links::{self, Link};
use crate::model::{Area, CLEAN_TYPE, ExitMap, Information, Spec, StateMap, Types, Vendor};

/// References, from what they name to where they come from.
#[derive(Debug, Default)]
pub(super) struct References {
    types: BTreeMap<String, Link>,
    users: BTreeMap<String, Vec<(Link, String)>>,
    exits: BTreeMap<(Vendor, String), Vec<usize>>,
    fields: BTreeMap<String, Vec<usize>>,
    members: BTreeMap<(Area, String), Vec<usize>>,
}

impl References {
    /// Those of a spec.
    pub fn of(spec: &Spec, types: &Types) -> References {
        let mut all = References { types: places(spec), ..References::default() };
        all.types.retain(|name, _| types.get(name).is_some());
        all.collect_users(spec);
        for (i, row) in spec.exit_map.iter().enumerate() {
            let ExitMap { vmx, svm, .. } = row;
            for (vendor, names) in [(Vendor::Intel, vmx), (Vendor::Amd, svm)] {
                for name in names {
                    all.exits.entry((vendor, name.value.clone())).or_default().push(i);
                }
            }
        }
        for (i, row) in spec.state_map.iter().enumerate() {
            let StateMap { vmx, svm, .. } = row;
            for name in vmx {
                all.fields.entry(name.value.clone()).or_default().push(i);
            }
            for member in svm {
                all.members.entry((member.area, member.member.clone())).or_default().push(i);
            }
        }
        all
    }

    fn collect_users(&mut self, spec: &Spec) {
        let mut user = |ty: &str, link: Link, text: String| {
            if self.types.contains_key(ty) {
                self.users.entry(ty.to_owned()).or_default().push((link, text));
            }
        };
        for field in &spec.fields {
            if let Some(ty) = &field.ty {
                user(&ty.value, links::field(field.head.name()), field.head.name().to_owned());
            }
        }
        for member in &spec.members {
            if let Some(ty) = Types::of_member(spec, member) {
                let text = format!("{}.{}", member.area.name(), member.head.name());
                user(ty, links::member(member.area, member.head.name()), text);
            }
        }
        for exit in &spec.exits {
            let known = match &exit.information {
                Information::Vmx(known) => [&known.qualification, &known.instruction_information],
                Information::Svm(known) => [&known.exit_info1, &known.exit_info2],
            };
            for ty in known.into_iter().flatten() {
                let vendor = spec.vendor(exit.module);
                user(&ty.value, links::exit(vendor, exit.head.name()), format!("exit {}", exit.head.name()));
            }
        }
        for msr in &spec.msrs {
            if let Some(ty) = &msr.layout {
                let link = links::msr(spec.vendor(msr.module), msr.head.name());
                user(&ty.value, link, msr.head.name().to_owned());
            }
        }
        let layouts = spec.layouts.iter().map(|layout| (layout.head.name(), &layout.fields));
        let members = spec.members.iter().filter_map(|member| Some((member.ty.as_ref()?.value.as_str(), &member.bits)));
        for (name, parts) in layouts.chain(members) {
            let Some(place) = places_of(spec, name) else { continue };
            for part in parts {
                if let Some(ty) = &part.ty {
                    user(&ty.value, links::part(&place, part.head.name()), format!("{name}.{}", part.head.name()));
                }
            }
        }
    }

    /// Where a type is shown.
    pub fn of_type(&self, name: &str) -> Option<&Link> {
        self.types.get(name)
    }

    /// Links to what is of a type.
    pub fn users(&self, ty: &str) -> Option<Markup> {
        let users = self.users.get(ty)?;
        Some(html! {
            @for (i, (link, text)) in users.iter().enumerate() {
                @if i > 0 { ", " }
                a href=(link.href()) { (text) }
            }
        })
    }

    /// The rows of the map of exits that name an exit.
    pub fn of_exit<'s>(&self, spec: &'s Spec, vendor: Vendor, name: &str) -> Vec<&'s ExitMap> {
        let rows = self.exits.get(&(vendor, name.to_owned()));
        rows.into_iter().flatten().map(|i| &spec.exit_map[*i]).collect()
    }

    /// The rows of the map of state that name a VMCS field.
    pub fn of_field<'s>(&self, spec: &'s Spec, name: &str) -> Vec<&'s StateMap> {
        self.fields.get(name).into_iter().flatten().map(|i| &spec.state_map[*i]).collect()
    }

    /// The rows of the map of state that name a member.
    pub fn of_member<'s>(&self, spec: &'s Spec, area: Area, name: &str) -> Vec<&'s StateMap> {
        let rows = self.members.get(&(area, name.to_owned()));
        rows.into_iter().flatten().map(|i| &spec.state_map[*i]).collect()
    }
}

/// Where every type is shown.
fn places(spec: &Spec) -> BTreeMap<String, Link> {
    let mut all = BTreeMap::new();
    let built_in =
        [("ExitReason", links::VMX_EXITS), ("InstructionError", links::VMX_ERRORS), ("ExitCode", links::SVM_EXITS)];
    for (name, page) in built_in.into_iter().chain([(CLEAN_TYPE, links::VMCB)]) {
        all.insert(name.to_owned(), links::ty(page, name));
    }
    let layouts = spec.layouts.iter().map(|row| &row.head.name.value);
    let enums = spec.enums.iter().map(|row| &row.head.name.value);
    let others = spec.controls.iter().map(|row| &row.head).chain(spec.words.iter().map(|row| &row.head));
    let members = spec.members.iter().filter(|row| !row.bits.is_empty()).filter_map(|row| row.ty.as_ref());
    let names = layouts.chain(enums).chain(others.map(|head| &head.name.value)).chain(members.map(|ty| &ty.value));
    for name in names {
        if let Some(link) = places_of(spec, name) {
            all.insert(name.clone(), link);
        }
    }
    all
}

/// Where a type that a row defines is shown.
fn places_of(spec: &Spec, name: &str) -> Option<Link> {
    let module = |id| {
        let module = spec.module(id);
        links::types_page(module.vendor, &module.name)
    };
    let layout = spec.layouts.iter().find(|row| row.head.name() == name).map(|row| module(row.module));
    let table = || spec.enums.iter().find(|row| row.head.name() == name).map(|row| module(row.module));
    let control = || spec.controls.iter().find(|row| row.head.name() == name).map(|_| links::CONTROLS.to_owned());
    let word = || spec.words.iter().find(|row| row.head.name() == name).map(|_| links::INTERCEPTS.to_owned());
    let member = || {
        let typed = spec.members.iter().filter(|row| !row.bits.is_empty());
        let mut found = typed.filter(|row| row.ty.as_ref().is_some_and(|ty| ty.value == name));
        found.next().map(|row| links::area_page(row.area).to_owned())
    };
    let page = layout.or_else(table).or_else(control).or_else(word).or_else(member)?;
    Some(links::ty(page, name))
}
