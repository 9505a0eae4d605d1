//! What is generated besides the rows' own items has other names than they have.

use std::collections::BTreeMap;

use crate::diagnostics::Diagnostic;
use crate::emit::snake;
use crate::model::{Head, Information, Span, Spec, Term, Vendor, camel};

/// What the generated code itself uses, by module.
const OF_MODULES: &[(Vendor, &str, &[&str])] = &[
    (Vendor::Intel, "conditions", &["AllowedControls", "Condition"]),
    (Vendor::Intel, "controls", &["ControlBit", "ControlSet", "Dependency", "DependencyKind"]),
    (Vendor::Intel, "entry_checks", ENTRY_CHECKS),
    (Vendor::Amd, "entry_checks", ENTRY_CHECKS),
    (Vendor::Intel, "payloads", &["Exit", "Payload", "S", "Unknown"]),
    (Vendor::Intel, "vmcs", &["Always", "ExitInfo", "Field", "FieldInfo", "If", "ReadWrite"]),
    (Vendor::Amd, "payloads", &["Exit", "Payload", "S", "Unknown"]),
    (Vendor::Amd, "vmcb", &["CleanBitsLayout", "Vmcb"]),
    (Vendor::Amd, "vmsa", &["Vmsa"]),
];

const ENTRY_CHECKS: &[&str] = &[
    "CHECKS",
    "Context",
    "EntryCapabilities",
    "EntryCheck",
    "EntryPhase",
    "EntrySeverity",
    "EntryState",
    "Violations",
];

/// What it uses everywhere.
const EVERYWHERE: &[&str] = &["Iterator", "None", "Option", "Some"];

/// An item with the place of the row that it comes from.
struct Made<'s> {
    module: (Vendor, &'s str),
    rust: String,
    span: Span,
    /// The row's name, or the name of the type that a row has.
    of: &'s str,
    /// Whether it is not the row's own item, but one next to it.
    derived: bool,
}

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let mut made = Vec::new();
    types(spec, &mut made);
    payloads(spec, &mut made);
    conditions(spec, &mut made);
    resets(spec, &mut made);
    checks(spec, &mut made);
    for item in &made {
        let own = OF_MODULES.iter().filter(|(vendor, module, _)| (*vendor, *module) == item.module);
        if own.flat_map(|(.., names)| *names).chain(EVERYWHERE).any(|name| *name == item.rust) {
            let message = format!("{} becomes `{}`, which the generated code needs for itself", item.of, item.rust);
            out.push(Diagnostic::new(item.span, message));
        }
    }
    // Items that rows are called by are other lints' business as long as they are among themselves.
    let mut first: BTreeMap<_, &Made> = BTreeMap::new();
    made.sort_by_key(|item| item.derived);
    for item in &made {
        match first.get(&(item.module, item.rust.as_str())) {
            Some(other) if item.derived => {
                let message = format!("{} makes `{}`, which {} makes already", item.of, item.rust, other.of);
                out.push(Diagnostic::new(item.span, message).related(other.span, format!("{} is here", other.of)));
            }
            Some(_) => {}
            None => drop(first.insert((item.module, item.rust.as_str()), item)),
        }
    }
}

/// Words, each with the layout of its bits, and enumerations.
fn types<'s>(spec: &'s Spec, made: &mut Vec<Made<'s>>) {
    let place = |id| (spec.module(id).vendor, spec.module(id).name.as_str());
    let mut add = |id, name: &'s str, span, word: bool| {
        let module = place(id);
        made.push(Made { module, rust: name.to_owned(), span, of: name, derived: false });
        if word {
            made.push(Made { module, rust: format!("{name}Layout"), span, of: name, derived: true });
        }
    };
    let named = |head: &'s Head| (head.name(), head.name.span);
    let words = spec.layouts.iter().map(|row| (row.module, named(&row.head)));
    let words = words.chain(spec.controls.iter().map(|row| (row.module, named(&row.head))));
    for (id, (name, span)) in words.chain(spec.words.iter().map(|row| (row.module, named(&row.head)))) {
        add(id, name, span, true);
    }
    for member in spec.members.iter().filter(|member| !member.bits.is_empty()) {
        let Some(ty) = &member.ty else { continue };
        add(member.module, &ty.value, ty.span, true);
    }
    for row in &spec.enums {
        add(row.module, row.head.name(), row.head.name.span, false);
    }
}

/// Payloads, and the CPUID bits that some depend on.
fn payloads<'s>(spec: &'s Spec, made: &mut Vec<Made<'s>>) {
    for exit in &spec.exits {
        let (module, of) = ((spec.vendor(exit.module), "payloads"), exit.head.name());
        let span = exit.payload.as_ref().map_or(exit.head.name.span, |payload| payload.span);
        made.push(Made { module, rust: exit.payload_name(), span, of, derived: false });
    }
    let mut bits: BTreeMap<String, Made> = BTreeMap::new();
    for exit in &spec.exits {
        let Information::Svm(svm) = &exit.information else { continue };
        let Some(bit) = &svm.info_if else { continue };
        let (module, rust) = ((spec.vendor(exit.module), "payloads"), camel(&bit.bit));
        let item = Made { module, rust, span: bit.span, of: &bit.bit, derived: true };
        bits.entry(bit.to_string()).or_insert(item);
    }
    made.extend(bits.into_values());
}

/// The conditions of fields, and the words of CPUID that they ask for.
fn conditions<'s>(spec: &'s Spec, made: &mut Vec<Made<'s>>) {
    let (types, members) = ((Vendor::Intel, "conditions"), (Vendor::Intel, "AllowedControls"));
    for control in &spec.controls {
        let rust = control.id.value.name().to_owned();
        made.push(Made { module: members, rust, span: control.id.span, of: control.head.name(), derived: false });
    }
    let mut words: BTreeMap<&str, Span> = BTreeMap::new();
    for condition in spec.fields.iter().filter_map(|field| field.exists_if.as_ref()) {
        for term in &condition.value.any {
            let Term::Cpuid(bit) = term else { continue };
            words.entry(&bit.layout).or_insert(bit.span);
        }
        let (rust, of) = (condition.value.type_name(), condition.value.any.first().map_or("", first_bit));
        made.push(Made { module: types, rust, span: condition.span, of, derived: false });
    }
    let word = |(of, span): (&'s str, Span)| Made { module: members, rust: snake(of), span, of, derived: true };
    made.extend(words.into_iter().map(word));
}

fn first_bit(term: &Term) -> &str {
    match term {
        Term::Control(bit) => &bit.bit,
        Term::Cpuid(bit) => &bit.bit,
    }
}

/// MSRs, and their values after RESET.
fn checks<'s>(spec: &'s Spec, made: &mut Vec<Made<'s>>) {
    for vendor in [Vendor::Intel, Vendor::Amd] {
        for rule in &spec.rules(vendor).rules {
            let (module, rust) = ((vendor, "entry_checks"), rule.name.clone());
            made.push(Made { module, rust, span: rule.span, of: &rule.name, derived: false });
        }
    }
}

fn resets<'s>(spec: &'s Spec, made: &mut Vec<Made<'s>>) {
    for msr in &spec.msrs {
        let (place, of, span) = (spec.module(msr.module), msr.head.name(), msr.head.name.span);
        let module = (place.vendor, place.name.as_str());
        made.push(Made { module, rust: of.to_owned(), span, of, derived: false });
        if let Some(reset) = &msr.reset {
            made.push(Made { module, rust: format!("{of}_RESET"), span: reset.span, of, derived: true });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_type_that_the_generated_code_needs() {
        let found = after("amd/vmcb.toml", "type = \"VirtualInterruptControl\"", "type = \"Vmcb\"");
        assert_eq!(found, ["Vmcb becomes `Vmcb`, which the generated code needs for itself"]);
        let found = after("x86/registers.toml", "name = \"Cr0\"", "name = \"Option\"");
        assert_eq!(found, ["Option becomes `Option`, which the generated code needs for itself"]);
    }

    #[test]
    fn an_exit_that_the_generated_code_needs() {
        let found = after("intel/exits.toml", "\nname = \"CPUID\"", "\nname = \"UNKNOWN\"");
        assert_eq!(found, ["UNKNOWN becomes `Unknown`, which the generated code needs for itself"]);
    }

    #[test]
    fn a_type_that_is_called_like_a_layout() {
        let found = after("intel/structures.toml", "name = \"MemoryType\"", "name = \"EptPointerLayout\"");
        assert!(
            found.contains(&"EptPointer makes `EptPointerLayout`, which EptPointerLayout makes already".to_owned()),
            "{found:?}"
        );
    }

    #[test]
    fn a_condition_of_a_payload_that_is_called_like_a_payload() {
        let found = after(
            "amd/exits.toml",
            "number = -1\n",
            "number = -1\npayload = \"Pg\"\nexit_info1 = \"u64\"\ninfo_if = \"Cr0.PG\"\n",
        );
        assert_eq!(found, ["PG makes `Pg`, which INVALID makes already"]);
    }

    #[test]
    fn an_msr_that_is_called_like_a_reset_value() {
        let found = after(
            "intel/msrs.toml",
            "address = 0x480\n",
            "address = 0x480\nreset = 1\ncite = { doc = \"sdm4\", title = \"MSRs\" }\n\n[[msr]]\n\
             name = \"IA32_VMX_BASIC_RESET\"\nmanual_name = \"X\"\naddress = 0x481\n",
        );
        assert_eq!(found, ["IA32_VMX_BASIC makes `IA32_VMX_BASIC_RESET`, which IA32_VMX_BASIC_RESET makes already"]);
    }
}
