//! Members name clean-bit groups that there are, and there is a member for the clean bits.

use crate::diagnostics::Diagnostic;
use crate::model::{Area, CLEAN_MEMBER, Spec};

use super::unresolved;

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for member in &spec.members {
        if let Some(group) = &member.clean
            && !spec.clean.iter().any(|row| row.head.name() == group.value)
        {
            let names = spec.clean.iter().map(|row| row.head.name()).chain(["none"]);
            out.push(unresolved(group, "clean-bit group", names));
        }
    }
    let Some(first) = spec.clean.first() else { return };
    match spec.members_of(Area::Control).find(|member| member.head.name() == CLEAN_MEMBER) {
        None => {
            let error =
                Diagnostic::new(first.head.span, format!("there are clean-bit groups, but no member `{CLEAN_MEMBER}`"));
            out.push(error.help("setters clear bits of that member of the control area"));
        }
        Some(member) if member.size.value != 4 => {
            out.push(Diagnostic::new(
                member.size.span,
                format!("{CLEAN_MEMBER} has 4 bytes, not {}", member.size.value),
            ));
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_group_that_is_not_listed() {
        let found = after("amd/vmcb.toml", "clean = \"TPR\"", "clean = \"TRP\"");
        assert_eq!(found, ["there is no clean-bit group `TRP`"]);
    }

    #[test]
    fn no_member_for_the_clean_bits() {
        let found = after("amd/vmcb.toml", "name = \"CLEAN_BITS\"", "name = \"CLEAN\"");
        assert_eq!(found, ["there are clean-bit groups, but no member `CLEAN_BITS`"]);
    }
}
