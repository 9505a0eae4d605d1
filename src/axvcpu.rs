//! The adapter to ArceOS: this library's vCPUs behind `axvcpu`'s [`AxArchVCpu`] and [`AxArchPerCpu`].
//!
//! The traits say little about answers, so the habits of `axvm` are part of this contract: it answers a port read and an
//! MMIO read with [`set_gpr`](AxArchVCpu::set_gpr) of the register that the exit named, in full width, and a register read
//! with one 64-bit value. While a read waits, `set_gpr` of that register is therefore the answer: the vCPU applies the
//! width, the sign and the split over EDX:EAX. An access to unmapped guest memory is decoded and reported as an MMIO
//! access, where that is possible; else it is a nested page fault.
//!
//! | here | there |
//! |---|---|
//! | [`VmExit::MsrRead`], [`VmExit::MsrWrite`] | `SysRegRead`, `SysRegWrite`: the x2APIC's registers; others fault |
//! | [`VmExit::ExternalInterrupt`] without a vector (SVM) | `Nothing`: the host has taken the interrupt through its IDT |
//! | [`VmExit::Interrupted`], [`VmExit::TimeSlice`], [`VmExit::EndOfInterrupt`] | `Nothing` |
//! | [`VmExit::Ipi`] | `CpuUp` for a start-up message, `SendIPI` for fixed ones, one for each target; INIT: `Nothing` |
//! | [`VmExit::WaitForStartup`] | `Halt` |
//! | [`VmExit::Shutdown`] | `SystemDown` |
//! | [`VmExit::EntryFailure`] | `FailEntry`; [`last_entry_failure`](VmxArchVCpu::last_entry_failure) has the rest |
//! | [`VmExit::Unhandled`] | an error (`Unsupported`), with a log line |

use axaddrspace::{
    GuestPhysAddr, HostPhysAddr, MappingFlags,
    device::{AccessWidth, Port, SysRegAddr},
};
use axerrno::{AxError, AxResult};
use axvcpu::{AxArchPerCpu, AxArchVCpu, AxVCpuExitReason};

use crate::{
    ApicConfig, ApicDestination, ApicMessage, EntryFailure, Error, GuestRegisters, NestedFault, RegisterIndex,
    StartState, UnknownMsr, VcpuConfig, VcpuHandle, VmExit, Width, spec::x86::apic::ApicDeliveryMode,
};

/// What [`AxArchVCpu::setup`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetupConfig {
    /// The state in which the guest starts; its entry point is [`AxArchVCpu::set_entry`]'s.
    pub mode: StartMode,
    /// Whether an access to unmapped guest memory that can be decoded is reported as an MMIO access. `axvm` expects so;
    /// a VMM that populates memory on demand wants nested page faults.
    pub decode_mmio: bool,
    /// A local APIC of the library for the vCPU. It is on no bus: what it sends to other vCPUs becomes `CpuUp` and `SendIPI`.
    /// `None`: interrupt controllers are the VMM's business.
    pub local_apic: Option<ApicConfig>,
}

impl Default for SetupConfig {
    fn default() -> Self {
        Self { mode: StartMode::RealMode, decode_mmio: true, local_apic: None }
    }
}

/// The mode in which a guest starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartMode {
    /// 16-bit real mode.
    #[default]
    RealMode,
    /// 32-bit protected mode without paging.
    Protected,
    /// 64-bit mode with the level-4 table at `cr3`.
    Long {
        /// The guest-physical address of the level-4 table.
        cr3: u64,
    },
}

fn width(width: Width) -> AccessWidth {
    match width {
        Width::Byte => AccessWidth::Byte,
        Width::Word => AccessWidth::Word,
        Width::Dword => AccessWidth::Dword,
        Width::Qword => AccessWidth::Qword,
    }
}

fn nested_page_fault(fault: &NestedFault) -> AxVCpuExitReason {
    let mut access_flags = MappingFlags::empty();
    access_flags.set(MappingFlags::READ, fault.access.read);
    access_flags.set(MappingFlags::WRITE, fault.access.write);
    access_flags.set(MappingFlags::EXECUTE, fault.access.fetch);
    AxVCpuExitReason::NestedPageFault { addr: GuestPhysAddr::from(fault.gpa as usize), access_flags }
}

/// A message for all other vCPUs.
fn to_others(message: ApicMessage) -> AxVCpuExitReason {
    match message.delivery {
        ApicDeliveryMode::FIXED => AxVCpuExitReason::SendIPI {
            target_cpu: 0,
            target_cpu_aux: 0,
            send_to_all: true,
            send_to_self: false,
            vector: message.vector.into(),
        },
        _ => not_sent(message).unwrap_or(AxVCpuExitReason::Nothing),
    }
}

/// INIT needs no word of its own: the vCPU that a start-up message starts has not run. For the others there is none.
fn not_sent(message: ApicMessage) -> Option<AxVCpuExitReason> {
    if message.delivery != ApicDeliveryMode::INIT {
        log::warn!("x86_vcpu: axvcpu has no word for {message:?}");
    }
    None
}

/// Keeps the detail that an `AxError` cannot carry in the log.
fn error(error: Error) -> AxError {
    log::warn!("x86_vcpu: {error}");
    error.into()
}

/// What the adapter remembers of a vCPU, whichever kind it is.
#[derive(Debug, Default)]
struct Adapter {
    entry: Option<u64>,
    decode_mmio: bool,
    /// The register that the waiting read named; `set_gpr` of it is the answer.
    awaited: Option<usize>,
    last_entry_failure: Option<EntryFailure>,
    /// The vCPUs that still get the interprocessor interrupt.
    targets: Targets,
}

/// Those for whom a message is that is sent to several.
#[derive(Clone, Copy, Debug, Default)]
struct Targets {
    message: Option<ApicMessage>,
    /// The first APIC id of the group.
    first: u32,
    /// A bit for each member of it.
    members: u32,
}

impl Adapter {
    fn start_state(&self, mode: StartMode) -> AxResult<StartState> {
        let entry = self.entry.ok_or(AxError::BadState)?;
        Ok(match mode {
            StartMode::RealMode => StartState::RealMode { entry },
            StartMode::Protected => {
                StartState::Protected { entry: u32::try_from(entry).map_err(|_| AxError::InvalidInput)? }
            }
            StartMode::Long { cr3 } => StartState::Long { entry, cr3 },
        })
    }

    /// A message of a local APIC that is on no bus. `axvcpu` names one target at a time, so a logical destination is one exit
    /// after the other: in x2APIC mode its bits are APIC ids by their definition, in xAPIC mode as every system sets them up.
    fn ipi(&mut self, message: ApicMessage) -> AxVCpuExitReason {
        let (first, members) = match message.destination {
            ApicDestination::Logical(mask) => (mask >> 16 << 4, mask & u32::from(u16::MAX)),
            ApicDestination::Physical(id) => (id, 1),
            ApicDestination::All | ApicDestination::Others => return to_others(message),
        };
        self.targets = Targets { message: Some(message), first, members };
        self.next_target().unwrap_or(AxVCpuExitReason::Nothing)
    }

    /// The next one of those for whom a message is.
    fn next_target(&mut self) -> Option<AxVCpuExitReason> {
        let targets = &mut self.targets;
        let message = targets.message?;
        if targets.members == 0 {
            targets.message = None;
            return None;
        }
        let target = u64::from(targets.first) + u64::from(targets.members.trailing_zeros());
        targets.members &= targets.members - 1;
        match message.delivery {
            ApicDeliveryMode::START_UP => Some(AxVCpuExitReason::CpuUp {
                target_cpu: target,
                entry_point: GuestPhysAddr::from(usize::from(message.vector) << 12),
                arg: 0,
            }),
            ApicDeliveryMode::FIXED | ApicDeliveryMode::LOWEST_PRIORITY => {
                if message.delivery == ApicDeliveryMode::LOWEST_PRIORITY {
                    // One of them gets it.
                    targets.members = 0;
                }
                Some(AxVCpuExitReason::SendIPI {
                    target_cpu: target,
                    target_cpu_aux: 0,
                    send_to_all: false,
                    send_to_self: false,
                    vector: message.vector.into(),
                })
            }
            _ => {
                targets.message = None;
                not_sent(message)
            }
        }
    }

    /// A vCPU's exit in the framework's words.
    fn translate(&mut self, exit: VmExit, registers: &GuestRegisters) -> AxResult<AxVCpuExitReason> {
        Ok(match exit {
            VmExit::IoRead { port, width: w } => {
                self.awaited = Some(RegisterIndex::RAX.number());
                AxVCpuExitReason::IoRead { port: Port(port), width: width(w) }
            }
            VmExit::IoWrite { port, width: w, data } => {
                AxVCpuExitReason::IoWrite { port: Port(port), width: width(w), data: data.into() }
            }
            VmExit::MsrRead { msr } => {
                let reg = RegisterIndex::RAX.number();
                self.awaited = Some(reg);
                AxVCpuExitReason::SysRegRead { addr: SysRegAddr(msr as usize), reg }
            }
            VmExit::MsrWrite { msr, value } => AxVCpuExitReason::SysRegWrite { addr: SysRegAddr(msr as usize), value },
            VmExit::MmioRead { gpa, width: w, register, register_width, sign_extend } => {
                let reg = register.unwrap_or(RegisterIndex::RAX).number();
                self.awaited = Some(reg);
                AxVCpuExitReason::MmioRead {
                    addr: GuestPhysAddr::from(gpa as usize),
                    width: width(w),
                    reg,
                    reg_width: width(register_width),
                    signed_ext: sign_extend,
                }
            }
            VmExit::MmioWrite { gpa, width: w, data } => {
                AxVCpuExitReason::MmioWrite { addr: GuestPhysAddr::from(gpa as usize), width: width(w), data }
            }
            VmExit::NestedPageFault(fault) => nested_page_fault(&fault),
            VmExit::Hypercall { nr } => AxVCpuExitReason::Hypercall { nr, args: registers.hypercall_arguments() },
            VmExit::Halt | VmExit::WaitForStartup => AxVCpuExitReason::Halt,
            VmExit::TimeSlice | VmExit::EndOfInterrupt { .. } => AxVCpuExitReason::Nothing,
            VmExit::Ipi(message) => self.ipi(message),
            VmExit::ExternalInterrupt { vector: Some(vector) } => {
                AxVCpuExitReason::ExternalInterrupt { vector: vector.into() }
            }
            VmExit::ExternalInterrupt { vector: None }
            | VmExit::Interrupted
            | VmExit::InterruptWindow
            | VmExit::Nothing => AxVCpuExitReason::Nothing,
            VmExit::Shutdown => AxVCpuExitReason::SystemDown,
            VmExit::EntryFailure(failure) => {
                self.last_entry_failure = Some(failure);
                let code = if failure.code() != 0 { failure.code() } else { failure.instruction_error().into() };
                AxVCpuExitReason::FailEntry { hardware_entry_failure_reason: code }
            }
            VmExit::NestedMisconfiguration(what) => {
                log::error!("x86_vcpu: {what}");
                return Err(AxError::BadState);
            }
            VmExit::Unhandled(what) => {
                log::warn!("x86_vcpu: no answer to {what:?}");
                return Err(AxError::Unsupported);
            }
        })
    }
}

/// The two types that a vendor gives to the framework.
macro_rules! adapt {
    ($(#[$doc:meta])* $vcpu:ident over $inner:ty; $(#[$cpu_doc:meta])* $cpu:ident over $inner_cpu:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $vcpu {
            inner: $inner,
            adapter: Adapter,
        }

        impl $vcpu {
            /// The handle with which other CPUs reach this vCPU.
            pub fn handle(&self) -> VcpuHandle {
                self.inner.handle()
            }

            /// What the last failed VM entry said; `FailEntry` carries a part of it.
            pub fn last_entry_failure(&self) -> Option<EntryFailure> {
                self.adapter.last_entry_failure
            }

            /// The vCPU of the library, for what the framework's traits do not offer.
            pub fn inner(&self) -> &$inner {
                &self.inner
            }

            /// The vCPU of the library, for what the framework's traits do not offer.
            pub fn inner_mut(&mut self) -> &mut $inner {
                &mut self.inner
            }

            fn next_exit(&mut self) -> crate::Result<VmExit> {
                self.adapter.awaited = None;
                loop {
                    match self.inner.run()? {
                        VmExit::NestedPageFault(fault) if self.adapter.decode_mmio && !fault.present => {
                            match self.decode_mmio(fault) {
                                // The guest got an exception, or executes the instruction again.
                                VmExit::Nothing => {}
                                exit => return Ok(exit),
                            }
                        }
                        exit => return Ok(exit),
                    }
                }
            }

            /// The access to a device. What cannot be decoded, as a fetch, is the VMM's as it is.
            fn decode_mmio(&mut self, mut fault: NestedFault) -> VmExit {
                // An instruction accesses four pages at most.
                for _ in 0..4 {
                    match self.inner.decode_mmio() {
                        // Another page of the same instruction, which is a device too.
                        Ok(VmExit::NestedPageFault(other)) if !other.present && !other.table_walk => fault = other,
                        Ok(exit) => return exit,
                        Err(error) => {
                            if let Error::NotEmulated(_) = error {
                                log::warn!("x86_vcpu: {error}");
                            }
                            break;
                        }
                    }
                }
                VmExit::NestedPageFault(fault)
            }
        }

        impl AxArchVCpu for $vcpu {
            type CreateConfig = ();
            type SetupConfig = SetupConfig;

            fn new(_vm_id: usize, vcpu_id: usize, (): ()) -> AxResult<Self> {
                let config = VcpuConfig {
                    apic_id: u32::try_from(vcpu_id).map_err(|_| AxError::InvalidInput)?,
                    // How many vCPUs the VM has is not said here: to its guest each is a package of its own.
                    processors: 1,
                    unknown_msrs: UnknownMsr::Fault,
                    x2apic_msrs_to_vmm: true,
                    #[cfg(feature = "trace")]
                    trace_exits: VcpuConfig::new(0).trace_exits,
                };
                Ok(Self { inner: <$inner>::new(config).map_err(error)?, adapter: Adapter::default() })
            }

            fn set_entry(&mut self, entry: GuestPhysAddr) -> AxResult {
                self.adapter.entry = Some(entry.as_usize() as u64);
                Ok(())
            }

            fn set_ept_root(&mut self, ept_root: HostPhysAddr) -> AxResult {
                // SAFETY: `axvcpu` gives the root of the VM's page table, which the VM keeps as long as its vCPUs. Its entries
                // may change between runs: `bind` makes the CPU forget what it derived from them.
                unsafe { self.inner.set_nested_root(ept_root) }.map_err(error)
            }

            fn setup(&mut self, config: SetupConfig) -> AxResult {
                self.adapter.decode_mmio = config.decode_mmio;
                if let Some(apic) = config.local_apic {
                    self.inner.add_local_apic(apic, None).map_err(error)?;
                }
                self.inner.start(self.adapter.start_state(config.mode)?).map_err(error)
            }

            fn run(&mut self) -> AxResult<AxVCpuExitReason> {
                if let Some(exit) = self.adapter.next_target() {
                    return Ok(exit);
                }
                let exit = self.next_exit().map_err(error)?;
                // A message for everybody is for the sender too, and the framework knows only the others.
                if let VmExit::Ipi(message) = exit
                    && message.destination == ApicDestination::All
                    && message.delivery == ApicDeliveryMode::FIXED
                {
                    self.inner.inject_interrupt(message.vector);
                }
                self.adapter.translate(exit, self.inner.registers())
            }

            fn bind(&mut self) -> AxResult {
                // The framework changes its page tables without telling: what the CPU derived from them may be stale.
                self.inner.forget_nested_translations();
                self.inner.bind().map_err(error)
            }

            fn unbind(&mut self) -> AxResult {
                self.inner.unbind().map_err(error)
            }

            fn set_gpr(&mut self, reg: usize, val: usize) {
                if self.adapter.awaited == Some(reg) {
                    self.adapter.awaited = None;
                    if self.inner.complete_read(val as u64).is_ok() {
                        return;
                    }
                }
                self.inner.set_register(RegisterIndex::new(reg as u8), val as u64);
            }

            fn inject_interrupt(&mut self, vector: usize) -> AxResult {
                self.inner.inject_interrupt(u8::try_from(vector).map_err(|_| AxError::InvalidInput)?);
                Ok(())
            }

            fn set_return_value(&mut self, val: usize) {
                self.inner.set_return_value(val as u64);
            }
        }

        $(#[$cpu_doc])*
        #[derive(Debug)]
        pub struct $cpu($inner_cpu);

        impl AxArchPerCpu for $cpu {
            fn new(cpu_id: usize) -> AxResult<Self> {
                Ok(Self(<$inner_cpu>::new(cpu_id)))
            }

            fn is_enabled(&self) -> bool {
                self.0.is_enabled()
            }

            fn hardware_enable(&mut self) -> AxResult {
                self.0.enable().map_err(error)
            }

            fn hardware_disable(&mut self) -> AxResult {
                self.0.disable().map_err(error)
            }
        }
    };
}

#[cfg(feature = "vmx")]
adapt! {
    /// A vCPU on Intel VMX for `axvcpu`.
    VmxArchVCpu over crate::vmx::VmxVcpu;
    /// A CPU's VMX for `axvcpu`.
    VmxArchPerCpuState over crate::vmx::VmxPerCpu
}

#[cfg(feature = "amd")]
adapt! {
    /// A vCPU on AMD SVM for `axvcpu`. Its nested page table has the format of AMD64 page tables, not of EPT.
    SvmArchVCpu over crate::svm::SvmVcpu;
    /// A CPU's SVM for `axvcpu`.
    SvmArchPerCpuState over crate::svm::SvmPerCpu
}

adapt! {
    /// A vCPU for `axvcpu` on whichever virtualization the machine has.
    X86ArchVCpu over crate::Vcpu;
    /// A CPU's virtualization for `axvcpu`, whichever it has.
    X86ArchPerCpuState over crate::PerCpu
}

#[cfg(test)]
mod tests;
