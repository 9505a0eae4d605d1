//! Which names of C headers are which tables.

use super::c_expr::{Tok, Token};
use super::c_header::Header;
use super::c_header_names;
use super::c_header_structs::{Layout, Struct, is_reserved};
use crate::audit::source::{Kind, Place, Row, Table, Unreadable};
use crate::model::{Area, ControlWord};

/// A header without one of these words has none of the tables.
pub(super) const WORDS: [&str; 13] = [
    "EXIT_REASON_",
    "VMX_VMEXIT_",
    "VMXERR_",
    "VMX_INSN_",
    "vmcs_field",
    "VMCS_16BIT_",
    "VMX_FEATURE_",
    "MSR_",
    "SVM_EXIT_",
    "SVM_VMEXIT_",
    "VMEXIT_",
    "_EXEC_",
    "vmcb_",
];

/// A macro or a constant of an enumeration.
struct Constant<'a> {
    name: &'a str,
    line: u32,
    value: Result<i128, String>,
    origin: Origin<'a>,
}

enum Origin<'a> {
    Macro(&'a [Token]),
    Enum(&'a str),
}

/// How a number stands in a table.
#[derive(Clone)]
enum Form {
    /// As it is.
    Number,
    /// The encoding of a VMCS field; the upper half is a constant of its own.
    Field,
    /// One bit is set.
    Bit,
    /// A run of bits is set; the whole is shifted by so many.
    Mask(u32),
    /// The number of a bit.
    BitNumber,
    /// 32 times a word plus a bit; the table is that of one word, whose first bit is moved by so many.
    Feature(i128, std::ops::RangeInclusive<i128>),
    /// 32 times the word plus the bit that is set.
    InterceptBit(i128),
    /// 32 times the word plus the number, which counts from the first bit of another word.
    InterceptNumber(i128),
    /// The offset of a member, less that of its area; the prefix may say the bits it has.
    Offset(i128),
    /// A run of bits of the member at an offset.
    Part(i64),
}

/// Where constants of a table are.
#[derive(Clone, Copy, PartialEq)]
enum In {
    Macros,
    /// Of enumerations with this word in their name; nothing for any.
    Enums(&'static str),
    Both,
}

struct Family {
    kind: Kind,
    title: &'static str,
    prefixes: &'static [&'static str],
    place: In,
    form: Form,
    complete: bool,
}

fn family(kind: Kind, prefixes: &'static [&'static str], place: In, form: Form) -> Family {
    Family { kind, title: prefixes[0], prefixes, place, form, complete: false }
}

fn bits(title: &'static str, msr: Option<&str>, prefixes: &'static [&'static str], form: Form) -> Family {
    let kind = Kind::Bits { msr: msr.map(str::to_owned) };
    Family { kind, title, prefixes, place: In::Macros, form, complete: false }
}

/// The families that a header may have. Some depend on what else is in it.
fn families(constants: &[Constant]) -> Vec<Family> {
    use ControlWord::{Entry, Exit, Exit2, Pin, Primary, Secondary, Tertiary, Vmfunc};
    let control = |word, prefixes, form| family(Kind::Controls(word), prefixes, In::Macros, form);
    let has = |name: &str| constants.iter().any(|constant| constant.name == name);
    let mut all = vec![
        family(Kind::VmcsFields, &[""], In::Enums("vmcs_field"), Form::Field),
        family(Kind::VmcsFields, &["VMCS_16BIT_", "VMCS_32BIT_", "VMCS_64BIT_", "VMCS_"], In::Macros, Form::Field),
        family(Kind::VmxExits, &["EXIT_REASON_"], In::Macros, Form::Number),
        family(Kind::VmxExits, &["VMX_VMEXIT_"], In::Enums("VMX_vmexit_reason"), Form::Number),
        family(Kind::InstructionErrors, &["VMXERR_", "VMX_INSN_"], In::Enums(""), Form::Number),
        control(Pin, &["PIN_BASED_", "VMX_PIN_BASED_VMEXEC_CTRL_"], Form::Bit),
        control(Primary, &["CPU_BASED_"], Form::Bit),
        control(Secondary, &["SECONDARY_EXEC_"], Form::Bit),
        control(Tertiary, &["TERTIARY_EXEC_"], Form::Bit),
        control(Exit, &["VM_EXIT_", "VMX_VMEXIT_CTRL1_"], Form::Bit),
        control(Exit2, &["VMX_VMEXIT_CTRL2_"], Form::Bit),
        control(Entry, &["VM_ENTRY_", "VMX_VMENTRY_CTRL1_"], Form::Bit),
        control(Vmfunc, &["VMX_VMFUNC_"], Form::Bit),
        // EPT, VPID and APIC features fill the gap between the two.
        control(Pin, &["VMX_FEATURE_"], Form::Feature(0, 0..=15)),
        control(Vmfunc, &["VMX_FEATURE_"], Form::Feature(0, 28..=31)),
        control(Primary, &["VMX_FEATURE_"], Form::Feature(32, 32..=63)),
        control(Secondary, &["VMX_FEATURE_"], Form::Feature(64, 64..=95)),
        control(Tertiary, &["VMX_FEATURE_"], Form::Feature(96, 96..=159)),
        family(Kind::Msrs, &["MSR_"], In::Macros, Form::Number),
        family(Kind::SvmExits, &["SVM_EXIT_"], In::Macros, Form::Number),
        family(Kind::SvmExits, &["SVM_VMEXIT_"], In::Both, Form::Number),
        family(Kind::SvmExits, &["VMEXIT_"], In::Enums("VMEXIT_EXITCODE"), Form::Number),
        family(Kind::Intercepts, &["GENERAL1_INTERCEPT_"], In::Enums(""), Form::InterceptBit(3)),
        family(Kind::Intercepts, &["GENERAL2_INTERCEPT_"], In::Enums(""), Form::InterceptBit(4)),
        family(Kind::Intercepts, &["GENERAL3_INTERCEPT_"], In::Enums(""), Form::InterceptBit(5)),
        family(Kind::Intercepts, &["CR_INTERCEPT_"], In::Enums(""), Form::InterceptBit(0)),
        family(Kind::Intercepts, &["DR_INTERCEPT_"], In::Enums(""), Form::InterceptBit(1)),
        family(
            Kind::Intercepts,
            &["SVM_INTERCEPT0_", "SVM_INTERCEPT1_", "SVM_INTERCEPT2_"],
            In::Enums(""),
            Form::InterceptNumber(3),
        ),
        family(
            Kind::Members(Area::Control),
            &["SVM_CONTROL16_", "SVM_CONTROL32_", "SVM_CONTROL64_"],
            In::Macros,
            Form::Offset(0),
        ),
        family(Kind::Members(Area::Save), &["SVM_GUEST_"], In::Macros, Form::Offset(0x400)),
        family(
            Kind::Members(Area::Control),
            &["V_", "AVIC_ENABLE_MASK", "X2APIC_MODE_MASK"],
            In::Macros,
            Form::Part(0x60),
        ),
        family(
            Kind::Members(Area::Control),
            &["SVM_INTERRUPT_SHADOW_MASK", "SVM_GUEST_INTERRUPT_MASK"],
            In::Macros,
            Form::Part(0x68),
        ),
        family(Kind::Members(Area::Control), &["SVM_NESTED_CTL_"], In::Macros, Form::Part(0x90)),
        family(
            Kind::Members(Area::Control),
            &["LBR_CTL_ENABLE_MASK", "VIRTUAL_VMLOAD_VMSAVE_ENABLE_MASK"],
            In::Macros,
            Form::Part(0xb8),
        ),
        bits("Basic VMX Information", Some("IA32_VMX_BASIC"), &["VMX_BASIC_"], Form::Mask(0)),
        bits("Miscellaneous Data", Some("IA32_VMX_MISC"), &["VMX_MISC_"], Form::Mask(0)),
        bits("VPID and EPT Capabilities", Some("IA32_VMX_EPT_VPID_CAP"), &["VMX_EPT_"], Form::Mask(0)),
        bits("IA32_EFER", Some("IA32_EFER"), &["EFER_"], Form::Mask(0)),
        bits("IA32_SPEC_CTRL", Some("IA32_SPEC_CTRL"), &["SPEC_CTRL_"], Form::Mask(0)),
        bits("IA32_PRED_CMD", Some("IA32_PRED_CMD"), &["PRED_CMD_"], Form::Mask(0)),
        bits("IA32_ARCH_CAPABILITIES", Some("IA32_ARCH_CAPABILITIES"), &["ARCH_CAP_", "ARCH_CAPS_"], Form::Mask(0)),
        bits(
            "IA32_FEATURE_CONTROL",
            Some("IA32_FEATURE_CONTROL"),
            &["FEAT_CTL_", "IA32_FEATURE_CONTROL_"],
            Form::Mask(0),
        ),
        bits("IA32_DEBUGCTL", Some("IA32_DEBUGCTL"), &["DEBUGCTLMSR_", "IA32_DEBUGCTLMSR_"], Form::Mask(0)),
        bits("Event Injection", None, &["SVM_EVTINJ_"], Form::Mask(0)),
        bits("Format of Interruptibility State", None, &["GUEST_INTR_STATE_", "VMX_INTR_SHADOW_"], Form::Mask(0)),
    ];
    // Linux counts the bits of the VPID capabilities from the upper half of their MSR.
    let shift = if has("VMX_VPID_INVVPID_BIT") { 32 } else { 0 };
    let vpid = Some("IA32_VMX_EPT_VPID_CAP");
    all.push(bits("VPID and EPT Capabilities", vpid, &["VMX_VPID_"], Form::Mask(shift)));
    // Bochs numbered the words from the pin-based controls, and does so from the primary ones now.
    let old = constants.iter().any(|constant| constant.name.starts_with("VMX_VM_EXEC_CTRL2_HLT_"));
    let words = if old { [Pin, Primary, Secondary] } else { [Primary, Secondary, Tertiary] };
    let prefixes: [&[_]; 3] = [&["VMX_VM_EXEC_CTRL1_"], &["VMX_VM_EXEC_CTRL2_"], &["VMX_VM_EXEC_CTRL3_"]];
    all.extend(words.into_iter().zip(prefixes).map(|(word, prefixes)| control(word, prefixes, Form::Bit)));
    if has("INTERCEPT_INTR") {
        let form = Form::InterceptNumber(0);
        all.push(family(Kind::Intercepts, &["INTERCEPT_", "TRAP_"], In::Enums(""), form));
    }
    if has("VMCB_PERM_MAP") {
        let kind = Kind::Bits { msr: None };
        let place = In::Enums("");
        all.push(Family {
            kind,
            title: "VMCB Clean Field",
            prefixes: &["VMCB_"],
            place,
            form: Form::BitNumber,
            complete: false,
        });
    }
    all
}

/// Names that begin like a table's and are none of it, by how they go on: what hypervisors made up, counts, masks of many.
fn is_foreign(kind: &Kind, name: &str) -> bool {
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    match kind {
        Kind::VmcsFields => {
            has(&["FIELD_TYPE", "FIELD_WIDTH", "_ENCODING", "_FIELD_ADDR", "VMCS_DATA_OFFSET"])
                || ends(&["_WIDTH", "_MASK_BITS"])
        }
        Kind::VmxExits => ends(&["_UNDEFINED", "_LAST_REASON", "_LAST", "_MAX"]),
        Kind::InstructionErrors => ends(&["_NO_ERROR", "_SUCCEED", "_FAIL_INVALID"]),
        Kind::Controls(_) => has(&["ALWAYSON", "SUPPORTED_BITS", "DEFAULT1", "FIXED", "RESERVED"]) || ends(&["_BITS"]),
        Kind::Msrs => {
            let parts = [
                "_MASK",
                "_BIT",
                "_SHIFT",
                "_OFFSET",
                "_COUNT",
                "_MAX",
                "_MIN",
                "_WIDTH",
                "_RESERVED",
                "_SIZE",
                "_STRIDE",
                "_SCALE",
            ];
            ends(&parts) || has(&["_RESERVED_"]) || c_header_names::is_before(name)
        }
        Kind::Intercepts => {
            name == "INTERCEPT_CR"
                || name == "INTERCEPT_DR"
                || name == "INTERCEPT_EXCEPTION"
                || has(&["INTERCEPT_WORD"])
        }
        Kind::SvmExits => ends(&["_REASONS", "_LAST", "_MAX"]),
        Kind::Members(_) => ends(&["_SHIFT", "_HI"]) || has(&["INJECTION_BITS"]) || name == "V_TPR_MASK",
        Kind::Bits { .. } => {
            let counts = ["_SHIFT", "_MULTIPLIER", "_MEM_TYPE_WB", "_RESVD", "_DIRTY_MAX"];
            // Masks of several flags, values of a field, and bits of EPT entries, which are called like capabilities.
            let several = ["_MITIGATIONS_MASK", "_ACTIVITY_MASK", "_ALWAYS_DIRTY_MASK"];
            let values = ["EVTINJ_TYPE_INTR", "EVTINJ_TYPE_NMI", "EVTINJ_TYPE_EXEPT", "EVTINJ_TYPE_SOFT"];
            let entries =
                ["ABLE_MASK", "_IPAT_BIT", "_ACCESS_BIT", "_DIRTY_BIT", "_VE_BIT", "_RWX_", "_EPT_MT_", "_MISCONFIG_"];
            ends(&counts) || ends(&several) || has(&values) || has(&entries) || has(&["_EXTENT_"])
        }
    }
}

/// The tables of a header, and what of them could not be read.
pub(super) fn tables(header: &Header) -> (Vec<Table>, Vec<Unreadable>) {
    let constants = constants(header);
    let mut tables: Vec<Table> = Vec::new();
    let mut unreadable = Vec::new();
    let families = families(&constants);
    for family in &families {
        let mut rows = Vec::new();
        for constant in constants.iter().filter(|constant| belongs(family, constant, &constants)) {
            let place = Place { line: Some(constant.line), ..Place::default() };
            let row = constant.value.clone().and_then(|value| row(family, constant, value));
            match row {
                // What a program calls reserved it has no use for; that says nothing of the hardware.
                Ok(Some(row)) if row.reserved => {}
                Ok(Some(row)) => rows.push(c_header_names::name(&family.kind, Row { place, ..row })),
                Ok(None) => {}
                Err(why) => unreadable.push(Unreadable { place, text: constant.name.to_owned(), why }),
            }
        }
        if let Form::Field = family.form {
            (rows, unreadable) = halves(rows, unreadable);
        }
        if !rows.is_empty() {
            tables.push(Table {
                kind: family.kind.clone(),
                title: title(family, &rows),
                complete: family.complete,
                rows: ranges(rows),
            });
        }
    }
    let layout = Layout::new(&header.structs, &header.symbols);
    for found in header.structs.iter().filter(|found| !found.foreign) {
        match members(&layout, found) {
            Ok(found) => tables.extend(found),
            Err(wrong) => unreadable.push(wrong),
        }
    }
    (tables, unreadable)
}

/// The prefix, of enumerations without one that of their first constant.
fn title(family: &Family, rows: &[Row]) -> String {
    let begins = |prefix: &&&str| !prefix.is_empty() && rows[0].name.starts_with(**prefix);
    match family.kind {
        Kind::Bits { .. } => family.title.to_owned(),
        _ if family.title.is_empty() => "vmcs_field".to_owned(),
        _ => family.prefixes.iter().find(begins).map_or(family.title, |prefix| prefix).to_owned(),
    }
}

fn constants(header: &Header) -> Vec<Constant<'_>> {
    let macros = header.macros.iter().filter(|found| found.parameters.is_none() && !found.body.is_empty());
    let macros = macros.map(|found| Constant {
        name: &found.name,
        line: found.line,
        value: header.symbols.evaluate(&found.body),
        origin: Origin::Macro(&found.body),
    });
    let enums = header.enums.iter().flat_map(|list| {
        list.constants.iter().map(|found| Constant {
            name: &found.name,
            line: found.line,
            value: found.value.clone(),
            origin: Origin::Enum(list.name.as_deref().unwrap_or_default()),
        })
    });
    macros.chain(enums).collect()
}

fn belongs(family: &Family, constant: &Constant, all: &[Constant]) -> bool {
    let place = match (&constant.origin, family.place) {
        (Origin::Macro(_), In::Macros | In::Both) | (Origin::Enum(_), In::Both) => true,
        (Origin::Enum(name), In::Enums(wanted)) => wanted.is_empty() || *name == wanted,
        _ => false,
    };
    let prefix = family.prefixes.iter().any(|prefix| constant.name.starts_with(prefix));
    place && prefix && !is_foreign(&family.kind, constant.name) && is_value(family, constant, all)
}

/// Whether a constant that is called like one of a table has a value of that table, and not the number of a bit.
fn is_value(family: &Family, constant: &Constant, all: &[Constant]) -> bool {
    let number_of_bit = || {
        let of = constant.name.strip_suffix("_BIT");
        of.is_some_and(|name| all.iter().any(|other| other.name == name))
    };
    match family.kind {
        Kind::Msrs => is_address(constant, all),
        Kind::Bits { .. } | Kind::Controls(_) => !number_of_bit(),
        // Macros have no enumeration that says what they are; encodings have 15 bits.
        Kind::VmcsFields => family.place != In::Macros || matches!(constant.value, Ok(0..=0xffff) | Err(_)),
        _ => true,
    }
}

/// Whether a macro that begins like an MSR is one, and no bit of one: addresses are written in hexadecimal, or made of
/// those of other MSRs.
fn is_address(constant: &Constant, all: &[Constant]) -> bool {
    let Origin::Macro(body) = constant.origin else {
        return false;
    };
    let sum = body.iter().all(|token| match &token.tok {
        Tok::Ident(name) => name.starts_with("MSR_"),
        Tok::Number(_, hex) => *hex || body.len() > 1,
        Tok::Punct(punct) => matches!(*punct, "(" | ")" | "+"),
        _ => false,
    });
    // A small number below the name of an MSR is of a field of its.
    let small = matches!(constant.value, Ok(0..0x100));
    let field = |other: &Constant| {
        constant.name.strip_prefix(other.name).is_some_and(|rest| rest.starts_with('_'))
            && matches!(other.value, Ok(0x100..))
    };
    sum && !(small && all.iter().any(field))
}

/// The row of a constant; nothing where it is no row.
fn row(family: &Family, constant: &Constant, value: i128) -> Result<Option<Row>, String> {
    let name = constant.name.to_owned();
    let number = i64::try_from(value).or_else(|_| u64::try_from(value).map(|value| value as i64));
    let number = number.map_err(|_| "the number has more than 64 bits".to_owned())?;
    let reserved = name.contains("_RESERVED");
    let row = Row { name, reserved, ..Row::default() };
    let mask = || u64::try_from(value).map_err(|_| "no mask of 64 bits".to_owned());
    let run = |mask: u64| {
        let low = mask.trailing_zeros();
        let high = 63_u32.wrapping_sub(mask.leading_zeros());
        (mask != 0 && mask.count_ones() == high - low + 1).then_some([high, low])
    };
    Ok(match &family.form {
        Form::Number => Some(Row { number: Some(number), ..row }),
        Form::Field => {
            // Bochs has the width in the name.
            let width = ["16", "32", "64"].iter().find(|bits| constant.name.starts_with(&format!("VMCS_{bits}BIT_")));
            let width = width.and_then(|bits| bits.parse().ok());
            Some(Row { number: Some(number), width, ..row })
        }
        Form::Bit => match run(mask()?) {
            Some([high, low]) if high == low => Some(Row { bits: Some([low, low]), ..row }),
            // What begins so and has no bit is the number of a bit or a mask of many.
            _ => None,
        },
        Form::Mask(shift) => run(mask()?)
            .filter(|[high, _]| high + shift < 64)
            .map(|bits| Row { bits: Some(bits.map(|bit| bit + shift)), ..row }),
        Form::BitNumber => {
            u32::try_from(value).ok().filter(|bit| *bit < 64).map(|bit| Row { bits: Some([bit, bit]), ..row })
        }
        Form::Feature(first, range) => range.contains(&value).then(|| {
            let bit = if *range.start() == 28 { value - 28 } else { value - first } as u32;
            Row { bits: Some([bit, bit]), ..row }
        }),
        Form::InterceptBit(word) => match run(mask()?) {
            Some([high, low]) if high == low => Some(Row { number: Some(*word as i64 * 32 + i64::from(low)), ..row }),
            _ => return Err("no single bit".to_owned()),
        },
        Form::InterceptNumber(word) => Some(Row { number: Some(number + *word as i64 * 32), ..row }),
        Form::Offset(base) => {
            let size = ["16", "32", "64"].iter().find(|bits| constant.name.starts_with(&format!("SVM_CONTROL{bits}_")));
            let size = size.and_then(|bits| bits.parse::<u64>().ok()).map(|bits| bits / 8);
            (value >= *base && value < 0x1000).then(|| Row { number: Some(number - *base as i64), size, ..row })
        }
        Form::Part(offset) => {
            run(mask()?).map(|bits| Row { number: Some(*offset), size: Some(8), bits: Some(bits), ..row })
        }
    })
}

/// Moves the upper halves of VMCS fields to their fields.
fn halves(rows: Vec<Row>, mut unreadable: Vec<Unreadable>) -> (Vec<Row>, Vec<Unreadable>) {
    let whole = |name: &str| ["_HIGH", "_HI"].iter().find_map(|end| name.strip_suffix(end)).map(str::to_owned);
    let (high, mut fields): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| whole(&row.name).is_some());
    for row in high {
        let of = whole(&row.name).and_then(|name| fields.iter_mut().find(|field| field.name == name));
        match of {
            Some(field) => field.high = row.number,
            None => {
                let why = "the upper half of a field that is not there".to_owned();
                unreadable.push(Unreadable { place: row.place, text: row.name, why });
            }
        }
    }
    (fields, unreadable)
}

/// Makes one row of the first and the last exception, and of the intercepts of all exceptions.
fn ranges(mut rows: Vec<Row>) -> Vec<Row> {
    let last = rows.iter().find(|row| row.name == "SVM_EXIT_LAST_EXCP").and_then(|row| row.number);
    rows.retain(|row| row.name != "SVM_EXIT_LAST_EXCP");
    for row in &mut rows {
        row.last = match row.name.as_str() {
            "SVM_EXIT_EXCP_BASE" => last,
            "SVM_VMEXIT_EXCEPTION" | "INTERCEPT_EXCEPTION_OFFSET" => row.number.map(|number| number + 31),
            _ => row.last,
        };
    }
    rows
}

/// The tables of a structure that is an area of the VMCB or the VMSA, or both areas of the VMCB.
fn members<'a>(layout: &Layout<'a>, of: &'a Struct) -> Result<Vec<Table>, Unreadable> {
    let named = |name: &str| of.names.iter().any(|own| own == name);
    let areas: &[(Area, i64, i64)] = if named("vmcb_control_area") {
        &[(Area::Control, 0, 0x400)]
    } else if named("vmcb_save_area") {
        &[(Area::Save, 0, 0xc00)]
    } else if named("sev_es_save_area") || named("sev_es_work_area") {
        &[(Area::Vmsa, 0, 0x1000)]
    } else if named("vmcb_struct") {
        &[(Area::Control, 0, 0x400), (Area::Save, 0x400, 0x1000)]
    } else {
        return Ok(Vec::new());
    };
    let leaves = layout.leaves(of).map_err(|fault| Unreadable {
        place: Place { line: Some(fault.line), ..Place::default() },
        text: format!("struct {}", of.names[0]),
        why: fault.message,
    })?;
    let rows = leaves.iter().filter(|leaf| !is_reserved(&leaf.name) && !is_unused(&leaf.name)).map(|leaf| Row {
        name: leaf.name.clone(),
        number: i64::try_from(leaf.offset).ok(),
        size: Some(leaf.size),
        bits: leaf.bits,
        place: Place { line: Some(leaf.line), ..Place::default() },
        ..Row::default()
    });
    let rows = whole_words(rows.collect());
    let named = |row: Row| c_header_names::name(&Kind::Members(Area::Control), row);
    let (mut words, members): (Vec<Row>, Vec<Row>) =
        rows.into_iter().map(named).partition(|row| row.bits.is_some() && word(&row.name).is_some());
    let table = |kind, title: &str, rows| Table { kind, title: title.to_owned(), complete: false, rows };
    let mut tables: Vec<_> = areas
        .iter()
        .map(|(area, start, end)| {
            let inside = members.iter().filter_map(|row| {
                let number = row.number.filter(|number| (*start..*end).contains(number))? - start;
                Some(Row { number: Some(number), ..row.clone() })
            });
            table(Kind::Members(*area), &of.names[0], inside.collect())
        })
        .collect();
    // Words that have a table of their own in the manual.
    while let Some(title) = words.first().and_then(|row| word(&row.name)) {
        let (rows, others) = words.into_iter().partition(|row| word(&row.name) == Some(title));
        let rows = Vec::into_iter(rows).map(|row| Row { number: None, size: None, ..row }).collect();
        tables.push(table(Kind::Bits { msr: None }, title, rows));
        words = others;
    }
    Ok(tables)
}

/// Makes one row of the two halves of a word: `exit_code` and `exit_code_hi`, an event and its error code.
fn whole_words(rows: Vec<Row>) -> Vec<Row> {
    let mut whole: Vec<Row> = Vec::new();
    for row in rows {
        let half = |first: &&mut Row| {
            let rest = row.name.strip_prefix(&first.name);
            let follows = first.number.zip(row.number).is_some_and(|(first, second)| first + 4 == second);
            matches!(rest, Some("_hi" | "_err")) && follows && (first.size, row.size) == (Some(4), Some(4))
        };
        match whole.last_mut().filter(half) {
            Some(first) => first.size = Some(8),
            None => whole.push(row),
        }
    }
    whole
}

/// The title of the table of a word's bits.
fn word(name: &str) -> Option<&'static str> {
    match name.split('.').next()? {
        "cleanbits" => Some("VMCB Clean Field"),
        "event_inj" | "exit_int_info" => Some("Event Injection"),
        _ => None,
    }
}

/// Structures have the same members for every segment register; those of descriptor tables have less.
fn is_unused(name: &str) -> bool {
    let table = ["gdtr.", "idtr."].iter().find_map(|register| name.strip_prefix(register));
    table.is_some_and(|member| member.starts_with("sel") || member.starts_with("attr"))
}
