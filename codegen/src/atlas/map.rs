//! What of VMX corresponds to what of SVM, side by side.

use maud::{Markup, html};

use super::Atlas;
use super::links;
use super::page::{Found, Page, Section};
use super::table::{Filter, Row, filters, table, text};
use super::text::prose;
use crate::model::{Spanned, StateMap, Vendor};

impl Atlas<'_> {
    pub fn map(&self) -> Page {
        let mut entries = Vec::new();
        let exits = self.exit_map(&mut entries);
        let state = self.state_map(&mut entries);
        let sides = [("both", "both vendors"), ("vmx", "VMX only"), ("svm", "SVM only")];
        let choices = [
            Filter::new("Of", "g", [("exit", "exits"), ("state", "guest state")], exits.iter().chain(&state)),
            Filter::new("There on", "s", sides, exits.iter().chain(&state)),
        ];
        let body = html! {
            (filters(&choices))
            @if !exits.is_empty() {
                section.w.pair {
                    h2 id="exits" { "Exits" }
                    (table("Exits of both vendors", &[text("What"), text("VMX"), text("SVM"), text("To the VMM as")], &exits))
                }
            }
            @if !state.is_empty() {
                section.w.pair {
                    h2 id="state" { "Guest state" }
                    (table("Guest state of both vendors", &[text("What"), text("VMCS"), text("VMCB")], &state))
                }
            }
        };
        Page {
            file: links::MAP.to_owned(),
            section: Section::Both,
            short: "VMX and SVM".to_owned(),
            title: "VMX and SVM, side by side".to_owned(),
            lead: html! {
                "Our own comparison: every exit of either vendor and every piece of guest state is in one row. What the VMM gets "
                "is a variant of " code { "VmExit" } "; where there is none the library answers alone."
            },
            body,
            entries,
        }
    }

    fn exit_map(&self, entries: &mut Vec<Found>) -> Vec<Row> {
        let links_of = |vendor, names: &[Spanned<String>]| {
            list(names.iter().map(|name| (self.exit_link(vendor, &name.value), self.exit_number(vendor, &name.value))))
        };
        let rows = self.spec.exit_map.iter().map(|row| {
            let id = links::map("exit", &row.name.value).id;
            entries.push(mapped(&id, &row.name.value));
            let cells = vec![
                what(&id, &row.name.value, row.note.as_deref()),
                links_of(Vendor::Intel, &row.vmx),
                links_of(Vendor::Amd, &row.svm),
                html! {
                    @if row.neutral.is_empty() { span.no { "answered inside" } }
                    @for (i, name) in row.neutral.iter().enumerate() { @if i > 0 { ", " } code { (name.value) } }
                },
            ];
            Row {
                id,
                tags: tags("exit", row.vmx.is_empty(), row.svm.is_empty()),
                reserved: false,
                cells,
                facts: Vec::new(),
            }
        });
        rows.collect()
    }

    fn exit_number(&self, vendor: Vendor, name: &str) -> String {
        let exit = self.spec.exits_of(vendor).find(|exit| exit.head.name() == name);
        exit.map_or_else(String::new, |exit| match exit.number.value {
            number if vendor == Vendor::Amd && number >= 0 => format!("{number:#05x}"),
            number => number.to_string(),
        })
    }

    fn state_map(&self, entries: &mut Vec<Found>) -> Vec<Row> {
        let rows = self.spec.state_map.iter().map(|row| {
            let id = links::map("state", &row.name.value).id;
            entries.push(mapped(&id, &row.name.value));
            let cells =
                vec![what(&id, &row.name.value, row.note.as_deref()), self.field_links(row), self.member_links(row)];
            Row {
                id,
                tags: tags("state", row.vmx.is_empty(), row.svm.is_empty()),
                reserved: false,
                cells,
                facts: Vec::new(),
            }
        });
        rows.collect()
    }

    /// The VMCS fields of a row.
    pub fn field_links(&self, row: &StateMap) -> Markup {
        list(row.vmx.iter().map(|name| {
            let field = self.spec.fields.iter().find(|field| field.head.name() == name.value);
            (
                self.field_link(&name.value),
                field.map_or_else(String::new, |field| format!("{:#06x}", field.encoding.value)),
            )
        }))
    }

    /// The members of the VMCB of a row.
    pub fn member_links(&self, row: &StateMap) -> Markup {
        list(row.svm.iter().map(|reference| {
            let (area, name) = (reference.area, reference.member.as_str());
            let member = self.spec.members_of(area).find(|member| member.head.name() == name);
            let text = format!("{}.{name}", area.name());
            let link = super::controls::link_if(member.is_some(), &links::member(area, name), &text);
            (link, member.map_or_else(String::new, |member| format!("{:#05x}", member.offset.value)))
        }))
    }
}

/// Links with their numbers; a dash for none.
fn list(items: impl Iterator<Item = (Markup, String)>) -> Markup {
    let items: Vec<_> = items.collect();
    html! {
        @if items.is_empty() { span.no title="nothing" { "—" } }
        @for (i, (link, number)) in items.iter().enumerate() {
            @if i > 0 { ", " }
            (link) " " small.m { (number) }
        }
    }
}

fn what(id: &str, name: &str, note: Option<&str>) -> Markup {
    html! { a.n href={"#" (id)} { (name) } @if let Some(note) = note { p.note { (prose(note)) } } }
}

fn tags(kind: &str, no_vmx: bool, no_svm: bool) -> Vec<String> {
    let side = match (no_vmx, no_svm) {
        (false, true) => "vmx",
        (true, false) => "svm",
        _ => "both",
    };
    vec![format!("g:{kind}"), format!("s:{side}")]
}

fn mapped(id: &str, name: &str) -> Found {
    Found {
        id: id.to_owned(),
        name: name.to_owned(),
        manual_name: String::new(),
        kind: "VMX and SVM",
        number: None,
        aliases: Vec::new(),
        reserved: false,
        unchecked: false,
        confirmed: false,
    }
}
