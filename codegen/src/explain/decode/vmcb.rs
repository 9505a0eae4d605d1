//! `decode vmcb`: what stands at an offset.

use crate::model::{Area, Member, Types};

use super::super::entry::Entry;
use super::super::number::{bits, parse};
use super::super::page::{Cell, Page};
use super::super::{Explainer, Kind, Result, Unknown, facts, find};

impl Explainer<'_> {
    /// The member at an offset of the VMCB, and what its value means. The offset counts from the start of the VMCB, or is
    /// written `save+178h`, or is the name of a member.
    pub fn vmcb(&self, place: &str, value: Option<i128>) -> Result<Page> {
        let (member, byte) = self.member_at(place)?;
        let mut page = Page::default();
        let entry = Entry::Member(member);
        page.title(entry.qualified(self.spec), format!("{}, {}", entry.what(), member.head.manual_name));
        let mut list = vec![("offset", Cell::from(facts::location(member)))];
        list.push(("size", facts::size(member).into()));
        if byte > 0 {
            list.push(("byte", format!("{byte} of these").into()));
        }
        match (&member.reserved, &member.clean) {
            (Some(reserved), _) => list.push(("reserved", format!("must be {reserved}").into())),
            (None, Some(group)) => list.push(("clean group", group.value.as_str().into())),
            (None, None) => {}
        }
        list.extend(member.head.note.iter().map(|note| ("note", Cell::from(note.as_str()))));
        page.facts(list);
        if let Some(value) = value.map(bits) {
            let size = member.size.value.min(8);
            if size < 8 && value >> (size * 8) != 0 {
                let message = format!("{value:#x} does not fit into the {size} bytes of {}", member.head.name());
                return Err(Unknown { message, candidates: Vec::new() });
            }
            self.part(&mut page, "", Types::of_member(self.spec, member).unwrap_or("u64"), value)?;
        }
        Ok(page)
    }

    /// The member, and which byte of it.
    fn member_at(&self, place: &str) -> Result<(&Member, u64)> {
        let (areas, offset) = match place.split_once('+') {
            Some((area, offset)) => {
                let found = Area::ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(area.trim()));
                let Some((area, _)) = found else {
                    let candidates = Area::ALL.iter().map(|(_, name)| format!("{name}+OFFSET")).collect();
                    return Err(Unknown { message: format!("there is no area `{area}`"), candidates });
                };
                (vec![(*area, area.base())], parse(offset))
            }
            None => (vec![(Area::Control, 0), (Area::Save, 0)], parse(place)),
        };
        let Some(offset) = offset else { return self.member_called(place).map(|member| (member, 0)) };
        for (area, base) in areas {
            let from = |member: &Member| i128::from(member.area.base() - base + member.offset.value);
            let found =
                self.spec.members_of(area).find(|m| (from(m)..from(m) + i128::from(m.size.value)).contains(&offset));
            if let Some(member) = found {
                return Ok((member, u64::try_from(offset - from(member)).unwrap_or(0)));
            }
        }
        Err(Unknown {
            message: format!(
                "{place} is in neither the VMCB nor the VMSA; an offset from the start of an area is written save+178h"
            ),
            candidates: Vec::new(),
        })
    }

    fn member_called(&self, name: &str) -> Result<&Member> {
        let mut found = find::named(self.spec, name, Some(Kind::Vmcb));
        if found.is_empty() {
            found = find::named(self.spec, name, Some(Kind::Vmsa));
        }
        let members: Vec<_> =
            found.iter().filter_map(|entry| if let Entry::Member(row) = entry { Some(*row) } else { None }).collect();
        match members.as_slice() {
            [member] => Ok(member),
            [] => Err(find::no_name(self.spec, name, Some(Kind::Vmcb))),
            _ => Err(Unknown {
                message: format!("`{name}` means several members"),
                candidates: members.iter().map(|member| Entry::Member(member).summary(self.spec)).collect(),
            }),
        }
    }
}
