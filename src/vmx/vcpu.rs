//! The life of a vCPU on VMX: created, set up, bound to a CPU, unbound, dropped.

use core::{marker::PhantomData, mem::ManuallyDrop};

use super::{
    apic_virtualization::ApicHardware, capabilities::Capabilities, entry::BeforeEntry, instructions,
    io_bitmaps::IoBitmaps, loaded::Vmcs, region::Region, setup::Controls, vpid::Vpid, world_switch::Context,
};
#[cfg(feature = "trace")]
use crate::trace::{Trace, Vocabulary};
use crate::{
    Error, Result, VcpuConfig,
    cpu::CpuIndex,
    exit::VmExit,
    frame::{FrameSource, Framed, HostFrames, PhysFrame},
    guest::{
        accessors::guest_accessors,
        apic::{ApicBus, ApicConfig},
        cpuid::{CpuidConfig, CpuidPolicy},
        msr::{MsrConfig, MsrPolicy, SwitchedMsrs},
        registers::{RegisterIndex, StartState, SystemRegisters},
        speculation::SpeculationPolicy,
        state::GuestState,
    },
    host::{self, InterruptsOff},
    spec::{
        intel::vmcs::GUEST_RSP,
        msr_policy::{INTEL, INTEL_BITMAP, VMX_AT_BIND},
        x86::registers::Cr4,
    },
};
#[cfg(feature = "statistics")]
use crate::{
    spec::intel::exits::ExitReason,
    statistics::{NameOf, Statistics},
};

/// A virtual CPU on Intel VMX.
///
/// It may be moved, and sent to another thread while it is not bound.
pub struct VmxVcpu<S: FrameSource = HostFrames> {
    pub(super) context: Context,
    pub(super) guest: GuestState<S>,
    pub(super) capabilities: &'static Capabilities,
    pub(super) controls: Controls,
    /// What the CPU does of the local APIC.
    pub(super) local_apic: ApicHardware,
    pub(super) cpuid: Framed<CpuidPolicy, S>,
    pub(super) msr_bitmap: PhysFrame<S>,
    /// The open ports; none until the VMM opens some, and the CPU needs no bitmaps.
    pub(super) io_bitmaps: Option<IoBitmaps<S>>,
    /// Dropped by hand: memory that another CPU still uses must not be given back.
    region: ManuallyDrop<Region<S>>,
    pub(super) vpid: Option<Vpid>,
    /// Where the CPU logs the pages that the guest makes dirty, if it does.
    pub(super) modification_log: Option<PhysFrame<S>>,
    /// Whether VMLAUNCH has succeeded since the last VMCLEAR.
    pub(super) launched: bool,
    /// Whether the library completed the guest's last instruction, which ends the shadow of the one before it.
    pub(super) skipped: bool,
    /// What `run` returns.
    pub(super) exit: VmExit,
    /// Whether the VMCS has its initial content.
    initialized: bool,
    /// The CPU whose translations carry this vCPU's VPID.
    pub(super) last_cpu: Option<CpuIndex>,
    /// What is to be done before the next entry.
    pub(super) before_entry: BeforeEntry,
    pub(super) host: HostState,
    pub(super) msrs: SwitchedMsrs<{ VMX_AT_BIND.len() }>,
    /// A bound vCPU belongs to its CPU; one value must not be used from two threads at a time.
    _not_sync: PhantomData<core::cell::Cell<()>>,
}

// SAFETY: the raw pointer in `Context` points into a frame that the vCPU owns, and moves with it. Everything else is
// plain data and frames. Calls on the wrong CPU are refused at run time, as `run` and `unbind` compare.
unsafe impl<S: FrameSource> Send for VmxVcpu<S> {}

/// What the host-state fields hold, to write them only when the host's registers change, and what exits clobber.
#[derive(Default)]
pub(super) struct HostState {
    pub(super) cr0: u64,
    pub(super) cr3: u64,
    pub(super) cr4: Cr4,
    pub(super) fs_base: u64,
    pub(super) gs_base: u64,
    pub(super) saved: super::setup::SavedHost,
}

impl<S: FrameSource> VmxVcpu<S> {
    /// A vCPU in the state after reset. Needs a CPU with VMX enabled.
    ///
    /// # Errors
    /// [`Error::NoMemory`] (nothing stays allocated), [`Error::MissingControls`], [`Error::OutOfTags`], or
    /// [`Error::BadState`] when no CPU is enabled.
    pub fn new(config: VcpuConfig) -> Result<Self> {
        Self::with_capabilities(config, Capabilities::get()?)
    }

    pub(super) fn with_capabilities(config: VcpuConfig, capabilities: &'static Capabilities) -> Result<Self> {
        let controls = Controls::choose(capabilities)?;
        let rdtscp = controls.rdtscp();
        let msrs = MsrConfig { rules: INTEL, bitmap: INTEL_BITMAP, rdtscp };
        let guest =
            GuestState::new(config, super::setup::offered_cr4(capabilities, &controls), msrs, super::tsc::RATIO)?;
        let shown = CpuidConfig {
            cr4: guest.offered.cr4,
            efer: guest.offered.efer,
            invpcid: controls.invpcid(),
            rdtscp,
            processors: config.processors,
            ..CpuidConfig::new(config.apic_id, guest.offered.xcr0)
        };
        let cpuid = Framed::new(CpuidPolicy::new(&shown))?;
        let mut msr_bitmap = PhysFrame::alloc()?;
        super::setup::fill_msr_bitmap(&mut msr_bitmap, guest.msrs.policy());
        let vpid = if controls.uses_vpid() { Some(Vpid::allocate()?) } else { None };
        Ok(Self {
            context: Context {
                host_rsp: 0,
                legacy_region: guest.xstate.legacy_region(),
                fills_return_stack: guest.xstate.edges.fills_return_stack(),
            },
            guest,
            capabilities,
            controls,
            local_apic: ApicHardware::default(),
            cpuid,
            msr_bitmap,
            io_bitmaps: None,
            region: ManuallyDrop::new(Region::new(capabilities)?),
            vpid,
            modification_log: None,
            launched: false,
            skipped: false,
            exit: VmExit::Nothing,
            initialized: false,
            last_cpu: None,
            before_entry: BeforeEntry::NOTHING,
            host: HostState::default(),
            msrs: SwitchedMsrs::new(&VMX_AT_BIND, rdtscp),
            _not_sync: PhantomData,
        })
    }

    /// Sets the registers as a program expects them at its start.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a state without paging on a CPU without "unrestricted guest"; [`Error::InvalidInput`] for
    /// an entry point that the mode cannot reach.
    pub fn start(&mut self, state: StartState) -> Result {
        if !self.controls.unrestricted_guest() && !matches!(state, StartState::Long { .. }) {
            return Err(Error::Unsupported("guests without paging (\"unrestricted guest\")"));
        }
        let system = SystemRegisters::start(state)?;
        self.guest.reset();
        self.set_system(&system)
    }

    /// Sets a general-purpose register, RSP included.
    pub fn set_register(&mut self, register: RegisterIndex, value: u64) {
        self.guest.registers.set(register, value);
        if register == RegisterIndex::RSP {
            let written = self.with_vmcs(|_, vmcs| {
                vmcs.write(GUEST_RSP, value);
                Ok(())
            });
            if let Err(error) = written {
                log::error!("RSP was not set: {error}");
            }
        }
    }

    /// Changes that. It holds from the next [`run`](Self::run) on.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for the policy of another vendor's vCPU.
    pub fn set_msr_policy(&mut self, policy: MsrPolicy) -> Result {
        if !core::ptr::eq(policy.rules(), INTEL) {
            return Err(Error::InvalidInput("the policy for model-specific registers is that of another vendor"));
        }
        self.guest.msrs.set_policy(policy);
        super::setup::fill_msr_bitmap(&mut self.msr_bitmap, self.guest.msrs.policy());
        self.local_apic.forget_bitmap();
        self.guest.events.wake();
        Ok(())
    }

    /// Sets what is done against speculation across the borders of this vCPU.
    pub fn set_speculation_policy(&mut self, policy: SpeculationPolicy) {
        self.guest.xstate.edges.set_policy(policy);
        self.context.fills_return_stack = self.guest.xstate.edges.fills_return_stack();
        // HOST_RIP is written with HOST_RSP, by the next entry.
        self.context.host_rsp = 0;
    }

    /// The statistics, and the names of exits.
    #[cfg(feature = "statistics")]
    pub(crate) fn counted(&self) -> (&Statistics<S>, NameOf) {
        (&self.guest.observer.statistics, |code| ExitReason(code as u16).name())
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
        self.guest.add_local_apic(config, bus, &mut self.cpuid)?;
        self.choose_apic_virtualization(config.virtualization);
        // Else they are written with all the others.
        if self.initialized {
            self.with_vmcs(|vcpu, vmcs| {
                vcpu.write_apic_fields(vmcs);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Binds the vCPU to the CPU that executes this. Until [`unbind`](Self::unbind) it runs here only, and the CPU's
    /// extended registers are the guest's.
    ///
    /// # Errors
    /// [`Error::BadState`] when it is bound already, when VMX is not enabled here, or when another vCPU is bound here.
    pub fn bind(&mut self) -> Result {
        if self.guest.cpu.is_some() {
            return Err(Error::BadState("the vCPU is already bound"));
        }
        let cpu = CpuIndex::current()?;
        let _interrupts_off = InterruptsOff::new();
        // SAFETY: `current` says that this CPU is enabled, so it is in VMX operation.
        if unsafe { instructions::vmptrst() } != u64::MAX {
            return Err(Error::BadState("another vCPU is bound to this CPU"));
        }
        // SAFETY: as above; the region is ours, and `unbind` has cleared it on the CPU that had it last.
        unsafe { instructions::vmptrld(self.region.address()) }?;
        if let Err(error) = self.prepare_for(cpu) {
            // SAFETY: this CPU is in VMX operation and the VMCS is active here.
            unsafe { instructions::vmclear(self.region.address()) }?;
            return Err(error);
        }
        self.guest.take_over(cpu);
        self.guest.xstate.load_guest();
        self.msrs.load();
        self.guest.cpu = Some(cpu);
        self.guest.cpu_tag = cpu.into();
        self.guest.bind_debug();
        Ok(())
    }

    /// With the VMCS current on `cpu`: initial content, this CPU's host state, no stale translations.
    fn prepare_for(&mut self, cpu: CpuIndex) -> Result {
        let vmcs = self.vmcs();
        self.initialize(&vmcs)?;
        self.write_host_state(&vmcs)?;
        self.tsc_arrives(&vmcs);
        if self.last_cpu != Some(cpu) {
            self.forget_tagged()?;
            self.before_entry.insert(BeforeEntry::FORGET_NESTED);
            self.last_cpu = Some(cpu);
        }
        Ok(())
    }

    fn initialize(&mut self, vmcs: &Vmcs<'_>) -> Result {
        if !self.initialized {
            self.write_initial_state(vmcs, self.vpid.as_ref().map_or(0, Vpid::number))?;
            self.initialized = true;
        }
        Ok(())
    }

    /// Takes the vCPU off its CPU: afterwards it may be bound elsewhere, and the extended registers are the host's again.
    ///
    /// # Errors
    /// [`Error::BadState`] when it is not bound, or bound to another CPU.
    pub fn unbind(&mut self) -> Result {
        let Some(cpu) = self.guest.cpu else { return Err(Error::BadState("the vCPU is not bound")) };
        if CpuIndex::current()? != cpu {
            return Err(Error::BadState("the vCPU is bound to another CPU"));
        }
        let _interrupts_off = InterruptsOff::new();
        self.msrs.store();
        self.guest.tsc.leave(host::timestamp());
        self.guest.unbind_debug();
        self.guest.xstate.unload_guest();
        // SAFETY: this CPU is in VMX operation. VMCLEAR writes cached state to the region, so that another CPU can load it.
        unsafe { instructions::vmclear(self.region.address()) }?;
        self.launched = false;
        self.guest.cpu = None;
        self.guest.cancel_host_timer();
        self.host.saved.restore();
        Ok(())
    }

    /// The physical address of the VMCS.
    pub(super) fn region_address(&self) -> u64 {
        self.region.address()
    }

    /// A handle to the VMCS, which must be current here.
    #[cfg(not(test))]
    pub(super) fn vmcs(&self) -> Vmcs<'static> {
        // SAFETY: private, and called only where this vCPU's VMCS was just made current or compared with VMPTRST, with the
        // host's interrupts off (or by the thread that the embedder keeps on this CPU). The capabilities are those that
        // every enabled CPU has.
        unsafe { Vmcs::assume_current(&self.capabilities.allowed) }
    }

    /// In the unit tests there is no current VMCS: they give their own to the handlers.
    #[cfg(test)]
    pub(super) fn vmcs(&self) -> Vmcs<'static> {
        Vmcs::with_backend(super::loaded::MapBackend::new(), &self.capabilities.allowed)
    }

    /// Whether this CPU is the one that the vCPU is bound to, and the VMCS current. The result is the CPU's CR4.
    #[inline]
    pub(super) fn check_owner(&self) -> Result<Cr4> {
        if self.guest.cpu.is_none() {
            return Err(Error::BadState("the vCPU is not bound"));
        }
        let cr4 = host::cr4();
        // VMPTRST outside VMX operation would fault, and CR4 says so at little cost.
        // SAFETY: VMXE is 1 only on CPUs that were enabled, which are in VMX operation.
        let here = cr4.contains(Cr4::VMXE) && unsafe { instructions::vmptrst() } == self.region.address();
        if here { Ok(cr4) } else { Err(Error::BadState("the vCPU is bound to another CPU")) }
    }

    /// Runs `f` with the VMCS current: the bound one, or loaded for the moment.
    pub(super) fn with_vmcs<R>(&mut self, f: impl FnOnce(&mut Self, &Vmcs<'_>) -> Result<R>) -> Result<R> {
        let _interrupts_off = InterruptsOff::new();
        if self.guest.cpu.is_some() {
            self.check_owner()?;
            let vmcs = self.vmcs();
            return f(self, &vmcs);
        }
        CpuIndex::current()?;
        // SAFETY: `current` says that this CPU is in VMX operation.
        let previous = unsafe { instructions::vmptrst() };
        // SAFETY: as above; an unbound vCPU's region is active on no CPU.
        unsafe { instructions::vmptrld(self.region.address()) }?;
        let vmcs = self.vmcs();
        let result = self.initialize(&vmcs).and_then(|()| f(self, &vmcs));
        // SAFETY: as above. Afterwards the VMCS that was current is so again.
        unsafe {
            instructions::vmclear(self.region.address())?;
            if previous != u64::MAX {
                instructions::vmptrld(previous)?;
            }
        }
        result
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
        let exit = self.with_vmcs(Self::decode_mmio_with);
        self.guest.handle.leave_run();
        if let Ok(exit) = &exit {
            self.guest.observer.decoded(exit);
        }
        exit
    }
}

guest_accessors!(VmxVcpu);

impl<S: FrameSource> Drop for VmxVcpu<S> {
    fn drop(&mut self) {
        if self.guest.cpu.is_some() && self.unbind().is_err() {
            log::error!(
                "a vCPU was dropped while it was bound to another CPU, where its VMCS is active; a frame is leaked"
            );
            return;
        }
        // SAFETY: the VMCS is active on no CPU, and this is the only place that drops the region.
        unsafe { ManuallyDrop::drop(&mut self.region) };
    }
}

impl<S: FrameSource> core::fmt::Debug for VmxVcpu<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VmxVcpu")
            .field("cpu", &self.guest.cpu)
            .field("launched", &self.launched)
            .finish_non_exhaustive()
    }
}
