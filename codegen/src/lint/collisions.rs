//! Names that differ in the tables stay different in Rust.

use crate::diagnostics::Diagnostic;
use crate::model::{Area, CLEAN_MEMBER, Head, LayoutField, Member, Span, Spec};

use super::{Item, unique};

/// Methods that every word has.
const WORD_METHODS: &[&str] = &[
    "bit_range",
    "bits",
    "contains",
    "empty",
    "from_bits",
    "insert",
    "intersects",
    "is_empty",
    "remove",
    "set",
    "with",
    "with_bit_range",
    "without",
    // Of traits that every word implements.
    "bitand",
    "bitor",
    "clone",
    "eq",
    "fmt",
    "from_raw",
    "hash",
    "into_raw",
    "ne",
    "not",
];

/// Constants that every word has, or may have.
const WORD_CONSTANTS: &[&str] = &["RESERVED_TO_1", "TABLE"];

/// Methods of the VMCB that no member gives it.
const VMCB_METHODS: &[&str] = &["clean_bits", "mark_all_clean", "mark_all_dirty", "mark_dirty"];

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for layout in &spec.layouts {
        word(&layout.fields, out);
    }
    for member in &spec.members {
        word(&member.bits, out);
    }
    structure(spec.members_of(Area::Control).chain(spec.members_of(Area::Save)).collect(), VMCB_METHODS, out);
    structure(spec.members_of(Area::Vmsa).collect(), &[], out);
    let bits = spec.controls.iter().flat_map(|row| &row.bits).filter(|bit| bit.reserved.is_none());
    let intercepts = spec.intercepts.iter().filter(|row| row.reserved.is_none());
    let flags = bits.map(|bit| &bit.head).chain(intercepts.map(|row| &row.head));
    for head in flags.chain(spec.clean.iter().map(|row| &row.head)) {
        taken(head.name(), WORD_CONSTANTS, head.name.span, head.name(), out);
    }
    for (name, span) in spec.clean.iter().map(|row| (row.head.name(), row.head.name.span)) {
        taken(name, &["ALL"], span, name, out);
    }
    for head in spec.fields.iter().map(|row| &row.head) {
        taken(head.name(), &["FIELDS"], head.name.span, head.name(), out);
    }
}

/// The accessors of ranges, and the masks next to the flags.
fn word(fields: &[LayoutField], out: &mut Vec<Diagnostic>) {
    let mut items = Vec::new();
    for field in fields.iter().filter(|field| field.reserved.is_none()) {
        let (name, span) = (field.head.name(), field.head.name.span);
        if field.is_flag() {
            taken(name, WORD_CONSTANTS, span, name, out);
            items.push(Item { key: name.to_owned(), span, name });
            continue;
        }
        items.push(Item { key: format!("{name}_MASK"), span, name });
        let lower = name.to_ascii_lowercase();
        taken(&lower, WORD_METHODS, span, name, out);
        for key in [format!("with_{lower}"), lower] {
            items.push(Item { key, span, name });
        }
    }
    unique_after_conversion(items, out);
}

/// The accessors of members.
fn structure(members: Vec<&Member>, methods: &[&str], out: &mut Vec<Diagnostic>) {
    let control: Vec<_> = members.iter().filter(|m| m.area == Area::Control).map(|m| m.head.name()).collect();
    let mut items = Vec::new();
    for member in &members {
        let Head { name, .. } = &member.head;
        let mut lower = name.value.to_ascii_lowercase();
        if member.area == Area::Save && control.contains(&name.value.as_str()) {
            lower = format!("save_{lower}");
        }
        if name.value != CLEAN_MEMBER {
            taken(&lower, methods, name.span, &name.value, out);
        }
        if member.reserved.is_none() {
            items.push(Item { key: format!("set_{lower}"), span: name.span, name: name.value.as_str() });
        }
        items.push(Item { key: lower, span: name.span, name: name.value.as_str() });
    }
    unique_after_conversion(items, out);
}

fn taken(rust: &str, methods: &[&str], span: Span, name: &str, out: &mut Vec<Diagnostic>) {
    if methods.contains(&rust) {
        out.push(Diagnostic::new(span, format!("{name} becomes `{rust}`, which the generated type has anyway")));
    }
}

/// Equal names are another lint's business.
fn unique_after_conversion<'a>(items: Vec<Item<'a, String>>, out: &mut Vec<Diagnostic>) {
    let mut found = Vec::new();
    unique(&mut found, items, |rust| format!("the name `{rust}` in Rust"));
    found.retain(|error| !error.related.iter().any(|(_, text)| *text == format!("{} is here", error.label)));
    out.extend(found);
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_range_that_is_called_like_a_method() {
        let found = after("intel/structures.toml", "name = \"MEMORY_TYPE\"", "name = \"BITS\"");
        assert_eq!(found, ["BITS becomes `bits`, which the generated type has anyway"]);
    }

    #[test]
    fn a_flag_that_is_called_like_a_mask() {
        let found = after("intel/structures.toml", "name = \"ACCESSED_AND_DIRTY\"", "name = \"WALK_LENGTH_MASK\"");
        assert_eq!(
            found,
            ["WALK_LENGTH_MASK has the name `WALK_LENGTH_MASK` in Rust, which is that of WALK_LENGTH already"]
        );
    }

    #[test]
    fn a_member_that_is_called_like_a_setter() {
        let found = after("amd/vmcb.toml", "\nname = \"RAX\"", "\nname = \"SET_RIP\"");
        assert_eq!(found, ["SET_RIP has the name `set_rip` in Rust, which is that of RIP already"]);
    }
}
