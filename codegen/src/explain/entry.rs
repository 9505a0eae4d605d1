//! Rows of any table, seen alike.

use crate::emit::member_name;
use crate::expression::Rule;
use crate::model::{
    Area, CLEAN_TYPE, Cite, Clean, Control, ControlBit, Enum, EnumValue, Exit, ExitMap, Field, Head, Information,
    InstructionError, Intercept, InterceptWord, Layout, LayoutField, Manual, Member, ModuleId, Msr, Span, Spec,
    StateMap, Types, Vendor,
};

use super::Kind;

/// A row of any table, or a part of one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry<'s> {
    Field(&'s Field),
    Control(&'s Control),
    ControlBit(&'s Control, &'s ControlBit),
    VmxExit(&'s Exit),
    SvmExit(&'s Exit),
    Error(&'s InstructionError),
    Layout(&'s Layout),
    LayoutField(&'s Layout, &'s LayoutField),
    Enum(&'s Enum),
    EnumValue(&'s Enum, &'s EnumValue),
    Msr(&'s Msr),
    Member(&'s Member),
    MemberBit(&'s Member, &'s LayoutField),
    Word(&'s InterceptWord),
    Intercept(&'s InterceptWord, &'s Intercept),
    Clean(&'s Clean),
    Manual(&'s Manual),
    ExitMap(&'s ExitMap),
    StateMap(&'s StateMap),
    Check(Vendor, &'s Rule),
}

use Entry::*;

/// Every row and every part of one, in the order of the tables.
pub(super) fn all(spec: &Spec) -> Vec<Entry<'_>> {
    let mut all: Vec<_> = spec.fields.iter().map(Field).collect();
    for control in &spec.controls {
        all.push(Control(control));
        all.extend(control.bits.iter().map(|bit| ControlBit(control, bit)));
    }
    all.extend(spec.exits.iter().map(|exit| match exit.information {
        Information::Vmx(_) => VmxExit(exit),
        Information::Svm(_) => SvmExit(exit),
    }));
    all.extend(spec.instruction_errors.iter().map(Error));
    for member in &spec.members {
        all.push(Member(member));
        all.extend(member.bits.iter().map(|bit| MemberBit(member, bit)));
    }
    all.extend(spec.clean.iter().map(Clean));
    for word in &spec.words {
        all.push(Word(word));
        let bits = spec.intercepts.iter().filter(|bit| bit.word.value == word.number.value);
        all.extend(bits.map(|bit| Intercept(word, bit)));
    }
    all.extend(spec.msrs.iter().map(Msr));
    for layout in &spec.layouts {
        all.push(Layout(layout));
        all.extend(layout.fields.iter().map(|field| LayoutField(layout, field)));
    }
    for table in &spec.enums {
        all.push(Enum(table));
        all.extend(table.values.iter().map(|value| EnumValue(table, value)));
    }
    all.extend(spec.exit_map.iter().map(ExitMap));
    all.extend(spec.state_map.iter().map(StateMap));
    for vendor in [Vendor::Intel, Vendor::Amd] {
        all.extend(spec.rules(vendor).rules.iter().map(|rule| Check(vendor, rule)));
    }
    all.extend(spec.manuals.iter().map(Manual));
    all
}

impl<'s> Entry<'s> {
    /// The table.
    pub fn kind(self) -> Kind {
        match self {
            Field(_) => Kind::Vmcs,
            Control(_) | ControlBit(..) => Kind::Control,
            VmxExit(_) => Kind::Exit,
            SvmExit(_) => Kind::SvmExit,
            Error(_) => Kind::Error,
            Layout(_) | LayoutField(..) => Kind::Layout,
            Enum(_) | EnumValue(..) => Kind::Enum,
            Msr(_) => Kind::Msr,
            Member(member) | MemberBit(member, _) if member.area == Area::Vmsa => Kind::Vmsa,
            Member(_) | MemberBit(..) => Kind::Vmcb,
            Word(_) | Intercept(..) => Kind::Intercept,
            Clean(_) => Kind::Clean,
            Manual(_) => Kind::Manual,
            ExitMap(_) | StateMap(_) => Kind::Map,
            Check(..) => Kind::Check,
        }
    }

    /// What it is, in words.
    pub fn what(self) -> &'static str {
        match self {
            Field(_) => "VMCS field",
            Control(_) => "word of VMX controls",
            ControlBit(..) => "VMX control",
            VmxExit(_) => "basic exit reason of VMX",
            SvmExit(_) => "exit code of SVM",
            Error(_) => "VM-instruction error of VMX",
            Layout(_) => "word with bits",
            LayoutField(_, field) | MemberBit(_, field) if field.bits.high > field.bits.low => "bits of a word",
            LayoutField(..) | MemberBit(..) => "bit of a word",
            Enum(_) => "enumeration",
            EnumValue(..) => "value of an enumeration",
            Msr(_) => "model-specific register",
            Member(member) if member.area == Area::Vmsa => "member of the VMSA",
            Member(_) => "member of the VMCB",
            Word(_) => "intercept word of the VMCB",
            Intercept(..) => "intercept of SVM",
            Clean(_) => "clean-bit group of the VMCB",
            Manual(_) => "document",
            ExitMap(_) => "exits of both vendors that correspond",
            StateMap(_) => "guest state of both vendors that corresponds",
            Check(Vendor::Amd, _) => "entry check of SVM",
            Check(..) => "entry check of VMX",
        }
    }

    /// What every row of the tables has that a manual is cited for.
    pub fn head(self) -> Option<&'s Head> {
        Some(match self {
            Field(row) => &row.head,
            Control(row) => &row.head,
            ControlBit(_, row) => &row.head,
            VmxExit(row) | SvmExit(row) => &row.head,
            Error(row) => &row.head,
            Layout(row) => &row.head,
            LayoutField(_, row) | MemberBit(_, row) => &row.head,
            Enum(row) => &row.head,
            EnumValue(_, row) => &row.head,
            Msr(row) => &row.head,
            Member(row) => &row.head,
            Word(row) => &row.head,
            Intercept(_, row) => &row.head,
            Clean(row) => &row.head,
            Manual(_) | ExitMap(_) | StateMap(_) | Check(..) => return None,
        })
    }

    /// Our name, or the id of a document.
    pub fn name(self) -> &'s str {
        match self {
            Manual(row) => &row.id.value,
            ExitMap(row) => &row.name.value,
            StateMap(row) => &row.name.value,
            Check(_, rule) => &rule.name,
            _ => self.head().map_or("", Head::name),
        }
    }

    /// The name in the manual; of a document its title.
    pub fn manual_name(self) -> &'s str {
        match self {
            Manual(row) => &row.title,
            _ => self.head().map_or("", |head| &head.manual_name),
        }
    }

    /// Where a manual says so.
    pub fn cite(self) -> Option<&'s Cite> {
        match self {
            Check(_, rule) => Some(&rule.cite),
            _ => self.head().map(|head| &head.cite),
        }
    }

    /// The place of its name.
    pub fn span(self) -> Span {
        match self {
            Manual(row) => row.id.span,
            ExitMap(row) => row.name.span,
            StateMap(row) => row.name.span,
            Check(_, rule) => rule.span,
            _ => self.head().map_or_else(Span::default, |head| head.name.span),
        }
    }

    /// The file of the row.
    pub fn module(self) -> Option<ModuleId> {
        Some(match self {
            Field(row) => row.module,
            Control(row) | ControlBit(row, _) => row.module,
            VmxExit(row) | SvmExit(row) => row.module,
            Error(row) => row.module,
            Layout(row) | LayoutField(row, _) => row.module,
            Enum(row) | EnumValue(row, _) => row.module,
            Msr(row) => row.module,
            Member(row) | MemberBit(row, _) => row.module,
            Word(row) => row.module,
            Intercept(_, row) => row.module,
            Clean(row) => row.module,
            // Those that come from control bits have no row of their own.
            Manual(_) | ExitMap(_) | StateMap(_) | Check(..) => return None,
        })
    }

    /// Whether no one can ask for it by name: reserved bits and bytes.
    pub fn is_reserved(self) -> bool {
        match self {
            ControlBit(_, row) => row.reserved.is_some(),
            LayoutField(_, row) | MemberBit(_, row) => row.reserved.is_some(),
            Member(row) => row.reserved.is_some(),
            Intercept(_, row) => row.reserved.is_some(),
            Clean(row) => row.reserved.is_some(),
            _ => false,
        }
    }

    /// Names of what it is a part of, the shortest that will do first.
    pub fn parents(self, spec: &Spec) -> Vec<String> {
        let mut parents = match self {
            ControlBit(control, _) => {
                vec![control.id.value.name().to_owned(), control.head.name().to_owned(), "conditions".to_owned()]
            }
            VmxExit(_) => vec!["ExitReason".to_owned()],
            SvmExit(_) => vec!["ExitCode".to_owned()],
            Error(_) => vec!["InstructionError".to_owned()],
            LayoutField(layout, _) => vec![layout.head.name().to_owned(), layout.head.manual_name.clone()],
            EnumValue(table, _) => vec![table.head.name().to_owned(), table.head.manual_name.clone()],
            Member(member) => vec![member.area.name().to_owned(), structure(member).to_owned()],
            MemberBit(member, _) => {
                let ty = Types::of_member(spec, member).map(str::to_owned);
                [member.head.name().to_owned()].into_iter().chain(ty).collect()
            }
            Intercept(word, _) => {
                vec![word.head.name().to_owned(), word.member.value.clone(), word.number.value.to_string()]
            }
            Clean(_) => vec![CLEAN_TYPE.to_owned(), "clean".to_owned()],
            Check(vendor, _) => vec!["entry_checks".to_owned(), vendor.name().to_owned()],
            _ => Vec::new(),
        };
        if let Some(module) = self.module().map(|id| spec.module(id)) {
            parents.extend([module.name.clone(), module.vendor.name().to_owned()]);
        }
        parents
    }

    /// The name with what it takes to tell it from others: `secondary.ENABLE_EPT`.
    pub fn qualified(self, spec: &Spec) -> String {
        match self {
            ControlBit(..) | LayoutField(..) | EnumValue(..) | Member(_) | MemberBit(..) | Intercept(..) | Clean(_) => {
                format!("{}.{}", self.parents(spec)[0], self.name())
            }
            _ => self.name().to_owned(),
        }
    }

    /// The numbers that it can be found by.
    pub fn numbers(self) -> Vec<i128> {
        match self {
            Field(row) => vec![row.encoding.value.into()],
            VmxExit(row) => vec![row.number.value.into()],
            // As written, and as 64 bits.
            SvmExit(row) => vec![row.number.value.into(), row.number.value.cast_unsigned().into()],
            Error(row) => vec![row.number.value.into()],
            Msr(row) => vec![row.address.value.into()],
            // From the start of the area, and from that of the VMCB.
            Member(row) => {
                let (offset, base) = (i128::from(row.offset.value), i128::from(row.area.base()));
                if base == 0 { vec![offset] } else { vec![offset, base + offset] }
            }
            _ => Vec::new(),
        }
    }

    /// In one line: what it is, its number and the manual's name for it.
    pub fn summary(self, spec: &Spec) -> String {
        let number = match self {
            SvmExit(row) => format!(" {}", super::number::code(row.number.value)),
            VmxExit(_) | Error(_) => format!(" {}", self.numbers()[0]),
            _ => match self.numbers().first() {
                Some(number) => format!(" {number:#x}"),
                None => String::new(),
            },
        };
        let manual_name = self.manual_name();
        let manual_name = if manual_name.is_empty() { String::new() } else { format!(", {manual_name}") };
        format!("{}: {}{number}{manual_name}", self.qualified(spec), self.what())
    }

    /// Its path in Rust, below the crate.
    pub fn rust_path(self, spec: &Spec) -> Option<String> {
        if self.is_reserved() {
            return None;
        }
        if let Check(vendor, rule) = self {
            return Some(format!("x86_vcpu::spec::{}::entry_checks::{}", vendor.name(), rule.name));
        }
        let module = spec.module(self.module()?);
        let module = format!("{}::{}", module.vendor.name(), module.name);
        let part = |word: &str, field: &LayoutField| {
            let name = field.head.name();
            if field.is_flag() { format!("{word}::{name}") } else { format!("{word}::{}", name.to_ascii_lowercase()) }
        };
        let item = match self {
            Field(_) | Control(_) | Layout(_) | Enum(_) | Msr(_) | Word(_) => self.name().to_owned(),
            ControlBit(control, _) => format!("{}::{}", control.head.name(), self.name()),
            VmxExit(_) => format!("ExitReason::{}", self.name()),
            SvmExit(_) => format!("ExitCode::{}", self.name()),
            Error(_) => format!("InstructionError::{}", self.name()),
            LayoutField(layout, field) => part(layout.head.name(), field),
            EnumValue(table, _) => format!("{}::{}", table.head.name(), self.name()),
            Member(member) => format!("{}::{}", structure(member), member_name(spec, member)),
            MemberBit(member, field) => part(Types::of_member(spec, member)?, field),
            Intercept(word, _) => format!("{}::{}", word.head.name(), self.name()),
            Clean(_) => format!("{CLEAN_TYPE}::{}", self.name()),
            Manual(_) | ExitMap(_) | StateMap(_) | Check(..) => return None,
        };
        Some(format!("x86_vcpu::spec::{module}::{item}"))
    }
}

/// The structure that a member belongs to.
pub(super) fn structure(member: &Member) -> &'static str {
    if member.area == Area::Vmsa { "Vmsa" } else { "Vmcb" }
}
