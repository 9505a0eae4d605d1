//! The doc comments of generated items.

use std::cell::RefCell;

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Cite, Head, Module, Spec, Type, Vendor};

/// Writes doc comments that cite manuals.
pub(super) struct Docs<'s> {
    spec: &'s Spec,
    /// The last citation and its text: rows of one table have the same.
    last: RefCell<Option<(Cite, String)>>,
}

impl<'s> Docs<'s> {
    /// For the manuals of `spec`.
    pub fn new(spec: &'s Spec) -> Self {
        Docs { spec, last: RefCell::new(None) }
    }

    /// What the manual calls it, `facts` in our words, where the manual says so, and what else is known.
    pub fn item(&self, head: &Head, facts: &str) -> TokenStream {
        let mut lines = vec![sentence(&head.manual_name)];
        let mut paragraph = |text: String| lines.extend([String::new(), text]);
        if !facts.is_empty() {
            paragraph(facts.to_owned());
        }
        if !head.aliases.is_empty() {
            let aliases: Vec<_> = head.aliases.iter().map(|alias| alias.value.as_str()).collect();
            paragraph(format!("Also: {}.", escaped(&aliases.join("; "))));
        }
        if let Some(note) = &head.note {
            paragraph(sentence(note));
        }
        let mut last = self.last.borrow_mut();
        let (_, cite) = match last.take() {
            Some(known) if same(&known.0, &head.cite) => last.insert(known),
            _ => last.insert((head.cite.clone(), self.cite(&head.cite))),
        };
        paragraph(cite.clone());
        if let Some(why) = &head.cite.unchecked {
            paragraph(format!("Unchecked: {}", sentence(why)));
        }
        doc(&lines)
    }

    /// Where the manual says so.
    pub fn cite(&self, cite: &Cite) -> String {
        let mut text = format!("See *{}*", escaped(&cite.title));
        if let Some(manual) = self.spec.manual(&cite.doc.value) {
            text.push_str(&format!(" in {}, revision {}", escaped(manual.short()), escaped(&manual.revision)));
        }
        if let Some(page) = &cite.page {
            text.push_str(&format!(", page {}", escaped(&page.value)));
        }
        text + "."
    }
}

/// Whether two citations read the same.
fn same(a: &Cite, b: &Cite) -> bool {
    let page = |cite: &Cite| cite.page.as_ref().map(|page| page.value.clone());
    a.doc.value == b.doc.value && a.title == b.title && page(a) == page(b)
}

/// A link to a type, from the module `from`.
pub(super) fn link(ty: &Type, from: &Module) -> String {
    let (vendor, module) = (ty.vendor.name(), ty.module.as_str());
    if (from.vendor.name(), from.name.as_str()) == (vendor, module) {
        return format!("[`{}`]", ty.name);
    }
    format!("[`{0}`](crate::spec::{vendor}::{module}::{0})", ty.name)
}

/// A doc comment of these lines: one attribute, since a token less is a token less to make, to print and to read.
pub(super) fn doc(lines: &[impl AsRef<str>]) -> TokenStream {
    let mut text = String::new();
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        if !line.as_ref().is_empty() {
            text.push(' ');
            text.push_str(&line.as_ref().replace('\n', " "));
        }
    }
    quote! { #[doc = #text] }
}

/// The doc comment of a vendor's module.
pub(super) fn vendor(vendor: Vendor) -> TokenStream {
    doc(&[match vendor {
        Vendor::Intel => "Intel: VMX.",
        Vendor::Amd => "AMD: SVM.",
        Vendor::X86 => "What both vendors have.",
    }])
}

/// The doc comment of the module that a file becomes.
pub(super) fn module(vendor: Vendor, name: &str) -> TokenStream {
    if (vendor, name) == (Vendor::Intel, "conditions") {
        return doc(&["The conditions under which a CPU has the VMCS fields that not every CPU has."]);
    }
    if name == "payloads" {
        return doc(&[
            "What is known on each kind of exit, as types: what a processor does not report cannot be read.",
        ]);
    }
    if name == "entry_checks" {
        return doc(&[
            "What a processor checks before it enters a guest: the rules of the tables.",
            "",
            "How rules are asked and shown: [`entry`](crate::entry).",
        ]);
    }
    doc(&[format!("The tables of `spec/{}/{name}.toml`.", vendor.name())])
}

/// Ends in a full stop.
pub(super) fn sentence(text: &str) -> String {
    let text = escaped(text.trim());
    if text.ends_with(['.', '!', '?']) { text } else { text + "." }
}

/// What Markdown may give a meaning to.
const SPECIAL: &[char] = &['[', ']', '<', '>', '*', '_', '\\', '#', '|'];

/// Text that Markdown leaves as it is. Backticks keep their meaning.
pub(super) fn escaped(text: &str) -> String {
    if !text.contains(SPECIAL) {
        return text.to_owned();
    }
    let (mut out, mut code) = (String::new(), false);
    for c in text.chars() {
        code ^= c == '`';
        if !code && SPECIAL.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
