//! `requires`, `excludes` and `activated_by`: all control words together, and what VM entry asks of them.

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{BitRef, Control, ControlBit};

use super::Emitter;
use super::docs::{doc, escaped};
use super::tokens::{decimal, hex, ident};

impl Emitter<'_> {
    pub(super) fn control_set(&self) -> TokenStream {
        let spec = self.spec;
        let members = spec.controls.iter().map(|control| {
            let (name, ty) = (ident(control.id.value.name()), ident(control.head.name()));
            let doc = doc(&[format!("{}.", escaped(&control.head.manual_name))]);
            quote! { #doc pub #name: #ty, }
        });
        let words = spec.controls.iter().map(|control| {
            let name = ident(control.id.value.name());
            let word = if control.width == 64 {
                quote! { self.#name.bits() }
            } else {
                quote! { self.#name.bits() as u64 }
            };
            match control.activated_by.as_ref().and_then(|bit| Some((bit, self.control_type(bit)?))) {
                Some((bit, ty)) => {
                    let (by, flag) = (ident(bit.word.name()), ident(&bit.bit));
                    quote! { if self.#by.contains(#ty::#flag) { #word } else { 0 } }
                }
                None => word,
            }
        });
        let count = decimal(u32::try_from(spec.controls.len()).unwrap_or(u32::MAX));
        let rows =
            spec.controls.iter().enumerate().flat_map(|(word, control)| {
                control.bits.iter().flat_map(move |bit| self.dependencies(word, control, bit))
            });
        quote! {
            #[allow(unused_imports, reason = "a spec may do without dependencies")]
            use crate::spec::control_set::{ControlBit, Dependency, DependencyKind};

            /// All words of controls of a virtual machine.
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            #[non_exhaustive]
            pub struct ControlSet { #(#members)* }

            impl ControlSet {
                /// What VM entry makes of the words: one whose activating control is 0 counts as 0.
                pub const fn effective(&self) -> [u64; #count] { [#(#words),*] }

                /// What VM entry asks of the controls together and finds otherwise.
                pub fn conflicts(&self) -> impl Iterator<Item = &'static Dependency> {
                    let words = self.effective();
                    DEPENDENCIES.iter().filter(move |dependency| dependency.is_broken(&words))
                }
            }

            /// What VM entry asks of the controls together.
            pub static DEPENDENCIES: &[Dependency] = &[#(#rows)*];
        }
    }

    /// The rows of one bit.
    fn dependencies(&self, word: usize, control: &Control, bit: &ControlBit) -> Vec<TokenStream> {
        let own = reference(word, control, bit.head.name(), bit.bits.mask());
        let requires = bit.requires.iter().map(|other| ("Requires", other));
        let excludes = bit.excludes.iter().map(|other| ("Excludes", other));
        let row = |(kind, other): (&str, &BitRef)| {
            let (kind, other) = (ident(kind), self.reference(other)?);
            Some(quote! { Dependency { bit: #own, kind: DependencyKind::#kind, other: #other }, })
        };
        requires.chain(excludes).filter_map(row).collect()
    }

    fn control_type(&self, bit: &BitRef) -> Option<proc_macro2::Ident> {
        Some(ident(self.spec.control(bit.word)?.head.name()))
    }

    fn reference(&self, bit: &BitRef) -> Option<TokenStream> {
        let word = self.spec.controls.iter().position(|control| control.id.value == bit.word)?;
        let control = &self.spec.controls[word];
        let row = control.bits.iter().find(|row| row.head.name() == bit.bit)?;
        Some(reference(word, control, row.head.name(), row.bits.mask()))
    }
}

/// A bit as a value: the place of its word in `ControlSet::effective`, its mask and its name.
fn reference(word: usize, control: &Control, name: &str, mask: u64) -> TokenStream {
    let (word, mask) = (decimal(u32::try_from(word).unwrap_or(u32::MAX)), hex(mask));
    let name = format!("{}.{name}", control.id.value.name());
    quote! { ControlBit::new(#word, #mask, #name) }
}
