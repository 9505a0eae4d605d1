//! What a number that hardware gave means, in words.

mod control;
mod exit;
mod msr;
mod svm;
mod vmcb;
mod vmcs;

pub use exit::VmxExit;
pub use svm::SvmExit;

use super::number::bits;
use super::page::Page;
use super::types::shape;
use super::{Explainer, Result, Unknown, words};

impl Explainer<'_> {
    /// The bits of any type, or of what has a type: a layout, an enumeration, a register, a field, a member.
    pub fn word(&self, name: &str, value: i128) -> Result<Page> {
        let ty = words::type_called(self.spec, name)?;
        self.typed(&ty, value)
    }

    /// A value of the type with this very name in one line; nothing for a plain number.
    pub fn in_words(&self, ty: &str, value: u64) -> Option<String> {
        shape(self.spec, ty).map(|shape| words::line(self.spec, &shape, value))
    }

    /// A VM-instruction error.
    pub fn error(&self, number: i128) -> Result<Page> {
        self.typed("InstructionError", number)
    }

    /// A value of the type with this very name; of a word of controls with what it wants of others.
    fn typed(&self, ty: &str, value: i128) -> Result<Page> {
        if let Some(control) = self.spec.controls.iter().find(|control| control.head.name() == ty) {
            return self.control_word(control, bits(value));
        }
        let mut page = Page::default();
        self.part(&mut page, "", ty, bits(value))?;
        Ok(page)
    }

    /// A value under a title that says what it is. A type that is none is a plain number.
    fn part(&self, page: &mut Page, what: &str, ty: &str, value: u64) -> Result<()> {
        let what = if what.is_empty() { String::new() } else { format!("{what}, ") };
        let Some(shape) = shape(self.spec, ty) else {
            page.title(format!("{value:#x}"), format!("{what}a number without parts ({value})"));
            return Ok(());
        };
        page.title(format!("{} = {value:#x}", shape.name), format!("{what}{}", shape.manual_name));
        words::decode(self.spec, page, &shape, value)
    }

    /// The error for a number that has to be without a sign and not above `max`.
    fn within(&self, what: &str, number: i128, max: u64) -> Result<u64> {
        match u64::try_from(number) {
            Ok(value) if value <= max => Ok(value),
            _ => Err(Unknown {
                message: format!("{what} is 0 to {max:#x}, not {number} ({:#x})", bits(number)),
                candidates: Vec::new(),
            }),
        }
    }
}
