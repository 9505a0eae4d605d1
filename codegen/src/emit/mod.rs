//! The model to Rust: one file per kind of table. Expects a spec without mistakes.

mod checks;
mod conditions;
mod controls;
mod dependencies;
mod docs;
mod dumps;
mod enums;
mod exit_words;
mod exits;
mod fields;
mod files;
mod intercepts;
mod layouts;
mod map;
mod members;
mod msr_policy;
mod msrs;
mod payloads;
mod render;
mod tokens;
mod words;

use std::collections::BTreeMap;

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{ModuleId, Spec, Types, Vendor};
use docs::Docs;
pub use files::{GeneratedFile, GeneratedFiles};
#[cfg(feature = "cli")]
pub(crate) use members::plain_name as member_name;
pub(crate) use tokens::snake;

/// What the emitters of one module look at.
struct Emitter<'s> {
    spec: &'s Spec,
    types: Types,
    docs: Docs<'s>,
}

/// Modules that are there whatever the tables say, since handwritten code names them.
const MODULES: [(Vendor, &str); 11] = [
    (Vendor::Intel, "conditions"),
    (Vendor::Intel, "controls"),
    (Vendor::Intel, "entry_checks"),
    (Vendor::Intel, "exits"),
    (Vendor::Intel, "payloads"),
    (Vendor::Intel, "vmcs"),
    (Vendor::Amd, "entry_checks"),
    (Vendor::Amd, "exits"),
    (Vendor::Amd, "intercepts"),
    (Vendor::Amd, "payloads"),
    (Vendor::Amd, "vmcb"),
];

/// Turns a spec that [`crate::lint()`] has nothing against into Rust.
pub fn emit(spec: &Spec) -> GeneratedFiles {
    let emitter = Emitter { spec, types: Types::of(spec), docs: Docs::new(spec) };
    let mut modules: BTreeMap<(Vendor, &str), TokenStream> = BTreeMap::new();
    for module in MODULES {
        modules.insert(module, emitter.fixed(module));
    }
    for (index, module) in spec.modules.iter().enumerate() {
        let tokens = modules.entry((module.vendor, &module.name)).or_default();
        tokens.extend(emitter.module(ModuleId(index)));
    }

    let mut files = GeneratedFiles::default();
    let mut root = TokenStream::new();
    for vendor in Vendor::ALL {
        let (name, doc) = (tokens::ident(vendor.name()), docs::vendor(vendor));
        root.extend(quote! { #doc pub mod #name; });
        let mut list = TokenStream::new();
        for (&(_, name), tokens) in modules.iter().filter(|((v, _), _)| *v == vendor) {
            let (ident, doc) = (tokens::ident(name), docs::module(vendor, name));
            // A rule stays as its table has it, where clippy would write it otherwise.
            let allowed = (name == "entry_checks").then(|| {
                quote! {
                    #[allow(
                        clippy::nonminimal_bool, clippy::redundant_closure, clippy::manual_range_patterns,
                        reason = "a rule is written as its table has it"
                    )]
                }
            });
            list.extend(quote! { #doc #allowed pub mod #ident; });
            files.push(format!("{}/{name}.rs", vendor.name()), tokens.clone());
        }
        files.push(format!("{}/mod.rs", vendor.name()), list);
    }
    root.extend(quote! { #[doc = " What of VMX corresponds to what of SVM."] pub mod map; });
    files.push("map.rs".to_owned(), emitter.map());
    root.extend(quote! { #[doc = " What becomes of a guest's accesses to MSRs when the VMM does not say otherwise."] pub mod msr_policy; });
    files.push("msr_policy.rs".to_owned(), emitter.msr_policy());
    files.push("mod.rs".to_owned(), root);
    files
}

impl Emitter<'_> {
    /// What a module has that belongs to no single row.
    fn fixed(&self, module: (Vendor, &str)) -> TokenStream {
        match module {
            (Vendor::Intel, "conditions") => self.conditions(),
            (Vendor::Intel, "controls") => self.control_set(),
            (Vendor::Intel, "exits") => {
                let (reasons, errors) = (self.exit_reasons(), self.instruction_errors());
                quote! { #reasons #errors }
            }
            (Vendor::Intel | Vendor::Amd, "entry_checks") => self.entry_checks(module.0),
            (Vendor::Intel | Vendor::Amd, "payloads") => self.payloads(module.0),
            (Vendor::Intel, "vmcs") => {
                let (fields, meanings) = (self.fields(), self.field_meanings());
                quote! { #fields #meanings }
            }
            (Vendor::Amd, "exits") => self.exit_codes(),
            (Vendor::Amd, "vmcb") => {
                let (vmcb, meanings) = (self.vmcb(), self.member_meanings());
                quote! { #vmcb #meanings }
            }
            _ => TokenStream::new(),
        }
    }

    /// The rows of a file.
    fn module(&self, id: ModuleId) -> TokenStream {
        let spec = self.spec;
        let mut out = TokenStream::new();
        out.extend(spec.controls.iter().filter(|row| row.module == id).map(|row| self.control(row)));
        out.extend(spec.words.iter().filter(|row| row.module == id).map(|row| self.intercept_word(row)));
        out.extend(spec.members.iter().filter(|row| row.module == id).map(|row| self.member_word(row)));
        out.extend(spec.layouts.iter().filter(|row| row.module == id).map(|row| self.layout(row)));
        out.extend(spec.enums.iter().filter(|row| row.module == id).map(|row| self.enumeration(row)));
        out.extend(spec.msrs.iter().filter(|row| row.module == id).map(|row| self.msr(row)));
        let module = spec.module(id);
        if (module.vendor, module.name.as_str()) == (Vendor::Amd, "vmsa") {
            out.extend(self.vmsa());
        }
        out
    }
}
