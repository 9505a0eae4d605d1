//! Rows of tables that any vendor may have, and what all rows share.

use crate::model::{
    Cite, Confirmed, CpuidPlace, CpuidRegister, Enum, EnumValue, Excuse, Head, Layout, LayoutField, Manual, ModuleId,
    Msr, Spanned,
};

use super::row::Row;

/// Widths of an integer in Rust.
pub(super) const WIDTHS: &[(u32, &str)] = &[(8, "8"), (16, "16"), (32, "32"), (64, "64")];

pub(super) fn manual(row: &mut Row) -> Option<Manual> {
    let (id, title, revision) = (row.need_string("id"), row.need_string("title"), row.need_string("revision"));
    let kind = row.need_word("kind", &[("manual", "manual"), ("source", "source")]);
    let (order, date, sha256) = (row.text("order"), row.string("date"), row.string("sha256"));
    let (short, url, note) = (row.text("short"), row.text("url"), row.text("note"));
    Some(Manual {
        id: id?,
        title: title?.value,
        short,
        revision: revision?.value,
        kind: kind?.value.to_owned(),
        order,
        date,
        sha256,
        url,
        note,
    })
}

/// What every row has. A part of something inherits its citation.
pub(super) fn head(row: &mut Row, parent: Option<&Cite>) -> Option<Head> {
    let name = row.need_string("name");
    let manual_name = row.need_string("manual_name");
    head_with(row, parent, name, manual_name.map(|name| name.value))
}

/// The same of a row for which the manual has no name.
pub(super) fn head_called(row: &mut Row) -> Option<Head> {
    let name = row.need_string("name");
    let called = name.as_ref().map(|name| name.value.clone());
    head_with(row, None, name, called)
}

fn head_with(
    row: &mut Row,
    parent: Option<&Cite>,
    name: Option<Spanned<String>>,
    manual_name: Option<String>,
) -> Option<Head> {
    let (note, aliases) = (row.text("note"), row.strings("aliases"));
    let own = row.table("cite");
    let own = match (own, parent) {
        (Some(mut table), _) => {
            let cite = cite(&mut table);
            table.finish();
            cite
        }
        (None, Some(parent)) => Some(parent.clone()),
        (None, None) => row.missing("cite", None),
    };
    let (confirmed, excuses) = (list(row, "confirmed", confirmed), list(row, "excuse", excuse));
    let span = row.span;
    Some(Head { name: name?, manual_name: manual_name?, cite: own?, note, aliases, confirmed, excuses, span })
}

fn cite(row: &mut Row) -> Option<Cite> {
    let (doc, title) = (row.need_string("doc"), row.need_string("title"));
    let (page, unchecked) = (row.string("page"), row.text("unchecked"));
    Some(Cite { doc: doc?, title: title?.value, page, unchecked })
}

fn confirmed(row: &mut Row) -> Option<Confirmed> {
    let (doc, title) = (row.need_string("doc"), row.need_string("title"));
    let (page, date) = (row.string("page"), row.need_string("date"));
    Some(Confirmed { doc: doc?, title: title?.value, page, date: date? })
}

fn excuse(row: &mut Row) -> Option<Excuse> {
    let (doc, reason) = (row.need_string("doc"), row.need_string("reason"));
    Some(Excuse { doc: doc?, reason: reason?.value })
}

/// The tables of `key = [{ … }]`.
fn list<T>(row: &mut Row, key: &'static str, load: impl Fn(&mut Row) -> Option<T>) -> Vec<T> {
    let mut all = Vec::new();
    for mut item in row.rows(key) {
        all.extend(load(&mut item));
        item.finish();
    }
    all
}

/// The value that reserved bits or bytes must have, if they are reserved.
pub(super) fn reserved(row: &mut Row) -> Option<u64> {
    row.unsigned("reserved", 1).map(|value| value.value)
}

/// `key`'s rows, read by `load`, with the citation of their parent to inherit.
pub(super) fn parts<T>(
    row: &mut Row,
    key: &'static str,
    parent: Option<&Head>,
    load: impl Fn(&mut Row, Option<&Cite>) -> Option<T>,
) -> Vec<T> {
    let mut all = Vec::new();
    for mut part in row.rows(key) {
        // A parent without a citation has been complained about; its parts need not be.
        if let Some(parent) = parent {
            all.extend(load(&mut part, Some(&parent.cite)));
            part.finish();
        }
    }
    all
}

pub(super) fn layout(row: &mut Row, module: ModuleId) -> Option<Layout> {
    let (head, cpuid) = (head(row, None), cpuid(row));
    let width = row.need_word("width", WIDTHS);
    let fields = parts(row, "field", head.as_ref(), layout_field);
    Some(Layout { module, head: head?, width: width?.value, cpuid, fields })
}

fn cpuid(row: &mut Row) -> Option<CpuidPlace> {
    let mut place = row.table("cpuid")?;
    let leaf = place.need_unsigned("leaf", u32::MAX.into());
    let (subleaf, register) =
        (place.unsigned("subleaf", u32::MAX.into()), place.need_word("register", CpuidRegister::ALL));
    place.finish();
    let number = |n| u32::try_from(n).expect("in range");
    Some(CpuidPlace {
        leaf: number(leaf?.value),
        subleaf: number(subleaf.map_or(0, |n| n.value)),
        register: register?.value,
    })
}

pub(super) fn layout_field(row: &mut Row, parent: Option<&Cite>) -> Option<LayoutField> {
    let head = head(row, parent);
    let (bits, ty, reserved) = (row.need_bits("bits"), row.string("type"), reserved(row));
    Some(LayoutField { head: head?, bits: bits?, ty, reserved })
}

pub(super) fn enumeration(row: &mut Row, module: ModuleId) -> Option<Enum> {
    let head = head(row, None);
    let width = row.need_word("width", WIDTHS);
    let others = row.need_word("others", &[("reserved", "reserved"), ("none", "none")]);
    let max = width.as_ref().map_or(u64::MAX, |width| u64::MAX >> (64 - width.value));
    let values = parts(row, "value", head.as_ref(), |row, parent| {
        let head = super::types::head(row, parent);
        let number = row.need_unsigned("number", max);
        Some(EnumValue { head: head?, number: number? })
    });
    Some(Enum { module, head: head?, width: width?.value, others: others?.value.to_owned(), values })
}

pub(super) fn msr(row: &mut Row, module: ModuleId) -> Option<Msr> {
    let head = head(row, None);
    let (address, layout) = (row.need_unsigned("address", u32::MAX.into()), row.string("layout"));
    let reset = row.unsigned("reset", u64::MAX);
    Some(Msr { module, head: head?, address: address?, layout, reset })
}
