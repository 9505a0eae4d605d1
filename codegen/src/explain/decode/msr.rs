//! `decode msr`: the value of a model-specific register.

use crate::model::{Control, Msr};

use super::super::facts::allowed_to_be_1;
use super::super::number::{bits, hex};
use super::super::page::{Cell, Ink, Page};
use super::super::types::{Content, Shape, shape};
use super::super::{Explainer, Kind, Result, entry::Entry, find, number};

impl Explainer<'_> {
    /// The bits of an MSR that is given by address or by name; of one that says which controls a CPU has, each of these.
    pub fn msr(&self, msr: &str, value: i128) -> Result<Page> {
        let (found, unknown) = match number::parse(msr) {
            Some(address) => (
                find::numbered(self.spec, address, Some(Kind::Msr)),
                find::no_number(self.spec, address, Some(Kind::Msr), "no table lists the MSR"),
            ),
            None => (find::named(self.spec, msr, Some(Kind::Msr)), find::no_name(self.spec, msr, Some(Kind::Msr))),
        };
        let rows: Vec<_> =
            found.into_iter().filter_map(|entry| if let Entry::Msr(row) = entry { Some(row) } else { None }).collect();
        if rows.is_empty() {
            return Err(unknown);
        }
        let mut page = Page::default();
        for row in rows {
            self.msr_row(&mut page, row, bits(value))?;
        }
        Ok(page)
    }

    fn msr_row(&self, page: &mut Page, row: &Msr, value: u64) -> Result<()> {
        let name = row.head.name();
        let control = self.spec.controls.iter().find(|word| {
            word.capability.value == name || word.true_capability.as_ref().is_some_and(|other| other.value == name)
        });
        page.title(format!("{name} = {value:#x}"), format!("MSR {}, {}", hex(row.address.value), row.head.manual_name));
        page.facts(row.head.note.iter().map(|note| ("note", note.as_str().into())));
        // Such an MSR says of each bit whether it may be 0, or 1: none of them is wrong.
        let fixed = fixed_bits_of(name).and_then(|register| shape(self.spec, &register));
        match (control, fixed, &row.layout) {
            (Some(control), _, _) => capability(page, control, value),
            (None, Some(register), _) => names(page, &register, value),
            (None, None, Some(layout)) => self.part(page, "", &layout.value, value)?,
            (None, None, None) => page.line("No table names its bits."),
        }
        Ok(())
    }
}

/// `Cr0` for `IA32_VMX_CR0_FIXED0`: the register whose bits such an MSR has.
fn fixed_bits_of(name: &str) -> Option<String> {
    let (register, _) = name.strip_prefix("IA32_VMX_CR")?.split_once("_FIXED")?;
    Some(format!("Cr{register}"))
}

/// The names of the bits of a register that are 1 and of those that are 0.
fn names(page: &mut Page, register: &Shape, value: u64) {
    let Content::Word(parts) = &register.content else { return };
    let named = |set: bool| {
        let of = parts.iter().filter(|part| part.reserved.is_none() && (part.of(value) != 0) == set);
        of.map(|part| part.head.name()).collect::<Vec<_>>().join(", ")
    };
    page.line(format!("The bits of {} that are", register.name));
    page.facts([("1:", Cell::new(Ink::Name, named(true))), ("0:", Cell::new(Ink::Name, named(false)))]);
}

/// Each control with what the CPU allows.
fn capability(page: &mut Page, control: &Control, value: u64) {
    let high = allowed_to_be_1(control);
    let one = |bit: u32| value.checked_shr(bit + high).unwrap_or(0) & 1 == 1;
    // An MSR of 64 controls says only which may be 1.
    let zero = |bit: u32| high == 0 || value.checked_shr(bit).unwrap_or(0) & 1 == 0;
    page.line(format!("What this CPU allows in {} ({}):", control.head.name(), control.head.manual_name));
    let mut rows = Vec::new();
    let mut known = 0;
    let mut bits: Vec<_> = control.bits.iter().collect();
    bits.sort_by_key(|bit| bit.bits.low);
    for row in bits {
        known |= row.bits.mask();
        for bit in row.bits.low..=row.bits.high.min(control.width - 1) {
            let Some(text) = allowance(one(bit), zero(bit), row.reserved) else { continue };
            rows.push(vec![
                bit.to_string().into(),
                Cell::new(if row.reserved.is_some() { Ink::Faint } else { Ink::Name }, row.head.name()),
                text,
                row.head.manual_name.as_str().into(),
            ]);
        }
    }
    for bit in (0..control.width).filter(|bit| known >> bit & 1 == 0) {
        if let Some(text) = allowance(one(bit), zero(bit), Some(0)) {
            rows.push(vec![
                bit.to_string().into(),
                Cell::new(Ink::Wrong, "-"),
                text,
                "no table says what this bit is".into(),
            ]);
        }
    }
    page.rows(rows);
}

/// What a CPU allows of a control. Nothing to say of a reserved one that is as its table says.
fn allowance(one: bool, zero: bool, reserved: Option<u64>) -> Option<Cell> {
    Some(match (one, zero, reserved) {
        (true, true, Some(_)) => Cell::new(Ink::Wrong, "may be 0 or 1, though reserved"),
        (false, true, Some(0)) | (true, false, Some(1)) => return None,
        (true, true, None) => "may be 0 or 1".into(),
        (true, false, _) => "must be 1".into(),
        (false, true, _) => Cell::new(Ink::Faint, "must be 0"),
        (false, false, _) => Cell::new(Ink::Wrong, "may be neither 0 nor 1"),
    })
}
