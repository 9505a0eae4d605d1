//! Types that rows name are there, and as wide as what has them.

use crate::diagnostics::Diagnostic;
use crate::model::{LayoutField, Spanned, Spec, Type, Types};

use super::unresolved;

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let types = Types::of(spec);
    for field in &spec.fields {
        exact(&types, field.ty.as_ref(), field.width.value.bits().into(), field.head.name(), out);
    }
    for layout in &spec.layouts {
        if layout.cpuid.is_some() && layout.width != 32 {
            let message = format!("{} has {} bits, but a register of CPUID 32", layout.head.name(), layout.width);
            out.push(Diagnostic::new(layout.head.name.span, message));
        }
        layout.fields.iter().for_each(|field| range(&types, field, out));
    }
    for member in &spec.members {
        if member.bits.is_empty() {
            exact(&types, member.ty.as_ref(), member.size.value * 8, member.head.name(), out);
        } else if member.ty.is_none() {
            let error =
                Diagnostic::new(member.head.name.span, format!("{} has bits, but no `type`", member.head.name()));
            out.push(error.help("`type` is the name of the Rust type that they become"));
        }
        member.bits.iter().for_each(|field| range(&types, field, out));
    }
    for msr in &spec.msrs {
        exact(&types, msr.layout.as_ref(), 64, msr.head.name(), out);
    }
}

fn resolve<'t>(types: &'t Types, name: &Spanned<String>, out: &mut Vec<Diagnostic>) -> Option<&'t Type> {
    let ty = types.get(&name.value);
    if ty.is_none() {
        out.push(unresolved(name, "type", types.names()));
    }
    ty
}

/// A value that is a whole word.
fn exact(types: &Types, name: Option<&Spanned<String>>, width: u64, row: &str, out: &mut Vec<Diagnostic>) {
    let Some(name) = name else { return };
    let Some(ty) = resolve(types, name, out) else { return };
    if u64::from(ty.width) != width {
        let error = Diagnostic::new(name.span, format!("{row} has {width} bits, but `{}` has {}", ty.name, ty.width));
        out.push(declared(error, ty));
    }
}

/// A value that is a part of a word.
fn range(types: &Types, field: &LayoutField, out: &mut Vec<Diagnostic>) {
    let Some(name) = &field.ty else { return };
    let Some(ty) = resolve(types, name, out) else { return };
    if ty.width < field.bits.width() {
        let message =
            format!("{} has {} bits, but `{}` only {}", field.head.name(), field.bits.width(), ty.name, ty.width);
        out.push(declared(Diagnostic::new(name.span, message), ty));
    }
}

fn declared(error: Diagnostic, ty: &Type) -> Diagnostic {
    match ty.span {
        Some(span) => error.related(span, format!("`{}` is here", ty.name)),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_type_that_is_not_there() {
        let found = after("intel/vmcs.toml", "type = \"EptPointer\"", "type = \"EptPionter\"");
        assert_eq!(found, ["there is no type `EptPionter`"]);
    }

    #[test]
    fn a_type_of_another_width() {
        let found = after("intel/vmcs.toml", "type = \"EptPointer\"", "type = \"Cr0\"");
        assert_eq!(found, ["EPT_POINTER has 64 bits, but `Cr0` has 32"]);
    }

    #[test]
    fn an_enumeration_that_is_too_small_for_its_bits() {
        let found = after("intel/structures.toml", "bits = [47, 12]", "bits = [47, 12]\ntype = \"MemoryType\"");
        assert_eq!(found, ["PML4 has 36 bits, but `MemoryType` only 8"]);
    }

    #[test]
    fn a_register_of_cpuid_that_is_too_wide() {
        let found =
            after("intel/structures.toml", "width = 64\n", "width = 64\ncpuid = { leaf = 1, register = \"eax\" }\n");
        assert_eq!(found, ["EptPointer has 64 bits, but a register of CPUID 32"]);
    }

    #[test]
    fn a_member_with_bits_and_without_a_type() {
        let found = after("amd/vmcb.toml", "type = \"VirtualInterruptControl\"\n", "");
        assert_eq!(found, ["VIRTUAL_INTERRUPT has bits, but no `type`"]);
    }
}
