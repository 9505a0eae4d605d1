//! What keeps a guest and its host, or two guests, from each other's speculation: which of it this CPU has and needs, and
//! the guest's own controls. `docs/speculation.md` says what is done where, and what is not.
//!
//! Intel's guidance "Speculative Execution Side Channel Mitigations"; SDM volume 4, "IA-32 Architectural MSRs"; AMD's "Software
//! Techniques for Managing Speculation".

use crate::{
    host,
    spec::{
        Msr,
        amd::msrs::Cpuid8000000aEdx,
        x86::{
            cpuid::{Cpuid80000008Ebx, Cpuid80000021Eax, CpuidLeaf},
            msrs::{
                ArchCapabilities, FlushCmd, IA32_ARCH_CAPABILITIES, IA32_FLUSH_CMD, IA32_PRED_CMD, IA32_SPEC_CTRL,
                PredCmd, SpecCtrl,
            },
            registers::{Cpuid7Edx, Cr4},
        },
    },
};

/// What the library does against speculation across its borders, at the cost of time.
///
/// The default is what the CPU says that it needs: [`for_this_cpu`](Self::for_this_cpu). A policy that asks for what the CPU does
/// not have does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpeculationPolicy {
    /// At each [`run`](crate::Vcpu::run): flush the L1 data cache (IA32_FLUSH_CMD), which a guest can otherwise read through page
    /// tables of its own on CPUs with the L1 terminal fault. VMX only.
    pub flush_l1d: bool,
    /// At each `run`: overwrite the CPU's buffers (VERW), which a guest can otherwise sample on CPUs with MDS.
    pub clear_buffers: bool,
    /// At each bind of another vCPU than the last on that CPU: an indirect branch prediction barrier (IA32_PRED_CMD).
    pub barrier_between_vcpus: bool,
    /// At each exit: fill the return stack buffer, from which returns of the host are predicted otherwise as a guest has left
    /// it. Some 35 instructions on VMX, 130 on SVM. Not done for a host that uses shadow stacks (CR4.CET), where it would need instructions of
    /// its own.
    pub fill_return_stack: bool,
}

impl SpeculationPolicy {
    /// Nothing of it: for hosts whose guests trust each other and whom the host trusts.
    pub const NONE: Self =
        Self { flush_l1d: false, clear_buffers: false, barrier_between_vcpus: false, fill_return_stack: false };

    /// What the CPU that executes this needs.
    pub fn for_this_cpu() -> Self {
        Self::for_features(&Features::of_this_cpu())
    }

    fn for_features(cpu: &Features) -> Self {
        let not = |no: ArchCapabilities| !cpu.capabilities.contains(no);
        let skips = ArchCapabilities::RDCL_NO.with(ArchCapabilities::SKIP_L1DFL_VMENTRY);
        Self {
            flush_l1d: !cpu.capabilities.intersects(skips),
            clear_buffers: not(ArchCapabilities::MDS_NO) || cpu.capabilities.contains(ArchCapabilities::RFDS_CLEAR),
            barrier_between_vcpus: true,
            fill_return_stack: cpu.return_stack_exposed,
        }
        .limited_to(cpu)
    }

    /// Without what the CPU does not have.
    const fn limited_to(self, cpu: &Features) -> Self {
        Self {
            flush_l1d: self.flush_l1d && cpu.flush,
            clear_buffers: self.clear_buffers && cpu.clears_buffers,
            barrier_between_vcpus: self.barrier_between_vcpus && cpu.barrier,
            fill_return_stack: self.fill_return_stack && !cpu.shadow_stacks,
        }
    }
}

/// What this CPU has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    /// The bits of IA32_SPEC_CTRL that a guest may set; none: the register is not offered.
    control: SpecCtrl,
    /// IA32_PRED_CMD.IBPB.
    barrier: bool,
    /// IA32_FLUSH_CMD.
    flush: bool,
    /// VERW overwrites buffers.
    clears_buffers: bool,
    /// IA32_ARCH_CAPABILITIES; 0 where there is none.
    capabilities: ArchCapabilities,
    has_capabilities: bool,
    /// A guest's returns may steer those of the host: the CPU tells of its branch prediction, and nothing in it (enhanced
    /// or automatic IBRS) keeps the two apart.
    return_stack_exposed: bool,
    /// The host uses shadow stacks, or may.
    shadow_stacks: bool,
    /// SVM keeps the guest's IA32_SPEC_CTRL in the VMCB, and adds the host's bits to it while the guest runs.
    pub(crate) control_in_vmcb: bool,
}

/// What guests are told of IA32_ARCH_CAPABILITIES: what the CPU is not subject to. Nothing that names a register to write.
const SHOWN: ArchCapabilities = ArchCapabilities::RDCL_NO
    .with(ArchCapabilities::IBRS_ALL)
    .with(ArchCapabilities::RSBA)
    .with(ArchCapabilities::SSB_NO)
    .with(ArchCapabilities::MDS_NO)
    .with(ArchCapabilities::IF_PSCHANGE_MC_NO)
    .with(ArchCapabilities::TAA_NO)
    .with(ArchCapabilities::SBDR_SSDP_NO)
    .with(ArchCapabilities::FBSDP_NO)
    .with(ArchCapabilities::PSDP_NO)
    .with(ArchCapabilities::RRSBA)
    .with(ArchCapabilities::BHI_NO)
    .with(ArchCapabilities::PBRSB_NO)
    .with(ArchCapabilities::GDS_NO)
    .with(ArchCapabilities::RFDS_NO)
    .with(ArchCapabilities::ITS_NO);

impl Features {
    /// Those of the CPU that executes this.
    pub(crate) fn of_this_cpu() -> Self {
        if cfg!(test) {
            return Self::default();
        }
        let shadow_stacks = host::cr4().contains(Cr4::CET);
        Self { shadow_stacks, ..Self::of(crate::cpu::cpuid, &mut Hardware) }
    }

    fn of(cpuid: impl Fn(u32, u32) -> [u32; 4], msrs: &mut impl Registers) -> Self {
        let intel = Cpuid7Edx::from_bits(cpuid(CpuidLeaf::STRUCTURED_FEATURES.0, 0)[3]);
        let amd = Cpuid80000008Ebx::from_bits(cpuid(CpuidLeaf::ADDRESS_SIZES.0, 0)[1]);
        let mut control = SpecCtrl::empty();
        let ibrs = intel.contains(Cpuid7Edx::IBRS_IBPB);
        control.set(SpecCtrl::IBRS, ibrs || amd.contains(Cpuid80000008Ebx::IBRS));
        control.set(SpecCtrl::STIBP, intel.contains(Cpuid7Edx::STIBP) || amd.contains(Cpuid80000008Ebx::STIBP));
        control.set(SpecCtrl::SSBD, intel.contains(Cpuid7Edx::SSBD) || amd.contains(Cpuid80000008Ebx::SSBD));
        let has_capabilities = intel.contains(Cpuid7Edx::ARCH_CAPABILITIES);
        let capabilities = if has_capabilities {
            ArchCapabilities::from_bits(msrs.read(IA32_ARCH_CAPABILITIES))
        } else {
            ArchCapabilities::empty()
        };
        let barrier = ibrs || amd.contains(Cpuid80000008Ebx::IBPB);
        let second = Cpuid80000021Eax::from_bits(cpuid(CpuidLeaf::EXTENDED_FEATURES_2.0, 0)[0]);
        let kept_apart = capabilities.contains(ArchCapabilities::IBRS_ALL.with(ArchCapabilities::PBRSB_NO))
            || second.contains(Cpuid80000021Eax::AUTOMATIC_IBRS);
        // CPUs without SVM have no such leaf, and it reads as zeros.
        let svm = Cpuid8000000aEdx::from_bits(cpuid(CpuidLeaf::SVM.0, 0)[3]);
        Self {
            control,
            barrier,
            flush: intel.contains(Cpuid7Edx::L1D_FLUSH),
            clears_buffers: intel.contains(Cpuid7Edx::MD_CLEAR),
            capabilities,
            has_capabilities,
            return_stack_exposed: barrier && !kept_apart,
            shadow_stacks: false,
            control_in_vmcb: svm.contains(Cpuid8000000aEdx::SPEC_CTRL),
        }
    }

    /// Which of the registers an access reaches, if the guest has it.
    pub(crate) fn register(&self, msr: Msr, write: bool) -> Option<SpeculationMsr> {
        match msr {
            IA32_SPEC_CTRL if !self.control.is_empty() => Some(SpeculationMsr::Control),
            IA32_PRED_CMD if write && self.barrier => Some(SpeculationMsr::Barrier),
            IA32_FLUSH_CMD if write && self.flush => Some(SpeculationMsr::Flush),
            IA32_ARCH_CAPABILITIES if !write && self.has_capabilities => Some(SpeculationMsr::Capabilities),
            _ => None,
        }
    }
}

/// A register that the guest has for this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpeculationMsr {
    /// IA32_SPEC_CTRL.
    Control,
    /// IA32_PRED_CMD, which is written only.
    Barrier,
    /// IA32_FLUSH_CMD, which is written only.
    Flush,
    /// IA32_ARCH_CAPABILITIES, which is read only.
    Capabilities,
}

/// How the registers are reached: the CPU's, or a test's.
pub(crate) trait Registers {
    /// RDMSR.
    fn read(&mut self, msr: Msr) -> u64;
    /// WRMSR.
    fn write(&mut self, msr: Msr, value: u64);
    /// VERW with a writable data segment.
    fn overwrite_buffers(&mut self);
}

/// The CPU's.
pub(crate) struct Hardware;

impl Registers for Hardware {
    fn read(&mut self, msr: Msr) -> u64 {
        // SAFETY: asked for only where CPUID says that the CPU has the register.
        unsafe { host::rdmsr(msr) }
    }

    fn write(&mut self, msr: Msr, value: u64) {
        // SAFETY: as above, with bits that CPUID says there are, which change speculation alone.
        unsafe { host::wrmsr(msr, value) };
    }

    fn overwrite_buffers(&mut self) {
        // SAFETY: VERW looks at a selector and changes ZF alone; its form with a memory operand is the one that clears.
        unsafe {
            let selector = x86::segmentation::ss().bits();
            core::arch::asm!("verw word ptr [{}]", in(reg) &raw const selector, options(nostack, readonly));
        }
    }
}

/// What a vCPU keeps of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Speculation {
    cpu: Features,
    /// What the VMM asks for.
    policy: SpeculationPolicy,
    /// What of it the CPU can do.
    possible: SpeculationPolicy,
    /// IA32_SPEC_CTRL as the guest has it.
    control: SpecCtrl,
    host_control: u64,
}

impl Speculation {
    /// The CPU's default.
    pub(crate) fn new(cpu: Features) -> Self {
        let policy = SpeculationPolicy::for_features(&cpu);
        Self { cpu, policy, possible: policy, ..Self::default() }
    }

    pub(crate) fn policy(&self) -> SpeculationPolicy {
        self.policy
    }

    pub(crate) fn set_policy(&mut self, policy: SpeculationPolicy) {
        self.policy = policy;
        self.possible = policy.limited_to(&self.cpu);
    }

    /// Whether the edges of `run` have anything to do.
    pub(crate) fn at_edges(&self) -> bool {
        self.switches_control() || self.possible.flush_l1d || self.possible.clear_buffers
    }

    /// Whether each exit fills the return stack buffer.
    pub(crate) fn fills_return_stack(&self) -> bool {
        self.possible.fill_return_stack
    }

    /// IA32_SPEC_CTRL as the guest has it, for the VMCB of a CPU that takes it from there.
    pub(crate) fn control_for_vmcb(&self) -> Option<u64> {
        self.cpu.control_in_vmcb.then_some(self.control.bits())
    }

    /// Whether the guest's IA32_SPEC_CTRL is ours to switch, and has anything set.
    fn switches_control(&self) -> bool {
        !self.control.is_empty() && !self.cpu.control_in_vmcb
    }

    /// What the CPU runs with: the guest's bits and the host's, whose code in `run` must not lose its own.
    fn effective(&self) -> u64 {
        self.host_control | self.control.bits()
    }

    /// At a bind: `last` says whether this vCPU was also the last on the CPU.
    pub(crate) fn arrive(&mut self, registers: &mut impl Registers, last: bool) {
        if self.possible.barrier_between_vcpus && !last {
            registers.write(IA32_PRED_CMD, PredCmd::IBPB.bits());
        }
    }

    /// At the start of `run`.
    pub(crate) fn enter(&mut self, registers: &mut impl Registers) {
        if self.switches_control() {
            self.host_control = registers.read(IA32_SPEC_CTRL);
            if self.effective() != self.host_control {
                registers.write(IA32_SPEC_CTRL, self.effective());
            }
        }
        if self.possible.flush_l1d {
            registers.write(IA32_FLUSH_CMD, FlushCmd::L1D_FLUSH.bits());
        }
        if self.possible.clear_buffers {
            registers.overwrite_buffers();
        }
    }

    /// At the end of `run`.
    pub(crate) fn leave(&mut self, registers: &mut impl Registers) {
        if self.switches_control() && self.effective() != self.host_control {
            registers.write(IA32_SPEC_CTRL, self.host_control);
        }
    }

    /// The guest's RDMSR.
    pub(crate) fn read(&self, register: SpeculationMsr) -> u64 {
        match register {
            SpeculationMsr::Control => self.control.bits(),
            SpeculationMsr::Capabilities => {
                // The VMM above flushes, if anybody has to.
                ((self.cpu.capabilities & SHOWN) | ArchCapabilities::SKIP_L1DFL_VMENTRY).bits()
            }
            SpeculationMsr::Barrier | SpeculationMsr::Flush => 0,
        }
    }

    /// Whether the guest may have such an IA32_SPEC_CTRL.
    pub(crate) fn takes_control(&self, value: u64) -> bool {
        value & !self.cpu.control.bits() == 0
    }

    /// Sets the guest's IA32_SPEC_CTRL, outside of `run`.
    pub(crate) fn restore_control(&mut self, value: u64) {
        self.control = SpecCtrl::from_bits(value);
    }

    /// The guest's WRMSR, in `run`; false: #GP(0).
    pub(crate) fn write(&mut self, registers: &mut impl Registers, register: SpeculationMsr, value: u64) -> bool {
        match register {
            SpeculationMsr::Control if value & !self.cpu.control.bits() == 0 => {
                if self.cpu.control_in_vmcb {
                    self.control = SpecCtrl::from_bits(value);
                    return true;
                }
                if self.control.is_empty() {
                    // So far the CPU ran with the host's.
                    self.host_control = registers.read(IA32_SPEC_CTRL);
                }
                let before = self.effective();
                self.control = SpecCtrl::from_bits(value);
                if self.effective() != before {
                    registers.write(IA32_SPEC_CTRL, self.effective());
                }
                true
            }
            SpeculationMsr::Barrier if value & !PredCmd::IBPB.bits() == 0 => {
                if value != 0 {
                    registers.write(IA32_PRED_CMD, value);
                }
                true
            }
            SpeculationMsr::Flush if value & !FlushCmd::L1D_FLUSH.bits() == 0 => {
                if value != 0 {
                    registers.write(IA32_FLUSH_CMD, value);
                }
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{vec, vec::Vec};

    use super::*;

    /// Registers that a test gives, and what was done with them.
    #[derive(Default)]
    struct Fake {
        control: u64,
        capabilities: ArchCapabilities,
        writes: Vec<(Msr, u64)>,
        overwritten: u32,
    }

    impl Registers for Fake {
        fn read(&mut self, msr: Msr) -> u64 {
            match msr {
                IA32_SPEC_CTRL => self.control,
                IA32_ARCH_CAPABILITIES => self.capabilities.bits(),
                _ => panic!("{msr:?} is not there to be read"),
            }
        }
        fn write(&mut self, msr: Msr, value: u64) {
            if msr == IA32_SPEC_CTRL {
                self.control = value;
            }
            self.writes.push((msr, value));
        }
        fn overwrite_buffers(&mut self) {
            self.overwritten += 1;
        }
    }

    fn intel(capabilities: Option<ArchCapabilities>) -> Features {
        let mut edx =
            Cpuid7Edx::IBRS_IBPB | Cpuid7Edx::STIBP | Cpuid7Edx::SSBD | Cpuid7Edx::L1D_FLUSH | Cpuid7Edx::MD_CLEAR;
        edx.set(Cpuid7Edx::ARCH_CAPABILITIES, capabilities.is_some());
        let mut fake = Fake { capabilities: capabilities.unwrap_or_default(), ..Fake::default() };
        let cpuid = |leaf, _| if leaf == CpuidLeaf::STRUCTURED_FEATURES.0 { [0, 0, 0, edx.bits()] } else { [0; 4] };
        Features::of(cpuid, &mut fake)
    }

    #[test]
    fn the_default_is_what_the_cpu_needs() {
        let all = SpeculationPolicy {
            flush_l1d: true,
            clear_buffers: true,
            barrier_between_vcpus: true,
            fill_return_stack: true,
        };
        assert_eq!(SpeculationPolicy::for_features(&intel(None)), all);
        let policy = |capabilities| SpeculationPolicy::for_features(&intel(Some(capabilities)));
        assert!(!policy(ArchCapabilities::RDCL_NO).flush_l1d && policy(ArchCapabilities::RDCL_NO).clear_buffers);
        assert!(!policy(ArchCapabilities::SKIP_L1DFL_VMENTRY).flush_l1d);
        assert!(!policy(ArchCapabilities::MDS_NO).clear_buffers && policy(ArchCapabilities::MDS_NO).flush_l1d);
        assert!(policy(ArchCapabilities::MDS_NO | ArchCapabilities::RFDS_CLEAR).clear_buffers);
        // A CPU that has nothing does nothing.
        assert_eq!(SpeculationPolicy::for_features(&Features::default()), SpeculationPolicy::NONE);
        let amd = Cpuid80000008Ebx::IBPB | Cpuid80000008Ebx::SSBD;
        let cpuid = |leaf, _| if leaf == CpuidLeaf::ADDRESS_SIZES.0 { [0, amd.bits(), 0, 0] } else { [0; 4] };
        let amd = Features::of(cpuid, &mut Fake::default());
        let barrier =
            SpeculationPolicy { barrier_between_vcpus: true, fill_return_stack: true, ..SpeculationPolicy::NONE };
        assert_eq!((SpeculationPolicy::for_features(&amd), amd.control), (barrier, SpecCtrl::SSBD));
        assert!(!amd.control_in_vmcb);
    }

    #[test]
    fn the_return_stack_is_filled_where_nothing_else_keeps_it_apart() {
        let fills = |cpu: &Features| SpeculationPolicy::for_features(cpu).fill_return_stack;
        let capabilities = |capabilities| fills(&intel(Some(capabilities)));
        assert!(fills(&intel(None)) && capabilities(ArchCapabilities::empty()));
        assert!(capabilities(ArchCapabilities::IBRS_ALL), "post-barrier predictions");
        assert!(capabilities(ArchCapabilities::PBRSB_NO));
        assert!(!capabilities(ArchCapabilities::IBRS_ALL | ArchCapabilities::PBRSB_NO));
        let amd = |automatic: bool| {
            let mut second = Cpuid80000021Eax::empty();
            second.set(Cpuid80000021Eax::AUTOMATIC_IBRS, automatic);
            let cpuid = move |leaf, _| match CpuidLeaf(leaf) {
                CpuidLeaf::ADDRESS_SIZES => [0, Cpuid80000008Ebx::IBPB.bits(), 0, 0],
                CpuidLeaf::EXTENDED_FEATURES_2 => [second.bits(), 0, 0, 0],
                _ => [0; 4],
            };
            fills(&Features::of(cpuid, &mut Fake::default()))
        };
        assert!(amd(false) && !amd(true));
        // A VMM may ask for it on a CPU that does not say that it needs it, and for none.
        let mut speculation = Speculation::new(Features::default());
        assert!(!speculation.fills_return_stack());
        speculation.set_policy(SpeculationPolicy { fill_return_stack: true, ..SpeculationPolicy::NONE });
        assert!(speculation.fills_return_stack() && !speculation.at_edges());
        // Shadow stacks would not agree with it.
        let mut speculation = Speculation::new(Features { shadow_stacks: true, ..intel(None) });
        assert!(!speculation.fills_return_stack());
        speculation.set_policy(SpeculationPolicy { fill_return_stack: true, ..SpeculationPolicy::NONE });
        assert!(!speculation.fills_return_stack() && speculation.policy().fill_return_stack);
    }

    #[test]
    fn a_control_in_the_vmcb_is_not_switched() {
        let cpuid = |leaf, _| match CpuidLeaf(leaf) {
            CpuidLeaf::ADDRESS_SIZES => [0, (Cpuid80000008Ebx::IBRS | Cpuid80000008Ebx::STIBP).bits(), 0, 0],
            CpuidLeaf::SVM => [0, 0, 0, Cpuid8000000aEdx::SPEC_CTRL.bits()],
            _ => [0; 4],
        };
        let mut fake = Fake { control: SpecCtrl::STIBP.bits(), ..Fake::default() };
        let mut speculation = Speculation::new(Features::of(cpuid, &mut fake));
        speculation.set_policy(SpeculationPolicy::NONE);
        assert_eq!(speculation.control_for_vmcb(), Some(0));
        assert!(speculation.write(&mut fake, SpeculationMsr::Control, SpecCtrl::IBRS.bits()));
        assert!(!speculation.write(&mut fake, SpeculationMsr::Control, SpecCtrl::SSBD.bits()), "a bit that it has not");
        assert_eq!(speculation.read(SpeculationMsr::Control), SpecCtrl::IBRS.bits());
        assert_eq!(speculation.control_for_vmcb(), Some(SpecCtrl::IBRS.bits()));
        assert!(!speculation.at_edges());
        speculation.enter(&mut fake);
        speculation.leave(&mut fake);
        assert!(fake.writes.is_empty() && fake.control == SpecCtrl::STIBP.bits());
        // Without it there is nothing to put there.
        assert_eq!(Speculation::new(intel(None)).control_for_vmcb(), None);
    }

    #[test]
    fn nothing_is_touched_that_nobody_asked_for() {
        let (mut fake, mut speculation) = (Fake::default(), Speculation::new(intel(None)));
        speculation.set_policy(SpeculationPolicy::NONE);
        assert!(!speculation.at_edges());
        speculation.arrive(&mut fake, false);
        speculation.enter(&mut fake);
        speculation.leave(&mut fake);
        assert!(fake.writes.is_empty() && fake.overwritten == 0);
    }

    #[test]
    fn the_policy_is_carried_out() {
        let (mut fake, mut speculation) = (Fake::default(), Speculation::new(intel(None)));
        speculation.arrive(&mut fake, true);
        assert!(fake.writes.is_empty());
        speculation.arrive(&mut fake, false);
        speculation.enter(&mut fake);
        speculation.leave(&mut fake);
        assert_eq!(fake.writes, vec![(IA32_PRED_CMD, 1), (IA32_FLUSH_CMD, 1)]);
        assert_eq!(fake.overwritten, 1);
    }

    #[test]
    fn the_guests_control_is_added_to_the_hosts() {
        let mut fake = Fake { control: SpecCtrl::IBRS.bits(), ..Fake::default() };
        let mut speculation = Speculation::new(intel(None));
        speculation.set_policy(SpeculationPolicy::NONE);
        let control = SpeculationMsr::Control;
        assert!(speculation.write(&mut fake, control, SpecCtrl::SSBD.bits()));
        assert_eq!(fake.control, (SpecCtrl::IBRS | SpecCtrl::SSBD).bits());
        assert_eq!(speculation.read(control), SpecCtrl::SSBD.bits());
        assert!(speculation.at_edges());
        speculation.leave(&mut fake);
        assert_eq!(fake.control, SpecCtrl::IBRS.bits());
        // The host has changed its mind meanwhile.
        fake.control = 0;
        speculation.enter(&mut fake);
        assert_eq!(fake.control, SpecCtrl::SSBD.bits());
        // The guest lets go of it: the CPU has the host's again at once.
        assert!(speculation.write(&mut fake, control, 0));
        assert_eq!(fake.control, 0);
        speculation.leave(&mut fake);
        assert_eq!(fake.control, 0);
        assert!(!speculation.write(&mut fake, control, 1 << 10), "a bit that the guest does not have");
    }

    #[test]
    fn commands_are_carried_out_and_checked() {
        let (mut fake, mut speculation) = (Fake::default(), Speculation::new(intel(None)));
        assert!(speculation.write(&mut fake, SpeculationMsr::Barrier, 1));
        assert!(speculation.write(&mut fake, SpeculationMsr::Barrier, 0));
        assert!(!speculation.write(&mut fake, SpeculationMsr::Barrier, 2));
        assert!(speculation.write(&mut fake, SpeculationMsr::Flush, 1));
        assert!(!speculation.write(&mut fake, SpeculationMsr::Flush, 2));
        assert!(!speculation.write(&mut fake, SpeculationMsr::Capabilities, 0));
        assert_eq!(fake.writes, vec![(IA32_PRED_CMD, 1), (IA32_FLUSH_CMD, 1)]);
    }

    #[test]
    fn a_guest_has_the_registers_that_the_cpu_has() {
        let features = intel(Some(ArchCapabilities::RDCL_NO | ArchCapabilities::TSX_CTRL));
        assert_eq!(features.register(IA32_SPEC_CTRL, false), Some(SpeculationMsr::Control));
        assert_eq!(features.register(IA32_PRED_CMD, false), None);
        assert_eq!(features.register(IA32_PRED_CMD, true), Some(SpeculationMsr::Barrier));
        assert_eq!(features.register(IA32_ARCH_CAPABILITIES, true), None);
        assert_eq!(Features::default().register(IA32_SPEC_CTRL, false), None);
        let shown = Speculation::new(features).read(SpeculationMsr::Capabilities);
        assert_eq!(shown, (ArchCapabilities::RDCL_NO | ArchCapabilities::SKIP_L1DFL_VMENTRY).bits());
    }
}
