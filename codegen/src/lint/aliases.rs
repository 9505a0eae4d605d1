//! Other names of a row are not those of its neighbours.

use std::collections::BTreeMap;

use crate::diagnostics::Diagnostic;
use crate::model::{Area, Head, Spec, Vendor};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    table(spec.fields.iter().map(|row| &row.head), out);
    for vendor in Vendor::ALL {
        table(spec.exits_of(vendor).map(|row| &row.head), out);
        table(spec.msrs.iter().filter(|row| spec.vendor(row.module) == vendor).map(|row| &row.head), out);
    }
    table(spec.instruction_errors.iter().map(|row| &row.head), out);
    table(spec.controls.iter().map(|row| &row.head), out);
    spec.controls.iter().for_each(|row| table(row.bits.iter().map(|bit| &bit.head), out));
    table(spec.layouts.iter().map(|row| &row.head), out);
    spec.layouts.iter().for_each(|row| table(row.fields.iter().map(|field| &field.head), out));
    table(spec.enums.iter().map(|row| &row.head), out);
    spec.enums.iter().for_each(|row| table(row.values.iter().map(|value| &value.head), out));
    table(spec.clean.iter().map(|row| &row.head), out);
    for area in [Area::Control, Area::Save, Area::Vmsa] {
        table(spec.members_of(area).map(|row| &row.head), out);
    }
    spec.members.iter().for_each(|row| table(row.bits.iter().map(|bit| &bit.head), out));
    table(spec.words.iter().map(|row| &row.head), out);
    table(spec.intercepts.iter().map(|row| &row.head), out);
}

fn table<'a>(rows: impl Iterator<Item = &'a Head>, out: &mut Vec<Diagnostic>) {
    let rows: Vec<_> = rows.collect();
    // Names that are there twice are another lint's business; of a name its row counts, of an alias the first.
    let mut taken: BTreeMap<&str, _> = BTreeMap::new();
    for head in &rows {
        taken.insert(head.name(), (head.name.span, *head));
    }
    for head in rows {
        for alias in &head.aliases {
            let Some((span, other)) = taken.get(alias.value.as_str()) else {
                taken.insert(&alias.value, (alias.span, head));
                continue;
            };
            let message = if other.span == head.span {
                format!("{} has the name `{}` anyway", head.name(), alias.value)
            } else {
                format!("{} has the alias `{}`, which is a name of {}", head.name(), alias.value, other.name())
            };
            out.push(Diagnostic::new(alias.span, message).related(*span, format!("{} is here", other.name())));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    /// What is found when `GUEST_RSP` has these aliases.
    fn with(aliases: &str) -> Vec<String> {
        after("intel/vmcs.toml", "encoding = 0x681c\n", &format!("encoding = 0x681c\naliases = [{aliases}]\n"))
    }

    #[test]
    fn the_name_of_a_neighbour() {
        assert_eq!(with("\"Guest SP\""), [""; 0]);
        assert_eq!(with("\"GUEST_RIP\""), ["GUEST_RSP has the alias `GUEST_RIP`, which is a name of GUEST_RIP"]);
    }

    #[test]
    fn a_name_that_the_row_has_anyway() {
        assert_eq!(with("\"GUEST_RSP\""), ["GUEST_RSP has the name `GUEST_RSP` anyway"]);
        assert_eq!(with("\"SP\", \"SP\""), ["GUEST_RSP has the name `SP` anyway"]);
        assert_eq!(with("\" \""), ["an empty text in `aliases`"]);
    }
}
