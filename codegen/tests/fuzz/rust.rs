//! Generated text is Rust, and no name is in it twice.

use std::collections::BTreeSet;
use std::path::Path;

use syn::{File, ImplItem, Item, Type, UseTree};

/// Panics about what is wrong with a generated file.
pub fn check(path: &Path, text: &str) {
    let file: File = syn::parse_str(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    items(path, &file.items);
}

/// The names of a generated file, as a row could be called: as they are, and in upper case.
pub fn words(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for item in syn::parse_str::<File>(text).unwrap().items {
        match item {
            Item::Const(item) => drop(names.insert(item.ident.to_string())),
            Item::Static(item) => drop(names.insert(item.ident.to_string())),
            Item::Struct(item) => drop(names.insert(item.ident.to_string())),
            Item::Type(item) => drop(names.insert(item.ident.to_string())),
            Item::Use(item) => names.extend(imported(&item.tree)),
            Item::Enum(item) => {
                names.extend(item.variants.iter().map(|variant| variant.ident.to_string()));
                names.extend(item.generics.type_params().map(|parameter| parameter.ident.to_string()));
                names.insert(item.ident.to_string());
            }
            Item::Impl(item) => names.extend(item.items.iter().filter_map(|part| match part {
                ImplItem::Const(part) => Some(part.ident.to_string()),
                ImplItem::Fn(part) => Some(part.sig.ident.to_string()),
                _ => None,
            })),
            _ => {}
        }
    }
    let screaming = |name: &String| {
        let mut out = String::new();
        for c in name.chars() {
            // `FooBar` and `foo_bar` to `FOO_BAR`.
            if c.is_ascii_uppercase() && out.ends_with(|last: char| last.is_ascii_lowercase()) {
                out.push('_');
            }
            out.push(c);
        }
        out.to_ascii_uppercase()
    };
    let upper: Vec<_> = names.iter().map(screaming).collect();
    names.into_iter().chain(upper).filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase())).collect()
}

fn items(path: &Path, items: &[Item]) {
    let (mut names, mut methods, mut impls) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut generics = BTreeSet::new();
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
        if let Item::Use(item) = item {
            for name in imported(&item.tree) {
                assert!(names.insert(("type", name.clone())), "{}: two of {name}", path.display());
            }
        }
        if let Item::Enum(item) = item {
            let mut variants = BTreeSet::new();
            for variant in &item.variants {
                let name = &variant.ident;
                assert!(variants.insert(name), "{}: two variants {name} of {}", path.display(), item.ident);
            }
            for parameter in item.generics.type_params() {
                let name = ("type", parameter.ident.to_string());
                assert!(!generics.contains(&name.1), "{}: two parameters", path.display());
                generics.insert(name.1);
            }
        }
        if let Item::Struct(item) = item {
            let mut fields = BTreeSet::new();
            for field in item.fields.iter().filter_map(|field| field.ident.as_ref()) {
                assert!(fields.insert(field), "{}: two fields {field} of {}", path.display(), item.ident);
            }
        }
        let Item::Impl(item) = item else { continue };
        let Type::Path(ty) = &*item.self_ty else { continue };
        let ty = ty.path.segments.last().unwrap().ident.to_string();
        if let Some((of, _)) = &item.trait_ {
            let of = of.segments.last().unwrap().ident.to_string();
            assert!(impls.insert((of.clone(), ty.clone())), "{}: {of} twice for {ty}", path.display());
            continue;
        }
        for part in &item.items {
            let name = match part {
                ImplItem::Const(part) => part.ident.to_string(),
                ImplItem::Fn(part) => part.sig.ident.to_string(),
                _ => continue,
            };
            assert!(methods.insert((ty.clone(), name.clone())), "{}: two of {ty}::{name}", path.display());
        }
    }
    for name in generics {
        assert!(!names.contains(&("type", name.clone())), "{}: a type that a parameter hides: {name}", path.display());
    }
}

/// The names that an import brings in.
fn imported(tree: &UseTree) -> Vec<String> {
    match tree {
        UseTree::Path(path) => match &*path.tree {
            UseTree::Name(name) if name.ident == "self" => vec![path.ident.to_string()],
            UseTree::Group(group) => {
                let own = group.items.iter().any(|item| matches!(item, UseTree::Name(name) if name.ident == "self"));
                let mut all: Vec<_> = group.items.iter().flat_map(imported).filter(|name| name != "self").collect();
                all.extend(own.then(|| path.ident.to_string()));
                all
            }
            tree => imported(tree),
        },
        UseTree::Name(name) => vec![name.ident.to_string()],
        UseTree::Rename(rename) => vec![rename.rename.to_string()],
        UseTree::Group(group) => group.items.iter().flat_map(imported).collect(),
        UseTree::Glob(_) => Vec::new(),
    }
}
