//! Every rule of `spec/*/entry_checks.toml` is broken by some state of `tests/entry_checks/`, and by those alone that say so.
//!
//! A file has `[capabilities]` of a CPU, `[[baseline]]`s, which break no rule, and `[[case]]`s: a baseline with changes that
//! breaks `check` and what `also` lists, or nothing when neither is there. `each` works as in the tables of rules. Fields that
//! a baseline does not name are 0; memory that nobody sets is not known.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{env, fs};

use serde::Deserialize;
use toml::{Table, Value};
use x86_vcpu::entry::{EntryCapabilities, EntryCheck, EntryState, Violation};
use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::model::{Area, CpuidRegister, Vendor};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    current_vmcs: Option<Number>,
    capabilities: Capabilities,
    baseline: Vec<Baseline>,
    case: Vec<Value>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Capabilities {
    #[serde(default)]
    msr: BTreeMap<String, Number>,
    /// By "leaf.subleaf".
    #[serde(default)]
    cpuid: BTreeMap<String, [Number; 4]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Baseline {
    name: String,
    /// The baseline that it differs from.
    like: Option<String>,
    #[serde(default)]
    fields: BTreeMap<String, Number>,
    /// Address, bytes, value.
    #[serde(default)]
    memory: Vec<[Number; 3]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    check: Option<String>,
    name: Option<String>,
    baseline: String,
    #[serde(default)]
    set: BTreeMap<String, Number>,
    /// Masks of bits that are turned over, after `set`.
    #[serde(default)]
    flip: BTreeMap<String, Number>,
    /// Bits by the name of their word or field, and their own.
    #[serde(default)]
    on: Vec<String>,
    #[serde(default)]
    off: Vec<String>,
    #[serde(default)]
    msr: BTreeMap<String, Number>,
    #[serde(default)]
    msr_on: Vec<String>,
    #[serde(default)]
    msr_off: Vec<String>,
    #[serde(default)]
    cpuid: BTreeMap<String, [Number; 4]>,
    #[serde(default)]
    cpuid_on: Vec<String>,
    #[serde(default)]
    cpuid_off: Vec<String>,
    #[serde(default)]
    memory: Vec<[Number; 3]>,
    /// What is broken besides.
    #[serde(default)]
    also: Vec<String>,
}

/// TOML has no integers above 2^63, and templates are strings.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "Value")]
struct Number(u64);

impl TryFrom<Value> for Number {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::Integer(number) => u64::try_from(number).map(Number).map_err(|error| error.to_string()),
            Value::String(text) => number(&text).map(Number).ok_or_else(|| format!("`{text}` is no number")),
            other => Err(format!("{other} is no number")),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let text = text.replace('_', "");
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// What the names of a vendor's file mean.
struct Names<'s> {
    spec: &'s Spec,
    vendor: Vendor,
    /// Number and bytes of what any rule looks at.
    places: BTreeMap<&'static str, (u32, u32)>,
}

impl Names<'_> {
    fn place(&self, name: &str) -> (u32, u32) {
        *self.places.get(name).unwrap_or_else(|| panic!("no rule looks at {name}"))
    }

    fn msr(&self, name: &str) -> u32 {
        let msr = self.spec.msrs.iter().find(|row| row.head.name() == name && self.is_ours(row.module));
        let msr = msr.unwrap_or_else(|| panic!("there is no MSR {name}"));
        u32::try_from(msr.address.value).expect("32 bits")
    }

    fn is_ours(&self, module: x86_vcpu_codegen::model::ModuleId) -> bool {
        [self.vendor, Vendor::X86].contains(&self.spec.vendor(module))
    }

    /// A field, and the bits of it that `FIELD.BIT` means.
    fn bits(&self, path: &str) -> (String, u64) {
        let (owner, bit) = path.rsplit_once('.').unwrap_or_else(|| panic!("{path} is no bit of anything"));
        let none = || -> ! { panic!("there is no {path}") };
        if let Some(control) = self.spec.controls.iter().find(|control| control.id.value.name() == owner) {
            let row = control.bits.iter().find(|row| row.head.name() == bit).unwrap_or_else(|| none());
            return (control.field.value.clone(), row.bits.mask());
        }
        if let Some(intercept) = path.strip_prefix("intercept.") {
            let row = self.spec.intercepts.iter().find(|row| row.head.name() == intercept).unwrap_or_else(|| none());
            let word =
                self.spec.words.iter().find(|word| word.number.value == row.word.value).unwrap_or_else(|| none());
            return (format!("control.{}", word.member.value), row.bits.mask());
        }
        let mask = if let Some((area, name)) = owner.split_once('.') {
            let area = if area == "save" { Area::Save } else { Area::Control };
            let member = self.spec.members_of(area).find(|member| member.head.name() == name).unwrap_or_else(|| none());
            match member.bits.iter().find(|row| row.head.name() == bit) {
                Some(row) => row.bits.mask(),
                None => self.layout(member.ty.as_ref().map(|ty| ty.value.as_str()), bit, path),
            }
        } else {
            let field = self.spec.fields.iter().find(|field| field.head.name() == owner).unwrap_or_else(|| none());
            self.layout(field.ty.as_ref().map(|ty| ty.value.as_str()), bit, path)
        };
        (owner.to_owned(), mask)
    }

    fn layout(&self, ty: Option<&str>, bit: &str, path: &str) -> u64 {
        if let Ok(bit) = bit.parse::<u32>() {
            return 1 << bit;
        }
        let layout = self.spec.layouts.iter().find(|row| Some(row.head.name()) == ty);
        let row = layout.and_then(|row| row.fields.iter().find(|row| row.head.name() == bit));
        row.unwrap_or_else(|| panic!("there is no {path}")).bits.mask()
    }

    fn msr_bits(&self, path: &str) -> (u32, u64) {
        let (name, bit) = path.rsplit_once('.').unwrap_or_else(|| panic!("{path} is no bit of an MSR"));
        let row = self.spec.msrs.iter().find(|row| row.head.name() == name && self.is_ours(row.module));
        let layout = row.and_then(|row| row.layout.as_ref()).map(|layout| layout.value.as_str());
        (self.msr(name), self.layout(layout, bit, path))
    }

    fn cpuid_bits(&self, path: &str) -> ((u32, u32), usize, u32) {
        let (name, bit) = path.rsplit_once('.').unwrap_or_else(|| panic!("{path} is no bit of CPUID"));
        let layout = self.spec.layouts.iter().find(|row| row.head.name() == name);
        let place = layout.and_then(|layout| layout.cpuid).unwrap_or_else(|| panic!("CPUID does not report {name}"));
        let register = match place.register {
            CpuidRegister::Eax => 0,
            CpuidRegister::Ebx => 1,
            CpuidRegister::Ecx => 2,
            CpuidRegister::Edx => 3,
        };
        ((place.leaf, place.subleaf), register, self.layout(Some(name), bit, path) as u32)
    }
}

fn leaf(text: &str) -> (u32, u32) {
    let parts = text.split_once('.').and_then(|(leaf, subleaf)| Some((number(leaf)?, number(subleaf)?)));
    let (leaf, subleaf) = parts.unwrap_or_else(|| panic!("`{text}` is no leaf and subleaf"));
    (u32::try_from(leaf).expect("32 bits"), u32::try_from(subleaf).expect("32 bits"))
}

#[derive(Clone, Default)]
struct Machine {
    fields: BTreeMap<u32, u64>,
    memory: BTreeMap<u64, u8>,
    msrs: BTreeMap<u32, u64>,
    cpuid: BTreeMap<(u32, u32), [u32; 4]>,
    current_vmcs: Option<u64>,
}

impl Machine {
    fn set(&mut self, names: &Names<'_>, name: &str, value: u64) {
        let (number, bytes) = names.place(name);
        assert!(bytes == 8 || value >> (bytes * 8) == 0, "{value:#x} does not fit into {name}");
        self.fields.insert(number, value);
    }

    fn change(&mut self, names: &Names<'_>, name: &str, change: impl Fn(u64) -> u64) {
        let (number, _) = names.place(name);
        let value = change(self.fields.get(&number).copied().unwrap_or(0));
        self.set(names, name, value);
    }

    fn store(&mut self, memory: &[[Number; 3]]) {
        for [address, bytes, value] in memory {
            for byte in 0..bytes.0 {
                self.memory.insert(address.0 + byte, (value.0 >> (byte * 8)) as u8);
            }
        }
    }

    fn add(&mut self, names: &Names<'_>, capabilities: &Capabilities) {
        self.msrs.extend(capabilities.msr.iter().map(|(name, value)| (names.msr(name), value.0)));
        let words = |words: &[Number; 4]| words.map(|word| u32::try_from(word.0).expect("32 bits"));
        self.cpuid.extend(capabilities.cpuid.iter().map(|(place, values)| (leaf(place), words(values))));
    }

    fn apply(&mut self, names: &Names<'_>, case: &Case) {
        for (name, value) in &case.set {
            self.set(names, name, value.0);
        }
        for (name, mask) in &case.flip {
            self.change(names, name, |value| value ^ mask.0);
        }
        for (paths, on) in [(&case.on, true), (&case.off, false)] {
            for path in paths {
                let (name, mask) = names.bits(path);
                self.change(names, &name, |value| if on { value | mask } else { value & !mask });
            }
        }
        self.add(names, &Capabilities { msr: case.msr.clone(), cpuid: case.cpuid.clone() });
        for (paths, on) in [(&case.msr_on, true), (&case.msr_off, false)] {
            for path in paths {
                let (address, mask) = names.msr_bits(path);
                let value = self.msrs.get_mut(&address).unwrap_or_else(|| panic!("{path} has no value"));
                *value = if on { *value | mask } else { *value & !mask };
            }
        }
        for (paths, on) in [(&case.cpuid_on, true), (&case.cpuid_off, false)] {
            for path in paths {
                let (place, register, mask) = names.cpuid_bits(path);
                let value = self.cpuid.get_mut(&place).unwrap_or_else(|| panic!("{path} has no value"));
                value[register] = if on { value[register] | mask } else { value[register] & !mask };
            }
        }
        self.store(&case.memory);
    }
}

impl EntryState for Machine {
    fn field(&self, number: u32, _bytes: u32) -> Option<u64> {
        Some(self.fields.get(&number).copied().unwrap_or(0))
    }

    fn memory(&self, address: u64, bytes: u32) -> Option<u64> {
        let byte = |index: u32| self.memory.get(&address.wrapping_add(index.into())).map(|byte| u64::from(*byte));
        (0..bytes).try_fold(0, |value, index| Some(value | byte(index)? << (index * 8)))
    }

    fn current_vmcs(&self) -> Option<u64> {
        self.current_vmcs
    }
}

impl EntryCapabilities for Machine {
    fn msr(&self, address: u32) -> Option<u64> {
        self.msrs.get(&address).copied()
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        self.cpuid.get(&(leaf, subleaf)).copied()
    }
}

/// The rows that a row with `each` stands for.
fn expand(mut row: Value) -> Vec<Value> {
    let each = row.as_table_mut().and_then(|row| row.remove("each"));
    let mut rows = vec![row];
    for (key, values) in each.as_ref().and_then(Value::as_table).into_iter().flatten() {
        let values = values.as_array().expect("a list of values");
        let fill = |row: &Value, value: &Value| filled(row, &format!("{{{key}}}"), value.as_str().expect("a string"));
        rows = rows.iter().flat_map(|row| values.iter().map(move |value| fill(row, value))).collect();
    }
    rows
}

fn filled(value: &Value, template: &str, with: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(template, with)),
        Value::Array(values) => Value::Array(values.iter().map(|value| filled(value, template, with)).collect()),
        Value::Table(table) => {
            let row = |(key, value): (&String, &Value)| (key.replace(template, with), filled(value, template, with));
            Value::Table(table.iter().map(row).collect::<Table>())
        }
        other => other.clone(),
    }
}

type Check = for<'a> fn(&'a dyn EntryState, &'a dyn EntryCapabilities) -> Vec<Violation>;

fn run(vendor: Vendor, file: &str, checks: &'static [&'static EntryCheck], check: Check) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let spec = Spec::load(root.join("spec")).unwrap_or_else(|errors| panic!("{errors}"));
    let text = fs::read_to_string(root.join("tests/entry_checks").join(file)).expect("the cases");
    let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    let inputs = checks.iter().flat_map(|check| check.inputs().iter().copied().chain([check.field()]));
    let names =
        Names { spec: &spec, vendor, places: inputs.map(|field| (field.name, (field.number, field.bytes))).collect() };

    let mut baselines: BTreeMap<&str, Machine> = BTreeMap::new();
    let mut wrong = Vec::new();
    for baseline in &file.baseline {
        let mut machine = match &baseline.like {
            Some(like) => baselines.get(like.as_str()).unwrap_or_else(|| panic!("no baseline {like}")).clone(),
            None => {
                let mut machine =
                    Machine { current_vmcs: file.current_vmcs.map(|address| address.0), ..Machine::default() };
                machine.add(&names, &file.capabilities);
                machine
            }
        };
        for (name, value) in &baseline.fields {
            machine.set(&names, name, value.0);
        }
        machine.store(&baseline.memory);
        for violation in check(&machine, &machine) {
            wrong.push(format!("the baseline {} breaks {violation}", baseline.name));
        }
        for check in checks.iter().filter(|check| check.holds(&machine, &machine).is_none()) {
            wrong.push(format!("{} cannot be judged on the baseline {}", check.name(), baseline.name));
        }
        baselines.insert(&baseline.name, machine);
    }

    let mut missing: BTreeSet<&str> = checks.iter().map(|check| check.name()).collect();
    let mut count = 0;
    for row in file.case.into_iter().flat_map(expand) {
        let shown = row.to_string();
        let case: Case = row.try_into().unwrap_or_else(|error| panic!("{error}: {shown}"));
        assert!(case.check.is_some() || case.name.is_some(), "without a check a case needs a name: {shown}");
        let machine = baselines.get(case.baseline.as_str()).unwrap_or_else(|| panic!("no baseline {}", case.baseline));
        let mut machine = machine.clone();
        machine.apply(&names, &case);
        let broken = check(&machine, &machine).into_iter().map(|violation| violation.check.name());
        let broken: BTreeSet<&str> = broken.collect();
        let expected: BTreeSet<&str> = case.check.iter().chain(&case.also).map(String::as_str).collect();
        for name in expected.iter().filter(|name| !checks.iter().any(|check| check.name() == **name)) {
            wrong.push(format!("there is no rule {name}, of {shown}"));
        }
        if broken != expected {
            wrong.push(format!("expected {expected:?}, got {broken:?}: {shown}"));
        }
        if let Some(name) = &case.check {
            missing.remove(name.as_str());
        }
        count += 1;
    }
    wrong.extend(missing.into_iter().map(|name| format!("no case breaks {name}")));
    assert!(wrong.is_empty(), "{} of {count} cases and {} rules:\n{}", wrong.len(), checks.len(), wrong.join("\n"));
}

#[test]
fn intel() {
    use x86_vcpu::spec::intel::entry_checks as rules;
    run(Vendor::Intel, "intel.toml", rules::CHECKS, |state, capabilities| rules::check(state, capabilities).collect());
}

#[test]
fn amd() {
    use x86_vcpu::spec::amd::entry_checks as rules;
    run(Vendor::Amd, "amd.toml", rules::CHECKS, |state, capabilities| rules::check(state, capabilities).collect());
}
