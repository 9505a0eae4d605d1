//! Words with bits: an alias of `Word8` to `Word64`, a constant per single bit, a getter and a setter per range.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::model::{BitRange, Head, LayoutField, Type};

use super::Emitter;
use super::tokens::{cast, decimal, hex, ident, integer, method, path, smallest};

/// A word to be generated.
pub(super) struct Word<'a> {
    pub doc: TokenStream,
    pub name: &'a str,
    pub width: u32,
    pub parts: Vec<Part<'a>>,
    /// The reserved bits that are always 1.
    pub ones: u64,
}

/// The reserved bits that are always 1.
pub(super) fn ones_of(fields: &[LayoutField]) -> u64 {
    fields.iter().filter(|field| field.reserved == Some(1)).fold(0, |ones, field| ones | field.bits.mask())
}

/// A single bit or a range of bits that is not reserved.
pub(super) struct Part<'a> {
    pub head: &'a Head,
    pub bits: BitRange,
    pub ty: Option<&'a str>,
    /// What its documentation says beyond its place.
    pub facts: String,
}

impl<'a> Part<'a> {
    /// A single bit.
    pub fn bit(head: &'a Head, bits: BitRange, facts: String) -> Self {
        Part { head, bits, ty: None, facts }
    }

    /// The parts that are not reserved.
    pub fn of_fields(fields: &'a [LayoutField]) -> Vec<Self> {
        let named = fields.iter().filter(|field| field.reserved.is_none());
        let part = |field: &'a LayoutField| {
            let ty = field.ty.as_ref().map(|ty| ty.value.as_str());
            Part { head: &field.head, bits: field.bits, ty, facts: String::new() }
        };
        named.map(part).collect()
    }

    fn is_flag(&self) -> bool {
        self.bits.high == self.bits.low && self.ty.is_none()
    }

    /// "Bit 3." or "Bits 13:12."
    fn facts(&self) -> String {
        let BitRange { high, low, .. } = self.bits;
        let place = if high == low { format!("Bit {low}.") } else { format!("Bits {high}:{low}.") };
        if self.facts.is_empty() { place } else { format!("{place} {}", self.facts) }
    }
}

impl Emitter<'_> {
    /// The type, its constants and accessors. What all words can do is in `src/spec/word.rs`.
    pub(super) fn word(&self, word: &Word) -> TokenStream {
        let Word { doc, name, width, parts, ones } = word;
        let items = parts.iter().map(|part| if part.is_flag() { self.flag(part) } else { self.range(part, *width) });
        let ones = (*ones != 0).then(|| {
            let value = constant(*ones);
            quote! {
                #[doc = " The reserved bits that are always 1."]
                pub const RESERVED_TO_1: Self = #value;
            }
        });
        let tables = tables(name, parts);
        let layout_doc = format!(" The layout of [`{name}`].");
        let (name, layout, generic) = (ident(name), format_ident!("{name}Layout"), format_ident!("Word{width}"));
        quote! {
            #doc
            pub type #name = crate::spec::#generic<#layout>;

            #[doc = #layout_doc]
            pub enum #layout {}

            impl crate::spec::Layout for #layout { #tables }

            impl #name { #ones #(#items)* }
        }
    }

    fn flag(&self, part: &Part) -> TokenStream {
        let doc = self.docs.item(part.head, &part.facts());
        let (name, value) = (ident(part.head.name()), constant(part.bits.mask()));
        quote! { #doc pub const #name: Self = #value; }
    }

    fn range(&self, part: &Part, width: u32) -> TokenStream {
        let BitRange { low, .. } = part.bits;
        let name = part.head.name();
        let doc = self.docs.item(part.head, &part.facts());
        let set_doc = format!(" This word with another `{}`; bits that do not fit are dropped.", method(name));
        let mask_doc = format!(" The bits of [`{0}`](Self::{0}).", method(name));
        let (get, set) = (method(name), format_ident!("with_{}", name.to_ascii_lowercase()));
        let (mask, mask_name) = (hex(part.bits.mask()), format_ident!("{name}_MASK"));
        let mask_value = constant(part.bits.mask());

        let ty = part.ty.and_then(|ty| self.types.get(ty));
        let value_width = ty.map_or_else(|| smallest(part.bits.width()), |ty| ty.width);
        let low = decimal(low);
        let raw = cast(quote! { self.bit_range(#mask, #low) }, width, value_width);
        let (value_ty, value, raw_of_value) = value_type(ty, value_width, raw);
        let widened = if value_width == width { raw_of_value } else { cast_plain(raw_of_value, width) };
        quote! {
            #[doc = #mask_doc]
            pub const #mask_name: Self = #mask_value;

            #doc
            #[inline(always)]
            pub const fn #get(self) -> #value_ty { #value }

            #[doc = #set_doc]
            #[inline(always)]
            #[must_use]
            pub const fn #set(self, value: #value_ty) -> Self { self.with_bit_range(#mask, #low, #widened) }
        }
    }
}

/// What the layout of a word says: its name and its parts.
fn tables(name: &str, parts: &[Part]) -> TokenStream {
    let flags = parts.iter().filter(|part| part.is_flag()).map(|part| {
        let (name, mask) = (part.head.name(), hex(part.bits.mask()));
        quote! { (#name, #mask), }
    });
    let ranges = parts.iter().filter(|part| !part.is_flag()).map(|part| {
        let (name, high, low) = (part.head.name(), decimal(part.bits.high), decimal(part.bits.low));
        quote! { (#name, #high, #low), }
    });
    quote! {
        const NAMES: crate::spec::Names = crate::spec::Names {
            word: #name,
            flags: &[#(#flags)*],
            ranges: &[#(#ranges)*],
        };
    }
}

/// The word with these bits.
fn constant(bits: u64) -> TokenStream {
    let bits = hex(bits);
    quote! { Self::from_bits(#bits) }
}

/// The type of a range's value; that value, made of `raw`; and the integer in a given `value`.
fn value_type(ty: Option<&Type>, width: u32, raw: TokenStream) -> (TokenStream, TokenStream, TokenStream) {
    match ty {
        None => {
            let int = integer(width);
            (quote! { #int }, raw, quote! { value })
        }
        Some(ty) => {
            let path = path(ty);
            let inner = if ty.is_enum {
                quote! { value.0 }
            } else {
                quote! { value.bits() }
            };
            let value = if ty.is_enum {
                quote! { #path(#raw) }
            } else {
                quote! { #path::from_bits(#raw) }
            };
            (path, value, inner)
        }
    }
}

/// `value as to`
fn cast_plain(value: TokenStream, to: u32) -> TokenStream {
    let to = integer(to);
    quote! { #value as #to }
}
