//! The local APIC and the timers of a vCPU on VMX: SDM volume 3, "VMX-Preemption Timer".

use super::{loaded::Vmcs, payload::OnExit, vcpu::VmxVcpu};
use crate::{
    Result,
    exit::{NestedFault, VmExit},
    frame::FrameSource,
    guest::{control::Fault, emulation::Progress, events::Event, local_apic::PageAccess, state::Pending},
    spec::{
        Msr,
        intel::{controls::PinControls, payloads, vmcs::*},
    },
};

impl<S: FrameSource> VmxVcpu<S> {
    /// The vCPU waits for its start, or begins. `Some`: it still waits.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported): the guest begins in real mode, and this CPU has no "unrestricted
    /// guest".
    #[cold]
    pub(super) fn start_up(&mut self, vmcs: &Vmcs<'_>) -> Result<Option<VmExit>> {
        match self.guest.start_up(self.cpuid.signature()) {
            Ok(system) => self.write_system(vmcs, &system).map(|()| None),
            Err(exit) => Ok(Some(exit)),
        }
    }

    /// There is a deadline: what is due happens, and the CPU will exit at the next.
    #[cold]
    pub(super) fn pass_time(&mut self, vmcs: &Vmcs<'_>) -> Option<VmExit> {
        if let Some(exit) = self.guest.pass_time() {
            return Some(exit);
        }
        match vmcs.has() {
            Some(witness) => {
                let left = self.guest.time_left();
                self.use_preemption_timer(vmcs, left.is_some());
                if let Some(left) = left {
                    // Rounded up: an exit before the time would only be repeated.
                    let value = (left >> self.capabilities.misc.preemption_timer_shift()).saturating_add(1);
                    let value = u32::try_from(value).unwrap_or(u32::MAX);
                    vmcs.write_if(PREEMPTION_TIMER_VALUE, value, witness);
                }
            }
            None => self.guest.ask_host_timer(),
        }
        None
    }

    pub(super) fn use_preemption_timer(&mut self, vmcs: &Vmcs<'_>, on: bool) {
        let mut pin = self.controls.pin;
        pin.set(PinControls::ACTIVATE_VMX_PREEMPTION_TIMER, on);
        if pin != self.controls.pin {
            self.controls.pin = pin;
            vmcs.write(PIN_BASED_CONTROLS, pin);
        }
    }

    /// The preemption timer expired: what is due happens before the next entry, and nothing if somebody changed their mind.
    pub(super) fn preemption_timer(&mut self, vmcs: &Vmcs<'_>) -> Option<VmExit> {
        if self.guest.deadlines.next.is_none() {
            self.use_preemption_timer(vmcs, false);
        }
        None
    }

    /// The guest halts, and a deadline is set. `false`: it has passed, and ends the halt.
    #[cold]
    pub(super) fn prepare_to_halt(&mut self, interrupts_enabled: bool) -> bool {
        // A time slice that is over is told at the next run.
        if self.guest.timer_is_due() && self.guest.would_wake(interrupts_enabled) {
            return false;
        }
        // The host may sleep now.
        self.guest.ask_host_timer();
        true
    }

    /// WRMSR of a register of the local APIC.
    #[cold]
    pub(super) fn write_apic_msr(&mut self, exit: OnExit<'_, payloads::Wrmsr>, msr: Msr, value: u64) -> Option<VmExit> {
        let bits = self.cpuid.physical_bits();
        let effect = match self.guest.write_apic_msr(msr, value, bits) {
            Ok(effect) => effect,
            Err(Fault) => {
                self.guest.events.raise(Event::general_protection());
                return None;
            }
        };
        self.show_local_apic();
        let length = exit.instruction_length();
        match self.guest.follow_effect(effect) {
            Some(told) => {
                self.guest.skip = length as u8;
                Some(told)
            }
            None => {
                self.skip_by(exit.source(), length);
                None
            }
        }
    }

    /// CPUID says whether there is a local APIC.
    pub(super) fn show_local_apic(&mut self) {
        if let Some(apic) = self.guest.interrupts.apic() {
            self.cpuid.show_local_apic(apic.is_enabled());
        }
    }

    /// An access to the page of the local APIC.
    pub(super) fn apic_page_access(&mut self, vmcs: &Vmcs<'_>, fault: NestedFault) -> Option<VmExit> {
        let mut cpu = self.cpu_of(vmcs);
        match self.guest.apic_page_access(&mut cpu, fault) {
            PageAccess::Other => {
                self.guest.pending = Pending::NestedFault(fault);
                Some(VmExit::NestedPageFault(fault))
            }
            PageAccess::Done(progress) => self.after(vmcs, progress),
            PageAccess::Exit(exit) => self.after(vmcs, Progress::Exit(exit)),
        }
    }
}
