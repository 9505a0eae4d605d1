//! What a row says of itself, in words.

mod exits;
mod vmcb;
mod vmcs;

use crate::expression::{Expr, Rule, Rules};
use crate::model::{Area, BitRange, Manual, Phase, Spec, Vendor};

use super::entry::Entry;
use super::number::{both, hex};
use super::page::{Cell, Ink};
pub(super) use exits::exit_of_intercept;
pub(super) use vmcb::{location, size};
pub(super) use vmcs::{allowed_to_be_1, control_bit_of, cpuid, group, width};

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
        Entry::Field(row) => vmcs::field(&mut facts, spec, row),
        Entry::Control(row) => vmcs::control(&mut facts, spec, row),
        Entry::ControlBit(word, row) => vmcs::control_bit(&mut facts, spec, word, row),
        Entry::VmxExit(row) | Entry::SvmExit(row) => exits::exit(&mut facts, spec, row),
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
        Entry::Member(row) => vmcb::member(&mut facts, spec, row),
        Entry::MemberBit(parent, row) => {
            facts.add("member", format!("{} at {}", parent.head.name(), location(parent)));
            facts.bits(row.bits, row.reserved);
            facts.ty(row.ty.as_ref().map(|ty| ty.value.as_str()));
            facts.add("clean group", vmcb::clean(parent));
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
        Entry::Check(_, rule) => check(&mut facts, spec, rule),
    }
    facts.list
}

/// Where a row comes from and what it becomes: the citation, the place in the tables, the path in Rust.
pub(super) fn source(spec: &Spec, entry: Entry) -> Vec<Fact> {
    let mut facts = Facts::default();
    if let Some(cite) = entry.cite() {
        facts.add_if("note", entry.head().and_then(|head| head.note.clone()));
        let page = cite.page.as_ref().map(|page| format!(", page {}", page.value)).unwrap_or_default();
        facts.add("cited", format!("\"{}\"{page}", cite.title));
        match spec.manual(&cite.doc.value) {
            Some(manual) => facts.add("in", document(manual)),
            None => facts.add("in", cite.doc.value.clone()),
        }
        if let Some(why) = &cite.unchecked {
            facts.list.push(("unchecked", Cell::new(Ink::Wrong, why)));
        }
    }
    facts.add("table", spec.sources.place(entry.span()).to_string());
    facts.add_if("Rust", entry.rust_path(spec));
    facts.list
}

/// A rule; the definitions that it names, too.
fn check(facts: &mut Facts, spec: &Spec, rule: &Rule) {
    facts.add("explained", rule.explain.clone());
    facts.add("field", rule.field.name.clone());
    facts.add("phase", rule.phase.name());
    facts.add("severity", rule.severity.name());
    if rule.qualification != 0 {
        facts.add("qualification", rule.qualification.to_string());
    }
    for when in &rule.when_text {
        facts.add("when", when.clone());
    }
    facts.add("requires", rule.require_text.clone());
    if let Some((count, address)) = &rule.entries {
        facts.add("each entry of", format!("{} at {}", count.name, address.name));
    }
    let vendor = if rule.phase == Phase::Vmrun { Vendor::Amd } else { Vendor::Intel };
    let rules = spec.rules(vendor);
    let mut names: Vec<usize> = Vec::new();
    rule.when.iter().chain([&rule.require]).for_each(|expr| definitions(rules, expr, &mut names));
    for definition in names.into_iter().filter_map(|index| rules.definitions.get(index)) {
        facts.add("where", format!("{} = {}", definition.name, definition.text));
    }
    facts.add_if("shows", rule.shows_text.clone());
    facts.add("looks at", rule.inputs.iter().map(|place| place.name.as_str()).collect::<Vec<_>>().join(", "));
    facts.add("to mend", rule.hint.clone());
    facts.add_if("note", rule.note.clone());
}

/// The definitions that an expression uses, and those that they use, each once.
fn definitions(rules: &Rules, expr: &Expr, out: &mut Vec<usize>) {
    if let Expr::Define(index) = expr
        && !out.contains(index)
    {
        out.push(*index);
        if let Some(definition) = rules.definitions.get(*index) {
            definitions(rules, &definition.expr, out);
        }
    }
    expr.parts().into_iter().for_each(|part| definitions(rules, part, out));
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
        self.add(label, format!("{}, mask {:#x}", bits.place(), bits.mask()));
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
    let cites = super::entry::all(spec).into_iter().filter_map(Entry::cite);
    let citing: Vec<_> = cites.filter(|cite| cite.doc.value == row.id.value).collect();
    let unchecked = citing.iter().filter(|cite| cite.unchecked.is_some()).count();
    facts.add("cited by", format!("{} rows, {unchecked} of them unchecked", citing.len()));
}
