//! Injecting events, and finding out which one an exit interrupted: SDM volume 3, "Event Injection", "Information for VM
//! Exits That Occur During Event Delivery".

use super::{
    apic_virtualization::DeliveredByHardware,
    loaded::Vmcs,
    payload::{OnExit, Vectored},
    vcpu::VmxVcpu,
};
use crate::{
    frame::FrameSource,
    guest::{
        events::{Event, Plan, Readiness},
        state::Pending,
    },
    spec::{
        intel::{
            controls::PrimaryControls,
            structures::{
                EntryInterruptionInformation, IdtVectoringInformation, InterruptibilityState, InterruptionType,
                PendingDebugExceptions,
            },
            vmcs::*,
        },
        payload::HasIdtVectoring,
        x86::registers::{Cr0, Rflags},
    },
};

/// What delays interrupts for one instruction.
const SHADOW: InterruptibilityState =
    InterruptibilityState::BLOCKING_BY_STI.with(InterruptibilityState::BLOCKING_BY_MOV_SS);

impl<S: FrameSource> VmxVcpu<S> {
    /// Decides what the next entry injects. True when there is none: the guest has shut down, or the VMM has to know that it
    /// can take an interrupt.
    #[cold]
    #[inline(never)]
    pub(super) fn prepare_events(&mut self, vmcs: &Vmcs<'_>) -> bool {
        if self.guest.events.is_shutdown() {
            return true;
        }
        let tell = self.plan_events(vmcs).tell_vmm;
        if tell {
            self.keep_skip(vmcs);
            self.guest.pending = Pending::InterruptWindow;
        }
        tell
    }

    /// The entry failed, and the event that it was to inject is still pending: the CPU leaves the field valid.
    pub(super) fn take_back_injected(&mut self, vmcs: &Vmcs<'_>) {
        let information = vmcs.read(VM_ENTRY_INTERRUPTION_INFORMATION);
        if !information.contains(EntryInterruptionInformation::VALID) {
            return;
        }
        vmcs.write(VM_ENTRY_INTERRUPTION_INFORMATION, EntryInterruptionInformation::empty());
        let has_code = information.contains(EntryInterruptionInformation::DELIVER_ERROR_CODE);
        let kind = information.interruption_type();
        self.guest.events.undo(Event {
            vector: information.vector(),
            kind,
            error_code: has_code.then(|| vmcs.read(VM_ENTRY_EXCEPTION_ERROR_CODE)),
            instruction_length: if is_software(kind) { vmcs.read(VM_ENTRY_INSTRUCTION_LENGTH) as u8 } else { 0 },
        });
    }

    /// Injects what is due, and asks for the windows that the rest needs.
    pub(super) fn plan_events(&mut self, vmcs: &Vmcs<'_>) -> Plan {
        let mut state = vmcs.read(GUEST_INTERRUPTIBILITY_STATE);
        if self.skipped && state.intersects(SHADOW) {
            state.remove(SHADOW);
            vmcs.write(GUEST_INTERRUPTIBILITY_STATE, state);
        }
        let valid = PendingDebugExceptions::ENABLED_BREAKPOINT.with(PendingDebugExceptions::BS);
        let ready = Readiness {
            interrupts_enabled: vmcs.read(GUEST_RFLAGS).contains(Rflags::IF),
            shadow: state.intersects(SHADOW),
            nmi_blocked: state.contains(InterruptibilityState::BLOCKING_BY_NMI),
            debug_pending: vmcs.read(GUEST_PENDING_DEBUG_EXCEPTIONS).intersects(valid),
        };
        self.update_apic_mode(vmcs);
        let plan = if self.local_apic.delivers() {
            let mut source = DeliveredByHardware(self.guest.interrupts.apic());
            self.guest.events.plan(ready, &mut source)
        } else {
            self.guest.events.plan(ready, &mut self.guest.interrupts)
        };
        self.update_apic_state(vmcs);
        if let Some(event) = &plan.inject {
            // The delivery of an event ends a shadow; an entry with single-step and a shadow would be refused.
            if state.intersects(SHADOW) {
                vmcs.write(GUEST_INTERRUPTIBILITY_STATE, state.without(SHADOW));
            }
            self.inject(vmcs, event);
        }
        let mut primary = self.controls.primary;
        primary.set(PrimaryControls::INTERRUPT_WINDOW_EXITING, plan.interrupt_window);
        // Without virtual NMIs there is no such window: the interrupt window comes close enough.
        if self.controls.virtual_nmis() {
            primary.set(PrimaryControls::NMI_WINDOW_EXITING, plan.nmi_window);
        } else if plan.nmi_window {
            primary.insert(PrimaryControls::INTERRUPT_WINDOW_EXITING);
        }
        self.write_primary(vmcs, primary);
        plan
    }

    /// The window is open: no more exits for it.
    pub(super) fn close_windows(&mut self, vmcs: &Vmcs<'_>) {
        let windows = PrimaryControls::INTERRUPT_WINDOW_EXITING.with(PrimaryControls::NMI_WINDOW_EXITING);
        self.write_primary(vmcs, self.controls.primary.without(windows));
    }

    pub(super) fn write_primary(&mut self, vmcs: &Vmcs<'_>, primary: PrimaryControls) {
        if primary != self.controls.primary {
            self.controls.primary = primary;
            vmcs.write(PRIMARY_PROCESSOR_CONTROLS, primary);
        }
    }

    fn inject(&mut self, vmcs: &Vmcs<'_>, event: &Event) {
        self.guest.observer.injected(event);
        let mut information =
            EntryInterruptionInformation::VALID.with_vector(event.vector).with_interruption_type(event.kind);
        // Real mode has no error codes, and the CPU refuses an entry that would push one.
        if let Some(code) = event.error_code
            && vmcs.read(GUEST_CR0).contains(Cr0::PE)
        {
            information.insert(EntryInterruptionInformation::DELIVER_ERROR_CODE);
            vmcs.write(VM_ENTRY_EXCEPTION_ERROR_CODE, code);
        }
        // The guest executes the instruction again, without its breakpoint.
        if event.is_fault() {
            vmcs.write(GUEST_RFLAGS, vmcs.read(GUEST_RFLAGS).with(Rflags::RF));
        }
        if event.is_software() {
            vmcs.write(VM_ENTRY_INSTRUCTION_LENGTH, u32::from(event.instruction_length));
        }
        vmcs.write(VM_ENTRY_INTERRUPTION_INFORMATION, information);
    }

    /// An event whose delivery the exit interrupted is delivered again by the next entry.
    #[inline(always)]
    pub(super) fn recover_interrupted_event<K: HasIdtVectoring>(&mut self, exit: OnExit<'_, K>) {
        if let Some(event) = exit.idt_vectoring() {
            self.deliver_again(exit.source(), event);
        }
    }

    /// The same on an exit of which nothing is known: the CPU clears the field on one that interrupts no delivery.
    pub(super) fn recover_from_any_exit(&mut self, vmcs: &Vmcs<'_>) {
        if let Some(event) = Vectored::from_idt_vectoring(vmcs) {
            self.deliver_again(vmcs, event);
        }
    }

    #[cold]
    fn deliver_again(&mut self, vmcs: &Vmcs<'_>, event: Vectored<IdtVectoringInformation>) {
        let kind = event.information.interruption_type();
        if kind == InterruptionType::NMI {
            // Its delivery had begun and with it the blocking; the second delivery begins it again.
            let state = vmcs.read(GUEST_INTERRUPTIBILITY_STATE);
            vmcs.write(GUEST_INTERRUPTIBILITY_STATE, state.without(InterruptibilityState::BLOCKING_BY_NMI));
        }
        self.guest.events.reinject(Event {
            vector: event.information.vector(),
            kind,
            error_code: event.error_code,
            // Valid when the delivery of a software event was interrupted.
            instruction_length: if is_software(kind) { vmcs.read(VM_EXIT_INSTRUCTION_LENGTH) as u8 } else { 0 },
        });
    }

    /// If the exit happened while IRET was unblocking NMIs (`unblocking`), the guest will execute it again, with NMIs still
    /// blocked. During a delivery the bit means nothing.
    #[inline(always)]
    pub(super) fn keep_nmis_blocked(&self, vmcs: &Vmcs<'_>, unblocking: bool) {
        if unblocking && !self.guest.events.is_delivering() {
            self.block_nmis_again(vmcs);
        }
    }

    #[cold]
    fn block_nmis_again(&self, vmcs: &Vmcs<'_>) {
        let state = vmcs.read(GUEST_INTERRUPTIBILITY_STATE);
        vmcs.write(GUEST_INTERRUPTIBILITY_STATE, state.with(InterruptibilityState::BLOCKING_BY_NMI));
    }
}

/// The library completed the instruction that the shadow was for.
pub(super) fn end_shadow(vmcs: &Vmcs<'_>) {
    let state = vmcs.read(GUEST_INTERRUPTIBILITY_STATE);
    vmcs.write(GUEST_INTERRUPTIBILITY_STATE, state.without(SHADOW));
}

pub(super) fn is_software(kind: InterruptionType) -> bool {
    matches!(
        kind,
        InterruptionType::SOFTWARE_INTERRUPT
            | InterruptionType::SOFTWARE_EXCEPTION
            | InterruptionType::PRIVILEGED_SOFTWARE_EXCEPTION
    )
}
