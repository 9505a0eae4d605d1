//! Names of an expression to what they mean.

use crate::load::nearest;
use crate::model::{Area, ControlWord, Field, Layout, Member, Vendor, Word};

use super::resolve::{Resolver, Ty, Value};
use super::syntax::Name;
use super::typed::{EntryPart, Expr, Place, Register};
use super::{Outcome, Problem};

/// Words that no definition may have for a name, since a name starts with them.
pub(super) const HEADS: &[&str] = &[
    "pin",
    "primary",
    "secondary",
    "tertiary",
    "exit",
    "exit2",
    "entry",
    "vmfunc",
    "msr",
    "cpuid",
    "save",
    "control",
    "intercept",
    "in",
    "not",
    "true",
    "false",
    CURRENT_VMCS,
];

/// The address of the VMCS that is to be entered.
pub(super) const CURRENT_VMCS: &str = "current_vmcs";

impl<'s> Resolver<'_, 's> {
    /// `GUEST_CR0.PE`, `msr.IA32_VMX_MISC.SLEEP`, `usable_cs`.
    pub(super) fn path(&self, path: &[Name]) -> Outcome<Value> {
        let (first, rest) = path.split_first().expect("a path has a name");
        let range = first.range.start..path.last().map_or(0, |last| last.range.end);
        let mut value = self.path_of(first, rest)?;
        value.range = range;
        Ok(value)
    }

    fn path_of(&self, first: &Name, rest: &[Name]) -> Outcome<Value> {
        match (first.text.as_str(), rest) {
            ("entry", [part]) if part.text.starts_with(|c: char| c.is_ascii_lowercase()) => self.entry(part),
            ("msr", [name, rest @ ..]) => self.msr(name, rest),
            ("cpuid", [name, rest @ ..]) => {
                let (layout, expr) = self.cpuid(name)?;
                self.part(expr, layout.width, Some(layout.head.name()), name, rest)
            }
            ("save" | "control", [name, rest @ ..]) => {
                let member = self.member(first, name)?;
                let (place, width) = member_place(member, name)?;
                self.part(Expr::Read(place), width, self.lookup.type_of_member(member), name, rest)
            }
            ("intercept", [name]) => self.intercept(name),
            ("msr" | "cpuid" | "save" | "control" | "intercept", []) => {
                Err(Problem::new(first.range.clone(), format!("a name is missing: `{}.NAME`", first.text)))
            }
            ("intercept", [_, more, ..]) => Err(Problem::new(more.range.clone(), "an intercept is a single bit")),
            (text, rest) if ControlWord::ALL.iter().any(|(_, name)| *name == text) => {
                let (word, control) = self.word(first)?;
                self.part(Expr::Word(word), control.width, Some(control.head.name()), first, rest)
            }
            (text, rest) if text.starts_with(|c: char| c.is_ascii_uppercase()) => {
                let field = self.field(first)?;
                let ty = field.ty.as_ref().map(|ty| ty.value.as_str());
                self.part(Expr::Read(field_place(field)), field.width.value.bits(), ty, first, rest)
            }
            (CURRENT_VMCS, []) => {
                self.only(Vendor::Intel, first)?;
                Ok(Value::new(Expr::CurrentVmcs, Ty::Number { width: 64, of: None }))
            }
            (_, []) => self.definition(first),
            (_, [more, ..]) => {
                let problem =
                    Problem::new(first.range.start..more.range.end, format!("nothing is called `{}.…`", first.text));
                Err(match nearest(&first.text, HEADS.iter().copied()) {
                    Some(name) => problem.help(format!("there is `{name}`")),
                    None => problem.help("there are fields, control words, msr, cpuid, save, control and intercept"),
                })
            }
        }
    }

    /// A whole value, or a bit or a range of it.
    fn part(&self, whole: Expr, width: u32, ty: Option<&'s str>, of: &Name, rest: &[Name]) -> Outcome<Value> {
        let bits = ty.and_then(|ty| self.lookup.spec.word(ty));
        let name = match rest {
            [] => {
                let of = ty.filter(|ty| self.lookup.enums.contains_key(ty)).map(str::to_owned);
                return Ok(Value::new(whole, Ty::Number { width, of }));
            }
            [name] => name,
            [_, more, ..] => {
                return Err(Problem::new(more.range.clone(), "bits have no bits of their own"));
            }
        };
        let Some(bits) = bits else {
            return Err(Problem::new(name.range.clone(), format!("`{}` has no bits with names", of.text)));
        };
        let parts = self.lookup.spec.parts(bits);
        let Some(part) = parts.iter().find(|part| part.head.name() == name.text) else {
            return Err(lacking(ty.unwrap_or_default(), name, parts.iter().map(|part| part.head.name())));
        };
        let (high, low) = (part.bits.high, part.bits.low);
        let of = part.ty.filter(|ty| self.lookup.enums.contains_key(ty)).map(str::to_owned);
        if high == low && of.is_none() {
            return Ok(Value::new(Expr::Bit(Box::new(whole), low), Ty::Bit));
        }
        Ok(Value::new(Expr::Bits(Box::new(whole), high, low), Ty::Number { width: part.bits.width().min(64), of }))
    }

    pub(super) fn field(&self, name: &Name) -> Outcome<&'s Field> {
        if self.lookup.vendor != Vendor::Intel {
            let problem = Problem::new(name.range.clone(), format!("`{}` is no part of a VMCB", name.text));
            return Err(problem.help("write `save.RIP` or `control.TSC_OFFSET`"));
        }
        let names = || self.lookup.spec.fields.iter().map(|field| field.head.name());
        self.lookup.fields.get(name.text.as_str()).copied().ok_or_else(|| unresolved("VMCS field", name, names()))
    }

    pub(super) fn member(&self, area: &Name, name: &Name) -> Outcome<&'s Member> {
        self.only(Vendor::Amd, area)?;
        let area = if area.text == "save" { Area::Save } else { Area::Control };
        let names = || self.lookup.spec.members_of(area).map(|member| member.head.name());
        let found = self.lookup.members.get(&(area, name.text.as_str())).copied();
        found.ok_or_else(|| unresolved(&format!("member of the {} area", area.name()), name, names()))
    }

    /// A word of controls by its id.
    pub(super) fn word(&self, name: &Name) -> Outcome<(ControlWord, &'s crate::model::Control)> {
        self.only(Vendor::Intel, name)?;
        let id = ControlWord::ALL.iter().find(|(_, text)| *text == name.text).map(|(id, _)| *id);
        let found = id.and_then(|id| Some((id, self.lookup.control(id)?)));
        let Some((id, control)) = found else {
            let ids = self.lookup.spec.controls.iter().map(|control| control.id.value.name());
            return Err(unresolved("control word", name, ids));
        };
        if !self.lookup.fields.contains_key(control.field.value.as_str()) {
            return Err(Problem::new(name.range.clone(), format!("no VMCS field holds `{}`", name.text)));
        }
        Ok((id, control))
    }

    fn msr(&self, name: &Name, rest: &[Name]) -> Outcome<Value> {
        let Some(msr) = self.lookup.msrs.get(name.text.as_str()) else {
            return Err(unresolved("MSR", name, self.lookup.msrs.keys().copied()));
        };
        let address = u32::try_from(msr.address.value).unwrap_or(u32::MAX);
        let layout = msr.layout.as_ref().map(|layout| layout.value.as_str());
        self.part(Expr::Msr(address), 64, layout, name, rest)
    }

    /// The layout, and the word.
    pub(super) fn cpuid(&self, name: &Name) -> Outcome<(&'s Layout, Expr)> {
        let reported = self.lookup.spec.layouts.iter().filter(|layout| layout.cpuid.is_some());
        let Some(layout) = self.lookup.layouts.get(name.text.as_str()) else {
            return Err(unresolved("layout", name, reported.map(|layout| layout.head.name())));
        };
        let Some(place) = layout.cpuid else {
            let message = format!("`{}` does not say where CPUID reports it", name.text);
            let problem = Problem::new(name.range.clone(), message);
            let problem = problem.help("give it `cpuid = { leaf = 7, subleaf = 1, register = \"eax\" }`");
            return Err(problem.related(layout.head.name.span, "the layout is here"));
        };
        Ok((layout, Expr::Cpuid(Register { leaf: place.leaf, subleaf: place.subleaf, register: place.register })))
    }

    fn intercept(&self, name: &Name) -> Outcome<Value> {
        self.only(Vendor::Amd, name)?;
        let spec = self.lookup.spec;
        let named = || spec.intercepts.iter().filter(|row| row.reserved.is_none());
        let Some(row) = named().find(|row| row.head.name() == name.text) else {
            return Err(unresolved("intercept", name, named().map(|row| row.head.name())));
        };
        let word = spec.words.iter().find(|word| word.number.value == row.word.value);
        let member = word.and_then(|word| self.lookup.members.get(&(Area::Control, word.member.value.as_str())));
        let Some(member) = member else {
            return Err(Problem::new(name.range.clone(), format!("no member holds `{}`", name.text)));
        };
        let (place, _) = member_place(member, name)?;
        Ok(Value::new(Expr::Bit(Box::new(Expr::Read(place)), row.bits.low), Ty::Bit))
    }

    fn entry(&self, part: &Name) -> Outcome<Value> {
        let (expr, width) = match part.text.as_str() {
            "index" => (EntryPart::Index, 32),
            "reserved" => (EntryPart::Reserved, 32),
            "value" => (EntryPart::Value, 64),
            _ => return Err(unresolved("part of an entry", part, ["index", "reserved", "value"].into_iter())),
        };
        if !self.entries {
            let problem = Problem::new(part.range.clone(), format!("`entry.{}` is of an MSR area", part.text));
            return Err(problem.help("a `[[check]]` with `entries` has it; a `[[define]]` never"));
        }
        Ok(Value::new(Expr::Entry(expr), Ty::Number { width, of: None }))
    }

    fn definition(&self, name: &Name) -> Outcome<Value> {
        if let Some(known) = self.known.get(&name.text) {
            self.used.borrow_mut().insert(known.index);
            let Some(ty) = &known.ty else {
                // Its own mistake has been told.
                return Err(Problem::new(name.range.clone(), ""));
            };
            return Ok(match known.constant {
                Some(number) => Value::constant(number, None),
                None => Value::new(Expr::Define(known.index), ty.clone()),
            });
        }
        if let Some(span) = self.later.get(&name.text) {
            let problem = Problem::new(name.range.clone(), format!("`{}` is not defined yet", name.text));
            return Err(problem.help("a definition stands before what uses it").related(*span, "it is here"));
        }
        let names = self.known.keys().map(String::as_str).chain(HEADS.iter().copied());
        let problem = unresolved("definition", name, names);
        let field = name.text.to_ascii_uppercase();
        Err(match self.lookup.fields.contains_key(field.as_str()) && self.lookup.vendor == Vendor::Intel {
            true => problem.help(format!("there is the field `{field}`")),
            false => problem,
        })
    }

    /// What only one vendor has.
    fn only(&self, vendor: Vendor, name: &Name) -> Outcome<()> {
        if self.lookup.vendor == vendor {
            return Ok(());
        }
        let what = if vendor == Vendor::Intel { "VMX" } else { "SVM" };
        Err(Problem::new(name.range.clone(), format!("`{}` is a name of {what}", name.text)))
    }

    /// The bits of a field or member.
    pub(super) fn bits_of_path(&self, path: &[Name]) -> Outcome<(Place, Option<Word<'s>>)> {
        let (place, ty) = match path {
            [area, name] if matches!(area.text.as_str(), "save" | "control") => {
                let member = self.member(area, name)?;
                (member_place(member, name)?.0, self.lookup.type_of_member(member))
            }
            [name] => {
                let field = self.field(name)?;
                (field_place(field), field.ty.as_ref().map(|ty| ty.value.as_str()))
            }
            _ => {
                let range = path[0].range.start..path[path.len() - 1].range.end;
                return Err(Problem::new(range, "not a whole field"));
            }
        };
        Ok((place, ty.and_then(|ty| self.lookup.spec.word(ty))))
    }
}

pub(super) fn field_place(field: &Field) -> Place {
    Place {
        name: field.head.name().to_owned(),
        number: u32::try_from(field.encoding.value).unwrap_or(u32::MAX),
        bytes: field.width.value.bits() / 8,
    }
}

/// The place and the width.
fn member_place(member: &Member, name: &Name) -> Outcome<(Place, u32)> {
    let bytes = match member.size.value {
        1 => 1,
        2 => 2,
        4 => 4,
        8 => 8,
        size => {
            let message = format!("`{}` has {size} bytes, and is no number", member.head.name());
            let problem = Problem::new(name.range.clone(), message);
            return Err(problem.related(member.size.span, "its size is here"));
        }
    };
    let number = u32::try_from(member.area.base() + member.offset.value).unwrap_or(u32::MAX);
    let name = format!("{}.{}", member.area.name(), member.head.name());
    Ok((Place { name, number, bytes }, bytes * 8))
}

/// "there is no VMCS field `X`", with the nearest name that there is.
pub(super) fn unresolved<'n>(what: &str, wrong: &Name, names: impl Iterator<Item = &'n str>) -> Problem {
    suggest(Problem::new(wrong.range.clone(), format!("there is no {what} `{}`", wrong.text)), wrong, names)
}

/// "`PrimaryControls` has no bit `X`", with the nearest name that it has.
fn lacking<'n>(of: &str, wrong: &Name, names: impl Iterator<Item = &'n str>) -> Problem {
    suggest(Problem::new(wrong.range.clone(), format!("`{of}` has no bit `{}`", wrong.text)), wrong, names)
}

pub(super) fn suggest<'n>(problem: Problem, wrong: &Name, names: impl Iterator<Item = &'n str>) -> Problem {
    // Hash maps have no order; the message has to be the same each time.
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    match nearest(&wrong.text, names.into_iter()) {
        Some(name) => problem.help(format!("there is `{name}`")),
        None => problem,
    }
}
