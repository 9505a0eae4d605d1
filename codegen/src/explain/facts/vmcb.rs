//! Members of the VMCB and of the VMSA.

use crate::model::{Area, Member, Spec, Types};

use super::Facts;

/// "control+05ch (VMCB 05ch)"
pub(in crate::explain) fn location(member: &Member) -> String {
    let (base, offset) = (member.area.base(), member.offset.value);
    let whole = if base == 0 { String::new() } else { format!(" (VMCB offset {:03x}h)", base + offset) };
    format!("{}+{offset:03x}h{whole}", member.area.name())
}

/// "8 bytes"
pub(in crate::explain) fn size(member: &Member) -> String {
    if member.size.value == 1 { "1 byte".to_owned() } else { format!("{} bytes", member.size.value) }
}

/// The clean-bit group of a member, in words.
pub(super) fn clean(member: &Member) -> String {
    match &member.clean {
        Some(group) => format!("{}: a write has to clear that clean bit", group.value),
        None if member.area == Area::Vmsa => "none: the VMSA has no clean bits".to_owned(),
        None => "none: a write needs no mark".to_owned(),
    }
}

/// Of a member of the VMCB or of the VMSA.
pub(super) fn member(facts: &mut Facts, spec: &Spec, row: &Member) {
    facts.add("offset", location(row));
    facts.add("size", size(row));
    if let Some(value) = row.reserved {
        return facts.add("reserved", format!("must be {value}"));
    }
    facts.add("clean group", clean(row));
    let plain = match row.size.value {
        size @ (1 | 2 | 4 | 8) => format!("u{}", size * 8),
        size => format!("[u8; {size}]"),
    };
    facts.add("type", Types::of_member(spec, row).map_or(plain, str::to_owned));
    if let Some(word) = spec.words.iter().find(|word| word.member.value == row.head.name() && row.area == Area::Control)
    {
        facts.add("intercepts", format!("word {}, {}", word.number.value, word.head.name()));
    }
}
