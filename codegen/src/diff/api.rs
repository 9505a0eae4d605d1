//! The public items of the generated code, taken from the very tokens that a build writes.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Attribute, Fields, ImplItem, Visibility};

use super::item::{Item, line};
use crate::model::Spec;
use crate::{emit, lint};

/// Items by path.
pub(super) type Items = BTreeMap<String, Item>;

/// The public items that a spec becomes.
pub(super) fn items(spec: &Spec) -> Result<Items, String> {
    let mistakes = lint::code(spec);
    if let Some(first) = mistakes.first() {
        let place = spec.sources.place(first.span);
        return Err(format!("{place}: {}", first.message));
    }
    let mut items = Items::new();
    for file in emit(spec).files {
        let parsed = syn::parse2(file.tokens).map_err(|error| format!("{}: {error}", file.path))?;
        Module { path: module_path(&file.path), items: &mut items }.file(parsed);
    }
    Ok(items)
}

/// `intel/vmcs.rs` is `spec::intel::vmcs`.
fn module_path(file: &str) -> String {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let path = path.strip_suffix("mod").map_or(path, |parent| parent.trim_end_matches('/'));
    [&["spec"][..], &path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>()].concat().join("::")
}

/// A module that is read.
struct Module<'a> {
    path: String,
    items: &'a mut Items,
}

/// What is known of an item before it is kept.
struct New<'t> {
    parent: &'t str,
    attributes: &'t [Attribute],
    signature: TokenStream,
    contents: TokenStream,
    has_value: bool,
    closed: bool,
    part: bool,
}

impl Module<'_> {
    fn file(&mut self, file: syn::File) {
        file.items.into_iter().for_each(|item| self.item(item));
    }

    /// Keeps an item; `name` is what comes after its parent.
    fn keep(&mut self, name: &str, new: New) {
        let New { parent, attributes, signature, contents, has_value, closed, part } = new;
        let conditions = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
        let item = Item {
            parent: parent.to_owned(),
            signature: line(&quote! { #(#conditions)* #signature }),
            contents: line(&contents),
            has_value,
            docs: docs(attributes),
            closed,
            part,
        };
        // Of two with one name, which is no Rust, either will do.
        self.items.insert(format!("{parent}{name}"), item);
    }

    fn item(&mut self, item: syn::Item) {
        let here = self.path.clone();
        let new = |attributes, signature, contents, has_value| New {
            parent: &here,
            attributes,
            signature,
            contents,
            has_value,
            closed: false,
            part: false,
        };
        let none = TokenStream::new;
        match item {
            syn::Item::Const(item) if public(&item.vis) => {
                let (name, ty) = (&item.ident, &item.ty);
                let contents = item.expr.to_token_stream();
                self.keep(&format!("::{name}"), new(&item.attrs, quote! { const #name: #ty }, contents, true));
            }
            syn::Item::Static(item) if public(&item.vis) => {
                let (name, ty) = (&item.ident, &item.ty);
                let contents = item.expr.to_token_stream();
                self.keep(&format!("::{name}"), new(&item.attrs, quote! { static #name: #ty }, contents, false));
            }
            syn::Item::Fn(item) if public(&item.vis) => {
                let (name, contents) = (&item.sig.ident, item.block.to_token_stream());
                self.keep(&format!("::{name}"), new(&item.attrs, function(&item.sig), contents, true));
            }
            syn::Item::Mod(item) if public(&item.vis) => {
                let name = &item.ident;
                self.keep(&format!("::{name}"), new(&item.attrs, quote! { mod #name }, none(), false));
                if let Some((_, items)) = item.content {
                    let mut inner = Module { path: format!("{here}::{name}"), items: self.items };
                    items.into_iter().for_each(|item| inner.item(item));
                }
            }
            syn::Item::Type(item) if public(&item.vis) => {
                let (name, generics, ty) = (&item.ident, &item.generics, &item.ty);
                let signature = quote! { type #name #generics = #ty };
                self.keep(&format!("::{name}"), new(&item.attrs, signature, none(), false));
            }
            syn::Item::Trait(mut item) if public(&item.vis) => {
                let attributes = std::mem::take(&mut item.attrs);
                let name = item.ident.to_string();
                self.keep(&format!("::{name}"), new(&attributes, item.to_token_stream(), none(), false));
            }
            syn::Item::Use(item) if public(&item.vis) => {
                let signature = item.tree.to_token_stream();
                let name = line(&signature);
                self.keep(&format!(" (use {name})"), new(&item.attrs, signature, none(), false));
            }
            syn::Item::Struct(item) if public(&item.vis) => self.structure(&item),
            syn::Item::Enum(item) if public(&item.vis) => self.enumeration(&item),
            syn::Item::Impl(item) => self.implementation(item),
            syn::Item::Macro(item) => self.invocation(&item),
            _ => {}
        }
    }

    fn structure(&mut self, item: &syn::ItemStruct) {
        let (name, generics) = (&item.ident, &item.generics);
        let path = format!("{}::{name}", self.path);
        let private: Vec<_> = item.fields.iter().filter(|field| !public(&field.vis)).collect();
        let form = match &item.fields {
            Fields::Named(_) => quote! { {} },
            Fields::Unnamed(_) => quote! { () },
            Fields::Unit => TokenStream::new(),
        };
        let marks = item.attrs.iter().filter(|attribute| marks_a_type(attribute));
        let contents = private.iter().map(|field| {
            let (name, ty) = (&field.ident, &field.ty);
            quote! { #name: #ty, }
        });
        let closed = private.is_empty() && !item.attrs.iter().any(non_exhaustive);
        let new = New {
            parent: &self.path.clone(),
            attributes: &item.attrs,
            signature: quote! { #(#marks)* struct #name #generics #form },
            contents: quote! { #(#contents)* },
            has_value: false,
            closed,
            part: false,
        };
        self.keep(&format!("::{name}"), new);
        for (index, field) in item.fields.iter().enumerate().filter(|(_, field)| public(&field.vis)) {
            let (name, ty) = (field.ident.as_ref().map_or_else(|| index.to_string(), ToString::to_string), &field.ty);
            let signature = match &field.ident {
                Some(name) => quote! { #name: #ty },
                None => quote! { #ty },
            };
            let contents = TokenStream::new();
            let new = New {
                parent: &path,
                attributes: &field.attrs,
                signature,
                contents,
                has_value: false,
                closed: false,
                part: true,
            };
            self.keep(&format!(".{name}"), new);
        }
        self.derives(&item.attrs, &path, &name.to_string());
    }

    fn enumeration(&mut self, item: &syn::ItemEnum) {
        let (name, generics) = (&item.ident, &item.generics);
        let path = format!("{}::{name}", self.path);
        let marks = item.attrs.iter().filter(|attribute| marks_a_type(attribute));
        let new = New {
            parent: &self.path.clone(),
            attributes: &item.attrs,
            signature: quote! { #(#marks)* enum #name #generics },
            contents: TokenStream::new(),
            has_value: false,
            closed: !item.attrs.iter().any(non_exhaustive),
            part: false,
        };
        self.keep(&format!("::{name}"), new);
        for variant in &item.variants {
            let (name, fields) = (&variant.ident, &variant.fields);
            let contents = variant.discriminant.as_ref().map(|(_, value)| value.to_token_stream()).unwrap_or_default();
            let signature = quote! { #name #fields };
            let new = New {
                parent: &path,
                attributes: &variant.attrs,
                signature,
                contents,
                has_value: true,
                closed: false,
                part: true,
            };
            self.keep(&format!("::{name}"), new);
        }
        self.derives(&item.attrs, &path, &name.to_string());
    }

    /// `#[derive(…)]` gives what an `impl` would.
    fn derives(&mut self, attributes: &[Attribute], path: &str, name: &str) {
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
            let _ = attribute.parse_nested_meta(|meta| {
                let name_of_trait = meta.path.segments.last().map(|segment| segment.ident.to_string());
                if let Some(name_of_trait) = name_of_trait {
                    self.trait_of(path, &name_of_trait, name, TokenStream::new(), TokenStream::new());
                }
                Ok(())
            });
        }
    }

    fn trait_of(&mut self, path: &str, of: &str, name: &str, types: TokenStream, contents: TokenStream) {
        // A function is a rule; constants are lists, such as the names of all bits.
        let has_value =
            contents.clone().into_iter().any(|token| matches!(token, TokenTree::Ident(word) if word == "fn"));
        let (of, name): (TokenStream, TokenStream) = (of.parse().unwrap_or_default(), name.parse().unwrap_or_default());
        let signature = quote! { impl #of for #name #types };
        let key = format!(" (impl {})", line(&of));
        self.keep(
            &key,
            New { parent: path, attributes: &[], signature, contents, has_value, closed: false, part: false },
        );
    }

    fn implementation(&mut self, item: syn::ItemImpl) {
        let ty = item.self_ty.to_token_stream();
        let path = self.path_of(&item.self_ty);
        let trait_path = item.trait_.as_ref().and_then(|implemented| {
            let path = implemented.0.segments.last()?.to_token_stream();
            Some(line(&path))
        });
        if let Some(of) = trait_path {
            let types = item.items.iter().filter(|item| matches!(item, ImplItem::Type(_)));
            let types = quote! { #(#types)* };
            let others = item.items.iter().filter(|item| !matches!(item, ImplItem::Type(_)));
            return self.trait_of(&path, &of, &line(&ty), types, quote! { #(#others)* });
        }
        for item in item.items {
            match item {
                ImplItem::Const(item) if public(&item.vis) => {
                    let (name, ty) = (&item.ident, &item.ty);
                    let new = New {
                        parent: &path,
                        attributes: &item.attrs,
                        signature: quote! { const #name: #ty },
                        contents: item.expr.to_token_stream(),
                        has_value: true,
                        closed: false,
                        part: false,
                    };
                    self.keep(&format!("::{name}"), new);
                }
                ImplItem::Fn(item) if public(&item.vis) => {
                    let new = New {
                        parent: &path,
                        attributes: &item.attrs,
                        signature: function(&item.sig),
                        contents: item.block.to_token_stream(),
                        has_value: true,
                        closed: false,
                        part: false,
                    };
                    self.keep(&format!("::{}", item.sig.ident), new);
                }
                _ => {}
            }
        }
    }

    /// `word! { Cr0(u64) { … } }`: what stands before the first brace tells which items there are, for which type.
    fn invocation(&mut self, item: &syn::ItemMacro) {
        let tokens: Vec<_> = item.mac.tokens.clone().into_iter().collect();
        let braces = |token: &TokenTree| matches!(token, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace);
        let end = tokens.iter().position(braces).unwrap_or(tokens.len());
        let (head, rest) = tokens.split_at(end);
        let Some(TokenTree::Ident(name)) = head.first() else { return };
        let mac = item.mac.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        let path = format!("{}::{name}", self.path);
        let new = New {
            parent: &path,
            attributes: &item.attrs,
            signature: head.iter().cloned().collect(),
            contents: rest.iter().cloned().collect(),
            has_value: false,
            closed: false,
            part: false,
        };
        self.keep(&format!(" ({mac}!)"), new);
    }

    /// The path of a type that is named in this module.
    fn path_of(&self, ty: &syn::Type) -> String {
        let syn::Type::Path(ty) = ty else { return format!("{}::{}", self.path, line(&ty.to_token_stream())) };
        let names: Vec<_> = ty.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        match names.split_first() {
            Some((first, rest)) if first == "crate" && !rest.is_empty() => rest.join("::"),
            _ => format!("{}::{}", self.path, names.join("::")),
        }
    }
}

fn public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The signature without the names of arguments and without attributes.
fn function(signature: &syn::Signature) -> TokenStream {
    let syn::Signature { constness, asyncness, safety, abi, ident, generics, inputs, output, .. } = signature;
    let inputs = inputs.iter().map(|input| match input {
        syn::FnArg::Receiver(receiver) => receiver.to_token_stream(),
        syn::FnArg::Typed(typed) => typed.ty.to_token_stream(),
    });
    let bounds = &generics.where_clause;
    quote! { #constness #asyncness #safety #abi fn #ident #generics (#(#inputs),*) #output #bounds }
}

fn marks_a_type(attribute: &Attribute) -> bool {
    attribute.path().is_ident("repr") || non_exhaustive(attribute)
}

fn non_exhaustive(attribute: &Attribute) -> bool {
    attribute.path().is_ident("non_exhaustive")
}

/// The lines of the doc comment.
fn docs(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter(|attribute| attribute.path().is_ident("doc"));
    lines.map(|line| line.meta.to_token_stream().to_string()).collect::<Vec<_>>().join("\n")
}
