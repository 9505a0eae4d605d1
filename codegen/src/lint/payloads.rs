//! What exits say of themselves: the types are there and as wide as what holds them, and exits that share a payload agree.

use std::collections::BTreeMap;

use crate::diagnostics::Diagnostic;
use crate::model::{Exit, Information, Span, Spanned, Spec, Types, Vendor};

use super::{is_keyword, unresolved};

/// What a number without parts is called.
const PLAIN: &str = "u64";

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let types = Types::of(spec);
    for exit in &spec.exits {
        let vendor = spec.vendor(exit.module);
        for (key, name, width) in typed(exit) {
            holds(&types, vendor, key, name, width, out);
        }
        let Information::Svm(svm) = &exit.information else { continue };
        let Some(bit) = &svm.info_if else { continue };
        super::layout_bit(spec, bit, out);
        if svm.exit_info1.is_none() && svm.exit_info2.is_none() {
            let message = format!("{} has `info_if`, but neither `exit_info1` nor `exit_info2`", exit.head.name());
            out.push(Diagnostic::new(bit.span, message));
        }
    }
    for vendor in [Vendor::Intel, Vendor::Amd] {
        names(spec, &types, vendor, out);
    }
}

/// The keys whose value is a type, with the bits of what they are about.
fn typed(exit: &Exit) -> impl Iterator<Item = (&'static str, &Spanned<String>, u32)> {
    let (first, second) = match &exit.information {
        Information::Vmx(vmx) => (
            ("qualification", vmx.qualification.as_ref(), 64),
            ("instruction_information", vmx.instruction_information.as_ref(), 32),
        ),
        Information::Svm(svm) => {
            (("exit_info1", svm.exit_info1.as_ref(), 64), ("exit_info2", svm.exit_info2.as_ref(), 64))
        }
    };
    [first, second].into_iter().filter_map(|(key, name, width)| Some((key, name?, width)))
}

fn holds(types: &Types, vendor: Vendor, key: &str, name: &Spanned<String>, width: u32, out: &mut Vec<Diagnostic>) {
    if name.value == PLAIN && width == 64 {
        return;
    }
    let Some(ty) = types.get(&name.value) else {
        let plain = (width == 64).then_some(PLAIN);
        let kinds = if plain.is_some() { "a `[[layout]]` of 64 bits or `u64`" } else { "a `[[layout]]` of 32 bits" };
        let error = unresolved(name, "type", types.names().chain(plain));
        return out.push(error.help_if_none(format!("`{key}` is {kinds}")));
    };
    let message = if ty.width != width {
        format!("`{key}` has {width} bits, but `{}` has {}", ty.name, ty.width)
    } else if ty.vendor != vendor && ty.vendor != Vendor::X86 {
        format!("`{}` is a type of {}/", ty.name, ty.vendor.name())
    } else {
        return;
    };
    let error = Diagnostic::new(name.span, message);
    out.push(match ty.span {
        Some(span) => error.related(span, format!("`{}` is here", ty.name)),
        None => error,
    });
}

/// The types that payloads become.
fn names(spec: &Spec, types: &Types, vendor: Vendor, out: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<String, &Exit> = BTreeMap::new();
    for exit in spec.exits_of(vendor) {
        let (name, span) = (exit.payload_name(), name_span(exit));
        if exit.payload.is_none() && is_keyword(&name) {
            let error = Diagnostic::new(span, format!("{} becomes `{name}`, a keyword of Rust", exit.head.name()));
            out.push(error.help("give it a `payload` with another name"));
        }
        if let Some(before) = first.get(&name) {
            shared(&name, before, exit, out);
            continue;
        }
        if let Some(ty) = types.get(&name) {
            let message = format!("the payload of {} would be called like the type `{name}`", exit.head.name());
            let error = Diagnostic::new(span, message);
            let error = match ty.span {
                Some(span) => error.related(span, "the type is here"),
                None => error,
            };
            out.push(error.help("give it a `payload` with another name"));
        }
        first.insert(name, exit);
    }
}

/// Two exits with one payload.
fn shared(name: &str, before: &Exit, exit: &Exit, out: &mut Vec<Diagnostic>) {
    let (this, other) = (exit.head.name(), before.head.name());
    if this == other {
        return;
    }
    if exit.payload.is_none() || before.payload.is_none() {
        let error = Diagnostic::new(name_span(exit), format!("{this} becomes `{name}`, which {other} becomes already"));
        let error = error.related(name_span(before), format!("{other} is here"));
        return out.push(error.help(format!("exits that share a payload all say so: `payload = \"{name}\"`")));
    }
    let (theirs, ours) = (facts(before), facts(exit));
    for ((key, there), (_, here)) in theirs.into_iter().zip(ours) {
        let value = |fact: &Option<(String, Span)>| fact.as_ref().map(|(value, _)| value.clone());
        if value(&there) == value(&here) {
            continue;
        }
        let span = here.as_ref().map_or(exit.head.name.span, |(_, span)| *span);
        let other_span = there.as_ref().map_or(before.head.name.span, |(_, span)| *span);
        let says = |fact| value(fact).map_or("no such key".to_owned(), |text| format!("`{text}`"));
        let message = format!("{this} shares its payload with {other}, but not `{key}`");
        let error = Diagnostic::new(span, message).label(says(&here));
        let error = error.related(other_span, format!("{other} has {}", says(&there)));
        out.push(error.help("what exits with one payload tell is the same"));
    }
}

/// All keys of an exit that its payload is made of.
fn facts(exit: &Exit) -> Vec<(&'static str, Option<(String, Span)>)> {
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|text| (text.value.clone(), text.span));
    match &exit.information {
        Information::Vmx(vmx) => {
            let words = [
                ("qualification", text(&vmx.qualification)),
                ("instruction_information", text(&vmx.instruction_information)),
            ];
            let flag = |(key, _, valid): (_, _, Option<&Spanned<crate::model::Valid>>)| {
                (key, valid.map(|valid| (valid.value.name().to_owned(), valid.span)))
            };
            words.into_iter().chain(vmx.flags().into_iter().map(flag)).collect()
        }
        Information::Svm(svm) => {
            let valid = |value: &Option<Spanned<crate::model::Valid>>| {
                value.as_ref().map(|valid| (valid.value.name().to_owned(), valid.span))
            };
            vec![
                ("exit_info1", text(&svm.exit_info1)),
                ("exit_info2", text(&svm.exit_info2)),
                ("info_if", svm.info_if.as_ref().map(|bit| (bit.to_string(), bit.span))),
                ("next_rip", valid(&svm.next_rip)),
                ("instruction_bytes", valid(&svm.instruction_bytes)),
            ]
        }
    }
}

/// Where the name of the payload comes from.
fn name_span(exit: &Exit) -> Span {
    exit.payload.as_ref().map_or(exit.head.name.span, |payload| payload.span)
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    /// What is found when the exit CPUID of VMX has these keys.
    fn vmx(keys: &str) -> Vec<String> {
        after("intel/exits.toml", "number = 10\n", &format!("number = 10\n{keys}\n"))
    }

    /// What is found when SVM has a second exit, with these keys and those for `INVALID`.
    fn svm(invalid: &str, second: &str) -> Vec<String> {
        let row = format!(
            "number = -1\n{invalid}\ncite = {{ doc = \"apm2\", title = \"Codes\" }}\n\n[[exit]]\nname = \"SECOND\"\n\
             manual_name = \"S\"\nnumber = 1\n{second}\n"
        );
        after("amd/exits.toml", "number = -1\n", &row)
    }

    #[test]
    fn types() {
        assert_eq!(vmx("qualification = \"EptPointer\""), [""; 0]);
        assert_eq!(vmx("qualification = \"EptPionter\""), ["there is no type `EptPionter`"]);
        assert_eq!(vmx("qualification = \"Cr0\""), ["`qualification` has 64 bits, but `Cr0` has 32"]);
        assert_eq!(vmx("instruction_information = \"u64\""), ["there is no type `u64`"]);
        assert_eq!(vmx("qualification = \"VirtualInterruptControl\""), ["`VirtualInterruptControl` is a type of amd/"]);
    }

    #[test]
    fn information_of_the_other_vendor() {
        assert_eq!(vmx("exit_info1 = \"u64\""), ["this `exit` cannot have `exit_info1`"]);
        assert_eq!(svm("qualification = \"u64\"", ""), ["this `exit` cannot have `qualification`"]);
    }

    #[test]
    fn a_bit_of_cpuid_that_is_not_there() {
        let found = svm("exit_info1 = \"u64\"\ninfo_if = \"Cr0.PH\"", "");
        assert_eq!(found, ["`Cr0` has no single bit `PH`"]);
    }

    #[test]
    fn a_condition_of_nothing() {
        let found = svm("info_if = \"Cr0.PG\"", "");
        assert_eq!(found, ["INVALID has `info_if`, but neither `exit_info1` nor `exit_info2`"]);
    }

    #[test]
    fn exits_that_share_a_payload() {
        let same = "payload = \"Shared\"\nexit_info1 = \"u64\"";
        assert_eq!(svm(same, same), [""; 0]);
        assert_eq!(
            svm(same, "payload = \"Shared\"\nexit_info2 = \"u64\""),
            [
                "SECOND shares its payload with INVALID, but not `exit_info1`",
                "SECOND shares its payload with INVALID, but not `exit_info2`",
            ]
        );
    }

    #[test]
    fn payloads_that_are_called_alike() {
        let found = svm("payload = \"Second\"", "");
        assert_eq!(found, ["SECOND becomes `Second`, which INVALID becomes already"]);
        let found = vmx("payload = \"EptPointer\"");
        assert_eq!(found, ["the payload of CPUID would be called like the type `EptPointer`"]);
        assert_eq!(vmx("payload = \"cpuid\""), ["`cpuid` is not UpperCamelCase, no keyword"]);
    }
}
