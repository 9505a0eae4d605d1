//! For people.

use std::collections::BTreeMap;

use crate::explain::{Cell, Explainer, Ink, Page};
use crate::model::{Cite, Phase, Severity, Spec, Vendor};

use super::super::fields::Fields;
use super::super::{Diagnosis, Dump, Finding, Log, Note, Unjudged};
use super::{Options, chosen};

/// As many lines are shown where there may be thousands.
const SOME: usize = 5;

/// All that is to be said, and whether any entry must fail.
pub fn report(spec: &Spec, log: &Log, options: &Options) -> (Page, bool) {
    let (mut page, mut broken) = (Page::default(), false);
    let teller = Teller { spec, explainer: Explainer::new(spec), fields: Fields::of(spec), options };
    for (number, dump, diagnosis) in chosen(spec, log, options) {
        broken |= !diagnosis.violations.is_empty();
        teller.dump(&mut page, number, log.dumps.len(), dump, &diagnosis);
    }
    if !log.unknown.is_empty() {
        page.heading("lines that mean nothing known");
        notes(&mut page, &log.unknown, options.verbose);
    }
    (page, broken)
}

struct Teller<'a> {
    spec: &'a Spec,
    explainer: Explainer<'a>,
    fields: Fields<'a>,
    options: &'a Options<'a>,
}

impl Teller<'_> {
    fn dump(&self, page: &mut Page, number: usize, count: usize, dump: &Dump, diagnosis: &Diagnosis) {
        let (what, vendor) = structure(dump);
        let (first, last) = dump.lines;
        let of_several = if count > 1 { format!("{number} of {count}, ") } else { String::new() };
        page.title(
            format!("{what} of {}", dump.source.name()),
            format!("{of_several}lines {first} to {last} of {}", self.options.file),
        );
        let mut facts: Vec<_> = dump.about.iter().map(|text| ("from", Cell::from(text.as_str()))).collect();
        let all = self.fields.count(vendor);
        facts.push(("values", format!("{} of {all} fields", dump.values.len()).into()));
        facts.extend(
            diagnosis
                .assumed
                .iter()
                .map(|(name, value)| ("assumed", format!("{name} = {value:#x}, as the dump does not have it").into())),
        );
        if let [first, more @ ..] = &dump.missing[..] {
            let others = if more.is_empty() { String::new() } else { format!(" and {} others", more.len()) };
            let all = if more.is_empty() { "it" } else { "them" };
            let text = format!("{first}{others}: every dump of {} has {all}, a part is cut off", dump.source.name());
            facts.push(("lacks", Cell::new(Ink::Wrong, text)));
        }
        facts.extend(self.failed(dump).into_iter().map(|text| ("failed", Cell::from(text))));
        page.facts(facts);
        if !dump.problems.is_empty() {
            page.heading("values that do not fit");
            notes(page, &dump.problems, true);
        }
        self.verdict(page, diagnosis);
        for finding in &diagnosis.violations {
            self.finding(page, dump, finding);
        }
        self.remarks(page, diagnosis);
        self.unjudged(page, diagnosis);
        if !dump.unknown.is_empty() {
            page.heading("lines that mean nothing known");
            notes(page, &dump.unknown, self.options.verbose);
        }
        if self.options.verbose {
            self.values(page, dump);
        }
    }

    fn verdict(&self, page: &mut Page, diagnosis: &Diagnosis) {
        let judged = diagnosis.kept + diagnosis.violations.len() + diagnosis.remarks.len();
        page.heading(match diagnosis.violations.len() {
            0 => format!("no rule is broken, of {judged} that could be judged"),
            1 => "1 rule is broken".to_owned(),
            count => format!("{count} rules are broken"),
        });
        if diagnosis.violations.is_empty() && !diagnosis.unjudged.is_empty() {
            page.line(format!(
                "If the processor refused this state, it is for one of the {} rules that could not be judged.",
                diagnosis.unjudged.len()
            ));
        }
    }

    fn finding(&self, page: &mut Page, dump: &Dump, finding: &Finding) {
        let (spec, rule) = (self.spec, finding.rule);
        let place = self.fields.get(&rule.field.name);
        let msr = finding.entry.and_then(|entry| Some((entry, dump.msrs.get(&u64::from(entry))?)));
        let title = match msr {
            Some((entry, msr)) => format!("entry {}: {}", u64::from(entry) + 1, self.msr(msr.register, msr.value)),
            None => equation(finding),
        };
        page.title(title, place.map_or("", |place| place.manual_name));
        let mut facts = vec![("why", Cell::from(rule.explain.as_str()))];
        if let Some((_, msr)) = msr {
            facts.push(("value", format!("{:#x} (line {})", msr.value, msr.line).into()));
        } else if let (Some(place), Some(value)) = (place, finding.value) {
            let line = dump.values.get(&rule.field.name).map(|value| format!(" (line {})", value.line));
            let bits = place.ty.and_then(|ty| self.explainer.in_words(ty, value));
            let bits = bits.unwrap_or_else(|| format!("{value:#x}"));
            facts.push(("value", format!("{bits}{}", line.unwrap_or_default()).into()));
        }
        if let Some(shown) = finding.shown {
            facts.push(("at fault", format!("{shown:#x}").into()));
        }
        facts.push(("rule", format!("{}: {}", rule.name, rule.require_text).into()));
        if !rule.when_text.is_empty() {
            facts.push(("where", rule.when_text.join(" and ").into()));
        }
        let others = rule.inputs.iter().filter(|input| input.name != rule.field.name);
        let others = others.filter_map(|input| Some(format!("{} = {:#x}", input.name, dump.value(&input.name)?)));
        let others: Vec<_> = others.collect();
        if !others.is_empty() {
            facts.push(("with", others.join(", ").into()));
        }
        facts.push(("manual", source(spec, &rule.cite).into()));
        facts.push(("ends in", consequence(rule.phase).into()));
        facts.push(("mend", Cell::new(Ink::Strong, rule.hint.as_str())));
        page.facts(facts);
    }

    /// An entry of an MSR area: the register with its name and its value.
    fn msr(&self, register: u64, value: u64) -> String {
        let address = register & u64::from(u32::MAX);
        let row = self.spec.msrs.iter().find(|row| row.address.value == address);
        let name = row.map_or(String::new(), |row| format!(" {}", row.head.name()));
        format!("MSR {register:#x}{name} = {value:#x}")
    }

    /// Those that say the same of several fields as one.
    fn remarks(&self, page: &mut Page, diagnosis: &Diagnosis) {
        if diagnosis.remarks.is_empty() {
            return;
        }
        let mut groups: Vec<(&str, Vec<&Finding>)> = Vec::new();
        for finding in &diagnosis.remarks {
            let explain = finding.rule.explain.as_str();
            match groups.iter_mut().find(|(text, _)| *text == explain) {
                Some((_, group)) => group.push(finding),
                None => groups.push((explain, vec![finding])),
            }
        }
        page.heading(
            "values that the processor takes otherwise, or of which the manual leaves open what comes of them",
        );
        for (explain, group) in groups {
            let all: Vec<_> = group.iter().map(|finding| equation(finding)).collect();
            let severity = group[0].rule.severity;
            let ink = if severity == Severity::Undefined { Ink::Wrong } else { Ink::Faint };
            page.line(Cell::new(Ink::Name, all.join(", ")));
            page.rows([vec![Cell::from(""), Cell::new(ink, severity.name()), explain.into()]]);
        }
    }

    fn unjudged(&self, page: &mut Page, diagnosis: &Diagnosis) {
        if diagnosis.unjudged.is_empty() {
            return;
        }
        page.heading(format!("{} rules could not be judged", diagnosis.unjudged.len()));
        let mut lacking: BTreeMap<String, usize> = BTreeMap::new();
        for one in &diagnosis.unjudged {
            *lacking.entry(self.lacks(one)).or_default() += 1;
        }
        if self.options.verbose {
            let row = |one: &Unjudged| vec![Cell::new(Ink::Name, one.rule.name.as_str()), self.lacks(one).into()];
            page.rows(diagnosis.unjudged.iter().map(row));
            return;
        }
        let mut lacking: Vec<_> = lacking.into_iter().collect();
        lacking.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), name.clone()));
        let more = lacking.len().saturating_sub(2 * SOME);
        let list: Vec<_> =
            lacking.into_iter().take(2 * SOME).map(|(name, count)| format!("{name} ({count})")).collect();
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        page.line(format!(
            "They lack {}{more}: --verbose lists them, --capabilities says what the CPU can.",
            list.join(", ")
        ));
    }

    /// What a rule lacks; of an MSR with its name.
    fn lacks(&self, one: &Unjudged) -> String {
        let address = one.lacks.strip_prefix("MSR ").and_then(|rest| rest.strip_suffix('H'));
        let address = address.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let row = address.and_then(|address| self.spec.msrs.iter().find(|row| row.address.value == address));
        row.map_or_else(|| one.lacks.clone(), |row| format!("msr.{}", row.head.name()))
    }

    /// What is known of the failure, in words.
    fn failed(&self, dump: &Dump) -> Vec<String> {
        let mut said = Vec::new();
        let named = |ty: &str, value: u64| self.explainer.in_words(ty, value).unwrap_or_else(|| format!("{value:#x}"));
        let line = |name: &str| dump.values.get(name).map(|value| value.line).unwrap_or_default();
        if dump.vendor == Some(Vendor::Amd) {
            let code = dump.value("control.EXITCODE").map(|code| (line("control.EXITCODE"), code));
            let reported = dump.failure.map(|(line, code)| match u32::try_from(code) {
                Ok(low) => (line, i64::from(low.cast_signed()).cast_unsigned()),
                Err(_) => (line, code),
            });
            // A VMCB that is as it was before the entry has the exit code of the exit before. Those of failures are negative.
            let code = code.filter(|(_, code)| code.cast_signed() < 0).or(reported).or(code);
            said.extend(
                code.map(|(line, code)| format!("exit code {code:#x} (line {line}): {}", named("ExitCode", code))),
            );
            return said;
        }
        let reported = dump.failure;
        let reason = dump.value("EXIT_REASON").map(|reason| (line("EXIT_REASON"), reason));
        let failing = |reason: &(usize, u64)| reason.1 & ENTRY_FAILURE != 0;
        // VMfail leaves the exit information of the exit before.
        let error = reported.filter(|one| !failing(one) && one.1 != 0);
        let field =
            || Some((line("VM_INSTRUCTION_ERROR"), dump.value("VM_INSTRUCTION_ERROR").filter(|error| *error != 0)?));
        // Each field keeps what an earlier entry left: where the log says which of them counts, only that one does.
        let reason = match (error, reported.filter(failing)) {
            (Some(_), _) => None,
            (None, reported) => reason.filter(failing).or(reported).or(reason),
        };
        let error = error.or_else(|| if reported.is_some_and(|one| failing(&one)) { None } else { field() });
        let reason = reason.filter(|one| failing(one) || error.is_none());
        let either = reported.is_none() && error.is_some() && reason.is_some();
        let either = if either { ", unless the other one is newer" } else { "" };
        if let Some((line, error)) = error {
            let words = named("InstructionError", error);
            said.push(format!("VM-instruction error {error} (line {line}): {words}{either}"));
        }
        if let Some((line, reason)) = reason {
            let word = if reason & ENTRY_FAILURE != 0 { "exit reason" } else { "no failed entry: exit reason" };
            let words = named("ExitReason", reason & BASIC);
            said.push(format!("{word} {reason:#x} (line {line}): {words}{either}"));
            if let Some(qualification) = dump.value("EXIT_QUALIFICATION").filter(|_| reason & ENTRY_FAILURE != 0) {
                let exit =
                    self.spec.exits_of(Vendor::Intel).find(|exit| exit.number.value.cast_unsigned() == reason & BASIC);
                let ty = exit.and_then(|exit| match &exit.information {
                    crate::model::Information::Vmx(information) => information.qualification.as_ref(),
                    crate::model::Information::Svm(_) => None,
                });
                let words = ty.and_then(|ty| self.explainer.in_words(&ty.value, qualification)).unwrap_or_default();
                let words = if words.is_empty() { words } else { format!(": {words}") };
                let msr = qualification.checked_sub(1).filter(|_| reason & BASIC == MSR_LOADING);
                let msr = msr.map(|index| match dump.msrs.get(&index) {
                    Some(entry) => format!(", {}", self.msr(entry.register, entry.value)),
                    None => ", which the dump does not have".to_owned(),
                });
                let msr = msr
                    .map_or(String::new(), |msr| format!(": entry {qualification} of the VM-entry MSR-load area{msr}"));
                said.push(format!("exit qualification {qualification:#x}{words}{msr}"));
            }
        }
        said
    }

    fn values(&self, page: &mut Page, dump: &Dump) {
        page.heading("all values");
        page.rows(dump.values.iter().map(|(name, value)| {
            let ty = self.fields.get(name).and_then(|place| place.ty);
            let words = ty.and_then(|ty| self.explainer.in_words(ty, value.value)).unwrap_or_default();
            let remark = value.remark.as_ref().map(|remark| format!(" ({remark})")).unwrap_or_default();
            let line = Cell::new(Ink::Faint, format!("line {}{remark}", value.line));
            vec![Cell::new(Ink::Name, name.as_str()), format!("{:#x}", value.value).into(), line, words.into()]
        }));
        page.rows(dump.msrs.iter().map(|(place, entry)| {
            let line = Cell::new(Ink::Faint, format!("line {}", entry.line));
            vec![
                Cell::new(Ink::Name, format!("entry {}", place + 1)),
                self.msr(entry.register, entry.value).into(),
                line,
            ]
        }));
    }
}

/// Bit 31 of an exit reason: it is of an entry that failed.
const ENTRY_FAILURE: u64 = 1 << 31;
/// The basic exit reason of an entry that fails because a register of its MSR area is refused.
const MSR_LOADING: u64 = 34;
/// The bits of an exit reason that are the basic one.
const BASIC: u64 = 0xffff;

/// What is dumped, and whose it is.
pub(super) fn structure(dump: &Dump) -> (&'static str, Vendor) {
    match dump.vendor {
        Some(Vendor::Amd) => ("VMCB", Vendor::Amd),
        _ => ("VMCS", Vendor::Intel),
    }
}

fn equation(finding: &Finding) -> String {
    let field = &finding.rule.field.name;
    let entry = finding.entry.map(|entry| format!(", entry {}", u64::from(entry) + 1)).unwrap_or_default();
    match finding.value {
        Some(value) => format!("{field} = {value:#x}{entry}"),
        None => format!("{field}{entry}"),
    }
}

/// Where the manual says so.
pub(super) fn source(spec: &Spec, cite: &Cite) -> String {
    let manual = spec.manual(&cite.doc.value).map_or(cite.doc.value.as_str(), |manual| manual.short());
    let page = cite.page.as_ref().map(|page| format!(", page {}", page.value)).unwrap_or_default();
    format!("{manual}, “{}”{page}", cite.title)
}

fn consequence(phase: Phase) -> &'static str {
    match phase {
        Phase::Controls => "VMfail, VM-instruction error 7: invalid control fields",
        Phase::Host => "VMfail, VM-instruction error 8: invalid host-state fields",
        Phase::Guest => "a VM exit with reason 0x80000021: invalid guest state",
        Phase::MsrLoad => "a VM exit with reason 0x80000022: MSR loading",
        Phase::Vmrun => "#VMEXIT with VMEXIT_INVALID",
    }
}

fn notes(page: &mut Page, notes: &[Note], all: bool) {
    let shown = if all { notes.len() } else { notes.len().min(SOME) };
    page.rows(
        notes[..shown]
            .iter()
            .map(|note| vec![Cell::new(Ink::Faint, format!("line {}", note.line)), note.text.as_str().into()]),
    );
    if shown < notes.len() {
        page.line(Cell::new(Ink::Faint, format!("and {} more: --verbose lists them", notes.len() - shown)));
    }
}
