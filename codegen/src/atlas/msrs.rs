//! Model-specific registers.

use maud::{Markup, html};

use super::page::{Page, Section};
use super::table::{Filter, Row, filters, mono, name, table, text};
use super::text::hex;
use super::{Atlas, links};
use crate::model::{Msr, Vendor};

impl Atlas<'_> {
    pub fn msrs(&self) -> Page {
        let mut entries = Vec::new();
        let mut msrs: Vec<&Msr> = self.spec.msrs.iter().collect();
        // Stable: what shares an address stays in the order of the tables.
        msrs.sort_by_key(|msr| msr.address.value);
        let rows: Vec<_> = msrs
            .into_iter()
            .map(|msr| {
                let row = self.msr(msr);
                entries.push(self.found(
                    &row.id,
                    "MSR",
                    msr.head.name().to_owned(),
                    &msr.head,
                    Some(msr.address.value),
                ));
                row
            })
            .collect();
        let choices = [
            Filter::new("Table", "v", Vendor::ALL.map(|vendor| (vendor.name(), vendor.name())), &rows),
            Filter::new("Layout", "l", [("y", "with bits"), ("n", "without")], &rows),
            Filter::new("Reset value", "z", [("y", "given"), ("n", "not given")], &rows),
            Filter::checked(&rows),
        ];
        let columns = [mono("Address"), text("Name"), text("Table"), text("Bits"), mono("After RESET")];
        Page {
            file: links::MSRS.to_owned(),
            section: Section::Both,
            short: "MSRs".to_owned(),
            title: "Model-specific registers".to_owned(),
            lead: html! {
                "What goes into ECX for RDMSR and WRMSR, by address. The table tells where a register is from: what both vendors "
                "have, and what is architectural on Intel, is in " code { "x86" } "."
            },
            body: html! { (filters(&choices)) (table("Model-specific registers", &columns, &rows)) },
            entries,
        }
    }

    fn msr(&self, msr: &Msr) -> Row {
        let (head, vendor) = (&msr.head, self.spec.vendor(msr.module));
        let id = links::msr(vendor, head.name()).id;
        let reset_name = format!("{}_RESET", head.name());
        let mut facts = vec![(
            "Rust",
            html! {
                @let path = format!("spec::{}::{}", vendor.name(), self.spec.module(msr.module).name);
                code { (path) "::" (head.name()) }
                @if msr.reset.is_some() { ", " code { (reset_name) } }
            },
        )];
        facts.extend(self.facts_of(head, None));
        facts.extend(self.used(&self.uses.constant(&[head.name(), &reset_name])));
        let cells = vec![
            html! { (hex(msr.address.value, 4)) },
            name(&id, head),
            html! { (vendor.name()) },
            msr.layout.as_ref().map_or_else(Markup::default, |layout| self.ty(&layout.value)),
            html! { @if let Some(reset) = &msr.reset { (hex(reset.value, 1)) } },
        ];
        let yes = |is: bool| if is { 'y' } else { 'n' };
        let tags = vec![
            format!("v:{}", vendor.name()),
            format!("l:{}", yes(msr.layout.is_some())),
            format!("z:{}", yes(msr.reset.is_some())),
            self.checked(head),
        ];
        Row { id, tags, reserved: false, cells, facts }
    }
}
