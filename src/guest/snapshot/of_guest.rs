//! A state from the part of a vCPU that both vendors share, and back.

use super::{Activity, EventState, InterruptShadow, State, Watched};
use crate::{
    Error, Event, Result,
    exit::{VmExit, Width},
    frame::FrameSource,
    guest::{
        apic::Moment,
        control::{CR0_DEFINED, write_xcr},
        debug,
        interrupts::Interrupts,
        local_apic,
        msr::pat_is_valid,
        segmentation::is_canonical,
        start::{DEFINED_FLAGS, RFLAGS_FIXED},
        state::{GuestState, Pending},
    },
    host,
    spec::{
        intel::structures::InterruptionType,
        x86::registers::{Cr0, Cr4, Efer, ExceptionVector, Rflags, Xcr0},
    },
};

/// What the vendor knows of a guest's CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hardware {
    /// How many bits physical addresses have, as the guest is told; 0: it is not.
    pub(crate) physical_bits: u8,
    /// Whether the guest has RDTSCP.
    pub(crate) rdtscp: bool,
    /// Whether the CPU can scale the time-stamp counter.
    pub(crate) tsc_scaling: bool,
}

/// How long an instruction can be.
const LONGEST: u8 = 15;

impl<S: FrameSource> GuestState<S> {
    /// Whether the guest is between two instructions, or at one that it will execute again.
    ///
    /// # Errors
    /// [`Error::BadState`] says what to do.
    pub(crate) fn check_savable(&self) -> Result {
        if self.emulation.is_active() {
            return Err(Error::BadState(
                "the instruction that exited is half done: answer the exit, call request_exit, and run once more before saving",
            ));
        }
        Ok(())
    }

    /// What other CPUs have sent comes along. Whoever has to know still does.
    pub(crate) fn take_in_mail(&mut self) {
        if !self.handle.has_mail() {
            return;
        }
        let (exit, forget) = self.read_mail();
        if forget.is_some() {
            self.handle.put_off_forgetting();
        }
        if exit {
            self.handle.request_exit();
        }
    }

    /// Everything that neither the VMCS nor the VMCB has. `extended` and the switched registers are the vendor's to fill in.
    pub(crate) fn save_shared(&mut self, exit: &VmExit, to: &mut State) {
        let now = self.now();
        to.registers = self.registers;
        to.registers.rsp = to.system.rsp;
        to.cr8 = self.interrupts.task_priority();
        self.debug.save(&mut to.debug);
        to.msrs.spec_ctrl = self.xstate.edges.control();
        to.emulated = self.msrs.save();
        to.time = self.tsc.save(now.host);
        to.local_apic = self.interrupts.apic().map(|apic| apic.save(now));
        self.xstate.save(&mut to.extended);
        self.save_events(exit, &mut to.events);
    }

    /// All but what the vendor knows: the shadow, and whether NMIs are blocked.
    fn save_events(&self, exit: &VmExit, to: &mut EventState) {
        let requests = match &self.interrupts {
            Interrupts::Queue(queue) => queue.requests,
            Interrupts::Apic(_) => [0; 4],
        };
        let activity = match self.activity {
            local_apic::Activity::Running if self.events.is_shutdown() => Activity::Shutdown,
            local_apic::Activity::Running if *exit == VmExit::Halt && self.skip != 0 => Activity::Halted,
            local_apic::Activity::Running => Activity::Running,
            local_apic::Activity::Reset => Activity::Reset,
            local_apic::Activity::WaitForStartUp => Activity::WaitForStartUp,
            local_apic::Activity::StartUp(page) => Activity::StartUp(page),
        };
        *to = EventState {
            next: self.events.first,
            nmi_pending: self.events.nmi,
            acknowledged: self.events.acknowledged,
            requests,
            window_requested: self.events.window_requested,
            window_open: matches!(self.pending, Pending::InterruptWindow),
            activity,
            completed: self.skip,
            ..*to
        };
    }

    /// Whether this vCPU can go on from a state.
    ///
    /// # Errors
    /// The first thing that does not fit: [`Error::Unsupported`] for what this CPU, or what the vCPU offers, does not have;
    /// [`Error::InvalidInput`] for what no vCPU could have.
    pub(crate) fn check_state(&self, hardware: &Hardware, state: &State) -> Result {
        self.check_control(hardware, state)?;
        self.check_msrs(hardware, state)?;
        self.check_extended(state)?;
        check_events(&state.events)?;
        if !self.debug.takes(&state.debug) {
            return Err(Error::InvalidInput("the saved DR6 or DR7 has reserved bits"));
        }
        self.check_local_apic(hardware, state)?;
        self.tsc.check(&state.time, hardware.tsc_scaling)
    }

    fn check_control(&self, hardware: &Hardware, state: &State) -> Result {
        let system = &state.system;
        let (cr0, cr4, efer) = (system.cr0, system.cr4, system.efer);
        let beyond = match hardware.physical_bits {
            1..64 => u64::MAX << hardware.physical_bits,
            _ => 0,
        };
        let paged = cr0.contains(Cr0::PG);
        let long = efer.contains(Efer::LMA);
        let flags = system.rflags;
        if !self.offered.cr4.contains(cr4) {
            return Err(Error::Unsupported("a bit of the saved CR4 is not offered to this guest"));
        }
        if !self.offered.efer.contains(efer.without(Efer::LMA)) {
            return Err(Error::Unsupported("a bit of the saved EFER is not offered to this guest"));
        }
        if !CR0_DEFINED.contains(cr0)
            || paged && !cr0.contains(Cr0::PE)
            || cr0.contains(Cr0::NW) && !cr0.contains(Cr0::CD)
        {
            return Err(Error::InvalidInput("the saved CR0 is none that a CPU can have"));
        }
        if long != (paged && efer.contains(Efer::LME)) || long && !cr4.contains(Cr4::PAE) {
            return Err(Error::InvalidInput("the saved CR0, CR4 and EFER do not go together"));
        }
        if system.cr3 & beyond != 0 || !long && system.cr3 >> 32 != 0 {
            return Err(Error::Unsupported("the saved CR3 has more bits than physical addresses of this guest"));
        }
        if state.cr8 > 0xf {
            return Err(Error::InvalidInput("the saved CR8 is none that a CPU can have"));
        }
        if !(DEFINED_FLAGS | RFLAGS_FIXED).contains(flags)
            || !flags.contains(Rflags::RESERVED_TO_1)
            || flags.contains(Rflags::VM) && (long || !cr0.contains(Cr0::PE))
        {
            return Err(Error::InvalidInput("the saved RFLAGS is none that a CPU can have in its mode"));
        }
        let bases = [&system.fs, &system.gs, &system.tr, &system.ldtr].map(|segment| segment.base);
        let addresses = [system.rip, system.gdtr.base, system.idtr.base];
        if !bases.into_iter().chain(addresses).all(|address| is_canonical(address, self.offered.cr4)) {
            return Err(Error::InvalidInput("a saved base, or the saved RIP, is not canonical"));
        }
        Ok(())
    }

    fn check_msrs(&self, hardware: &Hardware, state: &State) -> Result {
        let msrs = &state.msrs;
        let addresses = [msrs.lstar, msrs.cstar, msrs.kernel_gs_base, msrs.sysenter_esp, msrs.sysenter_eip];
        if !addresses.into_iter().all(|address| is_canonical(address, self.offered.cr4)) {
            return Err(Error::InvalidInput("an address in a saved model-specific register is not canonical"));
        }
        if (msrs.fmask | msrs.sysenter_cs | msrs.tsc_aux) >> 32 != 0 {
            return Err(Error::InvalidInput("the saved FMASK, SYSENTER_CS or TSC_AUX has reserved bits"));
        }
        if msrs.tsc_aux != 0 && !hardware.rdtscp {
            return Err(Error::Unsupported("the saved TSC_AUX: this CPU has no RDTSCP"));
        }
        if !pat_is_valid(msrs.pat) {
            return Err(Error::InvalidInput("the saved PAT has memory types that there are not"));
        }
        if !self.xstate.edges.takes_control(msrs.spec_ctrl) {
            return Err(Error::Unsupported("a bit of the saved SPEC_CTRL is not offered to this guest"));
        }
        self.msrs.check(&state.emulated)
    }

    fn check_extended(&self, state: &State) -> Result {
        let extended = &state.extended;
        let xcr0 = extended.xcr0;
        let available = self.xstate.available();
        let possible =
            if available.is_empty() { xcr0 == Xcr0::X87 } else { write_xcr(0, xcr0.bits(), self.offered).is_ok() };
        if !possible {
            return Err(Error::Unsupported("the saved XCR0 is none that this guest could set"));
        }
        let always = Xcr0::X87.with(Xcr0::SSE);
        if !available.with(always).contains(extended.in_use()) {
            return Err(Error::Unsupported(
                "the saved state uses vector registers, or PKRU, that this CPU does not have",
            ));
        }
        if !crate::guest::xstate::takes_mxcsr(extended.mxcsr) {
            return Err(Error::InvalidInput("the saved MXCSR has bits that this CPU does not have"));
        }
        if extended.st.iter().any(|register| register >> 80 != 0) {
            return Err(Error::InvalidInput("a saved x87 register has more than 80 bits"));
        }
        Ok(())
    }

    fn check_local_apic(&self, hardware: &Hardware, state: &State) -> Result {
        let activity = state.events.activity;
        match (self.interrupts.apic(), &state.local_apic) {
            (Some(apic), Some(saved)) => {
                if saved.task_priority >> 4 != u32::from(state.cr8) {
                    return Err(Error::InvalidInput("the saved CR8 and the task priority of the local APIC differ"));
                }
                if state.events.requests != [0; 4] {
                    return Err(Error::InvalidInput("a saved queue of interrupts beside a local APIC"));
                }
                apic.check(saved, hardware.physical_bits)
            }
            (None, None) if !matches!(activity, Activity::Running | Activity::Halted | Activity::Shutdown) => {
                Err(Error::InvalidInput("a saved vCPU without a local APIC waits for a start-up message"))
            }
            (None, None) => Ok(()),
            (None, Some(_)) => Err(Error::Unsupported("the saved vCPU has a local APIC, and this one has none")),
            (Some(_), None) => Err(Error::Unsupported("the saved vCPU has no local APIC, and this one has")),
        }
    }

    /// Takes over a state that was found to fit. The vendor has done its part, and told where the guest is.
    pub(crate) fn restore_shared(&mut self, state: &State) {
        let host = host::timestamp();
        self.tsc.restore(&state.time, host);
        let now = Moment { host, tsc: self.tsc };
        self.registers = state.registers;
        self.registers.rsp = state.system.rsp;
        self.cr2 = state.system.cr2;
        self.debug.restore(&state.debug, state.events.completed != 0);
        self.load_breakpoints();
        self.msrs.restore(&state.emulated);
        if let (Some(apic), Some(saved)) = (self.interrupts.apic_mut(), &state.local_apic) {
            apic.restore(saved, now);
        }
        self.interrupts.follow_task_priority(state.cr8);
        self.restore_events(&state.events);
        self.update_deadline();
    }

    fn restore_events(&mut self, from: &EventState) {
        if let Interrupts::Queue(queue) = &mut self.interrupts {
            queue.requests = from.requests;
        }
        self.events.first = from.next;
        self.events.nmi = from.nmi_pending;
        self.events.acknowledged = from.acknowledged;
        self.events.window_requested = from.window_requested;
        self.events.shutdown = from.activity == Activity::Shutdown;
        // Hardware is to be told of everything anew.
        self.events.wake();
        self.activity = match from.activity {
            Activity::Running | Activity::Halted | Activity::Shutdown => local_apic::Activity::Running,
            Activity::Reset => local_apic::Activity::Reset,
            Activity::WaitForStartUp => local_apic::Activity::WaitForStartUp,
            Activity::StartUp(page) => local_apic::Activity::StartUp(page),
        };
        self.pending = if from.window_open { Pending::InterruptWindow } else { Pending::None };
        self.emulation.abort();
        self.answer = None;
        self.skip = from.completed;
    }
}

fn check_events(events: &EventState) -> Result {
    let possible = |event: &Event| {
        let exception = event.vector < 32 && event.vector != ExceptionVector::NMI.0;
        let kind = match event.kind {
            InterruptionType::EXTERNAL_INTERRUPT => true,
            InterruptionType::NMI => event.vector == ExceptionVector::NMI.0,
            InterruptionType::HARDWARE_EXCEPTION => exception && event.normalized() == *event,
            InterruptionType::SOFTWARE_INTERRUPT => true,
            InterruptionType::SOFTWARE_EXCEPTION | InterruptionType::PRIVILEGED_SOFTWARE_EXCEPTION => exception,
            _ => false,
        };
        let has_length = (1..=LONGEST).contains(&event.instruction_length);
        kind && event.is_software() == has_length
            && (event.error_code.is_none() || event.kind == InterruptionType::HARDWARE_EXCEPTION)
    };
    if events.next.as_ref().is_some_and(|event| !possible(event)) {
        return Err(Error::InvalidInput("the saved event is none that a CPU delivers"));
    }
    if events.completed > LONGEST || events.activity == Activity::Halted && events.completed == 0 {
        return Err(Error::InvalidInput("the saved length of a completed instruction is none that there is"));
    }
    Ok(())
}

impl Watched {
    /// The access as the debug registers keep it.
    pub(crate) fn access(self) -> Option<debug::Access> {
        match self {
            Self::None => None,
            Self::Port { port, size } => {
                Width::from_bytes(size.into()).map(|width| debug::Access::Port { port, width })
            }
            Self::Memory { linear, size, write } => Some(debug::Access::Memory { linear, size, write }),
        }
    }
}

impl From<debug::Access> for Watched {
    fn from(access: debug::Access) -> Self {
        match access {
            debug::Access::Port { port, width } => Self::Port { port, size: width.bytes() as u8 },
            debug::Access::Memory { linear, size, write } => Self::Memory { linear, size, write },
        }
    }
}

impl EventState {
    /// The exit that a vCPU in this state has come back with, as far as it matters.
    pub(crate) fn last_exit(&self) -> VmExit {
        if self.activity == Activity::Halted { VmExit::Halt } else { VmExit::Nothing }
    }
}

impl InterruptShadow {
    /// Whether there is one.
    pub const fn is_any(self) -> bool {
        !matches!(self, Self::None)
    }
}
