//! What other rows have to do with one.

use crate::model::{BitRef, CLEAN_TYPE, Information, Layout, Spec, Term, Types, Vendor};

use super::entry::Entry;
use super::facts::{self, Fact};
use super::number::code;

/// What refers to an entry and what it refers to.
pub(super) fn of(spec: &Spec, entry: Entry) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    let mut add = |label, names: Vec<String>| {
        if !names.is_empty() {
            facts.push((label, names.join(", ").into()));
        }
    };
    match entry {
        Entry::ControlBit(word, bit) => {
            let is_this = |other: &BitRef| other.word == word.id.value && other.bit == bit.head.name();
            let all = || spec.controls.iter().flat_map(|word| word.bits.iter().map(move |bit| (word, bit)));
            let named = |(word, bit): (&crate::model::Control, &crate::model::ControlBit)| {
                format!("{}.{}", word.id.value.name(), bit.head.name())
            };
            add("requires", bit.requires.iter().map(BitRef::to_string).collect());
            add("required by", all().filter(|(_, b)| b.requires.iter().any(is_this)).map(named).collect());
            let mut excludes: Vec<_> = bit.excludes.iter().map(BitRef::to_string).collect();
            excludes.extend(all().filter(|(_, b)| b.excludes.iter().any(is_this)).map(named));
            add("excludes", excludes);
            let activated = spec.controls.iter().filter(|word| word.activated_by.as_ref().is_some_and(is_this));
            add("activates", activated.map(|word| word.head.name().to_owned()).collect());
            let asks = |term: &Term| matches!(term, Term::Control(other) if is_this(other));
            let dependent: Vec<_> = spec
                .fields
                .iter()
                .filter_map(|field| Some((field, &field.exists_if.as_ref()?.value)))
                .filter(|(_, condition)| condition.any.iter().any(asks))
                .collect();
            add("VMCS fields", dependent.iter().map(|(field, _)| field.head.name().to_owned()).collect());
            let mut conditions: Vec<_> = dependent.iter().map(|(_, condition)| condition.type_name()).collect();
            conditions.sort();
            conditions.dedup();
            add("condition", conditions.iter().map(|name| format!("spec::intel::conditions::{name}")).collect());
        }
        Entry::VmxExit(exit) => {
            for row in &spec.exit_map {
                if row.vmx.iter().any(|name| name.value == exit.head.name()) {
                    let found = |name: &String| spec.exits_of(Vendor::Amd).find(|exit| exit.head.name() == name);
                    let numbered = |name: &String| match found(name) {
                        Some(exit) => format!("{name} ({})", code(exit.number.value)),
                        None => name.clone(),
                    };
                    counterpart(&mut add, "on SVM", row.svm.iter().map(|n| numbered(&n.value)).collect(), &row.note);
                    add("VmExit", row.neutral.iter().map(|name| name.value.clone()).collect());
                }
            }
        }
        Entry::SvmExit(exit) => {
            let intercepts = spec.words.iter().flat_map(|word| {
                let bits = spec.intercepts.iter().filter(|bit| bit.word.value == word.number.value);
                bits.filter(|bit| bit.reserved.is_none()).map(move |bit| (word, bit))
            });
            let of_this = |(word, bit): &(&crate::model::InterceptWord, &crate::model::Intercept)| {
                facts::exit_of_intercept(spec, word.number.value, bit.bits.low)
                    .is_some_and(|other| other.number.value == exit.number.value)
            };
            let named = |(word, bit): (&crate::model::InterceptWord, &crate::model::Intercept)| {
                format!("{}.{}", word.head.name(), bit.head.name())
            };
            add("intercepted by", intercepts.filter(of_this).map(named).collect());
            for row in &spec.exit_map {
                if row.svm.iter().any(|name| name.value == exit.head.name()) {
                    let found = |name: &String| spec.exits_of(Vendor::Intel).find(|exit| exit.head.name() == name);
                    let numbered = |name: &String| match found(name) {
                        Some(exit) => format!("{name} ({})", exit.number.value),
                        None => name.clone(),
                    };
                    counterpart(&mut add, "on VMX", row.vmx.iter().map(|n| numbered(&n.value)).collect(), &row.note);
                    add("VmExit", row.neutral.iter().map(|name| name.value.clone()).collect());
                }
            }
        }
        Entry::Field(field) => {
            for row in &spec.state_map {
                if row.vmx.iter().any(|name| name.value == field.head.name()) {
                    let members = row.svm.iter().map(|member| {
                        let row = spec.members_of(member.area).find(|row| row.head.name() == member.member);
                        let offset = row.map(|row| row.area.base() + row.offset.value);
                        let at = offset.map(|offset| format!(" (VMCB offset {offset:03x}h)")).unwrap_or_default();
                        format!("{}.{}{at}", member.area.name(), member.member)
                    });
                    counterpart(&mut add, "on SVM", members.collect(), &row.note);
                }
            }
            checks(&mut add, spec, Vendor::Intel, field.head.name());
            let words = spec.controls.iter().filter(|word| word.field.value == field.head.name());
            add("controls", words.map(|word| format!("{} ({})", word.id.value.name(), word.head.name())).collect());
        }
        Entry::Member(member) => {
            for row in &spec.state_map {
                if row.svm.iter().any(|m| m.area == member.area && m.member == member.head.name()) {
                    let fields = row.vmx.iter().map(|name| {
                        let field = spec.fields.iter().find(|field| field.head.name() == name.value);
                        let encoding =
                            field.map(|field| format!(" ({:04x}h)", field.encoding.value)).unwrap_or_default();
                        format!("{}{encoding}", name.value)
                    });
                    counterpart(&mut add, "on VMX", fields.collect(), &row.note);
                }
            }
            checks(&mut add, spec, Vendor::Amd, &format!("{}.{}", member.area.name(), member.head.name()));
        }
        Entry::Intercept(word, bit) => {
            let exit =
                facts::exit_of_intercept(spec, word.number.value, bit.bits.low).filter(|_| bit.reserved.is_none());
            add(
                "exit",
                exit.map(|exit| format!("{} ({})", exit.head.name(), code(exit.number.value))).into_iter().collect(),
            );
        }
        Entry::Clean(group) => {
            let is_this =
                |row: &&crate::model::Member| row.clean.as_ref().is_some_and(|name| name.value == group.head.name());
            let members = spec.members.iter().filter(is_this);
            add("members", members.map(|row| format!("{}.{}", row.area.name(), row.head.name())).collect());
        }
        Entry::Msr(msr) => {
            let name = msr.head.name();
            let words = spec.controls.iter().filter(|word| {
                word.capability.value == name || word.true_capability.as_ref().is_some_and(|other| other.value == name)
            });
            add("controls", words.map(|word| format!("{} ({})", word.id.value.name(), word.head.name())).collect());
        }
        Entry::Layout(layout) => {
            add("used by", users(spec, layout.head.name()));
            add("makes exist", asked_of(spec, layout));
        }
        Entry::Enum(table) => add("used by", users(spec, table.head.name())),
        _ => {}
    }
    facts
}

/// The entry checks that blame a field, and those that look at it.
fn checks(add: &mut impl FnMut(&'static str, Vec<String>), spec: &Spec, vendor: Vendor, name: &str) {
    let rules = &spec.rules(vendor).rules;
    let (mut blaming, mut looking) = (Vec::new(), Vec::new());
    for rule in rules {
        if rule.field.name == name {
            blaming.push(rule.name.clone());
        } else if rule.inputs.iter().any(|place| place.name == name) {
            looking.push(rule.name.clone());
        }
    }
    add("entry checks", blaming);
    add("looked at by", looking);
}

fn counterpart(
    add: &mut impl FnMut(&'static str, Vec<String>),
    label: &'static str,
    names: Vec<String>,
    note: &Option<String>,
) {
    add(label, vec![if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }]);
    add("map note", note.iter().cloned().collect());
}

/// Everything whose value has the type `name`.
fn users(spec: &Spec, name: &str) -> Vec<String> {
    let is_this = |ty: &Option<crate::model::Spanned<String>>| ty.as_ref().is_some_and(|ty| ty.value == name);
    let mut users: Vec<_> =
        spec.fields.iter().filter(|row| is_this(&row.ty)).map(|row| row.head.name().to_owned()).collect();
    users.extend(spec.msrs.iter().filter(|row| is_this(&row.layout)).map(|row| row.head.name().to_owned()));
    for member in &spec.members {
        let own = Types::of_member(spec, member) == Some(name) && (member.bits.is_empty() || name == CLEAN_TYPE);
        users.extend(own.then(|| format!("{}.{}", member.area.name(), member.head.name())));
        let bits = member.bits.iter().filter(|bit| is_this(&bit.ty));
        users.extend(bits.map(|bit| format!("{}.{}", member.head.name(), bit.head.name())));
    }
    for layout in &spec.layouts {
        let fields = layout.fields.iter().filter(|field| is_this(&field.ty));
        users.extend(fields.map(|field| format!("{}.{}", layout.head.name(), field.head.name())));
    }
    for exit in &spec.exits {
        let (own, vendor) = match &exit.information {
            Information::Vmx(it) => (is_this(&it.qualification) || is_this(&it.instruction_information), "ExitReason"),
            Information::Svm(it) => (is_this(&it.exit_info1) || is_this(&it.exit_info2), "ExitCode"),
        };
        users.extend(own.then(|| format!("{vendor}.{}", exit.head.name())));
    }
    users
}

/// The VMCS fields that exist where CPUID reports a bit of this layout.
fn asked_of(spec: &Spec, layout: &Layout) -> Vec<String> {
    let asks = |term: &Term| matches!(term, Term::Cpuid(bit) if bit.layout == layout.head.name());
    let fields = spec
        .fields
        .iter()
        .filter(|field| field.exists_if.as_ref().is_some_and(|condition| condition.value.any.iter().any(asks)));
    fields.map(|field| field.head.name().to_owned()).collect()
}
