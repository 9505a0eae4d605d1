//! What an enumeration says of its values agrees with the bits that hold them.

use std::collections::BTreeSet;

use crate::diagnostics::Diagnostic;
use crate::model::{Enum, Span, Spanned, Spec};

/// Bits that hold a value of an enumeration.
struct Use<'s> {
    ty: &'s Spanned<String>,
    /// How many.
    width: u32,
    /// Where that stands, and of what.
    span: Span,
    name: &'s str,
}

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let uses = uses(spec);
    for table in spec.enums.iter().filter(|table| !table.values.is_empty()) {
        // A range upside down has no bits.
        let own = || uses.iter().filter(|used| used.ty.value == table.head.name() && used.width > 0);
        // What fits the widest is there for it; without a use the integer itself counts.
        let widest = own().max_by_key(|used| used.width);
        let width = widest.map_or(table.width, |used| used.width).min(table.width);
        complete(table, width, widest, out);
        for value in table.values.iter().filter(|value| value.number.value > u64::MAX >> (64 - width.max(1))) {
            let Some(used) = widest else { continue };
            let message =
                format!("{} is {}, but no more than {width} bits hold it", value.head.name(), value.number.value);
            let error = Diagnostic::new(value.number.span, message);
            out.push(error.related(used.span, format!("{} is the widest use", used.name)));
        }
    }
}

/// Whether `others` is right.
fn complete(table: &Enum, width: u32, widest: Option<&Use>, out: &mut Vec<Diagnostic>) {
    let listed: BTreeSet<_> = table.values.iter().map(|value| value.number.value).collect();
    let (all, span) = (1_u128 << width, table.head.name.span);
    let count = listed.iter().filter(|value| u128::from(**value) < all).count() as u128;
    let complete = count == all;
    let error = match table.others.as_str() {
        "none" if !complete => {
            let missing = (0..=u64::MAX).filter(|value| !listed.contains(value)).take(4);
            let missing: Vec<_> = missing.filter(|value| u128::from(*value) < all).map(|n| n.to_string()).collect();
            let more = if all - count > missing.len() as u128 { " and others" } else { "" };
            let name = table.head.name();
            let message = format!("`others` of {name} is `none`, but it does not list {}{more}", missing.join(", "));
            Diagnostic::new(span, message).help("list them, or say `others = \"reserved\"`")
        }
        "reserved" if complete => {
            let message =
                format!("`others` of {} is `reserved`, but it lists every value of {width} bits", table.head.name());
            Diagnostic::new(span, message).help("say `others = \"none\"`")
        }
        _ => return,
    };
    out.push(match widest {
        Some(used) => error.related(used.span, format!("{} holds it", used.name)),
        None => error,
    });
}

/// Everything that names a type of its value.
fn uses(spec: &Spec) -> Vec<Use<'_>> {
    let mut all = Vec::new();
    for field in spec.layouts.iter().flat_map(|row| &row.fields).chain(spec.members.iter().flat_map(|row| &row.bits)) {
        let Some(ty) = &field.ty else { continue };
        all.push(Use { ty, width: field.bits.width(), span: field.bits.span, name: field.head.name() });
    }
    for member in spec.members.iter().filter(|member| member.bits.is_empty()) {
        let Some(ty) = &member.ty else { continue };
        let width = u32::try_from(member.size.value.min(8) * 8).unwrap_or(64);
        all.push(Use { ty, width, span: member.size.span, name: member.head.name() });
    }
    for field in &spec.fields {
        let Some(ty) = &field.ty else { continue };
        all.push(Use { ty, width: field.width.value.bits(), span: field.width.span, name: field.head.name() });
    }
    all
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_list_that_is_not_complete() {
        let found = after("intel/structures.toml", "others = \"reserved\"", "others = \"none\"");
        assert_eq!(found, ["`others` of MemoryType is `none`, but it does not list 1, 2, 3, 4 and others"]);
    }

    #[test]
    fn a_list_that_is_complete() {
        let value = |n| format!("[[enum.value]]\nname = \"V{n}\"\nmanual_name = \"V\"\nnumber = {n}\n");
        let values = (1..8).map(value).collect::<String>();
        let found = after("intel/structures.toml", "number = 0\n", &format!("number = 0\n{values}"));
        assert_eq!(found, ["`others` of MemoryType is `reserved`, but it lists every value of 3 bits"]);
    }

    #[test]
    fn a_value_that_no_use_can_have() {
        let found = after("intel/structures.toml", "number = 0\n", "number = 8\n");
        assert_eq!(found, ["UNCACHEABLE is 8, but no more than 3 bits hold it"]);
    }

    #[test]
    fn a_list_that_lacks_one() {
        let value = |n| format!("[[enum.value]]\nname = \"V{n}\"\nmanual_name = \"V\"\nnumber = {n}\n");
        let values = (1..7).map(value).collect::<String>();
        let found = after(
            "intel/structures.toml",
            "others = \"reserved\"\ncite = { doc = \"sdm3\", title = \"Format of the EPTP\" }\n\n[[enum.value]]\n\
             name = \"UNCACHEABLE\"\nmanual_name = \"Uncacheable (UC)\"\nnumber = 0\n",
            &format!("others = \"none\"\ncite = {{ doc = \"sdm3\", title = \"Format of the EPTP\" }}\n{values}"),
        );
        assert_eq!(found, ["`others` of MemoryType is `none`, but it does not list 0, 7"]);
    }
}
