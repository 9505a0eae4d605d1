//! Rows of `entry_checks.toml`.

use crate::diagnostics::Diagnostic;
use crate::model::{Define, Each, EntryCheck, ModuleId, Phase, Severity};

use super::row::Row;
use super::types::head_called;

/// As many rows may one row stand for.
const MOST: usize = 64;

pub(super) fn define(row: &mut Row, module: ModuleId) -> Option<Define> {
    let (name, each, expr) = (row.need_string("name"), each(row), row.need_string("expr"));
    let note = row.text("note");
    Some(Define { module, name: name?, each: each?, expr: expr?, note, span: row.span })
}

pub(super) fn check(row: &mut Row, module: ModuleId) -> Option<EntryCheck> {
    let head = head_called(row);
    let (each, phase) = (each(row), row.need_word("phase", Phase::ALL));
    let (severity, field) = (row.need_word("severity", Severity::ALL), row.need_string("field"));
    let (when, require) = (row.strings("when"), row.need_string("require"));
    let qualification = row.unsigned("qualification", u64::MAX);
    let (shows, entries) = (row.string("shows"), row.string("entries"));
    let (explain, hint) = (row.need_string("explain"), row.need_string("hint"));
    Some(EntryCheck {
        module,
        head: head?,
        each: each?,
        phase: phase?,
        severity: severity?,
        field: field?,
        when,
        require: require?,
        qualification,
        shows,
        entries,
        explain: explain?,
        hint: hint?,
    })
}

/// `each = { KEY = ["VALUE", …] }`; none if the key is not there, nothing if it is wrong.
fn each(row: &mut Row) -> Option<Vec<Each>> {
    let Some(mut table) = row.table("each") else { return if row.has("each") { None } else { Some(Vec::new()) } };
    let lists = table.lists()?;
    let mut count = 1_usize;
    for (key, values) in &lists {
        let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if !key.value.chars().all(upper) || !key.value.starts_with(|c: char| c.is_ascii_uppercase()) {
            let error = Diagnostic::new(key.span, format!("`{}` is not SCREAMING_SNAKE_CASE", key.value));
            row.push(error.help("`{SEG}` is replaced by a value of SEG, `{seg}` by the same in lower case"));
            return None;
        }
        if values.is_empty() {
            row.push(Diagnostic::new(key.span, format!("`{}` has no value", key.value)));
            return None;
        }
        for (index, value) in values.iter().enumerate() {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !value.value.chars().all(word) {
                let message = format!("`{}` is not made of letters, digits and `_`", value.value);
                row.push(Diagnostic::new(value.span, message));
                return None;
            }
            if let Some(first) = values[..index].iter().find(|first| first.value == value.value) {
                let error = Diagnostic::new(value.span, format!("`{}` is there twice", value.value));
                row.push(error.related(first.span, "the first is here"));
                return None;
            }
        }
        count = count.saturating_mul(values.len());
    }
    if count > MOST {
        row.push(Diagnostic::new(
            table.span,
            format!("the row would stand for {count} rows, and at most {MOST} can be"),
        ));
        return None;
    }
    Some(lists.into_iter().map(|(key, values)| Each { key, values }).collect())
}
