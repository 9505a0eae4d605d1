//! VMCS fields and controls, and what they exist with.

use crate::model::{Access, BitRef, Condition, Control, ControlBit, Field, Group, LayoutBit, Spec, Term, Width};

use super::super::number::hex;
use super::Facts;

/// "natural: 64 bits" and the like.
pub(in crate::explain) fn width(width: Width) -> String {
    match width {
        Width::Natural => "natural: 64 bits where there is 64-bit mode".to_owned(),
        width => format!("{} bits", width.bits()),
    }
}

/// "guest state" and the like.
pub(in crate::explain) fn group(group: Group) -> &'static str {
    match group {
        Group::Control => "control field",
        Group::ExitInfo => "VM-exit information",
        Group::Guest => "guest state",
        Group::Host => "host state",
    }
}

/// Of a VMCS field.
pub(super) fn field(facts: &mut Facts, spec: &Spec, row: &Field) {
    let encoding = row.encoding.value;
    facts.add("encoding", format!("{:04x}h ({encoding}), index {}", encoding, encoding >> 1 & 0x1ff));
    if row.width.value == Width::W64 {
        facts.add("high half", format!("{:04x}h, for code outside 64-bit mode", encoding + 1));
    }
    facts.add("width", width(row.width.value));
    facts.add("group", group(row.group.value));
    facts.add(
        "access",
        match row.access.value {
            Access::ReadWrite => "VMREAD and VMWRITE",
            Access::ExitInfo => "VMREAD; VMWRITE only where IA32_VMX_MISC (485h) bit 29 is 1",
        },
    );
    match &row.exists_if {
        None => facts.add("exists", "on every CPU with VMX"),
        Some(condition) => {
            for (i, text) in exists(spec, &condition.value).into_iter().enumerate() {
                facts.add(if i == 0 { "exists" } else { "or" }, text);
            }
        }
    }
    facts.add_if("retired", row.retired.clone());
    facts.add("type", row.ty.as_ref().map_or_else(|| format!("u{}", row.width.value.bits()), |ty| ty.value.clone()));
}

/// A sentence per term of a condition: what has to be there, and where a program looks.
fn exists(spec: &Spec, condition: &Condition) -> Vec<String> {
    let term = |term: &Term| match term {
        Term::Control(bit) => {
            let manual_name = control_bit_of(spec, bit).map_or("", |(_, row)| &row.head.manual_name);
            format!("where the control {bit} (\"{manual_name}\") may be 1{}", allowed(spec, bit))
        }
        Term::Cpuid(bit) => format!("where CPUID reports {bit}{}", cpuid(spec, bit)),
    };
    condition.any.iter().map(term).collect()
}

/// The row that a reference means.
pub(in crate::explain) fn control_bit_of<'s>(spec: &'s Spec, wanted: &BitRef) -> Option<(&'s Control, &'s ControlBit)> {
    let control = spec.control(wanted.word)?;
    control.bits.iter().find(|bit| bit.head.name() == wanted.bit).map(|bit| (control, bit))
}

/// ": IA32_VMX_PROCBASED_CTLS2 (48bh) bit 33 is 1", with what activates the word.
fn allowed(spec: &Spec, wanted: &BitRef) -> String {
    let Some((control, bit)) = control_bit_of(spec, wanted) else { return String::new() };
    let mut text = format!(": {}", capability(spec, control, bit));
    if let Some((parent, activation)) = control.activated_by.as_ref().and_then(|bit| control_bit_of(spec, bit)) {
        text.push_str(&format!(
            "; the word is there where {}.{} may be 1: {}",
            parent.id.value.name(),
            activation.head.name(),
            capability(spec, parent, activation)
        ));
    }
    text
}

/// The bit of the capability MSR that says whether a control may be 1.
fn capability(spec: &Spec, control: &Control, bit: &ControlBit) -> String {
    let number = allowed_to_be_1(control) + bit.bits.low;
    let mut text = format!("{} bit {number} is 1", msr(spec, &control.capability.value));
    if let Some(other) = &control.true_capability {
        text.push_str(&format!(" (or the same bit of {} where IA32_VMX_BASIC bit 55 is 1)", msr(spec, &other.value)));
    }
    text
}

/// Where the bits of a capability MSR start that say which controls may be 1: an MSR of 32 controls has those that may be 0
/// below them.
pub(in crate::explain) fn allowed_to_be_1(control: &Control) -> u32 {
    if control.width == 32 { 32 } else { 0 }
}

/// The name of an MSR with its address.
fn msr(spec: &Spec, name: &str) -> String {
    match spec.msrs.iter().find(|msr| msr.head.name() == name) {
        Some(msr) => format!("{name} ({})", hex(msr.address.value)),
        None => name.to_owned(),
    }
}

/// ": leaf 7h, subleaf 0h, EBX bit 3"
pub(in crate::explain) fn cpuid(spec: &Spec, wanted: &LayoutBit) -> String {
    let Some(layout) = spec.layout(&wanted.layout) else { return String::new() };
    let Some(field) = layout.fields.iter().find(|field| field.head.name() == wanted.bit) else { return String::new() };
    let place = match layout.cpuid {
        Some(at) => {
            let register = at.register.name().to_ascii_uppercase();
            format!("leaf {:x}h, subleaf {:x}h, {register}", at.leaf, at.subleaf)
        }
        None => layout.head.manual_name.clone(),
    };
    format!(": {place} bit {}", field.bits.low)
}

/// Of a word of controls.
pub(super) fn control(facts: &mut Facts, spec: &Spec, row: &Control) {
    facts.add("word", row.id.value.name());
    facts.add("width", format!("{} bits", row.width));
    let encoding = spec.fields.iter().find(|field| field.head.name() == row.field.value);
    let encoding = encoding.map(|field| format!(" ({:04x}h)", field.encoding.value)).unwrap_or_default();
    facts.add("VMCS field", format!("{}{encoding}", row.field.value));
    let kind = if row.width == 32 {
        ": bits 31:0 are 1 where a control must be 1, bits 63:32 where it may be 1"
    } else {
        ": a bit is 1 where the control may be 1"
    };
    facts.add("allowed", format!("{}{kind}", msr(spec, &row.capability.value)));
    if let Some(other) = &row.true_capability {
        facts.add("or", format!("{} where IA32_VMX_BASIC bit 55 is 1", msr(spec, &other.value)));
    }
    facts
        .add_if("activated by", row.activated_by.as_ref().map(|bit| format!("{bit}; the word is taken for 0 without")));
}

/// Of a control.
pub(super) fn control_bit(facts: &mut Facts, spec: &Spec, word: &Control, row: &ControlBit) {
    facts.add("word", format!("{} ({}), VMCS field {}", word.id.value.name(), word.head.name(), word.field.value));
    facts.bits(row.bits, row.reserved);
    if row.reserved.is_none() {
        facts.add("may be 1", format!("where {}", capability(spec, word, row)));
    }
    match (&word.true_capability, row.default1) {
        _ if word.width != 32 => {}
        // Of these the older MSR says that they have to be 1, whatever the CPU can do.
        (Some(other), true) => {
            facts.add(
                "may be 0",
                format!("where there is {} and its bit {} is 0", msr(spec, &other.value), row.bits.low),
            );
        }
        _ => facts.add("may be 0", format!("where {} bit {} is 0", msr(spec, &word.capability.value), row.bits.low)),
    }
    if row.default1 {
        facts.add("class", "default1");
    }
    facts.add_if(
        "activated by",
        word.activated_by.as_ref().map(|bit| format!("{bit}; the word is taken for 0 without")),
    );
    facts.add_if("retired", row.retired.clone());
}
