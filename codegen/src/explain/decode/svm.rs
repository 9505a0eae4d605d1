//! `decode svm-exit` and `decode intercept`.

use crate::model::{Area, Exit, Information, Spanned};

use super::super::entry::Entry;
use super::super::facts;
use super::super::number::{bits, code};
use super::super::page::{Cell, Ink, Page};
use super::super::types::shape;
use super::super::{Explainer, Kind, Result, Unknown, find, number, words};

/// What the VMCB holds after #VMEXIT.
#[derive(Clone, Copy, Debug, Default)]
pub struct SvmExit {
    /// EXITCODE.
    pub code: i128,
    /// EXITINFO1.
    pub info1: Option<i128>,
    /// EXITINFO2.
    pub info2: Option<i128>,
    /// EXITINTINFO.
    pub interruption_info: Option<i128>,
}

impl Explainer<'_> {
    /// The exit and its information by the types that belong to it.
    pub fn svm_exit(&self, given: &SvmExit) -> Result<Page> {
        // Codes with the top bits set are negative numbers in the tables, and are printed either way.
        let code_64 = bits(given.code).cast_signed();
        let of_kind = find::of_kind(self.spec, Some(Kind::SvmExit));
        let found = of_kind.into_iter().find_map(|entry| match entry {
            Entry::SvmExit(exit) if exit.number.value == code_64 => Some(exit),
            _ => None,
        });
        let Some(exit) = found else {
            let what = "no table lists the exit code";
            return Err(find::no_number(self.spec, code_64.into(), Some(Kind::SvmExit), what));
        };
        let mut page = Page::default();
        page.title(exit.head.name(), format!("exit code {}, {}", code(exit.number.value), exit.head.manual_name));
        let Information::Svm(information) = &exit.information else { return Ok(page) };
        let mut list: Vec<_> = exit.head.note.iter().map(|note| ("note", Cell::from(note.as_str()))).collect();
        for (what, ty, given) in
            [("EXITINFO1", &information.exit_info1, given.info1), ("EXITINFO2", &information.exit_info2, given.info2)]
        {
            let ty = ty.as_ref().filter(|_| given.is_none());
            list.extend(ty.map(|ty| ("has", format!("{what}: {}", ty.value).into())));
        }
        if let Some(bit) = &information.info_if {
            let text = format!("EXITINFO1 and 2 are defined where CPUID reports {bit}{}", facts::cpuid(self.spec, bit));
            list.push(("only where", text.into()));
        }
        page.facts(list);
        self.info(&mut page, exit, "EXITINFO1", &information.exit_info1, given.info1)?;
        self.info(&mut page, exit, "EXITINFO2", &information.exit_info2, given.info2)?;
        if let Some(value) = given.interruption_info {
            let is_this = |name: &str| self.spec.members_of(Area::Control).find(|member| member.head.name() == name);
            let member = is_this("EXITINTINFO").or_else(|| is_this("EXIT_INT_INFO"));
            let ty = member.and_then(|member| crate::model::Types::of_member(self.spec, member)).unwrap_or("u64");
            self.part(&mut page, "EXITINTINFO", ty, bits(value))?;
        }
        let mut known = Vec::new();
        known.extend(information.next_rip.as_ref().map(|valid| vec!["nRIP".into(), valid.value.name().into()]));
        known.extend(
            information
                .instruction_bytes
                .as_ref()
                .map(|valid| vec!["instruction bytes".into(), valid.value.name().into()]),
        );
        if !known.is_empty() {
            page.heading("also known on this exit");
            page.rows(known);
        }
        Ok(page)
    }

    fn info(
        &self,
        page: &mut Page,
        exit: &Exit,
        what: &'static str,
        ty: &Option<Spanned<String>>,
        given: Option<i128>,
    ) -> Result<()> {
        match (ty, given) {
            (Some(ty), Some(value)) => self.part(page, what, &ty.value, bits(value)),
            (None, Some(value)) => {
                page.title(format!("{:#x}", bits(value)), what);
                let text = format!("the tables say that {what} is undefined on {}", exit.head.name());
                page.line(Cell::new(Ink::Wrong, text));
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }

    /// The intercepts of a word that are on. The word is a number, the name of its type or that of the member.
    pub fn intercept(&self, word: &str, value: i128) -> Result<Page> {
        let (number, wanted) = (number::parse(word), find::squash(word));
        let found = self.spec.words.iter().find(|row| {
            number == Some(row.number.value.into())
                || [row.head.name(), &row.member.value, &row.head.manual_name]
                    .iter()
                    .any(|name| find::squash(name) == wanted)
        });
        let Some(row) = found else {
            let candidates = self
                .spec
                .words
                .iter()
                .map(|row| format!("{}: {}, {}", row.number.value, row.head.name(), row.member.value));
            return Err(Unknown {
                message: format!("there is no intercept word `{word}`"),
                candidates: candidates.collect(),
            });
        };
        let mut page = Page::default();
        let value = bits(value);
        page.title(
            format!("{} = {value:#x}", row.head.name()),
            format!("intercept word {}, {}", row.number.value, row.head.manual_name),
        );
        if let Some(shape) = shape(self.spec, row.head.name()) {
            words::decode(self.spec, &mut page, &shape, value)?;
        }
        Ok(page)
    }
}
