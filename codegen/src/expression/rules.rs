//! All rows of a vendor's `entry_checks.toml`, templates filled in and expressions typed.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use crate::diagnostics::{self, Diagnostic};
use crate::model::{Cite, ControlWord, Define, Each, EntryCheck, Phase, Severity, Span, Spanned, Spec, Vendor};

use super::lookup::Lookup;
use super::names::{field_place, unresolved};
use super::parse::parse;
use super::resolve::{Known, Resolver, Ty};
use super::syntax::{Kind, Name};
use super::template::{self, Binding, Filled};
use super::typed::{Capability, Expr, Place};
use super::{LONGEST_CHAIN, Problem};

/// As many rows may a file stand for.
const MOST: usize = 4096;

/// An expression with a name.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// The index of its row in [`Spec::defines`].
    pub row: usize,
    /// What it stands for.
    pub expr: Expr,
    /// A condition, else a number.
    pub is_condition: bool,
    /// As it is written.
    pub text: String,
    /// The fields that it reads, through other definitions too.
    pub inputs: Vec<Place>,
    /// How many definitions stand behind one another, this one included.
    chain: u32,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The index of its row in [`Spec::entry_checks`]; nothing if it comes from `requires` or `excludes` of a control bit.
    pub row: Option<usize>,
    /// Where the name of its row stands.
    pub span: Span,
    /// When.
    pub phase: Phase,
    /// With what consequence.
    pub severity: Severity,
    /// The exit qualification of an entry that fails.
    pub qualification: u64,
    /// Where the manual says so.
    pub cite: Cite,
    /// What a reader has to know.
    pub note: Option<String>,
    /// The field at fault.
    pub field: Place,
    /// Without these the rule says nothing.
    pub when: Vec<Expr>,
    /// What has to hold.
    pub require: Expr,
    /// What is shown with a violation.
    pub shows: Option<Expr>,
    /// The number of entries and the address of an MSR area that is looked at entry by entry.
    pub entries: Option<(Place, Place)>,
    /// The fields that it reads, through definitions too.
    pub inputs: Vec<Place>,
    /// `when`, as written.
    pub when_text: Vec<String>,
    /// `require`, as written.
    pub require_text: String,
    /// `shows`, as written.
    pub shows_text: Option<String>,
    /// What the rule is, and why.
    pub explain: String,
    /// How to mend it.
    pub hint: String,
}

/// The rules of a vendor.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Definitions, those that others need before them.
    pub definitions: Vec<Definition>,
    /// Rules in the order of the rows.
    pub rules: Vec<Rule>,
    /// How control words are found, in the order of their ids.
    pub capabilities: Vec<Capability>,
    /// What is wrong.
    pub(crate) problems: Vec<Diagnostic>,
    /// The definitions that anything uses.
    pub(crate) used: BTreeSet<usize>,
}

impl Rules {
    /// Reads the rows of a vendor. What has a mistake is not there; [`lint`](crate::lint()) tells of it.
    pub fn of(spec: &Spec, vendor: Vendor) -> Rules {
        let lookup = Lookup::new(spec, vendor);
        let mut rules = Rules {
            definitions: Vec::new(),
            rules: Vec::new(),
            capabilities: ControlWord::ALL.iter().filter_map(|(word, _)| capability(&lookup, *word)).collect(),
            problems: Vec::new(),
            used: BTreeSet::new(),
        };
        if vendor == Vendor::Intel {
            super::dependencies::rules(&lookup, &mut rules);
        }
        let defines = spec.defines.iter().enumerate().filter(|(_, row)| spec.vendor(row.module) == vendor);
        let checks = spec.entry_checks.iter().enumerate().filter(|(_, row)| spec.vendor(row.module) == vendor);
        let mut rows: Vec<(Span, Row)> = defines.map(|(index, row)| (row.span, Row::Define(index, row))).collect();
        rows.extend(checks.map(|(index, row)| (row.head.span, Row::Check(index, row))));
        rows.sort_by_key(|(span, _)| *span);
        let mut reader =
            Reader { lookup: &lookup, rules: &mut rules, known: HashMap::new(), later: later(spec, &rows) };
        let mut count = 0;
        for (span, row) in rows {
            let each = row.each();
            reader.keys(&row);
            for binding in template::bindings(each) {
                count += 1;
                if count > MOST {
                    let message = format!("the rows up to here stand for more than {MOST}");
                    reader.rules.problems.push(Diagnostic::new(span, message));
                    break;
                }
                match row {
                    Row::Define(index, row) => reader.define(index, row, &binding),
                    Row::Check(index, row) => reader.check(index, row, &binding),
                }
            }
            if count > MOST {
                break;
            }
        }
        diagnostics::sort(&mut rules.problems);
        // Each row that a template stands for repeats the mistakes of the others.
        rules.problems.dedup();
        rules
    }

    /// How a control word is found.
    pub fn capability(&self, word: ControlWord) -> Option<&Capability> {
        self.capabilities.iter().find(|capability| capability.word == word)
    }

    /// The fields that an expression reads, each once.
    pub fn inputs(&self, expr: &Expr) -> Vec<Place> {
        let mut all = Vec::new();
        self.add_inputs(expr, &mut all);
        all
    }

    pub(super) fn add_inputs(&self, expr: &Expr, all: &mut Vec<Place>) {
        let mut add = |place: &Place| {
            if !all.contains(place) {
                all.push(place.clone());
            }
        };
        match expr {
            Expr::Read(place) => add(place),
            Expr::Word(word) | Expr::Allowed(word) => {
                let mut next = Some(*word);
                // A word that activates itself is a mistake, and still not to be followed for ever.
                for _ in 0..ControlWord::ALL.len() {
                    let Some(capability) = next.and_then(|word| self.capability(word)) else { break };
                    add(&capability.place);
                    next = capability.activated_by.map(|(word, _)| word);
                }
            }
            Expr::Define(index) => {
                if let Some(definition) = self.definitions.get(*index) {
                    definition.inputs.iter().for_each(add);
                }
            }
            _ => {}
        }
        for part in expr.parts() {
            self.add_inputs(part, all);
        }
    }

    /// The definitions that an expression uses, directly.
    fn chain(&self, expr: &Expr) -> u32 {
        let own = match expr {
            Expr::Define(index) => self.definitions.get(*index).map_or(0, |definition| definition.chain),
            _ => 0,
        };
        expr.parts().into_iter().map(|part| self.chain(part)).fold(own, u32::max)
    }
}

#[derive(Clone, Copy)]
enum Row<'s> {
    Define(usize, &'s Define),
    Check(usize, &'s EntryCheck),
}

impl<'s> Row<'s> {
    fn each(&self) -> &'s [Each] {
        match self {
            Row::Define(_, row) => &row.each,
            Row::Check(_, row) => &row.each,
        }
    }

    fn name(&self) -> &'s Spanned<String> {
        match self {
            Row::Define(_, row) => &row.name,
            Row::Check(_, row) => &row.head.name,
        }
    }
}

/// The names of all definitions; each is taken out when it is read.
fn later(spec: &Spec, rows: &[(Span, Row)]) -> HashMap<String, Span> {
    let mut all = HashMap::new();
    for (_, row) in rows {
        if let Row::Define(_, define) = row {
            for binding in template::bindings(&define.each).into_iter().take(MOST) {
                let name = template::fill(&spec.sources, &define.name, &define.each, &binding, &mut Vec::new());
                all.insert(name.text, define.name.span);
            }
        }
    }
    all
}

struct Reader<'a, 's> {
    lookup: &'a Lookup<'s>,
    rules: &'a mut Rules,
    known: HashMap<String, Known>,
    later: HashMap<String, Span>,
}

impl<'s> Reader<'_, 's> {
    /// Every key of `each` is used, and in the name, or the rows would have the same one.
    fn keys(&mut self, row: &Row<'s>) {
        let name = row.name();
        for Each { key, values } in row.each() {
            if values.len() > 1 && !template::uses(&name.value, &key.value) {
                let message = format!(
                    "`{}` has no `{{{}}}`, and {} rows would have the name",
                    name.value,
                    key.value,
                    values.len()
                );
                self.rules.problems.push(Diagnostic::new(name.span, message).related(key.span, "the key is here"));
            }
        }
    }

    fn fill(&mut self, text: &Spanned<String>, each: &[Each], binding: &Binding) -> Filled {
        template::fill(&self.lookup.spec.sources, text, each, binding, &mut self.rules.problems)
    }

    fn define(&mut self, index: usize, row: &'s Define, binding: &Binding) {
        let name = self.fill(&row.name, &row.each, binding);
        let text = self.fill(&row.expr, &row.each, binding);
        let found = self.expression(&text, false, None);
        self.later.remove(&name.text);
        let place = self.rules.definitions.len();
        let (expr, ty) = match found {
            Some((expr, ty)) => (expr, Some(ty)),
            None => (Expr::Bool(false), None),
        };
        let (inputs, chain) = (self.rules.inputs(&expr), self.rules.chain(&expr) + 1);
        if chain > LONGEST_CHAIN {
            let message = format!("more than {LONGEST_CHAIN} definitions stand behind one another here");
            self.rules.problems.push(Diagnostic::new(row.name.span, message));
        }
        if matches!(expr, Expr::Bool(_)) && ty.is_some() {
            self.problem(&text, Problem::new(0..text.text.len(), "this is the same whatever the state is"));
        }
        // Of two with one name the first counts; another lint tells of it.
        let ty = ty.filter(|_| chain <= LONGEST_CHAIN);
        let is_condition = !matches!(ty, Some(Ty::Number { .. }));
        let constant = match expr {
            Expr::Number(number) => Some(number),
            _ => None,
        };
        self.known.entry(name.text.clone()).or_insert(Known { index: place, ty, constant });
        let expr = if chain > LONGEST_CHAIN { Expr::Bool(false) } else { expr };
        let text = squeezed(&text.text);
        self.rules.definitions.push(Definition {
            name: name.text,
            row: index,
            expr,
            is_condition,
            text,
            inputs,
            chain,
        });
    }

    fn check(&mut self, index: usize, row: &'s EntryCheck, binding: &Binding) {
        let mut fill = |text: &Spanned<String>| self.fill(text, &row.each, binding);
        let (name, field, require) = (fill(&row.head.name), fill(&row.field), fill(&row.require));
        let when: Vec<_> = row.when.iter().map(&mut fill).collect();
        let (shows, entries) = (row.shows.as_ref().map(&mut fill), row.entries.as_ref().map(&mut fill));
        let (explain, hint) = (fill(&row.explain), fill(&row.hint));

        let has_entries = entries.is_some();
        let field_place = self.field(&field);
        let entries = entries.map(|entries| self.area(&entries));
        let conditions: Vec<_> = when.iter().map(|when| self.expression(when, has_entries, Some(true))).collect();
        let require_expr = self.expression(&require, has_entries, Some(true));
        let shows_text = shows.as_ref().map(|shows| squeezed(&shows.text));
        let shows = shows.map(|shows| self.expression(&shows, has_entries, Some(false)));
        for text in when
            .iter()
            .zip(&conditions)
            .filter(|(_, found)| matches!(found, Some((Expr::Bool(_), _))))
            .map(|(text, _)| text)
        {
            self.problem(text, Problem::new(0..text.text.len(), "this is the same whatever the state is"));
        }
        for (index, text) in when.iter().enumerate() {
            if when[..index].iter().any(|other| squeezed(&other.text) == squeezed(&text.text)) {
                self.problem(text, Problem::new(0..text.text.len(), "this condition is there already"));
            }
        }
        let (Some(field), Some((require_expr, _))) = (field_place, require_expr) else { return };
        if matches!(require_expr, Expr::Bool(_)) {
            return self
                .problem(&require, Problem::new(0..require.text.len(), "this is the same whatever the state is"));
        }
        // Nothing where a part has a mistake.
        let Some(conditions) =
            conditions.into_iter().map(|found| found.map(|(expr, _)| expr)).collect::<Option<Vec<_>>>()
        else {
            return;
        };
        let (Some(shows), Some(entries)) = (transposed(shows), transposed(entries)) else { return };
        let shows = shows.map(|(expr, _)| expr);
        let mut inputs = Vec::new();
        for expr in conditions.iter().chain([&require_expr]) {
            self.rules.add_inputs(expr, &mut inputs);
        }
        for place in entries.iter().flat_map(|(count, address)| [count, address]) {
            if !inputs.contains(place) {
                inputs.push(place.clone());
            }
        }
        self.rules.rules.push(Rule {
            name: name.text,
            row: Some(index),
            span: row.head.name.span,
            phase: row.phase.value,
            severity: row.severity.value,
            qualification: row.qualification.as_ref().map_or(0, |number| number.value),
            cite: row.head.cite.clone(),
            note: row.head.note.clone(),
            field,
            when: conditions,
            require: require_expr,
            shows,
            entries,
            inputs,
            when_text: when.iter().map(|when| squeezed(&when.text)).collect(),
            require_text: squeezed(&require.text),
            shows_text,
            explain: squeezed(&explain.text),
            hint: squeezed(&hint.text),
        });
    }

    fn problem(&mut self, text: &Filled, problem: Problem) {
        // Nothing to say of what was told where it stands.
        if problem.message.is_empty() {
            return;
        }
        let mut error = Diagnostic::new(text.span(problem.range), problem.message);
        error.help = None;
        if let Some(help) = problem.help {
            error = error.help(help);
        }
        if let Some((span, text)) = problem.related {
            error = error.related(span, text);
        }
        self.rules.problems.push(error);
    }

    /// Parses and types; `condition` says which kind is wanted.
    fn expression(&mut self, text: &Filled, entries: bool, condition: Option<bool>) -> Option<(Expr, Ty)> {
        if text.is_broken {
            return None;
        }
        let resolver = Resolver {
            lookup: self.lookup,
            known: &self.known,
            later: &self.later,
            entries,
            used: RefCell::new(BTreeSet::new()),
        };
        let found = parse(&text.text).and_then(|node| match condition {
            Some(true) => resolver.condition(&node),
            Some(false) => resolver.number(&node),
            None => resolver.value(&node),
        });
        self.rules.used.extend(resolver.used.into_inner());
        match found {
            Ok(value) => Some((value.expr, value.ty)),
            Err(problem) => {
                self.problem(text, problem);
                None
            }
        }
    }

    /// The field at fault.
    fn field(&mut self, text: &Filled) -> Option<Place> {
        if text.is_broken {
            return None;
        }
        let found = parse(&text.text).and_then(|node| {
            let resolver = Resolver {
                lookup: self.lookup,
                known: &self.known,
                later: &self.later,
                entries: false,
                used: RefCell::default(),
            };
            match &node.kind {
                Kind::Path(path) => resolver.bits_of_path(path).map(|(place, _)| place),
                _ => Err(Problem::new(node.range, "a field is needed here")),
            }
        });
        match found {
            Ok(place) => Some(place),
            Err(problem) => {
                self.problem(text, problem);
                None
            }
        }
    }

    /// The fields with the number of entries and the address of an MSR area.
    fn area(&mut self, text: &Filled) -> Option<(Place, Place)> {
        let fields = &self.lookup.fields;
        let find = |end: &str| fields.get(format!("{}_{end}", text.text).as_str()).map(|field| field_place(field));
        if let (Some(count), Some(address)) = (find("COUNT"), find("ADDRESS")) {
            return Some((count, address));
        }
        let areas = fields.keys().filter_map(|name| name.strip_suffix("_COUNT"));
        let areas = areas.filter(|name| fields.contains_key(format!("{name}_ADDRESS").as_str()));
        let name = Name { text: text.text.clone(), range: 0..text.text.len() };
        let mut problem = unresolved("MSR area", &name, areas);
        if problem.help.is_none() {
            problem = problem.help("it is what the names of two fields start with, `…_COUNT` and `…_ADDRESS`");
        }
        self.problem(text, problem);
        None
    }
}

fn transposed<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}

/// In one line, each space once.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How a word is found.
fn capability(lookup: &Lookup, word: ControlWord) -> Option<Capability> {
    let control = lookup.control(word)?;
    let field = lookup.fields.get(control.field.value.as_str())?;
    let address = |name: &str| lookup.msrs.get(name).and_then(|msr| u32::try_from(msr.address.value).ok());
    let better = control.true_capability.as_ref().and_then(|name| {
        let basic = lookup.msrs.get(BASIC.0)?;
        let layout = lookup.layouts.get(basic.layout.as_ref()?.value.as_str())?;
        let bit = layout.fields.iter().find(|field| field.head.name() == BASIC.1)?;
        Some((address(&name.value)?, address(BASIC.0)?, bit.bits.low))
    });
    let activated_by = control.activated_by.as_ref().and_then(|by| {
        let bits = &lookup.control(by.word)?.bits;
        let bit = bits.iter().find(|row| row.head.name() == by.bit)?;
        Some((by.word, bit.bits.low))
    });
    Some(Capability {
        word,
        place: field_place(field),
        wide: control.width == 64,
        // Without a row for it the word can be read, and `allowed` is refused.
        msr: address(&control.capability.value).unwrap_or(0),
        better,
        activated_by,
    })
}

/// The MSR and its bit that say that there are TRUE ones.
const BASIC: (&str, &str) = ("IA32_VMX_BASIC", "TRUE_CONTROLS");
