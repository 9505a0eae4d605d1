//! The map names what there is, and everything that it is about once.

use std::collections::BTreeMap;

use crate::diagnostics::Diagnostic;
use crate::model::{Area, Group, Span, Spanned, Spec, Vendor, camel};

use super::{is_keyword, names, unresolved};

/// A list of names that is longer than this is cut.
const LISTED: usize = 10;

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let rows = || spec.exit_map.iter().map(|row| &row.name).chain(spec.state_map.iter().map(|row| &row.name));
    rows().for_each(|name| names::constant(name, out));
    tables(spec, out);
    exits(spec, out);
    state(spec, out);
}

/// A spec may do without the map, but not with half of it.
fn tables(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let lacks = |name: &Spanned<String>, table| {
        Diagnostic::new(name.span, format!("there is no `[[{table}]]` in map.toml")).help("the map has both tables")
    };
    match (spec.exit_map.first(), spec.state_map.first()) {
        (Some(row), None) => out.push(lacks(&row.name, "state_map")),
        (None, Some(row)) => out.push(lacks(&row.name, "exit_map")),
        _ => {}
    }
}

fn exits(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let named = |vendor| spec.exits_of(vendor).map(|exit| exit.head.name().to_owned()).collect::<Vec<_>>();
    let (vmx, svm) = (named(Vendor::Intel), named(Vendor::Amd));
    let mut table = Table::new("exit_map", out);
    let mut variants: BTreeMap<String, &Spanned<String>> = BTreeMap::new();
    for row in &spec.exit_map {
        let variant = camel(&row.name.value);
        if is_keyword(&variant) {
            let message = format!("{} becomes `{variant}`, a keyword of Rust", row.name.value);
            table.out.push(Diagnostic::new(row.name.span, message));
        }
        match variants.get(&variant) {
            Some(first) if first.value != row.name.value => {
                let message = format!("{} becomes `{variant}`, which {} becomes already", row.name.value, first.value);
                let error = Diagnostic::new(row.name.span, message);
                table.out.push(error.related(first.span, format!("{} is here", first.value)));
            }
            Some(_) => {}
            None => drop(variants.insert(variant, &row.name)),
        }
        let empty = [("vmx", row.vmx.is_empty()), ("svm", row.svm.is_empty())];
        table.row(&row.name, empty, row.note.is_some());
        row.vmx.iter().for_each(|name| table.one("exit of VMX", name, &vmx));
        row.svm.iter().for_each(|name| table.one("exit of SVM", name, &svm));
        row.neutral.iter().for_each(|name| names::type_name(name, table.out));
        for (index, name) in row.neutral.iter().enumerate() {
            if let Some(first) = row.neutral[..index].iter().find(|first| first.value == name.value) {
                let message = format!("{} has the variant `{}` twice", row.name.value, name.value);
                table.out.push(Diagnostic::new(name.span, message).related(first.span, "the first is here"));
            }
        }
    }
    table.rest("exit of VMX", "exits of VMX", &vmx);
    table.rest("exit of SVM", "exits of SVM", &svm);
}

fn state(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let fields: Vec<_> = spec.fields.iter().map(|field| field.head.name().to_owned()).collect();
    let guest = spec.fields.iter().filter(|field| field.group.value == Group::Guest);
    let guest: Vec<_> = guest.map(|field| field.head.name().to_owned()).collect();
    let members = |area: Area| {
        let named = spec.members_of(area).filter(|member| member.reserved.is_none());
        named.map(move |member| format!("{}.{}", area.name(), member.head.name())).collect::<Vec<_>>()
    };
    let (save, all) = (members(Area::Save), [members(Area::Save), members(Area::Control)].concat());
    let mut table = Table::new("state_map", out);
    for row in &spec.state_map {
        let empty = [("vmx", row.vmx.is_empty()), ("svm", row.svm.is_empty())];
        table.row(&row.name, empty, row.note.is_some());
        row.vmx.iter().for_each(|name| table.one("VMCS field", name, &fields));
        for member in &row.svm {
            let value = format!("{}.{}", member.area.name(), member.member);
            table.one("member", &Spanned { value, span: member.span }, &all);
        }
    }
    table.rest("VMCS field", "VMCS fields of the guest", &guest);
    table.rest("member", "members of the state save area", &save);
}

/// One of the two tables while it is read.
struct Table<'o> {
    key: &'static str,
    out: &'o mut Vec<Diagnostic>,
    rows: BTreeMap<String, Span>,
    /// What was named, and where.
    seen: BTreeMap<(&'static str, String), Span>,
    first: Option<Span>,
}

impl<'o> Table<'o> {
    fn new(key: &'static str, out: &'o mut Vec<Diagnostic>) -> Self {
        Table { key, out, rows: BTreeMap::new(), seen: BTreeMap::new(), first: None }
    }

    /// A row with what of it is empty.
    fn row(&mut self, name: &Spanned<String>, empty: [(&str, bool); 2], note: bool) {
        self.first.get_or_insert(name.span);
        if let Some(first) = self.rows.get(&name.value) {
            let error = Diagnostic::new(name.span, format!("there are two rows `{}`", name.value)).label("again here");
            self.out.push(error.related(*first, "the first is here"));
        } else {
            self.rows.insert(name.value.clone(), name.span);
        }
        match empty.iter().find(|(_, empty)| *empty) {
            Some(_) if empty.iter().all(|(_, empty)| *empty) => {
                self.out.push(Diagnostic::new(name.span, format!("{} names nothing of either vendor", name.value)));
            }
            Some((key, _)) if !note => {
                let error = Diagnostic::new(name.span, format!("{} has an empty `{key}` and no `note`", name.value));
                self.out.push(error.help("the note says what takes its place"));
            }
            _ => {}
        }
    }

    /// A name in a row.
    fn one(&mut self, what: &'static str, name: &Spanned<String>, all: &[String]) {
        if !all.contains(&name.value) {
            return self.out.push(unresolved(name, what, all.iter().map(String::as_str)));
        }
        let key = (what, name.value.clone());
        if let Some(first) = self.seen.get(&key) {
            let error = Diagnostic::new(name.span, format!("the {what} `{}` is in two places", name.value));
            self.out.push(error.label("again here").related(*first, "the first is here"));
        } else {
            self.seen.insert(key, name.span);
        }
    }

    /// What has to be named and is not.
    fn rest(&mut self, what: &'static str, plural: &str, all: &[String]) {
        let Some(first) = self.first else { return };
        let mut missing: Vec<_> =
            all.iter().filter(|name| !self.seen.contains_key(&(what, name.to_string()))).map(String::as_str).collect();
        missing.dedup();
        if missing.is_empty() {
            return;
        }
        let more = missing.len().saturating_sub(LISTED);
        let mut list = missing[..missing.len() - more].join(", ");
        if more > 0 {
            list.push_str(&format!(" and {more} more"));
        }
        let error = Diagnostic::new(first, format!("{plural} that are in no `[[{}]]`: {list}", self.key));
        self.out.push(error.help("what nothing corresponds to is listed too, with an empty list for the other vendor"));
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::with;

    const MAP: &str = include_str!("../../tests/fuzz/corpus/map.toml");

    /// What is found after one text of the map was replaced by another.
    fn after(from: &str, to: &str) -> Vec<String> {
        assert_eq!(MAP.matches(from).count(), 1, "{from}");
        with("map.toml", &MAP.replace(from, to))
    }

    #[test]
    fn a_map_without_mistakes() {
        assert_eq!(with("map.toml", MAP), [""; 0]);
    }

    #[test]
    fn names_that_are_not_there() {
        let found = after("vmx = [\"HLT\"]", "vmx = [\"HTL\"]");
        assert_eq!(found, ["exits of VMX that are in no `[[exit_map]]`: HLT", "there is no exit of VMX `HTL`"]);
        let found = after("\"save.RIP\"", "\"save.EIP\"");
        assert_eq!(
            found,
            [
                "members of the state save area that are in no `[[state_map]]`: save.RIP",
                "there is no member `save.EIP`"
            ]
        );
    }

    #[test]
    fn something_in_two_rows() {
        let found = after("vmx = [\"HLT\"]", "vmx = [\"HLT\", \"CPUID\"]");
        assert_eq!(found, ["the exit of VMX `CPUID` is in two places"]);
    }

    #[test]
    fn an_empty_list_without_a_note() {
        let found = after("note = \"SVM fails so.\"\n", "");
        assert_eq!(found, ["INVALID has an empty `vmx` and no `note`"]);
    }

    #[test]
    fn a_row_of_nothing() {
        let found = after("svm = [\"INVALID\"]", "svm = []");
        assert_eq!(
            found,
            ["exits of SVM that are in no `[[exit_map]]`: INVALID", "INVALID names nothing of either vendor"]
        );
    }

    #[test]
    fn names_of_rows_and_variants() {
        assert_eq!(after("name = \"HLT\"", "name = \"CPUID\""), ["there are two rows `CPUID`"]);
        assert_eq!(after("[\"Halt\"]", "[\"halt\"]"), ["`halt` is not UpperCamelCase, no keyword"]);
        let found = after("[\"Halt\"]", "[\"Halt\", \"Halt\"]");
        assert_eq!(found, ["HLT has the variant `Halt` twice"]);
    }

    #[test]
    fn rows_that_become_one_variant() {
        assert_eq!(after("name = \"HLT\"", "name = \"SELF\""), ["SELF becomes `Self`, a keyword of Rust"]);
        let found = after("name = \"HLT\"", "name = \"CPUID_\"");
        assert_eq!(found, ["CPUID_ becomes `Cpuid`, which CPUID becomes already"]);
    }

    #[test]
    fn half_of_a_map() {
        let text = "[[exit_map]]\nname = \"ALL\"\nvmx = [\"CPUID\", \"HLT\"]\nsvm = [\"INVALID\"]\n";
        assert_eq!(with("map.toml", text), ["there is no `[[state_map]]` in map.toml"]);
    }
}
