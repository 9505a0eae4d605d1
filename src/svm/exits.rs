//! What each exit code leads to: APM volume 2, "SVM Intercept Exit Codes", "Instruction Intercepts", "Miscellaneous Intercepts".

use core::arch::asm;

use super::{
    code_page::CodePage,
    payload::{ExitInformation, OnExit},
    permission_maps::ADDRESSES,
    vcpu::SvmVcpu,
    world_switch,
};
use crate::{
    exit::{Access, EntryFailure, NestedFault, Unhandled, VmExit, Width},
    frame::FrameSource,
    guest::{
        control::{self, Fault},
        decode::Expected,
        events::Event,
        memory::MemoryFaultReason,
        msr::{Answer, MsrAction, VendorMsr},
        segmentation::is_canonical,
        state::Pending,
        walk::WalkFault,
    },
    host,
    spec::{
        Msr,
        amd::{
            exit_info::{IoioInfo, MsrInfo, NpfInfo},
            exits::ExitCode,
            payloads::{self, Exit},
        },
        payload::HasNextRip,
        x86::{
            msrs::Pat,
            registers::{Cr4, ExceptionVector, Rflags},
        },
    },
};

/// What comes after an exit.
pub(super) enum Outcome {
    /// The guest goes on where it is, which may be behind a completed instruction.
    Again,
    /// The VMM decides: [`SvmVcpu::leave`].
    Exit,
}

impl<S: FrameSource> SvmVcpu<S> {
    /// Answers an exit, or tells the VMM.
    #[inline(always)]
    pub(super) fn handle_exit<const OBSERVED: bool>(&mut self, injected: Option<Event>) -> Outcome {
        if OBSERVED {
            self.guest.observer.information([self.vmcb.exitinfo1(), self.vmcb.exitinfo2()]);
        }
        match Exit::decode(self.vmcb.exitcode(), ExitInformation::of(&self.vmcb)) {
            // The most frequent ones. Nothing was being delivered when an instruction exited.
            Exit::Ioio(exit) => self.io_instruction(exit),
            Exit::Msr(exit) => self.msr_instruction::<OBSERVED>(exit),
            Exit::Hlt(exit) => self.hlt(exit),
            // It exits at every privilege; a hypercall is the kernel's, not its programs'.
            Exit::Vmmcall(_) if self.vmcb.cpl() != 0 => self.raise(Event::invalid_opcode()),
            Exit::Vmmcall(exit) => {
                let answer = self.guest.hypercall();
                self.leave_with_skip(exit, Expected::Vmmcall, answer)
            }
            Exit::Cpuid(exit) => self.cpuid_instruction(exit),
            Exit::Npf(exit) => {
                self.recover_interrupted_event(injected);
                self.nested_page_fault(exit)
            }
            _ => self.handle_other_exit(injected),
        }
    }

    #[cold]
    #[inline(never)]
    fn handle_other_exit(&mut self, injected: Option<Event>) -> Outcome {
        let code = self.vmcb.exitcode();
        if is_refusal(code) {
            return self.entry_failed(injected);
        }
        self.recover_interrupted_event(injected);
        match Exit::decode(code, ExitInformation::of(&self.vmcb)) {
            Exit::Intr(_) => {
                self.guest.host_was_interrupted();
                self.leave(VmExit::ExternalInterrupt { vector: None })
            }
            Exit::Vintr(_) => {
                self.close_interrupt_window();
                Outcome::Again
            }
            // Still pending: the host takes it as soon as GIF is 1. An INIT resets this CPU then, as it would without us.
            Exit::Nmi(_) | Exit::Smi(_) | Exit::Init(_) => {
                self.let_host_in(|| ());
                Outcome::Again
            }
            Exit::CrRead(exit) if matches!(exit.index(), 0 | 4) => self.cr_access(exit, false),
            Exit::CrWrite(exit) if matches!(exit.index(), 0 | 4 | 8) => self.cr_access(exit, true),
            // The intercepts above DR7 are not set: there are no such registers.
            Exit::DrRead(exit) if exit.index() < 8 => self.dr_access(exit, false),
            Exit::DrWrite(exit) if exit.index() < 8 => self.dr_access(exit, true),
            Exit::Xsetbv(exit) => self.xsetbv(exit),
            Exit::Iret(_) => {
                self.nmi_return();
                Outcome::Again
            }
            Exit::Exception(exit) if exit.index() == ExceptionVector::DB.0 => {
                self.debug_exception();
                Outcome::Again
            }
            Exit::ExceptionWithCode(exit) if code == ExitCode::EXCP17 => {
                self.raise(Event::exception(ExceptionVector::AC, Some(exit.exit_info1() as u32)))
            }
            Exit::Exception(exit) if exit.index() == ExceptionVector::MC.0 => {
                // SAFETY: a machine check belongs to the host, which gets it as if it had happened right here.
                self.let_host_in(|| unsafe { asm!("int {vector}", vector = const ExceptionVector::MC.0) });
                Outcome::Again
            }
            Exit::Icebp(exit) => self.icebp(exit),
            // The guest's caches are the host's: a write-back has nothing to do, and dropping them must not happen.
            Exit::Invd(exit) => self.skip_cache_instruction(exit),
            Exit::Wbinvd(exit) => self.skip_cache_instruction(exit),
            Exit::Rdpmc(_) => self.raise(Event::general_protection()),
            // The guest's CPUID does not have these.
            Exit::Monitor(_)
            | Exit::Mwait(_)
            | Exit::MwaitConditional(_)
            | Exit::Rsm(_)
            | Exit::Rdpru(_)
            | Exit::Rdtscp(_)
            | Exit::Invlpga(_)
            | Exit::Vmrun(_)
            | Exit::Vmload(_)
            | Exit::Vmsave(_)
            | Exit::Stgi(_)
            | Exit::Clgi(_)
            | Exit::Skinit(_) => self.raise(Event::invalid_opcode()),
            Exit::Shutdown(_) => {
                self.shut_down = true;
                self.vmcb.mark_all_dirty();
                self.leave(VmExit::Shutdown)
            }
            _ => self.unhandled(),
        }
    }

    /// `run` comes back with this. It lies in the vCPU until then, and not in the results of the functions between: that would
    /// copy it at each.
    #[inline(always)]
    pub(super) fn leave(&mut self, exit: VmExit) -> Outcome {
        self.exit = exit;
        Outcome::Exit
    }

    /// An exit that needs the VMM, or that nobody knows: total, whatever the CPU reports.
    #[cold]
    pub(super) fn unhandled(&mut self) -> Outcome {
        let unhandled =
            Unhandled { code: self.vmcb.exitcode().0, info1: self.vmcb.exitinfo1(), info2: self.vmcb.exitinfo2() };
        self.leave(VmExit::Unhandled(unhandled))
    }

    /// The guest did not run. What was to be injected stays pending, and the state is what it was: what a CPU leaves in the
    /// save area after a refusal differs.
    #[cold]
    pub(super) fn entry_failed(&mut self, injected: Option<Event>) -> Outcome {
        let failure = EntryFailure::svm(self.vmcb.exitcode().0);
        if !self.proven {
            let before = &self.backup;
            self.vmcb.copy_from(before);
        }
        self.give_up_asid();
        self.entry_refused(failure, injected)
    }

    /// The guest was not entered, and the VMCB is what was to be entered. What was to be injected stays pending.
    #[cold]
    pub(super) fn entry_refused(&mut self, failure: EntryFailure, injected: Option<Event>) -> Outcome {
        // The check looks at the event, too.
        let failure = self.explain_failure(failure);
        self.vmcb.set_eventinj(crate::spec::amd::exit_info::EventInfo::empty());
        self.vmcb.mark_all_dirty();
        self.proven = false;
        if let Some(event) = injected {
            self.guest.events.undo(event);
        }
        self.leave(VmExit::EntryFailure(failure))
    }

    pub(super) fn raise(&mut self, event: Event) -> Outcome {
        self.guest.events.raise(event);
        Outcome::Again
    }

    /// CPUID, where it was not answered at once.
    #[inline(always)]
    fn cpuid_instruction(&mut self, exit: OnExit<payloads::Cpuid>) -> Outcome {
        match self.instruction_length(exit, Expected::Cpuid) {
            Ok(length) => {
                self.execute_cpuid();
                self.skip_by(length);
                Outcome::Again
            }
            Err(outcome) => outcome,
        }
    }

    /// Goes on behind the instruction that exited.
    fn skip<K: HasNextRip>(&mut self, exit: OnExit<K>, expected: Expected) -> Outcome {
        match self.instruction_length(exit, expected) {
            Ok(length) => {
                self.skip_by(length);
                Outcome::Again
            }
            Err(outcome) => outcome,
        }
    }

    /// The VMM is told, and the next run goes on behind the instruction.
    #[inline(always)]
    fn leave_with_skip<K: HasNextRip>(&mut self, exit: OnExit<K>, expected: Expected, answer: VmExit) -> Outcome {
        match self.instruction_length(exit, expected) {
            Ok(length) => {
                self.guest.skip = length;
                self.leave(answer)
            }
            Err(outcome) => outcome,
        }
    }

    /// How far the next instruction is: by NRIP, else by decoding.
    #[inline(always)]
    pub(super) fn instruction_length<K: HasNextRip>(
        &mut self,
        _: OnExit<K>,
        expected: Expected,
    ) -> Result<u8, Outcome> {
        if self.assists.next_rip {
            return Ok(self.length_to_next_rip());
        }
        match self.code_page.length(&self.vmcb, expected) {
            Some(length) => Ok(length),
            None => self.length_by_walk(expected)?.ok_or_else(|| self.unhandled()),
        }
    }

    /// `None` if it is another instruction.
    #[cold]
    #[inline(never)]
    fn length_by_walk(&mut self, expected: Expected) -> Result<Option<u8>, Outcome> {
        match self.with_memory(|code| CodePage::length_by_walk(code, expected))? {
            Ok((length, page)) => {
                self.code_page = page;
                Ok(length)
            }
            Err(fault) => Err(self.fetch_failed(fault)),
        }
    }

    /// INVD and WBINVD do nothing. One emulator takes the one for the other.
    fn skip_cache_instruction<K: HasNextRip>(&mut self, exit: OnExit<K>) -> Outcome {
        if !self.assists.next_rip {
            match self.length_by_walk(Expected::Invd) {
                Ok(Some(length)) => {
                    self.skip_by(length);
                    return Outcome::Again;
                }
                Ok(None) => {}
                Err(outcome) => return outcome,
            }
        }
        self.skip(exit, Expected::Wbinvd)
    }

    pub(super) fn length_to_next_rip(&self) -> u8 {
        self.vmcb.nrip().wrapping_sub(self.vmcb.rip()) as u8
    }

    /// The instruction that the CPU has just executed cannot be read.
    #[cold]
    pub(super) fn fetch_failed(&mut self, fault: WalkFault) -> Outcome {
        match fault {
            // The guest executes code that the library must not read, and would do so again.
            WalkFault::Memory(fault) if fault.reason == MemoryFaultReason::Device => self.unhandled(),
            // Another CPU has just taken the page away. The guest finds out by itself.
            _ => Outcome::Again,
        }
    }

    #[inline(always)]
    fn io_instruction(&mut self, exit: OnExit<payloads::Ioio>) -> Outcome {
        let info = exit.exit_info1();
        let width = io_width(info);
        // EXITINFO2 holds the address of the next instruction, on every CPU.
        let length = exit.exit_info2().wrapping_sub(self.vmcb.rip()) as u8;
        if info.contains(IoioInfo::STRING) {
            return self.string_io(info, width, length);
        }
        let port = info.port();
        if info.contains(IoioInfo::TYPE_IN) {
            self.guest.pending = Pending::In { width, length };
            self.leave(VmExit::IoRead { port, width })
        } else {
            self.guest.skip = length;
            let data = (self.guest.registers.rax & width.mask()) as u32;
            self.leave(VmExit::IoWrite { port, width, data })
        }
    }

    #[inline(always)]
    fn msr_instruction<const OBSERVED: bool>(&mut self, exit: OnExit<payloads::Msr>) -> Outcome {
        let write = exit.exit_info1().contains(MsrInfo::WRITE);
        let expected = if write { Expected::Wrmsr } else { Expected::Rdmsr };
        match self.instruction_length(exit, expected) {
            Ok(length) if write => self.wrmsr::<OBSERVED>(length),
            Ok(length) => self.rdmsr::<OBSERVED>(length),
            Err(outcome) => outcome,
        }
    }

    #[inline(always)]
    fn rdmsr<const OBSERVED: bool>(&mut self, length: u8) -> Outcome {
        let msr = Msr(self.guest.registers.rcx as u32);
        let value = match self.guest.msrs.read(msr) {
            Answer::Value(value) => value,
            Answer::Vendor(VendorMsr::Efer) => self.control_state().efer.bits(),
            Answer::Vendor(VendorMsr::Pat) => self.vmcb.g_pat().bits(),
            Answer::Vendor(VendorMsr::Tsc) => self.guest.tsc.at(self.guest.timestamp()),
            Answer::Vendor(VendorMsr::TscAdjust) => self.guest.tsc.adjust(),
            Answer::Vendor(VendorMsr::LocalApic) => match self.read_apic_msr(msr) {
                Ok(value) => value,
                Err(Fault) => return self.raise(Event::general_protection()),
            },
            Answer::Vendor(VendorMsr::Speculation(register)) => self.guest.xstate.edges.read_msr(register),
            Answer::Fault => return self.raise(Event::general_protection()),
            Answer::Ask => {
                self.guest.pending = Pending::MsrRead { length };
                return self.leave(VmExit::MsrRead { msr: msr.0 });
            }
        };
        if OBSERVED {
            self.guest.observer.completed(value);
        }
        self.guest.registers.set_edx_eax(value);
        self.skip_by(length);
        Outcome::Again
    }

    #[inline(always)]
    fn wrmsr<const OBSERVED: bool>(&mut self, length: u8) -> Outcome {
        let msr = Msr(self.guest.registers.rcx as u32);
        let value = self.guest.registers.edx_eax();
        if OBSERVED {
            self.guest.observer.completed(value);
        }
        match self.guest.msrs.write(msr, value) {
            Answer::Value(_) => {}
            Answer::Vendor(VendorMsr::Efer) => {
                let new = self.control_state().write_efer(value, self.guest.offered);
                return self.finish_control_write(new, length);
            }
            Answer::Vendor(VendorMsr::Pat) => self.vmcb.set_g_pat(Pat::from_bits(value)),
            Answer::Vendor(VendorMsr::Tsc) => {
                self.guest.tsc.write(value, self.guest.timestamp());
                self.write_tsc_offset();
            }
            Answer::Vendor(VendorMsr::Speculation(register)) => {
                if !self.guest.xstate.edges.write_msr(register, value) {
                    return self.raise(Event::general_protection());
                }
                if let Some(control) = self.guest.xstate.edges.control_for_vmcb() {
                    self.vmcb.set_spec_ctrl(control);
                }
            }
            Answer::Vendor(VendorMsr::TscAdjust) => {
                self.guest.tsc.write_adjust(value);
                self.write_tsc_offset();
            }
            Answer::Vendor(VendorMsr::LocalApic) => return self.write_apic_msr(msr, value, length),
            Answer::Fault if self.write_address(msr, value) => {}
            Answer::Fault => return self.raise(Event::general_protection()),
            Answer::Ask => {
                self.guest.pending = Pending::MsrWrite;
                self.guest.skip = length;
                return self.leave(VmExit::MsrWrite { msr: msr.0, value });
            }
        }
        self.skip_by(length);
        Outcome::Again
    }

    /// A register for an address, which is passed through but for this: the emulator of SVM without next RIP takes any value.
    #[cold]
    fn write_address(&mut self, msr: Msr, value: u64) -> bool {
        let passed = self.guest.msrs.policy().action(msr, true) == MsrAction::PassThrough;
        let allowed = passed && ADDRESSES.contains(&msr) && is_canonical(value, self.guest.offered.cr4);
        if allowed {
            // SAFETY: between `enter_world` and `leave_world` the register is the guest's; the value is canonical.
            unsafe { host::wrmsr(msr, value) };
        }
        allowed
    }

    #[inline(always)]
    fn hlt(&mut self, exit: OnExit<payloads::Hlt>) -> Outcome {
        if self.guest.events.any() && self.guest.would_wake(self.rflags().contains(Rflags::IF)) {
            return self.skip(exit, Expected::Hlt);
        }
        if self.guest.deadlines.next.is_some() && !self.prepare_to_halt() {
            return self.skip(exit, Expected::Hlt);
        }
        self.leave_with_skip(exit, Expected::Hlt, VmExit::Halt)
    }

    /// The CPU looks for the intercept before it looks for what makes XSETBV fault.
    fn xsetbv(&mut self, exit: OnExit<payloads::Xsetbv>) -> Outcome {
        let cr4 = self.control_state().cr4;
        if !cr4.contains(Cr4::OSXSAVE) {
            return self.raise(Event::invalid_opcode());
        }
        let registers = &self.guest.registers;
        let new = control::write_xcr(registers.rcx as u32, registers.edx_eax(), self.guest.offered);
        let Some(xcr0) = new.ok().filter(|_| self.vmcb.cpl() == 0) else {
            return self.raise(Event::general_protection());
        };
        let length = match self.instruction_length(exit, Expected::Xsetbv) {
            Ok(length) => length,
            Err(outcome) => return outcome,
        };
        self.guest.xstate.set_guest_xcr0(xcr0);
        self.cpuid.update(cr4, xcr0);
        self.skip_by(length);
        Outcome::Again
    }

    /// INT1 raises #DB behind itself, and leaves DR6 alone.
    fn icebp(&mut self, exit: OnExit<payloads::Icebp>) -> Outcome {
        match self.instruction_length(exit, Expected::Int1) {
            Ok(length) => {
                // Its handler, and no single step: the delivery clears TF.
                self.advance_by(length);
                self.raise(Event::exception(ExceptionVector::DB, None))
            }
            Err(outcome) => outcome,
        }
    }

    #[inline(always)]
    fn nested_page_fault(&mut self, exit: OnExit<payloads::Npf>) -> Outcome {
        let info = exit.exit_info1();
        // Not every CPU reports P with RSV.
        if info.intersects(NpfInfo::P.with(NpfInfo::RSV))
            && let Some(outcome) = self.own_nested_page_fault(exit)
        {
            return outcome;
        }
        let (write, fetch) = (info.contains(NpfInfo::RW), info.contains(NpfInfo::ID));
        let fault = NestedFault {
            gpa: exit.exit_info2(),
            gva: None,
            access: Access { read: !write && !fetch, write, fetch },
            present: info.contains(NpfInfo::P),
            table_walk: info.contains(NpfInfo::TABLE_WALK),
        };
        if self.guest.is_apic_page(&fault) {
            return self.apic_page_access(fault);
        }
        self.guest.pending = Pending::NestedFault(fault);
        self.leave(VmExit::NestedPageFault(fault))
    }

    /// Gives the CPU back to the host for a moment: its segments, and what GIF holds back. Its interrupts stay off.
    #[cold]
    fn let_host_in(&mut self, f: impl FnOnce()) {
        let (host, guest) = (self.host_area.address(), self.vmcb.address());
        // SAFETY: exits are handled between `enter_world` and `leave_world` with these addresses.
        unsafe {
            world_switch::leave_world(host, guest);
            f();
            world_switch::enter_world(host, guest);
        }
    }
}

/// The width of an access to a port.
#[inline(always)]
pub(super) fn io_width(info: IoioInfo) -> Width {
    // The bit for 8, 16 or 32 bits has the number of bytes as its place among them.
    let sizes = IoioInfo::SIZE8.with(IoioInfo::SIZE16).with(IoioInfo::SIZE32);
    let bytes = (info & sizes).bits() >> IoioInfo::SIZE8.bits().trailing_zeros();
    Width::from_bytes(bytes).unwrap_or(Width::Dword)
}

/// Whether VMRUN has not entered the guest: VMEXIT_INVALID and its kin, of which one emulator reports the lower half only.
pub(super) fn is_refusal(code: ExitCode) -> bool {
    code.0 as u32 >= ExitCode::INVALID_PMC.0 as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_32_and_64_bits() {
        assert!(is_refusal(ExitCode::INVALID) && is_refusal(ExitCode(0xffff_ffff)) && is_refusal(ExitCode::BUSY));
        assert!(!is_refusal(ExitCode::NPF) && !is_refusal(ExitCode::CPUID) && !is_refusal(ExitCode::HOST_RESERVED));
    }
}
