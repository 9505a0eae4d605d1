//! What a processor checks before it enters a guest: a page of rules for each vendor.

use maud::{Markup, html};

use super::controls::link_if;
use super::entry::Fact;
use super::page::{Found, Page, Section};
use super::table::{Filter, Row, filters, table, text};
use super::text::prose;
use super::{Atlas, links};
use crate::expression::{Definition, Rule};
use crate::model::{Area, Phase, Severity, Vendor};

/// Phases in the order of the processor, with what their tables are called.
const PHASES: [(Phase, &str); 5] = [
    (Phase::Controls, "Controls: VM-instruction error 7"),
    (Phase::Host, "Host state: VM-instruction error 8"),
    (Phase::Guest, "Guest state: a VM exit for invalid guest state"),
    (Phase::MsrLoad, "MSRs that the entry loads: a VM exit for MSR loading"),
    (Phase::Vmrun, "VMRUN: VMEXIT_INVALID"),
];

impl Atlas<'_> {
    /// The rules of a vendor; nothing if it has none.
    pub fn entry_checks(&self, vendor: Vendor) -> Option<Page> {
        let rules = self.spec.rules(vendor);
        if rules.rules.is_empty() {
            return None;
        }
        let mut entries = Vec::new();
        let phases = PHASES.map(|(phase, title)| {
            let rules = rules.rules.iter().filter(|rule| rule.phase == phase);
            let rows = rules.map(|rule| {
                let row = self.rule(vendor, rule);
                entries.push(found(&row.id, "entry check", &rule.name, rule.cite.unchecked.is_some()));
                row
            });
            (phase, title, rows.collect::<Vec<_>>())
        });
        let definitions: Vec<_> = rules
            .definitions
            .iter()
            .map(|definition| {
                let row = self.definition(vendor, definition);
                entries.push(found(&row.id, "definition of entry checks", &definition.name, false));
                row
            })
            .collect();
        let all = || phases.iter().flat_map(|(_, _, rows)| rows);
        let severities = Severity::ALL.iter().map(|(severity, _)| (severity.name(), consequence(*severity)));
        let choices = [
            Filter::new("Phase", "p", Phase::ALL.iter().map(|(_, name)| (*name, *name)), all()),
            Filter::new("If broken", "v", severities, all()),
            Filter::new("Source", "c", [("y", "compared"), ("n", "unchecked")], all()),
        ];
        let (columns, names) = ([text("Rule"), text("Field"), text("Has to hold")], [text("Name"), text("Stands for")]);
        let body = html! {
            (filters(&choices))
            @for (phase, title, rows) in phases.iter().filter(|(_, _, rows)| !rows.is_empty()) {
                section.w { h2 id={"phase-" (phase.name())} { (title) } (table(title, &columns, rows)) }
            }
            @if !definitions.is_empty() {
                section.w { h2 id="definitions" { "Names in the rules" } (table("Names in the rules", &names, &definitions)) }
            }
        };
        let (section, structure) = if vendor == Vendor::Amd { (Section::Svm, "VMCB") } else { (Section::Vmx, "VMCS") };
        Some(Page {
            file: links::checks_page(vendor).to_owned(),
            section,
            short: "Entry checks".to_owned(),
            title: format!("What an entry with a {structure} checks"),
            lead: html! {
                "A rule says something where all of its conditions hold. The library judges an entry that failed by them, "
                "and " code { "cargo spec doctor" } " a dump. Fields, bits and controls are called as in the other tables."
            },
            body,
            entries,
        })
    }

    fn rule(&self, vendor: Vendor, rule: &Rule) -> Row {
        let id = links::check(vendor, &rule.name).id;
        let mut facts: Vec<Fact> = vec![("Why", prose(&rule.explain))];
        if !rule.when_text.is_empty() {
            facts.push((
                "Where",
                html! { @for (i, when) in rule.when_text.iter().enumerate() {
                    @if i > 0 { " and " }
                    code { (when) }
                } },
            ));
        }
        if let Some(shows) = &rule.shows_text {
            facts.push(("At fault", html! { code { (shows) } }));
        }
        if let Some((count, address)) = &rule.entries {
            let (count, address) = (self.place(vendor, &count.name), self.place(vendor, &address.name));
            facts.push(("Of", html! { "each of the " (count) " entries at " (address) }));
        }
        if rule.qualification != 0 {
            facts.push(("Exit qualification", html! { (rule.qualification) }));
        }
        facts.push(("If broken", html! { (consequence(rule.severity)) }));
        facts.push(("Mend", prose(&rule.hint)));
        let others: Vec<_> = rule.inputs.iter().filter(|input| input.name != rule.field.name).collect();
        if !others.is_empty() {
            facts.push((
                "Looks at",
                html! { @for (i, input) in others.iter().enumerate() {
                    @if i > 0 { ", " }
                    (self.place(vendor, &input.name))
                } },
            ));
        }
        if let Some(note) = &rule.note {
            facts.push(("Note", prose(note)));
        }
        facts.push(("Source", self.cite(&rule.cite)));
        if let Some(why) = &rule.cite.unchecked {
            facts.push(("Unchecked", prose(why)));
        }
        let cells = vec![
            html! {
                a.n href={"#" (id)} { (rule.name) }
                @if rule.cite.unchecked.is_some() { " " span.mark { "unchecked" } }
            },
            self.place(vendor, &rule.field.name),
            html! { code { (rule.require_text) } },
        ];
        let checked = if rule.cite.unchecked.is_some() { "n" } else { "y" };
        let tags =
            vec![format!("p:{}", rule.phase.name()), format!("v:{}", rule.severity.name()), format!("c:{checked}")];
        Row { id, tags, reserved: false, cells, facts }
    }

    fn definition(&self, vendor: Vendor, definition: &Definition) -> Row {
        let id = links::definition(vendor, &definition.name).id;
        let note = self.spec.defines.get(definition.row).and_then(|row| row.note.as_deref());
        let cells = vec![
            html! { a.n href={"#" (id)} { (definition.name) } },
            html! { code { (definition.text) } @if let Some(note) = note { p.note { (prose(note)) } } },
        ];
        Row { id, tags: Vec::new(), reserved: false, cells, facts: Vec::new() }
    }

    /// A field or member as rules call it.
    fn place(&self, vendor: Vendor, name: &str) -> Markup {
        if vendor != Vendor::Amd {
            return self.field_link(name);
        }
        let member = name.split_once('.').and_then(|(area, name)| {
            let area = if area == "save" { Area::Save } else { Area::Control };
            self.spec.members_of(area).find(|member| member.head.name() == name).map(|_| links::member(area, name))
        });
        member.map_or_else(|| html! { (name) }, |link| link_if(true, &link, name))
    }

    /// The rules that find fault with a field, and how many others look at it.
    pub fn checked_by(&self, vendor: Vendor, name: &str) -> Option<Fact> {
        let rules = &self.spec.rules(vendor).rules;
        let own: Vec<_> = rules.iter().filter(|rule| rule.field.name == name).collect();
        let others: Vec<_> = rules
            .iter()
            .filter(|rule| rule.field.name != name && rule.inputs.iter().any(|input| input.name == name))
            .collect();
        const SHOWN: usize = 8;
        let list = |rules: &[&Rule]| {
            html! { @for (i, rule) in rules.iter().enumerate() {
                @if i > 0 { ", " }
                a href=(links::check(vendor, &rule.name).href()) { (rule.name) }
            } }
        };
        let value = html! {
            (list(&own))
            @if !others.is_empty() {
                @if !own.is_empty() { "; " }
                "looked at by " (list(&others[..others.len().min(SHOWN)]))
                @if others.len() > SHOWN { " and " (others.len() - SHOWN) " more" }
            }
        };
        (!own.is_empty() || !others.is_empty()).then_some(("At an entry", value))
    }
}

fn consequence(severity: Severity) -> &'static str {
    match severity {
        Severity::Failure => "the entry fails",
        Severity::Ignored => "the processor takes another value",
        Severity::Undefined => "the manual leaves it open",
    }
}

fn found(id: &str, kind: &'static str, name: &str, unchecked: bool) -> Found {
    Found {
        id: id.to_owned(),
        name: name.to_owned(),
        manual_name: String::new(),
        kind,
        number: None,
        aliases: Vec::new(),
        reserved: false,
        unchecked,
        confirmed: false,
    }
}
