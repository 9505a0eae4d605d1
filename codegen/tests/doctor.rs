//! `doctor`: logs of known programs are read whole, and what they hold is judged.
#![cfg(feature = "cli")]

mod common;

use std::fs;

use common::random::Random;
use common::{manifest, transcript};
use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::doctor::{self, Capabilities, Dump, Log, Source};
use x86_vcpu_codegen::model::Vendor;

/// The tables of the library, where they are: not in a published package.
fn spec() -> Option<Spec> {
    let dir = manifest("../spec");
    dir.exists().then(|| Spec::load(&dir).unwrap_or_else(|errors| panic!("{errors}")))
}

fn log(name: &str) -> String {
    fs::read_to_string(manifest("tests/doctor").join(name)).unwrap()
}

fn one(log: Log) -> Dump {
    assert_eq!(log.dumps.len(), 1);
    log.dumps.into_iter().next().unwrap()
}

#[test]
fn what_is_printed() {
    if spec().is_some() {
        transcript::check_some("doctor_spec.txt", &manifest("../spec"));
    }
}

/// Golden answers: `UPDATE_EXPECT=1` writes them anew where rules have changed.
#[test]
fn whole_files() {
    if spec().is_some() {
        transcript::check("doctor_files.txt", &manifest("../spec"));
    }
}

/// A line that is not known is told of, and nothing else is lost by it.
#[test]
fn one_line_is_unknown() {
    let Some(spec) = spec() else { return };
    for (name, count, line) in [
        ("own-icelake.log", 152, "TIMER_SLACK = 0x32"),
        ("own-ryzen.log", 132, "TIMER_SLACK = 0x32"),
        ("kvm-6.18-svm.log", 96, "erap_ctl: 0"),
        ("xen-4.20-vmx.log", 113, "HLAT pointer = 0x0000000000000000"),
        ("xen-4.2-svm.log", 73, "LBR_SELECT = 0x0000000000000000"),
    ] {
        let dump = one(doctor::read(&spec, &log(name), None));
        let unknown: Vec<_> =
            dump.unknown.iter().map(|note| note.text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(unknown, [line], "{name}");
        let without: Vec<_> = log(name)
            .lines()
            .filter(|text| !text.split_whitespace().collect::<Vec<_>>().join(" ").ends_with(line))
            .map(str::to_owned)
            .collect();
        let without = one(doctor::read(&spec, &(without.join("\n") + "\n"), None));
        let values = |dump: &Dump| dump.values.iter().map(|(name, one)| (name.clone(), one.value)).collect::<Vec<_>>();
        assert_eq!((values(&dump).len(), values(&dump)), (count, values(&without)), "{name}");
        assert!(dump.problems.is_empty() && dump.missing.is_empty(), "{name}: {dump:?}");
    }
}

/// The registers that an entry loads are read wherever they are printed, and what loads or stores others is left alone.
#[test]
fn entries_of_the_msr_area() {
    let Some(spec) = spec() else { return };
    let area = |text: &str| {
        let dump = one(doctor::read(&spec, text, None));
        assert!(dump.problems.is_empty() && dump.unknown.len() <= 1, "{dump:?}");
        dump.msrs.iter().map(|(place, msr)| (*place, msr.register, msr.value)).collect::<Vec<_>>()
    };
    let kvm = [(0, 0xc000_0102, 0x7f0a_3b7f_e700), (1, 0x838, 0x1_0000), (2, 0x277, 0x0007_0406_0007_0406)];
    assert_eq!(area(&log("kvm-6.18-msrs.log")), kvm);
    assert_eq!(area(&log("own-icelake-msrs.log")), [(0, 0x175, 0x1000), (1, 0x802, 0)]);
    assert_eq!(area("VM_ENTRY_MSR_LOAD[3] = 0x175 0x1\n"), [(3, 0x175, 1)]);
    let twice = one(doctor::read(&spec, "VM_ENTRY_MSR_LOAD[0] = 1 2\nVM_ENTRY_MSR_LOAD[0] = 1 3\n", None));
    assert_eq!(twice.problems[0].text, "entry 0 of the MSR area is not that of line 1: the first one counts");
}

/// Wherever a log is cut off, nothing is said of the state that is not true of the whole.
#[test]
fn a_part_of_a_dump_does_not_make_more_rules_broken() {
    let Some(spec) = spec() else { return };
    for name in [
        "own-icelake.log",
        "own-ryzen.log",
        "kvm-6.18-vmx.log",
        "kvm-6.18-svm.log",
        "xen-4.20-vmx.log",
        "xen-4.2-svm.log",
    ] {
        let text = log(name);
        let broken = |text: &str, vendor| {
            let log = doctor::read(&spec, text, vendor);
            let dumps = log.dumps.iter().map(|dump| doctor::examine(&spec, dump, &log.capabilities));
            dumps.flat_map(|one| one.violations.into_iter().map(|one| one.rule.name.clone())).collect::<Vec<_>>()
        };
        let whole = broken(&text, None);
        for cut in (0..text.len()).step_by(1501).filter(|cut| text.is_char_boundary(*cut)) {
            for part in [&text[..cut], &text[text[..cut].rfind('\n').map_or(0, |end| end + 1)..]] {
                let found = broken(part, None);
                assert!(found.iter().all(|rule| whole.contains(rule)), "{name} cut at {cut}: {found:?}");
            }
        }
    }
}

/// Nothing in a log of a program that is known is left over.
#[test]
fn logs_are_read_whole() {
    let Some(spec) = spec() else { return };
    for (name, source, vendor, counts) in [
        ("kvm-5.8-vmx.log", Source::Kvm, Vendor::Intel, &[103][..]),
        ("kvm-6.16-vmx.log", Source::Kvm, Vendor::Intel, &[104, 104]),
        ("kvm-5.8-svm.log", Source::Kvm, Vendor::Amd, &[89]),
        ("kvm-6.9-svm.log", Source::Kvm, Vendor::Amd, &[91]),
        ("xen-4.17-vmx.log", Source::Xen, Vendor::Intel, &[109]),
        ("xen-4.17-svm.log", Source::Xen, Vendor::Amd, &[75]),
        ("xen-4.2-vmx.log", Source::Xen, Vendor::Intel, &[100]),
    ] {
        let log = doctor::read(&spec, &log(name), None);
        let found: Vec<_> = log.dumps.iter().map(|dump| dump.values.len()).collect();
        assert_eq!(found, counts, "{name}");
        for dump in &log.dumps {
            assert_eq!((dump.source, dump.vendor), (source, Some(vendor)), "{name}");
            assert!(dump.unknown.is_empty() && dump.problems.is_empty(), "{name}: {dump:?}");
        }
    }
}

#[test]
fn values_of_a_vmcs() {
    let Some(spec) = spec() else { return };
    let kvm = one(doctor::read(&spec, &log("kvm-5.8-vmx.log"), None));
    for (field, value) in [
        ("GUEST_CR0", 0x8005_0033),
        ("CR0_GUEST_HOST_MASK", 0xffff_ffff_fffe_fff7),
        ("CR4_READ_SHADOW", 0x1020),
        ("GUEST_IA32_SYSENTER_CS", 0x10),
        ("GUEST_IA32_SYSENTER_EIP", 0xffff_ffff_81c0_1480),
        ("GUEST_DS_ACCESS_RIGHTS", 0x1c000),
        ("GUEST_GDTR_LIMIT", 0x7f),
        ("GUEST_TR_BASE", 0xffff_fe00_0000_3000),
        ("GUEST_IA32_PAT", 0x0407_0506_0007_0106),
        ("HOST_GS_BASE", 0xffff_8890_3f6c_0000),
        ("HOST_CR4", 0x37_26e0),
        ("HOST_IA32_SYSENTER_CS", 0x10),
        ("SECONDARY_PROCESSOR_CONTROLS", 0x8_20b2),
        ("EXIT_REASON", 0x8000_0021),
        ("PLE_WINDOW", 0x1000),
        ("VIRTUAL_PROCESSOR_ID", 1),
    ] {
        assert_eq!(kvm.value(field), Some(value), "{field}");
    }
    let xen = one(doctor::read(&spec, &log("xen-4.17-vmx.log"), None));
    for (field, value) in [
        ("GUEST_RSP", 0x7c00),
        ("GUEST_RFLAGS", 2),
        ("GUEST_CS_ACCESS_RIGHTS", 0xa09b),
        ("GUEST_IDTR_BASE", 0x2000),
        ("HOST_RSP", 0xffff_8304_3b66_ff70),
        ("VM_ENTRY_INTERRUPTION_INFORMATION", 0x8000_0b0e),
        ("POSTED_INTERRUPT_NOTIFICATION_VECTOR", 0xf3),
        ("VM_FUNCTION_CONTROLS", 0),
    ] {
        assert_eq!(xen.value(field), Some(value), "{field}");
    }
}

#[test]
fn values_of_a_vmcb() {
    let Some(spec) = spec() else { return };
    for name in ["kvm-5.8-svm.log", "kvm-6.9-svm.log"] {
        let kvm = one(doctor::read(&spec, &log(name), None));
        for (field, value) in [
            ("control.INTERCEPT_CR", 0x10_0010),
            ("control.INTERCEPT_DR", 0xff_0000),
            ("control.INTERCEPT_MISC1", 0xbd4c_8027),
            ("control.INTERCEPT_MISC2", 0x24f),
            ("control.PAUSE_FILTER_COUNT", 3000),
            ("control.VIRTUAL_INTERRUPT", 0x300_0200),
            ("control.EXITCODE", u64::MAX),
            ("control.NESTED_CONTROL", 1),
            ("save.CS_ATTRIBUTES", 0xa9b),
            ("save.GDTR_BASE", 0xffff_fe00_0000_1000),
            ("save.SYSENTER_CS", 0x10),
            ("save.G_PAT", 0x0407_0506_0007_0106),
        ] {
            assert_eq!(kvm.value(field), Some(value), "{field} of {name}");
        }
    }
    let xen = one(doctor::read(&spec, &log("xen-4.17-svm.log"), None));
    for (field, value) in [
        ("control.EVENTINJ", 0x8000_0300),
        ("control.EXITCODE", u64::MAX),
        ("control.N_CR3", 0x4_2fa1_b000),
        ("control.VIRTUAL_INTERRUPT", 0x100_0000),
        ("save.CS_LIMIT", 0xffff_ffff),
        ("save.TR_SELECTOR", 0x40),
        ("save.RFLAGS", 2),
    ] {
        assert_eq!(xen.value(field), Some(value), "{field}");
    }
}

#[test]
fn names_of_others() {
    let Some(spec) = spec() else { return };
    for (line, vendor, field) in [
        ("GUEST_RIP = 0x1", None, "GUEST_RIP"),
        ("guest_rip: 1", None, "GUEST_RIP"),
        ("Guest RIP = 1h", None, "GUEST_RIP"),
        ("vmcs::guest::RIP = 1", None, "GUEST_RIP"),
        ("VMX_VMCS_GUEST_RIP = 1", None, "GUEST_RIP"),
        ("VM_ENTRY_INTR_INFO_FIELD = 1", None, "VM_ENTRY_INTERRUPTION_INFORMATION"),
        ("PIN_BASED_VM_EXEC_CONTROL = 1", None, "PIN_BASED_CONTROLS"),
        ("vmcs::control::PRIMARY_PROCBASED_EXEC_CONTROLS = 1", None, "PRIMARY_PROCESSOR_CONTROLS"),
        ("guest_cs_ar_bytes = 1", None, "GUEST_CS_ACCESS_RIGHTS"),
        ("EPT pointer (EPTP): 0x1", None, "EPT_POINTER"),
        ("Interruptibility = 00000001", None, "GUEST_INTERRUPTIBILITY_STATE"),
        ("CR0: actual=0x1", None, "GUEST_CR0"),
        ("save.RIP = 1", None, "save.RIP"),
        ("vmcb->save.rip = 1", None, "save.RIP"),
        ("svm->vmcb->control.asid = 1", None, "control.GUEST_ASID"),
        ("control.event_inj = 1", None, "control.EVENTINJ"),
        ("int_state: 1", None, "control.INTERRUPT_SHADOW"),
        ("rip = 1", Some(Vendor::Amd), "save.RIP"),
        ("rip = 1", Some(Vendor::Intel), "GUEST_RIP"),
    ] {
        let log = doctor::read(&spec, line, vendor);
        assert_eq!(log.dumps.len(), 1, "{line}");
        assert_eq!(log.dumps[0].value(field), Some(1), "{line}: {:?}", log.dumps[0].values);
    }
}

/// The names of arch/x86/include/asm/vmx.h.
#[test]
fn names_of_linux() {
    let Some(spec) = spec() else { return };
    let mut missing = Vec::new();
    for name in "VIRTUAL_PROCESSOR_ID POSTED_INTR_NV LAST_PID_POINTER_INDEX GUEST_ES_SELECTOR GUEST_TR_SELECTOR \
                 GUEST_INTR_STATUS GUEST_PML_INDEX HOST_TR_SELECTOR IO_BITMAP_A IO_BITMAP_B MSR_BITMAP \
                 VM_EXIT_MSR_STORE_ADDR VM_EXIT_MSR_LOAD_ADDR VM_ENTRY_MSR_LOAD_ADDR PML_ADDRESS TSC_OFFSET \
                 VIRTUAL_APIC_PAGE_ADDR APIC_ACCESS_ADDR POSTED_INTR_DESC_ADDR VM_FUNCTION_CONTROL EPT_POINTER \
                 EOI_EXIT_BITMAP0 EOI_EXIT_BITMAP3 EPTP_LIST_ADDRESS VMREAD_BITMAP VMWRITE_BITMAP \
                 VE_INFORMATION_ADDRESS XSS_EXIT_BITMAP ENCLS_EXITING_BITMAP TSC_MULTIPLIER TERTIARY_VM_EXEC_CONTROL \
                 SHARED_EPT_POINTER PID_POINTER_TABLE GUEST_PHYSICAL_ADDRESS VMCS_LINK_POINTER GUEST_IA32_DEBUGCTL \
                 GUEST_IA32_PAT GUEST_IA32_EFER GUEST_IA32_PERF_GLOBAL_CTRL GUEST_PDPTR0 GUEST_PDPTR3 GUEST_BNDCFGS \
                 GUEST_IA32_RTIT_CTL HOST_IA32_PAT HOST_IA32_EFER HOST_IA32_PERF_GLOBAL_CTRL \
                 PIN_BASED_VM_EXEC_CONTROL CPU_BASED_VM_EXEC_CONTROL EXCEPTION_BITMAP PAGE_FAULT_ERROR_CODE_MASK \
                 PAGE_FAULT_ERROR_CODE_MATCH CR3_TARGET_COUNT VM_EXIT_CONTROLS VM_EXIT_MSR_STORE_COUNT \
                 VM_EXIT_MSR_LOAD_COUNT VM_ENTRY_CONTROLS VM_ENTRY_MSR_LOAD_COUNT VM_ENTRY_INTR_INFO_FIELD \
                 VM_ENTRY_EXCEPTION_ERROR_CODE VM_ENTRY_INSTRUCTION_LEN TPR_THRESHOLD SECONDARY_VM_EXEC_CONTROL \
                 PLE_GAP PLE_WINDOW NOTIFY_WINDOW VM_INSTRUCTION_ERROR VM_EXIT_REASON VM_EXIT_INTR_INFO \
                 VM_EXIT_INTR_ERROR_CODE IDT_VECTORING_INFO_FIELD IDT_VECTORING_ERROR_CODE VM_EXIT_INSTRUCTION_LEN \
                 VMX_INSTRUCTION_INFO GUEST_ES_LIMIT GUEST_IDTR_LIMIT GUEST_ES_AR_BYTES GUEST_TR_AR_BYTES \
                 GUEST_INTERRUPTIBILITY_INFO GUEST_ACTIVITY_STATE GUEST_SYSENTER_CS VMX_PREEMPTION_TIMER_VALUE \
                 HOST_IA32_SYSENTER_CS CR0_GUEST_HOST_MASK CR4_GUEST_HOST_MASK CR0_READ_SHADOW CR4_READ_SHADOW \
                 CR3_TARGET_VALUE0 CR3_TARGET_VALUE3 EXIT_QUALIFICATION GUEST_LINEAR_ADDRESS GUEST_CR0 GUEST_CR3 \
                 GUEST_CR4 GUEST_ES_BASE GUEST_GDTR_BASE GUEST_DR7 GUEST_RSP GUEST_RIP GUEST_RFLAGS \
                 GUEST_PENDING_DBG_EXCEPTIONS GUEST_SYSENTER_ESP GUEST_SYSENTER_EIP GUEST_S_CET GUEST_SSP \
                 GUEST_INTR_SSP_TABLE HOST_CR0 HOST_FS_BASE HOST_GDTR_BASE HOST_IA32_SYSENTER_ESP HOST_RSP HOST_RIP \
                 HOST_S_CET HOST_SSP HOST_INTR_SSP_TABLE"
        .split_whitespace()
    {
        let log = doctor::read(&spec, &format!("{name} = 0x1"), None);
        if !log.dumps.iter().any(|dump| dump.values.len() == 1 && dump.vendor == Some(Vendor::Intel)) {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn registers_alone_do_not_tell_the_vendor() {
    let Some(spec) = spec() else { return };
    assert_eq!(one(doctor::read(&spec, "rip = 0x1\nrsp = 0x2", None)).vendor, None);
    let dump = one(doctor::read(&spec, "rip = 0x1\ncontrol.GUEST_ASID = 0x2", None));
    assert_eq!((dump.vendor, dump.value("save.RIP")), (Some(Vendor::Amd), Some(1)));
}

#[test]
fn what_does_not_fit_is_said() {
    let Some(spec) = spec() else { return };
    let dump = one(doctor::read(
        &spec,
        "GUEST_CS_SELECTOR = 0x10000\nGUEST_RIP = 1\nGUEST_RIP = 2\nGUEST_RIP = 1\nGUEST_RSP = 0x1ffffffffffffffff\n\
         save.CPL = 0\nwhatever = 1",
        None,
    ));
    let problems: Vec<_> = dump.problems.iter().map(|note| (note.line, note.text.as_str())).collect();
    assert_eq!(
        problems,
        [
            (1, "0x10000 does not fit into the 16 bits of GUEST_CS_SELECTOR"),
            (3, "GUEST_RIP is 0x2 here and 0x1 in line 2: the first one counts"),
            (5, "0x1ffffffffffffffff is no number of 64 bits"),
            (6, "save.CPL is of the other vendor, unlike most names here"),
        ]
    );
    assert_eq!(dump.value("GUEST_RIP"), Some(1));
    assert_eq!(dump.unknown.iter().map(|note| note.line).collect::<Vec<_>>(), [7]);
}

#[test]
fn a_dump_of_another_version_is_not_taken_for_one_of_ours() {
    let Some(spec) = spec() else { return };
    let dump = one(doctor::read(&spec, "x86_vcpu dump 7 vmx\nGUEST_RIP = 0x1", None));
    assert_eq!(dump.problems[0].text, "version 7 of our dumps; this reads version 1");
}

/// What the CPU can makes rules judged: of a dump, of a file, and leaves above the highest are empty.
#[test]
fn capabilities_judge_more() {
    let Some(spec) = spec() else { return };
    let dump = one(doctor::read(&spec, &log("kvm-6.9-svm.log"), None));
    let without = doctor::examine(&spec, &dump, &Capabilities::default());
    let text = "cpuid.1.0 = 0 0 0x04020000 0x030020de\ncpuid.80000008.0 = 0x3030 0 0 0\ncpuid.80000000.0 = 0x8000001e 0 0 0\n\
                cpuid.8000000a.0 = 1 0x8000 0 0x1bcff\nnonsense";
    let (capabilities, unknown) = Capabilities::read(&spec, text);
    assert_eq!(unknown.len(), 1);
    let with = doctor::examine(&spec, &dump, &capabilities);
    assert!(with.unjudged.len() < without.unjudged.len(), "{:?}", with.lacks());
    assert_eq!(with.violations.len(), without.violations.len());
}

/// Logs that are cut anywhere, or have wrong bytes, are read all the same.
#[test]
fn no_log_makes_it_panic() {
    let Some(spec) = spec() else { return };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut next = |below| random.below(below);
    for name in
        ["kvm-5.8-vmx.log", "kvm-6.9-svm.log", "xen-4.2-vmx.log", "xen-4.17-svm.log", "own-svm.txt", "plain.txt"]
    {
        let text = log(name);
        for _ in 0..25 {
            let mut bytes = text.clone().into_bytes();
            for _ in 0..next(20) {
                let at = next(bytes.len());
                bytes[at] = b"=:()0x\n,|-Zf\xff "[next(14)];
            }
            let start = next(bytes.len());
            let end = start + next(bytes.len() - start);
            let text = String::from_utf8_lossy(&bytes[start..end]);
            for dump in doctor::read(&spec, &text, Some(Vendor::Intel)).dumps {
                let _ = doctor::examine(&spec, &dump, &Capabilities::default());
            }
        }
    }
}

#[test]
fn json_has_the_same() {
    let Some(_) = spec() else { return };
    let file = manifest("tests/doctor/kvm-5.8-svm.log");
    let output = transcript::run(&["doctor", file.to_str().unwrap(), "--format", "json"], &manifest("../spec"));
    assert_eq!(output.status.code(), Some(1));
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let dump = &all["dumps"][0];
    assert_eq!((&dump["structure"], &dump["vendor"]), (&"VMCB".into(), &"amd".into()));
    assert_eq!(dump["violations"][0]["rule"], "EFER_SVME");
    assert_eq!(dump["violations"][0]["value"], 0xd01);
    assert_eq!(dump["values"]["save.EFER"]["line"], 44);
    assert!(dump["unjudged"].as_array().is_some_and(|list| !list.is_empty()));
}
