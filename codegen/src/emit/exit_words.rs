//! What an exit's information is worth reading for, and in words: for whoever records exits without handling them.

use std::collections::BTreeMap;

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Exit, Information, Vendor};

use super::Emitter;
use super::docs::doc;
use super::tokens::{ident, path};

/// The name of a type in the tables, or none where the information is not valid.
type TypeOf = fn(&Information) -> Option<&str>;

impl Emitter<'_> {
    pub(super) fn exit_words(&self, vendor: Vendor) -> TokenStream {
        let (predicates, words): (Vec<TokenStream>, Vec<TokenStream>) = match vendor {
            Vendor::Amd => (
                Vec::new(),
                vec![
                    self.words(vendor, "exit_info1", "EXITINFO1", |information| match information {
                        Information::Svm(svm) => svm.exit_info1.as_ref().map(|ty| ty.value.as_str()),
                        Information::Vmx(_) => None,
                    }),
                    self.words(vendor, "exit_info2", "EXITINFO2", |information| match information {
                        Information::Svm(svm) => svm.exit_info2.as_ref().map(|ty| ty.value.as_str()),
                        Information::Vmx(_) => None,
                    }),
                ],
            ),
            _ => (
                vec![
                    self.predicate("guest_physical_address", "the guest-physical address", |vmx| {
                        vmx.guest_physical_address.is_some()
                    }),
                    self.predicate(
                        "interruption_information",
                        "the VM-exit interruption information and error code",
                        |vmx| vmx.interruption_information.is_some(),
                    ),
                ],
                vec![self.words(vendor, "qualification", "the exit qualification", |information| match information {
                    Information::Vmx(vmx) => vmx.qualification.as_ref().map(|ty| ty.value.as_str()),
                    Information::Svm(_) => None,
                })],
            ),
        };
        quote! { #(#predicates)* #(#words)* }
    }

    /// Whether a field of VMX is valid, be it on some of these exits only.
    fn predicate(&self, name: &str, what: &str, is_valid: fn(&crate::model::VmxInformation) -> bool) -> TokenStream {
        let exits = self.spec.exits_of(Vendor::Intel).filter(|exit| match &exit.information {
            Information::Vmx(vmx) => is_valid(vmx),
            Information::Svm(_) => false,
        });
        has(Vendor::Intel, name, what, exits.collect())
    }

    /// Whether a value is valid, and what it says by the type that it has on such an exit.
    fn words(&self, vendor: Vendor, name: &str, what: &str, type_of: TypeOf) -> TokenStream {
        let mut by_type: BTreeMap<&str, Vec<&Exit>> = BTreeMap::new();
        for exit in self.spec.exits_of(vendor) {
            if let Some(ty) = type_of(&exit.information) {
                by_type.entry(ty).or_default().push(exit);
            }
        }
        let has = has(
            vendor,
            name,
            what,
            self.spec.exits_of(vendor).filter(|exit| type_of(&exit.information).is_some()).collect(),
        );
        let number = number(vendor);
        let arms = by_type.iter().map(|(ty, exits)| {
            let exits = exits.iter().map(|exit| ident(exit.head.name()));
            let write = match self.types.get(ty) {
                Some(ty) => {
                    let ty = path(ty);
                    quote! { core::fmt::Debug::fmt(&<#ty as crate::spec::FieldValue>::from_raw(value), f) }
                }
                None => quote! { write!(f, "{value:#x}") },
            };
            quote! { #(#number::#exits)|* => #write, }
        });
        let write = ident(&format!("write_{name}"));
        let doc = doc(&[format!("Writes {what} of such an exit in words; nothing where it is not valid.")]);
        quote! {
            #has

            #doc
            #[allow(unused_variables, reason = "a spec may have no exit with it")]
            pub fn #write(number: #number, value: u64, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match number {
                    #(#arms)*
                    _ => Ok(()),
                }
            }
        }
    }
}

fn has(vendor: Vendor, name: &str, what: &str, exits: Vec<&Exit>) -> TokenStream {
    let number = number(vendor);
    let doc = doc(&[format!("Whether {what} may be valid on such an exit.")]);
    let name = ident(&format!("has_{name}"));
    let exits = exits.iter().map(|exit| ident(exit.head.name()));
    let any = if exits.len() == 0 {
        quote! { let _ = number; false }
    } else {
        quote! { matches!(number, #(#number::#exits)|*) }
    };
    quote! {
        #doc
        #[inline(always)]
        pub const fn #name(number: #number) -> bool {
            #any
        }
    }
}

fn number(vendor: Vendor) -> proc_macro2::Ident {
    match vendor {
        Vendor::Amd => ident("ExitCode"),
        _ => ident("ExitReason"),
    }
}
