//! What a row says of itself, in words.

use crate::model::{
    Access, Area, BitRange, BitRef, Condition, Control, ControlBit, Exit, Field, Group, Information, LayoutBit, Manual,
    Member, Spec, Term, Types, Valid, Vendor, Width,
};

use super::entry::Entry;
use super::number::{both, code, hex};
use super::page::{Cell, Ink};
use super::types::place;

/// A label and what it labels.
pub(super) type Fact = (&'static str, Cell);

/// The facts of a row: its names, its number, and what its table has.
pub(super) fn of(spec: &Spec, entry: Entry) -> Vec<Fact> {
    let mut facts = Facts::default();
    if entry.head().is_some() {
        facts.list.push(("manual name", Cell::new(Ink::Name, entry.manual_name())));
    }
    if let Some(head) = entry.head().filter(|head| !head.aliases.is_empty()) {
        facts.add("also", head.aliases.iter().map(|alias| alias.value.as_str()).collect::<Vec<_>>().join("; "));
    }
    match entry {
        Entry::Field(row) => field(&mut facts, spec, row),
        Entry::Control(row) => control(&mut facts, spec, row),
        Entry::ControlBit(word, row) => control_bit(&mut facts, spec, word, row),
        Entry::VmxExit(row) | Entry::SvmExit(row) => exit(&mut facts, spec, row),
        Entry::Error(row) => facts.add("number", both(row.number.value)),
        Entry::Layout(row) => {
            facts.add("width", format!("{} bits", row.width));
            if let Some(at) = row.cpuid {
                let register = at.register.name().to_ascii_uppercase();
                facts.add("where", format!("CPUID leaf {:x}h, subleaf {:x}h, {register}", at.leaf, at.subleaf));
            }
        }
        Entry::LayoutField(layout, row) => {
            facts.add("word", format!("{} ({})", layout.head.name(), layout.head.manual_name));
            facts.bits(row.bits, row.reserved);
            facts.ty(row.ty.as_ref().map(|ty| ty.value.as_str()));
        }
        Entry::Enum(row) => facts.add("width", format!("{} bits", row.width)),
        Entry::EnumValue(table, row) => {
            facts.add("enumeration", format!("{} ({})", table.head.name(), table.head.manual_name));
            facts.add("number", both(row.number.value));
        }
        Entry::Msr(row) => {
            facts.add("address", format!("{} ({})", hex(row.address.value), row.address.value));
            facts.ty(row.layout.as_ref().map(|ty| ty.value.as_str()));
            facts.add_if("after RESET", row.reset.as_ref().map(|value| both(value.value)));
        }
        Entry::Member(row) => member(&mut facts, spec, row),
        Entry::MemberBit(parent, row) => {
            facts.add("member", format!("{} at {}", parent.head.name(), location(parent)));
            facts.bits(row.bits, row.reserved);
            facts.ty(row.ty.as_ref().map(|ty| ty.value.as_str()));
            facts.add("clean group", clean(parent));
        }
        Entry::Word(row) => {
            facts.add("number", row.number.value.to_string());
            let member = spec.members_of(Area::Control).find(|member| member.head.name() == row.member.value);
            let at = member.map(|member| format!(" at {}", location(member))).unwrap_or_default();
            facts.add("member", format!("{}{at}", row.member.value));
        }
        Entry::Intercept(word, row) => {
            facts.add("word", format!("{} ({}), member {}", word.number.value, word.head.name(), word.member.value));
            facts.bits(row.bits, row.reserved);
        }
        Entry::Clean(row) => facts.bits(row.bits, row.reserved),
        Entry::Manual(row) => manual(&mut facts, spec, row),
        Entry::ExitMap(row) => {
            let list = |names: &[crate::model::Spanned<String>]| {
                let names: Vec<_> = names.iter().map(|name| name.value.as_str()).collect();
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            };
            facts.add("VMX", list(&row.vmx));
            facts.add("SVM", list(&row.svm));
            facts.add("VmExit", list(&row.neutral));
            facts.add_if("note", row.note.clone());
        }
        Entry::StateMap(row) => {
            let or_nothing =
                |names: Vec<String>| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            facts.add("VMX", or_nothing(row.vmx.iter().map(|name| name.value.clone()).collect()));
            let members = row.svm.iter().map(|member| format!("{}.{}", member.area.name(), member.member));
            facts.add("SVM", or_nothing(members.collect()));
            facts.add_if("note", row.note.clone());
        }
    }
    facts.list
}

/// Where a row comes from and what it becomes: the citation, the place in the tables, the path in Rust.
pub(super) fn source(spec: &Spec, entry: Entry) -> Vec<Fact> {
    let mut facts = Facts::default();
    if let Some(head) = entry.head() {
        facts.add_if("note", head.note.clone());
        let page = head.cite.page.as_ref().map(|page| format!(", page {}", page.value)).unwrap_or_default();
        facts.add("cited", format!("\"{}\"{page}", head.cite.title));
        match spec.manual(&head.cite.doc.value) {
            Some(manual) => facts.add("in", document(manual)),
            None => facts.add("in", head.cite.doc.value.clone()),
        }
        if let Some(why) = &head.cite.unchecked {
            facts.list.push(("unchecked", Cell::new(Ink::Wrong, why)));
        }
    }
    facts.add("table", spec.sources.place(entry.span()).to_string());
    facts.add_if("Rust", entry.rust_path(spec));
    facts.list
}

#[derive(Default)]
struct Facts {
    list: Vec<Fact>,
}

impl Facts {
    fn add(&mut self, label: &'static str, text: impl Into<String>) {
        self.list.push((label, text.into().into()));
    }

    fn add_if(&mut self, label: &'static str, text: Option<String>) {
        self.list.extend(text.map(|text| (label, text.into())));
    }

    fn bits(&mut self, bits: BitRange, reserved: Option<u64>) {
        let label = if bits.high == bits.low { "bit" } else { "bits" };
        self.add(label, format!("{}, mask {:#x}", place(bits), bits.mask()));
        self.add_if("reserved", reserved.map(|value| format!("must be {value}")));
    }

    fn ty(&mut self, name: Option<&str>) {
        self.add_if("type", name.map(str::to_owned));
    }
}

/// The document, its number, revision and date.
fn document(manual: &Manual) -> String {
    let order = manual.order.as_ref().map(|order| format!("{order}, ")).unwrap_or_default();
    let date = manual.date.as_ref().map(|date| format!(", {}", date.value)).unwrap_or_default();
    format!("{} ({order}revision {}{date})", manual.title, manual.revision)
}

fn manual(facts: &mut Facts, spec: &Spec, row: &Manual) {
    facts.add("title", row.title.clone());
    facts.add_if("order number", row.order.clone());
    facts.add("revision", row.revision.clone());
    facts.add_if("date", row.date.as_ref().map(|date| date.value.clone()));
    facts.add("kind", row.kind.clone());
    facts.add_if("url", row.url.clone());
    facts.add_if("sha256", row.sha256.as_ref().map(|sum| sum.value.clone()));
    facts.add_if("note", row.note.clone());
    let heads = super::entry::all(spec).into_iter().filter_map(Entry::head);
    let citing: Vec<_> = heads.filter(|head| head.cite.doc.value == row.id.value).collect();
    let unchecked = citing.iter().filter(|head| head.cite.unchecked.is_some()).count();
    facts.add("cited by", format!("{} rows, {unchecked} of them unchecked", citing.len()));
}

/// "natural: 64 bits" and the like.
pub(super) fn width(width: Width) -> String {
    match width {
        Width::Natural => "natural: 64 bits where there is 64-bit mode".to_owned(),
        width => format!("{} bits", width.bits()),
    }
}

/// "guest state" and the like.
pub(super) fn group(group: Group) -> &'static str {
    match group {
        Group::Control => "control field",
        Group::ExitInfo => "VM-exit information",
        Group::Guest => "guest state",
        Group::Host => "host state",
    }
}

fn field(facts: &mut Facts, spec: &Spec, row: &Field) {
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
pub(super) fn control_bit_of<'s>(spec: &'s Spec, wanted: &BitRef) -> Option<(&'s Control, &'s ControlBit)> {
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
pub(super) fn capability(spec: &Spec, control: &Control, bit: &ControlBit) -> String {
    let number = allowed_to_be_1(control) + bit.bits.low;
    let mut text = format!("{} bit {number} is 1", msr(spec, &control.capability.value));
    if let Some(other) = &control.true_capability {
        text.push_str(&format!(" (or the same bit of {} where IA32_VMX_BASIC bit 55 is 1)", msr(spec, &other.value)));
    }
    text
}

/// Where the bits of a capability MSR start that say which controls may be 1: an MSR of 32 controls has those that may be 0
/// below them.
pub(super) fn allowed_to_be_1(control: &Control) -> u32 {
    if control.width == 32 { 32 } else { 0 }
}

/// The name of an MSR with its address.
pub(super) fn msr(spec: &Spec, name: &str) -> String {
    match spec.msrs.iter().find(|msr| msr.head.name() == name) {
        Some(msr) => format!("{name} ({})", hex(msr.address.value)),
        None => name.to_owned(),
    }
}

/// " (CPUID leaf 7h, EBX bit 3)"
pub(super) fn cpuid(spec: &Spec, wanted: &LayoutBit) -> String {
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

fn control(facts: &mut Facts, spec: &Spec, row: &Control) {
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

fn control_bit(facts: &mut Facts, spec: &Spec, word: &Control, row: &ControlBit) {
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

fn exit(facts: &mut Facts, spec: &Spec, row: &Exit) {
    let number = row.number.value;
    match (&row.information, u64::try_from(number)) {
        (Information::Vmx(_), Ok(number)) => facts.add("number", both(number)),
        _ if number < 0 => facts.add("number", format!("{number} ({:#x})", number.cast_unsigned())),
        _ => facts.add("number", format!("{} ({number})", code(number))),
    }
    let valid = |valid: Valid, what: &str| match valid {
        Valid::Always => what.to_owned(),
        Valid::Conditional => format!("{what}, where a bit or the note says so"),
    };
    match &row.information {
        Information::Vmx(information) => {
            let mut any = false;
            let mut add = |label, text: Option<String>| {
                any |= text.is_some();
                facts.add_if(label, text);
            };
            add("qualification", information.qualification.as_ref().map(|ty| ty.value.clone()));
            add("instruction information", information.instruction_information.as_ref().map(|ty| ty.value.clone()));
            for (label, wanted) in [("always valid", Valid::Always), ("valid at times", Valid::Conditional)] {
                let fields = information
                    .flags()
                    .into_iter()
                    .filter(|(_, _, valid)| valid.as_ref().is_some_and(|valid| valid.value == wanted));
                let names: Vec<_> = fields.map(|(key, _, _)| key.replace('_', " ")).collect();
                add(label, (!names.is_empty()).then(|| names.join(", ")));
            }
            if !any {
                facts.add("valid", "no information field beyond the exit reason");
            }
        }
        Information::Svm(information) => {
            let missing = "undefined".to_owned();
            let info = |ty: &Option<crate::model::Spanned<String>>| {
                ty.as_ref().map_or_else(|| missing.clone(), |ty| ty.value.clone())
            };
            facts.add("EXITINFO1", info(&information.exit_info1));
            facts.add("EXITINFO2", info(&information.exit_info2));
            facts.add_if(
                "only where",
                information.info_if.as_ref().map(|bit| format!("CPUID reports {bit}{}", cpuid(spec, bit))),
            );
            facts.add_if(
                "nRIP",
                information.next_rip.as_ref().map(|v| valid(v.value, "the next instruction, on CPUs that save it")),
            );
            facts.add_if(
                "bytes",
                information
                    .instruction_bytes
                    .as_ref()
                    .map(|v| valid(v.value, "the guest's instruction bytes, on CPUs with decode assists")),
            );
        }
    }
    let vendor = spec.vendor(row.module).name();
    facts.add("payload", format!("x86_vcpu::spec::{vendor}::payloads::{}", row.payload_name()));
}

/// "control+05ch (VMCB 05ch)"
pub(super) fn location(member: &Member) -> String {
    let (base, offset) = (member.area.base(), member.offset.value);
    let whole = if base == 0 { String::new() } else { format!(" (VMCB offset {:03x}h)", base + offset) };
    format!("{}+{offset:03x}h{whole}", member.area.name())
}

/// "8 bytes"
pub(super) fn size(member: &Member) -> String {
    if member.size.value == 1 { "1 byte".to_owned() } else { format!("{} bytes", member.size.value) }
}

/// The clean-bit group of a member, in words.
fn clean(member: &Member) -> String {
    match &member.clean {
        Some(group) => format!("{}: a write has to clear that clean bit", group.value),
        None if member.area == Area::Vmsa => "none: the VMSA has no clean bits".to_owned(),
        None => "none: a write needs no mark".to_owned(),
    }
}

fn member(facts: &mut Facts, spec: &Spec, row: &Member) {
    facts.add("offset", location(row));
    facts.add("size", size(row));
    if let Some(value) = row.reserved {
        return facts.add("reserved", format!("must be {value}"));
    }
    facts.add("clean group", clean(row));
    let plain = match row.size.value {
        size @ (1 | 2 | 4 | 8) => format!("u{}", size * 8),
        size => format!("[u8; {size}]"),
    };
    facts.add("type", Types::of_member(spec, row).map_or(plain, str::to_owned));
    if let Some(word) = spec.words.iter().find(|word| word.member.value == row.head.name() && row.area == Area::Control)
    {
        facts.add("intercepts", format!("word {}, {}", word.number.value, word.head.name()));
    }
}

/// The exit that an intercept causes: its code is 32 times the number of the word plus that of the bit.
pub(super) fn exit_of_intercept(spec: &Spec, word: u64, bit: u32) -> Option<&Exit> {
    let number = i64::try_from(word * 32 + u64::from(bit)).ok()?;
    spec.exits_of(Vendor::Amd).find(|exit| exit.number.value == number)
}
