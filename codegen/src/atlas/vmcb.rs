//! The VMCB and the VMSA: a map of the memory, a table of the members, and the words among them.

use maud::{Markup, html};

use super::Atlas;
use super::entry::Fact;
use super::links;
use super::memory::{Block, memory};
use super::page::{Found, Page, Section};
use super::table::{Filter, Row, filters, mono, name, table, text};
use super::text::{counted, hex};
use super::word::{Part, Word, path, source};
use crate::emit::member_name;
use crate::model::{Area, CLEAN_MEMBER, CLEAN_TYPE, Member, StateMap, Types, Vendor};

impl Atlas<'_> {
    pub fn vmcb(&self) -> Page {
        let mut entries = Vec::new();
        let areas = [(Area::Control, "Control area"), (Area::Save, "State save area")];
        let tables: Vec<_> =
            areas.iter().map(|(area, title)| (*area, *title, self.members(*area, &mut entries))).collect();
        let clean = self.clean_word().map(|word| self.word(&word, &mut entries));
        let words = self.member_words(&[Area::Control, Area::Save], &mut entries);
        let all = || tables.iter().flat_map(|(.., rows)| rows);
        let groups: Vec<_> =
            self.spec.clean.iter().filter(|row| row.reserved.is_none()).map(|row| row.head.name()).collect();
        let choices = [
            Filter::new("Area", "g", [("control", "control area"), ("save", "state save area")], all()),
            Filter::new(
                "Clean-bit group",
                "k",
                groups.iter().map(|name| (*name, *name)).chain([("none", "none")]),
                all(),
            ),
            super::types::reserved_filter(),
            Filter::checked(all()),
        ];
        let body = html! {
            (self.legend())
            div.maps {
                @for (area, title) in areas {
                    figure { figcaption { (title) ", " (hex(area.base(), 3)) " to " (hex(area.base() + area.size() - 1, 3)) } (memory(&self.blocks(area))) }
                }
            }
            (filters(&choices))
            @for (area, title, rows) in tables.iter().filter(|(.., rows)| !rows.is_empty()) {
                section.w {
                    h2 id={"area-" (area.name())} { (title) }
                    (table(title, &columns(*area), rows))
                }
            }
            @if let Some(clean) = &clean { (clean) }
            @for word in &words { (word) }
        };
        Page {
            file: links::VMCB.to_owned(),
            section: Section::Svm,
            short: "VMCB".to_owned(),
            title: "The virtual machine control block".to_owned(),
            lead: html! {
                "A page in memory: the control area, and from " code { "0x400" } " on the state save area, whose offsets count from its "
                "own start. Colours are the clean-bit groups: what the processor may keep from the last VMRUN unless the bit "
                "of the group is 0."
            },
            body,
            entries,
        }
    }

    pub fn vmsa(&self) -> Page {
        let mut entries = Vec::new();
        let rows = self.members(Area::Vmsa, &mut entries);
        let words = self.member_words(&[Area::Vmsa], &mut entries);
        let choices = [super::types::reserved_filter(), Filter::checked(&rows)];
        Page {
            file: links::VMSA.to_owned(),
            section: Section::Svm,
            short: "VMSA".to_owned(),
            title: "The save area of encrypted-state guests".to_owned(),
            lead: html! { "Where the processor keeps the state of an SEV-ES or SEV-SNP guest: a page of its own, encrypted." },
            body: html! {
                @if !rows.is_empty() {
                    div.maps.columns { figure { figcaption { "VMSA" } (memory(&self.blocks(Area::Vmsa))) } }
                }
                (filters(&choices)) (table("Members of the VMSA", &columns(Area::Vmsa), &rows))
                @for word in &words { (word) }
            },
            entries,
        }
    }

    /// The colours of the groups; a press on one makes the others pale.
    fn legend(&self) -> Markup {
        let groups = self.spec.clean.iter().filter(|row| row.reserved.is_none());
        html! {
            div.legend role="group" aria-label="Clean-bit groups" {
                @for (i, group) in groups.enumerate() {
                    button type="button" class={"g" (i)} data-g={"g" (i)} aria-pressed="false" { (group.head.name()) }
                }
            }
        }
    }

    fn blocks(&self, area: Area) -> Vec<Block<'_>> {
        let members = self.spec.members_of(area).map(|member| Block {
            offset: member.offset.value,
            size: member.size.value,
            name: member.head.name(),
            reserved: member.reserved.is_some(),
            id: links::member(area, member.head.name()).id,
            clean: self.group(member),
        });
        members.collect()
    }

    fn group<'m>(&self, member: &'m Member) -> Option<(usize, &'m str)> {
        let name = member.clean.as_ref()?.value.as_str();
        let mut groups = self.spec.clean.iter().filter(|row| row.reserved.is_none());
        Some((groups.position(|row| row.head.name() == name)?, name))
    }

    fn members(&self, area: Area, entries: &mut Vec<Found>) -> Vec<Row> {
        let mut members: Vec<_> = self.spec.members_of(area).collect();
        members.sort_by_key(|member| member.offset.value);
        members.into_iter().map(|member| self.member(member, entries)).collect()
    }

    fn member(&self, member: &Member, entries: &mut Vec<Found>) -> Row {
        let (head, area) = (&member.head, member.area);
        let (id, reserved) = (links::member(area, head.name()).id, member.reserved.is_some());
        let shown = format!("{}.{}", area.name(), head.name());
        let kind = if area == Area::Vmsa { "VMSA member" } else { "VMCB member" };
        let mut entry = self.found(&id, kind, shown, head, Some(member.offset.value));
        entry.reserved = reserved;
        entries.push(entry);
        let mut facts: Vec<Fact> = Vec::new();
        let method = member_name(self.spec, member);
        let module = if area == Area::Vmsa { "vmsa::Vmsa" } else { "vmcb::Vmcb" };
        if !reserved {
            let read_only = area == Area::Control && head.name() == CLEAN_MEMBER;
            facts.push((
                "Rust",
                html! { code { "spec::amd::" (module) "::" (method) "()" } @if !read_only { ", " code { "set_" (method) "()" } } },
            ));
            facts.extend(self.state_rows(&self.references.of_member(self.spec, area, head.name()), false));
            if area != Area::Vmsa {
                let part = if area == Area::Save { "save" } else { "control" };
                facts.extend(self.checked_by(Vendor::Amd, &format!("{part}.{}", head.name())));
            }
        }
        facts.extend(self.facts_of(head, None));
        if !reserved {
            let types: &[&str] = if area == Area::Vmsa { &["Vmsa", "vmsa"] } else { &["Vmcb", "vmcb"] };
            facts.extend(self.used(&self.uses.methods(types, &[&method, &format!("set_{method}")])));
        }
        let ty = Types::of_member(self.spec, member);
        let mut cells = vec![
            html! {
                (hex(member.offset.value, 3))
                @if area == Area::Save { " " small title="From the start of the VMCB" { (hex(area.base() + member.offset.value, 3)) } }
            },
            if reserved {
                html! { span.n { "reserved, " (member.reserved.unwrap_or(0)) } " " small { (head.manual_name) } (super::entry::mark(head)) }
            } else {
                name(&id, head)
            },
            html! { (counted(member.size.value, "byte")) },
            html! {
                @match ty {
                    Some(ty) => (self.ty(ty)),
                    None if !reserved && matches!(member.size.value, 1 | 2 | 4 | 8) => code { "u" (member.size.value * 8) },
                    None if !reserved => code { "[u8; " (member.size.value) "]" },
                    None => {}
                }
            },
        ];
        if area != Area::Vmsa {
            cells.push(self.clean_cell(member));
        }
        let tags = vec![
            format!("g:{}", area.name()),
            format!("k:{}", member.clean.as_ref().map_or("none", |group| &group.value)),
            format!("r:{}", if reserved { 'y' } else { 'n' }),
            self.checked(head),
        ];
        Row { id, tags, reserved, cells, facts }
    }

    fn clean_cell(&self, member: &Member) -> Markup {
        html! {
            @if let Some((number, name)) = self.group(member) {
                a class={"chip g" (number)} href=(links::part(&links::ty(links::VMCB, CLEAN_TYPE), name).href()) { (name) }
            }
        }
    }

    /// The clean bits, when there are any.
    fn clean_word(&self) -> Option<Word<'_>> {
        let first = self.spec.clean.first()?;
        let parts = self.spec.clean.iter().map(|row| {
            let of_group = |member: &&Member| member.clean.as_ref().is_some_and(|name| name.value == row.head.name());
            let members: Vec<_> = self.spec.members.iter().filter(of_group).collect();
            let list = html! {
                @for (i, member) in members.iter().enumerate() {
                    @if i > 0 { ", " }
                    a href=(links::member(member.area, member.head.name()).href()) { (member.head.name()) }
                }
            };
            Part {
                head: &row.head,
                bits: row.bits,
                reserved: row.reserved,
                ty: None,
                extra: Markup::default(),
                facts: (!members.is_empty()).then_some(("Members", list)).into_iter().collect(),
                tags: Vec::new(),
                link: None,
            }
        });
        Some(Word {
            link: links::ty(links::VMCB, CLEAN_TYPE),
            name: CLEAN_TYPE,
            manual_name: "The clean-bit groups",
            head: None,
            width: 32,
            path: path(self, CLEAN_TYPE),
            facts: vec![source(self, &first.head.cite)],
            tags: Vec::new(),
            parts: parts.collect(),
            kind: "clean-bit group",
            extra: None,
        })
    }

    /// The members with bits.
    fn member_words(&self, areas: &[Area], entries: &mut Vec<Found>) -> Vec<Markup> {
        let members = self.spec.members.iter().filter(|member| areas.contains(&member.area) && !member.bits.is_empty());
        let words = members.filter_map(|member| {
            let ty = member.ty.as_ref()?;
            let link = links::member(member.area, member.head.name());
            let word = Word {
                link: links::ty(links::area_page(member.area), &ty.value),
                name: &ty.value,
                manual_name: &member.head.manual_name,
                head: None,
                width: self.types.get(&ty.value).map_or(64, |ty| ty.width),
                path: path(self, &ty.value),
                facts: vec![
                    ("Member", html! { a href=(link.href()) { (member.area.name()) "." (member.head.name()) } " at " (hex(member.offset.value, 3)) }),
                    source(self, &member.head.cite),
                ],
                tags: vec![format!("g:{}", member.area.name())],
                parts: member.bits.iter().map(Part::of).collect(),
                kind: "VMCB bits",
                extra: None,
            };
            Some(self.word(&word, entries))
        });
        words.collect()
    }

    /// What the other vendor has for a VMCS field (`vmx`) or a member.
    pub fn state_rows(&self, rows: &[&StateMap], vmx: bool) -> Option<Fact> {
        let value = html! {
            @for (i, row) in rows.iter().enumerate() {
                @if i > 0 { "; " }
                @if vmx { (self.member_links(row)) } @else { (self.field_links(row)) }
                " (" a href=(links::map("state", &row.name.value).href()) { "map: " (row.name.value) } ")"
            }
        };
        (!rows.is_empty()).then_some((if vmx { "On SVM" } else { "On VMX" }, value))
    }
}

fn columns(area: Area) -> Vec<super::table::Column> {
    let mut all = vec![mono("Offset"), text("Name"), text("Size"), text("Type")];
    if area != Area::Vmsa {
        all.push(text("Clean-bit group"));
    }
    all
}
