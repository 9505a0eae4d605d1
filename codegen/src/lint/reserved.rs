//! What is reserved has no meaning: no type, no clean-bit group, no parts, and one value.

use crate::diagnostics::Diagnostic;
use crate::model::{Span, Spec};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let mut means = |span: Span, name: &str, what: &str| {
        out.push(Diagnostic::new(span, format!("{name} is reserved, but has {what}")));
    };
    let fields = spec.layouts.iter().flat_map(|row| &row.fields).chain(spec.members.iter().flat_map(|row| &row.bits));
    for field in fields.filter(|field| field.reserved.is_some()) {
        if let Some(ty) = &field.ty {
            means(ty.span, field.head.name(), "a `type`");
        }
    }
    for member in spec.members.iter().filter(|member| member.reserved.is_some()) {
        let name = member.head.name();
        if let Some(ty) = &member.ty {
            means(ty.span, name, "a `type`");
        }
        if let Some(group) = &member.clean {
            means(group.span, name, "a clean-bit group");
        }
        if let Some(bit) = member.bits.first() {
            means(bit.head.name.span, name, "bits");
        }
    }
    for control in &spec.controls {
        for bit in control.bits.iter().filter(|bit| bit.reserved == Some(0) && bit.default1) {
            let message = format!("{} is reserved to 0, but of the default1 class", bit.head.name());
            out.push(Diagnostic::new(bit.bits.span, message).help("a bit of that class that is reserved is 1"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_range_with_a_type() {
        let found = after("intel/structures.toml", "bits = [11, 7]\n", "bits = [11, 7]\ntype = \"MemoryType\"\n");
        assert_eq!(found, ["RESERVED_11_7 is reserved, but has a `type`"]);
    }

    #[test]
    fn a_member_with_a_meaning() {
        let keys = "size = 12\ntype = \"Cr0\"\nclean = \"TPR\"\n";
        let found = after(
            "amd/vmcb.toml",
            "size = 12\nreserved = 0\ncite = { doc = \"apm2\", title = \"Layout\" }\n\n[[member]]\narea = \"control\"\nname = \"INTERCEPT_MISC1\"",
            &format!(
                "{keys}reserved = 0\ncite = {{ doc = \"apm2\", title = \"Layout\" }}\n\n[[member]]\narea = \"control\"\nname = \"INTERCEPT_MISC1\""
            ),
        );
        assert!(found.contains(&"RESERVED_000 is reserved, but has a `type`".to_owned()), "{found:?}");
        assert!(found.contains(&"RESERVED_000 is reserved, but has a clean-bit group".to_owned()), "{found:?}");
    }

    #[test]
    fn a_control_that_is_0_and_1() {
        let found = after("intel/controls.toml", "bits = [27, 0]\n", "bits = [27, 0]\ndefault1 = true\n");
        assert_eq!(found, ["RESERVED_27_0 is reserved to 0, but of the default1 class"]);
    }
}
