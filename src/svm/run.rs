//! The run loop: enter, look at the exit, answer it here or hand it to the VMM.

use super::{
    asid,
    code_page::CodePage,
    emulation::{VmcbCpu, code_size},
    events::Told,
    exits::{Outcome, io_width, is_refusal},
    observed::JustExited,
    payload::ExitInformation,
    vcpu::SvmVcpu,
    world_switch,
};
use crate::{
    Result,
    exit::VmExit,
    frame::FrameSource,
    guest::{
        debug,
        decode::DecodeError,
        emulation::Cpu,
        events::Event,
        fetch::{CodeAddress, InstructionBytes},
        local_apic::Activity,
        memory::GuestMemory,
        mmio::Segments,
        registers::RegisterIndex,
        segmentation::{CodeSize, SegmentRegister},
        state::Pending,
        walk::{Paging, WalkFault},
    },
    host::InterruptsOff,
    observer,
    spec::{
        amd::{
            exit_info::TlbControl,
            payloads::Exit,
            vmcb::{CleanBits, InterruptShadow},
        },
        x86::registers::{Cr4, Rflags},
    },
};

/// The clean bit of a group that the library does not use. Without it an entry does what only some need, and what an exit of
/// all others would have to ask for.
pub(super) const EVERY_ENTRY: CleanBits = CleanBits::AVIC;

impl<S: FrameSource> SvmVcpu<S> {
    /// Runs the guest until the VMM has to do something. Interrupts, NMIs and machine checks of the host are held back inside,
    /// except while the guest executes, which they end.
    ///
    /// # Errors
    /// [`Error::BadState`](crate::Error::BadState) when the vCPU is not bound to this CPU, or has no nested page table.
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
        let interrupts_off = InterruptsOff::new();
        self.check_owner()?;
        if OBSERVED {
            self.guest.observer.enter_run();
        }
        if self.guest.activity != Activity::Running
            && let Some(exit) = self.start_up()?
        {
            return Ok(exit);
        }
        // A read that the VMM did not answer is executed, and asked, again.
        self.guest.pending = Pending::None;
        let length = core::mem::take(&mut self.guest.skip);
        if length != 0 {
            self.skip_by(length);
        } else if self.guest.emulation.is_active() {
            // It uses the nested page table.
            self.guest.handle.enter_run(self.guest.cpu_tag);
            if let Outcome::Exit = self.resume_emulation() {
                self.guest.handle.leave_run();
                if OBSERVED {
                    self.guest.observer.leave_run();
                }
                return Ok(self.exit);
            }
        }
        let (host, guest) = (self.host_area.address(), self.vmcb.address());
        // SAFETY: `check_owner` says that SVM is enabled here, interrupts are off, and both addresses are of frames that this
        // vCPU owns. What `run_until_exit` calls of the embedder's it calls in `with_host_segments`.
        unsafe { world_switch::enter_world(host, guest) };
        self.guest.handle.enter_run(self.guest.cpu_tag);
        self.guest.xstate.enter_run();
        self.run_until_exit::<OBSERVED>();
        self.follow_xcr0();
        self.guest.xstate.leave_run();
        self.guest.handle.leave_run();
        // SAFETY: as above, with the same addresses; IF is as before afterwards.
        unsafe { world_switch::leave_world_for_good(host, guest, interrupts_off) };
        if OBSERVED {
            self.guest.observer.leave_run();
        }
        Ok(self.exit)
    }

    /// Enters the guest until there is something for the VMM, which is in `exit` then.
    #[inline(always)]
    fn run_until_exit<const OBSERVED: bool>(&mut self) {
        loop {
            if self.guest.handle.has_mail() && self.read_mail() {
                self.leave(self.guest.mail_exit());
                return;
            }
            if self.guest.deadlines.next.is_some()
                && let Outcome::Exit = self.pass_time()
            {
                return;
            }
            let mut injected = None;
            if self.guest.events.any() {
                match self.prepare_events() {
                    Ok(event) => injected = event,
                    Err(Told) => return,
                }
            }
            self.vmcb.set_rax(self.guest.registers.rax);
            if self.vmcb.clean_bits() == CleanBits::ALL {
                // SAFETY: `run` calls this between `enter_world` and `leave_world`.
                unsafe { self.enter::<OBSERVED>() }
                let mut answered = self.answer_cpuid();
                // Whatever waits for a window looks for it again: not every CPU notices V_IRQ when IF was 1 already.
                while answered && !self.guest.handle.has_mail() && !self.guest.events.any() {
                    // SAFETY: as above.
                    unsafe { self.enter::<OBSERVED>() }
                    answered = self.answer_cpuid();
                }
                self.guest.registers.rax = self.vmcb.rax();
                if answered {
                    continue;
                }
            } else if let Outcome::Exit = self.enter_changed::<OBSERVED>(injected) {
                return;
            }
            if let Outcome::Exit = self.handle_exit::<OBSERVED>(injected) {
                if OBSERVED {
                    self.guest.observer.left_to_vmm(&self.exit);
                }
                return;
            }
        }
    }

    /// # Safety
    /// Between `enter_world` and `leave_world`.
    #[inline(always)]
    unsafe fn enter<const OBSERVED: bool>(&mut self) {
        if OBSERVED {
            self.guest.observer.enter_guest();
        }
        // SAFETY: the caller's promise. The pointers are to parts of this vCPU; the intercepts and maps of its VMCB keep the
        // guest from host resources.
        unsafe {
            world_switch::enter(&raw mut self.guest.registers, self.vmcb.address(), self.guest.xstate.legacy_region());
        }
        if OBSERVED {
            self.guest.observer.exited(&JustExited { vmcb: &self.vmcb, registers: &self.guest.registers });
        }
    }

    /// The most frequent exit first, if the CPU says how long the instruction is.
    #[inline(always)]
    fn answer_cpuid(&mut self) -> bool {
        let vmcb = &mut *self.vmcb;
        if vmcb.exitcode() != self.answered_at_once || (vmcb.rflags() | self.guest.debug.watch()).contains(Rflags::TF) {
            return false;
        }
        let registers = &mut self.guest.registers;
        registers.rax = vmcb.rax();
        self.cpuid.execute(registers);
        vmcb.set_rax(registers.rax);
        vmcb.set_rip(vmcb.nrip());
        vmcb.set_interrupt_shadow(InterruptShadow::empty());
        true
    }

    /// Enters the guest with a VMCB in which more has changed than RIP and RFLAGS: whatever wants attention before an entry
    /// takes a clean bit away.
    #[cold]
    fn enter_changed<const OBSERVED: bool>(&mut self, injected: Option<Event>) -> Outcome {
        if self.shut_down {
            return self.leave(VmExit::Shutdown);
        }
        if self.forget {
            self.forget_translations();
        }
        if let Some(failure) = self.foresee_failure() {
            return self.entry_refused(failure, injected);
        }
        if !self.proven {
            let now = &self.vmcb;
            self.backup.copy_from(now);
        }
        let fills_return_stack = self.guest.xstate.edges.fills_return_stack();
        if fills_return_stack {
            let (registers, vmcb) = (&raw mut self.guest.registers, self.vmcb.address());
            if OBSERVED {
                self.guest.observer.enter_guest();
            }
            // SAFETY: as below, and as in `enter`.
            unsafe { world_switch::enter_and_fill(registers, vmcb, self.guest.xstate.legacy_region()) };
            if OBSERVED {
                self.guest.observer.exited(&JustExited { vmcb: &self.vmcb, registers: &self.guest.registers });
            }
        } else {
            // SAFETY: the caller, `run_until_exit`, is called between `enter_world` and `leave_world`.
            unsafe { self.enter::<OBSERVED>() };
        }
        if is_refusal(self.vmcb.exitcode()) {
            let outcome = self.entry_failed(injected);
            if OBSERVED {
                self.guest.observer.left_to_vmm(&self.exit);
            }
            return outcome;
        }
        self.proven = true;
        self.vmcb.set_tlb_control(TlbControl::DO_NOTHING);
        self.vmcb.mark_all_clean();
        if fills_return_stack || self.is_strict() {
            self.vmcb.mark_dirty(EVERY_ENTRY);
        }
        self.guest.registers.rax = self.vmcb.rax();
        Outcome::Again
    }

    /// One emulator, which has no next RIP either, does not honour the intercept of XSETBV: what the guest has set is taken in
    /// when somebody looks.
    #[inline(always)]
    pub(super) fn follow_xcr0(&mut self) {
        if !self.assists.next_rip {
            self.take_in_xcr0();
        }
    }

    #[inline(never)]
    fn take_in_xcr0(&mut self) {
        if self.guest.xstate.follow_xcr0() {
            let cr4 = self.control_state().cr4;
            self.cpuid.update(cr4, self.guest.xstate.guest_xcr0);
        }
    }

    /// CPUID is answered from the policy's table.
    pub(super) fn execute_cpuid(&mut self) {
        self.follow_xcr0();
        self.cpuid.execute(&mut self.guest.registers);
    }

    /// Goes on `length` bytes behind the guest's RIP, as the CPU would after executing that instruction: the shadow of an STI
    /// or MOV SS before it ends, and a single-step trap follows.
    #[inline]
    pub(super) fn skip_by(&mut self, length: u8) {
        self.advance_by(length);
        if (self.rflags() | self.guest.debug.watch()).contains(Rflags::TF) {
            self.trap_after(false);
        }
    }

    /// The same for an instruction that has raised its own trap.
    #[inline(always)]
    pub(super) fn advance_by(&mut self, length: u8) {
        let rip = self.vmcb.rip();
        let mut next = rip.wrapping_add(length.into());
        if (rip ^ next) >> 32 != 0 && code_size(&self.vmcb) != CodeSize::Bits64 {
            next &= u64::from(u32::MAX);
        }
        self.vmcb.set_rip(next);
        self.vmcb.set_interrupt_shadow(InterruptShadow::empty());
    }

    /// One element of a repeated string instruction is done.
    pub(super) fn repeat(&mut self) {
        self.vmcb.set_interrupt_shadow(InterruptShadow::empty());
        if (self.rflags() | self.guest.debug.watch()).contains(Rflags::TF) {
            self.trap_after(true);
        }
    }

    /// The completed instruction (or one element of it) may be followed by a #DB: a single step, and its own breakpoints.
    #[cold]
    fn trap_after(&mut self, repeats: bool) {
        let flags = self.rflags();
        let resume = if repeats { flags.with(Rflags::RF) } else { flags.without(Rflags::RF) };
        self.set_rflags(resume);
        let port = self.port_of_exit();
        let debug_extensions = self.control_state().cr4.contains(Cr4::DE);
        let causes = self.guest.debug.causes_after(flags, port, debug_extensions);
        if !causes.is_empty() {
            self.guest.raise_debug(causes);
        }
    }

    /// The port that the last exit was about.
    pub(super) fn port_of_exit(&self) -> Option<debug::Access> {
        let Exit::Ioio(exit) = Exit::decode(self.vmcb.exitcode(), ExitInformation::of(&self.vmcb)) else { return None };
        let info = exit.exit_info1();
        Some(debug::Access::Port { port: info.port(), width: io_width(info) })
    }

    /// Makes the next entry forget the guest's translations.
    pub(super) fn forget_later(&mut self) {
        self.forget = true;
        self.code_page = CodePage::NONE;
        self.vmcb.mark_dirty(CleanBits::ASID);
    }

    /// Makes the next VMRUN forget them: APM volume 2, "TLB Flush".
    pub(super) fn forget_translations(&mut self) {
        let Some(cpu) = self.guest.cpu else { return };
        self.forget = false;
        if self.assists.flush_by_asid && self.asid.is_valid_on(cpu) {
            self.vmcb.set_tlb_control(TlbControl::FLUSH_GUEST);
            return;
        }
        // A new identifier has no translations.
        let control = self.asid.renew(cpu, self.assists.asids);
        self.vmcb.set_guest_asid(self.asid.number());
        self.vmcb.set_tlb_control(control);
    }

    /// The VMRUN that was to flush failed: nothing is known of the TLB.
    pub(super) fn give_up_asid(&mut self) {
        if let Some(cpu) = self.guest.cpu {
            asid::start_over(cpu.slot());
        }
        self.asid = asid::Asid::NONE;
        self.forget_later();
    }

    /// A general-purpose register of the guest, RSP included.
    pub(super) fn register(&self, index: RegisterIndex) -> u64 {
        if index == RegisterIndex::RSP { self.vmcb.rsp() } else { self.guest.registers.get(index) }
    }

    /// Sets a general-purpose register, RSP included.
    pub fn set_register(&mut self, index: RegisterIndex, value: u64) {
        if index == RegisterIndex::RSP {
            self.vmcb.set_rsp(value);
        } else {
            self.guest.registers.set(index, value);
        }
    }

    /// The registers of the guest with RSP filled in, for code that may use any of them.
    pub(super) fn fetch_rsp(&mut self) {
        self.guest.registers.rsp = self.vmcb.rsp();
    }

    /// Runs `f` with the host's segments loaded and the guest's in the VMCB, between an exit and the next entry: for code that
    /// calls the embedder.
    pub(super) fn with_host_segments<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let (host, guest) = (self.host_area.address(), self.vmcb.address());
        // SAFETY: exits are handled between `enter_world` and `leave_world` with these addresses.
        unsafe { world_switch::with_host_segments(host, guest, || f(self)) }
    }

    /// Runs `f` with the guest's memory and where its code is, between an exit and the next entry.
    ///
    /// # Errors
    /// When there is no nested page table, which [`run`](Self::run) refuses.
    #[inline]
    pub(super) fn with_memory<R>(&mut self, f: impl FnOnce(&mut Code<'_, S>) -> R) -> core::result::Result<R, Outcome> {
        let result = self.with_host_segments(|vcpu| {
            let cpu = VmcbCpu { physical_bits: vcpu.cpuid.physical_bits(), vmcb: &mut vcpu.vmcb };
            let size = cpu.code_size();
            Some(f(&mut Code {
                memory: vcpu.guest.memory::<VmcbCpu<'_>>()?,
                paging: cpu.paging(),
                at: CodeAddress { size, linear: size.linear(cpu.base(SegmentRegister::Cs), cpu.rip()) },
                cpu,
            }))
        });
        result.ok_or_else(|| self.unhandled())
    }
}

/// What reading the guest's code takes.
pub(super) struct Code<'a, S: FrameSource> {
    pub(super) cpu: VmcbCpu<'a>,
    pub(super) memory: GuestMemory<'a, S>,
    pub(super) paging: Paging,
    pub(super) at: CodeAddress,
}

impl<S: FrameSource> Code<'_, S> {
    /// Reads the guest's instruction and decodes it.
    pub(super) fn decode<T>(
        &mut self,
        decode: impl Fn(&[u8], CodeSize) -> core::result::Result<T, DecodeError>,
    ) -> core::result::Result<core::result::Result<T, DecodeError>, WalkFault> {
        let (memory, paging, at) = (&mut self.memory, &self.paging, self.at);
        let mut bytes = InstructionBytes::fetch(memory, paging, at)?;
        bytes.decode(memory, paging, at, |bytes| decode(bytes, at.size))
    }
}
