//! Names as people, manuals, Linux, Xen and Rust crates write them, for lines that no known program printed.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::audit::names::Names;
use crate::model::Spec;

use super::fields::{member_name, members};
use super::spellings::{Goal, Section, goals};

/// Names of Linux (arch/x86/include/asm/vmx.h), of Xen and of the crate `x86` in which too few words are those of the
/// manual; segments apart.
const ABBREVIATED: &[(&str, &str)] = &[
    ("posted_intr_nv", "POSTED_INTERRUPT_NOTIFICATION_VECTOR"),
    ("guest_pml_index", "PML_INDEX"),
    ("virtual_apic_page_addr", "VIRTUAL_APIC_ADDRESS"),
    ("ve_information_address", "VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS"),
    ("shared_ept_pointer", "SEAM_SHARED_EPT_POINTER"),
    ("guest_pdptr0", "GUEST_PDPTE0"),
    ("guest_pdptr1", "GUEST_PDPTE1"),
    ("guest_pdptr2", "GUEST_PDPTE2"),
    ("guest_pdptr3", "GUEST_PDPTE3"),
    ("cpu_based_vm_exec_control", "PRIMARY_PROCESSOR_CONTROLS"),
    ("secondary_vm_exec_control", "SECONDARY_PROCESSOR_CONTROLS"),
    ("tertiary_vm_exec_control", "TERTIARY_PROCESSOR_CONTROLS"),
    ("vm_exit_controls", "PRIMARY_VM_EXIT_CONTROLS"),
    ("notify_window", "INSTRUCTION_TIMEOUT_CONTROL"),
    ("guest_interruptibility_info", "GUEST_INTERRUPTIBILITY_STATE"),
    ("pinbased_exec_controls", "PIN_BASED_CONTROLS"),
    ("primary_procbased_exec_controls", "PRIMARY_PROCESSOR_CONTROLS"),
    ("secondary_procbased_exec_controls", "SECONDARY_PROCESSOR_CONTROLS"),
    ("vmexit_controls", "PRIMARY_VM_EXIT_CONTROLS"),
    ("vmentry_controls", "VM_ENTRY_CONTROLS"),
];

/// What Linux and Xen call access rights.
const RIGHTS: &str = "_ar_bytes";

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
        // Names of theirs that are no names of the manual's.
        let last = words.last().copied().unwrap_or(path);
        let rights = last.strip_suffix(RIGHTS).map(|segment| format!("{segment}_access_rights"));
        let theirs = ABBREVIATED.iter().find(|(name, _)| *name == last).map(|(_, field)| (*field).to_owned());
        let vmx = theirs.or(rights).and_then(|name| self.vmx.iter().find(|(own, _)| own.eq_ignore_ascii_case(&name)));
        if let Some((name, _)) = vmx {
            return Meaning { vmx: one(name), svm: Vec::new() };
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
