//! Small pieces of Rust.

use std::str::FromStr;

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::quote;

use crate::lint::is_keyword;
use crate::model::Type;

/// An identifier; a keyword becomes a raw one. What cannot be one, which a lint refuses, becomes something alike.
pub(super) fn ident(name: &str) -> Ident {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.chars().all(letter) || !name.starts_with(|c: char| letter(c) && !c.is_ascii_digit()) {
        let name: String = name.chars().map(|c| if letter(c) { c } else { '_' }).collect();
        return Ident::new(&format!("_{name}"), Span::call_site());
    }
    // These four cannot be raw.
    if is_keyword(name) && !matches!(name, "Self" | "self" | "super" | "crate") {
        return Ident::new_raw(name, Span::call_site());
    }
    Ident::new(name, Span::call_site())
}

/// The name of a method: the lower-case form of ours.
pub(super) fn method(name: &str) -> Ident {
    ident(&name.to_ascii_lowercase())
}

/// `Cpuid7Sub1Eax` to `cpuid7_sub1_eax`.
pub(crate) fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A number as manuals print it.
pub(super) fn hex(number: u64) -> Literal {
    Literal::from_str(&format!("{number:#x}")).expect("a number is a literal")
}

/// A decimal number.
pub(super) fn decimal(number: impl Into<u64>) -> Literal {
    Literal::u64_unsuffixed(number.into())
}

/// The unsigned integer with that many bits.
pub(super) fn integer(width: u32) -> Ident {
    ident(&format!("u{width}"))
}

/// The width of the smallest integer that holds that many bits.
pub(super) fn smallest(bits: u32) -> u32 {
    bits.next_power_of_two().clamp(8, 64)
}

/// `crate::spec::vendor::module::Name`
pub(super) fn path(ty: &Type) -> TokenStream {
    let (vendor, module, name) = (ident(ty.vendor.name()), ident(&ty.module), ident(&ty.name));
    quote! { crate::spec::#vendor::#module::#name }
}

/// `value as to`, or `value` if that changes nothing.
pub(super) fn cast(value: TokenStream, from: u32, to: u32) -> TokenStream {
    if from == to {
        return value;
    }
    let to = integer(to);
    quote! { (#value) as #to }
}
