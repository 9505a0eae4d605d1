//! The part of a vCPU that is the same on both vendors, and how the VMM's answers reach the guest.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{
    control::Offered,
    debug::DebugRegisters,
    decode::Register,
    emulation::Emulation,
    events::{Event, Events, InterruptQueue, InterruptSource},
    interrupts::Interrupts,
    local_apic::{Activity, Deadlines},
    msr::{EFER_OFFERED, MsrConfig, MsrState, UnknownMsr},
    registers::{GuestRegisters, RegisterIndex},
    tsc::{RatioFormat, Tsc},
    xstate::ExtendedState,
};
use crate::{
    Error, Result, VcpuHandle,
    cpu::CpuIndex,
    exit::{NestedFault, VmExit, Width},
    frame::{FrameSource, HostFrames},
    handle::{CpuTag, Forget, Mail},
    host::{self, HostDebug},
    nested::{DirtyLog, NestedCapabilities, NestedFormat, answer_write, inspect},
    observer::Observer,
    spec::x86::registers::{Cr4, Dr6, Xcr0},
};

/// The number of the next vCPU.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// How a vCPU is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VcpuConfig {
    /// The APIC id that the guest sees in CPUID. The vCPU with id 0 is the bootstrap processor.
    pub apic_id: u32,
    /// How many vCPUs the guest's package has, as CPUID says: each is a core of it. Their APIC ids differ in the lowest bits, as
    /// many as such a number needs, and share the others, which number the package. 0 counts as 1.
    pub processors: u16,
    /// What happens on a model-specific register that the policy does not name.
    pub unknown_msrs: UnknownMsr,
    /// Whether the registers of the x2APIC go to the VMM even when unknown registers fault.
    pub x2apic_msrs_to_vmm: bool,
    /// How many of the last exits are [kept](crate::Vcpu::trace), as [`set_trace`](crate::Vcpu::set_trace) takes it.
    #[cfg(feature = "trace")]
    pub trace_exits: usize,
}

impl Default for VcpuConfig {
    fn default() -> Self {
        Self::new(0)
    }
}

impl VcpuConfig {
    /// The configuration of the vCPU with this APIC id, alone in its package; everything else is the default.
    pub const fn new(apic_id: u32) -> Self {
        Self {
            apic_id,
            processors: 1,
            unknown_msrs: UnknownMsr::AskVmm,
            x2apic_msrs_to_vmm: false,
            #[cfg(feature = "trace")]
            trace_exits: crate::trace::ONE_FRAME,
        }
    }
}

/// What the VMM may still answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Pending {
    /// Nothing.
    #[default]
    None,
    /// IN waits for its value.
    In { width: Width, length: u8 },
    /// RDMSR waits for its value.
    MsrRead { length: u8 },
    /// WRMSR is done unless the VMM rejects it.
    MsrWrite,
    /// A MOV from a device waits for its value.
    Load { register: Register, width: Width, length: u8 },
    /// The read that [`GuestState::emulation`] asked for waits for its value.
    Emulation,
    /// The VMM was told that the guest can take an external interrupt.
    InterruptWindow,
    /// A nested page fault, of which the VMM may say that it hit a device.
    NestedFault(NestedFault),
    /// The same of another page that the instruction accesses, which the library found.
    NestedFaultElsewhere(NestedFault),
}

/// The state of a guest that does not live in the VMCS or the VMCB.
pub(crate) struct GuestState<S: FrameSource = HostFrames> {
    pub(crate) registers: GuestRegisters,
    pub(crate) events: Events,
    /// Where external interrupts come from.
    pub(crate) interrupts: Interrupts<S>,
    pub(crate) activity: Activity,
    pub(crate) apic_id: u32,
    pub(crate) deadlines: Deadlines,
    /// How many exits the local APIC was the reason of.
    pub(crate) local_apic_exits: u64,
    pub(crate) handle: VcpuHandle<S>,
    pub(crate) msrs: MsrState,
    pub(crate) xstate: ExtendedState<S>,
    pub(crate) offered: Offered,
    pub(crate) tsc: Tsc,
    /// DR0 to DR3, DR6 and DR7 as the guest sees them.
    pub(crate) debug: DebugRegisters,
    /// Whether DR0 to DR3 of the CPU that the vCPU is bound to are the guest's.
    pub(crate) breakpoints_loaded: bool,
    /// The host's debug registers, while the vCPU is bound.
    pub(crate) host_debug: HostDebug,
    /// CR2, which the CPU does not switch under VMX.
    pub(crate) cr2: u64,
    pub(crate) pending: Pending,
    /// What the last exit began and the next run goes on with.
    pub(crate) emulation: Emulation,
    /// The value that the emulation asked for.
    pub(crate) answer: Option<u64>,
    /// The length of the instruction that is done, behind which the next run goes on; 0: the guest goes on where it is.
    pub(crate) skip: u8,
    /// The CPU that the vCPU is bound to.
    pub(crate) cpu: Option<CpuIndex>,
    /// The same for the letter box.
    pub(crate) cpu_tag: CpuTag,
    /// Which vCPU this is: no other has or had the number.
    pub(crate) number: u64,
    /// The root of the nested page table.
    pub(crate) nested_root: Option<u64>,
    /// Whether the CPU sets accessed and dirty flags in it.
    pub(crate) nested_flags: bool,
    /// Where writes are marked, if dirty pages are logged.
    pub(crate) dirty_log: Option<DirtyLog<S>>,
    /// Who is told of each exit.
    pub(crate) observer: Observer<S>,
    /// What time it is for the guest.
    #[cfg(feature = "replay")]
    pub(crate) clock: crate::replay::Clock,
}

impl<S: FrameSource> GuestState<S> {
    pub(crate) fn new(config: VcpuConfig, offered_cr4: Cr4, msrs: MsrConfig, tsc: RatioFormat) -> Result<Self> {
        let xstate = ExtendedState::new()?;
        let mut cr4 = offered_cr4;
        cr4.set(Cr4::OSXSAVE, !xstate.available().is_empty());
        // Protection keys need their register switched.
        cr4.set(Cr4::PKE, cr4.contains(Cr4::PKE) && xstate.available().contains(Xcr0::PKRU));
        Ok(Self {
            registers: GuestRegisters::default(),
            events: Events::default(),
            interrupts: Interrupts::Queue(InterruptQueue::default()),
            activity: Activity::Running,
            apic_id: config.apic_id,
            deadlines: Deadlines::default(),
            local_apic_exits: 0,
            handle: VcpuHandle::new()?,
            msrs: MsrState::new(config.apic_id == 0, msrs, config.unknown_msrs, config.x2apic_msrs_to_vmm),
            offered: Offered { cr4, efer: EFER_OFFERED, xcr0: xstate.available() },
            xstate,
            tsc: Tsc::new(tsc),
            debug: DebugRegisters::RESET,
            breakpoints_loaded: false,
            host_debug: HostDebug::NONE,
            cr2: 0,
            pending: Pending::None,
            emulation: Emulation::NONE,
            answer: None,
            skip: 0,
            cpu: None,
            cpu_tag: CpuTag::default(),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            nested_root: None,
            nested_flags: false,
            dirty_log: None,
            observer: Observer::new(&config)?,
            #[cfg(feature = "replay")]
            clock: crate::replay::Clock::default(),
        })
    }

    /// At bind: what has to happen when another vCPU was here before.
    pub(crate) fn take_over(&mut self, cpu: CpuIndex) {
        let last = cpu.slot().last_vcpu.swap(self.number, Ordering::Relaxed);
        self.xstate.edges.change_vcpu(last == self.number);
        self.observer.arrive();
    }

    /// The VMM's value for a read.
    ///
    /// # Errors
    /// [`Error::BadState`] when no read waits.
    pub(crate) fn complete_read(&mut self, value: u64) -> Result {
        let length = match self.pending {
            Pending::In { width, length } => {
                self.registers.write(RegisterIndex::RAX, width, value);
                length
            }
            Pending::MsrRead { length } => {
                self.registers.set_edx_eax(value);
                length
            }
            Pending::Load { register, width, length } => {
                register.write(&mut self.registers, value & width.mask());
                length
            }
            Pending::Emulation => {
                self.answer = Some(value);
                self.observer.completed(value);
                self.pending = Pending::None;
                return Ok(());
            }
            _ => return Err(Error::BadState("no read waits for a value")),
        };
        self.observer.completed(value);
        self.pending = Pending::None;
        self.skip = length;
        Ok(())
    }

    /// The VMM's refusal of a register: #GP(0) at the instruction.
    ///
    /// # Errors
    /// [`Error::BadState`] when no access to a register waits.
    pub(crate) fn reject(&mut self) -> Result {
        match self.pending {
            Pending::MsrRead { .. } | Pending::MsrWrite => {
                self.pending = Pending::None;
                self.skip = 0;
                self.events.raise(Event::general_protection());
                Ok(())
            }
            _ => Err(Error::BadState("no access to a model-specific register waits")),
        }
    }

    /// What VMCALL or VMMCALL hands over.
    pub(crate) fn hypercall(&self) -> VmExit {
        VmExit::Hypercall { nr: self.registers.rax }
    }

    /// Makes an external interrupt pending, or hands over the one that the VMM's interrupt controller sends now.
    pub(crate) fn inject_interrupt(&mut self, vector: u8) {
        if let Pending::InterruptWindow = self.pending {
            self.pending = Pending::None;
            self.events.deliver_acknowledged(vector);
        } else {
            self.interrupts.request(vector);
            self.events.wake();
        }
    }

    /// Whether something would end a HLT of the guest, if its RFLAGS.IF is this.
    pub(crate) fn would_wake(&self, interrupts_enabled: bool) -> bool {
        self.events.would_wake(interrupts_enabled, &self.interrupts)
    }

    /// The vCPU is bound: this CPU's debug registers are the host's, and the guest's are loaded if it uses breakpoints.
    pub(crate) fn bind_debug(&mut self) {
        self.host_debug = HostDebug::save();
        self.breakpoints_loaded = false;
        self.load_breakpoints();
    }

    /// The vCPU is unbound: the host's breakpoints come back.
    pub(crate) fn unbind_debug(&mut self) {
        self.breakpoints_loaded = false;
        self.host_debug.restore();
    }

    /// DR0 to DR3 or DR7 of the guest have changed.
    pub(crate) fn load_breakpoints(&mut self) {
        if self.cpu.is_some() && (self.breakpoints_loaded || self.debug.breakpoints_enabled()) {
            self.breakpoints_loaded = true;
            host::set_breakpoints(self.debug.addresses());
        }
    }

    /// A #DB for these reasons follows the guest's instruction, or, for BD, takes its place.
    #[cold]
    pub(crate) fn raise_debug(&mut self, causes: Dr6) {
        self.debug.delivered(causes);
        self.events.raise(Event::debug());
    }

    /// Everything but the memory and the policies as after RESET or power-up.
    pub(crate) fn reset(&mut self) {
        self.registers = GuestRegisters::default();
        self.events = Events::default();
        self.interrupts.reset();
        // What hardware knows of a local APIC is no longer so.
        if self.interrupts.apic().is_some() {
            self.events.wake();
        }
        self.activity = Activity::Running;
        self.update_deadline();
        self.debug = DebugRegisters::RESET;
        self.pending = Pending::None;
        self.emulation.abort();
        self.answer = None;
        self.skip = 0;
    }

    /// An event that the VMM raises at the guest's current instruction. A fault or a software event takes the place of the
    /// instruction that exited; a trap follows it.
    pub(crate) fn inject_exception(&mut self, event: Event) {
        if event.is_fault() || event.is_software() {
            self.pending = Pending::None;
            self.emulation.abort();
            self.answer = None;
            self.skip = 0;
            self.debug.forget_completed();
        }
        self.events.raise(event.normalized());
    }

    /// Whether a write faulted for nothing but that it is to be logged, which is done now: the guest may go on.
    #[cfg(feature = "vmx")]
    #[cold]
    #[inline(never)]
    pub(crate) fn log_write(&self, format: NestedFormat, write: bool, gpa: u64) -> bool {
        write && self.log_write_at(format, gpa)
    }

    /// The same of an access that was a write.
    pub(crate) fn log_write_at(&self, format: NestedFormat, gpa: u64) -> bool {
        let Some(log) = &self.dirty_log else { return false };
        // SAFETY: whoever called `set_nested_root` promised that the table is of this format, and stays.
        unsafe { answer_write(log, self.nested_root, format, gpa) }
    }

    /// The entry that the CPU did not accept, for the VMM.
    #[cold]
    #[inline(never)]
    pub(crate) fn misconfiguration(&self, gpa: u64, capabilities: &NestedCapabilities) -> VmExit {
        // SAFETY: as in `log_write`.
        VmExit::NestedMisconfiguration(unsafe { inspect::<S>(self.nested_root, gpa, capabilities) })
    }

    /// Takes in what other CPUs sent: whether somebody wants `run` to come back, and whether the vCPU is to forget its nested
    /// translations.
    #[cold]
    pub(crate) fn read_mail(&mut self) -> (bool, Option<Forget>) {
        let mail = self.handle.take();
        self.take_in(&mail)
    }

    /// Takes in what was in the letter box.
    #[inline]
    pub(crate) fn take_in(&mut self, mail: &Mail) -> (bool, Option<Forget>) {
        // What was sent before an INIT is lost with it.
        let init = self.take_init(mail.init, mail.start_up);
        self.interrupts.receive(mail);
        // A local APIC that hardware delivers the interrupts of has to be told, whatever holds them back.
        if self.interrupts.any() || self.interrupts.apic().is_some() {
            self.events.wake();
        }
        if mail.nmi {
            self.events.queue_nmi();
        }
        (mail.exit || init, mail.forget)
    }
}
