//! A vCPU that is recorded or replayed, an entry at a time: APM volume 2, "Instruction Intercepts" (RDTSC, RDTSCP).

use super::{
    emulation::{VmcbCpu, code_size},
    events::Told,
    exits::{Outcome, is_refusal},
    payload::ExitInformation,
    run::EVERY_ENTRY,
    vcpu::SvmVcpu,
    world_switch,
};
use crate::{
    Event, Result, SystemRegisters, VmExit,
    frame::FrameSource,
    guest::{debug::DebugRegisters, decode::Expected, local_apic::Activity, state::GuestState, state::Pending},
    handle::Mail,
    host,
    replay::{Engine, EngineStep, Happened, Place, Stop, repeats, with_breakpoint},
    spec::{
        amd::{
            exit_info::TlbControl,
            exits::ExitCode,
            intercepts::{InterceptExceptions, InterceptMisc1, InterceptMisc2},
            payloads::Exit,
        },
        x86::{msrs::IA32_TSC_AUX, registers::Rflags},
    },
};

impl<S: FrameSource> SvmVcpu<S> {
    /// Enters, between two looks at the time: always through the same instructions, so that it always takes as many.
    ///
    /// # Safety
    /// Between `enter_world` and `leave_world`.
    #[inline(never)]
    unsafe fn enter_timed(&mut self) -> u64 {
        let (vmcb, legacy_region) = (self.vmcb.address(), self.guest.xstate.legacy_region());
        let registers = &raw mut self.guest.registers;
        if self.guest.xstate.edges.fills_return_stack() {
            let start = host::timestamp();
            // SAFETY: the caller's promise. The pointers are to parts of this vCPU; the intercepts and maps of its VMCB keep the
            // guest from host resources.
            unsafe { world_switch::enter_and_fill(registers, vmcb, legacy_region) };
            host::timestamp().wrapping_sub(start)
        } else {
            let start = host::timestamp();
            // SAFETY: as above.
            unsafe { world_switch::enter(registers, vmcb, legacy_region) };
            host::timestamp().wrapping_sub(start)
        }
    }

    fn set_stop(&mut self, stop: Stop) -> bool {
        // What the CPU says of its #DB is not the guest's.
        self.collect_debug_causes();
        let Stop::At(linear) = stop else {
            self.set_intercept_exceptions(InterceptExceptions::EXCP1, true);
            self.set_rflags(self.rflags().with(Rflags::TF));
            return true;
        };
        let Some((dr7, addresses)) = with_breakpoint(&self.guest.debug, linear) else { return false };
        self.vmcb.set_dr7(dr7);
        self.set_intercept_exceptions(InterceptExceptions::EXCP1, true);
        host::set_breakpoints(addresses);
        true
    }

    fn remove_stop(&mut self, stop: Stop) {
        self.intercept_debug();
        if stop == Stop::Iteration {
            self.set_rflags(self.rflags().without(Rflags::TF));
            return;
        }
        self.vmcb.set_dr7(self.guest.debug.hardware_dr7());
        host::set_breakpoints(self.guest.debug.addresses());
    }

    /// Who the exit is for: the host, the breakpoint, or (`None`) the guest.
    fn exit_of_others(&mut self, injected: Option<Event>, stop: Option<Stop>) -> Option<Happened> {
        match Exit::decode(self.vmcb.exitcode(), ExitInformation::of(&self.vmcb)) {
            Exit::Intr(_) | Exit::Nmi(_) | Exit::Smi(_) | Exit::Init(_) => Some(Happened::Host(self.answer(injected))),
            Exit::Exception(_) if self.vmcb.exitcode() == ExitCode::EXCP18 => {
                Some(Happened::Host(self.answer(injected)))
            }
            Exit::Exception(_) if self.vmcb.exitcode() == ExitCode::EXCP1 => {
                let stopped = match stop {
                    None => false,
                    Some(Stop::At(linear)) => self.place().linear == linear && !self.rflags().contains(Rflags::TF),
                    Some(Stop::Iteration) => true,
                };
                stopped.then(|| {
                    self.vmcb.set_dr6(DebugRegisters::DR6_RESET);
                    Happened::Stopped
                })
            }
            _ => None,
        }
    }

    fn answer(&mut self, injected: Option<Event>) -> Option<VmExit> {
        let outcome = self.handle_exit::<false>(injected);
        self.told(outcome)
    }

    /// What the VMM is told.
    fn told(&self, outcome: Outcome) -> Option<VmExit> {
        match outcome {
            Outcome::Exit => Some(self.exit),
            Outcome::Again => None,
        }
    }

    /// Exits that there are only while the vCPU is recorded, and all others.
    fn answer_all(&mut self, injected: Option<Event>) -> Option<VmExit> {
        let length = match Exit::decode(self.vmcb.exitcode(), ExitInformation::of(&self.vmcb)) {
            Exit::Rdtsc(exit) => self.instruction_length(exit, Expected::Rdtsc),
            Exit::Rdtscp(exit) if self.guest.msrs.policy().has_rdtscp() => {
                // SAFETY: the CPU has the register, which is the guest's while it is bound.
                let auxiliary = unsafe { host::rdmsr(IA32_TSC_AUX) };
                self.guest.registers.rcx = auxiliary & u64::from(u32::MAX);
                self.instruction_length(exit, Expected::Rdtscp)
            }
            _ => return self.answer(injected),
        };
        match length {
            Ok(length) => {
                let value = self.guest.tsc.at(self.guest.timestamp());
                self.guest.registers.set_edx_eax(value);
                self.skip_by(length);
                None
            }
            Err(outcome) => self.told(outcome),
        }
    }

    /// Inside the world switch: the entry, and what comes of it.
    fn enter_and_answer(&mut self, injected: Option<Event>, stop: Option<Stop>, time: Option<u64>) -> EngineStep {
        self.vmcb.set_rax(self.guest.registers.rax);
        if self.forget {
            self.forget_translations();
        }
        if let Some(failure) = self.foresee_failure() {
            let outcome = self.entry_refused(failure, injected);
            let told = self.told(outcome);
            return EngineStep { ticks: 0, happened: Happened::Exit { reason: 0, state: 0, time: None, told } };
        }
        if !self.proven {
            let now = &self.vmcb;
            self.backup.copy_from(now);
        }
        // SAFETY: the caller is between `enter_world` and `leave_world`.
        let ticks = unsafe { self.enter_timed() };
        if is_refusal(self.vmcb.exitcode()) {
            let reason = self.vmcb.exitcode().0;
            let outcome = self.entry_failed(injected);
            let told = self.told(outcome);
            return EngineStep { ticks, happened: Happened::Exit { reason, state: 0, time: None, told } };
        }
        self.proven = true;
        self.vmcb.set_tlb_control(TlbControl::DO_NOTHING);
        self.vmcb.mark_all_clean();
        self.vmcb.mark_dirty(EVERY_ENTRY);
        self.guest.registers.rax = self.vmcb.rax();
        let happened = self.exit_of_others(injected, stop).unwrap_or_else(|| {
            let state = self.with_host_segments(Self::state);
            let reason = self.vmcb.exitcode().0;
            self.guest.clock.fix(time.unwrap_or_else(host::timestamp));
            let told = self.answer_all(injected);
            Happened::Exit { reason, state, time: self.guest.clock.release(), told }
        });
        EngineStep { ticks, happened }
    }
}

impl<S: FrameSource> Engine<S> for SvmVcpu<S> {
    const VENDOR: u8 = 1;

    fn guest(&self) -> &GuestState<S> {
        &self.guest
    }

    fn guest_mut(&mut self) -> &mut GuestState<S> {
        &mut self.guest
    }

    fn reason_name(code: u64) -> Option<&'static str> {
        ExitCode(code).name()
    }

    fn watch(&mut self, on: bool) -> Result {
        if on {
            self.cpuid.hide_random();
        }
        self.set_intercept_misc1(InterceptMisc1::RDTSC, on);
        let mut word = self.vmcb.intercept_misc2();
        word.set(InterceptMisc2::RDTSCP, on);
        self.vmcb.set_intercept_misc2(word);
        Ok(())
    }

    fn write_tsc(&mut self) -> Result {
        self.write_tsc_offset();
        Ok(())
    }

    fn begin(&mut self) -> Result<Option<VmExit>> {
        self.check_owner()?;
        if self.guest.activity != Activity::Running
            && let Some(exit) = self.start_up()?
        {
            return Ok(Some(exit));
        }
        self.guest.handle.enter_run(self.guest.cpu_tag);
        // A read that the VMM did not answer is executed, and asked, again.
        self.guest.pending = Pending::None;
        let length = core::mem::take(&mut self.guest.skip);
        if length != 0 {
            self.skip_by(length);
        } else if self.guest.emulation.is_active()
            && let Outcome::Exit = self.resume_emulation()
        {
            return Ok(Some(self.exit));
        }
        Ok(None)
    }

    fn finish(&mut self) {
        self.guest.handle.leave_run();
    }

    fn take_in(&mut self, mail: Mail) -> bool {
        let said = self.guest.take_in(&mail);
        self.follow_mail(said)
    }

    fn plan(&mut self) -> core::result::Result<Option<Event>, VmExit> {
        self.prepare_events().map_err(|Told| self.exit)
    }

    fn exit_after(&mut self, _ticks: Option<u64>) -> bool {
        false
    }

    fn step(&mut self, injected: Option<Event>, stop: Option<Stop>, time: Option<u64>) -> EngineStep {
        if self.shut_down {
            let (reason, state) = (ExitCode::SHUTDOWN.0, self.state());
            let happened = Happened::Exit { reason, state, time: None, told: Some(VmExit::Shutdown) };
            return EngineStep { ticks: 0, happened };
        }
        // A guest that steps itself exits often enough.
        let stop = stop.filter(|_| !self.rflags().contains(Rflags::TF));
        let stop = stop.filter(|stop| self.set_stop(*stop));
        let (host, guest) = (self.host_area.address(), self.vmcb.address());
        // SAFETY: `begin` says that SVM is enabled here, the loop keeps interrupts off, and both addresses are of frames that
        // this vCPU owns. What is called of the embedder's meanwhile is called in `with_host_segments`.
        unsafe { world_switch::enter_world(host, guest) };
        self.guest.xstate.enter_run();
        let step = self.enter_and_answer(injected, stop, time);
        self.follow_xcr0();
        self.guest.xstate.leave_run();
        // SAFETY: as above, with the same addresses.
        unsafe { world_switch::leave_world(host, guest) };
        if let Some(stop) = stop {
            self.remove_stop(stop);
        }
        step
    }

    fn repeats(&mut self) -> bool {
        let cpu = VmcbCpu { physical_bits: self.cpuid.physical_bits(), vmcb: &mut self.vmcb };
        repeats(&self.guest, &cpu)
    }

    fn place(&mut self) -> Place {
        let rip = self.vmcb.rip();
        let linear = code_size(&self.vmcb).linear(self.vmcb.cs_base(), rip);
        Place { rip, linear, resume: self.rflags().contains(Rflags::RF) }
    }

    fn set_resume(&mut self, on: bool) {
        let mut flags = self.rflags();
        flags.set(Rflags::RF, on);
        self.set_rflags(flags);
    }

    fn system_registers(&mut self) -> Result<SystemRegisters> {
        self.system()
    }
}
