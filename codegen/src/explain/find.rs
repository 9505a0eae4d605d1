//! From what a user typed to rows, and to what he probably meant.

use crate::model::Spec;

use super::entry::{self, Entry};
use super::{Kind, Unknown, number};

/// How many suggestions are worth reading.
const SUGGESTIONS: usize = 8;

/// Letters and digits alone, in lower case: all that has to agree.
pub(super) fn squash(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Everything that `entry` is called, squashed.
fn keys(entry: Entry) -> Vec<String> {
    let mut keys = vec![squash(entry.name())];
    let mut manual = |text: &str| {
        keys.push(squash(text));
        // "EPT pointer (EPTP)" is called both.
        if let Some((before, rest)) = text.split_once('(') {
            let (inside, after) = rest.split_once(')').unwrap_or((rest, ""));
            keys.extend([squash(&format!("{before}{after}")), squash(inside)]);
        }
    };
    manual(entry.manual_name());
    let head = entry.head();
    head.into_iter().flat_map(|head| &head.aliases).for_each(|alias| manual(&alias.value));
    match entry {
        Entry::VmxExit(exit) | Entry::SvmExit(exit) => keys.push(squash(&exit.payload_name())),
        Entry::Member(member) if !member.bits.is_empty() => keys.extend(member.ty.as_ref().map(|ty| squash(&ty.value))),
        // The prefix says who defined it, and is left out in speech.
        Entry::Msr(msr) => keys.extend(msr.head.name().split_once('_').map(|(_, rest)| squash(rest))),
        // Which of several words a condition is about: `conditions::EntryLoadIa32Pat`.
        Entry::ControlBit(word, bit) => keys.push(squash(word.id.value.name()) + &squash(bit.head.name())),
        Entry::Word(word) => keys.push(squash(&word.member.value)),
        Entry::Control(control) => keys.push(squash(control.id.value.name())),
        Entry::Manual(manual) => keys.extend(manual.order.as_deref().map(squash)),
        _ => {}
    }
    keys.retain(|key| !key.is_empty());
    keys
}

/// The entries of this kind.
pub(super) fn of_kind(spec: &Spec, kind: Option<Kind>) -> Vec<Entry<'_>> {
    let mut all = entry::all(spec);
    all.retain(|entry| kind.is_none_or(|kind| entry.kind() == kind));
    all
}

/// The entries with this name, with what they are a part of in front of it or without.
pub(super) fn named<'s>(spec: &'s Spec, query: &str, kind: Option<Kind>) -> Vec<Entry<'s>> {
    let all = of_kind(spec, kind);
    let find = |name: &str, parent: Option<&str>| -> Vec<Entry<'s>> {
        let (name, parent) = (squash(name), parent.map(squash));
        if name.is_empty() {
            return Vec::new();
        }
        let found = all.iter().copied().filter(|entry| keys(*entry).contains(&name));
        let found: Vec<_> = found
            .filter(|entry| match &parent {
                Some(parent) => entry.parents(spec).iter().any(|p| squash(p) == *parent),
                // Reserved bits have no names of their own.
                None => !entry.is_reserved(),
            })
            .collect();
        found
    };
    // A full stop may be part of a manual's name too: `CPUID.01H:EBX`.
    let path = query.replace("::", ".");
    let part = path.rsplit_once('.').map(|(parent, name)| {
        let parent = parent.rsplit('.').next().unwrap_or(parent);
        find(name, Some(parent))
    });
    let found = part.filter(|found| !found.is_empty()).unwrap_or_else(|| find(query, None));
    match row_of_method(query) {
        Some(row) if found.is_empty() => named(spec, &row, kind),
        _ => found,
    }
}

/// The row that a generated method or mask is for: `with_vector`, `VECTOR_MASK`, `set_save_cpl`.
fn row_of_method(query: &str) -> Option<String> {
    let at = query.rfind([':', '.']).map_or(0, |at| at + 1);
    let (path, name) = query.split_at(at);
    let rest = ["set_", "with_", "save_"].iter().find_map(|prefix| name.strip_prefix(prefix));
    Some(format!("{path}{}", rest.or_else(|| name.strip_suffix("_MASK"))?))
}

/// The entries with this number. Reserved ones only where there is nothing else.
pub(super) fn numbered(spec: &Spec, number: i128, kind: Option<Kind>) -> Vec<Entry<'_>> {
    let mut found = of_kind(spec, kind);
    found.retain(|entry| entry.numbers().contains(&number) || high_half(*entry, number));
    if found.iter().any(|entry| !entry.is_reserved()) {
        found.retain(|entry| !entry.is_reserved());
    }
    found
}

/// Whether this is the encoding of the high half of a 64-bit field.
pub(super) fn high_half(entry: Entry, number: i128) -> bool {
    matches!(entry, Entry::Field(field) if number == i128::from(field.encoding.value) + 1
        && field.width.value == crate::model::Width::W64)
}

/// Nothing has this name: those that are spelled like it, or have it in their name.
pub(super) fn no_name(spec: &Spec, query: &str, kind: Option<Kind>) -> Unknown {
    let wanted = squash(query.rsplit(['.', ':']).next().unwrap_or(query));
    let whole = squash(query);
    let mut near: Vec<_> = of_kind(spec, kind)
        .into_iter()
        .filter(|entry| !entry.is_reserved())
        .filter_map(|entry| {
            let distance = keys(entry).iter().filter_map(|key| distance(&wanted, &whole, key)).min()?;
            Some((distance, entry))
        })
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
    let candidates = near.into_iter().take(SUGGESTIONS).map(|(_, entry)| entry.summary(spec)).collect();
    let mut message = format!("nothing is called `{query}`");
    if number::parse(&format!("{query}h")).is_some() {
        message.push_str(&format!("; a hexadecimal number is written 0x{query} or {query}h"));
    }
    Unknown { message, candidates }
}

/// How far a key is from what was asked for; nothing if too far.
fn distance(wanted: &str, whole: &str, key: &str) -> Option<usize> {
    if wanted.is_empty() {
        return None;
    }
    let edits = strsim::osa_distance(wanted, key).min(strsim::osa_distance(whole, key));
    if edits <= 1 + wanted.chars().count() / 4 {
        return Some(edits);
    }
    // Worse than a misspelling, and the worse the more of the key was left out.
    (wanted.chars().count() >= 3 && key.contains(wanted)).then(|| 10 + key.chars().count() - wanted.chars().count())
}

/// Nothing has this number: the nearest that something has.
pub(super) fn no_number(spec: &Spec, number: i128, kind: Option<Kind>, what: &str) -> Unknown {
    let mut near: Vec<_> = of_kind(spec, kind)
        .into_iter()
        .filter(|entry| !entry.is_reserved())
        .filter_map(|entry| {
            let distance = entry.numbers().into_iter().map(|own| own.abs_diff(number)).min()?;
            Some((distance, entry))
        })
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
    let candidates = near.into_iter().take(SUGGESTIONS).map(|(_, entry)| entry.summary(spec)).collect();
    let shown = if number < 0 { number.to_string() } else { format!("{number:#x} ({number})") };
    Unknown { message: format!("{what} {shown}"), candidates }
}
