//! `[[field]]`.

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Access, Field, Group, Width};

use super::Emitter;
use super::docs::{doc, escaped};
use super::tokens::{hex, ident, integer, path};

impl Emitter<'_> {
    /// A typed constant per field, and the table of all.
    pub(super) fn fields(&self) -> TokenStream {
        let fields = self.spec.fields.iter().map(|field| self.field(field));
        let doc = doc(&[
            "Every field, for dumps. [`FieldInfo::exists`](crate::spec::FieldInfo::exists) says whether a CPU has it.",
        ]);
        let rows = self.spec.fields.iter().map(|field| {
            let name = field.head.name();
            let constant = ident(name);
            quote! { #constant.info(#name), }
        });
        quote! {
            use crate::spec::intel::conditions;
            use crate::spec::{Always, ExitInfo, Field, FieldInfo, If, ReadWrite};

            #(#fields)*

            #doc
            pub static FIELDS: &[FieldInfo] = &[#(#rows)*];
        }
    }

    fn field(&self, field: &Field) -> TokenStream {
        let doc = self.docs.item(&field.head, &facts(field));
        let (name, encoding) = (ident(field.head.name()), hex(field.encoding.value));
        let ty = match field.ty.as_ref().and_then(|ty| self.types.get(&ty.value)) {
            Some(ty) => path(ty),
            None => {
                let int = integer(field.width.value.bits());
                quote! { #int }
            }
        };
        let access = match field.access.value {
            Access::ReadWrite => quote! { ReadWrite },
            Access::ExitInfo => quote! { ExitInfo },
        };
        let exists = match &field.exists_if {
            Some(condition) => {
                let condition = ident(&condition.value.type_name());
                quote! { If<conditions::#condition> }
            }
            None => quote! { Always },
        };
        quote! { #doc pub const #name: Field<#ty, #access, #exists> = Field::new(#encoding); }
    }
}

fn facts(field: &Field) -> String {
    let width = match field.width.value {
        Width::W16 => "16 bits",
        Width::W32 => "32 bits",
        Width::W64 => "64 bits",
        Width::Natural => "natural width",
    };
    let group = match field.group.value {
        Group::Control => "control field",
        Group::ExitInfo => "VM-exit information",
        Group::Guest => "guest state",
        Group::Host => "host state",
    };
    let access = match field.access.value {
        Access::ReadWrite => "read and write",
        Access::ExitInfo => "read only",
    };
    let mut facts = format!("Encoding {:04X}H: {width}, {group}, {access}.", field.encoding.value);
    if let Some(condition) = &field.exists_if {
        facts.push_str(&format!(" Exists where `{}` may be 1.", condition.value));
    }
    if let Some(retired) = &field.retired {
        facts.push_str(&format!(" Retired: {}", escaped(retired)));
    }
    facts
}
