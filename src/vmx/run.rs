//! The run loop: enter, look at the exit, answer it here or hand it to the VMM.

use super::{
    events::end_shadow, exits::Outcome, loaded::Vmcs, observed::JustExited, payload::OnExit, vcpu::VmxVcpu,
    world_switch,
};
use crate::{
    Result,
    exit::{EntryFailure, VmExit, Width},
    frame::FrameSource,
    guest::{debug, local_apic::Activity, registers::RegisterIndex, state::Pending},
    host::{self, InterruptsOff},
    observer,
    spec::{
        intel::{
            exits::{ExitReason, ExitReasonWord},
            payloads::{self, Exit},
            structures::{PendingDebugExceptions, SegmentAccessRights},
            vmcs::*,
        },
        payload::Payload,
        x86::registers::{Cr4, Dr6, Efer, Rflags},
    },
};

impl<S: FrameSource> VmxVcpu<S> {
    /// Runs the guest until the VMM has to do something. Host interrupts are off inside, and as before afterwards.
    ///
    /// # Errors
    /// [`Error::BadState`](crate::Error::BadState) when the vCPU is not bound to this CPU.
    #[inline(always)]
    pub fn run(&mut self) -> Result<VmExit> {
        if observer::BUILT_IN && self.guest.observer.is_on() {
            self.run_maybe_observed::<true>()
        } else {
            self.run_maybe_observed::<false>()
        }
    }

    /// There are two of it: one tells the observer of what happens, and the other does not even ask whether there is one. Functions of
    /// their own, so that neither gets in the way of the other's registers.
    #[inline(never)]
    fn run_maybe_observed<const OBSERVED: bool>(&mut self) -> Result<VmExit> {
        let _interrupts_off = InterruptsOff::new();
        let cr4 = self.check_owner()?;
        let vmcs = self.vmcs();
        if OBSERVED {
            self.guest.observer.enter_run();
        }
        if self.guest.activity != Activity::Running
            && let Some(exit) = self.start_up(&vmcs)?
        {
            return Ok(exit);
        }
        self.guest.handle.enter_run(self.guest.cpu_tag);
        self.refresh_host_state(&vmcs, cr4, false);
        self.guest.xstate.enter_run();
        host::set_cr2(self.guest.cr2);
        self.run_until_exit::<OBSERVED>(&vmcs);
        self.guest.cr2 = host::cr2();
        if self.guest.dirty_log.is_some() {
            self.tell_modifications(&vmcs);
        }
        self.guest.xstate.leave_run();
        self.guest.handle.leave_run();
        if OBSERVED {
            self.guest.observer.leave_run();
        }
        Ok(self.exit)
    }

    /// Enters the guest until there is something for the VMM, which is in `exit` then.
    #[inline(always)]
    fn run_until_exit<const OBSERVED: bool>(&mut self, vmcs: &Vmcs<'_>) {
        // A read that the VMM did not answer is executed, and asked, again.
        self.guest.pending = Pending::None;
        let length = core::mem::take(&mut self.guest.skip);
        self.skipped = false;
        if length != 0 {
            self.skip_by(vmcs, length.into());
        } else if self.guest.emulation.is_active()
            && let Some(exit) = self.resume_emulation(vmcs)
        {
            self.exit = exit;
            return;
        }
        loop {
            if self.guest.handle.has_mail() && self.read_mail(vmcs) {
                self.keep_skip(vmcs);
                self.exit = self.guest.mail_exit();
                return;
            }
            if self.guest.deadlines.next.is_some()
                && let Some(exit) = self.pass_time(vmcs)
            {
                self.keep_skip(vmcs);
                self.exit = exit;
                return;
            }
            if self.guest.events.any() && self.prepare_events(vmcs) {
                self.exit = if self.guest.events.is_shutdown() { VmExit::Shutdown } else { VmExit::InterruptWindow };
                return;
            }
            if self.before_entry.any()
                && let Some(failure) = self.prepare_entry()
            {
                return self.entry_failed(vmcs, failure);
            }
            self.skipped = false;
            if OBSERVED {
                self.guest.observer.enter_guest();
            }
            // SAFETY: `run` has checked that this vCPU's VMCS is current here, with interrupts off; bind wrote this CPU's
            // host state, and `refresh_host_state` what may have changed since; the controls were chosen so that nothing
            // of the host is within the guest's reach. `launched` and `host_rsp` are kept with the VMCS.
            let entered =
                unsafe { world_switch::enter(&raw mut self.guest.registers, self.launched, &raw mut self.context) };
            if !entered {
                self.entry_failed(vmcs, EntryFailure::instruction(super::instructions::instruction_error()));
                return;
            }
            let reason = vmcs.read(EXIT_REASON);
            // One reading of RIP is enough for the observer and for what goes on behind the instruction.
            let mut rip = None;
            if OBSERVED {
                let exit = JustExited { reason, rip: vmcs.read(GUEST_RIP), registers: &self.guest.registers };
                self.guest.observer.exited(&exit);
                rip = Some(exit.rip);
            }
            // The whole word at once: no flag set, and the most frequent exit first.
            if reason.bits() == u32::from(ExitReason::CPUID.0) {
                self.launched = true;
                self.execute_cpuid();
                let exit: OnExit<'_, payloads::Cpuid> = Payload::new(vmcs);
                self.skip_from(vmcs, rip, exit.instruction_length());
                continue;
            }
            if reason.contains(ExitReasonWord::ENTRY_FAILURE) {
                let qualification = vmcs.read(EXIT_QUALIFICATION);
                self.entry_failed(vmcs, EntryFailure::exit(reason.bits(), qualification));
                if OBSERVED {
                    self.guest.observer.information([qualification, 0]);
                    self.guest.observer.left_to_vmm(&self.exit);
                }
                return;
            }
            self.launched = true;
            if self.handle_exit::<OBSERVED>(vmcs, reason, rip) == Outcome::Exit {
                return;
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
        self.skip_from(vmcs, None, length);
    }

    /// The same for somebody who may have read RIP already.
    #[inline(always)]
    pub(super) fn skip_from(&mut self, vmcs: &Vmcs<'_>, rip: Option<u64>, length: u32) {
        let rip: u64 = rip.unwrap_or_else(|| vmcs.read(GUEST_RIP));
        let mut next = rip.wrapping_add(length.into());
        if (rip ^ next) >> 32 != 0 && !is_64_bit(vmcs) {
            next &= u64::from(u32::MAX);
        }
        vmcs.write(GUEST_RIP, next);
        self.skipped = true;
        if (vmcs.read(GUEST_RFLAGS) | self.guest.debug.watch()).contains(Rflags::TF) {
            self.trap_after(vmcs, false);
        }
    }

    /// One element of a repeated string instruction is done.
    pub(super) fn repeat(&mut self, vmcs: &Vmcs<'_>) {
        self.skipped = true;
        if (vmcs.read(GUEST_RFLAGS) | self.guest.debug.watch()).contains(Rflags::TF) {
            self.trap_after(vmcs, true);
        }
    }

    /// The completed instruction (or one element of it) may be followed by a #DB: a single step, its own breakpoints, and what
    /// the MOV SS before it has held back. All of it is one exception of the engine's, and not a pending debug exception,
    /// which an entry that injects something else would lose.
    #[cold]
    fn trap_after(&mut self, vmcs: &Vmcs<'_>, repeats: bool) {
        end_shadow(vmcs);
        let flags = vmcs.read(GUEST_RFLAGS);
        let resume = if repeats { flags.with(Rflags::RF) } else { flags.without(Rflags::RF) };
        if resume != flags {
            vmcs.write(GUEST_RFLAGS, resume);
        }
        let port = self.port_of_exit(vmcs);
        let debug_extensions = self.control_state(vmcs).cr4.contains(Cr4::DE);
        let mut causes = self.guest.debug.causes_after(flags, port, debug_extensions);
        let pending = vmcs.read(GUEST_PENDING_DEBUG_EXCEPTIONS);
        if !pending.is_empty() {
            vmcs.write(GUEST_PENDING_DEBUG_EXCEPTIONS, PendingDebugExceptions::empty());
            if pending.contains(PendingDebugExceptions::ENABLED_BREAKPOINT) {
                causes |= Dr6::from_bits(pending.bits()) & (Dr6::B0 | Dr6::B1 | Dr6::B2 | Dr6::B3);
            }
        }
        if !causes.is_empty() {
            self.guest.raise_debug(causes);
        }
    }

    /// The port that the last exit was about.
    pub(super) fn port_of_exit(&self, vmcs: &Vmcs<'_>) -> Option<debug::Access> {
        let Exit::IoInstruction(exit) = Exit::decode(ExitReason(vmcs.read(EXIT_REASON).basic_reason()), vmcs) else {
            return None;
        };
        let qualification = exit.qualification();
        let width = Width::from_bytes(u64::from(qualification.size().0) + 1)?;
        Some(debug::Access::Port { port: qualification.port(), width })
    }

    /// `run` ends between a skip and the next entry: the shadow that the skip ended must not come back.
    pub(super) fn keep_skip(&self, vmcs: &Vmcs<'_>) {
        if self.skipped {
            end_shadow(vmcs);
        }
    }

    /// The guest did not run. What was to be injected stays pending.
    #[cold]
    pub(super) fn entry_failed(&mut self, vmcs: &Vmcs<'_>, failure: EntryFailure) {
        // The check looks at the event, too.
        let failure = self.explain_failure(failure);
        self.take_back_injected(vmcs);
        self.exit = VmExit::EntryFailure(failure);
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
