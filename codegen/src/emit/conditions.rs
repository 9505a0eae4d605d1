//! `exists_if`: one type per condition, and what conditions are asked of.

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Condition, ControlWord};

use super::Emitter;
use super::docs::doc;
use super::tokens::ident;

impl Emitter<'_> {
    pub(super) fn conditions(&self) -> TokenStream {
        let members = ControlWord::ALL.iter().filter_map(|(id, name)| {
            let control = self.spec.control(*id)?;
            let doc = doc(&[format!("What {} may have set.", super::docs::escaped(&control.head.manual_name))]);
            let (name, ty) = (ident(name), ident(control.head.name()));
            Some(quote! { #doc pub #name: controls::#ty, })
        });
        let doc = doc(&[
            "The controls that this CPU allows to be 1, from its capability MSRs.",
            "",
            "By default none: then no CPU-dependent field exists.",
        ]);
        let conditions = self.spec.conditions().into_iter().map(|condition| self.condition(condition));
        quote! {
            use crate::spec::Condition;
            use crate::spec::intel::controls;

            #doc
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            pub struct AllowedControls { #(#members)* }

            #(#conditions)*
        }
    }

    fn condition(&self, condition: &Condition) -> TokenStream {
        let name = ident(&condition.type_name());
        let fields = self.spec.fields.iter().filter(|f| f.exists_if.as_ref().is_some_and(|c| c.value == *condition));
        let fields: Vec<_> = fields.map(|field| format!("`{}`", field.head.name())).collect();
        let doc =
            doc(&[format!("`{condition}` may be 1."), String::new(), format!("Asked for by {}.", fields.join(", "))]);
        let tests = condition.any.iter().enumerate().filter_map(|(i, bit)| {
            let control = self.spec.control(bit.word)?;
            let (word, ty) = (ident(bit.word.name()), ident(control.head.name()));
            let (or, bit) = ((i > 0).then(|| quote! { || }), ident(&bit.bit));
            Some(quote! { #or allowed.#word.contains(controls::#ty::#bit) })
        });
        quote! {
            #doc
            #[derive(Clone, Copy, Debug)]
            pub struct #name;

            impl Condition for #name {
                #[inline]
                fn holds(allowed: &AllowedControls) -> bool { #(#tests)* }
            }
        }
    }
}
