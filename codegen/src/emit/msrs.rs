//! `[[msr]]`.

use proc_macro2::TokenStream;
use quote::quote;

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
        quote! { #doc pub const #name: crate::spec::Msr = crate::spec::Msr(#address); }
    }
}
