//! AMD's manual as a document to compare the tables with, in the form that `pdftotext -layout` gives it.
#![cfg(feature = "cli")]

#[path = "common/audit.rs"]
mod common;

use std::path::{Path, PathBuf};

use common::{fixture, read, read_bytes, rows, shown};
use x86_vcpu_codegen::audit::source::{Kind, Standing};
use x86_vcpu_codegen::model::Area;

#[test]
fn appendices() {
    let source = read(&fixture("amd/appendix.txt"));
    assert_eq!(source.title, "AMD64 APM volume 2, revision 3.99");
    assert_eq!(source.standing, Standing::Manual);
    assert_eq!(source.identity.order.as_deref(), Some("24593"));
    assert_eq!(source.identity.date.as_deref(), Some("2031-05"));
    let control = [
        "Intercept reads of registers 0–15 0x0 [15:0]",
        "Intercept writes of registers 0–15 0x0 [31:16]",
        "Intercept the interrupt 0xc [0:0]",
        "IO_THING 0xc [1:1]",
        "RESERVED, SBZ 0x10-0x3b 44 bytes reserved",
        "Guest number 0x58 [31:0]",
        "FLUSH 0x58 [39:32]",
        "RESERVED, SBZ 0x58 [63:40] reserved",
        "V_X 0x60 [7:0]",
        "V_Y 0x60 [8:8]",
        "RESERVED, SBZ 0x60 [63:9] reserved",
        "CODE 0x68 8 bytes",
        "Reserved for Host usage 0x70-0x7f 16 bytes reserved",
    ];
    assert_eq!(shown(&source, &Kind::Members(Area::Control)), control);
    let save = [
        "ES selector 0x0 2 bytes",
        "ES attrib 0x2 2 bytes",
        "ES limit 0x4 4 bytes",
        "ES base 0x8 8 bytes",
        "GDTR selector 0x60 2 bytes reserved",
        "GDTR attrib 0x62 2 bytes reserved",
        "GDTR limit 0x64 4 bytes",
        "GDTR base 0x68 8 bytes",
        "RESERVED 0xa0-0xca 43 bytes reserved",
        "CPL 0xcb 1 bytes",
        "RESERVED 0x2a0-0x2df 64 bytes reserved",
        "RESERVED 0x2e8-0x66f 904 bytes reserved",
        "LONG_NAME_GOES_ON 0x778 8 bytes",
        "RESERVED 0x7c8 1080 bytes reserved",
    ];
    assert_eq!(shown(&source, &Kind::Members(Area::Save)), save);
    let vmsa = [
        "ES 0x0 16 bytes",
        "INTR_CTRL 0x3b8 8 bytes",
        "V_TPR 0x3b8 [7:0]",
        "V_IRQ 0x3b8 [8:8]",
        "Reserved, SBZ 0x3b8 [15:9] reserved",
        "V_VECTOR 0x3b8 [39:16]",
        "Reserved 0x3f0-0x3ff 16 bytes reserved",
    ];
    assert_eq!(shown(&source, &Kind::Members(Area::Vmsa)), vmsa);
    let exits = [
        "VMEXIT_CR[0–15]_READ 0x0-0xf",
        "VMEXIT_EXCP[0–31] 0x40-0x5f",
        "VMEXIT_MWAIT_CONDITIONAL_WITH_A_NAME 0x8c",
        "VMEXIT_RDPRU 0x8e",
        "VMEXIT_XSETBV 0x8d",
        "Unused 0xf000000",
        "VMEXIT_INVALID -1",
        "VMEXIT_INVALID_PMC -4",
    ];
    assert_eq!(shown(&source, &Kind::SvmExits), exits);
    // What the manual says itself of its row is passed on.
    let wrong: Vec<_> = source.unreadable.iter().map(|wrong| wrong.why.as_str()).collect();
    assert_eq!(wrong, ["it says 72 bytes, and its offsets are 64"]);
    let places: Vec<_> = rows(&source, &Kind::Members(Area::Control)).iter().map(|row| row.place.to_string()).collect();
    assert_eq!((places[0].as_str(), places[12].as_str()), ("page 737 (1 of the file)", "page 738 (2 of the file)"));
}

#[test]
fn offsets_in_the_middle_of_their_cells() {
    let source = read(&fixture("amd/middle.txt"));
    let control = [
        "Intercept reads of registers 0–15 0x0 [15:0]",
        "Intercept writes of registers 0–15 0x0 [31:16]",
        "A 0x4 [0:0]",
        "B 0x4 [1:1]",
        "C 0x4 [2:2]",
        "D 0x8 8 bytes",
    ];
    assert_eq!(shown(&source, &Kind::Members(Area::Control)), control);
    let save = ["CS selector 0x10 2 bytes", "CS attrib 0x12 2 bytes", "CS limit 0x14 4 bytes", "CS base 0x18 8 bytes"];
    assert_eq!(shown(&source, &Kind::Members(Area::Save)), save);
}

#[test]
fn every_cut_of_the_appendices_is_read_or_refused() {
    let text = std::fs::read_to_string(fixture("amd/appendix.txt")).unwrap();
    for (end, _) in text.char_indices().step_by(3) {
        let _ = read_bytes(Path::new("cut.txt"), &text.as_bytes()[..end]);
        let _ = read_bytes(Path::new("cut.txt"), format!("{}{}", &text[..90], &text[end..]).as_bytes());
    }
}

#[test]
fn documents_without_the_tables() {
    let text = "24593—Rev. 3.99—May 2031     AMD64 Technology\n\nPreface\nTable B-1. VMCB Layout, Control Area\n";
    let error = read_bytes(Path::new("apm.txt"), text.as_bytes()).unwrap().unwrap_err();
    assert!(error.to_string().contains("AMD64 APM volume 2, revision 3.99, which has none"), "{error}");
    assert!(read_bytes(Path::new("x.txt"), b"AMD64 Technology, but volume 24594").is_none());
    assert!(read_bytes(Path::new("x.txt"), b"").is_none_or(|read| read.is_err()));
}

/// Manuals, where somebody has them: the directory that `X86_VCPU_MANUALS` names.
#[test]
fn manuals_that_are_at_hand() {
    let Some(directory) = std::env::var_os("X86_VCPU_MANUALS").map(PathBuf::from) else {
        println!("skipped: X86_VCPU_MANUALS names no directory of manuals");
        return;
    };
    for entry in std::fs::read_dir(&directory).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if !name.contains("apm") && !name.contains("24593") || !name.ends_with(".pdf") {
            continue;
        }
        let source = read(&entry.path());
        println!("{}: {}", source.path, source.title);
        for (kind, at_least) in [
            (Kind::Members(Area::Control), 140),
            (Kind::Members(Area::Save), 100),
            (Kind::Members(Area::Vmsa), 150),
            (Kind::SvmExits, 65),
        ] {
            let found = rows(&source, &kind);
            println!("{kind:?}: {} rows", found.len());
            assert!(found.len() >= at_least, "{kind:?}: {} rows", found.len());
        }
    }
}
