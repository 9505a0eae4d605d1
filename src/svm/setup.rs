//! The content of a new VMCB: intercepts, maps, and the few fields that never change.
//!
//! APM volume 2, "Intercept Operation", "Instruction Intercepts", "Nested Paging", "Virtualizing TPR".

use super::{capabilities::Capabilities, vcpu::SvmVcpu};
use crate::{
    Result,
    frame::FrameSource,
    guest::registers::{StartState, SystemRegisters},
    spec::{
        amd::{
            intercepts::{InterceptCr, InterceptDr, InterceptExceptions, InterceptMisc1, InterceptMisc2},
            msrs::Cpuid8000000aEdx,
            payloads::DecodeAssists,
            vmcb::{NestedControl, VirtualInterruptControl},
        },
        payload::Reported,
        x86::{
            msrs::{IA32_PAT_RESET, Pat},
            registers::Cr4,
        },
    },
};

/// What a guest's writes to control registers would change behind our back. CR3 is its own business with nested paging, and
/// hardware keeps a CR8 for it (V_TPR).
const CR: InterceptCr = InterceptCr::CR0_WRITE.with(InterceptCr::CR4_WRITE);

/// All debug registers: DR0 to DR3 are not switched by hardware.
const DR: InterceptDr = InterceptDr::DR0_READ
    .with(InterceptDr::DR1_READ)
    .with(InterceptDr::DR2_READ)
    .with(InterceptDr::DR3_READ)
    .with(InterceptDr::DR4_READ)
    .with(InterceptDr::DR5_READ)
    .with(InterceptDr::DR6_READ)
    .with(InterceptDr::DR7_READ)
    .with(InterceptDr::DR0_WRITE)
    .with(InterceptDr::DR1_WRITE)
    .with(InterceptDr::DR2_WRITE)
    .with(InterceptDr::DR3_WRITE)
    .with(InterceptDr::DR4_WRITE)
    .with(InterceptDr::DR5_WRITE)
    .with(InterceptDr::DR6_WRITE)
    .with(InterceptDr::DR7_WRITE);

/// An endless delivery of #AC would hang the CPU. So would one of #DB, but for that the guest would need breakpoints, and its
/// debug registers are not loaded. A machine check is the host's.
const EXCEPTIONS: InterceptExceptions = InterceptExceptions::EXCP17.with(InterceptExceptions::EXCP18);

/// Physical interrupts, what would disturb the host, what the guest's CPUID does not have, and what needs an answer.
const MISC1: InterceptMisc1 = InterceptMisc1::INTR
    .with(InterceptMisc1::NMI)
    .with(InterceptMisc1::SMI)
    .with(InterceptMisc1::INIT)
    .with(InterceptMisc1::VINTR)
    .with(InterceptMisc1::RDPMC)
    .with(InterceptMisc1::CPUID)
    .with(InterceptMisc1::RSM)
    .with(InterceptMisc1::INVD)
    .with(InterceptMisc1::HLT)
    .with(InterceptMisc1::INVLPGA)
    .with(InterceptMisc1::IOIO_PROT)
    .with(InterceptMisc1::MSR_PROT)
    .with(InterceptMisc1::FERR_FREEZE)
    .with(InterceptMisc1::SHUTDOWN);

/// SVM's own instructions (VMRUN fails if it is not intercepted), and more of the same. ICEBP, because one emulator takes no
/// interrupt while a guest does nothing else.
const MISC2: InterceptMisc2 = InterceptMisc2::VMRUN
    .with(InterceptMisc2::VMMCALL)
    .with(InterceptMisc2::VMLOAD)
    .with(InterceptMisc2::VMSAVE)
    .with(InterceptMisc2::STGI)
    .with(InterceptMisc2::CLGI)
    .with(InterceptMisc2::SKINIT)
    .with(InterceptMisc2::ICEBP)
    .with(InterceptMisc2::WBINVD)
    .with(InterceptMisc2::MONITOR)
    .with(InterceptMisc2::MWAIT)
    .with(InterceptMisc2::MWAIT_CONDITIONAL)
    .with(InterceptMisc2::XSETBV)
    .with(InterceptMisc2::RDPRU);
// Word 5 stays 0: INVLPGB and TLBSYNC are #UD without INVLPGB_TLBSYNC_ENABLE, MCOMMIT without EFER.MCOMMIT.

/// The highest priority that a virtual interrupt can have; V_IGN_TPR makes it unimportant.
const HIGHEST_PRIORITY: u8 = 0xf;

/// What a guest may set in CR4: what the CPU has, without what the library does not virtualize.
pub(super) fn offered_cr4() -> Cr4 {
    // Every CPU with SVM has these.
    let mut offered = Cr4::VME
        .with(Cr4::PVI)
        .with(Cr4::TSD)
        .with(Cr4::DE)
        .with(Cr4::PSE)
        .with(Cr4::PAE)
        .with(Cr4::MCE)
        .with(Cr4::PGE)
        .with(Cr4::PCE)
        .with(Cr4::OSFXSR)
        .with(Cr4::OSXMMEXCPT);
    let cpuid = raw_cpuid::CpuId::new();
    let features = cpuid.get_feature_info();
    offered.set(Cr4::PCIDE, features.as_ref().is_some_and(|features| features.has_pcid()));
    if let Some(features) = cpuid.get_extended_feature_info() {
        offered.set(Cr4::FSGSBASE, features.has_fsgsbase());
        offered.set(Cr4::SMEP, features.has_smep());
        offered.set(Cr4::SMAP, features.has_smap());
        offered.set(Cr4::UMIP, features.has_umip());
        offered.set(Cr4::PKE, features.has_pku());
    }
    offered
}

/// Whether this CPU has RDTSCP, which works in a guest as it does in the host. It then has IA32_TSC_AUX.
pub(super) fn has_rdtscp() -> bool {
    let functions = raw_cpuid::CpuId::new().get_extended_processor_and_feature_identifiers();
    functions.is_some_and(|functions| functions.has_rdtscp())
}

impl<S: FrameSource> SvmVcpu<S> {
    /// Everything, once in the life of a VMCB.
    pub(super) fn write_initial_state(&mut self) -> Result {
        let (io_map, msr_map) = (self.io_map.address(), self.msr_map.address());
        let vmcb = &mut *self.vmcb;
        vmcb.set_intercept_cr(CR);
        vmcb.set_intercept_dr(DR);
        vmcb.set_intercept_exceptions(EXCEPTIONS);
        vmcb.set_intercept_misc1(MISC1);
        vmcb.set_intercept_misc2(MISC2);
        vmcb.set_iopm_base_pa(io_map);
        vmcb.set_msrpm_base_pa(msr_map);
        vmcb.set_virtual_interrupt(VirtualInterruptControl::V_INTR_MASKING.with_v_intr_prio(HIGHEST_PRIORITY));
        vmcb.set_nested_control(NestedControl::NP_ENABLE);
        vmcb.set_g_pat(Pat::from_bits(IA32_PAT_RESET));
        self.set_system(&SystemRegisters::start(StartState::RealMode { entry: 0 })?)
    }

    pub(super) fn set_intercept_cr(&mut self, which: InterceptCr, on: bool) {
        let mut word = self.vmcb.intercept_cr();
        word.set(which, on);
        if word != self.vmcb.intercept_cr() {
            self.vmcb.set_intercept_cr(word);
        }
    }

    pub(super) fn set_intercept_exceptions(&mut self, which: InterceptExceptions, on: bool) {
        let mut word = self.vmcb.intercept_exceptions();
        word.set(which, on);
        if word != self.vmcb.intercept_exceptions() {
            self.vmcb.set_intercept_exceptions(word);
        }
    }

    pub(super) fn set_intercept_misc1(&mut self, which: InterceptMisc1, on: bool) {
        let mut word = self.vmcb.intercept_misc1();
        word.set(which, on);
        if word != self.vmcb.intercept_misc1() {
            self.vmcb.set_intercept_misc1(word);
        }
    }
}

/// What the run loop asks of the CPU at each exit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assists {
    /// NRIP holds the address of the next instruction.
    pub(super) next_rip: bool,
    /// EXITINFO1 names the register of an access to a control or debug register.
    pub(super) decode: Option<Reported<DecodeAssists>>,
    /// TLB_CONTROL may flush one address space.
    pub(super) flush_by_asid: bool,
    /// TSC_RATIO scales the guest's time-stamp counter.
    pub(super) tsc_ratio: bool,
    /// How many address-space identifiers there are.
    pub(super) asids: u32,
}

impl Assists {
    pub(super) fn of(capabilities: &Capabilities) -> Self {
        Self {
            next_rip: capabilities.has(Cpuid8000000aEdx::NRIPS),
            decode: Reported::by(capabilities.features),
            flush_by_asid: capabilities.has(Cpuid8000000aEdx::FLUSH_BY_ASID),
            tsc_ratio: capabilities.has(Cpuid8000000aEdx::TSC_RATE_MSR),
            asids: capabilities.asids,
        }
    }
}
