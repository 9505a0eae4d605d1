//! What Linux and Xen call the fields when they print them.
//!
//! Linux: `dump_vmcs()` of arch/x86/kvm/vmx/vmx.c and `dump_vmcb()` of arch/x86/kvm/svm/svm.c; Xen: `vmcs_dump_vcpu()` of
//! xen/arch/x86/hvm/vmx/vmcs.c and `svm_vmcb_dump()` of xen/arch/x86/hvm/svm/svmdebug.c. Keys are
//! [paths](super::pairs::Pair::path).

use crate::model::Vendor;

use super::Source;

macro_rules! vmx {
    ($name:literal) => {
        [
            concat!("GUEST_", $name, "_SELECTOR"),
            concat!("GUEST_", $name, "_ACCESS_RIGHTS"),
            concat!("GUEST_", $name, "_LIMIT"),
            concat!("GUEST_", $name, "_BASE"),
        ]
    };
}

macro_rules! svm {
    ($name:literal) => {
        [
            concat!("save.", $name, "_SELECTOR"),
            concat!("save.", $name, "_ATTRIBUTES"),
            concat!("save.", $name, "_LIMIT"),
            concat!("save.", $name, "_BASE"),
        ]
    };
}

/// The part of a dump that a line stands in: the same key is another field there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Guest state of a VMCS.
    Guest,
    /// Host state of a VMCS.
    Host,
    /// Controls and exit information of a VMCS.
    Control,
    /// A VMCB.
    Vmcb,
}

/// Where a number goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goal {
    /// The field.
    pub field: &'static str,
    /// Its lowest bit there.
    pub low: u32,
    /// How many bits of the field it is; 0 for all.
    pub bits: u32,
    /// It is printed in decimal.
    pub decimal: bool,
}

impl Goal {
    /// A whole field, printed in hexadecimal.
    pub const fn whole(field: &'static str) -> Goal {
        Goal { field, low: 0, bits: 0, decimal: false }
    }

    const fn part(field: &'static str, low: u32, bits: u32) -> Goal {
        Goal { field, low, bits, decimal: false }
    }

    const fn decimal(field: &'static str) -> Goal {
        Goal { field, low: 0, bits: 0, decimal: true }
    }
}

/// A key that has other values than one, each with its goal.
type Several = (&'static str, &'static [Goal]);

const GUEST: &[(&str, &str)] = &[
    ("cr0.actual", "GUEST_CR0"),
    ("cr0.shadow", "CR0_READ_SHADOW"),
    ("cr0.gh_mask", "CR0_GUEST_HOST_MASK"),
    ("cr4.actual", "GUEST_CR4"),
    ("cr4.shadow", "CR4_READ_SHADOW"),
    ("cr4.gh_mask", "CR4_GUEST_HOST_MASK"),
    ("cr3", "GUEST_CR3"),
    ("cr3.actual", "GUEST_CR3"),
    ("target0", "CR3_TARGET_VALUE_0"),
    ("target1", "CR3_TARGET_VALUE_1"),
    ("target2", "CR3_TARGET_VALUE_2"),
    ("target3", "CR3_TARGET_VALUE_3"),
    ("pdptr0", "GUEST_PDPTE0"),
    ("pdptr1", "GUEST_PDPTE1"),
    ("pdptr2", "GUEST_PDPTE2"),
    ("pdptr3", "GUEST_PDPTE3"),
    ("pdpte0", "GUEST_PDPTE0"),
    ("pdpte1", "GUEST_PDPTE1"),
    ("pdpte2", "GUEST_PDPTE2"),
    ("pdpte3", "GUEST_PDPTE3"),
    ("rsp", "GUEST_RSP"),
    ("rip", "GUEST_RIP"),
    ("rflags", "GUEST_RFLAGS"),
    ("dr7", "GUEST_DR7"),
    ("sysenter rsp", "GUEST_IA32_SYSENTER_ESP"),
    ("efer", "GUEST_IA32_EFER"),
    ("pat", "GUEST_IA32_PAT"),
    ("guest pat", "GUEST_IA32_PAT"),
    ("preemptiontimer", "PREEMPTION_TIMER_VALUE"),
    ("sm base", "GUEST_SMBASE"),
    ("debugctl", "GUEST_IA32_DEBUGCTL"),
    ("debugexceptions", "GUEST_PENDING_DEBUG_EXCEPTIONS"),
    ("perfglobctl", "GUEST_IA32_PERF_GLOBAL_CTRL"),
    ("bndcfgs", "GUEST_IA32_BNDCFGS"),
    ("s_cet", "GUEST_IA32_S_CET"),
    ("ssp", "GUEST_SSP"),
    ("ssp table", "GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR"),
    ("interruptibility", "GUEST_INTERRUPTIBILITY_STATE"),
    ("activitystate", "GUEST_ACTIVITY_STATE"),
    ("interruptstatus", "GUEST_INTERRUPT_STATUS"),
    // Among the guest state until Xen 4.4.
    ("tsc offset", "TSC_OFFSET"),
];

const HOST: &[(&str, &str)] = &[
    ("rip", "HOST_RIP"),
    ("rsp", "HOST_RSP"),
    ("cs", "HOST_CS_SELECTOR"),
    ("ss", "HOST_SS_SELECTOR"),
    ("ds", "HOST_DS_SELECTOR"),
    ("es", "HOST_ES_SELECTOR"),
    ("fs", "HOST_FS_SELECTOR"),
    ("gs", "HOST_GS_SELECTOR"),
    ("tr", "HOST_TR_SELECTOR"),
    ("fsbase", "HOST_FS_BASE"),
    ("gsbase", "HOST_GS_BASE"),
    ("trbase", "HOST_TR_BASE"),
    ("gdtbase", "HOST_GDTR_BASE"),
    ("idtbase", "HOST_IDTR_BASE"),
    ("cr0", "HOST_CR0"),
    ("cr3", "HOST_CR3"),
    ("cr4", "HOST_CR4"),
    ("sysenter rsp", "HOST_IA32_SYSENTER_ESP"),
    ("efer", "HOST_IA32_EFER"),
    ("pat", "HOST_IA32_PAT"),
    ("host pat", "HOST_IA32_PAT"),
    ("perfglobctl", "HOST_IA32_PERF_GLOBAL_CTRL"),
    ("s_cet", "HOST_IA32_S_CET"),
    ("ssp", "HOST_SSP"),
    ("ssp table", "HOST_IA32_INTERRUPT_SSP_TABLE_ADDR"),
];

const CONTROL: &[(&str, &str)] = &[
    ("pinbased", "PIN_BASED_CONTROLS"),
    ("cpubased", "PRIMARY_PROCESSOR_CONTROLS"),
    ("secondaryexec", "SECONDARY_PROCESSOR_CONTROLS"),
    ("tertiaryexec", "TERTIARY_PROCESSOR_CONTROLS"),
    ("entrycontrols", "VM_ENTRY_CONTROLS"),
    ("exitcontrols", "PRIMARY_VM_EXIT_CONTROLS"),
    ("exceptionbitmap", "EXCEPTION_BITMAP"),
    ("pfecmask", "PAGE_FAULT_ERROR_CODE_MASK"),
    ("pfecmatch", "PAGE_FAULT_ERROR_CODE_MATCH"),
    ("vmentry.intr_info", "VM_ENTRY_INTERRUPTION_INFORMATION"),
    ("vmentry.errcode", "VM_ENTRY_EXCEPTION_ERROR_CODE"),
    ("vmentry.ilen", "VM_ENTRY_INSTRUCTION_LENGTH"),
    ("vmexit.intr_info", "VM_EXIT_INTERRUPTION_INFORMATION"),
    ("vmexit.errcode", "VM_EXIT_INTERRUPTION_ERROR_CODE"),
    ("vmexit.ilen", "VM_EXIT_INSTRUCTION_LENGTH"),
    ("reason", "EXIT_REASON"),
    ("qualification", "EXIT_QUALIFICATION"),
    ("idtvectoring.info", "IDT_VECTORING_INFORMATION"),
    ("idtvectoring.errcode", "IDT_VECTORING_ERROR_CODE"),
    ("tsc offset", "TSC_OFFSET"),
    ("tsc multiplier", "TSC_MULTIPLIER"),
    ("tpr threshold", "TPR_THRESHOLD"),
    ("apic-access addr", "APIC_ACCESS_ADDRESS"),
    ("virt-apic addr", "VIRTUAL_APIC_ADDRESS"),
    ("postedintrvec", "POSTED_INTERRUPT_NOTIFICATION_VECTOR"),
    ("ept pointer", "EPT_POINTER"),
    ("eptp index", "EPTP_INDEX"),
    ("cr3 target0", "CR3_TARGET_VALUE_0"),
    ("cr3 target2", "CR3_TARGET_VALUE_2"),
    ("target1", "CR3_TARGET_VALUE_1"),
    ("target3", "CR3_TARGET_VALUE_3"),
    ("ple gap", "PLE_GAP"),
    ("window", "PLE_WINDOW"),
    ("virtual processor id", "VIRTUAL_PROCESSOR_ID"),
    ("vmfunc controls", "VM_FUNCTION_CONTROLS"),
    ("ve info address", "VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS"),
];

const VMCB: &[(&str, Goal)] = &[
    // Linux.
    ("cr_read", Goal::part("control.INTERCEPT_CR", 0, 16)),
    ("cr_write", Goal::part("control.INTERCEPT_CR", 16, 16)),
    ("dr_read", Goal::part("control.INTERCEPT_DR", 0, 16)),
    ("dr_write", Goal::part("control.INTERCEPT_DR", 16, 16)),
    ("exceptions", Goal::whole("control.INTERCEPT_EXCEPTIONS")),
    ("pause filter count", Goal::decimal("control.PAUSE_FILTER_COUNT")),
    ("pause filter threshold", Goal::decimal("control.PAUSE_FILTER_THRESHOLD")),
    ("iopm_base_pa", Goal::whole("control.IOPM_BASE_PA")),
    ("msrpm_base_pa", Goal::whole("control.MSRPM_BASE_PA")),
    ("tsc_offset", Goal::whole("control.TSC_OFFSET")),
    ("asid", Goal::decimal("control.GUEST_ASID")),
    ("tlb_ctl", Goal::decimal("control.TLB_CONTROL")),
    ("int_ctl", Goal::part("control.VIRTUAL_INTERRUPT", 0, 32)),
    ("int_vector", Goal::part("control.VIRTUAL_INTERRUPT", 32, 32)),
    ("int_state", Goal::whole("control.INTERRUPT_SHADOW")),
    ("exit_code", Goal::whole("control.EXITCODE")),
    ("exit_info1", Goal::whole("control.EXITINFO1")),
    ("exit_info2", Goal::whole("control.EXITINFO2")),
    ("exit_int_info", Goal::part("control.EXITINTINFO", 0, 32)),
    ("exit_int_info_err", Goal::part("control.EXITINTINFO", 32, 32)),
    ("nested_ctl", Goal::decimal("control.NESTED_CONTROL")),
    ("nested_cr3", Goal::whole("control.N_CR3")),
    ("avic_vapic_bar", Goal::whole("control.AVIC_APIC_BAR")),
    ("ghcb", Goal::whole("control.GHCB_PA")),
    ("event_inj", Goal::part("control.EVENTINJ", 0, 32)),
    ("event_inj_err", Goal::part("control.EVENTINJ", 32, 32)),
    ("virt_ext", Goal::decimal("control.VIRTUALIZATION_ENABLES")),
    ("next_rip", Goal::whole("control.NRIP")),
    ("avic_backing_page", Goal::whole("control.AVIC_BACKING_PAGE")),
    ("avic_logical_id", Goal::whole("control.AVIC_LOGICAL_TABLE")),
    ("avic_physical_id", Goal::whole("control.AVIC_PHYSICAL_TABLE")),
    ("vmsa_pa", Goal::whole("control.VMSA_POINTER")),
    ("allowed_sev_features", Goal::whole("control.ALLOWED_SEV_FEATURES")),
    ("guest_sev_features", Goal::whole("control.GUEST_SEV_FEATURES")),
    ("cpl", Goal::decimal("save.CPL")),
    ("efer", Goal::whole("save.EFER")),
    ("cr0", Goal::whole("save.CR0")),
    ("cr2", Goal::whole("save.CR2")),
    ("cr3", Goal::whole("save.CR3")),
    ("cr4", Goal::whole("save.CR4")),
    ("dr6", Goal::whole("save.DR6")),
    ("dr7", Goal::whole("save.DR7")),
    ("rip", Goal::whole("save.RIP")),
    ("rflags", Goal::whole("save.RFLAGS")),
    ("rsp", Goal::whole("save.RSP")),
    ("rax", Goal::whole("save.RAX")),
    ("star", Goal::whole("save.STAR")),
    ("lstar", Goal::whole("save.LSTAR")),
    ("cstar", Goal::whole("save.CSTAR")),
    ("sfmask", Goal::whole("save.SFMASK")),
    ("kernel_gs_base", Goal::whole("save.KERNEL_GS_BASE")),
    ("sysenter_cs", Goal::whole("save.SYSENTER_CS")),
    ("sysenter_esp", Goal::whole("save.SYSENTER_ESP")),
    ("sysenter_eip", Goal::whole("save.SYSENTER_EIP")),
    ("gpat", Goal::whole("save.G_PAT")),
    ("dbgctl", Goal::whole("save.DBGCTL")),
    ("br_from", Goal::whole("save.BR_FROM")),
    ("br_to", Goal::whole("save.BR_TO")),
    ("excp_from", Goal::whole("save.LASTEXCPFROM")),
    ("excp_to", Goal::whole("save.LASTEXCPTO")),
    ("s_cet", Goal::whole("save.S_CET")),
    ("ssp", Goal::whole("save.SSP")),
    ("isst_addr", Goal::whole("save.ISST_ADDR")),
    // Xen.
    ("cr_intercepts", Goal::whole("control.INTERCEPT_CR")),
    ("dr_intercepts", Goal::whole("control.INTERCEPT_DR")),
    ("exception_intercepts", Goal::whole("control.INTERCEPT_EXCEPTIONS")),
    ("general1_intercepts", Goal::whole("control.INTERCEPT_MISC1")),
    ("general2_intercepts", Goal::whole("control.INTERCEPT_MISC2")),
    ("general3_intercepts", Goal::whole("control.INTERCEPT_MISC3")),
    ("tlb_control", Goal::whole("control.TLB_CONTROL")),
    ("vintr", Goal::whole("control.VIRTUAL_INTERRUPT")),
    ("int_stat", Goal::whole("control.INTERRUPT_SHADOW")),
    ("interrupt_shadow", Goal::whole("control.INTERRUPT_SHADOW")),
    ("exitcode", Goal::whole("control.EXITCODE")),
    ("exitinfo1", Goal::whole("control.EXITINFO1")),
    ("exitinfo2", Goal::whole("control.EXITINFO2")),
    ("exitintinfo", Goal::whole("control.EXITINTINFO")),
    ("eventinj", Goal::whole("control.EVENTINJ")),
    ("np_ctrl", Goal::whole("control.NESTED_CONTROL")),
    ("np_enable", Goal::whole("control.NESTED_CONTROL")),
    ("guest_asid", Goal::whole("control.GUEST_ASID")),
    ("lbr_control", Goal::whole("control.VIRTUALIZATION_ENABLES")),
    ("kerngsbase", Goal::whole("save.KERNEL_GS_BASE")),
    ("pat", Goal::whole("save.G_PAT")),
    ("h_cr3", Goal::whole("control.N_CR3")),
    ("cleanbits", Goal::whole("control.CLEAN_BITS")),
];

/// Keys of which Xen prints 64 bits, in hexadecimal, where Linux prints the lower half, or in decimal.
const VMCB_OF_XEN: &[(&str, Goal)] = &[
    ("exit_int_info", Goal::whole("control.EXITINTINFO")),
    ("event_inj", Goal::whole("control.EVENTINJ")),
    ("virt_ext", Goal::whole("control.VIRTUALIZATION_ENABLES")),
];

const GUEST_SEVERAL: &[Several] =
    &[("cs.rip", &[Goal::whole("GUEST_IA32_SYSENTER_CS"), Goal::whole("GUEST_IA32_SYSENTER_EIP")])];
const HOST_SEVERAL: &[Several] =
    &[("cs.rip", &[Goal::whole("HOST_IA32_SYSENTER_CS"), Goal::whole("HOST_IA32_SYSENTER_EIP")])];
const CONTROL_SEVERAL: &[Several] =
    &[("svi|rvi", &[Goal::part("GUEST_INTERRUPT_STATUS", 8, 8), Goal::part("GUEST_INTERRUPT_STATUS", 0, 8)])];
const INTERCEPTS: &[Goal] = &[
    Goal::whole("control.INTERCEPT_MISC1"),
    Goal::whole("control.INTERCEPT_MISC2"),
    Goal::whole("control.INTERCEPT_MISC3"),
];

/// What stands in a dump, means something, and is no field: said of KVM's own variables.
const KNOWN_OTHERWISE: &[&str] = &[
    "cr3.target_count",
    "ve_info",
    "size of vmcb",
    "paddr",
    "vaddr",
    "virtual vmload/vmsave",
    "valid",
    "ec",
    "type",
    "vector",
    "vmpl",
    "msr",
    "value",
    // Linux 6.16 and later.
    "rbx",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "rbp",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "xcr0",
    "xss",
    "u_cet",
    "pl0_ssp",
    "pl1_ssp",
    "pl2_ssp",
    "pl3_ssp",
];

/// What every dump of a program has: the first and the last of each part, whatever the CPU has.
pub(super) fn always(source: Source, vendor: Option<Vendor>) -> &'static [&'static str] {
    match (source, vendor) {
        (Source::Kvm | Source::Xen, Some(Vendor::Intel)) => &[
            "GUEST_CR0",
            "GUEST_RIP",
            "GUEST_CS_ACCESS_RIGHTS",
            "GUEST_TR_ACCESS_RIGHTS",
            "GUEST_ACTIVITY_STATE",
            "HOST_RIP",
            "HOST_CR0",
            "HOST_IA32_SYSENTER_ESP",
            "PIN_BASED_CONTROLS",
            "VM_ENTRY_CONTROLS",
            "EXIT_REASON",
            "TSC_OFFSET",
        ],
        (Source::Kvm | Source::Xen, Some(Vendor::Amd)) => &[
            "control.INTERCEPT_CR",
            "control.TSC_OFFSET",
            "control.EXITCODE",
            "control.NESTED_CONTROL",
            "save.CS_ATTRIBUTES",
            "save.TR_ATTRIBUTES",
            "save.CR0",
            "save.RIP",
            "save.G_PAT",
        ],
        _ => &[],
    }
}

/// Whether a line may be of QEMU's list of registers.
pub(super) fn is_of_qemu(text: &str) -> bool {
    let name = text.split('=').next().unwrap_or_default().trim_end();
    let of_list = ["LDT", "GDT", "IDT", "EFER", "Code", "EIP", "RIP", "TR", "CCS", "FCW"].contains(&name);
    let prefixes = ["FPR", "XMM", "YMM", "CR", "DR", "R", "E"];
    let numbered = prefixes.iter().any(|prefix| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.len() <= 2 && rest.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase()))
    });
    let segment = name.len() == 2 && name.ends_with('S');
    text.contains('=') && (of_list || numbered || segment)
}

/// Where the numbers after a key go; nothing for a key that nobody prints there.
pub(super) fn goals(section: Section, xen: bool, path: &str, count: usize) -> Option<Vec<Goal>> {
    if let Some(goals) = segment(section, path, count) {
        return Some(goals);
    }
    let (one, several): (&[(&str, &str)], &[Several]) = match section {
        Section::Guest => (GUEST, GUEST_SEVERAL),
        Section::Host => (HOST, HOST_SEVERAL),
        Section::Control => (CONTROL, CONTROL_SEVERAL),
        Section::Vmcb => (&[], &[]),
    };
    if section == Section::Vmcb {
        if path == "intercepts" {
            return Some(INTERCEPTS.iter().take(count).copied().collect());
        }
        let of_xen = VMCB_OF_XEN.iter().filter(|_| xen);
        let found = of_xen.chain(VMCB).find(|(key, _)| *key == path).map(|(_, goal)| *goal)?;
        return Some(vec![Goal { decimal: found.decimal && (!xen || path == "cpl"), ..found }]);
    }
    if let Some((_, goals)) = several.iter().find(|(key, goals)| *key == path && goals.len() == count) {
        return Some(goals.to_vec());
    }
    let found = one.iter().find(|(key, _)| *key == path).map(|(_, field)| Goal::whole(field));
    found.map(|goal| vec![goal])
}

/// Whether a key is known, and no field.
pub(super) fn is_other(path: &str) -> bool {
    let key = path.rsplit_once('.').map_or(path, |(_, key)| key);
    KNOWN_OTHERWISE.contains(&path) || KNOWN_OTHERWISE.contains(&key)
}

/// `CS: sel=…, attr=…`, `cs: s: … a: …`, `CS: 0008 0a09b ffffffff 0` and `GDTR: 0000ffff 0`.
fn segment(section: Section, path: &str, count: usize) -> Option<Vec<Goal>> {
    if !matches!(section, Section::Guest | Section::Vmcb) {
        return None;
    }
    let (name, part) = path.split_once('.').unwrap_or((path, ""));
    let fields = SEGMENTS.iter().find(|(segment, ..)| *segment == name)?;
    let [vmx, svm] = [&fields.1, &fields.2];
    let all = if section == Section::Guest { vmx } else { svm };
    let at = match part {
        "sel" | "s" => 0,
        "attr" | "a" => 1,
        "limit" | "l" => 2,
        "base" | "b" => 3,
        "" if count == 4 => return Some(all.iter().copied().map(Goal::whole).collect()),
        "" if count == 2 => return Some(all[2..].iter().copied().map(Goal::whole).collect()),
        _ => return None,
    };
    Some(vec![Goal::whole(all[at])])
}

/// Selector, attributes, limit and base. Descriptor tables have no name for the first two: [`NOTHING`].
const SEGMENTS: &[(&str, [&str; 4], [&str; 4])] = &[
    segment_of("es", vmx!("ES"), svm!("ES")),
    segment_of("cs", vmx!("CS"), svm!("CS")),
    segment_of("ss", vmx!("SS"), svm!("SS")),
    segment_of("ds", vmx!("DS"), svm!("DS")),
    segment_of("fs", vmx!("FS"), svm!("FS")),
    segment_of("gs", vmx!("GS"), svm!("GS")),
    segment_of("ldtr", vmx!("LDTR"), svm!("LDTR")),
    segment_of("tr", vmx!("TR"), svm!("TR")),
    segment_of(
        "gdtr",
        [NOTHING, NOTHING, "GUEST_GDTR_LIMIT", "GUEST_GDTR_BASE"],
        [NOTHING, NOTHING, "save.GDTR_LIMIT", "save.GDTR_BASE"],
    ),
    segment_of(
        "idtr",
        [NOTHING, NOTHING, "GUEST_IDTR_LIMIT", "GUEST_IDTR_BASE"],
        [NOTHING, NOTHING, "save.IDTR_LIMIT", "save.IDTR_BASE"],
    ),
];

type Segment = (&'static str, [&'static str; 4], [&'static str; 4]);

const fn segment_of(name: &'static str, vmx: [&'static str; 4], svm: [&'static str; 4]) -> Segment {
    (name, vmx, svm)
}

/// The goal of a number that is printed and belongs to nothing.
pub(super) const NOTHING: &str = "";

/// Every field that a program prints, to be found in the tables.
#[cfg(test)]
pub(super) fn all() -> Vec<&'static str> {
    let plain = [GUEST, HOST, CONTROL].concat().into_iter().map(|(_, field)| field);
    let vmcb = VMCB.iter().chain(VMCB_OF_XEN).map(|(_, goal)| goal.field);
    let several = [GUEST_SEVERAL, HOST_SEVERAL, CONTROL_SEVERAL].concat();
    let several = several.into_iter().flat_map(|(_, goals)| goals.iter().map(|goal| goal.field));
    let segments = SEGMENTS.iter().flat_map(|(_, vmx, svm)| vmx.iter().chain(svm)).copied();
    plain.chain(vmcb).chain(several).chain(INTERCEPTS.iter().map(|goal| goal.field)).chain(segments).collect()
}
