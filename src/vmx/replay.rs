//! A vCPU that is recorded or replayed, an entry at a time: SDM volume 3, "Primary Processor-Based VM-Execution Controls" (RDTSC
//! exiting), "VMX-Preemption Timer".

use super::{exits::Outcome, loaded::Vmcs, run::is_64_bit, vcpu::VmxVcpu, world_switch};
use crate::{
    EntryFailure, Error, Event, Result, SystemRegisters, VmExit,
    frame::FrameSource,
    guest::{local_apic::Activity, state::GuestState, state::Pending},
    handle::Mail,
    host,
    replay::{Engine, EngineStep, Happened, Place, Stop, repeats, with_breakpoint},
    spec::{
        intel::{
            controls::{PinControls, PrimaryControls, SecondaryControls},
            exits::{ExitReason, ExitReasonWord},
            payloads::Exit,
            structures::InterruptionType,
            vmcs::*,
        },
        x86::{
            msrs::IA32_TSC_AUX,
            registers::{ExceptionVector, Rflags},
        },
    },
};

/// What the guest's CPUID does not have while it is recorded: SDM volume 3C, "Definitions of Secondary Processor-Based
/// VM-Execution Controls".
const RANDOM: SecondaryControls = SecondaryControls::RDRAND_EXITING.with(SecondaryControls::RDSEED_EXITING);

impl<S: FrameSource> VmxVcpu<S> {
    /// Enters, between two looks at the time: always through the same instructions, so that it always takes as many.
    #[inline(never)]
    fn enter_timed(&mut self) -> (bool, u64) {
        // The way that writes HOST_RSP.
        self.context.host_rsp = 0;
        let start = host::timestamp();
        // SAFETY: as in `run_until_exit`; `begin` was called, which has done what `run` does.
        let entered =
            unsafe { world_switch::enter(&raw mut self.guest.registers, self.launched, &raw mut self.context) };
        (entered, host::timestamp().wrapping_sub(start))
    }

    fn set_stop(&mut self, vmcs: &Vmcs<'_>, stop: Stop) -> bool {
        let Stop::At(linear) = stop else {
            vmcs.write(GUEST_RFLAGS, vmcs.read(GUEST_RFLAGS).with(Rflags::TF));
            return true;
        };
        let Some((dr7, addresses)) = with_breakpoint(&self.guest.debug, linear) else { return false };
        vmcs.write(GUEST_DR7, dr7);
        host::set_breakpoints(addresses);
        true
    }

    fn remove_stop(&mut self, vmcs: &Vmcs<'_>, stop: Stop) {
        if stop == Stop::Iteration {
            vmcs.write(GUEST_RFLAGS, vmcs.read(GUEST_RFLAGS).without(Rflags::TF));
            return;
        }
        vmcs.write(GUEST_DR7, self.guest.debug.hardware_dr7());
        host::set_breakpoints(self.guest.debug.addresses());
    }

    /// Who the exit is for: the host, the breakpoint, or (`None`) the guest.
    fn exit_of_others(&mut self, vmcs: &Vmcs<'_>, reason: ExitReasonWord, stop: Option<Stop>) -> Option<Happened> {
        match Exit::decode(ExitReason(reason.basic_reason()), vmcs) {
            Exit::ExternalInterrupt(_) => Some(Happened::Host(self.answer(vmcs, reason))),
            // What is due happens before the next entry.
            Exit::PreemptionTimer(_) => Some(Happened::Host(None)),
            Exit::ExceptionOrNmi(exit) => {
                let information = exit.interruption().information;
                let vector = ExceptionVector(information.vector());
                if information.interruption_type() == InterruptionType::NMI || vector == ExceptionVector::MC {
                    return Some(Happened::Host(self.answer(vmcs, reason)));
                }
                let stopped = match stop {
                    None => false,
                    Some(Stop::At(linear)) => {
                        self.place().linear == linear && !vmcs.read(GUEST_RFLAGS).contains(Rflags::TF)
                    }
                    Some(Stop::Iteration) => true,
                };
                (stopped && vector == ExceptionVector::DB).then_some(Happened::Stopped)
            }
            _ => None,
        }
    }

    fn answer(&mut self, vmcs: &Vmcs<'_>, reason: ExitReasonWord) -> Option<VmExit> {
        match self.handle_exit::<false>(vmcs, reason, None) {
            Outcome::Exit => Some(self.exit),
            Outcome::Again => None,
        }
    }

    /// Exits that there are only while the vCPU is recorded, and all others.
    fn answer_all(&mut self, vmcs: &Vmcs<'_>, reason: ExitReasonWord) -> Option<VmExit> {
        let length = match Exit::decode(ExitReason(reason.basic_reason()), vmcs) {
            Exit::Rdtsc(exit) => exit.instruction_length(),
            Exit::Rdtscp(exit) => {
                // SAFETY: a guest that executes RDTSCP was offered it, and then the CPU has the register, which is the guest's
                // while it is bound.
                let auxiliary = unsafe { host::rdmsr(IA32_TSC_AUX) };
                self.guest.registers.rcx = auxiliary & u64::from(u32::MAX);
                exit.instruction_length()
            }
            // The guest's CPUID does not have them.
            Exit::Rdrand(_) | Exit::Rdseed(_) => return self.raise(Event::invalid_opcode()),
            _ => return self.answer(vmcs, reason),
        };
        let value = self.guest.tsc.at(self.guest.timestamp());
        self.guest.registers.set_edx_eax(value);
        self.skip_by(vmcs, length);
        None
    }

    fn refused(&mut self, ticks: u64, reason: u32) -> EngineStep {
        let state = self.state();
        let happened = Happened::Exit { reason: reason.into(), state, time: None, told: Some(self.exit) };
        EngineStep { ticks, happened }
    }
}

impl<S: FrameSource> Engine<S> for VmxVcpu<S> {
    const VENDOR: u8 = 0;

    fn guest(&self) -> &GuestState<S> {
        &self.guest
    }

    fn guest_mut(&mut self) -> &mut GuestState<S> {
        &mut self.guest
    }

    fn reason_name(code: u64) -> Option<&'static str> {
        ExitReason(code as u16).name()
    }

    fn watch(&mut self, on: bool) -> Result {
        if self.capabilities.primary.may_be_1 & PrimaryControls::RDTSC_EXITING.bits() == 0 {
            return Err(Error::Unsupported("exits on RDTSC (\"RDTSC exiting\")"));
        }
        if on {
            self.cpuid.hide_random();
        }
        let random = SecondaryControls::from_bits(self.capabilities.secondary.may_be_1) & RANDOM;
        self.with_vmcs(|vcpu, vmcs| {
            let mut primary = vcpu.controls.primary;
            primary.set(PrimaryControls::RDTSC_EXITING, on);
            vcpu.write_primary(vmcs, primary);
            vcpu.set_secondary_of(vmcs, random, if on { random } else { SecondaryControls::empty() });
            Ok(())
        })
    }

    fn write_tsc(&mut self) -> Result {
        self.with_vmcs(|vcpu, vmcs| {
            vcpu.write_tsc_offset(vmcs);
            Ok(())
        })
    }

    fn begin(&mut self) -> Result<Option<VmExit>> {
        let cr4 = self.check_owner()?;
        let vmcs = self.vmcs();
        if self.guest.activity != Activity::Running
            && let Some(exit) = self.start_up(&vmcs)?
        {
            return Ok(Some(exit));
        }
        self.guest.handle.enter_run(self.guest.cpu_tag);
        self.refresh_host_state(&vmcs, cr4, false);
        // A read that the VMM did not answer is executed, and asked, again.
        self.guest.pending = Pending::None;
        let length = core::mem::take(&mut self.guest.skip);
        self.skipped = false;
        if length != 0 {
            self.skip_by(&vmcs, length.into());
        } else if self.guest.emulation.is_active() {
            return Ok(self.resume_emulation(&vmcs));
        }
        Ok(None)
    }

    fn finish(&mut self) {
        let vmcs = self.vmcs();
        self.keep_skip(&vmcs);
        self.guest.handle.leave_run();
    }

    fn take_in(&mut self, mail: Mail) -> bool {
        let vmcs = self.vmcs();
        let said = self.guest.take_in(&mail);
        self.follow_mail(&vmcs, said)
    }

    fn plan(&mut self) -> core::result::Result<Option<Event>, VmExit> {
        let vmcs = self.vmcs();
        match self.prepare_events(&vmcs) {
            false => Ok(None),
            true if self.guest.events.is_shutdown() => Err(VmExit::Shutdown),
            true => Err(VmExit::InterruptWindow),
        }
    }

    fn exit_after(&mut self, ticks: Option<u64>) -> bool {
        let vmcs = self.vmcs();
        let Some(witness) = vmcs.has() else { return false };
        self.use_preemption_timer(&vmcs, ticks.is_some());
        if let Some(ticks) = ticks {
            // Rounded up: an exit before the time would only be repeated.
            let value = (ticks >> self.capabilities.misc.preemption_timer_shift()).saturating_add(1);
            vmcs.write_if(PREEMPTION_TIMER_VALUE, u32::try_from(value).unwrap_or(u32::MAX), witness);
        }
        self.controls.pin.contains(PinControls::ACTIVATE_VMX_PREEMPTION_TIMER) || ticks.is_none()
    }

    fn step(&mut self, _injected: Option<Event>, stop: Option<Stop>, time: Option<u64>) -> EngineStep {
        let vmcs = self.vmcs();
        self.guest.xstate.enter_run();
        host::set_cr2(self.guest.cr2);
        if self.before_entry.any()
            && let Some(failure) = self.prepare_entry()
        {
            self.entry_failed(&vmcs, failure);
            self.guest.xstate.leave_run();
            return self.refused(0, 0);
        }
        self.skipped = false;
        // A guest that steps itself exits often enough.
        let stop = stop.filter(|_| !vmcs.read(GUEST_RFLAGS).contains(Rflags::TF));
        let stop = stop.filter(|stop| self.set_stop(&vmcs, *stop));
        let (entered, ticks) = self.enter_timed();
        self.guest.cr2 = host::cr2();
        if let Some(stop) = stop {
            self.remove_stop(&vmcs, stop);
        }
        let reason = vmcs.read(EXIT_REASON);
        let step = if !entered {
            self.entry_failed(&vmcs, EntryFailure::instruction(super::instructions::instruction_error()));
            self.refused(ticks, 0)
        } else if reason.contains(ExitReasonWord::ENTRY_FAILURE) {
            self.entry_failed(&vmcs, EntryFailure::exit(reason.bits(), vmcs.read(EXIT_QUALIFICATION)));
            self.refused(ticks, reason.bits())
        } else {
            self.launched = true;
            let happened = self.exit_of_others(&vmcs, reason, stop).unwrap_or_else(|| {
                let state = self.state();
                self.guest.clock.fix(time.unwrap_or_else(host::timestamp));
                let told = self.answer_all(&vmcs, reason);
                let time = self.guest.clock.release();
                Happened::Exit { reason: reason.basic_reason().into(), state, time, told }
            });
            EngineStep { ticks, happened }
        };
        self.guest.xstate.leave_run();
        step
    }

    fn repeats(&mut self) -> bool {
        let vmcs = self.vmcs();
        repeats(&self.guest, &self.cpu_of(&vmcs))
    }

    fn place(&mut self) -> Place {
        let vmcs = self.vmcs();
        let rip = vmcs.read(GUEST_RIP);
        let base = if is_64_bit(&vmcs) { 0 } else { vmcs.read(GUEST_CS_BASE) };
        let resume = vmcs.read(GUEST_RFLAGS).contains(Rflags::RF);
        Place { rip, linear: base.wrapping_add(rip), resume }
    }

    fn set_resume(&mut self, on: bool) {
        let vmcs = self.vmcs();
        let old = vmcs.read(GUEST_RFLAGS);
        let mut new = old;
        new.set(Rflags::RF, on);
        if new != old {
            vmcs.write(GUEST_RFLAGS, new);
        }
    }

    fn system_registers(&mut self) -> Result<SystemRegisters> {
        self.system()
    }
}
