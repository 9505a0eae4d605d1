//! `[[msr]]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::model::Msr;

use super::Emitter;
use super::docs::link;
use super::tokens::{hex, ident};

impl Emitter<'_> {
    pub(super) fn msr(&self, msr: &Msr) -> TokenStream {
        let mut facts = format!("MSR {:X}H.", msr.address.value);
        if let Some(layout) = msr.layout.as_ref().and_then(|layout| self.types.get(&layout.value)) {
            facts.push_str(&format!(" Its bits: {}.", link(layout, self.spec.module(msr.module))));
        }
        let doc = self.docs.item(&msr.head, &facts);
        let (name, address) = (ident(msr.head.name()), hex(msr.address.value));
        let reset = msr.reset.as_ref().map(|reset| {
            let doc = format!(" The value of [`{}`] after RESET.", msr.head.name());
            let (name, value) = (format_ident!("{}_RESET", msr.head.name()), hex(reset.value));
            quote! { #[doc = #doc] pub const #name: u64 = #value; }
        });
        quote! { #doc pub const #name: crate::spec::Msr = crate::spec::Msr(#address); #reset }
    }
}
