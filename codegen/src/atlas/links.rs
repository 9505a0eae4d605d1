//! Where things are: the names of pages, and the anchors in them.

use crate::model::{Area, ControlWord, Vendor};

pub(super) const INDEX: &str = "index.html";
pub(super) const VMCS: &str = "vmcs.html";
pub(super) const CONTROLS: &str = "controls.html";
pub(super) const VMX_EXITS: &str = "vmx-exits.html";
pub(super) const VMX_ERRORS: &str = "vmx-errors.html";
pub(super) const VMCB: &str = "vmcb.html";
pub(super) const VMSA: &str = "vmsa.html";
pub(super) const INTERCEPTS: &str = "intercepts.html";
pub(super) const SVM_EXITS: &str = "svm-exits.html";
pub(super) const MSRS: &str = "msrs.html";
pub(super) const MAP: &str = "map.html";
pub(super) const MANUALS: &str = "manuals.html";

/// A page, and a place in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub page: String,
    pub id: String,
}

impl Link {
    fn new(page: impl Into<String>, id: String) -> Link {
        Link { page: page.into(), id }
    }

    pub fn href(&self) -> String {
        format!("{}#{}", self.page, self.id)
    }
}

/// The name as a part of an address and of an anchor: what is neither letter, digit, `_`, `.` nor `-` by its number, so that
/// no two names become one.
pub(super) fn slug(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    name.chars().map(|c| if plain(c) { c.to_string() } else { format!("~{:x}~", u32::from(c)) }).collect()
}

/// A VMCS field.
pub(super) fn field(name: &str) -> Link {
    Link::new(VMCS, format!("vmcs-{}", slug(name)))
}

/// A bit of a word of controls.
pub(super) fn control(word: ControlWord, bit: &str) -> Link {
    Link::new(CONTROLS, format!("{}.{}", word.name(), slug(bit)))
}

/// An exit of either vendor.
pub(super) fn exit(vendor: Vendor, name: &str) -> Link {
    match vendor {
        Vendor::Amd => Link::new(SVM_EXITS, format!("svm-{}", slug(name))),
        _ => Link::new(VMX_EXITS, format!("vmx-{}", slug(name))),
    }
}

/// A VM-instruction error.
pub(super) fn error(name: &str) -> Link {
    Link::new(VMX_ERRORS, format!("error-{}", slug(name)))
}

/// A member of the VMCB or of the VMSA.
pub(super) fn member(area: Area, name: &str) -> Link {
    Link::new(area_page(area), format!("{}-{}", area.name(), slug(name)))
}

/// The page that an area is on.
pub(super) fn area_page(area: Area) -> &'static str {
    if area == Area::Vmsa { VMSA } else { VMCB }
}

/// An MSR. Both vendors' tables may have one of a name.
pub(super) fn msr(vendor: Vendor, name: &str) -> Link {
    Link::new(MSRS, format!("msr-{}-{}", vendor.name(), slug(name)))
}

/// The page with the rules of a vendor.
pub(super) fn checks_page(vendor: Vendor) -> &'static str {
    if vendor == Vendor::Amd { "svm-entry-checks.html" } else { "vmx-entry-checks.html" }
}

/// A rule that is checked at an entry.
pub(super) fn check(vendor: Vendor, name: &str) -> Link {
    Link::new(checks_page(vendor), format!("check-{}-{}", vendor.name(), slug(name)))
}

/// A name in those rules.
pub(super) fn definition(vendor: Vendor, name: &str) -> Link {
    Link::new(checks_page(vendor), format!("define-{}-{}", vendor.name(), slug(name)))
}

/// A document.
pub(super) fn manual(id: &str) -> Link {
    Link::new(MANUALS, format!("doc-{}", slug(id)))
}

/// The page with the types of a file.
pub(super) fn types_page(vendor: Vendor, module: &str) -> String {
    format!("types-{}-{}.html", vendor.name(), slug(module))
}

/// A type on `page`.
pub(super) fn ty(page: impl Into<String>, name: &str) -> Link {
    Link::new(page, format!("type-{}", slug(name)))
}

/// A bit or a value of the type `of`.
pub(super) fn part(of: &Link, name: &str) -> Link {
    Link::new(of.page.clone(), format!("{}.{}", of.id, slug(name)))
}

/// A row of the map of exits or of state.
pub(super) fn map(kind: &str, name: &str) -> Link {
    Link::new(MAP, format!("{kind}-{}", slug(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_kind_become_anchors_of_their_own() {
        assert_eq!(slug("GUEST_RIP"), "GUEST_RIP");
        assert_eq!(slug("a b"), "a~20~b");
        assert_ne!(slug("a\"b"), slug("a<b"));
        assert_eq!(field("GUEST_RIP").href(), "vmcs.html#vmcs-GUEST_RIP");
    }
}
