//! The run loop: enter, look at the exit, answer it here or hand it to the VMM.

use super::{events::end_shadow, loaded::Vmcs, payload::OnExit, vcpu::VmxVcpu, world_switch};
use crate::{
    Result,
    exit::{EntryFailure, VmExit},
    frame::FrameSource,
    guest::{events::Event, registers::RegisterIndex, state::Pending},
    host::{self, InterruptsOff},
    spec::{
        intel::{
            exits::{ExitReason, ExitReasonWord},
            payloads,
            structures::{PendingDebugExceptions, SegmentAccessRights},
            vmcs::*,
        },
        payload::Payload,
        x86::registers::{Efer, Rflags},
    },
};

impl<S: FrameSource> VmxVcpu<S> {
    /// Runs the guest until the VMM has to do something. Host interrupts are off inside, and as before afterwards.
    ///
    /// # Errors
    /// [`Error::BadState`](crate::Error::BadState) when the vCPU is not bound to this CPU.
    pub fn run(&mut self) -> Result<VmExit> {
        let _interrupts_off = InterruptsOff::new();
        let cr4 = self.check_owner()?;
        let vmcs = self.vmcs();
        self.guest.handle.enter_run(self.guest.cpu_tag);
        self.refresh_host_state(&vmcs, cr4, false);
        self.guest.xstate.enter_run();
        host::set_cr2(self.guest.cr2);
        let exit = self.run_until_exit(&vmcs);
        self.guest.cr2 = host::cr2();
        self.guest.xstate.leave_run();
        self.guest.handle.leave_run();
        Ok(exit)
    }

    fn run_until_exit(&mut self, vmcs: &Vmcs<'_>) -> VmExit {
        // A read that the VMM did not answer is executed, and asked, again.
        self.guest.pending = Pending::None;
        let length = core::mem::take(&mut self.guest.skip);
        self.skipped = false;
        if length != 0 {
            self.skip_by(vmcs, length.into());
        } else if self.guest.emulation.is_active()
            && let Some(exit) = self.resume_emulation(vmcs)
        {
            return exit;
        }
        loop {
            if self.guest.handle.has_mail() && self.guest.read_mail() {
                self.keep_skip(vmcs);
                return VmExit::Interrupted;
            }
            let mut injected = None;
            if self.guest.events.any() {
                if self.guest.events.is_shutdown() {
                    return VmExit::Shutdown;
                }
                let plan = self.plan_events(vmcs);
                if plan.tell_vmm {
                    self.keep_skip(vmcs);
                    self.guest.pending = Pending::InterruptWindow;
                    return VmExit::InterruptWindow;
                }
                injected = plan.inject;
            }
            if self.forget_nested {
                self.forget_nested_now();
            }
            self.skipped = false;
            // SAFETY: `run` has checked that this vCPU's VMCS is current here, with interrupts off; bind wrote this CPU's
            // host state, and `refresh_host_state` what may have changed since; the controls were chosen so that nothing
            // of the host is within the guest's reach. `launched` and `host_rsp` are kept with the VMCS.
            let entered =
                unsafe { world_switch::enter(&raw mut self.guest.registers, self.launched, &raw mut self.context) };
            if !entered {
                return self.entry_failed(injected, 0, super::instructions::instruction_error(), 0);
            }
            let reason = vmcs.read(EXIT_REASON);
            // The whole word at once: no flag set, and the most frequent exit first.
            if reason.bits() == u32::from(ExitReason::CPUID.0) {
                self.launched = true;
                self.execute_cpuid();
                let exit: OnExit<'_, payloads::Cpuid> = Payload::new(vmcs);
                self.skip_by(vmcs, exit.instruction_length());
                continue;
            }
            if reason.contains(ExitReasonWord::ENTRY_FAILURE) {
                let qualification = vmcs.read(EXIT_QUALIFICATION);
                return self.entry_failed(injected, reason.bits(), 0, qualification);
            }
            self.launched = true;
            if let Some(exit) = self.handle_exit(vmcs, reason) {
                return exit;
            }
        }
    }

    /// CPUID is answered from the policy's table.
    #[inline]
    pub(super) fn execute_cpuid(&mut self) {
        self.cpuid.execute(&mut self.guest.registers);
    }

    /// Goes on `length` bytes behind the guest's RIP, as the CPU would after executing that instruction.
    ///
    /// The shadow of an STI or MOV SS before it ends too. Writing that to the VMCS is left to `plan_events`: with no event
    /// to inject, no single-step and no breakpoint the guest cannot tell, and most skips are spared a VMREAD.
    #[inline]
    pub(super) fn skip_by(&mut self, vmcs: &Vmcs<'_>, length: u32) {
        let rip: u64 = vmcs.read(GUEST_RIP);
        let mut next = rip.wrapping_add(length.into());
        if (rip ^ next) >> 32 != 0 && !is_64_bit(vmcs) {
            next &= u64::from(u32::MAX);
        }
        vmcs.write(GUEST_RIP, next);
        self.skipped = true;
        if vmcs.read(GUEST_RFLAGS).contains(Rflags::TF) {
            self.single_step(vmcs);
        }
    }

    /// The completed instruction was to be followed by a single-step trap.
    #[cold]
    fn single_step(&mut self, vmcs: &Vmcs<'_>) {
        end_shadow(vmcs);
        let pending = vmcs.read(GUEST_PENDING_DEBUG_EXCEPTIONS);
        vmcs.write(GUEST_PENDING_DEBUG_EXCEPTIONS, pending.with(PendingDebugExceptions::BS));
    }

    /// `run` ends between a skip and the next entry: the shadow that the skip ended must not come back.
    fn keep_skip(&self, vmcs: &Vmcs<'_>) {
        if self.skipped {
            end_shadow(vmcs);
        }
    }

    /// The guest did not run. What was to be injected stays pending.
    #[cold]
    fn entry_failed(&mut self, injected: Option<Event>, reason: u32, error: u32, qualification: u64) -> VmExit {
        if let Some(event) = injected {
            self.guest.events.undo(event);
        }
        VmExit::EntryFailure(EntryFailure { code: reason.into(), qualification, instruction_error: error })
    }

    /// A general-purpose register of the guest, RSP included.
    pub(super) fn read_register(&self, vmcs: &Vmcs<'_>, index: RegisterIndex) -> u64 {
        if index == RegisterIndex::RSP { vmcs.read(GUEST_RSP) } else { self.guest.registers.get(index) }
    }

    /// Sets a general-purpose register of the guest, RSP included.
    pub(super) fn write_register(&mut self, vmcs: &Vmcs<'_>, index: RegisterIndex, value: u64) {
        if index == RegisterIndex::RSP {
            vmcs.write(GUEST_RSP, value);
        } else {
            self.guest.registers.set(index, value);
        }
    }
}

/// Whether the guest executes 64-bit code.
pub(super) fn is_64_bit(vmcs: &Vmcs<'_>) -> bool {
    let long = vmcs.has().is_some_and(|witness| vmcs.read_if(GUEST_IA32_EFER, witness).contains(Efer::LMA));
    long && vmcs.read(GUEST_CS_ACCESS_RIGHTS).contains(SegmentAccessRights::L)
}
