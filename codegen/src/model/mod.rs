//! The tables, typed; every value that a mistake may be about knows where it stands.

mod amd;
mod checks;
mod exits;
mod intel;
mod map;
mod msr_policy;
mod registry;
mod row;
mod source;
mod types;
mod vendor;
mod words;

use std::sync::OnceLock;

use crate::expression::Rules;

pub use amd::{Area, Clean, Intercept, InterceptWord, Member};
pub use checks::{Define, Each, EntryCheck, Phase, Severity};
pub use exits::{Exit, Information, SvmInformation, Valid, VmxInformation};
pub(crate) use intel::camel;
pub use intel::{
    Access, BitRef, Condition, Control, ControlBit, ControlWord, Field, Group, InstructionError, LayoutBit, Term, Width,
};
pub use map::{ExitMap, MemberRef, StateMap};
pub use msr_policy::{ALL_BITS, AT_BIND, MsrAnswer, MsrBitmap, MsrPolicy, SvmPlace};
pub use registry::{CLEAN_MEMBER, CLEAN_TYPE, Type, Types};
pub use row::{Cite, Confirmed, Excuse, Head, Manual};
pub use source::{FileId, Sources, Span, Spanned};
pub use types::{BitRange, CpuidPlace, CpuidRegister, Enum, EnumValue, Layout, LayoutField, Msr};
pub use vendor::{Module, ModuleId, Vendor};
#[cfg(feature = "cli")]
pub(crate) use words::Part;
pub(crate) use words::Word;

/// All tables of a spec directory, each in the order of the files and of the rows in them.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// The texts.
    pub sources: Sources,
    /// One per file, `manuals.toml` apart, sorted.
    pub modules: Vec<Module>,
    /// `[[manual]]`
    pub manuals: Vec<Manual>,
    /// `[[field]]`: the VMCS.
    pub fields: Vec<Field>,
    /// `[[control]]`
    pub controls: Vec<Control>,
    /// `[[exit]]` of both vendors; the module says which.
    pub exits: Vec<Exit>,
    /// `[[instruction_error]]`
    pub instruction_errors: Vec<InstructionError>,
    /// `[[layout]]`
    pub layouts: Vec<Layout>,
    /// `[[enum]]`
    pub enums: Vec<Enum>,
    /// `[[msr]]`
    pub msrs: Vec<Msr>,
    /// `[[msr_bitmap]]`
    pub msr_bitmaps: Vec<MsrBitmap>,
    /// `[[msr_policy]]`
    pub msr_policy: Vec<MsrPolicy>,
    /// `[[clean]]`
    pub clean: Vec<Clean>,
    /// `[[member]]` of the VMCB and of the VMSA.
    pub members: Vec<Member>,
    /// `[[word]]`
    pub words: Vec<InterceptWord>,
    /// `[[intercept]]`
    pub intercepts: Vec<Intercept>,
    /// `[[exit_map]]`
    pub exit_map: Vec<ExitMap>,
    /// `[[state_map]]`
    pub state_map: Vec<StateMap>,
    /// `[[define]]` of both vendors; the module says whose.
    pub defines: Vec<Define>,
    /// `[[check]]` of both vendors.
    pub entry_checks: Vec<EntryCheck>,
    /// The last two as rules, of Intel and of AMD; made when they are first asked for.
    pub(crate) rules: [OnceLock<Rules>; 2],
}

impl Spec {
    /// The module with this id.
    pub fn module(&self, id: ModuleId) -> &Module {
        &self.modules[id.0]
    }

    /// The vendor of the module with this id.
    pub fn vendor(&self, id: ModuleId) -> Vendor {
        self.module(id).vendor
    }

    /// The manual that a citation means.
    pub fn manual(&self, id: &str) -> Option<&Manual> {
        self.manuals.iter().find(|manual| manual.id.value == id)
    }

    /// What every row and every part of one has, parts right after their row.
    pub fn heads(&self) -> Vec<&Head> {
        let mut all: Vec<&Head> = Vec::new();
        all.extend(self.fields.iter().map(|row| &row.head));
        for row in &self.controls {
            all.extend([&row.head].into_iter().chain(row.bits.iter().map(|bit| &bit.head)));
        }
        all.extend(self.exits.iter().map(|row| &row.head));
        all.extend(self.instruction_errors.iter().map(|row| &row.head));
        for row in &self.layouts {
            all.extend([&row.head].into_iter().chain(row.fields.iter().map(|field| &field.head)));
        }
        for row in &self.enums {
            all.extend([&row.head].into_iter().chain(row.values.iter().map(|value| &value.head)));
        }
        all.extend(self.msrs.iter().map(|row| &row.head));
        all.extend(self.msr_bitmaps.iter().map(|row| &row.head));
        all.extend(self.clean.iter().map(|row| &row.head));
        for row in &self.members {
            all.extend([&row.head].into_iter().chain(row.bits.iter().map(|bit| &bit.head)));
        }
        all.extend(self.words.iter().map(|row| &row.head));
        all.extend(self.intercepts.iter().map(|row| &row.head));
        all.extend(self.entry_checks.iter().map(|row| &row.head));
        all
    }

    /// The entry checks of one vendor as rules that can be judged; none of [`Vendor::X86`]. They are made once: rows that
    /// are changed afterwards do not count.
    pub fn rules(&self, vendor: Vendor) -> &Rules {
        let slot = if vendor == Vendor::Intel { &self.rules[0] } else { &self.rules[1] };
        slot.get_or_init(|| Rules::of(self, if vendor == Vendor::Intel { vendor } else { Vendor::Amd }))
    }

    /// The entry checks of one vendor.
    pub fn entry_checks_of(&self, vendor: Vendor) -> impl Iterator<Item = &EntryCheck> {
        self.entry_checks.iter().filter(move |check| self.vendor(check.module) == vendor)
    }

    /// The layout with this name.
    pub fn layout(&self, name: &str) -> Option<&Layout> {
        self.layouts.iter().find(|layout| layout.head.name() == name)
    }

    /// The control word with this id.
    pub fn control(&self, id: ControlWord) -> Option<&Control> {
        self.controls.iter().find(|control| control.id.value == id)
    }

    /// The exits of one vendor.
    pub fn exits_of(&self, vendor: Vendor) -> impl Iterator<Item = &Exit> {
        self.exits.iter().filter(move |exit| self.vendor(exit.module) == vendor)
    }

    /// The members of one area.
    pub fn members_of(&self, area: Area) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.area == area)
    }

    /// The conditions under which some field exists, each once, sorted by the name of its type.
    pub fn conditions(&self) -> Vec<&Condition> {
        let mut all: Vec<_> =
            self.fields.iter().filter_map(|field| field.exists_if.as_ref()).map(|c| &c.value).collect();
        all.sort_by_key(|condition| (condition.type_name(), condition.to_string()));
        all.dedup_by_key(|condition| condition.to_string());
        all
    }
}
