//! `exists_if`: one type per condition, and what conditions are asked of.

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Condition, ControlWord, Layout, Term};

use super::Emitter;
use super::docs::doc;
use super::tokens::{decimal, hex, ident, path, snake};

impl Emitter<'_> {
    pub(super) fn conditions(&self) -> TokenStream {
        let members = ControlWord::ALL.iter().filter_map(|(id, name)| {
            let control = self.spec.control(*id)?;
            let doc = doc(&[format!("What {} may have set.", super::docs::escaped(&control.head.manual_name))]);
            let (name, ty) = (ident(name), ident(control.head.name()));
            Some(quote! { #doc pub #name: controls::#ty, })
        });
        let doc = doc(&[
            "The controls that this CPU allows to be 1, from its capability MSRs, and what else conditions ask for.",
            "",
            "By default none: then no CPU-dependent field exists.",
        ]);
        let (words, reads): (Vec<_>, Vec<_>) = self.cpuid_words().into_iter().unzip();
        let conditions = self.spec.conditions().into_iter().map(|condition| self.condition(condition));
        quote! {
            use crate::spec::Condition;
            use crate::spec::intel::controls;

            #doc
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            #[non_exhaustive]
            pub struct AllowedControls { #(#members)* #(#words)* }

            impl AllowedControls {
                /// Asks CPUID what conditions need of it. `cpuid` gives EAX, EBX, ECX and EDX of a leaf and subleaf, zeros
                /// for those that the CPU does not have.
                pub fn read_cpuid(&mut self, cpuid: impl Fn(u32, u32) -> [u32; 4]) {
                    let _ = &cpuid;
                    #(#reads)*
                }
            }

            #(#conditions)*
        }
    }

    /// The words of CPUID that conditions ask for: each as a member, and how it is read.
    fn cpuid_words(&self) -> Vec<(TokenStream, TokenStream)> {
        let conditions = self.spec.conditions();
        let terms = conditions.iter().flat_map(|condition| &condition.any);
        let mut layouts: Vec<_> = terms
            .filter_map(|term| match term {
                Term::Cpuid(bit) => self.spec.layout(&bit.layout),
                Term::Control(_) => None,
            })
            .collect();
        layouts.sort_by_key(|layout| layout.head.name());
        layouts.dedup_by_key(|layout| layout.head.name());
        let word = |layout: &Layout| {
            let (place, ty) = (layout.cpuid?, path(self.types.get(layout.head.name())?));
            let member = ident(&snake(layout.head.name()));
            let doc = doc(&[format!("What CPUID reports: {}.", super::docs::escaped(&layout.head.manual_name))]);
            let (leaf, subleaf) = (hex(place.leaf.into()), decimal(place.subleaf));
            let index = decimal(place.register as u32);
            Some((
                quote! { #doc pub #member: #ty, },
                quote! { self.#member = #ty::from_bits(cpuid(#leaf, #subleaf)[#index]); },
            ))
        };
        layouts.into_iter().filter_map(word).collect()
    }

    fn condition(&self, condition: &Condition) -> TokenStream {
        let name = ident(&condition.type_name());
        let fields = self.spec.fields.iter().filter(|f| f.exists_if.as_ref().is_some_and(|c| c.value == *condition));
        let fields: Vec<_> = fields.map(|field| format!("`{}`", field.head.name())).collect();
        let doc =
            doc(&[format!("`{condition}` may be 1."), String::new(), format!("Asked for by {}.", fields.join(", "))]);
        let tests = condition.any.iter().enumerate().filter_map(|(i, term)| {
            let or = (i > 0).then(|| quote! { || });
            match term {
                Term::Control(bit) => {
                    let control = self.spec.control(bit.word)?;
                    let (word, ty) = (ident(bit.word.name()), ident(control.head.name()));
                    let bit = ident(&bit.bit);
                    Some(quote! { #or allowed.#word.contains(controls::#ty::#bit) })
                }
                Term::Cpuid(bit) => {
                    let (member, ty) = (ident(&snake(&bit.layout)), path(self.types.get(&bit.layout)?));
                    let bit = ident(&bit.bit);
                    Some(quote! { #or allowed.#member.contains(#ty::#bit) })
                }
            }
        });
        quote! {
            #doc
            pub struct #name;

            impl Condition for #name {
                #[inline]
                fn holds(allowed: &AllowedControls) -> bool { #(#tests)* }
            }
        }
    }
}
