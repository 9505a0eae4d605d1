//! The life of a vCPU on SVM: created, set up, bound to a CPU, unbound, dropped.

use core::{marker::PhantomData, sync::atomic::Ordering};

use super::{
    asid::Asid,
    capabilities::Capabilities,
    code_page::CodePage,
    events::NmiState,
    permission_maps::{self, IoMap, MsrMap},
    run::EVERY_ENTRY,
    setup::{self, Assists},
    state::Hidden,
    vmcb::VmcbFrame,
};
#[cfg(feature = "statistics")]
use crate::statistics::{NameOf, Statistics};
#[cfg(feature = "trace")]
use crate::trace::{Trace, Vocabulary};
use crate::{
    Error, Result, VcpuConfig,
    cpu::CpuIndex,
    exit::VmExit,
    frame::{FrameSource, Framed, HostFrames},
    guest::{
        accessors::guest_accessors,
        apic::{ApicBus, ApicConfig},
        cpuid::{CpuidConfig, CpuidPolicy},
        msr::{MsrConfig, MsrPolicy, SwitchedMsrs},
        registers::{StartState, SystemRegisters},
        speculation::SpeculationPolicy,
        state::GuestState,
    },
    host::{InterruptsOff, rdmsr, set_cr2},
    spec::{
        amd::{exits::ExitCode, msrs::VM_HSAVE_PA},
        msr_policy::{AMD, AMD_PERMISSION_MAP, SVM_AT_BIND},
    },
};

/// A virtual CPU on AMD SVM.
///
/// It may be moved, and sent to another thread while it is not bound.
pub struct SvmVcpu<S: FrameSource = HostFrames> {
    pub(super) vmcb: VmcbFrame<S>,
    pub(super) guest: GuestState<S>,
    pub(super) cpuid: Framed<CpuidPolicy, S>,
    pub(super) assists: Assists,
    /// CPUID if the CPU says how long instructions are, else a code that no exit has.
    pub(super) answered_at_once: ExitCode,
    /// What `run` comes back with.
    pub(super) exit: VmExit,
    /// Where VMSAVE keeps the host's part of what VMLOAD loads.
    pub(super) host_area: VmcbFrame<S>,
    /// The VMCB before the first entry with a new state: a CPU that refuses it may overwrite it.
    pub(super) backup: VmcbFrame<S>,
    /// Whether the state is checked before each entry.
    #[cfg(feature = "doctor")]
    pub(super) strict: bool,
    /// Whether the CPU has accepted the state that was set last.
    pub(super) proven: bool,
    pub(super) io_map: IoMap<S>,
    pub(super) msr_map: MsrMap<S>,
    pub(super) msrs: SwitchedMsrs<{ SVM_AT_BIND.len() }>,
    pub(super) asid: Asid,
    /// Whether translations must be forgotten before the next entry.
    pub(super) forget: bool,
    pub(super) hidden: Hidden,
    pub(super) nmi: NmiState,
    pub(super) code_page: CodePage,
    /// The guest has met a triple fault; its state is undefined.
    pub(super) shut_down: bool,
    /// What VM_HSAVE_PA holds on the CPU that the vCPU is bound to.
    host_save_area: u64,
    /// The same if everything else is ready to run too, else what the register never holds.
    runs_with: u64,
    /// A bound vCPU belongs to its CPU; one value must not be used from two threads at a time.
    _not_sync: PhantomData<core::cell::Cell<()>>,
}

impl<S: FrameSource> SvmVcpu<S> {
    /// A vCPU in the state after reset. Needs a CPU with SVM enabled.
    ///
    /// # Errors
    /// [`Error::NoMemory`] and [`Error::NoContiguousMemory`] (nothing stays allocated), or [`Error::BadState`] when this CPU is
    /// not enabled.
    pub fn new(config: VcpuConfig) -> Result<Self> {
        CpuIndex::current()?;
        let capabilities = Capabilities::get()?;
        let rdtscp = setup::has_rdtscp();
        let msrs = MsrConfig { rules: AMD, bitmap: AMD_PERMISSION_MAP, rdtscp };
        let guest = GuestState::new(config, setup::offered_cr4(), msrs, super::tsc::RATIO)?;
        // INVPCID works in a guest as it does in the host.
        let shown = CpuidConfig {
            cr4: guest.offered.cr4,
            efer: guest.offered.efer,
            invpcid: true,
            rdtscp,
            processors: config.processors,
            ..CpuidConfig::new(config.apic_id, guest.offered.xcr0)
        };
        let cpuid = Framed::new(CpuidPolicy::new(&shown))?;
        let mut msr_map = MsrMap::alloc(u8::MAX)?;
        let assists = Assists::of(&capabilities);
        permission_maps::fill_msr_map(&mut msr_map, guest.msrs.policy(), !assists.next_rip);
        let mut vcpu = Self {
            vmcb: VmcbFrame::new()?,
            guest,
            cpuid,
            assists,
            answered_at_once: ExitCode::HOST_RESERVED,
            exit: VmExit::Interrupted,
            host_area: VmcbFrame::new()?,
            backup: VmcbFrame::new()?,
            #[cfg(feature = "doctor")]
            strict: false,
            proven: false,
            io_map: permission_maps::io_map()?,
            msr_map,
            msrs: SwitchedMsrs::new(&SVM_AT_BIND, rdtscp),
            asid: Asid::NONE,
            forget: true,
            hidden: Hidden::default(),
            nmi: NmiState::Open,
            code_page: CodePage::NONE,
            shut_down: false,
            host_save_area: 0,
            runs_with: u64::MAX,
            _not_sync: PhantomData,
        };
        vcpu.use_assists(Assists::of(&capabilities));
        vcpu.write_initial_state()?;
        Ok(vcpu)
    }

    fn use_assists(&mut self, assists: Assists) {
        self.assists = assists;
        // CPUs never report the other one.
        self.answered_at_once = if assists.next_rip { ExitCode::CPUID } else { ExitCode::HOST_RESERVED };
    }

    /// Sets the registers as a program expects them at its start.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an entry point that the mode cannot reach.
    pub fn start(&mut self, state: StartState) -> Result {
        let system = SystemRegisters::start(state)?;
        self.guest.reset();
        self.nmi = NmiState::Open;
        self.set_system(&system)
    }

    /// Changes that. It holds from the next [`run`](Self::run) on.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for the policy of another vendor's vCPU.
    pub fn set_msr_policy(&mut self, policy: MsrPolicy) -> Result {
        if !core::ptr::eq(policy.rules(), AMD) {
            return Err(Error::InvalidInput("the policy for model-specific registers is that of another vendor"));
        }
        self.guest.msrs.set_policy(policy);
        permission_maps::fill_msr_map(&mut self.msr_map, self.guest.msrs.policy(), !self.assists.next_rip);
        // The CPU may have kept parts of the map: writing its address takes the clean bit away.
        self.vmcb.set_msrpm_base_pa(self.msr_map.address());
        Ok(())
    }

    /// Sets what is done against speculation across the borders of this vCPU. SVM needs no flush of the L1 cache.
    pub fn set_speculation_policy(&mut self, policy: SpeculationPolicy) {
        self.guest.xstate.edges.set_policy(policy);
        // The next entry looks at it.
        self.vmcb.mark_dirty(EVERY_ENTRY);
    }

    /// The statistics, and the names of exits.
    #[cfg(feature = "statistics")]
    pub(crate) fn counted(&self) -> (&Statistics<S>, NameOf) {
        (&self.guest.observer.statistics, |code| ExitCode(code).name())
    }

    /// The trace, and the words for its exits.
    #[cfg(feature = "trace")]
    pub(crate) fn traced(&self) -> (&Trace<S>, &'static Vocabulary) {
        (&self.guest.observer.trace, &super::observed::VOCABULARY)
    }

    /// Gives the vCPU a local APIC, connected to those of the other vCPUs where there is a bus.
    ///
    /// # Errors
    /// [`Error::BadState`] when it has one; [`Error::NoMemory`]; [`Error::InvalidInput`] when the bus has a vCPU with this
    /// APIC id, or no room.
    pub fn add_local_apic(&mut self, config: ApicConfig, bus: Option<&ApicBus<S>>) -> Result {
        self.guest.add_local_apic(config, bus, &mut self.cpuid)
    }

    /// Binds the vCPU to the CPU that executes this. Until [`unbind`](Self::unbind) it runs here only, and the CPU's
    /// extended registers are the guest's.
    ///
    /// # Errors
    /// [`Error::BadState`] when it is bound already, when SVM is not enabled here, or when another vCPU is bound here.
    pub fn bind(&mut self) -> Result {
        if self.guest.cpu.is_some() {
            return Err(Error::BadState("the vCPU is already bound"));
        }
        let cpu = CpuIndex::current()?;
        let capabilities = Capabilities::get()?;
        let _interrupts_off = InterruptsOff::new();
        let bound = &cpu.slot().bound;
        if bound.compare_exchange(0, self.vmcb.address(), Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Err(Error::BadState("another vCPU is bound to this CPU"));
        }
        self.use_assists(Assists::of(&capabilities));
        // SAFETY: `current` says that this CPU is enabled, so it has SVM and this register.
        self.host_save_area = unsafe { rdmsr(VM_HSAVE_PA) };
        // What another CPU has cached of the VMCB is not what this one has.
        self.vmcb.mark_all_dirty();
        // While it is bound no other vCPU runs here, so its identifier stays valid.
        self.forget |= !self.asid.is_valid_on(cpu);
        self.tsc_arrives();
        self.guest.take_over(cpu);
        self.guest.xstate.load_guest();
        self.msrs.load();
        self.guest.cpu = Some(cpu);
        self.guest.cpu_tag = cpu.into();
        self.guest.bind_debug();
        // One emulator does not load it from the VMCB.
        set_cr2(self.vmcb.cr2());
        self.allow_run();
        Ok(())
    }

    /// Takes the vCPU off its CPU: afterwards it may be bound elsewhere, and the extended registers are the host's again.
    ///
    /// # Errors
    /// [`Error::BadState`] when it is not bound, or bound to another CPU.
    pub fn unbind(&mut self) -> Result {
        let _interrupts_off = InterruptsOff::new();
        let Some(cpu) = self.guest.cpu else { return Err(Error::BadState("the vCPU is not bound")) };
        if CpuIndex::current()? != cpu {
            return Err(Error::BadState("the vCPU is bound to another CPU"));
        }
        self.guest.unbind_debug();
        self.msrs.store();
        self.guest.xstate.unload_guest();
        self.tsc_leaves();
        cpu.slot().bound.store(0, Ordering::Relaxed);
        self.guest.cpu = None;
        self.guest.cancel_host_timer();
        self.allow_run();
        Ok(())
    }

    /// Whether this CPU is the one that the vCPU is bound to, and the guest has memory.
    #[inline]
    pub(super) fn check_owner(&self) -> Result<CpuIndex> {
        // Each CPU has its own host save area, so its address tells CPUs apart; and it is 0 on one that is not enabled.
        // SAFETY: there is a vCPU, so the CPUs of this machine have SVM and this register.
        let here = unsafe { rdmsr(VM_HSAVE_PA) };
        match self.guest.cpu {
            Some(cpu) if here == self.runs_with => Ok(cpu),
            _ => Err(self.why_not_to_run(here)),
        }
    }

    /// Whether this CPU is the one that the vCPU is bound to.
    pub(super) fn check_bound_here(&self) -> Result {
        let here = CpuIndex::current()?;
        if self.guest.cpu == Some(here) { Ok(()) } else { Err(Error::BadState("the vCPU is bound to another CPU")) }
    }

    #[cold]
    fn why_not_to_run(&self, here: u64) -> Error {
        Error::BadState(if self.guest.cpu.is_none() {
            "the vCPU is not bound"
        } else if here != self.host_save_area {
            "the vCPU is bound to another CPU"
        } else {
            "the vCPU has no nested page table"
        })
    }

    /// Decides with which VM_HSAVE_PA the vCPU runs.
    pub(super) fn allow_run(&mut self) {
        let ready = self.guest.cpu.is_some() && self.guest.nested_root.is_some();
        self.runs_with = if ready { self.host_save_area } else { u64::MAX };
    }

    /// After [`VmExit::NestedPageFault`]: the access that the guest's instruction makes there, for the VMM to answer as a
    /// device would.
    ///
    /// # Errors
    /// [`Error::BadState`] when the last exit was another; [`Error::NotEmulated`] when the library does not know the
    /// instruction; [`Error::Unsupported`] when a device was used as code, as a page table or as a stack for an event.
    pub fn decode_mmio(&mut self) -> Result<VmExit> {
        // The nested page table is walked meanwhile: nobody may take for granted that it is not used.
        self.guest.handle.enter_run(self.guest.cpu_tag);
        let exit = self.decode_mmio_with();
        self.guest.handle.leave_run();
        if let Ok(exit) = &exit {
            self.guest.observer.decoded(exit);
        }
        exit
    }
}

guest_accessors!(SvmVcpu);

impl<S: FrameSource> Drop for SvmVcpu<S> {
    fn drop(&mut self) {
        if self.guest.cpu.is_some() && self.unbind().is_err() {
            log::error!("a vCPU was dropped while it was bound to another CPU, which has its extended registers");
            // Give the CPU free for others all the same.
            if let Some(cpu) = self.guest.cpu {
                cpu.slot().bound.store(0, Ordering::Relaxed);
            }
        }
    }
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<SvmVcpu>();
};

impl<S: FrameSource> core::fmt::Debug for SvmVcpu<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SvmVcpu").field("cpu", &self.guest.cpu).finish_non_exhaustive()
    }
}
