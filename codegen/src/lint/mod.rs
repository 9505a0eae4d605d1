//! What can be wrong with a spec that could be read: one lint per file.

mod access;
mod aliases;
mod areas;
mod bits;
mod check_expressions;
mod check_inputs;
mod check_names;
mod check_phases;
mod check_repeated;
mod check_unused;
mod citations;
mod clean;
mod collisions;
mod conditions;
mod confirmations;
mod contradictions;
mod controls;
mod coverage;
mod dependencies;
mod empty;
mod encoding;
mod enums;
mod intercepts;
mod manuals;
mod map;
mod modules;
mod msr_bitmaps;
mod msr_coverage;
mod msr_host;
mod msr_names;
mod msr_overlaps;
mod msr_switched;
mod msr_values;
mod names;
mod numbers;
mod payloads;
mod ranges;
mod reserved;
mod reset;
mod types;
mod unique;

use std::collections::BTreeMap;

use crate::diagnostics::{self, Diagnostic};
use crate::load::nearest;
use crate::model::{BitRef, ControlBit, Head, Layout, LayoutBit, Span, Spanned, Spec};

#[cfg(feature = "cli")]
pub(crate) use manuals::is_page;
pub(crate) use names::is_keyword;

/// A lint: appends what it finds.
type Lint = fn(&Spec, &mut Vec<Diagnostic>);

/// What can be said of rows whatever else could not be loaded. None relies on another: each has to bear any model.
const OF_ROWS: &[Lint] =
    &[access::lint, bits::lint, encoding::lint, names::lint, numbers::lint, ranges::lint, unique::lint];

/// What can be said of a whole spec only.
const OF_SPECS: &[Lint] = &[
    aliases::lint,
    areas::lint,
    check_expressions::lint,
    check_inputs::lint,
    check_names::lint,
    check_phases::lint,
    check_repeated::lint,
    check_unused::lint,
    citations::lint,
    clean::lint,
    collisions::lint,
    conditions::lint,
    confirmations::lint,
    contradictions::lint,
    controls::lint,
    coverage::lint,
    dependencies::lint,
    empty::lint,
    enums::lint,
    intercepts::lint,
    manuals::lint,
    map::lint,
    modules::lint,
    msr_bitmaps::lint,
    msr_coverage::lint,
    msr_host::lint,
    msr_names::lint,
    msr_overlaps::lint,
    msr_switched::lint,
    msr_values::lint,
    payloads::lint,
    reserved::lint,
    reset::lint,
    types::lint,
];

/// Every mistake, in the order of the places.
pub fn lint(spec: &Spec) -> Vec<Diagnostic> {
    let mut all = rows(spec);
    OF_SPECS.iter().for_each(|lint| lint(spec, &mut all));
    diagnostics::sort(&mut all);
    all
}

/// The mistakes in the rows of a spec that could not be loaded completely.
pub(crate) fn rows(spec: &Spec) -> Vec<Diagnostic> {
    let mut all = Vec::new();
    OF_ROWS.iter().for_each(|lint| lint(spec, &mut all));
    all
}

/// The mistakes of rows that cannot become Rust. Code can be generated in spite of all others.
#[cfg(feature = "cli")]
pub(crate) fn code(spec: &Spec) -> Vec<Diagnostic> {
    let mut all = Vec::new();
    [bits::lint, names::lint, ranges::lint].iter().for_each(|lint: &Lint| lint(spec, &mut all));
    all
}

/// Something that has to be unique in its table.
struct Item<'a, K> {
    key: K,
    span: Span,
    /// The name of the row.
    name: &'a str,
}

impl<'a, K> Item<'a, K> {
    fn new(value: &Spanned<K>, head: &'a Head) -> Self
    where
        K: Clone,
    {
        Item { key: value.value.clone(), span: value.span, name: head.name() }
    }
}

/// Reports every item whose key an earlier one has. `what` says "encoding 0x681e" of a key.
fn unique<'a, K: Ord>(
    out: &mut Vec<Diagnostic>,
    items: impl IntoIterator<Item = Item<'a, K>>,
    what: impl Fn(&K) -> String,
) {
    let mut first: BTreeMap<K, (Span, &str)> = BTreeMap::new();
    for Item { key, span, name } in items {
        if let Some((other, other_name)) = first.get(&key) {
            let message = format!("{name} has {}, which is that of {other_name} already", what(&key));
            out.push(Diagnostic::new(span, message).label(name).related(*other, format!("{other_name} is here")));
        } else {
            first.insert(key, (span, name));
        }
    }
}

/// The row of a control bit, if it is there and not reserved.
fn control_bit<'s>(spec: &'s Spec, bit: &BitRef, out: &mut Vec<Diagnostic>) -> Option<&'s ControlBit> {
    let Some(control) = spec.control(bit.word) else {
        out.push(Diagnostic::new(bit.span, format!("no `[[control]]` has the id `{}`", bit.word.name())));
        return None;
    };
    match control.bits.iter().find(|row| row.head.name() == bit.bit) {
        Some(row) if row.reserved.is_some() => {
            let error = Diagnostic::new(bit.span, format!("`{bit}` is reserved"));
            out.push(error.related(row.head.name.span, "it is here"));
            None
        }
        Some(row) => Some(row),
        None => {
            let names = control.bits.iter().filter(|row| row.reserved.is_none()).map(|row| row.head.name());
            let name = Spanned { value: bit.bit.clone(), span: bit.span };
            out.push(lacking(control.head.name(), "bit", &name, names));
            None
        }
    }
}

/// The layout of a bit, if both are there and it is a single bit.
fn layout_bit<'s>(spec: &'s Spec, bit: &LayoutBit, out: &mut Vec<Diagnostic>) -> Option<&'s Layout> {
    let Some(layout) = spec.layout(&bit.layout) else {
        let name = Spanned { value: bit.layout.clone(), span: bit.span };
        out.push(unresolved(&name, "layout", spec.layouts.iter().map(|layout| layout.head.name())));
        return None;
    };
    let flags = || layout.fields.iter().filter(|field| field.is_flag()).map(|field| field.head.name());
    if flags().any(|flag| flag == bit.bit) {
        return Some(layout);
    }
    if let Some(field) = layout.fields.iter().find(|field| field.head.name() == bit.bit) {
        let error = Diagnostic::new(bit.span, format!("`{bit}` is no single bit with a meaning"));
        out.push(error.related(field.bits.span, "it is here"));
    } else {
        let name = Spanned { value: bit.bit.clone(), span: bit.span };
        out.push(lacking(&bit.layout, "single bit", &name, flags()));
    }
    None
}

/// "`PrimaryControls` has no bit `X`", with the nearest name that it has.
fn lacking<'n>(of: &str, what: &str, wrong: &Spanned<String>, names: impl Iterator<Item = &'n str>) -> Diagnostic {
    let mut error = unresolved(wrong, what, names);
    error.message = format!("`{of}` has no {what} `{}`", wrong.value);
    error
}

/// "there is no VMCS field `X`", with the nearest name that there is.
fn unresolved<'n>(wrong: &Spanned<String>, what: &str, names: impl Iterator<Item = &'n str>) -> Diagnostic {
    let error = Diagnostic::new(wrong.span, format!("there is no {what} `{}`", wrong.value));
    match nearest(&wrong.value, names) {
        Some(name) => error.help(format!("there is `{name}`")),
        None => error,
    }
}
