//! For programs.

use serde_json::{Map, Value, json};

use crate::model::Spec;

use super::super::{Diagnosis, Dump, Finding, Log, Note};
use super::{Options, chosen, text};

/// All that is to be said as one JSON object, and whether any entry must fail.
pub fn json(spec: &Spec, log: &Log, options: &Options) -> (String, bool) {
    let mut broken = false;
    let dumps: Vec<_> = chosen(spec, log, options)
        .map(|(number, one, diagnosis)| {
            broken |= !diagnosis.violations.is_empty();
            dump(number, one, &diagnosis)
        })
        .collect();
    let all = json!({ "file": options.file, "dumps": dumps, "unknown": notes(&log.unknown) });
    // Values of these kinds always have a JSON form.
    (serde_json::to_string_pretty(&all).expect("string keys") + "\n", broken)
}

fn dump(number: usize, dump: &Dump, diagnosis: &Diagnosis) -> Value {
    let values = dump.values.iter().map(|(name, value)| {
        (name.clone(), json!({ "value": value.value, "line": value.line, "remark": value.remark }))
    });
    let unjudged = diagnosis.unjudged.iter().map(|one| json!({ "rule": one.rule.name, "lacks": one.lacks }));
    let findings = |list: &[Finding]| list.iter().map(finding).collect::<Vec<_>>();
    json!({
        "number": number,
        "source": dump.source.name(),
        "structure": text::structure(dump).0,
        "vendor": dump.vendor.map(|vendor| vendor.name()),
        "lines": [dump.lines.0, dump.lines.1],
        "about": dump.about,
        "failure": dump.failure.map(|(line, number)| json!({ "line": line, "number": number })),
        "assumed": diagnosis.assumed.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Map<_, _>>(),
        "values": values.collect::<Map<_, _>>(),
        "violations": findings(&diagnosis.violations),
        "remarks": findings(&diagnosis.remarks),
        "unjudged": unjudged.collect::<Vec<_>>(),
        "kept": diagnosis.kept,
        "msrs": dump.msrs.iter().map(|(place, entry)| json!({
            "entry": place + 1,
            "register": entry.register,
            "value": entry.value,
            "line": entry.line,
        })).collect::<Vec<_>>(),
        "missing": dump.missing,
        "problems": notes(&dump.problems),
        "unknown": notes(&dump.unknown),
    })
}

fn finding(finding: &Finding) -> Value {
    let rule = finding.rule;
    json!({
        "rule": rule.name,
        "field": rule.field.name,
        "value": finding.value,
        "shown": finding.shown,
        "entry": finding.entry,
        "phase": rule.phase.name(),
        "severity": rule.severity.name(),
        "when": rule.when_text,
        "require": rule.require_text,
        "explain": rule.explain,
        "hint": rule.hint,
        "cite": {
            "doc": rule.cite.doc.value,
            "title": rule.cite.title,
            "page": rule.cite.page.as_ref().map(|page| &page.value),
        },
    })
}

fn notes(notes: &[Note]) -> Vec<Value> {
    notes.iter().map(|note| json!({ "line": note.line, "text": note.text })).collect()
}
