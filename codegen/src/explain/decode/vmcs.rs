//! `decode vmcs`: an encoding taken apart.

use crate::model::{Group, Width};

use super::super::page::{Cell, Ink, Page};
use super::super::{Explainer, Kind, Result, facts, find};

impl Explainer<'_> {
    /// The parts of the encoding of a VMCS field, and the field that it is, or those around it.
    pub fn vmcs(&self, encoding: i128) -> Result<Page> {
        let value = self.within("an encoding", encoding, u32::MAX.into())?;
        let found = find::numbered(self.spec, encoding, Some(Kind::Vmcs));
        if found.is_empty() {
            return Err(find::no_number(
                self.spec,
                encoding,
                Some(Kind::Vmcs),
                &format!("no table lists a VMCS field ({}) with the encoding", self.shape_of_encoding(value)),
            ));
        }
        let mut page = Page::default();
        page.title(format!("{value:#06x}"), "encoding of a VMCS field");
        let width = Width::ALL.iter().find(|(width, _)| width.code() == value >> 13 & 3);
        let group = Group::ALL.iter().find(|(group, _)| group.code() == value >> 10 & 3);
        let mut rows = vec![
            ("0", "access type", value & 1, if value & 1 == 0 { "full" } else { "high 32 bits" }.to_owned()),
            ("9:1", "index", value >> 1 & 0x1ff, String::new()),
            (
                "11:10",
                "type",
                value >> 10 & 3,
                group.map(|(group, _)| facts::group(*group)).unwrap_or_default().to_owned(),
            ),
            ("14:13", "width", value >> 13 & 3, width.map(|(width, _)| facts::width(*width)).unwrap_or_default()),
        ];
        if value & 0xffff_9000 != 0 {
            rows.push(("31:15, 12", "reserved", value & 0xffff_9000, "must be 0".to_owned()));
        }
        page.rows(rows.into_iter().map(|(place, name, value, meaning)| {
            vec![place.into(), Cell::new(Ink::Name, name), value.to_string().into(), meaning.into()]
        }));
        for entry in found {
            let half = if find::high_half(entry, encoding) { "the high 32 bits of " } else { "" };
            page.facts([("field", Cell::from(format!("{half}{}", entry.summary(self.spec))))]);
        }
        Ok(page)
    }

    /// "32 bits, guest state, index 3, full access"
    fn shape_of_encoding(&self, value: u64) -> String {
        let width = Width::ALL.iter().find(|(width, _)| width.code() == value >> 13 & 3);
        let group = Group::ALL.iter().find(|(group, _)| group.code() == value >> 10 & 3);
        let access = if value & 1 == 0 { "full access" } else { "the high half" };
        let reserved = if value & 0xffff_9000 == 0 { "" } else { ", reserved bits set" };
        let width =
            width.map_or("", |(width, _)| if *width == Width::Natural { "natural width" } else { width.name() });
        let unit = if width.starts_with(|c: char| c.is_ascii_digit()) { " bits" } else { "" };
        let group = group.map(|(group, _)| facts::group(*group)).unwrap_or_default();
        format!("{width}{unit}, {group}, index {}, {access}{reserved}", value >> 1 & 0x1ff)
    }
}
