//! Injecting events, and finding out which one an exit interrupted: APM volume 2, "Event Injection", "Interrupt Intercepts",
//! "Virtual Interrupts".

use super::vcpu::SvmVcpu;
use crate::{
    frame::FrameSource,
    guest::{
        debug,
        events::{Event, InterruptSource, Plan, Readiness},
        state::DEBUG_RESET,
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

impl<S: FrameSource> SvmVcpu<S> {
    /// Injects what is due, and asks for the windows that the rest needs.
    #[cold]
    pub(super) fn plan_events(&mut self) -> Plan {
        let priority = self.vmcb.virtual_interrupt().v_tpr();
        self.guest.interrupts.set_task_priority(priority);
        self.notice_nmi_return();
        let ready = Readiness {
            interrupts_enabled: self.rflags().contains(Rflags::IF),
            shadow: self.vmcb.interrupt_shadow().contains(InterruptShadow::INTERRUPT_SHADOW),
            nmi_blocked: self.nmi != NmiState::Open,
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
                    self.set_intercept_exceptions(InterceptExceptions::EXCP1, true);
                    self.nmi = NmiState::Returning { rip, stepping: true };
                }
            }
        }
    }

    fn inject(&mut self, event: &Event) {
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
        self.vmcb.set_eventinj(info);
    }

    /// An event that was injected and whose delivery the exit interrupted is delivered again by the next entry.
    ///
    /// What the guest's own instruction raised is not: RIP still points at it, and it raises the event again. (An emulator
    /// reports a stale event for an INT whose delivery it interrupts; it could not be told from such a one.) No other event is
    /// delivered by the CPU: interrupts, NMIs, #DB and #MC exit before.
    #[inline]
    pub(super) fn recover_interrupted_event(&mut self, injected: Option<Event>) {
        let info = self.vmcb.exitintinfo();
        if info.contains(EventInfo::VALID)
            && let Some(event) = injected
            && event.vector == info.vector()
        {
            self.guest.events.reinject(event);
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
    fn notice_nmi_return(&mut self) {
        if let NmiState::Returning { rip, .. } = self.nmi
            && rip != self.vmcb.rip()
        {
            self.nmi = NmiState::Open;
            self.set_intercept_exceptions(InterceptExceptions::EXCP1, false);
        }
    }

    /// The #DB with which the guest was stepped over the IRET. It is none of the guest's: the flag is what the IRET loaded, and
    /// if the interrupted code was being stepped, that traps next.
    pub(super) fn stepped_over_nmi_return(&mut self) {
        self.nmi = NmiState::Open;
        self.set_intercept_exceptions(InterceptExceptions::EXCP1, false);
        self.vmcb.set_dr6(DEBUG_RESET[6]);
    }

    /// DR6 as the guest sees it: the CPU has the causes of the exceptions since the last access.
    pub(super) fn collect_debug_causes(&mut self) {
        let cause = Dr6::from_bits(self.vmcb.dr6());
        debug::set_cause(&mut self.guest.debug, cause);
        self.vmcb.set_dr6(DEBUG_RESET[6]);
    }
}

/// Whether a vector is an exception's: APM volume 2, "Event Injection".
fn is_exception(vector: u8) -> bool {
    vector < 32 && vector != ExceptionVector::NMI.0
}
