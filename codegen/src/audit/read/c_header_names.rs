//! What programs call things, where no rule leads from their name to the manual's.

use crate::audit::source::{Kind, Row};

/// What a program calls it, and the manual. Names that differ by words that mean the same need no line here.
const NAMES: &[(&str, &str)] = &[
    // VMCS fields
    ("VM_EXIT_CONTROLS", "Primary VM-exit controls"),
    ("VMEXIT_CONTROLS", "Primary VM-exit controls"),
    ("NOTIFY_WINDOW", "Instruction-timeout control"),
    ("PI_DESC_ADDR", "Posted-interrupt descriptor address"),
    // Controls
    ("CPU_BASED_VIRTUAL_INTR_PENDING", "Interrupt-window exiting"),
    ("CPU_BASED_VIRTUAL_NMI_PENDING", "NMI-window exiting"),
    ("SECONDARY_EXEC_ENABLE_VMFUNC", "Enable VM functions"),
    ("VMX_FEATURE_VMFUNC", "Enable VM functions"),
    ("SECONDARY_EXEC_NOTIFY_VM_EXITING", "Instruction timeout"),
    ("VMX_FEATURE_NOTIFY_VM_EXITING", "Instruction timeout"),
    ("VM_EXIT_IA32E_MODE", "Host address-space size"),
    // Capabilities
    ("VMX_BASIC_32BIT_PHYS_ADDR_ONLY", "ADDRESS_WIDTH_32"),
    ("VMX_BASIC_32BIT_ADDRESSES", "ADDRESS_WIDTH_32"),
    ("VMX_BASIC_INOUT", "INS_OUTS_INFORMATION"),
    ("VMX_BASIC_INS_OUT_INFO", "INS_OUTS_INFORMATION"),
    ("VMX_MISC_SAVE_EFER_LMA", "EXIT_STORES_LMA"),
    ("VMX_MISC_VMXOFF_BLOCK_SMI", "SMM_MONITOR_CTL_BIT_2"),
    ("VMX_MISC_ZERO_LEN_INS", "INJECTION_LENGTH_0"),
    ("EFER_AUTOIBRS", "AIBRSE"),
    ("ARCH_CAPS_EIBRS", "IBRS_ALL"),
    // Exits
    ("EXIT_REASON_PENDING_VIRT_INTR", "Interrupt window"),
    ("EXIT_REASON_VMON", "VMXON"),
    ("EXIT_REASON_VMOFF", "VMXOFF"),
    ("EXIT_REASON_MSR_READ", "RDMSR"),
    ("EXIT_REASON_MSR_WRITE", "WRMSR"),
    ("SVM_EXIT_SW", "HOST_RESERVED"),
    ("SVM_EXIT_ERR", "VMEXIT_INVALID"),
    // The VMCB
    ("GENERAL1_INTERCEPT_SWINT", "Intercept INTn"),
    ("intercepts[0]", "INTERCEPT_CR"),
    ("intercepts[1]", "INTERCEPT_DR"),
    ("intercepts[2]", "INTERCEPT_EXCEPTIONS"),
    ("intercepts[3]", "INTERCEPT_MISC1"),
    ("intercepts[4]", "INTERCEPT_MISC2"),
    ("intercepts[5]", "INTERCEPT_MISC3"),
    ("_general1_intercepts", "INTERCEPT_MISC1"),
    ("_general2_intercepts", "INTERCEPT_MISC2"),
    ("asid", "Guest ASID"),
    ("_vintr", "VIRTUAL_INTERRUPT"),
    ("V_GIF", "VGIF"),
    ("V_GIF_ENABLE", "VGIF_ENABLE"),
    ("V_NMI_PENDING", "V_NMI"),
    ("V_NMI_BLOCKING", "V_NMI_MASK"),
    ("X2APIC_MODE", "x2AVIC Enable"),
    ("insn_len", "Number of bytes fetched"),
    ("guest_ins_len", "Number of bytes fetched"),
    ("nextrip", "nRIP"),
    ("virt_ext.fields.vloadsave_enable", "VMSAVE/VMLOAD Virtualization Enable"),
    ("kerngsbase", "KernelGsBase"),
    ("_debugctlmsr", "DBGCTL"),
    ("_lastbranchfromip", "BR_FROM"),
    ("_lastbranchtoip", "BR_TO"),
    ("_lastintfromip", "LASTEXCPFROM"),
    ("_lastinttoip", "LASTEXCPTO"),
    ("cleanbits.intercepts", "I"),
    // MSRs
    ("MSR_IA32_PERFCTR0", "IA32_PMC0"),
    ("MSR_IA32_PERFCTR1", "IA32_PMC1"),
    ("MSR_IA32_LASTINTFROMIP", "IA32_LER_FROM_IP"),
    ("MSR_IA32_LASTINTTOIP", "IA32_LER_TO_IP"),
    ("MSR_IA32_UCODE_WRITE", "IA32_BIOS_UPDT_TRIG"),
    ("MSR_IA32_UCODE_REV", "IA32_BIOS_SIGN_ID"),
    ("MSR_AMD64_PATCH_LEVEL", "IA32_BIOS_SIGN_ID"),
    ("MSR_AMD_PATCHLEVEL", "IA32_BIOS_SIGN_ID"),
    ("MSR_IA32_THERM_CONTROL", "IA32_CLOCK_MODULATION"),
    ("MSR_IA32_FRED_SSP0", "IA32_PL0_SSP"),
    ("MSR_IA32_L3_CBM_BASE", "IA32_L3_MASK_0"),
    ("MSR_IA32_L2_CBM_BASE", "IA32_L2_MASK_0"),
    ("MSR_AMD64_ICIBSEXTDCTL", "IbsFetchExtdCtl"),
    ("MSR_F17H_IRPERF", "IRPerfCount"),
    ("MSR_F16H_L2I_PERF_CTR", "L2I_PerfCtr0"),
    ("MSR_F15H_PERF_CTR", "PERF_CTR0"),
    ("MSR_F15H_NB_PERF_CTR", "NB_PerfCtr0"),
    ("MSR_K8_TOP_MEM1", "TOP_MEM"),
    ("MSR_K8_TSEG_ADDR", "SMM_ADDR"),
    ("MSR_K8_TSEG_BASE", "SMM_ADDR"),
    ("MSR_AMD_SAMP_BR_FROM", "LastBranchStackFromIp"),
    ("MSR_K7_EVNTSEL0", "LEGACY_PERF_EVT_SEL0"),
    ("MSR_K7_EVNTSEL1", "LEGACY_PERF_EVT_SEL1"),
    ("MSR_K7_EVNTSEL2", "LEGACY_PERF_EVT_SEL2"),
    ("MSR_K7_EVNTSEL3", "LEGACY_PERF_EVT_SEL3"),
    ("MSR_AMD_FAM15H_EVNTSEL0", "PERF_EVT_SEL0"),
    ("MSR_AMD_FAM15H_EVNTSEL1", "PERF_EVT_SEL1"),
    ("MSR_AMD_FAM15H_EVNTSEL2", "PERF_EVT_SEL2"),
    ("MSR_AMD_FAM15H_EVNTSEL3", "PERF_EVT_SEL3"),
    ("MSR_AMD_FAM15H_EVNTSEL4", "PERF_EVT_SEL4"),
    ("MSR_AMD_FAM15H_EVNTSEL5", "PERF_EVT_SEL5"),
    ("IA32_VMX_FMFUNC", "IA32_VMX_VMFUNC"),
];

/// Registers of processors that had no VMX and no SVM; others have something else at their addresses now.
const BEFORE: [&str; 16] = [
    "MSR_P4_",
    "MSR_P6_",
    "MSR_K6_",
    "MSR_IDT_",
    "MSR_VIA_",
    "MSR_TMTA_",
    "MSR_GEODE_",
    "MSR_FIDVID_",
    "MSR_IA32_MCG_E",
    "MSR_IA32_MCG_R",
    "MSR_IA32_MCG_MISC",
    "MSR_K7_FID_VID",
    "MSR_K7_HWCR_",
    "MSR_FSB_FREQ",
    "MSR_EBC_",
    "MSR_EBL_",
];

/// Whether a register is of processors before virtualization.
pub(super) fn is_before(name: &str) -> bool {
    BEFORE.iter().any(|prefix| name.starts_with(prefix))
}

/// Adds the manual's name to a row, and the row's name without what only says what kind of number it is.
pub(super) fn name(kind: &Kind, mut row: Row) -> Row {
    let bare = ["_MASK", "_BIT"].iter().find_map(|end| row.name.strip_suffix(end)).map(str::to_owned);
    if let (Kind::Bits { .. } | Kind::Members(_), Some(bare)) = (kind, &bare) {
        row.aliases.push(bare.clone());
    }
    let known = |name: &str| NAMES.iter().find(|(theirs, _)| *theirs == name);
    let manual = known(&row.name).or_else(|| known(bare.as_deref()?)).map(|(_, manual)| (*manual).to_owned());
    row.aliases.extend(manual);
    // Xen names exceptions by their mnemonics.
    if let (Kind::SvmExits, Some(vector @ 0x40..=0x5f)) = (kind, row.number)
        && row.name.starts_with("VMEXIT_EXCEPTION_")
    {
        row.aliases.push(format!("VMEXIT_EXCP{}", vector - 0x40));
    }
    row
}
