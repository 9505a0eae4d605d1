//! Names are Rust identifiers, in upper case or in camel case as their kind asks for.

use crate::diagnostics::Diagnostic;
use crate::model::{Head, Spanned, Spec};

/// Strict and reserved keywords of Rust 2024, in lower case or with their capital.
const KEYWORDS: &[&str] = &[
    "Self", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
    "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Whether Rust keeps this word for itself.
pub(crate) fn is_keyword(name: &str) -> bool {
    KEYWORDS.contains(&name)
}

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let types = spec.layouts.iter().map(|row| &row.head).chain(spec.controls.iter().map(|row| &row.head));
    let types = types.chain(spec.words.iter().map(|row| &row.head)).chain(spec.enums.iter().map(|row| &row.head));
    for name in types.map(|head| &head.name) {
        type_name(name, out);
    }
    for member in spec.members.iter().filter(|member| !member.bits.is_empty()) {
        if let Some(name) = &member.ty {
            type_name(name, out);
        }
    }
    for payload in spec.exits.iter().filter_map(|exit| exit.payload.as_ref()) {
        type_name(payload, out);
    }
    constants(spec).for_each(|head| constant(&head.name, out));
    // These become methods, in lower case.
    let ranges = spec.layouts.iter().flat_map(|row| &row.fields).chain(spec.members.iter().flat_map(|row| &row.bits));
    let ranges = ranges.filter(|field| field.reserved.is_none() && !field.is_flag()).map(|field| &field.head);
    for head in ranges.chain(spec.members.iter().filter(|member| member.reserved.is_none()).map(|member| &member.head))
    {
        let lower = head.name().to_ascii_lowercase();
        if is_keyword(&lower) {
            let error =
                Diagnostic::new(head.name.span, format!("{} becomes `{lower}`, a keyword of Rust", head.name()));
            out.push(error.help("say which: `SEGMENT_TYPE`, `MEMORY_TYPE`"));
        }
    }
}

/// Everything that becomes a constant or, in lower case, a method.
fn constants(spec: &Spec) -> impl Iterator<Item = &Head> {
    let fields = spec.fields.iter().map(|row| &row.head);
    let bits = spec.controls.iter().flat_map(|row| &row.bits).map(|bit| &bit.head);
    let exits = spec.exits.iter().map(|row| &row.head).chain(spec.instruction_errors.iter().map(|row| &row.head));
    let parts = spec.layouts.iter().flat_map(|row| &row.fields).map(|field| &field.head);
    let values = spec.enums.iter().flat_map(|row| &row.values).map(|value| &value.head);
    let msrs = spec.msrs.iter().map(|row| &row.head).chain(spec.clean.iter().map(|row| &row.head));
    let members =
        spec.members.iter().flat_map(|row| [&row.head].into_iter().chain(row.bits.iter().map(|bit| &bit.head)));
    let intercepts = spec.intercepts.iter().map(|row| &row.head);
    fields.chain(bits).chain(exits).chain(parts).chain(values).chain(msrs).chain(members).chain(intercepts)
}

pub(super) fn constant(name: &Spanned<String>, out: &mut Vec<Diagnostic>) {
    let text = &name.value;
    let shape = text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if !shape {
        wrong(name, "SCREAMING_SNAKE_CASE", screaming(text), out);
    }
}

pub(super) fn type_name(name: &Spanned<String>, out: &mut Vec<Diagnostic>) {
    let text = &name.value;
    let shape = text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().all(|c| c.is_ascii_alphanumeric());
    if !shape || is_keyword(text) {
        wrong(name, "UpperCamelCase, no keyword", None, out);
    }
}

fn wrong(name: &Spanned<String>, wanted: &str, better: Option<String>, out: &mut Vec<Diagnostic>) {
    let error = Diagnostic::new(name.span, format!("`{}` is not {wanted}", name.value));
    out.push(match better {
        Some(better) => error.help(format!("write `{better}`")),
        None => error,
    });
}

/// The name in upper case, if there is one.
fn screaming(text: &str) -> Option<String> {
    let upper: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    upper.starts_with(|c: char| c.is_ascii_uppercase()).then_some(upper)
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_field_in_lower_case() {
        let found = after("intel/vmcs.toml", "name = \"GUEST_RIP\"", "name = \"guest-rip\"");
        assert_eq!(found, ["`guest-rip` is not SCREAMING_SNAKE_CASE"]);
    }

    #[test]
    fn a_type_that_is_a_keyword() {
        let found = after("x86/registers.toml", "name = \"Cr0\"", "name = \"Self\"");
        assert_eq!(found, ["`Self` is not UpperCamelCase, no keyword"]);
    }

    #[test]
    fn a_range_that_becomes_a_keyword() {
        let found = after("intel/structures.toml", "name = \"MEMORY_TYPE\"", "name = \"TYPE\"");
        assert_eq!(found, ["TYPE becomes `type`, a keyword of Rust"]);
    }
}
