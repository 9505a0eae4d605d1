//! A number that the tables have stands in no other file: `src/` uses the name that is generated of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use x86_vcpu_codegen::Spec;

/// Smaller numbers are opcodes, masks and sizes just as well.
const SMALLEST: u64 = 0x100;

/// Numbers that mean something else where they stand.
const OTHERS: [(u64, &str); 2] =
    [(0x2000, "the registers that a part of an MSR bitmap covers"), (0xc001_0000, "where the third part starts")];

#[test]
fn no_number_of_the_tables_is_written_by_hand() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let spec = Spec::load(root.join("spec")).unwrap_or_else(|errors| panic!("{errors}"));
    let mut known = numbers(&spec);
    for (number, _) in OTHERS {
        known.remove(&number);
    }
    let mut found = Vec::new();
    for file in sources(&root.join("src")) {
        let text = fs::read_to_string(&file).expect("a source file");
        for (line, literals) in literals(&text) {
            let names = literals.iter().filter_map(|number| known.get(number));
            found.extend(names.map(|name| format!("{}:{line}: {name}", file.display())));
        }
    }
    assert!(found.is_empty(), "these stand in the tables:\n{}", found.join("\n"));
}

#[test]
fn a_number_that_is_written_by_hand_is_noticed() {
    let text =
        "// 0x6818\nlet field = 0x681e; // 0x681c\nlet other = 0xc000_0080u32;\n#[cfg(test)]\nmod tests {\n0x4402\n}";
    assert_eq!(literals(text), [(2, vec![0x681e]), (3, vec![0xc000_0080])]);
}

/// What the tables call the numbers that hardware knows things by.
fn numbers(spec: &Spec) -> BTreeMap<u64, String> {
    let mut known = BTreeMap::new();
    let mut add = |number: u64, name: &str| {
        if number >= SMALLEST {
            known.insert(number, name.to_owned());
        }
    };
    spec.fields.iter().for_each(|row| add(row.encoding.value, row.head.name()));
    spec.msrs.iter().for_each(|row| add(row.address.value, row.head.name()));
    for row in &spec.msrs {
        row.reset.iter().for_each(|reset| add(reset.value, &format!("the reset value of {}", row.head.name())));
    }
    spec.exits.iter().for_each(|row| add(row.number.value.cast_unsigned(), row.head.name()));
    let leaves = spec.enums.iter().filter(|row| row.head.name() == "CpuidLeaf").flat_map(|row| &row.values);
    leaves.for_each(|row| add(row.number.value, row.head.name()));
    known
}

/// The library's files, those of tests apart.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut files = Vec::new();
    for path in entries {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if ["tests", "mock", "test_guest"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The hexadecimal numbers of each line of code that has any.
fn literals(text: &str) -> Vec<(usize, Vec<u64>)> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let of_line = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        let words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let number = |word: &str| {
            let digits: String = word.strip_prefix("0x")?.chars().filter(|c| *c != '_').collect();
            let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
            u64::from_str_radix(&digits[..end], 16).ok()
        };
        words.filter_map(number).collect::<Vec<_>>()
    };
    let lines = code.lines().enumerate().map(|(index, line)| (index + 1, of_line(line)));
    lines.filter(|(_, numbers)| !numbers.is_empty()).collect()
}
