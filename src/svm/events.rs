//! Injecting events, and finding out which one an exit interrupted: APM volume 2, "Event Injection", "Interrupt Intercepts",
//! "Virtual Interrupts".

use super::{emulation::code_size, vcpu::SvmVcpu};
use crate::{
    exit::VmExit,
    frame::FrameSource,
    guest::{
        debug::DebugRegisters,
        events::{Event, InterruptSource, Plan, Readiness},
        state::Pending,
    },
    spec::{
        amd::{
            exit_info::{EventInfo, EventType},
            intercepts::{InterceptCr, InterceptExceptions, InterceptMisc1},
            vmcb::{InterruptShadow, VirtualInterruptControl},
        },
        intel::structures::InterruptionType,
        x86::registers::{Cr0, Dr6, ExceptionVector, Rflags},
    },
};

/// Where the guest is in the handling of an NMI. Without virtual NMIs the CPU does not keep account of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum NmiState {
    /// An NMI may be injected.
    #[default]
    Open,
    /// One was injected; its handler's IRET will exit.
    Handling,
    /// The IRET at this address is being executed; when the guest is elsewhere, it is done.
    Returning {
        rip: u64,
        /// Whether the guest is stepped over it, because the next NMI waits.
        stepping: bool,
    },
}

/// V_IRQ with which hardware makes the guest exit as soon as it can take an interrupt of whatever priority.
const WINDOW: VirtualInterruptControl = VirtualInterruptControl::V_IRQ.with(VirtualInterruptControl::V_IGN_TPR);

/// The VMM has to know something before the next entry.
pub(super) struct Told;

impl<S: FrameSource> SvmVcpu<S> {
    /// Decides what the next entry injects.
    #[cold]
    #[inline(never)]
    pub(super) fn prepare_events(&mut self) -> Result<Option<Event>, Told> {
        if self.guest.events.is_shutdown() {
            self.leave(VmExit::Shutdown);
            return Err(Told);
        }
        let plan = self.plan_events();
        if plan.tell_vmm {
            self.guest.pending = Pending::InterruptWindow;
            self.leave(VmExit::InterruptWindow);
            return Err(Told);
        }
        Ok(plan.inject)
    }

    /// Injects what is due, and asks for the windows that the rest needs.
    fn plan_events(&mut self) -> Plan {
        let priority = self.vmcb.virtual_interrupt().v_tpr();
        self.guest.interrupts.follow_task_priority(priority);
        self.notice_nmi_return();
        let ready = Readiness {
            interrupts_enabled: self.rflags().contains(Rflags::IF),
            shadow: self.vmcb.interrupt_shadow().contains(InterruptShadow::INTERRUPT_SHADOW),
            nmi_blocked: self.nmi != NmiState::Open,
            // The CPU keeps none between an exit and an entry.
            debug_pending: false,
        };
        let plan = self.guest.events.plan(ready, &mut self.guest.interrupts);
        if let Some(event) = &plan.inject {
            self.inject(event);
        }
        self.set_interrupt_window(plan.interrupt_window);
        // While interrupts wait for a lower CR8. While the window is open it does no harm, and one emulator dies of a write of
        // CR8 with V_IRQ set.
        self.set_intercept_cr(InterceptCr::CR8_WRITE, plan.interrupt_window || self.guest.interrupts.any());
        if plan.nmi_window {
            self.open_nmi_window();
        }
        plan
    }

    fn set_interrupt_window(&mut self, open: bool) {
        let old = self.vmcb.virtual_interrupt();
        let new = if open { old.with(WINDOW) } else { old.without(WINDOW) };
        if new != old {
            self.vmcb.set_virtual_interrupt(new);
        }
    }

    /// The window is open: no more exits for it.
    pub(super) fn close_interrupt_window(&mut self) {
        self.set_interrupt_window(false);
    }

    /// An NMI waits. While one is being handled, its IRET says when the next may come; in the shadow of an STI or MOV SS the
    /// interrupt window comes close enough.
    fn open_nmi_window(&mut self) {
        match self.nmi {
            NmiState::Open => self.set_interrupt_window(true),
            NmiState::Handling => {}
            NmiState::Returning { rip, stepping } => {
                if !stepping {
                    // TF makes the guest exit with #DB behind the IRET, which is intercepted; the IRET itself restores the
                    // flag to what it was for the interrupted code.
                    self.collect_debug_causes();
                    self.set_rflags(self.rflags().with(Rflags::TF));
                    self.nmi = NmiState::Returning { rip, stepping: true };
                    self.intercept_debug();
                }
            }
        }
    }

    fn inject(&mut self, event: &Event) {
        self.guest.observer.injected(event);
        let mut info = EventInfo::VALID.with_vector(event.vector).with_event_type(match event.kind {
            InterruptionType::EXTERNAL_INTERRUPT => EventType::INTR,
            InterruptionType::NMI => EventType::NMI,
            InterruptionType::SOFTWARE_INTERRUPT => EventType::SOFTWARE_INTERRUPT,
            _ => EventType::EXCEPTION,
        });
        // Real mode has no error codes.
        if let Some(code) = event.error_code
            && self.control_state().cr0.contains(Cr0::PE)
        {
            info = info.with(EventInfo::ERROR_CODE_VALID).with_error_code(code);
        }
        // VMRUN refuses what no CPU raises; what it overwrites then has to be kept before.
        if info.event_type() == EventType::EXCEPTION && !is_exception(event.vector) {
            self.proven = false;
            self.vmcb.mark_all_dirty();
        }
        if event.kind == InterruptionType::NMI {
            self.nmi = NmiState::Handling;
            self.set_intercept_misc1(InterceptMisc1::IRET, true);
        }
        // The guest executes the instruction again, without its breakpoint.
        if event.is_fault() {
            self.set_rflags(self.rflags().with(Rflags::RF));
        }
        // The handler returns behind the instruction: at NRIP on some CPUs, at RIP on the others.
        if event.is_software() {
            let next = self.vmcb.rip().wrapping_add(event.instruction_length.into());
            self.vmcb.set_rip(next);
            self.vmcb.set_nrip(next);
        }
        // The delivery ends a shadow.
        self.vmcb.set_interrupt_shadow(InterruptShadow::empty());
        self.vmcb.set_eventinj(info);
    }

    /// An event whose delivery the exit interrupted is delivered again by the next entry.
    #[inline]
    pub(super) fn recover_interrupted_event(&mut self, injected: Option<Event>) {
        let info = self.vmcb.exitintinfo();
        if info.contains(EventInfo::VALID) {
            self.deliver_again(info, injected);
        }
    }

    /// What the library injected, or what the guest itself met: APM volume 2, "EXITINTINFO Pseudo-Code".
    #[cold]
    fn deliver_again(&mut self, info: EventInfo, injected: Option<Event>) {
        if let Some(event) = injected
            && event.vector == info.vector()
        {
            if event.is_software() {
                // Back to the instruction, as `inject` found it.
                let rip = self.vmcb.rip().wrapping_sub(event.instruction_length.into());
                self.vmcb.set_rip(rip);
            }
            if event.kind == InterruptionType::NMI {
                self.nmi = NmiState::Open;
                self.set_intercept_misc1(InterceptMisc1::IRET, false);
            }
            self.guest.events.reinject(event);
            return;
        }
        // A #DB may be a trap, which nothing would raise again. Everything else of the guest's own comes again by itself: RIP is
        // at the instruction, which meets the same fault when it is executed again, or is the INT n. Besides, one emulator has
        // the exception before, if need be another guest's, where an INT n was interrupted. Interrupts and NMIs exit before the
        // CPU delivers them.
        if info.event_type() == EventType::EXCEPTION && ExceptionVector(info.vector()) == ExceptionVector::DB {
            self.guest.events.reinject(Event::exception(ExceptionVector::DB, None));
        }
    }

    /// The IRET of an NMI's handler is next.
    pub(super) fn nmi_return(&mut self) {
        self.set_intercept_misc1(InterceptMisc1::IRET, false);
        if self.nmi == NmiState::Handling {
            self.nmi = NmiState::Returning { rip: self.vmcb.rip(), stepping: false };
        }
    }

    /// NMIs are open again when the guest has left the IRET behind.
    pub(super) fn notice_nmi_return(&mut self) {
        if let NmiState::Returning { rip, .. } = self.nmi
            && rip != self.vmcb.rip()
        {
            self.nmi = NmiState::Open;
            self.intercept_debug();
        }
    }

    /// An intercepted #DB. One with which the guest was stepped over the IRET of an NMI's handler is none of the guest's: the
    /// flag is what the IRET loaded, and if the interrupted code was being stepped, that traps next.
    pub(super) fn debug_exception(&mut self) {
        let mut causes = self.vmcb.dr6();
        self.vmcb.set_dr6(DebugRegisters::DR6_RESET);
        if let NmiState::Returning { stepping: true, .. } = self.nmi {
            self.nmi = NmiState::Open;
            self.intercept_debug();
            causes.remove(Dr6::BS);
            if !causes.intersects(Dr6::B0 | Dr6::B1 | Dr6::B2 | Dr6::B3) {
                return;
            }
        } else if causes == DebugRegisters::DR6_RESET {
            // The manual has DR6 as a handler would see it. One emulator leaves it as it was.
            causes = self
                .guest
                .debug
                .likely_causes(self.rflags(), code_size(&self.vmcb).linear(self.vmcb.cs_base(), self.vmcb.rip()));
        }
        self.guest.raise_debug(causes);
    }

    /// A guest with breakpoints on its stack could make the CPU deliver #DB without end: APM volume 2, "#DB (Debug)" of "Exception
    /// Intercepts".
    pub(super) fn intercept_debug(&mut self) {
        let stepping = matches!(self.nmi, NmiState::Returning { stepping: true, .. });
        let on = stepping || self.guest.debug.data_breakpoints_enabled();
        self.set_intercept_exceptions(InterceptExceptions::EXCP1, on);
    }

    /// The guest's debug registers have changed.
    pub(super) fn load_debug(&mut self) {
        self.vmcb.set_dr7(self.guest.debug.hardware_dr7());
        self.guest.load_breakpoints();
        self.intercept_debug();
    }

    /// DR6 as the guest sees it: the CPU has the causes of the exceptions that were not intercepted.
    pub(super) fn collect_debug_causes(&mut self) {
        let causes = self.vmcb.dr6();
        if causes != DebugRegisters::DR6_RESET {
            self.vmcb.set_dr6(DebugRegisters::DR6_RESET);
            self.guest.debug.happened(causes);
        }
    }
}

/// Whether a vector is an exception's: APM volume 2, "Event Injection".
fn is_exception(vector: u8) -> bool {
    vector < 32 && vector != ExceptionVector::NMI.0
}
