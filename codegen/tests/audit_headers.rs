//! C headers and Rust constants as documents to compare the tables with.
#![cfg(feature = "cli")]

#[path = "common/audit.rs"]
mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::{fixture, read, read_bytes, rows, shown};
use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::audit::source::{Kind, Source, Standing};
use x86_vcpu_codegen::model::{Area, ControlWord};

#[test]
fn vmx_h_of_linux() {
    let source = read(&fixture("headers/asm/vmx.h"));
    assert_eq!(source.identity.id.as_deref(), Some("linux"));
    assert_eq!(source.standing, Standing::Other);
    let fields = [
        "VIRTUAL_PROCESSOR_ID 0x0",
        "TSC_OFFSET 0x2010 high 0x2011",
        "GUEST_ES_SELECTOR 0x800",
        "GUEST_CS_SELECTOR 0x802",
    ];
    assert_eq!(shown(&source, &Kind::VmcsFields), fields);
    let errors = [
        "VMXERR_VMCALL_IN_VMX_ROOT_OPERATION 0x1",
        "VMXERR_VMCLEAR_INVALID_ADDRESS 0x2",
        "VMXERR_VMCLEAR_VMXON_POINTER 0x3",
    ];
    assert_eq!(shown(&source, &Kind::InstructionErrors), errors);
    for (word, expected) in [
        (ControlWord::Pin, vec!["PIN_BASED_NMI_EXITING [3:3]"]),
        (ControlWord::Primary, vec!["CPU_BASED_HLT_EXITING [7:7]", "CPU_BASED_ACTIVATE_SECONDARY_CONTROLS [31:31]"]),
        (ControlWord::Secondary, vec!["SECONDARY_EXEC_ENABLE_EPT [1:1]"]),
        (ControlWord::Tertiary, vec!["TERTIARY_EXEC_IPI_VIRT [4:4]"]),
        (ControlWord::Exit, vec!["VM_EXIT_ACK_INTR_ON_EXIT [15:15]"]),
        (ControlWord::Entry, vec!["VM_ENTRY_IA32E_MODE [9:9]", "VM_ENTRY_SMM [10:10]"]),
    ] {
        assert_eq!(shown(&source, &Kind::Controls(word)), expected);
    }
    let basic = Kind::Bits { msr: Some("IA32_VMX_BASIC".to_owned()) };
    assert_eq!(shown(&source, &basic), ["VMX_BASIC_INOUT [54:54]"]);
    let misc = Kind::Bits { msr: Some("IA32_VMX_MISC".to_owned()) };
    assert_eq!(shown(&source, &misc), ["VMX_MISC_CR3 [24:16]"]);
    // Rows of included headers are theirs; bits of EPT entries are no capabilities; nobody knows what is left.
    assert!(rows(&source, &Kind::VmxExits).is_empty());
    let capabilities = Kind::Bits { msr: Some("IA32_VMX_EPT_VPID_CAP".to_owned()) };
    assert!(rows(&source, &capabilities).is_empty());
    let wrong: Vec<_> = source.unreadable.iter().map(|wrong| (wrong.text.as_str(), wrong.place.line)).collect();
    assert_eq!(wrong, [("LOST_HIGH", Some(42)), ("CPU_BASED_UNKNOWN", Some(15))]);
    assert_eq!(rows(&source, &Kind::VmcsFields)[0].place.line, Some(36));
}

#[test]
fn without_the_header_it_includes_controls_are_unreadable() {
    let text = std::fs::read(fixture("headers/asm/vmx.h")).unwrap();
    let source = read_bytes(Path::new("elsewhere/vmx.h"), &text).unwrap().unwrap();
    assert!(rows(&source, &Kind::Controls(ControlWord::Primary)).is_empty());
    let wrong = source.unreadable.iter().find(|wrong| wrong.text == "CPU_BASED_HLT_EXITING").unwrap();
    assert!(wrong.why.contains("VMX_FEATURE_HLT_EXITING"), "{}", wrong.why);
}

#[test]
fn other_headers_of_linux() {
    let features = read(&fixture("headers/asm/vmxfeatures.h"));
    for (word, expected) in [
        (ControlWord::Pin, vec!["VMX_FEATURE_NMI_EXITING [3:3]"]),
        (ControlWord::Vmfunc, vec!["VMX_FEATURE_EPTP_SWITCHING [0:0]"]),
        (ControlWord::Primary, vec!["VMX_FEATURE_HLT_EXITING [7:7]", "VMX_FEATURE_SEC_CONTROLS [31:31]"]),
        (ControlWord::Tertiary, vec!["VMX_FEATURE_IPI_VIRT [4:4]"]),
    ] {
        assert_eq!(shown(&features, &Kind::Controls(word)), expected);
    }
    let exits = read(&fixture("headers/uapi/asm/vmx.h"));
    assert_eq!(shown(&exits, &Kind::VmxExits), ["EXIT_REASON_EXCEPTION_NMI 0x0", "EXIT_REASON_HLT 0xc"]);
}

#[test]
fn svm_h_of_linux() {
    let source = read(&fixture("headers/asm/svm.h"));
    let intercepts = [
        "INTERCEPT_CR0_READ 0x0",
        "INTERCEPT_CR0_WRITE 0x10",
        "INTERCEPT_EXCEPTION_OFFSET 0x40-0x5f",
        "INTERCEPT_INTR 0x60",
        "INTERCEPT_NMI 0x61",
        "TRAP_EFER_WRITE 0x8f",
    ];
    assert_eq!(shown(&source, &Kind::Intercepts), intercepts);
    let control = [
        "V_IRQ_MASK 0x60 [8:8] 8 bytes",
        "V_INTR_PRIO_MASK 0x60 [19:16] 8 bytes",
        "intercepts[0] 0x0 4 bytes",
        "intercepts[1] 0x4 4 bytes",
        "intercepts[2] 0x8 4 bytes",
        "intercepts[3] 0xc 4 bytes",
        "pause_filter_thresh 0x3c 2 bytes",
        "pause_filter_count 0x3e 2 bytes",
        "more 0x40 2 bytes",
        "iopm_base_pa 0x42 8 bytes",
        "insn_bytes 0x6a 15 bytes",
        "last 0x79 8 bytes",
    ];
    assert_eq!(shown(&source, &Kind::Members(Area::Control)), control);
    let save = [
        "es.selector 0x0 2 bytes",
        "es.attrib 0x2 2 bytes",
        "es.limit 0x4 4 bytes",
        "es.base 0x8 8 bytes",
        "gdtr.limit 0x14 4 bytes",
        "gdtr.base 0x18 8 bytes",
        "cpl 0x20 1 bytes",
        "aligned 0x28 8 bytes",
    ];
    assert_eq!(shown(&source, &Kind::Members(Area::Save)), save);
    let bits = ["SVM_EVTINJ_TYPE_MASK [10:8]", "SVM_EVTINJ_VALID [31:31]"];
    assert_eq!(shown(&source, &Kind::Bits { msr: None }), bits);
    assert!(source.unreadable.is_empty(), "{:?}", source.unreadable);
}

#[test]
fn vmcb_h_of_xen() {
    let source = read(&fixture("headers/vmcb.h"));
    assert_eq!(source.identity.id.as_deref(), Some("xen"));
    let exits = ["VMEXIT_CR0_READ 0x0", "VMEXIT_NPF 0x400", "VMEXIT_INVALID -1"];
    assert_eq!(shown(&source, &Kind::SvmExits), exits);
    let intercepts = ["GENERAL2_INTERCEPT_VMRUN 0x80", "GENERAL2_INTERCEPT_RDPRU 0x8e"];
    assert_eq!(shown(&source, &Kind::Intercepts), intercepts);
    let control = [
        "_vintr 0x60 8 bytes",
        "_vintr.fields.tpr 0x60 [7:0] 8 bytes",
        "_vintr.fields.irq 0x60 [8:8] 8 bytes",
        "_vintr.fields.prio 0x60 [19:16] 8 bytes",
        "exitinfo1 0x68 8 bytes",
        "exitinfo2 0x70 8 bytes",
        "cleanbits 0x78 4 bytes",
    ];
    assert_eq!(shown(&source, &Kind::Members(Area::Control)), control);
    let save = [
        "es.sel 0x0 2 bytes",
        "es.attr 0x2 2 bytes",
        "es.limit 0x4 4 bytes",
        "es.base 0x8 8 bytes",
        "rax 0x10 8 bytes",
    ];
    assert_eq!(shown(&source, &Kind::Members(Area::Save)), save);
    let clean = source.tables.iter().find(|table| table.title == "VMCB Clean Field").unwrap();
    assert_eq!(
        clean.rows.iter().map(common::show).collect::<Vec<_>>(),
        ["cleanbits.intercepts [0:0]", "cleanbits.asid [2:2]"]
    );
}

#[test]
fn headers_of_bochs() {
    let source = read(&fixture("headers/vmx_ctrls.h"));
    assert_eq!(source.identity.id.as_deref(), Some("bochs"));
    // Words are numbered from the primary controls, since HLT exiting is in the first of them.
    assert_eq!(shown(&source, &Kind::Controls(ControlWord::Primary)), ["VMX_VM_EXEC_CTRL1_HLT_VMEXIT [7:7]"]);
    assert_eq!(shown(&source, &Kind::Controls(ControlWord::Secondary)), ["VMX_VM_EXEC_CTRL2_EPT_ENABLE [1:1]"]);
    assert_eq!(rows(&source, &Kind::Controls(ControlWord::Exit2)).len(), 1);
    assert_eq!(shown(&source, &Kind::VmxExits), ["VMX_VMEXIT_HLT 0xc"]);
    assert_eq!(shown(&source, &Kind::Controls(ControlWord::Entry)), ["VMX_VMENTRY_CTRL1_SMM_ENTER [10:10]"]);
    let exits = ["SVM_VMEXIT_INVALID -1", "SVM_VMEXIT_EXCEPTION 0x40-0x5f", "SVM_VMEXIT_INTR 0x60"];
    assert_eq!(shown(&source, &Kind::SvmExits), exits);
    assert_eq!(shown(&source, &Kind::Intercepts), ["SVM_INTERCEPT0_NMI 0x61", "SVM_INTERCEPT1_VMRUN 0x80"]);
    let fields = rows(&source, &Kind::VmcsFields);
    assert_eq!(fields.iter().map(|row| row.width).collect::<Vec<_>>(), [Some(16), Some(64), None]);
    assert_eq!(fields[1].high, Some(0x2011));
    assert_eq!(shown(&source, &Kind::Members(Area::Control)), ["SVM_CONTROL64_EXITCODE 0x70 8 bytes"]);
    assert_eq!(shown(&source, &Kind::Members(Area::Save)), ["SVM_GUEST_RIP 0x178"]);
    // As it was before: from the pin-based controls.
    let text = b"#define VMX_VM_EXEC_CTRL1_NMI_EXITING (1 << 3)\n#define VMX_VM_EXEC_CTRL2_HLT_VMEXIT (1 << 7)\n";
    let source = read_bytes(Path::new("vmx.h"), text).unwrap().unwrap();
    assert_eq!(rows(&source, &Kind::Controls(ControlWord::Pin)).len(), 1);
    assert_eq!(rows(&source, &Kind::Controls(ControlWord::Primary)).len(), 1);
}

#[test]
fn addresses_of_msrs() {
    let text = b"#ifndef _ASM_X86_MSR_INDEX_H
#define MSR_EFER\t0xc0000080 /* extended feature register */
#define _EFER_SCE\t0
#define EFER_SCE\t(1<<_EFER_SCE)
#define MSR_TEST_CTRL 0x00000033
#define MSR_TEST_CTRL_SPLIT_LOCK_DETECT_BIT 29
#define MSR_TEST_CTRL_SPLIT_LOCK_DETECT BIT(MSR_TEST_CTRL_SPLIT_LOCK_DETECT_BIT)
#define MSR_IA32_MCx_CTL(x) (0x400 + 4*(x))
#define MSR_FRED_SSP0 MSR_PL0_SSP
#define MSR_PL0_SSP 0x6a4
#define MSR_F15H_PERF_CTL1 (MSR_EFER + 0x180)
#define MSR_VMX_MISC 0x485
#define MSR_VMX_MISC_RATE 0x1f
#endif";
    let source = read_bytes(Path::new("msr-index.h"), text).unwrap().unwrap();
    let expected = [
        "MSR_EFER 0xc0000080",
        "MSR_TEST_CTRL 0x33",
        "MSR_FRED_SSP0 0x6a4",
        "MSR_PL0_SSP 0x6a4",
        "MSR_F15H_PERF_CTL1 0xc0000200",
        "MSR_VMX_MISC 0x485",
    ];
    assert_eq!(shown(&source, &Kind::Msrs), expected);
    assert_eq!(shown(&source, &Kind::Bits { msr: Some("IA32_EFER".to_owned()) }), ["EFER_SCE [0:0]"]);
}

#[test]
fn what_does_not_parse_names_its_line() {
    for (text, wanted) in [
        ("#define EXIT_REASON_HLT 12\n\n/* never", "line 3: the comment that starts here has no end"),
        (
            "#define EXIT_REASON_HLT 12\nenum vmcs_field {\nA = 1,\n",
            "line 2: the enumeration that starts here has no end",
        ),
        ("#define EXIT_REASON_HLT 12\nenum vmcs_field {\nA = 1,\n+ };", "line 4: an enumeration has something here"),
        (
            "#define EXIT_REASON_HLT 12\nstruct vmcb_save_area { u8 a[2",
            "line 2: the structure that starts here has no end",
        ),
        ("#define EXIT_REASON_x(y) y\n", "none of its constants"),
    ] {
        let error = read_bytes(Path::new("x.h"), text.as_bytes()).unwrap().unwrap_err();
        assert!(error.to_string().contains(wanted), "{text}: {error}");
        assert!(error.help.is_some());
    }
    // Structures whose members nobody can place are no fault of what else is there.
    for members in ["struct unknown_t x; u64 rip;", "struct vmcb_save_area a, b, c;", "u8 x[1 << 60];", "u64 x[-1];"] {
        let text = format!("#define EXIT_REASON_HLT 12\nstruct vmcb_save_area {{ {members} }};");
        let source = read_bytes(Path::new("x.h"), text.as_bytes()).unwrap().unwrap();
        assert_eq!(source.unreadable[0].place.line, Some(2), "{members}");
    }
}

#[test]
fn what_is_no_header() {
    for bytes in [&b""[..], b"\0\xff\xfe#define MSR_X 1", b"no header", b"int main(void) { return EXIT_REASON_HLT; }"] {
        assert!(read_bytes(Path::new("x.h"), bytes).is_none_or(|read| read.is_err()), "{bytes:?}");
    }
}

#[test]
fn every_cut_of_a_header_is_read_or_refused() {
    for name in ["asm/vmx.h", "asm/svm.h", "vmcb.h", "vmx_ctrls.h"] {
        let text = std::fs::read(fixture("headers").join(name)).unwrap();
        for end in 0..text.len() {
            let _ = read_bytes(Path::new("cut.h"), &text[..end]);
        }
        // And with any character replaced by one that opens, closes or joins something.
        for (at, with) in (0..text.len()).zip(b"(){}[];:#\"'\\,9*".iter().cycle()) {
            let mut damaged = text.clone();
            damaged[at] = *with;
            let _ = read_bytes(Path::new("damaged.h"), &damaged);
        }
    }
}

#[test]
fn constants_of_rust() {
    let text = "
pub mod control {
    /// (full).
    pub const TSC_OFFSET_FULL: u32 = 0x2010;
    pub const TSC_OFFSET_HIGH: u32 = 0x2011;
    bitflags! {
        /// A set of flags.
        pub struct PinbasedControls: u32 {
            /// One.
            const NMI_EXITING = 1 << 3;
            const BOTH = 1 << 3 | 1 << 5;
        }
    }
}
pub mod ro { pub const EXIT_REASON: u32 = 0x4402; }
pub mod guest { pub const RIP: u32 = 0x681E; }
";
    let source = read_bytes(Path::new("registry/x86-0.52.0/src/vmx/vmcs.rs"), text.as_bytes()).unwrap().unwrap();
    assert_eq!(source.title, "crate x86 0.52.0");
    assert_eq!(source.identity.revision.as_deref(), Some("0.52.0"));
    let expected = ["TSC_OFFSET_FULL 0x2010 high 0x2011", "EXIT_REASON 0x4402", "RIP 0x681e"];
    assert_eq!(shown(&source, &Kind::VmcsFields), expected);
    let fields = rows(&source, &Kind::VmcsFields);
    let groups: Vec<_> = fields.iter().filter_map(|row| row.group.as_deref()).collect();
    assert_eq!(groups, ["control", "exit_info", "guest"]);
    let lines: Vec<_> = fields.iter().filter_map(|row| row.place.line).collect();
    assert_eq!(lines, [4, 15, 16]);
    assert_eq!(shown(&source, &Kind::Controls(ControlWord::Pin)), ["NMI_EXITING [3:3]"]);

    let msrs = "pub const IA32_EFER: u32 = 0xc000_0080;\npub const MSR_PLATFORM_ID: u32 = 0x17;\npub const IA32_PLATFORM_ID: u32 = 0x17;\npub const MSR_OF_A_MODEL: u32 = 0x186;";
    let source = read_bytes(Path::new("msr.rs"), msrs.as_bytes()).unwrap().unwrap();
    assert_eq!(shown(&source, &Kind::Msrs), ["IA32_EFER 0xc0000080", "IA32_PLATFORM_ID 0x17"]);

    for (text, wanted) in [
        ("pub const IA32_X: u32 = ;", "does not parse"),
        ("pub const IA32_X: &str = \"no number\";", "none of its constants"),
        (&format!("pub const IA32_X: u32 = {}1;", "(".repeat(9999)), "too deep"),
        (&format!("pub const IA32_X: u32 = {}1;", "!".repeat(9999)), "too deep"),
    ] {
        let error = read_bytes(Path::new("x.rs"), text.as_bytes()).unwrap().unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

/// The spec's numbers, to see that real documents have the same.
struct Numbers {
    fields: BTreeSet<i64>,
    exits: BTreeSet<i64>,
    errors: BTreeSet<i64>,
    svm: BTreeSet<i64>,
    intercepts: BTreeSet<i64>,
    controls: BTreeSet<(ControlWord, u32)>,
    members: BTreeSet<(Area, i64, i64)>,
}

impl Numbers {
    fn of_the_spec() -> Self {
        let spec = Spec::load(Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec")).expect("the spec loads");
        let signed = |number: u64| i64::try_from(number).unwrap();
        let vendor = |module| spec.vendor(module).name();
        let exits =
            |name| spec.exits.iter().filter(move |exit| vendor(exit.module) == name).map(|exit| exit.number.value);
        Self {
            fields: spec.fields.iter().map(|field| signed(field.encoding.value)).collect(),
            exits: exits("intel").collect(),
            errors: spec.instruction_errors.iter().map(|error| signed(error.number.value)).collect(),
            svm: exits("amd").collect(),
            intercepts: spec
                .intercepts
                .iter()
                .flat_map(|row| {
                    (row.bits.low..=row.bits.high).map(move |bit| signed(row.word.value) * 32 + i64::from(bit))
                })
                .collect(),
            controls: spec
                .controls
                .iter()
                .flat_map(|word| {
                    word.bits.iter().filter(|bit| bit.reserved.is_none()).map(|bit| (word.id.value, bit.bits.low))
                })
                .collect(),
            members: spec
                .members
                .iter()
                .map(|member| {
                    (member.area, signed(member.offset.value), signed(member.offset.value + member.size.value))
                })
                .collect(),
        }
    }

    /// What of a document is not in the spec.
    fn unknown(&self, source: &Source) -> Vec<String> {
        let mut unknown = Vec::new();
        for table in &source.tables {
            for row in &table.rows {
                let numbered = |set: &BTreeSet<i64>| row.number.is_some_and(|number| set.contains(&number));
                let known = match &table.kind {
                    Kind::VmcsFields => {
                        numbered(&self.fields) && row.high.is_none_or(|high| Some(high - 1) == row.number)
                    }
                    Kind::VmxExits => numbered(&self.exits),
                    Kind::InstructionErrors => numbered(&self.errors),
                    Kind::SvmExits => numbered(&self.svm),
                    Kind::Intercepts => numbered(&self.intercepts),
                    Kind::Controls(word) => row.bits.is_some_and(|bits| self.controls.contains(&(*word, bits[0]))),
                    Kind::Members(area) => {
                        let (start, size) = (row.number.unwrap_or(-1), row.size.unwrap_or(1) as i64);
                        let holds =
                            |(of, from, to): &(Area, i64, i64)| of == area && *from <= start && start + size <= *to;
                        self.members.iter().any(holds)
                    }
                    // Nobody lists all MSRs; names of bits need more than numbers.
                    Kind::Msrs | Kind::Bits { .. } => true,
                };
                if !known {
                    unknown.push(format!("{}: {}: {}", source.path, row.place, common::show(row)));
                }
            }
        }
        unknown
    }
}

/// Where Linux's headers are: what `X86_VCPU_LINUX_HEADERS` names, or where Debian's packages put them.
fn linux() -> Option<PathBuf> {
    let named = std::env::var_os("X86_VCPU_LINUX_HEADERS").map(PathBuf::from);
    let installed = std::fs::read_dir("/usr/src").into_iter().flatten().flatten().map(|entry| entry.path());
    let found = named.into_iter().chain(installed).map(|root| root.join("arch/x86/include"));
    found.into_iter().find(|include| include.join("asm/vmxfeatures.h").is_file())
}

#[test]
fn headers_of_linux_agree_with_the_spec() {
    let Some(include) = linux() else {
        println!("skipped: no headers of Linux; X86_VCPU_LINUX_HEADERS may name the directory above arch/");
        return;
    };
    let numbers = Numbers::of_the_spec();
    let mut unknown = Vec::new();
    for (name, at_least) in [
        ("asm/vmx.h", 250),
        ("asm/svm.h", 200),
        ("asm/vmxfeatures.h", 50),
        ("asm/msr-index.h", 400),
        ("uapi/asm/vmx.h", 55),
        ("uapi/asm/svm.h", 90),
    ] {
        let source = read(&include.join(name));
        let rows: usize = source.tables.iter().map(|table| table.rows.len()).sum();
        println!("{name}: {rows} rows in {} tables", source.tables.len());
        assert!(rows >= at_least, "{name}: {rows} rows");
        assert!(source.unreadable.is_empty(), "{name}: {:?}", source.unreadable);
        unknown.extend(numbers.unknown(&source));
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn the_x86_crate_agrees_with_the_spec() {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let registries = home.map(|home| home.join("registry/src")).and_then(|source| std::fs::read_dir(source).ok());
    let crates = registries.into_iter().flatten().flatten().map(|registry| registry.path().join("x86-0.52.0"));
    let Some(found) = crates.into_iter().find(|directory| directory.join("src/msr.rs").is_file()) else {
        println!("skipped: Cargo has not unpacked the crate x86 0.52.0");
        return;
    };
    let fields = read(&found.join("src/vmx/vmcs.rs"));
    assert_eq!(rows(&fields, &Kind::VmcsFields).len(), 157);
    let unknown = Numbers::of_the_spec().unknown(&fields);
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
    assert!(rows(&read(&found.join("src/msr.rs")), &Kind::Msrs).len() > 250);
}
