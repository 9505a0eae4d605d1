//! Entry checks: the rules that the rows stand for, and the definitions that they use.

use serde_json::{Value, json};

use super::{Row, Table};
use crate::model::{Spec, Vendor};

pub(super) fn entry_checks(spec: &Spec) -> Table {
    let mut rows = Vec::new();
    for vendor in [Vendor::Intel, Vendor::Amd] {
        rows.extend(spec.rules(vendor).rules.iter().map(|rule| -> Row {
            let rev = spec.manual(&rule.cite.doc.value).map(|manual| manual.revision.clone());
            let entries = rule.entries.as_ref().map(|(count, address)| [&count.name, &address.name]);
            vec![
                ("name", json!(rule.name)),
                ("manual_name", Value::Null),
                ("vendor", json!(vendor.name())),
                ("phase", json!(rule.phase.name())),
                ("severity", json!(rule.severity.name())),
                ("field", json!(rule.field.name)),
                ("when", json!(rule.when_text)),
                ("require", json!(rule.require_text)),
                ("qualification", json!(rule.qualification)),
                ("shows", json!(rule.shows_text)),
                ("entries", json!(entries)),
                ("inputs", json!(rule.inputs.iter().map(|place| &place.name).collect::<Vec<_>>())),
                ("explain", json!(rule.explain)),
                ("hint", json!(rule.hint)),
                ("note", json!(rule.note)),
                ("cite", json!({ "doc": rule.cite.doc.value, "rev": rev, "title": rule.cite.title })),
                ("page", json!(rule.cite.page.as_ref().map(|page| &page.value))),
                ("unchecked", json!(rule.cite.unchecked)),
            ]
        }));
    }
    Table { name: "entry_checks", rows }
}

pub(super) fn entry_definitions(spec: &Spec) -> Table {
    let mut rows = Vec::new();
    for vendor in [Vendor::Intel, Vendor::Amd] {
        rows.extend(spec.rules(vendor).definitions.iter().map(|definition| -> Row {
            vec![
                ("name", json!(definition.name)),
                ("manual_name", Value::Null),
                ("vendor", json!(vendor.name())),
                ("kind", json!(if definition.is_condition { "condition" } else { "number" })),
                ("expr", json!(definition.text)),
                ("inputs", json!(definition.inputs.iter().map(|place| &place.name).collect::<Vec<_>>())),
                ("note", json!(spec.defines[definition.row].note)),
                ("cite", Value::Null),
            ]
        }));
    }
    Table { name: "entry_definitions", rows }
}
