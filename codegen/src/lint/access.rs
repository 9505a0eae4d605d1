//! VM-exit information is read-only, and nothing else is.

use crate::diagnostics::Diagnostic;
use crate::model::{Access, Group, Spec};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for field in &spec.fields {
        let (group, access) = (field.group.value, field.access.value);
        if (group == Group::ExitInfo) != (access == Access::ExitInfo) {
            let message = format!("a field of group `{}` cannot have access `{}`", group.name(), access.name());
            let error = Diagnostic::new(field.access.span, message).related(field.group.span, "the group is here");
            out.push(error.help("VMWRITE refuses VM-exit information fields, and those only"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_writable_exit_information_field() {
        let found = after("intel/vmcs.toml", "access = \"exit_info\"", "access = \"read_write\"");
        assert_eq!(found, ["a field of group `exit_info` cannot have access `read_write`"]);
    }
}
