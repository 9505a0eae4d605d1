//! Generated text is Rust, and no name is in it twice.

use std::collections::BTreeSet;
use std::path::Path;

use syn::{File, ImplItem, Item, Type};

/// Panics about what is wrong with a generated file.
pub fn check(path: &Path, text: &str) {
    let file: File = syn::parse_str(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    items(path, &file.items);
}

fn items(path: &Path, items: &[Item]) {
    let (mut names, mut methods) = (BTreeSet::new(), BTreeSet::new());
    for item in items {
        let name = match item {
            Item::Const(item) => Some(("value", item.ident.to_string())),
            Item::Static(item) => Some(("value", item.ident.to_string())),
            Item::Fn(item) => Some(("value", item.sig.ident.to_string())),
            Item::Struct(item) => Some(("type", item.ident.to_string())),
            Item::Enum(item) => Some(("type", item.ident.to_string())),
            Item::Trait(item) => Some(("type", item.ident.to_string())),
            Item::Type(item) => Some(("type", item.ident.to_string())),
            Item::Mod(item) => Some(("type", item.ident.to_string())),
            _ => None,
        };
        if let Some(name) = name {
            assert!(names.insert(name.clone()), "{}: two of {name:?}", path.display());
        }
        if let Item::Struct(item) = item {
            let mut fields = BTreeSet::new();
            for field in item.fields.iter().filter_map(|field| field.ident.as_ref()) {
                assert!(fields.insert(field), "{}: two fields {field} of {}", path.display(), item.ident);
            }
        }
        let Item::Impl(item) = item else { continue };
        let (None, Type::Path(ty)) = (&item.trait_, &*item.self_ty) else { continue };
        let ty = ty.path.segments.last().unwrap().ident.to_string();
        for part in &item.items {
            let name = match part {
                ImplItem::Const(part) => part.ident.to_string(),
                ImplItem::Fn(part) => part.sig.ident.to_string(),
                _ => continue,
            };
            assert!(methods.insert((ty.clone(), name.clone())), "{}: two of {ty}::{name}", path.display());
        }
    }
}
