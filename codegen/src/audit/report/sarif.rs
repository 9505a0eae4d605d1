//! SARIF 2.1.0, which services show beside the lines of a pull request.

use serde_json::{Value, json};

use super::{Report, there};
use crate::audit::compare::{Comparison, Finding, Here, Outcome};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

pub(super) fn print(report: &Report) -> String {
    let rules = Outcome::ALL.iter().map(|outcome| {
        json!({
            "id": outcome.id(),
            "shortDescription": { "text": outcome.meaning() },
            "defaultConfiguration": { "level": level(*outcome) },
        })
    });
    let results = report.comparisons.iter().flat_map(|comparison| {
        comparison.findings().filter(|finding| report.shows(finding)).map(|finding| result(comparison, finding))
    });
    let unread: Vec<_> = report
        .unread
        .iter()
        .map(|error| json!({ "level": "error", "message": { "text": error.to_string() } }))
        .chain(report.comparisons.iter().flat_map(|comparison| {
            comparison.unreadable.iter().map(|row| {
                let text = format!("{}: {}: {}: {}", comparison.path, row.place, row.why, row.text);
                json!({ "level": "warning", "message": { "text": text } })
            })
        }))
        .collect();
    let all = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "x86-vcpu-spec",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.collect::<Vec<_>>(),
            } },
            "invocations": [{
                "executionSuccessful": report.unread.is_empty(),
                "toolExecutionNotifications": unread,
            }],
            "columnKind": "unicodeCodePoints",
            "results": results.collect::<Vec<_>>(),
        }],
    });
    // Values of these kinds always have a JSON form.
    serde_json::to_string_pretty(&all).expect("string keys") + "\n"
}

fn level(outcome: Outcome) -> &'static str {
    match outcome {
        outcome if outcome.fails() => "error",
        Outcome::Unneeded | Outcome::Remark => "warning",
        _ => "note",
    }
}

fn result(comparison: &Comparison, finding: &Finding) -> Value {
    let mut text = format!("{}: {}", comparison.title, finding.message);
    text.extend(there(finding).map(|there| format!(" ({there})")));
    let rule = Outcome::ALL.iter().position(|outcome| *outcome == finding.outcome);
    let mut result = json!({
        "ruleId": finding.outcome.id(),
        "ruleIndex": rule,
        "level": level(finding.outcome),
        "message": { "text": text },
        // The same finding in a later run, whatever lines moved in between.
        "partialFingerprints": { "audit/v1": fingerprint(comparison, finding) },
    });
    // What has no row in the tables is shown where the document is.
    let line = finding.there.as_ref().and_then(|there| there.place.line);
    let theirs = location(&comparison.path, line.map(u64::from));
    result["locations"] = match &finding.here {
        Some(Here { path, line, .. }) => json!([location(path, u64::try_from(*line).ok())]),
        None => json!([theirs.clone()]),
    };
    if finding.here.is_some() && finding.there.is_some() {
        let mut related = theirs;
        related["id"] = json!(1);
        related["message"] = json!({ "text": there(finding).unwrap_or_default() });
        result["relatedLocations"] = json!([related]);
    }
    if let Some(reason) = &finding.reason
        && finding.outcome == Outcome::Excused
    {
        result["suppressions"] = json!([{ "kind": "inSource", "justification": reason }]);
    }
    result
}

fn location(path: &str, line: Option<u64>) -> Value {
    let mut place = json!({ "artifactLocation": { "uri": uri(path) } });
    if let Some(line) = line.filter(|line| *line > 0) {
        place["region"] = json!({ "startLine": line });
    }
    json!({ "physicalLocation": place })
}

/// A path as a URI reference.
fn uri(path: &str) -> String {
    let path = path.replace('\\', "/");
    let mut out = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.strip_prefix("./").unwrap_or(&path).bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn fingerprint(comparison: &Comparison, finding: &Finding) -> String {
    let document = comparison.doc.as_deref().unwrap_or(&comparison.title);
    let name = |here: Option<&str>| here.unwrap_or_default().to_owned();
    let here = name(finding.here.as_ref().map(|here| here.name.as_str()));
    let there = name(finding.there.as_ref().map(|there| there.name.as_str()));
    format!("{document}/{}/{here}/{there}", finding.outcome.id())
}
