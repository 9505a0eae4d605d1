//! The virtual CPU that an embedder sees: VMX's or SVM's, chosen when it is made.

use core::ops::RangeInclusive;
use memory_addr::PhysAddr;

#[cfg(feature = "statistics")]
use crate::ExitStatistics;
#[cfg(feature = "trace")]
use crate::TraceEntry;
#[cfg(feature = "doctor")]
use crate::entry::Violations;
#[cfg(feature = "amd")]
use crate::svm::SvmVcpu;
#[cfg(feature = "vmx")]
use crate::vmx::VmxVcpu;
use crate::{
    ApicBus, ApicConfig, Dump, Error, Event, FrameSource, GuestRegisters, HostFrames, LocalInterrupt, MsrPolicy,
    NestedFaultDetails, RegisterIndex, Result, SpeculationPolicy, StartState, State, SystemRegisters, VcpuConfig,
    VcpuHandle, VmExit,
    guest::cpuid::CpuidPolicy,
    nested::{DirtyLog, NestedTable},
};

/// A virtual CPU, on the virtualization that this machine has.
///
/// It may be moved, and sent to another thread while it is not bound to a CPU.
///
/// ```no_run
/// # fn devices(exit: x86_vcpu::VmExit, vcpu: &mut x86_vcpu::Vcpu) -> bool { false }
/// # fn main() -> x86_vcpu::Result {
/// use x86_vcpu::{PerCpu, StartState, Vcpu, VcpuConfig, nested::NestedTable};
///
/// let mut cpu: PerCpu = PerCpu::new(0);
/// cpu.enable()?;
///
/// let table: NestedTable = NestedTable::new(cpu.nested_format()?)?;
/// // … map guest memory …
/// let mut vcpu: Vcpu = Vcpu::new(VcpuConfig::new(0))?;
/// // SAFETY: the table has the CPU's format, maps nothing but the guest's memory, and outlives the vCPU.
/// unsafe { vcpu.set_nested_root(table.root()) }?;
/// vcpu.start(StartState::RealMode { entry: 0x7c00 })?;
/// vcpu.bind()?;
/// while devices(vcpu.run()?, &mut vcpu) {}
/// vcpu.unbind()
/// # }
/// ```
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a machine has one kind; the other variant never exists beside it")]
pub enum Vcpu<S: FrameSource = HostFrames> {
    /// On Intel VMX.
    #[cfg(feature = "vmx")]
    Vmx(VmxVcpu<S>),
    /// On AMD SVM.
    #[cfg(feature = "amd")]
    Svm(SvmVcpu<S>),
}

/// The same method of whichever it is.
macro_rules! each {
    ($self:expr, $vcpu:ident => $call:expr) => {
        match $self {
            #[cfg(feature = "vmx")]
            Self::Vmx($vcpu) => $call,
            #[cfg(feature = "amd")]
            Self::Svm($vcpu) => $call,
        }
    };
}

impl<S: FrameSource> Vcpu<S> {
    /// A vCPU in the state after reset. A CPU must have been enabled.
    ///
    /// # Errors
    /// [`Error::NoMemory`] (nothing stays allocated), [`Error::Unsupported`] and [`Error::MissingControls`] name what the
    /// CPU lacks, [`Error::BadState`] when no CPU is enabled.
    pub fn new(config: VcpuConfig) -> Result<Self> {
        #[cfg(feature = "vmx")]
        if crate::vmx::has_hardware_support() {
            return VmxVcpu::new(config).map(Self::Vmx);
        }
        #[cfg(feature = "amd")]
        if crate::svm::has_hardware_support() {
            return SvmVcpu::new(config).map(Self::Svm);
        }
        let _ = config;
        Err(Error::Unsupported("hardware virtualization of the kinds that this build has"))
    }

    /// A vCPU with a local APIC on a bus, as [`add_local_apic`](Self::add_local_apic) makes it of another one.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`add_local_apic`](Self::add_local_apic).
    pub fn with_local_apic(config: VcpuConfig, bus: &ApicBus<S>) -> Result<Self> {
        let mut vcpu = Self::new(config)?;
        vcpu.add_local_apic(ApicConfig::new(), Some(bus))?;
        Ok(vcpu)
    }

    /// Gives the vCPU a local APIC, before it runs. Without a bus it tells the VMM of every message that it sends
    /// ([`VmExit::Ipi`]).
    ///
    /// The vCPU with APIC id 0 is the bootstrap processor. Others wait for a start-up message then
    /// ([`VmExit::WaitForStartup`]), unless [`start`](Self::start) starts them.
    ///
    /// # Errors
    /// [`Error::BadState`] when it has one; [`Error::NoMemory`]; [`Error::InvalidInput`] when the bus has a vCPU with this
    /// APIC id, or no room.
    pub fn add_local_apic(&mut self, config: ApicConfig, bus: Option<&ApicBus<S>>) -> Result {
        each!(self, vcpu => vcpu.add_local_apic(config, bus))
    }

    /// The handle with which other CPUs reach this vCPU.
    pub fn handle(&self) -> VcpuHandle<S> {
        each!(self, vcpu => vcpu.handle())
    }

    /// Sets the root of the nested page table (EPT or NPT): the physical address of its level-4 table.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it is not aligned to 4 KiB.
    ///
    /// # Safety
    /// The root is that of a table in the format of this virtualization, whose frames and the memory that it maps can be
    /// reached through [`PhysFrameIf::phys_to_virt`](crate::PhysFrameIf::phys_to_virt) (devices, mapped uncacheable, need
    /// not be). They stay allocated until another root is set or the vCPU is dropped, or until
    /// [`forget_nested_translations`](Self::forget_nested_translations) after an entry was removed. What is mapped is the
    /// guest's to change.
    pub unsafe fn set_nested_root(&mut self, root: PhysAddr) -> Result {
        // SAFETY: the caller's promise.
        each!(self, vcpu => unsafe { vcpu.set_nested_root(root) })
    }

    /// Uses a nested page table, with what this CPU can do in it: where it sets accessed and dirty flags, it will.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it has the other vendor's format.
    ///
    /// # Safety
    /// As for [`set_nested_root`](Self::set_nested_root). The table stays until another root is set or the vCPU is dropped.
    pub unsafe fn set_nested_table(&mut self, table: &NestedTable<S>) -> Result {
        // SAFETY: the caller's promise.
        each!(self, vcpu => unsafe { vcpu.set_nested_table(table) })
    }

    /// Marks what the guest writes in this log, or in none any more. Every vCPU that uses the table has to do so before
    /// [`start_dirty_log`](NestedTable::start_dirty_log), and may stop only after
    /// [`stop_dirty_log`](NestedTable::stop_dirty_log).
    ///
    /// # Errors
    /// [`Error::Unsupported`] when this CPU cannot log in the way that the log is made for; [`Error::BadState`] when that needs
    /// [`set_nested_table`](Self::set_nested_table) before, and when the vCPU is bound to another CPU; [`Error::NoMemory`].
    pub fn set_dirty_log(&mut self, log: Option<&DirtyLog<S>>) -> Result {
        each!(self, vcpu => vcpu.set_dirty_log(log))
    }

    /// What the CPU said of the access of the last [`VmExit::NestedPageFault`] beside what the exit has.
    ///
    /// # Errors
    /// [`Error::BadState`] when the last exit was another, or this CPU is not the one that the vCPU is bound to.
    pub fn nested_fault_details(&mut self) -> Result<NestedFaultDetails> {
        each!(self, vcpu => vcpu.nested_fault_details())
    }

    /// Tells that entries of the nested page table were removed or lost permissions: before the next entry the CPU forgets
    /// what it derived from them. Adding entries needs no call. For vCPUs that may be running, on other CPUs:
    /// [`VcpuHandle::forget_nested_translations`].
    pub fn forget_nested_translations(&mut self) {
        each!(self, vcpu => vcpu.forget_nested_translations());
    }

    /// Sets the registers as a program expects them at its start.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a mode that this CPU cannot run a guest in; [`Error::InvalidInput`] for an entry point
    /// that the mode cannot reach.
    pub fn start(&mut self, state: StartState) -> Result {
        each!(self, vcpu => vcpu.start(state))
    }

    /// The guest's general-purpose registers. RSP is up to date in [`system`](Self::system) only.
    pub fn registers(&self) -> &GuestRegisters {
        each!(self, vcpu => vcpu.registers())
    }

    /// The guest's general-purpose registers, to change them.
    pub fn registers_mut(&mut self) -> &mut GuestRegisters {
        each!(self, vcpu => vcpu.registers_mut())
    }

    /// Sets a general-purpose register, RSP included.
    pub fn set_register(&mut self, register: RegisterIndex, value: u64) {
        each!(self, vcpu => vcpu.set_register(register, value));
    }

    /// The guest's segment registers, control registers, tables, RFLAGS, RIP and RSP. While the VMM answers an exit, RIP
    /// is still at the instruction that exited.
    ///
    /// # Errors
    /// [`Error::BadState`] when this CPU is not enabled, or the vCPU is bound to another.
    pub fn system(&mut self) -> Result<SystemRegisters> {
        each!(self, vcpu => vcpu.system())
    }

    /// Sets them. Values that the CPU does not accept make the next entry fail: [`VmExit::EntryFailure`].
    ///
    /// # Errors
    /// As [`system`](Self::system).
    pub fn set_system(&mut self, system: &SystemRegisters) -> Result {
        each!(self, vcpu => vcpu.set_system(system))
    }

    /// The whole architectural state, of a vCPU that is bound here or not at all. The vCPU itself goes on as if it had not been
    /// asked.
    ///
    /// An exit that waits for the VMM's answer ([`VmExit::IoRead`], [`VmExit::MsrRead`], [`VmExit::MmioRead`],
    /// [`VmExit::NestedPageFault`]) is not part of it: whoever goes on from the state is asked again. What was answered, and what
    /// needs no answer, is done in it.
    ///
    /// # Errors
    /// [`Error::BadState`] while an instruction is half done: one that accesses devices several times (INS, OUTS, and most
    /// instructions at devices in memory but plain moves), of which the VMM has answered a part. It says what to do. Also
    /// when this CPU is not enabled, or the vCPU is bound to another.
    pub fn save(&mut self) -> Result<State> {
        each!(self, vcpu => vcpu.save())
    }

    /// The same, into memory that the caller has: a state takes some KiB.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn save_to(&mut self, to: &mut State) -> Result {
        each!(self, vcpu => vcpu.save_to(to))
    }

    /// Makes the vCPU go on from a state, whichever vendor's CPU saved it. It may be bound here, or not at all, new or used.
    ///
    /// The time-stamp counter goes on from where it was saved, and so does the local APIC's timer: what passed between is not
    /// noticed, unless the VMM has changed [`State::time`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] and [`Error::InvalidInput`] name the first thing that does not fit this CPU, or what the vCPU
    /// offers its guest, and the vCPU is unchanged then. [`Error::BadState`] as for [`save`](Self::save), or when VMX has to
    /// read the PDPTEs of a guest that SVM saved, and the guest's memory is not there.
    pub fn restore(&mut self, from: &State) -> Result {
        each!(self, vcpu => vcpu.restore(from))
    }

    /// The guest's time-stamp counter as it is now.
    pub fn tsc(&self) -> u64 {
        each!(self, vcpu => vcpu.tsc())
    }

    /// What the CPU adds to its time-stamp counter for the guest. The guest changes it by writing IA32_TSC and IA32_TSC_ADJUST.
    pub fn tsc_offset(&self) -> u64 {
        each!(self, vcpu => vcpu.tsc_offset())
    }

    /// Sets what the CPU adds to its time-stamp counter (after scaling) for the guest; 0 when the vCPU is made.
    /// IA32_TSC_ADJUST stays as it is.
    ///
    /// # Errors
    /// [`Error::BadState`] when this CPU is not enabled, or the vCPU is bound to another.
    pub fn set_tsc_offset(&mut self, offset: u64) -> Result {
        each!(self, vcpu => vcpu.set_tsc_offset(offset))
    }

    /// Makes the guest's time-stamp counter run at `guest` while the host's runs at `host`, both in the same unit, for instance
    /// Hz. It goes on from where it is. Where they differ, leaves 15H and 16H of the guest's CPUID tell no frequencies any more;
    /// a VMM that knows them may set them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when they differ and the CPU has no TSC scaling, [`Error::InvalidInput`] when the ratio cannot be
    /// expressed, [`Error::BadState`] when this CPU is not enabled, or the vCPU is bound.
    pub fn set_tsc_frequency(&mut self, guest: u64, host: u64) -> Result {
        each!(self, vcpu => vcpu.set_tsc_frequency(guest, host))
    }

    /// What becomes of the guest's accesses to model-specific registers.
    pub fn msr_policy(&self) -> &MsrPolicy {
        each!(self, vcpu => vcpu.msr_policy())
    }

    /// Changes that, before or after [`bind`](Self::bind). It holds from the next [`run`](Self::run) on.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for the policy of another vendor's vCPU.
    pub fn set_msr_policy(&mut self, policy: MsrPolicy) -> Result {
        each!(self, vcpu => vcpu.set_msr_policy(policy))
    }

    /// Lets the guest reach these ports of the host without an exit; without a call of this every access to a port exits. An
    /// access that touches another port too exits.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the CPU has no I/O bitmaps, [`Error::NoMemory`], and those of [`system`](Self::system).
    ///
    /// # Safety
    /// Nothing that can be done to the devices at these ports harms the host: they read and write no memory but the guest's,
    /// and reset nothing.
    pub unsafe fn pass_ports_through(&mut self, ports: RangeInclusive<u16>) -> Result {
        // SAFETY: the caller's promise.
        each!(self, vcpu => unsafe { vcpu.pass_ports_through(ports) })
    }

    /// Makes accesses to these ports exit again.
    pub fn intercept_ports(&mut self, ports: RangeInclusive<u16>) {
        each!(self, vcpu => vcpu.intercept_ports(ports));
    }

    /// What is done against speculation across the borders of this vCPU. When it is made:
    /// [`SpeculationPolicy::for_this_cpu`](crate::SpeculationPolicy::for_this_cpu).
    pub fn speculation_policy(&self) -> SpeculationPolicy {
        each!(self, vcpu => vcpu.speculation_policy())
    }

    /// Sets what is done against speculation across the borders of this vCPU.
    pub fn set_speculation_policy(&mut self, policy: SpeculationPolicy) {
        each!(self, vcpu => vcpu.set_speculation_policy(policy));
    }

    /// The policy that answers the guest's CPUID.
    pub fn cpuid(&self) -> &CpuidPolicy {
        each!(self, vcpu => vcpu.cpuid())
    }

    /// The policy that answers the guest's CPUID, to change it.
    pub fn cpuid_mut(&mut self) -> &mut CpuidPolicy {
        each!(self, vcpu => vcpu.cpuid_mut())
    }

    /// Binds the vCPU to the CPU that executes this; until [`unbind`](Self::unbind) it runs here only.
    ///
    /// # Errors
    /// [`Error::BadState`] when it is bound already, when this CPU is not enabled, or when another vCPU is bound here.
    pub fn bind(&mut self) -> Result {
        each!(self, vcpu => vcpu.bind())
    }

    /// Takes the vCPU off its CPU; it may then be bound elsewhere.
    ///
    /// # Errors
    /// [`Error::BadState`] when it is not bound, or bound to another CPU.
    pub fn unbind(&mut self) -> Result {
        each!(self, vcpu => vcpu.unbind())
    }

    /// Runs the guest until the VMM has to do something. Host interrupts are off inside, and as before afterwards.
    ///
    /// # Errors
    /// [`Error::BadState`] when the vCPU is not bound to this CPU.
    #[cfg_attr(any(feature = "replay", feature = "statistics", feature = "trace"), inline)]
    pub fn run(&mut self) -> Result<VmExit> {
        each!(self, vcpu => vcpu.run())
    }

    /// Everything that is in the VMCS or VMCB, and what the CPU can do: to be printed, compared with a later one, and read by
    /// `cargo spec doctor`. It has 3 KiB.
    ///
    /// # Errors
    /// As [`system`](Self::system).
    pub fn dump(&mut self) -> Result<Dump> {
        each!(self, vcpu => vcpu.dump())
    }

    /// Which rules of the manual for VM entries the state breaks that the vCPU would be entered with, in the order in which the CPU
    /// checks them. Some have no consequence, or one that the manual leaves open:
    /// [`severity`](crate::entry::EntryCheck::severity).
    ///
    /// It is the state as it is now: what the next [`run`](Self::run) writes before it enters, such as an event that it injects,
    /// is not there yet, and after a failed entry no longer.
    ///
    /// # Errors
    /// VMX: [`Error::BadState`] when the vCPU is not bound to this CPU.
    #[cfg(feature = "doctor")]
    pub fn check_entry(&self) -> Result<Violations<'_>> {
        each!(self, vcpu => vcpu.check_entry())
    }

    /// Checks the state before each entry, from now on or no longer: one that breaks a rule of the manual is not entered, and
    /// [`run`](Self::run) comes back with [`VmExit::EntryFailure`] and what the CPU would have said. An entry takes several
    /// hundred times as long then; it costs nothing when off.
    #[cfg(feature = "doctor")]
    pub fn set_strict_entry(&mut self, strict: bool) {
        each!(self, vcpu => vcpu.set_strict_entry(strict));
    }

    /// The VMM's value for [`VmExit::IoRead`], [`VmExit::MsrRead`] or [`VmExit::MmioRead`].
    ///
    /// # Errors
    /// [`Error::BadState`] when no read waits.
    pub fn complete_read(&mut self, value: u64) -> Result {
        each!(self, vcpu => vcpu.complete_read(value))
    }

    /// The VMM refuses the access of [`VmExit::MsrRead`] or [`VmExit::MsrWrite`]: the guest gets #GP(0).
    ///
    /// # Errors
    /// [`Error::BadState`] when no such access waits.
    pub fn reject(&mut self) -> Result {
        each!(self, vcpu => vcpu.reject())
    }

    /// After [`VmExit::NestedPageFault`]: the access that the guest's instruction makes there, as
    /// [`VmExit::MmioRead`] or [`VmExit::MmioWrite`], for the VMM to answer as a device would.
    ///
    /// Where the instruction accesses another page too that the nested page table does not allow, the answer is a
    /// [`VmExit::NestedPageFault`] of that page: the VMM maps it and runs again, or, when it is a device as well, calls this
    /// again. [`VmExit::Nothing`]: the guest gets an exception, or executes the instruction again, with the next run.
    ///
    /// # Errors
    /// [`Error::BadState`] when the last exit was another; [`Error::NotEmulated`] when the library does not know the
    /// instruction; [`Error::Unsupported`] when a device was used as code, as a page table or as a stack for an event.
    pub fn decode_mmio(&mut self) -> Result<VmExit> {
        each!(self, vcpu => vcpu.decode_mmio())
    }

    /// The arguments of a hypercall: RDI, RSI, RDX, RCX, R8, R9.
    pub fn hypercall_arguments(&self) -> [u64; 6] {
        self.registers().hypercall_arguments()
    }

    /// Sets RAX, where a hypercall's result is expected.
    pub fn set_return_value(&mut self, value: u64) {
        each!(self, vcpu => vcpu.set_return_value(value));
    }

    /// Makes an external interrupt pending. Other CPUs use [`VcpuHandle::inject_interrupt`].
    ///
    /// It waits for RFLAGS.IF and for a CR8 (task priority) below its priority class. As the answer to
    /// [`VmExit::InterruptWindow`], before the next run, it is delivered at once, whatever CR8 says: so the VMM's own
    /// interrupt controller may be one that CR8 has no influence on.
    pub fn inject_interrupt(&mut self, vector: u8) {
        each!(self, vcpu => vcpu.inject_interrupt(vector));
    }

    /// Makes a run come back with [`VmExit::InterruptWindow`] as soon as the guest can take an external interrupt
    /// (RFLAGS.IF is 1, and no STI or MOV SS comes just before): for a VMM with an interrupt controller of its own, which
    /// is acknowledged only then. The request is good for one exit.
    pub fn request_interrupt_window(&mut self) {
        each!(self, vcpu => vcpu.request_interrupt_window());
    }

    /// How many exits accesses to the local APIC were the reason of, for statistics: those that the CPU answered itself are
    /// not among them. Counts from the vCPU's creation, and wraps.
    pub fn local_apic_exits(&self) -> u64 {
        each!(self, vcpu => vcpu.local_apic_exits())
    }

    /// The host's time-stamp counter when the guest's local APIC timer is due, if it is armed: a VMM that lets a halted vCPU
    /// wait comes back then.
    pub fn timer_deadline(&self) -> Option<u64> {
        each!(self, vcpu => vcpu.timer_deadline())
    }

    /// Makes a run come back with [`VmExit::TimeSlice`] when the host's time-stamp counter reaches `end`. The CPU itself sees
    /// to it where it has a timer for that (the VMX-preemption timer), else the host:
    /// [`VcpuHost::set_timer`](crate::VcpuHost::set_timer) of the vCPU's [bus](ApicBus). Without either it is noticed at the next exit.
    pub fn set_time_slice(&mut self, end: Option<u64>) {
        each!(self, vcpu => vcpu.set_time_slice(end));
    }

    /// Whether the vCPU takes the interrupts of a PIC: LINT0 of its local APIC is set to ExtINT, or there is none, or it is
    /// off. A VMM whose PIC has an interrupt then [requests the window](Self::request_interrupt_window).
    pub fn accepts_pic(&self) -> bool {
        each!(self, vcpu => vcpu.accepts_pic())
    }

    /// A source of interrupts with an entry of its own in the local vector table signals: what comes of it the guest has set
    /// there. Without a local APIC nothing does.
    pub fn signal_local_interrupt(&mut self, source: LocalInterrupt) {
        each!(self, vcpu => vcpu.signal_local_interrupt(source));
    }

    /// Makes an NMI pending.
    pub fn inject_nmi(&mut self) {
        each!(self, vcpu => vcpu.inject_nmi());
    }

    /// Raises an event at the guest's current instruction. A fault takes the place of the instruction that exited, which is not
    /// completed; #DB and the like come behind it. Of two exceptions that meet the CPU makes a double fault or a shutdown,
    /// and so does the library. An error code is delivered if and only if the exception has one and the guest is not in real
    /// mode.
    pub fn inject_exception(&mut self, event: Event) {
        each!(self, vcpu => vcpu.inject_exception(event));
    }

    /// Whether something is pending that would end a HLT of a guest with interrupts enabled.
    pub fn has_pending_event(&self) -> bool {
        each!(self, vcpu => vcpu.has_pending_event())
    }

    /// What the guest's exits have come to since the vCPU was made: a row for each reason there was, by its number.
    #[cfg(feature = "statistics")]
    pub fn statistics(&self) -> impl Iterator<Item = ExitStatistics> {
        let (statistics, name) = each!(self, vcpu => vcpu.counted());
        statistics.rows(name)
    }

    /// The VMM did something since the last run that is not to be counted as work for that exit: it let the CPU wait, or ran
    /// something else. `instructions` is how far the host's time-stamp counter went meanwhile.
    #[cfg(feature = "statistics")]
    pub fn exclude_from_statistics(&mut self, instructions: u64) {
        each!(self, vcpu => vcpu.exclude_from_statistics(instructions));
    }

    /// Keeps so many of the last exits from here on, and forgets those that were kept; 0: none. A new vCPU keeps as many as
    /// [`VcpuConfig::trace_exits`] says: 64, which fill a frame.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; [`Error::InvalidInput`] for more than 16384. Then all stays as it was.
    #[cfg(feature = "trace")]
    pub fn set_trace(&mut self, exits: usize) -> Result {
        each!(self, vcpu => vcpu.set_trace(exits))
    }

    /// The last exits, the oldest first. What the host spends on the very last one is known after the next entry.
    #[cfg(feature = "trace")]
    pub fn trace(&self) -> impl DoubleEndedIterator<Item = TraceEntry> {
        self.trace_from(0)
    }

    /// Those of them from the one with this [number](TraceEntry::number) on: for whoever takes them away bit by bit. Where the
    /// first one has a higher number, there were more exits meanwhile than are kept.
    #[cfg(feature = "trace")]
    pub fn trace_from(&self, number: u64) -> impl DoubleEndedIterator<Item = TraceEntry> {
        let (trace, vocabulary) = each!(self, vcpu => vcpu.traced());
        trace.entries(number, vocabulary)
    }

    /// Writes the last `most` of them to the log, each a line at level "debug". Where that level is off, nothing is formatted.
    #[cfg(feature = "trace")]
    pub fn log_trace(&self, most: usize) {
        if !log::log_enabled!(log::Level::Debug) {
            return;
        }
        let (trace, _) = each!(self, vcpu => vcpu.traced());
        for entry in self.trace_from(trace.count().saturating_sub(most as u64)) {
            log::debug!("{entry}");
        }
    }
}
