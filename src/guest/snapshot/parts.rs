//! What a state consists of.

use super::{
    FormatError,
    extended::ExtendedRegisters,
    item::{Differs, Input, Item, Listed, Name, Path, Sink, Value, Words, item, leaf},
};
use crate::{
    Event, GuestRegisters, SystemRegisters,
    spec::x86::registers::{Dr6, Dr7},
};

/// The whole architectural state of a vCPU, in words that VMX and SVM share.
///
/// [`Vcpu::save`](crate::Vcpu::save) makes it and [`Vcpu::restore`](crate::Vcpu::restore) takes it. All parts may be read
/// and changed in between: what comes of it is checked when it is restored. [`Display`](core::fmt::Display) prints one line
/// for each value that is not as after a reset, [`differences`](Self::differences) one for each that another state has
/// another of, and [`write_to`](Self::write_to) makes the binary form.
///
/// It has no pointers and takes about 4 KiB: a VMM with small stacks keeps it elsewhere and uses
/// [`save_to`](crate::Vcpu::save_to). What belongs to the VMM is not in it: memory, devices, the policies for CPUID,
/// model-specific registers and ports.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct State {
    /// The general-purpose registers. RSP is that of [`system`](Self::system), which counts.
    pub registers: GuestRegisters,
    /// The segment and table registers, CR0 to CR4, EFER, RFLAGS, RIP and RSP.
    pub system: SystemRegisters,
    /// CR8: the class of the task priority.
    pub cr8: u8,
    /// The page-directory-pointer-table entries that a CPU holds with PAE paging. SVM has them in memory alone, and saves none;
    /// VMX reads them there when there are none.
    pub pdptes: Option<[u64; 4]>,
    /// The debug registers.
    pub debug: DebugState,
    /// The model-specific registers that the guest uses without an exit, and those that say how it runs.
    pub msrs: MsrState,
    /// The model-specific registers that the library only keeps.
    pub emulated: EmulatedMsrs,
    /// x87, SSE, AVX, AVX-512 and protection keys.
    pub extended: ExtendedRegisters,
    /// What waits to be delivered, what delays it, and whether the guest runs.
    pub events: EventState,
    /// The time-stamp counter.
    pub time: TimeState,
    /// The local APIC, if the library emulates one.
    pub local_apic: Option<ApicState>,
}

/// The debug registers, and what goes with them.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DebugState {
    /// DR0 to DR3.
    pub addresses: [u64; 4],
    /// DR6.
    pub dr6: Dr6,
    /// DR7.
    pub dr7: Dr7,
    /// The causes of a #DB that the CPU holds back until the next instruction is done (VMX's pending debug exceptions).
    pub pending: Dr6,
    /// What the instruction that [`EventState::completed`] speaks of accessed, while breakpoints are enabled.
    pub watched: Watched,
}

/// An access that may have met a breakpoint.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watched {
    /// None.
    #[default]
    None,
    /// Of a port.
    Port {
        /// The port.
        port: u16,
        /// The number of bytes.
        size: u8,
    },
    /// Of a device in memory.
    Memory {
        /// The linear address.
        linear: u64,
        /// The number of bytes.
        size: u8,
        /// Whether it was a write.
        write: bool,
    },
}

/// Model-specific registers that the guest uses without an exit, and those that say how it runs. EFER is one of
/// [`SystemRegisters`], FS.base and GS.base are in their segments.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "a register's name says it all")]
pub struct MsrState {
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub fmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub pat: u64,
    /// 0 where the CPU has no RDTSCP.
    pub tsc_aux: u64,
    /// IA32_SPEC_CTRL as the guest wrote it; 0 where it has none.
    pub spec_ctrl: u64,
}

/// How many registers [`EmulatedMsrs`] has room for.
const EMULATED: usize = 16;

/// The model-specific registers whose values the library keeps without an effect, by number.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmulatedMsrs {
    rows: [Option<EmulatedMsr>; EMULATED],
}

/// One of them.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmulatedMsr {
    /// Its number.
    pub msr: u32,
    /// Its value.
    pub value: u64,
}

impl EmulatedMsrs {
    /// The registers.
    pub fn iter(&self) -> impl Iterator<Item = EmulatedMsr> + '_ {
        self.rows.iter().flatten().copied()
    }

    /// The value of one, if it is among them.
    pub fn get(&self, msr: u32) -> Option<u64> {
        self.iter().find(|row| row.msr == msr).map(|row| row.value)
    }

    /// Sets the value of one; `false` when there is no room for another.
    #[must_use]
    pub fn set(&mut self, msr: u32, value: u64) -> bool {
        let known = self.rows.iter().position(|row| row.is_some_and(|row| row.msr == msr));
        let place = known.or_else(|| self.rows.iter().position(Option::is_none));
        let place = place.and_then(|place| self.rows.get_mut(place));
        let found = place.is_some();
        if let Some(place) = place {
            *place = Some(EmulatedMsr { msr, value });
        }
        found
    }
}

/// What delays interrupts for one instruction.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InterruptShadow {
    /// Nothing.
    #[default]
    None,
    /// An STI.
    Sti,
    /// A MOV SS or POP SS.
    MovSs,
    /// One of them: SVM does not say which.
    Either,
}

/// Whether the guest runs.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// It does.
    #[default]
    Running,
    /// It executes HLT: the VMM was told ([`VmExit::Halt`](crate::VmExit::Halt)), and the next run goes on behind it, which the
    /// VMM puts off until [`has_pending_event`](crate::Vcpu::has_pending_event).
    Halted,
    /// An INIT came to the bootstrap processor: it goes on as after a reset.
    Reset,
    /// It waits for a start-up message (SIPI).
    WaitForStartUp,
    /// The start-up message is here, for this page.
    StartUp(u8),
    /// It shut down: a triple fault.
    Shutdown,
}

/// What waits to be delivered, what delays it, and whether the guest runs.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventState {
    /// What comes before all else: an exception, or an event whose delivery an exit interrupted.
    pub next: Option<Event>,
    /// An NMI is pending.
    pub nmi_pending: bool,
    /// An NMI is being handled: the next waits for an IRET.
    pub nmi_blocked: bool,
    /// An interrupt that its controller thinks delivered.
    pub acknowledged: Option<u8>,
    /// The interrupts that wait, a bit for each vector: those of a vCPU without a local APIC of the library's.
    pub requests: [u64; 4],
    /// The VMM wants to know when the guest can take an interrupt.
    pub window_requested: bool,
    /// The VMM was told so just now: what it injects is delivered at once.
    pub window_open: bool,
    /// What delays interrupts for the next instruction.
    pub shadow: InterruptShadow,
    /// Whether the guest runs.
    pub activity: Activity,
    /// The length of the instruction at RIP if it is done, behind which the next run goes on; 0: it is not. Traps that follow
    /// it come then.
    pub completed: u8,
}

/// The time-stamp counter.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeState {
    /// IA32_TSC of the guest when it was saved, from where it goes on. A VMM adds to it what the guest is to notice of the
    /// time between.
    pub tsc: u64,
    /// IA32_TSC_ADJUST.
    pub tsc_adjust: u64,
    /// How often it counts while the host's counts 2^48 times: 2^48 where it is the host's. For a host of another frequency
    /// the VMM changes that.
    pub tsc_ratio: u64,
}

/// The local APIC: the registers of its page that are not derived of others, IA32_APIC_BASE, and its timer.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApicState {
    /// IA32_APIC_BASE: where it is, and its mode.
    pub base: u64,
    /// The APIC id that the VMM gave.
    pub id: u32,
    /// The task priority. Its class is [`State::cr8`], which counts.
    pub task_priority: u32,
    /// The logical destination; derived in x2APIC mode.
    pub logical_destination: u32,
    /// The destination format; not there in x2APIC mode.
    pub destination_format: u32,
    /// The spurious-interrupt vector register.
    pub spurious_interrupt_vector: u32,
    /// The interrupts in service, a bit for each vector.
    pub in_service: [u32; 8],
    /// Those that are triggered by level.
    pub trigger_mode: [u32; 8],
    /// Those that wait.
    pub interrupt_request: [u32; 8],
    /// The error status register.
    pub error_status: u32,
    /// The errors since its last write.
    pub errors: u32,
    /// The interrupt command, both halves.
    pub interrupt_command: u64,
    /// The local vector table.
    pub lvt_timer: u32,
    /// As above.
    pub lvt_thermal: u32,
    /// As above.
    pub lvt_performance: u32,
    /// As above.
    pub lvt_lint0: u32,
    /// As above.
    pub lvt_lint1: u32,
    /// As above.
    pub lvt_error: u32,
    /// The timer's initial count.
    pub initial_count: u32,
    /// The timer's divide configuration.
    pub divide_configuration: u32,
    /// How often the host's time-stamp counter counts until the count reaches 0, if it counts.
    pub timer_left: Option<u64>,
    /// IA32_TSC_DEADLINE; 0: not armed.
    pub tsc_deadline: u64,
    /// [`ApicConfig::timer_ratio`](crate::ApicConfig::timer_ratio).
    pub timer_ratio: u16,
}

item!(DebugState { addresses, dr6, dr7, pending, watched });
item!(MsrState {
    star,
    lstar,
    cstar,
    fmask,
    kernel_gs_base,
    sysenter_cs,
    sysenter_esp,
    sysenter_eip,
    pat,
    tsc_aux,
    spec_ctrl
});
item!(EmulatedMsr { msr, value });
item!(EmulatedMsrs { rows });
item!(EventState {
    next,
    nmi_pending,
    nmi_blocked,
    acknowledged,
    requests,
    window_requested,
    window_open,
    shadow,
    activity,
    completed
});
item!(TimeState { tsc, tsc_adjust, tsc_ratio });
item!(ApicState {
    base,
    id,
    task_priority,
    logical_destination,
    destination_format,
    spurious_interrupt_vector,
    in_service,
    trigger_mode,
    interrupt_request,
    error_status,
    errors,
    interrupt_command,
    lvt_timer,
    lvt_thermal,
    lvt_performance,
    lvt_lint0,
    lvt_lint1,
    lvt_error,
    initial_count,
    divide_configuration,
    timer_left,
    tsc_deadline,
    timer_ratio
});

impl Item for Watched {
    leaf!();

    fn put(&self, out: &mut dyn Sink) {
        match *self {
            Self::None => 0u8.put(out),
            Self::Port { port, size } => {
                1u8.put(out);
                port.put(out);
                size.put(out);
            }
            Self::Memory { linear, size, write } => {
                2u8.put(out);
                linear.put(out);
                size.put(out);
                write.put(out);
            }
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Self, FormatError> {
        Ok(match u8::take(input)? {
            0 => Self::None,
            1 => Self::Port { port: Item::take(input)?, size: Item::take(input)? },
            2 => Self::Memory { linear: Item::take(input)?, size: Item::take(input)?, write: Item::take(input)? },
            _ => return Err(FormatError::Damaged("an access that breakpoints watch for")),
        })
    }
}

impl Item for InterruptShadow {
    leaf!();

    fn put(&self, out: &mut dyn Sink) {
        let number: u8 = match self {
            Self::None => 0,
            Self::Sti => 1,
            Self::MovSs => 2,
            Self::Either => 3,
        };
        number.put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, FormatError> {
        Ok(match u8::take(input)? {
            0 => Self::None,
            1 => Self::Sti,
            2 => Self::MovSs,
            3 => Self::Either,
            _ => return Err(FormatError::Damaged("an interrupt shadow")),
        })
    }
}

impl Item for Activity {
    leaf!();

    fn put(&self, out: &mut dyn Sink) {
        let (number, page): (u8, u8) = match *self {
            Self::Running => (0, 0),
            Self::Halted => (1, 0),
            Self::Reset => (2, 0),
            Self::WaitForStartUp => (3, 0),
            Self::StartUp(page) => (4, page),
            Self::Shutdown => (5, 0),
        };
        number.put(out);
        page.put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, FormatError> {
        Ok(match (u8::take(input)?, u8::take(input)?) {
            (0, 0) => Self::Running,
            (1, 0) => Self::Halted,
            (2, 0) => Self::Reset,
            (3, 0) => Self::WaitForStartUp,
            (4, page) => Self::StartUp(page),
            (5, 0) => Self::Shutdown,
            _ => return Err(FormatError::Damaged("an activity state")),
        })
    }
}
