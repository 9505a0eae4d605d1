//! What a row has apart from its name and its number.

use super::conditions::{self, Stated};
use super::{Entry, Theirs};
use crate::model::{Spec, Width};

/// What differs, each in a few words; and what could not be compared.
#[derive(Default)]
pub(super) struct Differences {
    pub differ: Vec<String>,
    pub unclear: Vec<String>,
}

pub(super) fn compare(spec: &Spec, ours: &Entry, theirs: &Theirs) -> Differences {
    let mut found = Differences::default();
    let row = theirs.row;
    if let (Some(own), Some(width)) = (ours.width, row.width)
        // The upper half is 32 bits wide, whatever a document calls it.
        && !theirs.half
        && !same_width(own, width)
    {
        found.differ.push(format!("width {} here, {} there", own.name(), width_name(width)));
    }
    if let (Some(own), Some(group)) = (ours.group, row.group.as_deref())
        && own != group
    {
        found.differ.push(format!("group `{own}` here, `{group}` there"));
    }
    if let Some(high) = row.high {
        let (own, wide) = (ours.range.low + 1, ours.width == Some(Width::W64));
        if !wide {
            found.differ.push(format!("no upper half here, one at {high:#06x} there"));
        } else if own != high {
            found.differ.push(format!("upper half {own:#06x} here, {high:#06x} there"));
        }
    }
    if theirs.half && ours.width.is_some_and(|width| width != Width::W64) {
        found.differ.push(format!("no upper half here, one at {:#06x} there", ours.range.low + 1));
    }
    if let (Some(own), Some(default1)) = (ours.default1, row.default1)
        && own != default1
    {
        let class = |default1| if default1 { "in the default1 class" } else { "not in the default1 class" };
        found.differ.push(format!("{} here, {} there", class(own), class(default1)));
    }
    if let Some(text) = &row.condition {
        condition(spec, ours, text, &mut found);
    }
    found
}

fn condition(spec: &Spec, ours: &Entry, text: &str, found: &mut Differences) {
    match conditions::read(spec, text) {
        Stated::Bits(bits) if conditions::same(ours.condition, &bits) => {}
        Stated::Bits(bits) => {
            let own = ours.condition.map_or_else(|| "no condition".to_owned(), |own| format!("exists if `{own}`"));
            found.differ.push(format!("{own} here, `{}` there", conditions::written(&bits)));
        }
        Stated::Unknown(name) => {
            found.unclear.push(format!("the condition names a control “{name}” that is not known"))
        }
        Stated::Nothing => {}
    }
}

/// Natural width is 0; some documents write the 64 bits that it has.
fn same_width(own: Width, width: u32) -> bool {
    match own {
        Width::Natural => width == 0,
        _ => own.bits() == width,
    }
}

fn width_name(width: u32) -> String {
    if width == 0 { "natural".to_owned() } else { width.to_string() }
}
