//! What the bits of a value mean, and what the bits of a type are.

use crate::model::{Part, Spec};

use super::number::both;
use super::page::{Cell, Ink, Page};
use super::types::{Content, Shape, shape};
use super::{Result, Unknown, find};

/// The table of a type: its bits or its values.
pub(super) fn table(page: &mut Page, shape: &Shape) {
    match &shape.content {
        Content::Word(parts) => page.rows(parts.iter().map(|part| {
            let mut meaning = part.head.manual_name.clone();
            if let Some(ty) = part.ty {
                meaning.push_str(&format!(" ({ty})"));
            }
            if let Some(value) = part.reserved {
                meaning.push_str(&format!("; must be {value}"));
            }
            if let Some((_, bit)) = part.control {
                meaning.push_str(if bit.default1 { "; default1" } else { "" });
                meaning.push_str(if bit.retired.is_some() { "; retired" } else { "" });
            }
            let ink = if part.reserved.is_some() { Ink::Faint } else { Ink::Name };
            vec![part.bits.place().into(), Cell::new(ink, part.head.name()), meaning.into()]
        })),
        Content::Values(values, complete) => {
            page.rows(values.iter().map(|(number, head)| {
                vec![shown(*number).into(), Cell::new(Ink::Name, head.name()), head.manual_name.as_str().into()]
            }));
            if !complete {
                page.line(Cell::new(Ink::Faint, "Other values are reserved, or not in any table."));
            }
        }
    }
}

fn shown(number: i128) -> String {
    u64::try_from(number).map_or_else(|_| number.to_string(), both)
}

/// Refuses a value that is too wide.
pub(super) fn fits(shape: &Shape, value: u64) -> Result<()> {
    if shape.width < 64 && value >> shape.width != 0 {
        let message = format!("{value:#x} does not fit into the {} bits of {}", shape.width, shape.name);
        return Err(Unknown { message, candidates: Vec::new() });
    }
    Ok(())
}

/// Adds what `value` means as a `shape`: a line per bit that is set and per range of bits.
pub(super) fn decode(spec: &Spec, page: &mut Page, shape: &Shape, value: u64) -> Result<()> {
    fits(shape, value)?;
    match &shape.content {
        Content::Word(parts) => word(spec, page, parts, shape.width, value),
        Content::Values(values, _) => {
            let signed = i128::from(value.cast_signed());
            let found = values.iter().find(|(number, _)| *number == i128::from(value) || *number == signed);
            let Some((number, head)) = found else { return Err(unlisted(shape, value)) };
            page.rows([vec![
                shown(*number).into(),
                Cell::new(Ink::Name, head.name()),
                head.manual_name.as_str().into(),
            ]]);
            page.facts(head.note.iter().map(|note| ("note", note.as_str().into())));
        }
    }
    Ok(())
}

/// A value that no table lists, with those around it.
pub(super) fn unlisted(shape: &Shape, value: u64) -> Unknown {
    let Content::Values(values, _) = &shape.content else {
        return Unknown { message: String::new(), candidates: Vec::new() };
    };
    let mut near: Vec<_> = values.iter().collect();
    near.sort_by_key(|(number, _)| number.abs_diff(value.into()).min(number.abs_diff(value.cast_signed().into())));
    let line = |(number, head): &&(i128, &crate::model::Head)| {
        format!("{}: {}.{}, {}", shown(*number), shape.name, head.name(), head.manual_name)
    };
    Unknown {
        message: format!("no table lists {} as a value of {}", both(value), shape.name),
        candidates: near.iter().take(5).map(line).collect(),
    }
}

fn word(spec: &Spec, page: &mut Page, parts: &[Part], width: u32, value: u64) {
    let mut rows = Vec::new();
    let mut clear = Vec::new();
    lines(spec, &mut rows, &mut clear, parts, value, "", 0);
    let mut unlisted = parts.iter().fold(value, |rest, part| rest & !part.bits.mask());
    while unlisted != 0 {
        let bit = unlisted.trailing_zeros();
        unlisted &= unlisted - 1;
        rows.push((bit, wrong(bit.to_string(), "-", "1", "no table says what this bit is")));
    }
    rows.sort_by_key(|(low, _)| *low);
    if rows.is_empty() {
        page.line(format!("None of the {width} bits is set."));
    }
    page.rows(rows.into_iter().map(|(_, row)| row));
    if !clear.is_empty() {
        page.facts([("clear:", Cell::new(Ink::Faint, clear.join(", ")))]);
    }
}

fn wrong(place: String, name: &str, value: impl Into<String>, why: impl Into<String>) -> Vec<Cell> {
    vec![place.into(), Cell::new(Ink::Wrong, name), value.into().into(), Cell::new(Ink::Wrong, why)]
}

/// A line per bit and per range, each with its lowest bit; and the names of the bits that are 0.
fn lines(
    spec: &Spec,
    rows: &mut Vec<(u32, Vec<Cell>)>,
    clear: &mut Vec<String>,
    parts: &[Part],
    value: u64,
    prefix: &str,
    base: u32,
) {
    for part in parts {
        let own = part.of(value);
        let name = format!("{prefix}{}", part.head.name());
        let mut bits = part.bits;
        (bits.low, bits.high) = (bits.low + base, bits.high + base);
        let place = bits.place();
        if let (Some(reserved), Some(wanted)) = (part.reserved, part.wanted()) {
            if own != wanted {
                let default1 = part.control.is_some_and(|(_, bit)| bit.default1);
                let unless = if default1 { ", unless the TRUE capability MSR allows 0" } else { "" };
                let why = format!("reserved: must be {reserved}{unless} ({})", part.head.manual_name);
                rows.push((bits.low, wrong(place, &name, both(own), why)));
            }
            continue;
        }
        if part.is_flag() {
            if own == 0 {
                clear.push(name);
                continue;
            }
            let mut meaning = part.head.manual_name.clone();
            if let Some(retired) = part.control.and_then(|(_, bit)| bit.retired.as_ref()) {
                meaning.push_str(&format!(" (retired: {retired})"));
            }
            rows.push((bits.low, vec![place.into(), Cell::new(Ink::Name, name), "1".into(), meaning.into()]));
            continue;
        }
        let mut shown = both(own);
        let mut meaning = part.head.manual_name.clone();
        match part.ty.and_then(|ty| shape(spec, ty)) {
            Some(Shape { content: Content::Values(values, _), .. }) => {
                match values.iter().find(|(number, _)| *number == i128::from(own)) {
                    Some((_, head)) => {
                        shown = format!("{own:#x} {}", head.name());
                        meaning.push_str(&format!(": {}", head.manual_name));
                    }
                    None => meaning.push_str(": a value that no table lists"),
                }
                rows.push((bits.low, vec![place.into(), Cell::new(Ink::Name, name), shown.into(), meaning.into()]));
            }
            Some(Shape { content: Content::Word(inner), .. }) => {
                rows.push((
                    bits.low,
                    vec![place.into(), Cell::new(Ink::Name, name.as_str()), shown.into(), meaning.into()],
                ));
                // A type may hold itself only by mistake, and a lint has nothing against it.
                if prefix.matches('.').count() < 3 {
                    lines(spec, rows, clear, &inner, own, &format!("{name}."), bits.low);
                }
            }
            None => {
                if bits.low >= 4 && own != 0 && part.bits.width() > 16 {
                    meaning.push_str(&format!("; in its place {:#x}", own << part.bits.low));
                }
                rows.push((bits.low, vec![place.into(), Cell::new(Ink::Name, name), shown.into(), meaning.into()]));
            }
        }
    }
}

/// A value in one line: the bits that are set and what the ranges hold, or the name of the value.
pub(super) fn line(spec: &Spec, shape: &Shape, value: u64) -> String {
    match &shape.content {
        Content::Values(values, _) => {
            let signed = i128::from(value.cast_signed());
            let found = values.iter().find(|(number, _)| *number == i128::from(value) || *number == signed);
            found.map_or_else(|| "a value that no table lists".to_owned(), |(_, head)| head.manual_name.clone())
        }
        Content::Word(parts) => {
            let listed = parts.iter().fold(0, |all, part| all | part.bits.mask());
            let mut said: Vec<String> = parts.iter().filter_map(|part| briefly(spec, part, value)).collect();
            if value & !listed != 0 {
                said.push(format!("bits that no table lists: {:#x}", value & !listed));
            }
            if said.is_empty() { "no bit is set".to_owned() } else { said.join(", ") }
        }
    }
}

/// What a part of a word says, if it says anything.
fn briefly(spec: &Spec, part: &Part, value: u64) -> Option<String> {
    let (own, name) = (part.of(value), part.head.name());
    if let Some(wanted) = part.wanted() {
        return (own != wanted).then(|| format!("reserved {} = {own:#x}", part.bits.place()));
    }
    if part.is_flag() {
        return (own != 0).then(|| name.to_owned());
    }
    let named = match part.ty.and_then(|ty| shape(spec, ty)).map(|shape| shape.content) {
        Some(Content::Values(values, _)) => {
            values.iter().find(|(number, _)| *number == i128::from(own)).map(|(_, head)| head.name().to_owned())
        }
        _ => None,
    };
    match named {
        Some(named) => Some(format!("{name} = {named}")),
        None => (own != 0).then(|| format!("{name} = {own:#x}")),
    }
}

/// The type that `name` means: a type, or the type of what has that name.
pub(super) fn type_called(spec: &Spec, name: &str) -> Result<String> {
    if shape(spec, name).is_some() {
        return Ok(name.to_owned());
    }
    let wanted = find::squash(name);
    let names = super::types::names(spec);
    let exact = names.iter().find(|ty| find::squash(ty) == wanted);
    let by_manual =
        || names.iter().find(|ty| shape(spec, ty).is_some_and(|shape| find::squash(shape.manual_name) == wanted));
    if let Some(ty) = exact.or_else(by_manual) {
        return Ok(ty.clone());
    }
    let entries = find::named(spec, name, None);
    let mut types: Vec<_> = entries.iter().filter_map(|entry| type_of(spec, *entry)).collect();
    types.sort();
    types.dedup();
    match types.as_slice() {
        [ty] => Ok(ty.clone()),
        [] if entries.is_empty() => {
            let mut near: Vec<_> =
                names.iter().map(|ty| (strsim::osa_distance(&find::squash(ty), &wanted), ty)).collect();
            near.retain(|(distance, ty)| {
                *distance <= 1 + wanted.len() / 3 || wanted.len() > 2 && find::squash(ty).contains(&wanted)
            });
            near.sort();
            let candidates = near.into_iter().take(8).map(|(_, ty)| ty.clone()).collect();
            Err(Unknown { message: format!("there is no type `{name}`"), candidates })
        }
        [] => Err(Unknown {
            message: format!("`{name}` is a plain number: its bits have no names"),
            candidates: Vec::new(),
        }),
        _ => Err(Unknown { message: format!("`{name}` means several types"), candidates: types }),
    }
}

/// The type of the values that an entry has.
pub(super) fn type_of(spec: &Spec, entry: super::entry::Entry) -> Option<String> {
    use super::entry::Entry::*;
    let ty = match entry {
        Field(field) => Some(field.ty.as_ref()?.value.as_str()),
        Msr(msr) => Some(msr.layout.as_ref()?.value.as_str()),
        Member(member) => crate::model::Types::of_member(spec, member),
        Control(control) => Some(control.head.name()),
        Word(word) => Some(word.head.name()),
        LayoutField(_, field) | MemberBit(_, field) => Some(field.ty.as_ref()?.value.as_str()),
        Layout(layout) => Some(layout.head.name()),
        Enum(table) => Some(table.head.name()),
        _ => None,
    };
    ty.map(str::to_owned)
}
