//! `entry_checks.toml`: a function per rule, and the table of all.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::quote;

use crate::expression::{Binary, EntryPart, Expr, Place, Rule, Rules};
use crate::model::{ControlWord, Phase, Severity, Vendor};

use super::Emitter;
use super::docs::{doc, sentence};
use super::tokens::{decimal, hex, ident};

impl Emitter<'_> {
    pub(super) fn entry_checks(&self, vendor: Vendor) -> TokenStream {
        let rules = self.spec.rules(vendor);
        let writer = Writer { rules, functions: RefCell::default(), asked: RefCell::default() };
        let items: Vec<_> = rules.rules.iter().map(|rule| self.entry_check(rule, &writer)).collect();
        let names = rules.rules.iter().map(|rule| ident(&rule.name));
        let functions = writer.functions.into_inner().into_values();
        let places = places(rules);
        quote! {
            #[allow(unused_imports, reason = "a spec may do without rules, and rules without some operators")]
            use crate::entry::{
                Context, EntryCapabilities, EntryCheck, EntryPhase, EntrySeverity, EntryState, Violations,
                canonical, shift_left, shift_right
            };

            /// The rules that a state breaks, in the order of [`CHECKS`]; those whose [`EntrySeverity`] is no failure too.
            pub fn check<'a>(state: &'a dyn EntryState, capabilities: &'a dyn EntryCapabilities) -> Violations<'a> {
                Violations::of(CHECKS, state, capabilities)
            }

            /// Every rule, in the order in which the tables have them.
            pub static CHECKS: &[&EntryCheck] = &[#(&#names),*];

            #(#items)*
            #(#functions)*
            #places
        }
    }

    fn entry_check(&self, rule: &Rule, writer: &Writer) -> TokenStream {
        let Rule { name, when_text, require_text, explain, hint, .. } = rule;
        let mut lines = vec![sentence(explain), String::new()];
        let conditions: Vec<_> = when_text.iter().map(|when| format!("`{when}`")).collect();
        lines.push(match conditions.join(" and ") {
            none if none.is_empty() => format!("Rule: `{require_text}`."),
            some => format!("Rule: if {some}, then `{require_text}`."),
        });
        if let Some(note) = &rule.note {
            lines.extend([String::new(), sentence(note)]);
        }
        lines.extend([String::new(), self.docs.cite(&rule.cite)]);
        if let Some(why) = &rule.cite.unchecked {
            lines.extend([String::new(), format!("Unchecked: {}", sentence(why))]);
        }
        let doc = doc(&lines);
        let manual = self.spec.manual(&rule.cite.doc.value);
        let document =
            manual.map_or_else(String::new, |manual| format!("{}, revision {}", manual.short(), manual.revision));
        let section = &rule.cite.title;
        let phase = ident(match rule.phase {
            Phase::Controls => "Controls",
            Phase::Host => "Host",
            Phase::Guest => "Guest",
            Phase::MsrLoad => "MsrLoad",
            Phase::Vmrun => "Vmrun",
        });
        let severity = ident(match rule.severity {
            Severity::Failure => "Failure",
            Severity::Ignored => "Ignored",
            Severity::Undefined => "Undefined",
        });
        let qualification = decimal(rule.qualification);
        let (field, inputs) = (place(&rule.field), rule.inputs.iter().map(place));
        let entries = match &rule.entries {
            Some((count, address)) => {
                let (count, address) = (place(count), place(address));
                quote! { Some((#count, #address)) }
            }
            None => quote! { None },
        };
        let kept = writer.rule(rule);
        let shows = match &rule.shows {
            Some(shows) => {
                let shows = writer.value(shows);
                quote! { Some(|c| #shows) }
            }
            None => quote! { None },
        };
        let item = ident(name);
        quote! {
            #doc
            pub static #item: EntryCheck = EntryCheck {
                name: #name,
                field: #field,
                phase: EntryPhase::#phase,
                severity: EntrySeverity::#severity,
                qualification: #qualification,
                when: &[#(#when_text),*],
                require: #require_text,
                explanation: #explain,
                hint: #hint,
                document: #document,
                section: #section,
                inputs: &[#(#inputs),*],
                entries: #entries,
                kept: |c| #kept,
                shows: #shows,
            };
        }
    }
}

/// The constant of a field.
fn place(place: &Place) -> TokenStream {
    let name = place_ident(place);
    quote! { field::#name }
}

fn place_ident(place: &Place) -> Ident {
    ident(&place.name.replace('.', "_").to_ascii_uppercase())
}

/// A constant per field that some rule names.
fn places(rules: &Rules) -> TokenStream {
    let mut all = BTreeMap::new();
    for rule in &rules.rules {
        let entries = rule.entries.iter().flat_map(|(count, address)| [count, address]);
        for place in rule.inputs.iter().chain([&rule.field]).chain(entries) {
            all.insert(&place.name, place);
        }
    }
    let constants = all.into_values().map(|place| {
        let (constant, name) = (place_ident(place), &place.name);
        let (number, bytes) = (hex(place.number.into()), decimal(place.bytes));
        quote! {
            pub const #constant: EntryField = EntryField { name: #name, number: #number, bytes: #bytes };
        }
    });
    quote! {
        mod field {
            #[allow(unused_imports, reason = "a spec may do without rules")]
            use crate::entry::EntryField;

            #(#constants)*
        }
    }
}

/// Expressions to Rust. `c` is the context.
struct Writer<'r> {
    rules: &'r Rules,
    /// Functions that are called, by their names.
    functions: RefCell<BTreeMap<String, TokenStream>>,
    /// Those of them that were started, since words of controls ask for one another.
    asked: RefCell<BTreeSet<String>>,
}

impl Writer<'_> {
    /// Whether a rule is kept.
    fn rule(&self, rule: &Rule) -> TokenStream {
        // A condition that does not hold is as good as one that is required.
        let parts = rule.when.iter().map(|when| self.negation(when)).chain([self.operand(&rule.require)]);
        let all = quote! { #(#parts)||* };
        if rule.when.is_empty() { bare(all) } else { all }
    }

    /// The function of this name; made if it is not there.
    fn function(&self, name: &str, make: impl FnOnce(&Ident) -> TokenStream) -> TokenStream {
        let function = ident(name);
        if self.asked.borrow_mut().insert(name.to_owned()) {
            let made = make(&function);
            self.functions.borrow_mut().insert(name.to_owned(), made);
        }
        quote! { #function(c) }
    }

    fn definition(&self, index: usize) -> TokenStream {
        let definition = &self.rules.definitions[index];
        self.function(&format!("define_{}", definition.name), |function| {
            let value = self.value(&definition.expr);
            let ty = ident(if definition.is_condition { "bool" } else { "u64" });
            let doc = doc(&[format!("`{}`: `{}`.", definition.name, definition.text)]);
            quote! {
                #doc
                #[allow(unused_variables, reason = "a definition may be a plain number")]
                fn #function(c: &Context<'_>) -> #ty { #value }
            }
        })
    }

    /// Whether the bit that activates a word is 1.
    fn activated(&self, word: ControlWord) -> Option<TokenStream> {
        let (by, bit) = self.rules.capability(word)?.activated_by?;
        Some(self.test(&Expr::Word(by), bit))
    }

    /// The same where nothing stands around it.
    fn is_active(&self, word: ControlWord) -> Option<TokenStream> {
        self.activated(word).map(bare)
    }

    fn word(&self, word: ControlWord) -> TokenStream {
        let Some(capability) = self.rules.capability(word) else { return quote! { 0 } };
        let read = read(&capability.place);
        if capability.activated_by.is_none() {
            return read;
        }
        self.function(&format!("word_{}", word.name()), |function| {
            let activated = self.is_active(word);
            let doc = doc(&[format!("`{}`, which is 0 without the bit that activates it.", word.name())]);
            quote! { #doc fn #function(c: &Context<'_>) -> u64 { if #activated { #read } else { 0 } } }
        })
    }

    fn capability(&self, word: ControlWord) -> TokenStream {
        let Some(capability) = self.rules.capability(word) else { return quote! { 0 } };
        let msr = hex(capability.msr.into());
        let Some((better, basic, bit)) = capability.better else { return quote! { c.msr(#msr) } };
        self.function(&format!("capability_{}", word.name()), |function| {
            let (better, basic, bit) = (hex(better.into()), hex(basic.into()), hex(1 << bit.min(63)));
            let doc = doc(&[format!("The allowed settings of `{}`.", word.name())]);
            quote! {
                #doc
                fn #function(c: &Context<'_>) -> u64 {
                    if c.msr(#basic) & #bit != 0 { c.msr(#better) } else { c.msr(#msr) }
                }
            }
        })
    }

    fn allowed(&self, word: ControlWord) -> TokenStream {
        let Some(capability) = self.rules.capability(word) else { return quote! { false } };
        let (value, msr, wide) = (read(&capability.place), self.capability(word), capability.wide);
        let allowed = quote! { c.allowed(#value, #msr, #wide) };
        match self.activated(word) {
            Some(activated) => quote! { (!#activated || #allowed) },
            None => allowed,
        }
    }

    /// A bit as a condition.
    fn test(&self, value: &Expr, bit: u32) -> TokenStream {
        let (value, mask) = (self.operand(value), hex(1 << bit.min(63)));
        quote! { (#value & #mask != 0) }
    }

    /// The opposite of a condition.
    fn negation(&self, expr: &Expr) -> TokenStream {
        let swapped = |op: &str, left: &Expr, right: &Expr| {
            let (left, right) = (self.operand(left), self.operand(right));
            match op {
                "==" => quote! { (#left == #right) },
                "!=" => quote! { (#left != #right) },
                ">=" => quote! { (#left >= #right) },
                _ => quote! { (#left > #right) },
            }
        };
        match expr {
            Expr::Not(inner) => self.operand(inner),
            Expr::Bit(value, bit) => {
                let (value, mask) = (self.operand(value), hex(1 << (*bit).min(63)));
                quote! { (#value & #mask == 0) }
            }
            Expr::Binary(Binary::Equal, left, right) => swapped("!=", left, right),
            Expr::Binary(Binary::Unequal, left, right) => swapped("==", left, right),
            Expr::Binary(Binary::Less, left, right) => swapped(">=", left, right),
            Expr::Binary(Binary::AtLeast, left, right) => swapped(">", right, left),
            Expr::Binary(Binary::More, left, right) => swapped(">=", right, left),
            Expr::Binary(Binary::AtMost, left, right) => swapped(">", left, right),
            // Each side once, as before.
            Expr::All(left, right) => {
                let (left, right) = (self.negation(left), self.negation(right));
                quote! { (#left || #right) }
            }
            Expr::Any(left, right) => {
                let (left, right) = (self.negation(left), self.negation(right));
                quote! { (#left && #right) }
            }
            Expr::Same(left, right) => {
                let (left, right) = (self.operand(left), self.operand(right));
                quote! { (#left != #right) }
            }
            _ => {
                let value = self.operand(expr);
                quote! { !#value }
            }
        }
    }

    /// A value that stands alone.
    fn value(&self, expr: &Expr) -> TokenStream {
        bare(self.operand(expr))
    }

    /// A value that operators may stand around.
    fn operand(&self, expr: &Expr) -> TokenStream {
        match expr {
            Expr::Number(number) => {
                let number = hex(*number);
                quote! { #number }
            }
            Expr::Bool(value) => quote! { #value },
            Expr::Read(place) => read(place),
            Expr::Word(word) => self.word(*word),
            Expr::Msr(address) => {
                let address = hex((*address).into());
                quote! { c.msr(#address) }
            }
            Expr::Cpuid(place) => {
                let (leaf, subleaf) = (hex(place.leaf.into()), decimal(place.subleaf));
                let register = decimal(place.register as u32);
                quote! { c.cpuid(#leaf, #subleaf, #register) }
            }
            Expr::Capability(word) => self.capability(*word),
            Expr::Memory(address, bytes) => {
                let (address, bytes) = (self.value(address), decimal(*bytes));
                quote! { c.memory(#address, #bytes) }
            }
            Expr::CurrentVmcs => quote! { c.current_vmcs() },
            Expr::Entry(EntryPart::Index) => quote! { c.entry(0, 4) },
            Expr::Entry(EntryPart::Reserved) => quote! { c.entry(4, 4) },
            Expr::Entry(EntryPart::Value) => quote! { c.entry(8, 8) },
            Expr::Define(index) => self.definition(*index),
            Expr::Bit(value, bit) => self.test(value, *bit),
            Expr::Bits(value, high, low) => {
                let value = self.operand(value);
                let mask = hex(u64::MAX >> 63_u32.saturating_sub(high.saturating_sub(*low)));
                let shift = decimal(*low);
                match *low {
                    0 => quote! { (#value & #mask) },
                    _ => quote! { (#value >> #shift & #mask) },
                }
            }
            Expr::Not(inner) => self.negation(inner),
            Expr::Complement(value) => {
                let value = self.operand(value);
                quote! { !#value }
            }
            Expr::Binary(op, left, right) => self.binary(*op, left, right),
            Expr::All(left, right) => {
                let (left, right) = (self.operand(left), self.operand(right));
                quote! { (#left && #right) }
            }
            Expr::Any(left, right) => {
                let (left, right) = (self.operand(left), self.operand(right));
                quote! { (#left || #right) }
            }
            Expr::Same(left, right) => {
                let (left, right) = (self.operand(left), self.operand(right));
                quote! { (#left == #right) }
            }
            Expr::In(value, ranges) => {
                let value = self.value(value);
                let ranges = ranges.iter().map(|(low, high)| {
                    let (first, last) = (hex(*low), hex(*high));
                    if low == high {
                        quote! { #first }
                    } else {
                        quote! { #first..=#last }
                    }
                });
                quote! { matches!(#value, #(#ranges)|*) }
            }
            Expr::Canonical(value, width) => {
                let (value, width) = (self.value(value), self.value(width));
                quote! { canonical(#value, #width) }
            }
            Expr::Physical(value, width) => {
                let (value, width) = (self.value(value), self.value(width));
                quote! { c.physical(#value, #width) }
            }
            Expr::Masked(value, zeros, ones) => {
                let value = self.operand(value);
                let (mask, ones) = (hex(zeros | ones), hex(*ones));
                quote! { (#value & #mask == #ones) }
            }
            Expr::Allowed(word) => self.allowed(*word),
        }
    }

    fn binary(&self, op: Binary, left: &Expr, right: &Expr) -> TokenStream {
        let (a, b) = (self.operand(left), self.operand(right));
        match op {
            Binary::Or => quote! { (#a | #b) },
            Binary::Xor => quote! { (#a ^ #b) },
            Binary::And => quote! { (#a & #b) },
            Binary::Left | Binary::Right => {
                let (a, b) = (self.value(left), self.value(right));
                let function = ident(if op == Binary::Left { "shift_left" } else { "shift_right" });
                quote! { #function(#a, #b) }
            }
            Binary::Add | Binary::Subtract => {
                let (a, b) = (self.value(left), self.value(right));
                let function = ident(if op == Binary::Add { "wrapping_add" } else { "wrapping_sub" });
                quote! { u64::#function(#a, #b) }
            }
            Binary::Equal => quote! { (#a == #b) },
            Binary::Unequal => quote! { (#a != #b) },
            // `<` is what generics start with, for who prints tokens.
            Binary::Less => quote! { (#b > #a) },
            Binary::AtMost => quote! { (#b >= #a) },
            Binary::More => quote! { (#a > #b) },
            Binary::AtLeast => quote! { (#a >= #b) },
        }
    }
}

/// Without parentheses around everything.
fn bare(tokens: TokenStream) -> TokenStream {
    let mut all = tokens.clone().into_iter();
    match (all.next(), all.next()) {
        (Some(TokenTree::Group(group)), None) if group.delimiter() == Delimiter::Parenthesis => group.stream(),
        _ => tokens,
    }
}

fn read(place: &Place) -> TokenStream {
    let (number, bytes) = (hex(place.number.into()), decimal(place.bytes));
    quote! { c.field(#number, #bytes) }
}
