//! What the bits of VMCS fields and VMCB members mean: tables beside those of the fields and members, which only dumps use.

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Area, Type, Types};

use super::Emitter;
use super::tokens::path;

impl Emitter<'_> {
    /// In the order of `FIELDS`.
    pub(super) fn field_meanings(&self) -> TokenStream {
        let types = self.spec.fields.iter().map(|field| field.ty.as_ref().and_then(|ty| self.types.get(&ty.value)));
        let rows = types.map(meaning);
        quote! {
            /// What the bits of each field of [`FIELDS`] mean, for dumps.
            pub static FIELD_MEANINGS: &[crate::spec::Meaning] = &[#(#rows),*];
        }
    }

    /// In the order of `MEMBERS`.
    pub(super) fn member_meanings(&self) -> TokenStream {
        let mut members: Vec<_> =
            [Area::Control, Area::Save].into_iter().flat_map(|area| self.spec.members_of(area)).collect();
        members.sort_by_key(|member| member.area.base() + member.offset.value);
        let rows = members.iter().map(|member| {
            let word = matches!(member.size.value, 1 | 2 | 4 | 8) && member.reserved.is_none();
            meaning(Types::of_member(self.spec, member).filter(|_| word).and_then(|name| self.types.get(name)))
        });
        quote! {
            /// What the bits of each member of [`MEMBERS`] mean, for dumps.
            pub static MEMBER_MEANINGS: &[crate::spec::Meaning] = &[#(#rows),*];
        }
    }
}

fn meaning(ty: Option<&Type>) -> TokenStream {
    match ty {
        Some(ty) => {
            let path = path(ty);
            quote! { <#path>::MEANING }
        }
        None => quote! { crate::spec::Meaning::Number },
    }
}
