//! VMCS fields.

use maud::{Markup, html};

use super::page::{Page, Section};
use super::table::{Filter, Row, filters, mono, name, table, text};
use super::text::hex;
use super::{Atlas, links};
use crate::model::{Access, Condition, Field, Group, Term, Vendor, Width};

/// Groups in the order of the manual, with what their tables are called.
const GROUPS: [(Group, &str); 4] = [
    (Group::Control, "Control fields"),
    (Group::ExitInfo, "VM-exit information fields"),
    (Group::Guest, "Guest-state fields"),
    (Group::Host, "Host-state fields"),
];

impl Atlas<'_> {
    pub fn vmcs(&self) -> Page {
        let mut entries = Vec::new();
        let fields = &self.spec.fields;
        let groups = GROUPS
            .iter()
            .map(|(group, title)| {
                let fields = fields.iter().filter(|field| field.group.value == *group);
                let rows = fields.map(|field| {
                    let row = self.field(field);
                    entries.push(self.found(
                        &row.id,
                        "VMCS field",
                        field.head.name().to_owned(),
                        &field.head,
                        Some(field.encoding.value),
                    ));
                    row
                });
                (*group, *title, rows.collect::<Vec<_>>())
            })
            .filter(|(_, _, rows)| !rows.is_empty())
            .collect::<Vec<_>>();
        let columns = [mono("Encoding"), text("Name"), text("Width"), text("Type"), text("Exists if")];
        let all = || groups.iter().flat_map(|(_, _, rows)| rows);
        let choices = [
            Filter::new("Group", "g", Group::ALL.iter().map(|(_, name)| (*name, *name)), all()),
            Filter::new("Width", "w", Width::ALL.iter().map(|(_, name)| (*name, *name)), all()),
            Filter::new("Access", "a", [("read_write", "read and write"), ("exit_info", "read only")], all()),
            Filter::new("Exists", "e", [("always", "always"), ("if", "on some CPUs")], all()),
            Filter::checked(all()),
        ];
        let body = html! {
            (filters(&choices))
            @for (group, title, rows) in &groups {
                section.w {
                    h2 id={"group-" (group.name())} { (title) }
                    (table(title, &columns, rows))
                }
            }
        };
        Page {
            file: links::VMCS.to_owned(),
            section: Section::Vmx,
            short: "VMCS fields".to_owned(),
            title: "VMCS fields".to_owned(),
            lead: html! {
                "What VMREAD and VMWRITE take, by the part of the VMCS. A 64-bit field has a second encoding, one higher, for its "
                "upper half. Bits 14:13 of an encoding are the width, 11:10 the group."
            },
            body,
            entries,
        }
    }

    fn field(&self, field: &Field) -> Row {
        let head = &field.head;
        let id = links::field(head.name()).id;
        let width = match field.width.value {
            Width::Natural => "natural".to_owned(),
            other => other.bits().to_string(),
        };
        let ty = field.ty.as_ref().map_or_else(|| format!("u{}", field.width.value.bits()), |ty| ty.value.clone());
        let access = match field.access.value {
            Access::ReadWrite => "ReadWrite",
            Access::ExitInfo => "ExitInfo",
        };
        let read_only = field.access.value == Access::ExitInfo;
        let mut facts = vec![(
            "Rust",
            html! {
                code {
                    "spec::intel::vmcs::" (head.name()) ": Field<" (ty) ", " (access)
                    @if let Some(condition) = &field.exists_if { ", If<" (condition.value.type_name()) ">" } ">"
                }
            },
        )];
        if let Some(why) = &field.retired {
            facts.push(("Retired", super::text::prose(why)));
        }
        facts.extend(self.state_rows(&self.references.of_field(self.spec, head.name()), true));
        facts.extend(self.checked_by(Vendor::Intel, head.name()));
        facts.extend(self.facts_of(head, None));
        facts.extend(self.used(&self.uses.constant(&[head.name()])));
        let cells = vec![
            html! { (hex(field.encoding.value, 4)) },
            html! { (name(&id, head)) @if field.retired.is_some() { " " span.mark { "retired" } } },
            html! { (width) @if read_only { " " span.ro title="VMWRITE may not change it" { "read only" } } },
            self.ty(&ty),
            field.exists_if.as_ref().map_or_else(Markup::default, |condition| self.condition(&condition.value)),
        ];
        let tags = vec![
            format!("g:{}", field.group.value.name()),
            format!("w:{}", field.width.value.name()),
            format!("a:{}", field.access.value.name()),
            format!("e:{}", if field.exists_if.is_some() { "if" } else { "always" }),
            self.checked(head),
        ];
        Row { id, tags, reserved: false, cells, facts }
    }

    /// What a condition asks for, linked.
    fn condition(&self, condition: &Condition) -> Markup {
        html! {
            @for (i, term) in condition.any.iter().enumerate() {
                @if i > 0 { " or " }
                @match term {
                    Term::Control(bit) => {
                        a href=(links::control(bit.word, &bit.bit).href()) { (bit.word.name()) "." wbr; (bit.bit) }
                    }
                    Term::Cpuid(bit) => (self.layout_bit(bit)),
                }
            }
        }
    }
}
