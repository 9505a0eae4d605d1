//! Names as people, manuals, Linux, Xen and Rust crates write them, for lines that no known program printed.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::audit::names::Names;
use crate::model::Spec;

use super::fields::{member_name, members};
use super::spellings::{Goal, Section, goals};

/// The fields that a name may mean, on a CPU of each vendor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Meaning {
    /// In a VMCS.
    pub vmx: Vec<Aim>,
    /// In a VMCB.
    pub svm: Vec<Aim>,
}

/// Where a number goes: a [`Goal`] whose field need not be one that a program prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Aim {
    /// The field.
    pub field: String,
    /// Its lowest bit there, and how many; 0 for all.
    pub low: u32,
    /// How many bits; 0 for all.
    pub bits: u32,
}

impl From<Goal> for Aim {
    fn from(goal: Goal) -> Self {
        Aim { field: goal.field.to_owned(), low: goal.low, bits: goal.bits }
    }
}

/// Finds fields by any of their names.
pub(super) struct Dictionary<'s> {
    vmx: Vec<(&'s str, Names)>,
    svm: Vec<(String, &'s str, Names)>,
    found: RefCell<HashMap<(String, usize), Meaning>>,
}

impl<'s> Dictionary<'s> {
    pub fn of(spec: &'s Spec) -> Self {
        let names = |head: &'s crate::model::Head| {
            let aliases = head.aliases.iter().map(|alias| alias.value.as_str());
            Names::of([head.name(), head.manual_name.as_str()].into_iter().chain(aliases))
        };
        let vmx = spec.fields.iter().map(|field| (field.head.name(), names(&field.head)));
        let svm = members(spec).filter(|member| member.size.value <= 8);
        let svm = svm.map(|member| (member_name(member), member.head.name(), names(&member.head)));
        Dictionary { vmx: vmx.collect(), svm: svm.collect(), found: RefCell::default() }
    }

    /// What a [path](super::pairs::Pair::path) with so many numbers means.
    pub fn meaning(&self, path: &str, count: usize) -> Meaning {
        let key = (path.to_owned(), count);
        if let Some(found) = self.found.borrow().get(&key) {
            return found.clone();
        }
        let found = self.look_up(path, count);
        self.found.borrow_mut().insert(key, found.clone());
        found
    }

    fn look_up(&self, path: &str, count: usize) -> Meaning {
        let printed = |section, path: &str| goals(section, false, path, count).unwrap_or_default();
        let aims = |goals: Vec<Goal>| goals.into_iter().map(Aim::from).collect::<Vec<_>>();
        let one = |field: &str| vec![Aim { field: field.to_owned(), low: 0, bits: 0 }];
        let same = |name: &str| name.eq_ignore_ascii_case(path);

        // Our own names.
        if let Some((name, _)) = self.vmx.iter().find(|(name, _)| same(name)) {
            return Meaning { vmx: one(name), svm: Vec::new() };
        }
        if let Some((name, ..)) = self.svm.iter().find(|(name, ..)| same(name)) {
            return Meaning { vmx: Vec::new(), svm: one(name) };
        }
        // `svm->vmcb->save.cr0`, `vmcb.control.asid`
        let words: Vec<&str> = path.split(['.', '>', ':']).map(|word| word.trim_matches([' ', '-'])).collect();
        let area = words.iter().position(|word| ["save", "control"].contains(word));
        if let Some(at) = area.filter(|at| at + 1 < words.len()) {
            let (area, name) = (words[at], words[at + 1..].join("."));
            let of_area: Vec<_> = self.svm.iter().filter(|(full, ..)| full.starts_with(area)).collect();
            let member = of_area.iter().find(|(_, own, _)| own.eq_ignore_ascii_case(&name));
            let svm = member.map_or_else(|| aims(printed(Section::Vmcb, &name)), |(full, ..)| one(full));
            if !svm.is_empty() {
                return Meaning { vmx: Vec::new(), svm };
            }
        }
        // `vmcs::guest::CR0` of the crate x86.
        let joined = path.rsplit_once("::").map(|(path, name)| {
            let module = path.rsplit_once("::").map_or(path, |(_, module)| module);
            if ["guest", "host"].contains(&module) { format!("{module}_{name}") } else { name.to_owned() }
        });
        let name = joined.as_deref().unwrap_or(path);
        let names = Names::of([name]);
        let vmx = self.vmx.iter().filter(|(_, own)| own.same(&names)).map(|(name, _)| *name).collect::<Vec<_>>();
        let members = self.svm.iter().filter(|(_, own, _)| own.eq_ignore_ascii_case(name)).collect::<Vec<_>>();
        let mut found = Meaning::default();
        if let [vmx] = vmx[..] {
            found.vmx = one(vmx);
        }
        if let [(svm, ..)] = members[..] {
            found.svm = one(svm);
        }
        // What Linux and Xen print.
        if found.vmx.is_empty() {
            let sections = [Section::Guest, Section::Control];
            let goals = sections.into_iter().map(|section| printed(section, path)).find(|goals| !goals.is_empty());
            found.vmx = aims(goals.unwrap_or_default());
        }
        if found.svm.is_empty() {
            found.svm = aims(printed(Section::Vmcb, path));
        }
        // The manual's names of members, which are those of registers too.
        if found == Meaning::default() {
            let mut svm = self.svm.iter().filter(|(.., own)| own.same(&names));
            if let (Some((svm, ..)), None) = (svm.next(), svm.next()) {
                found.svm = one(svm);
            }
        }
        found
    }
}
