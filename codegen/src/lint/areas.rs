//! The members of the VMCB and of the VMSA account for every byte once.

use crate::diagnostics::Diagnostic;
use crate::model::{Area, Member, Span, Spec};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for area in [Area::Control, Area::Save, Area::Vmsa] {
        let mut members: Vec<_> = spec.members_of(area).collect();
        members.sort_by_key(|member| (member.offset.value, member.head.span));
        if members.is_empty() {
            continue;
        }
        for member in &members {
            own(member, out);
        }
        order(area, &members, out);
    }
}

/// What can be said of a member alone.
fn own(member: &Member, out: &mut Vec<Diagnostic>) {
    let (offset, size, name) = (member.offset.value, member.size.value, member.head.name());
    if size == 0 {
        return out.push(Diagnostic::new(member.size.span, format!("{name} has no bytes")));
    }
    if offset + size > member.area.size() {
        let message = format!("{name} ends at {:#x}, but its area at {:#x}", offset + size, member.area.size());
        out.push(Diagnostic::new(member.size.span, message));
    }
    // Reserved members become bytes, which stand anywhere.
    if matches!(size, 2 | 4 | 8) && offset % size != 0 && member.reserved.is_none() {
        let error = Diagnostic::new(member.offset.span, format!("{name} is not aligned to its {size} bytes"));
        out.push(error.help(format!(
            "the nearest such offsets are {:#x} and {:#x}",
            offset - offset % size,
            offset.next_multiple_of(size)
        )));
    }
}

/// What can be said of neighbours.
fn order(area: Area, members: &[&Member], out: &mut Vec<Diagnostic>) {
    let (mut end, mut last): (u64, Option<&Member>) = (0, None);
    for &member in members {
        let (offset, name) = (member.offset.value, member.head.name());
        match last {
            Some(last) if offset < end => {
                let message =
                    format!("{name} starts at {offset:#x}, within {} that ends at {end:#x}", last.head.name());
                let error = Diagnostic::new(member.offset.span, message).label(name);
                out.push(error.related(last.offset.span, format!("{} is here", last.head.name())));
            }
            _ if offset > end => out.push(gap(area, end, offset, member.offset.span)),
            _ => {}
        }
        // A member within a larger one must not hide what follows.
        if offset + member.size.value >= end {
            (end, last) = (offset + member.size.value, Some(member));
        }
    }
    if let Some(last) = last.filter(|_| end < area.size()) {
        out.push(gap(area, end, area.size(), last.size.span));
    }
}

fn gap(area: Area, from: u64, to: u64, span: Span) -> Diagnostic {
    let message = format!("no member of area `{}` has the bytes from {from:#x} to {to:#x}", area.name());
    Diagnostic::new(span, message)
        .help(format!("reserved bytes are listed too: `offset = {from:#x}`, `size = {}`", to - from))
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn a_gap() {
        let found = after("amd/vmcb.toml", "offset = 0x018\nsize = 36", "offset = 0x01c\nsize = 32");
        assert_eq!(found, ["no member of area `control` has the bytes from 0x18 to 0x1c"]);
    }

    #[test]
    fn an_overlap() {
        let found = after("amd/vmcb.toml", "offset = 0x018\nsize = 36", "offset = 0x014\nsize = 40");
        assert_eq!(found, ["RESERVED_018 starts at 0x14, within INTERCEPT_MISC3 that ends at 0x18"]);
    }

    #[test]
    fn a_member_that_leaves_its_area() {
        let found = after("amd/vmcb.toml", "offset = 0x180\nsize = 2688", "offset = 0x180\nsize = 2689");
        assert_eq!(found, ["RESERVED_180 ends at 0xc01, but its area at 0xc00"]);
    }

    #[test]
    fn a_member_that_is_not_aligned() {
        let found = after(
            "amd/vmcb.toml",
            "offset = 0x018\nsize = 36\nreserved = 0",
            "offset = 0x018\nsize = 1\nclean = \"none\"\ncite = { doc = \"apm2\", title = \"Layout\" }\n\n[[member]]\n\
             area = \"control\"\nname = \"ODD\"\nmanual_name = \"ODD\"\noffset = 0x019\nsize = 8\nclean = \"none\"\n\
             cite = { doc = \"apm2\", title = \"Layout\" }\n\n[[member]]\narea = \"control\"\nname = \"RESERVED_021\"\n\
             manual_name = \"Reserved\"\noffset = 0x021\nsize = 27\nreserved = 0",
        );
        assert_eq!(found, ["ODD is not aligned to its 8 bytes"]);
    }
}
