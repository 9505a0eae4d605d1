//! The reader of Intel's manual, with texts that were made up for it: what is hard to read in the real one is in them.
#![cfg(feature = "cli")]

use std::path::Path;

use x86_vcpu_codegen::audit::read::{Input, READERS, ReadError};
use x86_vcpu_codegen::audit::source::{Kind, Row, Source, Table};
use x86_vcpu_codegen::model::ControlWord;

fn read(name: &str, bytes: &[u8]) -> Result<Source, ReadError> {
    let input = Input { path: Path::new(name), bytes };
    let reader = READERS.iter().find(|reader| (reader.recognises)(&input)).expect("nobody reads this");
    assert_eq!(reader.what, "Intel SDM");
    (reader.read)(&input, &mut |_, _, _| {})
}

fn fields() -> Source {
    read("fields.txt", include_bytes!("audit/intel/fields.txt")).unwrap()
}

fn bits() -> Source {
    read("bits.txt", include_bytes!("audit/intel/bits.txt")).unwrap()
}

fn table<'a>(source: &'a Source, title: &str) -> &'a Table {
    let titles: Vec<_> = source.tables.iter().map(|table| &table.title).collect();
    source.tables.iter().find(|table| table.title == title).unwrap_or_else(|| panic!("no {title} in {titles:?}"))
}

/// `bits name`, and a mark where it is reserved.
fn told(row: &Row) -> String {
    let [high, low] = row.bits.unwrap();
    format!("{high}:{low} {}{}", row.name, if row.reserved { " (reserved)" } else { "" })
}

#[test]
fn the_title_page_identifies_it() {
    let source = fields();
    assert_eq!(source.title, "Intel SDM volume 3D, revision 999");
    assert_eq!(source.identity.order.as_deref(), Some("332831"));
    assert_eq!(source.identity.revision.as_deref(), Some("999"));
    assert_eq!(source.identity.date.as_deref(), Some("2031-03"));
    assert_eq!(source.identity.sha256.as_ref().map(String::len), Some(64));
    assert_eq!(bits().title, "Intel SDM volumes 3A, 3B, 3C, and 3D, revision 999");
}

#[test]
fn sixteen_bit_fields_with_notes() {
    let source = fields();
    let table = table(&source, "Encoding for 16-Bit Control Fields");
    assert_eq!(table.kind, Kind::VmcsFields);
    let rows: Vec<_> = table.rows.iter().map(|row| (row.name.as_str(), row.number, row.condition.as_deref())).collect();
    assert_eq!(
        rows,
        [
            ("Red index", Some(0), None),
            ("Green index", Some(2), Some("This field exists only when green is on.")),
            ("Blue number", Some(4), Some("This field exists only when blue is on.")),
        ]
    );
    assert!(table.rows.iter().all(|row| row.width == Some(16) && row.group.as_deref() == Some("control")));
    assert_eq!(table.rows[0].place.to_string(), "page B-1 (1 of the file)");
}

#[test]
fn halves_of_fields_over_two_pages() {
    let source = fields();
    let table = table(&source, "Encodings for 64-Bit Guest-State Fields");
    let rows: Vec<_> = table.rows.iter().map(|row| (row.name.as_str(), row.number, row.high)).collect();
    assert_eq!(
        rows,
        [
            ("Yellow pointer", Some(0x2800), Some(0x2801)),
            ("Orange pointer with a name that takes more than a line (ORANGE)", Some(0x2802), Some(0x2803)),
            ("Violet base, 0", Some(0x2804), Some(0x2805)),
            ("Brown value", Some(0x2808), Some(0x2809)),
        ]
    );
    assert_eq!(table.rows[0].condition.as_deref(), Some("This field exists only when yellow is on."));
    assert_eq!(table.rows[2].place.printed.as_deref(), Some("B-3"));
}

#[test]
fn what_cannot_be_a_row_is_told() {
    let source = fields();
    let told: Vec<_> = source.unreadable.iter().map(|row| (row.why.as_str(), row.text.as_str())).collect();
    assert_eq!(
        told,
        [
            ("this index is not that of the encoding of `Brown value (full)`", "000000111B"),
            ("the upper half of a field that is not there", "Grey lonely half (high) 00002807H"),
            ("neither (full) nor (high)", "Black value 0000280AH"),
            ("it has the cells of a row, but does not begin like one", "x7 Nobody knows."),
        ]
    );
}

#[test]
fn exit_reasons_are_called_by_their_first_sentence() {
    let source = fields();
    let table = table(&source, "Basic Exit Reasons");
    assert_eq!(table.kind, Kind::VmxExits);
    let rows: Vec<_> = table.rows.iter().map(|row| (row.number, row.last, row.name.as_str())).collect();
    assert_eq!(
        rows,
        [(Some(0), None, "Some fault (SF)"), (Some(1), None, "Outer event"), (Some(65), Some(66), "Two of a kind")]
    );
}

#[test]
fn controls_have_names_of_two_lines() {
    let source = bits();
    let table = table(&source, "Definitions of Pin-Based VM-Execution Controls");
    assert_eq!(table.kind, Kind::Controls(ControlWord::Pin));
    assert_eq!(table.rows.iter().map(told).collect::<Vec<_>>(), ["0:0 Outer-event exiting", "3:3 Inner exiting"]);
    assert_eq!(table.rows.iter().map(|row| row.default1).collect::<Vec<_>>(), [Some(false), Some(true)]);
    assert!(source.unreadable.is_empty(), "{:?}", source.unreadable);
}

#[test]
fn layouts_have_descriptions_for_names() {
    let source = bits();
    let rows = |title: &str| table(&source, title).rows.iter().map(told).collect::<Vec<_>>();
    assert_eq!(
        rows("Format of an EPT Example Entry"),
        [
            "0:0 Read access; it is what it says",
            "2:1 Kind of colour",
            "7:3 Reserved (must be 0) (reserved)",
            "51:8 Address of the colour",
            "63:52 Ignored (reserved)",
        ]
    );
    assert_eq!(
        rows("Exit Qualification for Colours, of which there are Many"),
        ["1:0 C1 – C0", "62:2 Not currently defined (reserved)"]
    );
}

#[test]
fn values_are_tables_of_their_own() {
    let source = bits();
    let values: Vec<_> = source.tables.iter().filter(|table| table.title == "Format of an EPT Example Entry").collect();
    let [_, values] = values.as_slice() else { panic!("{values:#?}") };
    let rows: Vec<_> = values.rows.iter().map(|row| (row.number, row.last, row.name.as_str())).collect();
    assert_eq!(rows, [(Some(0), None, "red"), (Some(1), None, "green"), (Some(2), Some(3), "all others")]);
}

#[test]
fn capabilities_are_items_of_lists() {
    let source = bits();
    let msr = Kind::Bits { msr: Some("IA32_VMX_COLOURS".into()) };
    let tables: Vec<_> = source.tables.iter().filter(|table| table.kind == msr).collect();
    let [table] = tables.as_slice() else { panic!("{tables:?}") };
    assert_eq!(table.title, "COLOURFUL DATA");
    assert_eq!(
        table.rows.iter().map(told).collect::<Vec<_>>(),
        [
            "3:0 report the number of colours",
            "4:4 there is grey",
            "5:5 reports gold",
            "6:6 reports silver",
            "15:7 are reserved and are read as 0 (reserved)",
            "63:16 are reserved and are read as 0 (reserved)",
        ]
    );
}

#[test]
fn msrs_and_their_bits() {
    let source = read("msrs.txt", include_bytes!("audit/intel/msrs.txt")).unwrap();
    let [msrs, layouts @ ..] = source.tables.as_slice() else { panic!("no tables") };
    assert_eq!(msrs.kind, Kind::Msrs);
    let rows: Vec<_> = msrs.rows.iter().map(|row| (row.number, row.last, row.name.as_str())).collect();
    assert_eq!(
        rows,
        [
            (Some(0x10), None, "IA32_RED"),
            (Some(0x11b), None, "IA32_GREEN"),
            (Some(0x180), Some(0x185), "Reserved"),
            (Some(0x300), None, "IA32_LIMITS"),
            (Some(0xc000_0080), None, "IA32_UPPER"),
            (Some(0x1500), Some(0x151f), "IA32_x_FROM"),
        ]
    );
    assert_eq!(msrs.rows[0].aliases, ["RED"]);
    assert!(msrs.rows[2].reserved);
    let [green, upper] = layouts else { panic!("{layouts:#?}") };
    assert_eq!(green.kind, Kind::Bits { msr: Some("IA32_GREEN".into()) });
    assert_eq!(
        green.rows.iter().map(told).collect::<Vec<_>>(),
        [
            "0:0 Lock bit",
            "7:1 Reserved (reserved)",
            "9:8 Shade Enable",
            "51:12 Base of green",
            "63:52 Reserved (reserved)"
        ]
    );
    assert_eq!(green.rows[2].aliases, ["Shade Enable: IA32_GREEN.SHADE"]);
    assert_eq!(upper.rows.iter().map(told).collect::<Vec<_>>(), ["31:0 LOW", "63:32 Not used (reserved)"]);
    let told: Vec<_> = source.unreadable.iter().map(|row| (row.why.as_str(), row.text.split(' ').next())).collect();
    assert_eq!(
        told,
        [("an address that is no number in hexadecimal digits", Some("XYZH")), ("bits that are no range", Some("9:x"))]
    );
}

#[test]
fn volumes_without_our_tables_say_so() {
    let text = include_str!("audit/intel/fields.txt").split("Table B-1. Enc").next().unwrap();
    let error = read("first.txt", text.as_bytes()).unwrap_err();
    assert!(error.message.contains("volume 3D, revision 999"), "{error}");
    assert!(error.help.unwrap().contains("3C"));
}

/// Whatever is cut or damaged: a result or an error, no panic.
#[test]
fn damaged_texts_are_survived() {
    let texts = [
        include_str!("audit/intel/fields.txt"),
        include_str!("audit/intel/bits.txt"),
        include_str!("audit/intel/msrs.txt"),
    ];
    for text in texts {
        let lines: Vec<_> = text.lines().collect();
        for cut in 0..lines.len() {
            let mut some = lines.clone();
            some.remove(cut);
            if cut > 9 {
                let _ = read("cut.txt", some.join("\n").as_bytes());
                let _ = read("short.txt", lines[..cut].join("\n").as_bytes());
            }
            let squeezed = lines[cut].split_whitespace().collect::<Vec<_>>().join(" ");
            some.insert(cut, &squeezed);
            if cut > 9 {
                let _ = read("squeezed.txt", some.join("\n").as_bytes());
            }
        }
    }
}
