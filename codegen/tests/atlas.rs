//! The atlas shows all there is, escapes what it shows, and its links lead somewhere.
#![cfg(feature = "cli")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Output};

use common::{Scratch, manifest};
use serde_json::Value;
use x86_vcpu_codegen::atlas::{Site, Uses, site};
use x86_vcpu_codegen::export::tables;
use x86_vcpu_codegen::model::{Confirmed, Excuse, Head, Spanned};
use x86_vcpu_codegen::{Spec, export};

/// The base, and the library's own tables with its code in a checkout.
fn sites() -> Vec<(Spec, Site)> {
    let mut all = Vec::new();
    for (dir, src) in [("tests/base", "tests/nowhere"), ("../spec", "../src")] {
        if !manifest(dir).exists() {
            continue;
        }
        let spec = Spec::load(manifest(dir)).unwrap_or_else(|errors| panic!("{errors}"));
        let uses = Uses::scan(&manifest(src)).unwrap_or_default();
        let site = site(&spec, &uses);
        all.push((spec, site));
    }
    all
}

fn pages(site: &Site) -> impl Iterator<Item = (&str, &str)> {
    site.files.iter().map(|(name, text)| (name.as_str(), text.as_str())).filter(|(name, _)| name.ends_with(".html"))
}

/// The values of an attribute.
fn attributes<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let start = format!(" {name}=\"");
    text.split(start.as_str()).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The anchors of every page.
fn anchors(site: &Site) -> BTreeMap<&str, BTreeSet<&str>> {
    pages(site).map(|(name, text)| (name, attributes(text, "id").into_iter().collect())).collect()
}

/// Where the row of an exported table must be.
fn anchor(json: &Value, table: &str, row: &Value) -> String {
    let name = row["name"].as_str().unwrap();
    let text = |column: &str| row[column].as_str().unwrap().to_owned();
    let find =
        |table: &str, is: &dyn Fn(&Value) -> bool| json[table].as_array().unwrap().iter().find(|row| is(row)).unwrap();
    match table {
        "vmcs" => format!("vmcs-{name}"),
        "vmx_controls" => format!("{}.{name}", text("word")),
        "vmx_exits" => format!("vmx-{name}"),
        "svm_exits" => format!("svm-{name}"),
        "vmx_instruction_errors" => format!("error-{name}"),
        "vmcb" | "vmsa" => {
            let area = row["area"].as_str().unwrap_or("vmsa");
            match row["member"].as_str() {
                None => format!("{area}-{name}"),
                Some(member) => {
                    let is = |row: &Value| {
                        row["name"] == member
                            && row["member"].is_null()
                            && row["area"].as_str().unwrap_or("vmsa") == area
                    };
                    format!("type-{}.{name}", find(table, &is)["type"].as_str().unwrap())
                }
            }
        }
        "vmcb_clean" => format!("type-CleanBits.{name}"),
        "svm_intercepts" => {
            let word = find("svm_intercept_words", &|word| word["word"] == row["word"]);
            format!("type-{}.{name}", word["name"].as_str().unwrap())
        }
        "msrs" => format!("msr-{}-{name}", text("vendor")),
        "types" | "vmx_control_words" | "svm_intercept_words" => format!("type-{name}"),
        "layouts" => format!("type-{}.{name}", text("layout")),
        "enums" => format!("type-{}.{name}", text("enum")),
        "exit_map" => format!("exit-{name}"),
        "state_map" => format!("state-{name}"),
        "entry_checks" => format!("check-{}-{name}", text("vendor")),
        "entry_definitions" => format!("define-{}-{name}", text("vendor")),
        "manuals" => format!("doc-{name}"),
        other => panic!("no rule for {other}"),
    }
}

#[test]
fn every_row_of_every_table_is_there() {
    for (spec, site) in sites() {
        let json: Value = serde_json::from_str(&export::json(&tables(&spec))).unwrap();
        let all: BTreeSet<_> = anchors(&site).into_values().flatten().collect();
        let mut rows = 0;
        // What the library does with the registers is no fact about them.
        let own = ["msr_policy", "msr_bitmaps"];
        for (table, list) in json.as_object().unwrap().iter().filter(|(table, _)| !own.contains(&table.as_str())) {
            for row in list.as_array().unwrap() {
                let id = anchor(&json, table, row);
                assert!(all.contains(id.as_str()), "{table}: no {id}");
                // The types that are whole words have sections, not lines.
                rows += usize::from(!matches!(table.as_str(), "types" | "vmx_control_words" | "svm_intercept_words"));
            }
        }
        let lines: usize = pages(&site)
            .filter(|(name, _)| *name != "index.html")
            .map(|(_, text)| text.matches("<tbody").count())
            .sum();
        assert_eq!(lines, rows, "a line for every row, and no more");
    }
}

#[test]
fn what_is_not_reserved_can_be_found() {
    for (_, site) in sites() {
        let script = &site.files.iter().find(|(name, _)| name == "search.js").unwrap().1;
        let mut found = BTreeMap::new();
        for line in script.lines().filter(|line| line.starts_with("[\"") && line.ends_with("],")) {
            let row: Vec<String> = serde_json::from_str(line.trim_end_matches(',')).unwrap();
            let id = if row[0].is_empty() { format!("type-{}", row[1]) } else { row[0].clone() };
            found.insert(id, row);
        }
        let all: BTreeSet<_> = anchors(&site).into_values().flatten().collect();
        assert!(found.keys().all(|id| all.contains(id.as_str())));
        assert_eq!(found["vmcs-GUEST_RIP"][1], "GUEST_RIP");
        assert_eq!(found["vmcs-GUEST_RIP"][4], "681e");
        assert_eq!(found["svm-INVALID"][4], "ffffffffffffffff");
        for (name, text) in pages(&site).filter(|(name, _)| *name != "index.html") {
            for tag in text.split("<tbody").skip(1).map(|rest| rest.split('>').next().unwrap()) {
                let id = attributes(tag, "id")[0];
                assert!(found.contains_key(id) != tag.contains("class=\"res\""), "{name}: {id}");
            }
        }
    }
}

#[test]
fn anchors_are_unique_and_links_lead_somewhere() {
    for (_, site) in sites() {
        let anchors = anchors(&site);
        for (name, text) in pages(&site) {
            let ids = attributes(text, "id");
            let unique: BTreeSet<_> = ids.iter().collect();
            assert_eq!(
                ids.len(),
                unique.len(),
                "{name}: {:?}",
                ids.iter().find(|id| ids.iter().filter(|i| i == id).count() > 1)
            );
            let controlled = ["aria-controls"].into_iter().flat_map(|attribute| attributes(text, attribute));
            for id in controlled {
                assert!(anchors[name].contains(id), "{name}: {id}");
            }
            for link in attributes(text, "href").into_iter().chain(attributes(text, "src")) {
                if link.starts_with("https://") || link == "data:," {
                    continue;
                }
                let (page, id) = link.split_once('#').unwrap_or((link, ""));
                let page = if page.is_empty() { name } else { page };
                assert!(site.files.iter().any(|(file, _)| file == page), "{name}: {link}");
                assert!(id.is_empty() || anchors[page].contains(id), "{name}: {link}");
            }
        }
    }
}

#[test]
fn nothing_comes_from_a_network() {
    for (_, site) in sites() {
        for (name, text) in &site.files {
            let loads = ["src=\"http", "src=\"//", "url(", "@import", "fetch(", "XMLHttpRequest", "href=\"//"];
            for load in loads {
                assert!(!text.contains(load), "{name}: {load}");
            }
        }
    }
}

#[test]
fn the_librarys_atlas_is_small_and_says_where_fields_are_used() {
    for (spec, site) in sites().into_iter().skip(1) {
        assert!(site.size() < 4 * 1024 * 1024, "{} bytes", site.size());
        let again = x86_vcpu_codegen::atlas::site(&spec, &Uses::scan(&manifest("../src/../src")).unwrap());
        assert!(again.files == site.files, "the same tables and code give the same bytes");
        let vmcs = &site.files.iter().find(|(name, _)| name == "vmcs.html").unwrap().1;
        let rip = vmcs.split("id=\"vmcs-GUEST_RIP\"").nth(1).unwrap().split("</tbody>").next().unwrap();
        for part in
            ["0x681e", "Field&lt;u64, ReadWrite&gt;", "manuals.html#doc-", "vmcb.html#save-RIP", "src/vmx/state.rs:"]
        {
            assert!(rip.contains(part), "{part} in {rip}");
        }
        // Rules lead to their fields, and fields to their rules.
        for (page, id, parts) in [
            (
                "vmx-entry-checks.html",
                "check-intel-GUEST_CR4_PAE_IA32E",
                &["vmcs.html#vmcs-GUEST_CR4", "GUEST_CR4.PAE", "ia32e", "Mend", "Checks on Guest Control Registers"][..],
            ),
            ("vmcs.html", "vmcs-GUEST_CR4", &["vmx-entry-checks.html#check-intel-GUEST_CR4_PAE_IA32E"]),
            ("svm-entry-checks.html", "check-amd-ASID_ZERO", &["vmcb.html#control-GUEST_ASID", "unchecked"]),
            ("vmcb.html", "control-GUEST_ASID", &["svm-entry-checks.html#check-amd-ASID_ZERO"]),
            ("vmx-entry-checks.html", "define-intel-ia32e", &["entry."]),
        ] {
            let page = &site.files.iter().find(|(name, _)| name == page).unwrap().1;
            let row = page.split(&format!("id=\"{id}\"")).nth(1).unwrap().split("</tbody>").next().unwrap();
            for part in parts {
                assert!(row.contains(part), "{part} in {row}");
            }
        }
    }
}

/// What would be markup, an attribute's end, or the end of a script.
const EVIL: &str = "<script>alert(1)</script>\"'&amp;--><img src=x onerror=alert(2)> `<b>` `";

fn poison(head: &mut Head) {
    let text = EVIL.to_owned();
    head.manual_name.clone_from(&text);
    head.note = Some(text.clone());
    head.aliases = vec![Spanned { value: text.clone(), span: head.span }];
    head.cite.title.clone_from(&text);
    head.cite.page = Some(Spanned { value: text.clone(), span: head.span });
    head.cite.unchecked = Some(text.clone());
    let doc = || Spanned { value: text.clone(), span: head.span };
    head.confirmed = vec![Confirmed { doc: doc(), title: text.clone(), page: Some(doc()), date: doc() }];
    head.excuses = vec![Excuse { doc: doc(), reason: text.clone() }];
}

#[test]
fn everything_is_escaped() {
    for (mut spec, _) in sites() {
        for field in &mut spec.fields {
            poison(&mut field.head);
            field.retired = Some(EVIL.to_owned());
        }
        for control in &mut spec.controls {
            poison(&mut control.head);
            for bit in &mut control.bits {
                poison(&mut bit.head);
                bit.retired = Some(EVIL.to_owned());
            }
        }
        spec.exits.iter_mut().for_each(|row| poison(&mut row.head));
        spec.instruction_errors.iter_mut().for_each(|row| poison(&mut row.head));
        spec.msrs.iter_mut().for_each(|row| poison(&mut row.head));
        spec.clean.iter_mut().for_each(|row| poison(&mut row.head));
        spec.words.iter_mut().for_each(|row| poison(&mut row.head));
        spec.intercepts.iter_mut().for_each(|row| poison(&mut row.head));
        for layout in &mut spec.layouts {
            poison(&mut layout.head);
            layout.fields.iter_mut().for_each(|field| poison(&mut field.head));
        }
        for table in &mut spec.enums {
            poison(&mut table.head);
            table.values.iter_mut().for_each(|value| poison(&mut value.head));
        }
        for member in &mut spec.members {
            poison(&mut member.head);
            member.bits.iter_mut().for_each(|bit| poison(&mut bit.head));
        }
        for manual in &mut spec.manuals {
            manual.title = EVIL.to_owned();
            manual.short = Some(EVIL.to_owned());
            manual.order = Some(EVIL.to_owned());
            manual.revision = EVIL.to_owned();
            manual.note = Some(EVIL.to_owned());
            manual.kind = EVIL.to_owned();
            manual.url = Some(format!("javascript:{EVIL}"));
        }
        spec.exit_map.iter_mut().for_each(|row| row.note = Some(EVIL.to_owned()));
        spec.state_map.iter_mut().for_each(|row| row.note = Some(EVIL.to_owned()));
        let site = site(&spec, &Uses::default());
        for (name, text) in pages(&site) {
            assert!(!text.contains("<script>") && !text.contains("<img") && !text.contains("<b>`"), "{name}");
            assert!(!text.contains("href=\"javascript:"), "{name}");
            // The map has names and notes only; a page without rows has none.
            let shows = !matches!(name, "index.html" | "map.html") && text.contains("<tbody");
            assert!(!shows || text.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;"), "{name}");
        }
        let script = &site.files.iter().find(|(name, _)| name == "search.js").unwrap().1;
        assert!(script.contains("alert(1)") && !script.contains("</script"));
    }
}

#[test]
fn what_an_audit_says_is_shown() {
    let mut spec = Spec::load(manifest("tests/base")).unwrap_or_else(|errors| panic!("{errors}"));
    let manual = spec.manuals.iter().find(|manual| manual.kind == "manual").unwrap();
    let (id, name) = (manual.id.clone(), manual.short().to_owned());
    let field = spec.fields.iter_mut().find(|field| field.head.name() == "GUEST_RIP").unwrap();
    let (span, text) = (field.head.span, |text: &str| text.to_owned());
    let date = Spanned { value: text("2026-11-22"), span };
    field.head.confirmed = vec![Confirmed { doc: id, title: text("Encodings B"), page: None, date }];
    field.head.excuses = vec![Excuse { doc: Spanned { value: text("*"), span }, reason: text("It is so.") }];
    let site = site(&spec, &Uses::default());
    let page = |name: &str| &site.files.iter().find(|(file, _)| file == name).unwrap().1;
    let row = page("vmcs.html").split("id=\"vmcs-GUEST_RIP\"").nth(1).unwrap().split("</tbody>").next().unwrap();
    for part in [name.as_str(), "<cite>Encodings B</cite>, on 2026-11-22", "any document: It is so.", "c:f"] {
        assert!(row.contains(part), "{part} in {row}");
    }
    assert!(page("index.html").contains("Confirmed by an audit"));
}

fn atlas(arguments: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_x86-vcpu-spec")).arg("atlas").args(arguments).output();
    command.unwrap()
}

#[test]
fn the_command_writes_an_atlas_and_nothing_over_what_others_wrote() {
    let scratch = Scratch::new();
    let out = scratch.path().join("atlas");
    let (base, out_text) = (manifest("tests/base"), out.to_str().unwrap().to_owned());
    let run = |dir: &str| atlas(&["--spec", base.to_str().unwrap(), "--out", dir]);
    let first = run(&out_text);
    assert!(first.status.success(), "{first:?}");
    assert!(String::from_utf8(first.stdout).unwrap().contains("index.html"));
    let bytes = common::files(&out);

    // An older atlas had one page more, and somebody put a file of their own there.
    fs::write(out.join("old.html"), "old").unwrap();
    fs::write(out.join("mine.html"), "mine").unwrap();
    let list = fs::read_to_string(out.join("atlas.files")).unwrap();
    fs::write(out.join("atlas.files"), format!("{list}old.html\n../mine.txt\n/etc/nothing\n")).unwrap();
    fs::write(scratch.path().join("mine.txt"), "mine").unwrap();
    fs::write(out.join("vmcs.html"), "damaged").unwrap();
    assert!(run(&out_text).status.success());
    assert!(!out.join("old.html").exists());
    assert_eq!(fs::read_to_string(out.join("mine.html")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(scratch.path().join("mine.txt")).unwrap(), "mine");
    fs::remove_file(out.join("mine.html")).unwrap();
    assert!(common::files(&out) == bytes, "the same bytes again");

    // A directory with something else in it is left alone.
    let other = scratch.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("index.html"), "mine").unwrap();
    let refused = run(other.to_str().unwrap());
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("has files already"));
    assert_eq!(common::files(&other).len(), 1);

    // So is a file in the way of a page that an atlas does not have yet.
    fs::write(out.join("atlas.files"), list.replace("vmcs.html\n", "")).unwrap();
    let refused = run(&out_text);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("vmcs.html is there already"));
}

#[test]
fn code_that_is_not_there_is_an_error() {
    let scratch = Scratch::new();
    let (base, out) = (manifest("tests/base"), scratch.path().join("atlas"));
    let (base, out) = (base.to_str().unwrap(), out.to_str().unwrap());
    let refused = atlas(&["--spec", base, "--out", out, "--src", "tests/nowhere"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("cannot read tests/nowhere"));
    assert!(!scratch.path().join("atlas").exists());
}
