//! What the run loops do for a vCPU with a local APIC: accesses to its registers, its timer, INIT and start-up messages.

use super::{
    apic::{ApicBus, ApicConfig, Effect, LocalApic, LocalInterrupt, Moment, VcpuHost},
    control::Fault,
    cpuid::CpuidPolicy,
    debug::DebugRegisters,
    emulation::{Cpu, Progress},
    events::Events,
    interrupts::Interrupts,
    registers::{GuestRegisters, SystemRegisters},
    state::{GuestState, Pending},
};
use crate::{
    Error,
    exit::{NestedFault, VmExit},
    frame::FrameSource,
    host,
    spec::{
        Msr,
        x86::msrs::{IA32_APIC_BASE, IA32_TSC_DEADLINE},
    },
};

/// Whether the vCPU runs, or waits for a start-up message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It runs.
    #[default]
    Running,
    /// An INIT came to the bootstrap processor: it goes on as after a reset.
    Reset,
    /// It waits for a start-up message: SDM volume 3, "MP Initialization Protocol Algorithm for MP Systems".
    WaitForStartUp,
    /// The message is here: the guest starts with the next run, at this page.
    StartUp(u8),
}

/// When the vCPU is to be disturbed, in the host's time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deadlines {
    /// The earlier one of the guest's timer and its time slice.
    pub(crate) next: Option<u64>,
    /// When the time slice ends.
    slice: Option<u64>,
    /// What the host was asked for last.
    asked: Option<u64>,
    /// Whether it may have forgotten that.
    stale: bool,
}

/// What an access to the page of the local APIC led to.
pub(crate) enum PageAccess {
    /// It was none.
    Other,
    /// This is next.
    Done(Progress),
    /// The VMM is to know of this, and then the instruction of this length is done; 0: the emulation goes on.
    Exit(VmExit),
}

impl<S: FrameSource> GuestState<S> {
    /// Gives the vCPU a local APIC, connected to those of the others where there is a bus.
    ///
    /// # Errors
    /// [`Error::BadState`] when it has one; [`Error::NoMemory`]; those of a bus that has no place.
    pub(crate) fn add_local_apic(
        &mut self,
        config: ApicConfig,
        bus: Option<&ApicBus<S>>,
        cpuid: &mut CpuidPolicy,
    ) -> crate::Result {
        if self.interrupts.apic().is_some() {
            return Err(Error::BadState("the vCPU has a local APIC"));
        }
        let bootstrap = self.apic_id == 0;
        let mut apic = LocalApic::new(self.apic_id, bootstrap, config)?;
        if let Some(bus) = bus {
            apic.connect(bus.join(self.apic_id, self.handle.clone())?);
        }
        self.interrupts = Interrupts::Apic(apic);
        // Hardware is told of it before the first entry.
        self.events.wake();
        self.msrs.use_local_apic();
        cpuid.add_local_apic(config.x2apic, config.tsc_deadline);
        cpuid.set_apic_timer_ratio(config.timer_ratio.get().into());
        if !bootstrap {
            self.activity = Activity::WaitForStartUp;
        }
        Ok(())
    }

    /// The host's time-stamp counter: every reading of the time for this guest comes here.
    #[inline]
    pub(crate) fn timestamp(&self) -> u64 {
        #[cfg(feature = "replay")]
        return self.clock.now();
        #[cfg(not(feature = "replay"))]
        host::timestamp()
    }

    pub(crate) fn now(&self) -> Moment {
        Moment { host: self.timestamp(), tsc: self.tsc }
    }

    /// Works out anew when the vCPU is to be disturbed.
    pub(crate) fn update_deadline(&mut self) {
        let timer = self.interrupts.apic().and_then(|apic| apic.timer_deadline(self.now()));
        self.deadlines.next = match (timer, self.deadlines.slice) {
            (Some(timer), Some(slice)) => Some(timer.min(slice)),
            (timer, slice) => timer.or(slice),
        };
    }

    pub(crate) fn set_time_slice(&mut self, end: Option<u64>) {
        self.deadlines.slice = end;
        self.update_deadline();
    }

    /// When the guest's timer interrupts it.
    pub(crate) fn timer_deadline(&self) -> Option<u64> {
        self.interrupts.apic().and_then(|apic| apic.timer_deadline(self.now()))
    }

    /// What is due happens; an exit for the end of the time slice.
    #[cold]
    pub(crate) fn pass_time(&mut self) -> Option<VmExit> {
        let now = self.now();
        if self.deadlines.next.is_none_or(|next| now.host < next) {
            return None;
        }
        if let Some(apic) = self.interrupts.apic_mut() {
            apic.advance_timer(now);
            self.events.wake();
        }
        let over = self.deadlines.slice.is_some_and(|end| now.host >= end);
        if over {
            self.deadlines.slice = None;
        }
        self.update_deadline();
        over.then_some(VmExit::TimeSlice)
    }

    /// What is due of the guest's timer happens. Whether there was anything.
    pub(crate) fn timer_is_due(&mut self) -> bool {
        let now = self.now();
        let due = self.is_timer_due(now);
        if due && let Some(apic) = self.interrupts.apic_mut() {
            apic.advance_timer(now);
            self.events.wake();
            self.update_deadline();
        }
        due
    }

    fn is_timer_due(&self, now: Moment) -> bool {
        self.interrupts.apic().and_then(|apic| apic.timer_deadline(now)).is_some_and(|deadline| now.host >= deadline)
    }

    /// Whether something would end a HLT of a guest with interrupts enabled, or has come for one that does not run.
    pub(crate) fn has_pending_event(&self) -> bool {
        self.handle.has_mail()
            || match self.activity {
                Activity::Running => self.would_wake(true) || self.is_timer_due(self.now()),
                Activity::Reset | Activity::StartUp(_) => true,
                Activity::WaitForStartUp => false,
            }
    }

    /// How long it is to the next deadline.
    pub(crate) fn time_left(&self) -> Option<u64> {
        self.deadlines.next.map(|next| next.saturating_sub(host::timestamp()))
    }

    /// Asks the host for an interrupt at the next deadline, unless it has been asked.
    pub(crate) fn ask_host_timer(&mut self) {
        let next = self.deadlines.next;
        if self.host_timer_is_stale()
            && let Some(host) = self.host()
        {
            self.deadlines.stale = false;
            self.deadlines.asked = next;
            host.set_timer(next);
        }
    }

    /// The host has had an interrupt. It may have been the one that it was asked for, too early: it will be asked anew.
    pub(crate) fn host_was_interrupted(&mut self) {
        self.deadlines.stale = self.deadlines.asked.is_some();
    }

    /// Whether the host has not been asked for what is next.
    #[inline]
    pub(crate) fn host_timer_is_stale(&self) -> bool {
        self.deadlines.stale || self.deadlines.next != self.deadlines.asked
    }

    /// The vCPU leaves its CPU: no timer interrupt of its is wanted there.
    pub(crate) fn cancel_host_timer(&mut self) {
        if self.deadlines.asked.take().is_some()
            && let Some(host) = self.host()
        {
            host.set_timer(None);
        }
    }

    fn host(&self) -> Option<&'static dyn VcpuHost> {
        #[cfg(feature = "replay")]
        if self.clock.is_replaying() {
            return None;
        }
        self.interrupts.apic().and_then(LocalApic::host)
    }

    /// The vCPU is not just running: what has come for it is looked at. `Ok`: the registers with which it goes on; else it
    /// does not run.
    #[cold]
    pub(crate) fn start_up(&mut self, signature: u32) -> Result<SystemRegisters, VmExit> {
        if self.handle.has_mail() {
            let (exit, forget) = self.read_mail();
            if forget.is_some() {
                // The run loop knows how, before the guest is entered.
                self.handle.put_off_forgetting();
            }
            if exit && self.activity == Activity::WaitForStartUp {
                return Err(VmExit::Interrupted);
            }
        }
        let system = match self.activity {
            Activity::StartUp(vector) => SystemRegisters::start_up(vector),
            Activity::Running | Activity::Reset => SystemRegisters::reset_vector(),
            Activity::WaitForStartUp => return Err(VmExit::WaitForStartup),
        };
        self.activity = Activity::Running;
        self.registers = GuestRegisters { rdx: signature.into(), ..GuestRegisters::default() };
        Ok(system)
    }

    /// What a run comes back with when mail made it.
    pub(crate) fn mail_exit(&self) -> VmExit {
        match self.activity {
            Activity::Running | Activity::Reset => VmExit::Interrupted,
            Activity::WaitForStartUp | Activity::StartUp(_) => VmExit::WaitForStartup,
        }
    }

    /// An INIT or a start-up message came. `true`: the guest does not go on where it is.
    pub(super) fn take_init(&mut self, init: bool, start_up: Option<u8>) -> bool {
        let Some(apic) = self.interrupts.apic_mut() else { return false };
        if init {
            apic.init();
            self.activity = if apic.is_bootstrap() { Activity::Reset } else { Activity::WaitForStartUp };
            self.forget_everything();
        }
        if let (Activity::WaitForStartUp, Some(vector)) = (self.activity, start_up) {
            self.activity = Activity::StartUp(vector);
        }
        init
    }

    /// What was going on is over.
    fn forget_everything(&mut self) {
        self.events = Events::default();
        // What hardware knows of the local APIC is no longer so.
        self.events.wake();
        self.pending = Pending::None;
        self.emulation.abort();
        self.answer = None;
        self.skip = 0;
        self.debug = DebugRegisters::RESET;
        self.update_deadline();
    }

    /// What follows from an access to a register of the local APIC.
    pub(crate) fn follow_effect(&mut self, effect: Effect) -> Option<VmExit> {
        // Whatever was written, another interrupt may be next.
        self.events.wake();
        match effect {
            Effect::None => None,
            Effect::Timer => {
                self.update_deadline();
                None
            }
            Effect::EndOfInterrupt { vector } => Some(VmExit::EndOfInterrupt { vector }),
            Effect::Send(message) => {
                let sent = self.interrupts.apic().is_some_and(|apic| apic.send(message));
                (!sent).then_some(VmExit::Ipi(message))
            }
        }
    }

    /// The local APIC was the reason of an exit.
    pub(crate) fn count_local_apic_exit(&mut self) {
        self.local_apic_exits = self.local_apic_exits.wrapping_add(1);
    }

    /// RDMSR of a register of the local APIC.
    ///
    /// # Errors
    /// #GP(0).
    pub(crate) fn read_apic_msr(&mut self, msr: Msr) -> Result<u64, Fault> {
        let now = self.now();
        self.count_local_apic_exit();
        let apic = self.interrupts.apic_mut().ok_or(Fault)?;
        match msr {
            IA32_APIC_BASE => Ok(apic.base()),
            IA32_TSC_DEADLINE => apic.tsc_deadline(now),
            _ => apic.read_msr(msr, now),
        }
    }

    /// WRMSR of a register of the local APIC.
    ///
    /// # Errors
    /// #GP(0).
    pub(crate) fn write_apic_msr(&mut self, msr: Msr, value: u64, physical_bits: u8) -> Result<Effect, Fault> {
        let now = self.now();
        self.count_local_apic_exit();
        let apic = self.interrupts.apic_mut().ok_or(Fault)?;
        match msr {
            IA32_APIC_BASE => apic.set_base(value, physical_bits).map(|()| Effect::Timer),
            IA32_TSC_DEADLINE => apic.set_tsc_deadline(value, now).map(|()| Effect::Timer),
            _ => apic.write_msr(msr, value, now),
        }
    }

    /// Whether a nested page fault is an access to the page of the local APIC.
    #[inline]
    pub(crate) fn is_apic_page(&self, fault: &NestedFault) -> bool {
        match self.interrupts.apic() {
            None => false,
            Some(apic) => apic.offset_of(fault.gpa).is_some() && !fault.access.fetch && !fault.table_walk,
        }
    }

    /// An access to the page of the local APIC, from the nested page fault that it caused on.
    pub(crate) fn apic_page_access<C: Cpu>(&mut self, cpu: &mut C, fault: NestedFault) -> PageAccess {
        self.count_local_apic_exit();
        self.pending = Pending::NestedFault(fault);
        // What cannot be decoded is the VMM's to see, as a fault.
        let Ok(mut exit) = self.decode_mmio(cpu) else { return PageAccess::Other };
        loop {
            let now = self.now();
            let Some(apic) = self.interrupts.apic_mut() else { return PageAccess::Other };
            let mut told = None;
            match exit {
                VmExit::MmioRead { gpa, width, .. } => {
                    let Some(offset) = apic.offset_of(gpa) else { return PageAccess::Exit(exit) };
                    let value = apic.read_page(offset, width, now);
                    // There is a read to complete, or the exit would be another.
                    let _ = self.complete_read(value);
                }
                VmExit::MmioWrite { gpa, width, data } => {
                    let Some(offset) = apic.offset_of(gpa) else { return PageAccess::Exit(exit) };
                    let effect = apic.write_page(offset, width, data, now);
                    told = self.follow_effect(effect);
                }
                other => return PageAccess::Exit(other),
            }
            // A read may have raised an error, or counted the timer down.
            self.events.wake();
            if let Some(told) = told {
                // What is left of the instruction is done when the VMM runs the vCPU again.
                return PageAccess::Exit(told);
            }
            let progress = match core::mem::take(&mut self.skip) {
                0 if self.emulation.is_active() => self.resume(cpu),
                0 => Progress::Again,
                length => Progress::Skip(length),
            };
            match progress {
                Progress::Exit(next) => exit = next,
                other => return PageAccess::Done(other),
            }
        }
    }

    /// A local source of interrupts signals.
    pub(crate) fn signal(&mut self, source: LocalInterrupt) {
        if let Some(apic) = self.interrupts.apic_mut()
            && apic.signal(source)
        {
            self.events.queue_nmi();
        }
        self.events.wake();
    }

    /// Whether a PIC's interrupts are taken: a vCPU without a local APIC has no other controller.
    pub(crate) fn accepts_pic(&self) -> bool {
        self.interrupts.apic().is_none_or(LocalApic::accepts_pic)
    }
}
