//! The local APIC and the timers of a vCPU on SVM: APM volume 2, "Virtualizing TPR". SVM has no timer of its own: the host's
//! interrupt ends the guest.

use super::{emulation::VmcbCpu, events::NmiState, exits::Outcome, vcpu::SvmVcpu};
use crate::{
    Result,
    exit::{NestedFault, VmExit},
    frame::FrameSource,
    guest::{control::Fault, events::Event, local_apic::PageAccess, state::Pending},
    spec::{Msr, x86::registers::Rflags},
};

impl<S: FrameSource> SvmVcpu<S> {
    /// The vCPU waits for its start, or begins. `Some`: it still waits.
    #[cold]
    pub(super) fn start_up(&mut self) -> Result<Option<VmExit>> {
        match self.guest.start_up(self.cpuid.signature()) {
            Ok(system) => {
                self.nmi = NmiState::Open;
                self.set_system(&system).map(|()| None)
            }
            Err(exit) => Ok(Some(exit)),
        }
    }

    /// There is a deadline: what is due happens, and the host is asked to interrupt the guest at the next.
    #[cold]
    pub(super) fn pass_time(&mut self) -> Outcome {
        if let Some(exit) = self.guest.pass_time() {
            return self.leave(exit);
        }
        self.ask_host_timer();
        Outcome::Again
    }

    fn ask_host_timer(&mut self) {
        if self.guest.host_timer_is_stale() {
            self.with_host_segments(|vcpu| vcpu.guest.ask_host_timer());
        }
    }

    /// The guest halts, and a deadline is set. `false`: it has passed, and ends the halt.
    #[cold]
    pub(super) fn prepare_to_halt(&mut self) -> bool {
        // A time slice that is over is told at the next run.
        if self.guest.timer_is_due() && self.guest.would_wake(self.rflags().contains(Rflags::IF)) {
            return false;
        }
        // The host may sleep now.
        self.ask_host_timer();
        true
    }

    /// What the CPU has kept of CR8 goes to the local APIC.
    fn fetch_task_priority(&mut self) {
        self.guest.interrupts.follow_task_priority(self.vmcb.virtual_interrupt().v_tpr());
    }

    /// What the guest wrote to the task priority goes to the CPU.
    fn store_task_priority(&mut self) {
        let interrupt = self.vmcb.virtual_interrupt();
        let class = self.guest.interrupts.task_priority();
        if interrupt.v_tpr() != class {
            self.vmcb.set_virtual_interrupt(interrupt.with_v_tpr(class));
        }
    }

    /// RDMSR of a register of the local APIC.
    ///
    /// # Errors
    /// #GP(0).
    #[cold]
    pub(super) fn read_apic_msr(&mut self, msr: Msr) -> core::result::Result<u64, Fault> {
        self.fetch_task_priority();
        self.guest.read_apic_msr(msr)
    }

    /// WRMSR of a register of the local APIC.
    #[cold]
    pub(super) fn write_apic_msr(&mut self, msr: Msr, value: u64, length: u8) -> Outcome {
        self.fetch_task_priority();
        let bits = self.cpuid.physical_bits();
        let effect = match self.guest.write_apic_msr(msr, value, bits) {
            Ok(effect) => effect,
            Err(Fault) => return self.raise(Event::general_protection()),
        };
        self.store_task_priority();
        if let Some(apic) = self.guest.interrupts.apic() {
            self.cpuid.show_local_apic(apic.is_enabled());
        }
        match self.with_host_segments(|vcpu| vcpu.guest.follow_effect(effect)) {
            Some(told) => {
                self.guest.skip = length;
                self.leave(told)
            }
            None => {
                self.skip_by(length);
                Outcome::Again
            }
        }
    }

    /// An access to the page of the local APIC.
    pub(super) fn apic_page_access(&mut self, fault: NestedFault) -> Outcome {
        self.fetch_task_priority();
        let access = self.with_host_segments(|vcpu| {
            let mut cpu = VmcbCpu { physical_bits: vcpu.cpuid.physical_bits(), vmcb: &mut vcpu.vmcb };
            vcpu.guest.apic_page_access(&mut cpu, fault)
        });
        self.store_task_priority();
        match access {
            PageAccess::Other => {
                self.guest.pending = Pending::NestedFault(fault);
                self.leave(VmExit::NestedPageFault(fault))
            }
            PageAccess::Done(progress) => self.after(progress),
            PageAccess::Exit(exit) => self.leave(exit),
        }
    }
}
