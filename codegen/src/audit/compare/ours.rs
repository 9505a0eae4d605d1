//! The tables of the spec in the form in which documents have theirs.

use crate::audit::names::Names;
use crate::audit::source::Kind;
use crate::model::{Area, BitRange, CLEAN_MEMBER, Condition, Head, LayoutField, Member, ModuleId, Spec, Vendor, Width};

/// Numbers, both ends included: one number, the bits of a word, the bits of a member counted from the start of its area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    pub low: i64,
    pub high: i64,
}

impl Range {
    pub fn one(number: i64) -> Range {
        Range { low: number, high: number }
    }

    pub fn of_bits(bits: BitRange) -> Range {
        Range { low: bits.low.into(), high: bits.high.into() }
    }

    pub fn contains(self, other: Range) -> bool {
        self.low <= other.low && other.high <= self.high
    }
}

/// Where a row is written: enough to find it again in the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    pub module: ModuleId,
    /// The table, `field`, and the row in it.
    pub row: (&'static str, usize),
    /// The table inside of the row, `bit`, and the row in that.
    pub part: Option<(&'static str, usize)>,
}

/// A row, or a part of one.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'s> {
    pub head: &'s Head,
    pub names: Names,
    pub address: Address,
    pub vendor: Vendor,
    pub range: Range,
    pub reserved: bool,
    pub retired: bool,
    /// Belongs to another table, and stands here because documents have it here too.
    pub borrowed: bool,
    pub width: Option<Width>,
    pub group: Option<&'static str>,
    pub condition: Option<&'s Condition>,
    pub default1: Option<bool>,
}

/// A table of the spec.
#[derive(Clone, Debug)]
pub(crate) struct Ours<'s> {
    /// What reports call it: `vmcs`, `controls.secondary`, `layout.EptPointer`.
    pub name: String,
    pub kind: Kind,
    /// Of a table of bits: its names and those of the MSRs that have it.
    pub names: Names,
    /// Of a table of bits: those, and the titles of what its rows cite.
    pub titles: Names,
    pub entries: Vec<Entry<'s>>,
}

/// All tables.
pub(crate) fn tables(spec: &Spec) -> Vec<Ours<'_>> {
    Builder { spec }.all()
}

struct Builder<'s> {
    spec: &'s Spec,
}

impl<'s> Builder<'s> {
    fn all(&self) -> Vec<Ours<'s>> {
        let spec = self.spec;
        let mut all = vec![table("vmcs", Kind::VmcsFields, self.fields())];
        for (control, address) in self.addressed(&spec.controls, "control", |row| row.module) {
            let entries = control.bits.iter().enumerate().map(|(i, bit)| Entry {
                reserved: bit.reserved.is_some(),
                retired: bit.retired.is_some(),
                default1: Some(bit.default1),
                ..self.entry(&bit.head, part(&address, "bit", i), Range::of_bits(bit.bits))
            });
            let name = format!("controls.{}", control.id.value.name());
            all.push(table(&name, Kind::Controls(control.id.value), entries.collect()));
        }
        for (name, kind, vendor) in
            [("vmx_exits", Kind::VmxExits, Vendor::Intel), ("svm_exits", Kind::SvmExits, Vendor::Amd)]
        {
            let rows = self.addressed(&spec.exits, "exit", |row| row.module);
            let rows = rows.filter(|(row, _)| spec.vendor(row.module) == vendor);
            // Numbers that stand for no exit are listed by their names alone.
            let entries = rows.map(|(row, address)| Entry {
                reserved: row.head.name().starts_with("RESERVED_"),
                ..self.entry(&row.head, address, Range::one(row.number.value))
            });
            all.push(table(name, kind, entries.collect()));
        }
        let rows = self.addressed(&spec.instruction_errors, "instruction_error", |row| row.module);
        let entries = rows.map(|(row, address)| self.entry(&row.head, address, number(row.number.value)));
        all.push(table("vmx_instruction_errors", Kind::InstructionErrors, entries.collect()));
        let rows = self.addressed(&spec.msrs, "msr", |row| row.module);
        let entries = rows.map(|(row, address)| self.entry(&row.head, address, number(row.address.value)));
        all.push(table("msrs", Kind::Msrs, entries.collect()));
        for (area, name) in [(Area::Control, "vmcb.control"), (Area::Save, "vmcb.save"), (Area::Vmsa, "vmsa")] {
            all.push(table(name, Kind::Members(area), self.members(area)));
        }
        all.push(table("svm_intercepts", Kind::Intercepts, self.intercepts()));
        self.words(&mut all);
        all
    }

    fn fields(&self) -> Vec<Entry<'s>> {
        let rows = self.addressed(&self.spec.fields, "field", |row| row.module);
        let entry = |(row, address): (&'s crate::model::Field, _)| Entry {
            retired: row.retired.is_some(),
            width: Some(row.width.value),
            group: Some(row.group.value.name()),
            condition: row.exists_if.as_ref().map(|condition| &condition.value),
            ..self.entry(&row.head, address, number(row.encoding.value))
        };
        rows.map(entry).collect()
    }

    /// Members, their bits, and what else documents list with them: intercepts, clean bits, the bits of a member's type.
    fn members(&self, area: Area) -> Vec<Entry<'s>> {
        let mut all = Vec::new();
        let spec = self.spec;
        for (member, address) in self.addressed(&spec.members, "member", |row| row.module) {
            if member.area != area {
                continue;
            }
            let start = number(member.offset.value).low.saturating_mul(8);
            let size = i64::try_from(member.size.value).unwrap_or(0).saturating_mul(8);
            let range = Range { low: start, high: start.saturating_add(size - 1) };
            let reserved = member.reserved.is_some();
            all.push(Entry { reserved, ..self.entry(&member.head, address.clone(), range) });
            let shifted = |bits| {
                let Range { low, high } = Range::of_bits(bits);
                Range { low: start + low, high: start + high }
            };
            for (i, bit) in member.bits.iter().enumerate() {
                let entry = self.entry(&bit.head, part(&address, "bit", i), shifted(bit.bits));
                all.push(Entry { reserved: bit.reserved.is_some(), ..entry });
            }
            for entry in self.of_type(member) {
                let Range { low, high } = entry.range;
                all.push(Entry { borrowed: true, range: Range { low: start + low, high: start + high }, ..entry });
            }
        }
        all
    }

    /// The bits of a member that stand in another table.
    fn of_type(&self, member: &'s Member) -> Vec<Entry<'s>> {
        let spec = self.spec;
        if member.area == Area::Control && member.head.name() == CLEAN_MEMBER {
            return self.clean();
        }
        let word = spec.words.iter().find(|word| word.member.value == member.head.name());
        if let Some(word) = word.filter(|_| member.area == Area::Control) {
            let first = number(word.number.value).low * 32;
            let of_word = Range { low: first, high: first + 31 };
            let mut entries = self.intercepts();
            entries.retain(|entry| of_word.contains(entry.range));
            for entry in &mut entries {
                entry.range = Range { low: entry.range.low - first, high: entry.range.high - first };
            }
            return entries;
        }
        let name = member.ty.as_ref().filter(|_| member.bits.is_empty()).map(|ty| ty.value.as_str());
        let layouts = self.addressed(&spec.layouts, "layout", |row| row.module);
        let layout = layouts.into_iter().find(|(layout, _)| Some(layout.head.name()) == name);
        layout.map(|(layout, address)| self.layout_fields(&layout.fields, &address, "field")).unwrap_or_default()
    }

    fn layout_fields(&self, fields: &'s [LayoutField], address: &Address, key: &'static str) -> Vec<Entry<'s>> {
        let entry = |(i, field): (usize, &'s LayoutField)| Entry {
            reserved: field.reserved.is_some(),
            ..self.entry(&field.head, part(address, key, i), Range::of_bits(field.bits))
        };
        fields.iter().enumerate().map(entry).collect()
    }

    fn intercepts(&self) -> Vec<Entry<'s>> {
        let rows = self.addressed(&self.spec.intercepts, "intercept", |row| row.module);
        let entry = |(row, address): (&'s crate::model::Intercept, _)| {
            let (first, bits) = (number(row.word.value).low * 32, Range::of_bits(row.bits));
            let range = Range { low: first + bits.low, high: first + bits.high };
            Entry { reserved: row.reserved.is_some(), ..self.entry(&row.head, address, range) }
        };
        rows.map(entry).collect()
    }

    fn clean(&self) -> Vec<Entry<'s>> {
        let rows = self.addressed(&self.spec.clean, "clean", |row| row.module);
        let entry = |(row, address): (&'s crate::model::Clean, _)| Entry {
            reserved: row.reserved.is_some(),
            ..self.entry(&row.head, address, Range::of_bits(row.bits))
        };
        rows.map(entry).collect()
    }

    /// Layouts, enumerations, members with bits and the clean bits: what is found by its title.
    fn words(&self, all: &mut Vec<Ours<'s>>) {
        let spec = self.spec;
        for (layout, address) in self.addressed(&spec.layouts, "layout", |row| row.module) {
            let mut names = names(&layout.head);
            for msr in &spec.msrs {
                if msr.layout.as_ref().is_some_and(|name| name.value == layout.head.name()) {
                    names.extend(self::names(&msr.head));
                }
            }
            let entries = self.layout_fields(&layout.fields, &address, "field");
            all.push(bits(format!("layout.{}", layout.head.name()), names, Some(&layout.head), entries));
        }
        for (table, address) in self.addressed(&spec.enums, "enum", |row| row.module) {
            let values = table.values.iter().enumerate();
            let entry = |(i, value): (usize, &'s crate::model::EnumValue)| {
                self.entry(&value.head, part(&address, "value", i), number(value.number.value))
            };
            let name = format!("enum.{}", table.head.name());
            all.push(bits(name, names(&table.head), Some(&table.head), values.map(entry).collect()));
        }
        for (member, address) in self.addressed(&spec.members, "member", |row| row.module) {
            if member.bits.is_empty() {
                continue;
            }
            let mut entries = self.layout_fields(&member.bits, &address, "bit");
            entries.iter_mut().for_each(|entry| entry.borrowed = true);
            let mut names = names(&member.head);
            names.extend(member.ty.as_ref().map(|ty| ty.value.as_str()));
            // Their citation is that of the whole area.
            all.push(bits(format!("member.{}", member.head.name()), names, None, entries));
        }
        let entries = self.clean();
        if let Some(first) = entries.first().map(|entry| entry.head) {
            all.push(bits("clean".to_owned(), vec!["CLEAN_BITS", "VMCB Clean Bits"], Some(first), entries));
        }
    }

    fn entry(&self, head: &'s Head, address: Address, range: Range) -> Entry<'s> {
        Entry {
            head,
            names: Names::of(names(head)),
            vendor: self.spec.vendor(address.module),
            address,
            range,
            reserved: false,
            retired: false,
            borrowed: false,
            width: None,
            group: None,
            condition: None,
            default1: None,
        }
    }

    /// Rows with their places: the model has them in the order of the files and of the rows in them.
    fn addressed<T>(
        &self,
        rows: &'s [T],
        key: &'static str,
        module: impl Fn(&T) -> ModuleId,
    ) -> impl Iterator<Item = (&'s T, Address)> {
        let mut last = (None, 0);
        rows.iter().map(move |row| {
            let id = module(row);
            last = if last.0 == Some(id) { (Some(id), last.1 + 1) } else { (Some(id), 0) };
            (row, Address { module: id, row: (key, last.1), part: None })
        })
    }
}

fn table<'s>(name: &str, kind: Kind, entries: Vec<Entry<'s>>) -> Ours<'s> {
    Ours { name: name.to_owned(), kind, names: Names::default(), titles: Names::default(), entries }
}

/// A table of bits. Its rows may cite other titles than the row that they belong to.
fn bits<'s>(name: String, mut names: Vec<&'s str>, cites: Option<&'s Head>, entries: Vec<Entry<'s>>) -> Ours<'s> {
    let own = Names::of(distinct(names.clone()));
    if let Some(head) = cites {
        names.push(&head.cite.title);
        names.extend(entries.iter().map(|entry| entry.head.cite.title.as_str()));
    }
    let mut titles = Names::default();
    distinct(names).into_iter().for_each(|title| titles.extend(Names::of_title(title)));
    Ours { name, kind: Kind::Bits { msr: None }, names: own, titles, entries }
}

/// How a row is called.
fn names(head: &Head) -> Vec<&str> {
    let aliases = head.aliases.iter().map(|alias| alias.value.as_str());
    [head.manual_name.as_str(), head.name()].into_iter().chain(aliases).collect()
}

fn part(address: &Address, key: &'static str, index: usize) -> Address {
    Address { part: Some((key, index)), ..address.clone() }
}

fn number(value: u64) -> Range {
    Range::one(i64::try_from(value).unwrap_or(i64::MAX))
}

fn distinct(mut all: Vec<&str>) -> Vec<&str> {
    all.sort_unstable();
    all.dedup();
    all
}
