//! `[[enum]]`, and open enumerations in general.

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Enum, Head};

use super::Emitter;
use super::tokens::{hex, ident, integer};

/// A value of an open enumeration.
pub(super) struct Value<'a> {
    pub head: &'a Head,
    pub number: u64,
    /// The number as the manual writes it.
    pub shown: String,
}

impl Emitter<'_> {
    pub(super) fn enumeration(&self, table: &Enum) -> TokenStream {
        let facts = match table.others.as_str() {
            "none" => format!("{} bits; every value is listed.", table.width),
            _ => format!("{} bits; values that are not listed are reserved.", table.width),
        };
        let doc = self.docs.item(&table.head, &facts);
        let value = |value: &'_ crate::model::EnumValue| value.number.value.to_string();
        let values: Vec<_> = table
            .values
            .iter()
            .map(|row| Value { head: &row.head, number: row.number.value, shown: value(row) })
            .collect();
        self.open_enum(doc, table.head.name(), table.width, &values)
    }

    /// The type and its constants. What all enumerations can do is in the macro `open_enum!` of `src/spec/`.
    pub(super) fn open_enum(&self, doc: TokenStream, name: &str, width: u32, values: &[Value]) -> TokenStream {
        let (name, int) = (ident(name), integer(width));
        let constants = values.iter().map(|value| {
            let doc = self.docs.item(value.head, &format!("Number {}.", value.shown));
            let (constant, number) = (ident(value.head.name()), hex(value.number));
            quote! { #doc pub const #constant: Self = Self(#number); }
        });
        let names = values.iter().map(|value| {
            let (constant, number) = (ident(value.head.name()), hex(value.number));
            quote! { #constant #number, }
        });
        quote! {
            #doc
            #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
            #[repr(transparent)]
            pub struct #name(pub #int);

            impl #name { #(#constants)* }

            crate::spec::open_enum! { #name(#int) { #(#names)* } }
        }
    }
}
