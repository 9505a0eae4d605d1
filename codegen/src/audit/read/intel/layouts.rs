//! Tables of bits: VMX controls, exit qualifications, formats of fields and of EPT entries.

use super::Found;
use super::tables::{Block, Row};
use super::text;
use super::values;
use crate::audit::source::{self, Kind, Table};
use crate::model::ControlWord;

/// Reads such a table.
pub fn read(block: &Block, found: &mut Found) {
    let kind = match control(&block.title) {
        Some(word) => Kind::Controls(word),
        None if is_layout(&block.title) => Kind::Bits { msr: msr(&block.title) },
        None => return,
    };
    // Formats of memory have bytes for keys.
    let is_bits = block
        .parts
        .iter()
        .flat_map(|part| &part.lines)
        .any(|line| line.line.words.first().is_some_and(|word| text::bits(&word.text).is_some()));
    let bytes = ["Region", "Area", "Descriptor", "Header"].iter().any(|memory| block.title.contains(memory));
    // Tables of MSRs in other chapters have columns of their own.
    let unknown = block.parts.iter().any(|part| part.columns.len() < 2) && matches!(kind, Kind::Bits { msr: Some(_) });
    if !is_bits || bytes || unknown {
        return;
    }
    let mut rows = Vec::new();
    let read = block.rows(|key| key_of(key).is_some(), found);
    for row in &read {
        // Bits that no processor has beyond the widest address.
        let Some((Some(bits), mut aliases)) = key_of(&row.key) else { continue };
        let name = name(row, block);
        aliases.extend(shorter(&name));
        if name.is_empty() {
            found.unreadable(&row.line, "no name");
            continue;
        }
        let reserved = text::is_reserved(&name);
        rows.push(source::Row {
            name,
            aliases,
            bits: Some(bits),
            reserved,
            place: row.line.place.clone(),
            ..source::Row::default()
        });
    }
    let controls = matches!(kind, Kind::Controls(_));
    found.tables.push(Table { kind, title: block.title.clone(), complete: true, rows });
    // The lists in descriptions of controls are about other things.
    for row in read.iter().filter(|_| !controls) {
        values::of_row(row, block, found);
    }
}

/// What a sentence is about, where that is not all of it.
fn shorter(name: &str) -> Option<String> {
    let mut short = name;
    // "If bit 6 of EPTP is 1, accessed flag for EPT; indicates whether …"
    if short.starts_with("If ")
        && let Some((_, then)) = short.split_once(", ")
    {
        short = then;
    }
    if let Some((about, _)) = short.split_once("; ").filter(|(about, _)| !about.contains('(')) {
        short = about;
    }
    for start in ["Setting this control to 1 ", "This value is ", "This bit is set if ", "Set if ", "The "] {
        short = short.strip_prefix(start).unwrap_or(short);
    }
    if let Some((about, _)) = short.split_once(" for this ") {
        short = about;
    }
    (short != name && !short.is_empty()).then(|| short.to_string())
}

/// The bits of "31:17", and what else it calls them: "3 (PWT)".
fn key_of(key: &str) -> Option<(Option<[u32; 2]>, Vec<String>)> {
    if let Some(bits) = text::bits(key) {
        return Some((bits, Vec::new()));
    }
    let (key, alias) = key.strip_suffix(')')?.split_once(" (")?;
    let letters = alias.chars().all(|c| c.is_ascii_uppercase());
    Some((text::bits(key).filter(|_| letters)?, vec![alias.to_string()]))
}

/// The column of names, or the first sentence of the description.
fn name(row: &Row, block: &Block) -> String {
    if row.cells() > 1 {
        return row.name(0, block);
    }
    let paragraphs = row.paragraphs(0, block);
    // "Reserved (except for CS)" stands above what the bit is for CS.
    let paragraph = paragraphs.iter().find(|paragraph| !paragraph.contains("except for")).or(paragraphs.first());
    let paragraph = paragraph.map_or("", |paragraph| without_exception(paragraph));
    // Whether there is anything may depend on something else: then what there is comes second.
    let sentence = text::first_sentence(paragraph);
    let second = paragraph.get(sentence.len()..).unwrap_or_default().trim_start_matches(['.', ' ']);
    if sentence.starts_with("If ") && sentence.ends_with("is undefined") && !second.is_empty() {
        return text::first_sentence(second);
    }
    // "If bit 7 is 1:" has the rest in the next line.
    let first = paragraphs.iter().position(|other| other == paragraph);
    if let Some(next) =
        first.and_then(|at| paragraphs.get(at + 1)).filter(|_| paragraph.starts_with("If ") && paragraph.ends_with(':'))
    {
        let next = next.trim_start_matches(['•', ' ']).split(" • ").next().unwrap_or_default();
        return text::first_sentence(&format!("{}, {next}", paragraph.trim_end_matches(':')));
    }
    // Of a list the first item.
    let paragraph = paragraph.trim_start_matches(['•', ' ']).split(" • ").next().unwrap_or_default();
    text::first_sentence(paragraph)
}

fn without_exception(text: &str) -> &str {
    let rest = text.strip_prefix("Reserved (except for ").and_then(|rest| rest.split_once(") "));
    rest.map_or(text, |(_, rest)| rest)
}

/// The word of "Definitions of Primary Processor-Based VM-Execution Controls".
fn control(title: &str) -> Option<ControlWord> {
    let name = title.strip_prefix("Definitions of ")?;
    Some(match name {
        "Pin-Based VM-Execution Controls" => ControlWord::Pin,
        "Primary Processor-Based VM-Execution Controls" => ControlWord::Primary,
        "Secondary Processor-Based VM-Execution Controls" => ControlWord::Secondary,
        "Tertiary Processor-Based VM-Execution Controls" => ControlWord::Tertiary,
        "Primary VM-Exit Controls" | "VM-Exit Controls" => ControlWord::Exit,
        "Secondary VM-Exit Controls" => ControlWord::Exit2,
        "VM-Entry Controls" => ControlWord::Entry,
        "VM-Function Controls" => ControlWord::Vmfunc,
        _ => return None,
    })
}

fn is_layout(title: &str) -> bool {
    // Other chapters have formats of their own.
    const FORMATS: [&str; 12] = [
        "VM-",
        "EPT ",
        "Extended-Page-Table",
        "Sub-Page-Permission",
        "Hypervisor-Managed",
        "Access Rights",
        "Interruptibility",
        "Pending-Debug",
        "Exit Reason",
        "IDT-Vectoring",
        "MSR Entry",
        "Event Identification",
    ];
    let format = title.strip_prefix("Format of ").is_some_and(|of| FORMATS.iter().any(|format| of.contains(format)));
    let start = ["Exit Qualification for ", "Structure of VMCS Component"];
    format || start.iter().any(|start| title.starts_with(start)) || msr(title).is_some() && title.ends_with(" MSR")
}

/// The MSR that a title names.
fn msr(title: &str) -> Option<String> {
    let word = title.split(|c: char| !c.is_alphanumeric() && c != '_').find(|word| word.starts_with("IA32_"))?;
    Some(word.to_string())
}
