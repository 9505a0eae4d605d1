//! How the rows of a table find each other again.

use serde_json::Value;

use crate::export::Row;

/// The columns of a table that say which row is which.
pub(super) struct Keys {
    /// Where the name is unique: the columns that a name needs to be told from others of its table.
    pub scope: &'static [&'static str],
    /// The number: what hardware calls the row. None for tables whose rows have no number.
    pub number: &'static [&'static str],
}

/// Documentation: columns that change nothing but what a reader is told.
pub(super) const DOCUMENTATION: &[&str] =
    &["manual_name", "aliases", "note", "cite", "page", "unchecked", "explain", "hint"];

/// The keys of a table.
pub(super) fn keys(table: &str) -> Keys {
    let (scope, number): (&'static [_], &'static [_]) = match table {
        "vmcs" => (&[], &["encoding"]),
        "vmx_controls" => (&["word"], &["word", "bits"]),
        "vmx_control_words" => (&[], &["word"]),
        "vmx_exits" | "svm_exits" | "vmx_instruction_errors" => (&[], &["number"]),
        "svm_intercepts" => (&[], &["word", "bits"]),
        "svm_intercept_words" => (&[], &["word"]),
        "vmcb_clean" => (&[], &["bits"]),
        "vmcb" => (&["area", "member"], &["area", "offset", "bits"]),
        "vmsa" => (&["member"], &["offset", "bits"]),
        "msrs" => (&[], &["address"]),
        "msr_bitmaps" => (&["vendor"], &["vendor", "first"]),
        "entry_checks" | "entry_definitions" => (&["vendor"], &[]),
        "layouts" => (&["layout"], &["layout", "bits"]),
        "enums" => (&["enum"], &["enum", "number"]),
        _ => (&[], &[]),
    };
    Keys { scope, number }
}

/// The value of a column; null when there is none.
pub(super) fn column<'r>(row: &'r Row, name: &str) -> &'r Value {
    row.iter().find(|(column, _)| *column == name).map_or(&Value::Null, |(_, value)| value)
}

/// The text of a column; empty when it is none.
pub(super) fn text<'r>(row: &'r Row, name: &str) -> &'r str {
    column(row, name).as_str().unwrap_or_default()
}

impl Keys {
    /// What finds a row by name.
    pub fn by_name(&self, row: &Row) -> String {
        let scope: Vec<_> = self.scope.iter().map(|name| column(row, name).to_string()).collect();
        format!("{}\n{}", scope.join("\n"), text(row, "name"))
    }

    /// What finds a row by number, if it has one.
    pub fn by_number(&self, row: &Row) -> Option<String> {
        let values: Vec<_> = self.number.iter().map(|name| column(row, name).to_string()).collect();
        (!values.is_empty()).then(|| values.join("\n"))
    }

    /// The name as it is shown: `secondary.ENABLE_EPT`, `Cr0.PE`, `save.RIP`.
    pub fn shown(&self, row: &Row) -> String {
        let parts = self.scope.iter().map(|name| text(row, name)).filter(|part| !part.is_empty());
        parts.chain([text(row, "name")]).collect::<Vec<_>>().join(".")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::keys;
    use crate::{Spec, export};

    #[test]
    fn keys_tell_the_rows_of_a_table_apart() {
        let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec");
        for path in [crate::testing::base(), library].iter().filter(|path| path.exists()) {
            for table in export::tables(&Spec::load(path).unwrap()) {
                let (keys, count) = (keys(table.name), table.rows.len());
                let names: BTreeSet<_> = table.rows.iter().map(|row| keys.by_name(row)).collect();
                assert_eq!(names.len(), count, "names of {}", table.name);
                let numbers: Vec<_> = table.rows.iter().filter_map(|row| keys.by_number(row)).collect();
                let different: BTreeSet<_> = numbers.iter().collect();
                assert_eq!(different.len(), numbers.len(), "numbers of {}", table.name);
                let has_number = !matches!(
                    table.name,
                    "types"
                        | "exit_map"
                        | "state_map"
                        | "msr_policy"
                        | "manuals"
                        | "entry_checks"
                        | "entry_definitions"
                );
                assert_eq!(numbers.len(), if has_number { count } else { 0 }, "{}", table.name);
            }
        }
    }
}
