//! Words of VMX controls.

use maud::{Markup, html};

use super::links::{self, Link};
use super::page::{Page, Section};
use super::table::{Filter, filters};
use super::word::{Part, Word, path};
use super::{Atlas, text};
use crate::model::{BitRef, Control, ControlBit, LayoutBit, Vendor};

impl Atlas<'_> {
    pub fn controls(&self) -> Page {
        let mut entries = Vec::new();
        let words: Vec<_> =
            self.spec.controls.iter().map(|control| self.word(&self.control(control), &mut entries)).collect();
        let names = self.spec.controls.iter().map(|control| {
            let name = control.id.value.name();
            (name.to_owned(), name.to_owned())
        });
        let choices = [
            Filter { name: "Word", key: "g", choices: names.collect() },
            Filter {
                name: "Class",
                key: "d",
                choices: vec![("1".to_owned(), "default1".to_owned()), ("0".to_owned(), "others".to_owned())],
            },
            super::types::reserved_filter(),
            super::types::checked_filter(&entries),
        ];
        Page {
            file: links::CONTROLS.to_owned(),
            section: Section::Vmx,
            short: "Control words".to_owned(),
            title: "VMX control words".to_owned(),
            lead: html! {
                "The words that say what a guest may do without an exit, and what VM entries and VM exits load and save. A "
                "capability MSR says which bits of a word may be 0 and which may be 1. Bits of the default1 class are 1 where a "
                "processor does not know them."
            },
            body: html! { (filters(&choices)) @for word in &words { (word) } },
            entries,
        }
    }

    fn control<'a>(&self, control: &'a Control) -> Word<'a> {
        let name = control.head.name();
        let mut facts = vec![
            ("VMCS field", self.field_link(&control.field.value)),
            (
                "Capability",
                html! {
                    (self.msr_link(&control.capability.value))
                    @if let Some(msr) = &control.true_capability { ", " (self.msr_link(&msr.value)) }
                },
            ),
        ];
        if let Some(bit) = &control.activated_by {
            facts.push(("Activated by", bit_link(bit)));
        }
        let excluding = |bit: &ControlBit| {
            let this = |other: &&BitRef| other.word == control.id.value && other.bit == bit.head.name();
            let all = self.spec.controls.iter().flat_map(|word| word.bits.iter().map(move |bit| (word.id.value, bit)));
            all.filter(|(_, other)| other.excludes.iter().any(|bit| this(&bit)))
                .map(|(word, other)| BitRef { word, bit: other.head.name().to_owned(), span: other.head.span })
                .collect::<Vec<_>>()
        };
        let parts = control.bits.iter().map(|bit| {
            let mut facts = Vec::new();
            if !bit.requires.is_empty() {
                facts.push(("Requires", bit_links(&bit.requires)));
            }
            let excludes: Vec<_> = bit.excludes.iter().cloned().chain(excluding(bit)).collect();
            if !excludes.is_empty() {
                facts.push(("Excludes", bit_links(&excludes)));
            }
            if let Some(why) = &bit.retired {
                facts.push(("Retired", text::prose(why)));
            }
            Part {
                head: &bit.head,
                bits: bit.bits,
                reserved: bit.reserved,
                ty: None,
                extra: html! {
                    @if bit.default1 { "default1" }
                    @if bit.retired.is_some() { " " span.mark { "retired" } }
                },
                tags: vec![format!("d:{}", u8::from(bit.default1))],
                facts,
                link: Some(links::control(control.id.value, bit.head.name())),
            }
        });
        Word {
            link: links::ty(links::CONTROLS, name),
            name,
            manual_name: &control.head.manual_name,
            head: Some(&control.head),
            width: control.width,
            path: path(self, name),
            facts,
            tags: vec![format!("g:{}", control.id.value.name())],
            parts: parts.collect(),
            kind: "control",
            extra: Some("Class"),
        }
    }

    /// A VMCS field by its name.
    pub fn field_link(&self, name: &str) -> Markup {
        link_if(self.spec.fields.iter().any(|field| field.head.name() == name), &links::field(name), name)
    }

    /// An MSR by its name: Intel's, else one of any table.
    pub fn msr_link(&self, name: &str) -> Markup {
        let named =
            || self.spec.msrs.iter().filter(|msr| msr.head.name() == name).map(|msr| self.spec.vendor(msr.module));
        let vendor = named().find(|vendor| *vendor == Vendor::Intel).or_else(|| named().next());
        link_if(vendor.is_some(), &links::msr(vendor.unwrap_or(Vendor::Intel), name), name)
    }

    /// `LAYOUT.BIT`, linked.
    pub fn layout_bit(&self, bit: &LayoutBit) -> Markup {
        let text = format!("{}.{}", bit.layout, bit.bit);
        match self.references.of_type(&bit.layout) {
            Some(layout) => html! { a href=(links::part(layout, &bit.bit).href()) { (bit.layout) "." wbr; (bit.bit) } },
            None => html! { (text) },
        }
    }
}

/// A name, linked if that leads somewhere.
pub(super) fn link_if(there: bool, link: &Link, text: &str) -> Markup {
    html! { @if there { a href=(link.href()) { (text) } } @else { (text) } }
}

fn bit_link(bit: &BitRef) -> Markup {
    html! { a href=(links::control(bit.word, &bit.bit).href()) { (bit.to_string()) } }
}

fn bit_links(bits: &[BitRef]) -> Markup {
    html! { @for (i, bit) in bits.iter().enumerate() { @if i > 0 { ", " } (bit_link(bit)) } }
}
