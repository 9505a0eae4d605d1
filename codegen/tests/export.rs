//! `export` prints what `EXPORT.md` says, for the tables of the base and for those of the library.
#![cfg(feature = "cli")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use common::{Scratch, manifest};
use serde_json::Value;
use x86_vcpu_codegen::{Spec, export};

/// The columns of one table, each with the kinds of its values.
type Columns = BTreeMap<String, String>;

/// A map of the two vendors, for the base has none.
const MSR_POLICY: &str = r#"
[[msr_policy]]
name = "ALL_OF_THEM"
msrs = ["IA32_VMX_BASIC..IA32_VMX_PROCBASED_CTLS2", "IA32_APIC_BASE"]
read = "fault"
write = "fault"
host = true
reason = "for this test"
"#;

const MAP: &str = "\
[[exit_map]]
name = \"CPUID\"
vmx = [\"CPUID\"]
svm = []
neutral = []

[[state_map]]
name = \"RIP\"
vmx = [\"GUEST_RIP\"]
svm = [\"save.RIP\"]
note = \"A note.\"
";

/// One member of the VMSA, for the base has none.
const VMSA: &str = "\
[[member]]
area = \"vmsa\"
name = \"RIP\"
manual_name = \"RIP\"
offset = 0x178
size = 8
clean = \"none\"
cite = { doc = \"apm2\", title = \"VMSA\" }
";

/// What the page says of each table.
fn documented() -> BTreeMap<String, Columns> {
    let text = fs::read_to_string(manifest("EXPORT.md")).unwrap();
    let mut tables = BTreeMap::new();
    let mut common = Columns::new();
    for section in text.split("\n## ").skip(1) {
        let (title, body) = section.split_once('\n').unwrap();
        let mut columns = Columns::new();
        for line in body.lines().filter(|line| line.starts_with("| `")) {
            let line = line.replace("\\|", "/");
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            assert_eq!(cells.len(), 3, "{line}");
            columns.insert(cells[0].trim_matches('`').to_owned(), cells[1].to_owned());
        }
        match title.strip_prefix('`').and_then(|title| title.strip_suffix('`')) {
            Some(name) => drop(tables.insert(name.to_owned(), columns)),
            None if title == "Columns of every table" => common = columns,
            None => assert!(title == "Values", "{title}"),
        }
    }
    for (name, columns) in &mut tables {
        let own = ["manuals", "exit_map", "state_map", "msr_policy", "entry_checks", "entry_definitions"];
        if !own.contains(&name.as_str()) {
            columns.extend(common.clone());
        }
    }
    tables
}

/// Whether a value is of one of these kinds: `16, 32, 64 or "natural"`.
fn is_one_of(value: &Value, kinds: &str) -> bool {
    let members = |value: &Value| value.as_object().map(|object| object.keys().cloned().collect::<BTreeSet<_>>());
    if let Some(rest) = kinds.strip_prefix('{') {
        let (names, rest) = rest.split_once('}').unwrap();
        let names = names.split(", ").map(str::to_owned).collect();
        return members(value) == Some(names)
            || rest.strip_prefix(" or ").is_some_and(|others| is_one_of(value, others));
    }
    kinds.split(", ").flat_map(|kind| kind.split(" or ")).any(|kind| match kind {
        "integer" => value.is_u64() || value.is_i64(),
        "string" => value.as_str().is_some_and(|text| !text.is_empty()),
        "boolean" => value.is_boolean(),
        "strings" => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        "bits" => match value.as_array().map(Vec::as_slice) {
            Some([high, low]) => high.as_u64().zip(low.as_u64()).is_some_and(|(high, low)| low <= high && high < 64),
            _ => false,
        },
        literal => serde_json::from_str::<Value>(literal).unwrap_or_else(|_| panic!("no kind: {literal}")) == *value,
    })
}

/// The base with everything that a table can have, and the library's own tables in a checkout.
fn specs() -> Vec<Spec> {
    let scratch = Scratch::of_base();
    let all = [
        ("map.toml", MAP),
        ("msr_policy.toml", MSR_POLICY),
        ("amd/vmsa.toml", VMSA),
        ("intel/entry_checks.toml", include_str!("fuzz/corpus/intel-entry_checks.toml")),
    ];
    for (file, text) in all {
        if !scratch.path().join(file).exists() {
            fs::write(scratch.path().join(file), text).unwrap();
        }
    }
    let load = |path| Spec::load(path).unwrap_or_else(|errors| panic!("{errors}"));
    let mut all = vec![load(scratch.path().to_owned())];
    all.extend(Some(manifest("../spec")).filter(|path| path.exists()).map(load));
    all
}

#[test]
fn every_column_is_documented_and_every_documented_column_is_there() {
    let documented = documented();
    for spec in specs() {
        let json: BTreeMap<String, Vec<BTreeMap<String, Value>>> =
            serde_json::from_str(&export::json(&export::tables(&spec))).unwrap();
        let names = |tables: Vec<&String>| tables.into_iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(json.keys().collect()), names(documented.keys().collect()));
        for (table, rows) in &json {
            let columns = &documented[table];
            for row in rows {
                assert_eq!(names(row.keys().collect()), names(columns.keys().collect()), "{table}");
                for (column, value) in row {
                    let kinds = &columns[column];
                    assert!(is_one_of(value, kinds), "{table}.{column} of {} is {value}, not {kinds}", row["name"]);
                }
            }
        }
    }
}

#[test]
fn every_table_of_the_base_has_rows() {
    for table in export::tables(&specs()[0]) {
        assert!(!table.rows.is_empty(), "{}", table.name);
    }
}

#[test]
fn what_rows_refer_to_is_exported_too() {
    for spec in specs() {
        let json: Value = serde_json::from_str(&export::json(&export::tables(&spec))).unwrap();
        let rows = |table: &str| json[table].as_array().unwrap().iter();
        let names = |table: &str| rows(table).map(|row| row["name"].as_str().unwrap()).collect::<BTreeSet<_>>();
        let refers = |from: &str, column: &str, to: &[&str], built_in: &[&str]| {
            let mut known: BTreeSet<_> = to.iter().flat_map(|table| names(table)).collect();
            known.extend(built_in);
            for row in rows(from) {
                let values = row[column].as_array().map_or_else(|| vec![&row[column]], |list| list.iter().collect());
                for value in values.into_iter().filter_map(Value::as_str) {
                    assert!(known.contains(value), "{from}.{column} is {value}");
                }
            }
        };
        refers("layouts", "layout", &["types"], &[]);
        refers("enums", "enum", &["types"], &[]);
        refers("msrs", "layout", &["types", "vmx_control_words"], &[]);
        refers("vmcs", "type", &["types", "vmx_control_words"], &["ExitReason", "InstructionError", "u64"]);
        refers("vmx_exits", "qualification", &["types"], &["u64"]);
        refers("svm_exits", "exit_info1", &["types"], &["u64"]);
        refers("vmx_control_words", "field", &["vmcs"], &[]);
        refers("vmx_control_words", "capability", &["msrs"], &[]);
        refers("vmcb", "clean", &["vmcb_clean"], &["none"]);
        refers("exit_map", "vmx", &["vmx_exits"], &[]);
        refers("exit_map", "svm", &["svm_exits"], &[]);
        refers("state_map", "vmx", &["vmcs"], &[]);
        for row in rows("vmcs").filter(|row| row["cite"]["doc"].is_string()) {
            assert!(names("manuals").contains(row["cite"]["doc"].as_str().unwrap()));
        }
    }
}

/// The fields and the words of rows that scripts were promised before `EXPORT.md` was written.
#[test]
fn the_first_promises_are_kept() {
    let promised: &[(&str, &[&str])] = &[
        ("vmcs", &["encoding", "width", "group", "access", "retired"]),
        ("vmx_controls", &["word", "bit"]),
        ("vmx_exits", &["number"]),
        ("svm_exits", &["number"]),
        ("vmx_instruction_errors", &["number"]),
        ("svm_intercepts", &["word", "bit"]),
        ("vmcb", &["area", "offset", "size", "bits", "clean"]),
        ("vmsa", &["offset", "size", "bits"]),
        ("msrs", &["address"]),
    ];
    for spec in specs() {
        let tables = export::tables(&spec);
        for (name, columns) in promised {
            let table = tables.iter().find(|table| table.name == *name).unwrap();
            for row in &table.rows {
                let value = |column: &str| &row.iter().find(|(name, _)| *name == column).unwrap().1;
                for column in ["name", "manual_name", "vendor"].iter().chain(*columns) {
                    value(column);
                }
                let cite = value("cite").as_object().unwrap();
                assert_eq!(cite.keys().collect::<Vec<_>>(), ["doc", "rev", "title"]);
                assert!(cite.values().all(Value::is_string), "{name}: {cite:?}");
            }
        }
    }
}

#[test]
fn csv_has_as_many_cells_in_each_line() {
    for spec in specs() {
        let tables = export::tables(&spec);
        let rows: usize = tables.iter().map(|table| table.rows.len()).sum();
        let text = export::csv(&tables, true).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        for column in ["table", "name", "cite_doc", "cite_rev", "cite_title", "encoding"] {
            assert!(columns.iter().any(|name| name == column), "{column}");
        }
        assert!(!columns.iter().any(|name| name == "cite"));
        let records: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), rows);
        assert!(records.iter().all(|record| record.len() == columns.len()));
    }
}
