//! What is known on each exit: a type per kind of exit, and the enumeration of them that decoding gives.

use std::collections::BTreeMap;

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Exit, Information, Spanned, SvmInformation, Valid, Vendor, VmxInformation, camel};

use super::Emitter;
use super::docs::{doc, escaped};
use super::tokens::{ident, path};

/// The exits that share a type, in the order of the table.
struct Kind<'s> {
    name: String,
    exits: Vec<&'s Exit>,
}

impl Kind<'_> {
    /// What is known: the exits of a kind agree.
    fn information(&self) -> &Information {
        &self.exits[0].information
    }
}

impl Emitter<'_> {
    pub(super) fn payloads(&self, vendor: Vendor) -> TokenStream {
        let kinds = self.kinds(vendor);
        let (number, other) = match vendor {
            Vendor::Amd => (ident("ExitCode"), "An exit code that no table lists."),
            _ => (ident("ExitReason"), "A basic exit reason that no table lists."),
        };
        let module = ident(vendor.name());
        let types = kinds.iter().map(|kind| self.kind(vendor, kind));
        let variants = kinds.iter().map(|kind| {
            let name = ident(&kind.name);
            let doc = doc(&[names(kind)]);
            quote! { #doc #name(Payload<S, #name>), }
        });
        let arms = kinds.iter().map(|kind| {
            let (name, exits) = (ident(&kind.name), kind.exits.iter().map(|exit| ident(exit.head.name())));
            quote! { #(#number::#exits)|* => Exit::#name(Payload::new(source)), }
        });
        let conditions = self.reported(vendor);
        let words = self.exit_words(vendor);
        let (enum_doc, other) =
            (doc(&["An exit, decoded: each with what is known on it, and nothing else."]), doc(&[other]));
        quote! {
            use crate::spec::payload::{self, Payload};
            use crate::spec::#module::exits::#number;

            #enum_doc
            #[derive(Clone, Copy, Debug)]
            #[non_exhaustive]
            pub enum Exit<S> {
                #(#variants)*
                #other
                Unknown(S),
            }

            impl<S> Exit<S> {
                /// Decodes an exit. What is known on it is read from `source` when asked for.
                #[inline(always)]
                pub fn decode(number: #number, source: S) -> Self {
                    match number {
                        #(#arms)*
                        _ => Exit::Unknown(source),
                    }
                }
            }

            #(#types)*
            #conditions
            #words
        }
    }

    /// The CPUID bits without which some payloads are undefined.
    fn reported(&self, vendor: Vendor) -> TokenStream {
        let mut bits: Vec<_> = self
            .spec
            .exits_of(vendor)
            .filter_map(|exit| match &exit.information {
                Information::Svm(information) => information.info_if.as_ref(),
                Information::Vmx(_) => None,
            })
            .collect();
        bits.sort_by_key(|bit| bit.to_string());
        bits.dedup_by_key(|bit| bit.to_string());
        let types = bits.into_iter().filter_map(|bit| {
            let (name, flag) = (ident(&camel(&bit.bit)), ident(&bit.bit));
            let word = path(self.types.get(&bit.layout)?);
            let doc = doc(&[format!("CPUID reports `{bit}`.")]);
            Some(quote! {
                #doc
                pub enum #name {}

                impl payload::CpuidBit for #name {
                    type Word = #word;

                    fn is_in(word: #word) -> bool { word.contains(#word::#flag) }
                }
            })
        });
        quote! { #(#types)* }
    }

    fn kinds(&self, vendor: Vendor) -> Vec<Kind<'_>> {
        let mut kinds: Vec<Kind> = Vec::new();
        let mut places = BTreeMap::new();
        for exit in self.spec.exits_of(vendor) {
            let name = exit.payload_name();
            let place = *places.entry(name.clone()).or_insert(kinds.len());
            if place == kinds.len() {
                kinds.push(Kind { name, exits: Vec::new() });
            }
            kinds[place].exits.push(exit);
        }
        kinds
    }

    fn kind(&self, vendor: Vendor, kind: &Kind) -> TokenStream {
        let (facts, impls) = match kind.information() {
            Information::Vmx(information) => self.vmx(&kind.name, information),
            Information::Svm(information) => self.svm(&kind.name, information),
        };
        let valid = if facts.is_empty() {
            "Nothing more is known on it.".to_owned()
        } else {
            format!("Known on it: {}.", facts.join(", "))
        };
        let mut lines = vec![format!("On {}.", names(kind)), String::new(), valid];
        if let [exit] = kind.exits[..]
            && let Some(note) = &exit.head.note
        {
            lines.extend([String::new(), escaped(note)]);
        }
        let (doc, name) = (doc(&lines), ident(&kind.name));
        let exits = kind.exits.iter().map(|exit| ident(exit.head.name()));
        let (kind, number) = match vendor {
            Vendor::Amd => (quote! { payload::SvmKind }, ident("ExitCode")),
            _ => (quote! { payload::VmxKind }, ident("ExitReason")),
        };
        quote! {
            #doc
            pub enum #name {}

            impl #kind for #name { const NUMBERS: &'static [#number] = &[#(#number::#exits),*]; }
            #impls
        }
    }

    /// What is valid, in words and in Rust.
    fn vmx(&self, name: &str, information: &VmxInformation) -> (Vec<String>, TokenStream) {
        let (mut facts, mut impls) = (Vec::new(), TokenStream::new());
        self.typed(
            name,
            "HasQualification",
            "exit qualification",
            information.qualification.as_ref(),
            &mut facts,
            &mut impls,
        );
        for (key, bound, valid) in information.flags() {
            flag(name, bound, key, valid, &mut facts, &mut impls);
        }
        let instruction = information.instruction_information.as_ref();
        self.typed(name, "HasInstructionInformation", "instruction information", instruction, &mut facts, &mut impls);
        (facts, impls)
    }

    fn svm(&self, name: &str, information: &SvmInformation) -> (Vec<String>, TokenStream) {
        let (mut facts, mut impls) = (Vec::new(), TokenStream::new());
        for (bound, what, ty) in [
            ("HasExitInfo1", "EXITINFO1", &information.exit_info1),
            ("HasExitInfo2", "EXITINFO2", &information.exit_info2),
        ] {
            self.typed(name, bound, what, ty.as_ref(), &mut facts, &mut impls);
            let (Some(_), Some(bit)) = (ty, &information.info_if) else { continue };
            if let Some(fact) = facts.last_mut() {
                fact.push_str(&format!(" if CPUID reports `{bit}`"));
            }
        }
        if let Some(bit) = &information.info_if {
            let (name, condition) = (ident(name), ident(&camel(&bit.bit)));
            impls.extend(quote! { impl payload::InfoIf for #name { type Condition = #condition; } });
        } else if information.exit_info1.is_some() || information.exit_info2.is_some() {
            let name = ident(name);
            impls.extend(quote! { impl payload::InfoAlways for #name {} });
        }
        flag(name, "HasNextRip", "nRIP", information.next_rip.as_ref(), &mut facts, &mut impls);
        let bytes = information.instruction_bytes.as_ref();
        flag(name, "HasInstructionBytes", "instruction bytes", bytes, &mut facts, &mut impls);
        (facts, impls)
    }

    /// A value whose type differs from exit to exit.
    fn typed(
        &self,
        name: &str,
        bound: &str,
        what: &str,
        ty: Option<&Spanned<String>>,
        facts: &mut Vec<String>,
        impls: &mut TokenStream,
    ) {
        let Some(ty) = ty else { return };
        let (name, bound) = (ident(name), ident(bound));
        let (shown, ty) = match self.types.get(&ty.value) {
            Some(ty) => {
                let path = path(ty);
                (format!("[`{}`]({})", ty.name, path.to_string().replace(' ', "")), path)
            }
            None => ("a number".to_owned(), quote! { u64 }),
        };
        facts.push(format!("{what} ({shown})"));
        impls.extend(quote! { impl payload::#bound for #name { type Value = #ty; } });
    }
}

/// A value that is there or not.
fn flag(
    name: &str,
    bound: &str,
    what: &str,
    valid: Option<&Spanned<Valid>>,
    facts: &mut Vec<String>,
    impls: &mut TokenStream,
) {
    let Some(valid) = valid else { return };
    let sometimes = if valid.value == Valid::Conditional { " (sometimes)" } else { "" };
    facts.push(format!("{}{sometimes}", what.replace('_', " ")));
    let (name, bound) = (ident(name), ident(bound));
    impls.extend(quote! { impl payload::#bound for #name {} });
}

/// "I/O instruction" or "VMEXIT_CR0_READ to VMEXIT_CR15_READ".
fn names(kind: &Kind) -> String {
    let first = escaped(&kind.exits[0].head.manual_name);
    match &kind.exits[..] {
        [_] => first,
        [.., last] => format!("{first} to {}", escaped(&last.head.manual_name)),
        [] => String::new(),
    }
}
