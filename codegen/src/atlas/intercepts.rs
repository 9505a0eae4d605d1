//! The intercept words of the VMCB.

use maud::{Markup, html};

use super::Atlas;
use super::links;
use super::page::{Page, Section};
use super::table::{Filter, filters};
use super::word::{Part, Word, path};
use crate::model::{Area, InterceptWord};

impl Atlas<'_> {
    pub fn intercepts(&self) -> Page {
        let mut entries = Vec::new();
        let words = self.spec.words.iter().map(|word| self.word(&self.intercept_word(word), &mut entries));
        let words: Vec<_> = words.collect();
        let numbers = self.spec.words.iter().map(|word| (word.number.value.to_string(), word.head.name().to_owned()));
        let choices = [
            Filter { name: "Word", key: "g", choices: numbers.collect() },
            super::types::reserved_filter(),
            super::types::checked_filter(&entries),
        ];
        Page {
            file: links::INTERCEPTS.to_owned(),
            section: Section::Svm,
            short: "Intercepts".to_owned(),
            title: "SVM intercepts".to_owned(),
            lead: html! { "The words of the control area whose bits make VMRUN come back when the guest does something." },
            body: html! { (filters(&choices)) @for word in &words { (word) } },
            entries,
        }
    }

    fn intercept_word<'a>(&'a self, word: &'a InterceptWord) -> Word<'a> {
        let name = word.head.name();
        let number = word.number.value;
        let bits = self.spec.intercepts.iter().filter(|intercept| intercept.word.value == number);
        let parts = bits.map(|intercept| Part {
            head: &intercept.head,
            bits: intercept.bits,
            reserved: intercept.reserved,
            ty: None,
            extra: Markup::default(),
            facts: Vec::new(),
            tags: Vec::new(),
            link: None,
        });
        let member = links::member(Area::Control, &word.member.value);
        let offset = self.spec.members_of(Area::Control).find(|member| member.head.name() == word.member.value);
        Word {
            link: links::ty(links::INTERCEPTS, name),
            name,
            manual_name: &word.head.manual_name,
            head: Some(&word.head),
            width: 32,
            path: path(self, name),
            facts: vec![(
                "Member",
                html! {
                    (super::controls::link_if(offset.is_some(), &member, &word.member.value))
                    @if let Some(member) = offset { " at " (super::text::hex(member.offset.value, 3)) }
                },
            )],
            tags: vec![format!("g:{number}")],
            parts: parts.collect(),
            kind: "intercept",
            extra: None,
        }
    }
}
