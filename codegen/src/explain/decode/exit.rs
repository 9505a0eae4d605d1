//! `decode exit`: the exit reason of VMX with the information fields that go with it.

use crate::model::{Exit, Information, Spanned, Valid, Vendor};

use super::super::number::{bits, both};
use super::super::page::{Cell, Ink, Page};
use super::super::types::shape;
use super::super::{Explainer, Kind, Result, Unknown, find};

/// What VMREAD gave of an exit.
#[derive(Clone, Copy, Debug, Default)]
pub struct VmxExit {
    /// The exit reason, with its flags or without.
    pub reason: i128,
    /// The exit qualification.
    pub qualification: Option<i128>,
    /// The VM-exit instruction information.
    pub instruction_info: Option<i128>,
    /// The VM-exit interruption information.
    pub interruption_info: Option<i128>,
    /// The IDT-vectoring information.
    pub idt_vectoring: Option<i128>,
}

/// The bits of the exit reason that are the basic exit reason.
const BASIC: u64 = 0xffff;

impl Explainer<'_> {
    /// The flags of an exit reason, the exit, and its information by the types that belong to it.
    pub fn vmx_exit(&self, given: &VmxExit) -> Result<Page> {
        let word = self.within("an exit reason", given.reason, u32::MAX.into())?;
        let basic = word & BASIC;
        let exit = self.spec.exits_of(Vendor::Intel).find(|exit| u64::try_from(exit.number.value) == Ok(basic));
        let Some(exit) = exit else {
            let what = "no table lists the basic exit reason";
            return Err(find::no_number(self.spec, basic.into(), Some(Kind::Exit), what));
        };
        let mut page = Page::default();
        page.title(exit.head.name(), format!("basic exit reason {basic}, {}", exit.head.manual_name));
        let mut facts: Vec<_> = exit.head.note.iter().map(|note| ("note", Cell::from(note.as_str()))).collect();
        if let Information::Vmx(information) = &exit.information {
            let not_given = [
                ("exit qualification", &information.qualification, given.qualification),
                ("VM-exit instruction information", &information.instruction_information, given.instruction_info),
            ];
            for (what, ty, _) in not_given.iter().filter(|(_, _, given)| given.is_none()) {
                facts.extend(ty.as_ref().map(|ty| ("has", format!("{what}: {}", ty.value).into())));
            }
        }
        page.facts(facts);
        if word > BASIC {
            let ty = self.type_of_field("EXIT_REASON");
            match ty.filter(|ty| shape(self.spec, ty).is_some()) {
                Some(ty) => self.part(&mut page, "the exit reason", ty, word)?,
                None => {
                    page.line(Cell::new(Ink::Wrong, format!("bits above the basic exit reason: {:#x}", word - basic)))
                }
            }
        }
        let Information::Vmx(information) = &exit.information else { return Ok(page) };
        let of_field = |valid: &Option<Spanned<Valid>>, field| {
            valid.as_ref().map(|valid| (self.type_of_field(field).unwrap_or("u32"), valid.value))
        };
        self.information(
            &mut page,
            exit,
            "exit qualification",
            typed(&information.qualification),
            given.qualification,
        )?;
        self.information(
            &mut page,
            exit,
            "VM-exit instruction information",
            typed(&information.instruction_information),
            given.instruction_info,
        )?;
        self.information(
            &mut page,
            exit,
            "VM-exit interruption information",
            of_field(&information.interruption_information, "VM_EXIT_INTERRUPTION_INFORMATION"),
            given.interruption_info,
        )?;
        self.information(
            &mut page,
            exit,
            "IDT-vectoring information",
            of_field(&information.idt_vectoring, "IDT_VECTORING_INFORMATION"),
            given.idt_vectoring,
        )?;
        let valid: Vec<_> =
            information.flags().into_iter().filter_map(|(key, _, valid)| Some((key, valid?.value))).collect();
        if !valid.is_empty() {
            page.heading("also known on this exit");
            page.rows(valid.into_iter().map(|(key, valid)| vec![key.replace('_', " ").into(), valid.name().into()]));
        }
        Ok(page)
    }

    /// One information field, when it was given; that there is none of it, when it is not valid on this exit.
    fn information(
        &self,
        page: &mut Page,
        exit: &Exit,
        what: &str,
        ty: Option<(&str, Valid)>,
        given: Option<i128>,
    ) -> Result<()> {
        let Some(value) = given.map(bits) else { return Ok(()) };
        match ty {
            Some((ty, valid)) => {
                self.part(page, what, ty, value)?;
                if valid == Valid::Conditional {
                    page.line(Cell::new(Ink::Faint, "Valid on some of these exits only, as its bits or the note say."));
                }
            }
            None => {
                page.title(format!("{value:#x}"), what);
                let text = format!("the tables say that {} has no {what}: undefined or 0", exit.head.name());
                page.line(Cell::new(Ink::Wrong, text));
            }
        }
        Ok(())
    }

    /// The type of a VMCS field.
    fn type_of_field(&self, name: &str) -> Option<&str> {
        let field = self.spec.fields.iter().find(|field| field.head.name() == name)?;
        field.ty.as_ref().map(|ty| ty.value.as_str())
    }

    /// The exit whose number, or whose name, was given.
    pub fn vmx_exit_number(&self, text: &str) -> Result<i128> {
        self.numbered_or_named(text, Kind::Exit)
    }

    /// The exit code whose number, or whose name, was given.
    pub fn svm_exit_number(&self, text: &str) -> Result<i128> {
        self.numbered_or_named(text, Kind::SvmExit)
    }

    /// A number, or the number of what has that name.
    pub(super) fn numbered_or_named(&self, text: &str, kind: Kind) -> Result<i128> {
        if let Some(number) = super::super::number::parse(text) {
            return Ok(number);
        }
        let numbers: Vec<_> = find::named(self.spec, text, Some(kind))
            .into_iter()
            .filter_map(|entry| entry.numbers().last().copied())
            .collect();
        match numbers.as_slice() {
            [number] => Ok(*number),
            [] => Err(find::no_name(self.spec, text, Some(kind))),
            _ => Err(Unknown {
                message: format!("`{text}` means several things"),
                candidates: numbers
                    .iter()
                    .map(|number| u64::try_from(*number).map_or_else(|_| number.to_string(), both))
                    .collect(),
            }),
        }
    }
}

/// A type that is there on every such exit.
fn typed(ty: &Option<Spanned<String>>) -> Option<(&str, Valid)> {
    ty.as_ref().map(|ty| (ty.value.as_str(), Valid::Always))
}
