//! What each exit reason leads to: SDM volume 3, appendix "VMX Basic Exit Reasons", and chapter "VMX Non-Root Operation",
//! "Instructions That Cause VM Exits".

#[cfg(test)]
mod tests;

use super::{loaded::Vmcs, observed::information, payload::OnExit, run::is_64_bit, vcpu::VmxVcpu};
use crate::{
    exit::{Access, NestedFault, Unhandled, VmExit, Width},
    frame::FrameSource,
    guest::{
        control::{self, ControlState, Fault},
        events::Event,
        msr::{Answer, VendorMsr},
        registers::RegisterIndex,
        state::Pending,
    },
    host,
    nested::NestedFormat,
    spec::{
        Msr,
        intel::{
            exit_qualifications::{
                CrAccessType, DebugExceptionQualification, EptViolationQualification, IoAccessSize, IoQualification,
                MovDrQualification,
            },
            exits::{ExitReason, ExitReasonWord},
            payloads::{self, Exit},
            structures::{ExitInterruptionInformation, InterruptionType, SegmentAccessRights},
            vmcs::*,
        },
        payload::HasInstructionLength,
        x86::{
            msrs::{IA32_PAT_RESET, Pat},
            registers::{Cr0, Cr4, Dr6, Efer, ExceptionVector, Rflags},
        },
    },
};

/// What INT1 raises.
const INT1: InterruptionType = InterruptionType::PRIVILEGED_SOFTWARE_EXCEPTION;

/// What follows an exit. What the VMM has to do lies in the vCPU: as a result of each call it would be copied again and again.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Outcome {
    /// The guest goes on.
    Again,
    /// `run` returns what is in `exit`.
    Exit,
}

impl<S: FrameSource> VmxVcpu<S> {
    /// Answers an exit, or says what the VMM has to do.
    ///
    /// What guests do all the time is inlined into the run loop; the rest is kept out of it, and out of its registers.
    ///
    /// The observer of an exit that is `OBSERVED` hears what is found out here.
    #[inline(always)]
    pub(super) fn handle_exit<const OBSERVED: bool>(
        &mut self,
        vmcs: &Vmcs<'_>,
        reason: ExitReasonWord,
        rip: Option<u64>,
    ) -> Outcome {
        match Exit::decode(ExitReason(reason.basic_reason()), vmcs) {
            // The instructions first: nothing was being delivered when one of them exited.
            Exit::IoInstruction(exit) => self.io_instruction::<OBSERVED>(exit),
            Exit::Rdmsr(exit) => self.rdmsr::<OBSERVED>(exit, rip),
            Exit::Wrmsr(exit) => self.wrmsr::<OBSERVED>(exit, rip),
            Exit::Hlt(exit) => self.hlt::<OBSERVED>(exit, rip),
            Exit::Vmcall(exit) => self.vmcall::<OBSERVED>(exit),
            Exit::EptViolation(exit) => self.ept_violation::<OBSERVED>(exit),
            _ => {
                if OBSERVED {
                    self.guest.observer.information(information(vmcs, reason));
                }
                let exit = self.handle_rare_exit(vmcs, reason);
                self.finish::<OBSERVED>(exit)
            }
        }
    }

    /// The VMM is told.
    #[inline(always)]
    pub(super) fn leave<const OBSERVED: bool>(&mut self, exit: VmExit) -> Outcome {
        if OBSERVED {
            self.guest.observer.left_to_vmm(&exit);
        }
        self.exit = exit;
        Outcome::Exit
    }

    /// The VMM is told, if there is something to tell.
    #[inline(always)]
    fn finish<const OBSERVED: bool>(&mut self, exit: Option<VmExit>) -> Outcome {
        match exit {
            Some(exit) => self.leave::<OBSERVED>(exit),
            None => Outcome::Again,
        }
    }

    #[inline(never)]
    fn handle_rare_exit(&mut self, vmcs: &Vmcs<'_>, reason: ExitReasonWord) -> Option<VmExit> {
        match Exit::decode(ExitReason(reason.basic_reason()), vmcs) {
            Exit::CrAccess(exit) => self.cr_access(exit),
            Exit::MovDr(exit) => self.mov_dr(exit),
            Exit::Xsetbv(exit) => self.xsetbv(exit),
            Exit::Cpuid(exit) => {
                self.execute_cpuid();
                self.skipped(exit)
            }
            // The guest's caches are the host's: a write-back has nothing to do, and dropping them must not happen.
            Exit::Invd(exit) => self.skipped(exit),
            Exit::Wbinvd(exit) => self.skipped(exit),
            Exit::Pause(exit) => self.skipped(exit),
            Exit::Rdpmc(_) => self.raise(Event::general_protection()),
            // The guest's CPUID does not have these.
            Exit::Monitor(_)
            | Exit::Mwait(_)
            | Exit::Getsec(_)
            | Exit::Rsm(_)
            | Exit::Invept(_)
            | Exit::Invvpid(_)
            | Exit::Vmclear(_)
            | Exit::Vmlaunch(_)
            | Exit::Vmptrld(_)
            | Exit::Vmptrst(_)
            | Exit::Vmread(_)
            | Exit::Vmresume(_)
            | Exit::Vmwrite(_)
            | Exit::Vmxoff(_)
            | Exit::Vmxon(_)
            | Exit::Vmfunc(_)
            | Exit::Encls(_)
            | Exit::Enclv(_)
            | Exit::Pconfig(_)
            | Exit::Xsaves(_)
            | Exit::Xrstors(_)
            | Exit::Umwait(_)
            | Exit::Tpause(_)
            | Exit::Loadiwkey(_) => self.raise(Event::invalid_opcode()),
            Exit::InterruptWindow(_) | Exit::NmiWindow(_) => {
                self.close_windows(vmcs);
                None
            }
            Exit::ExternalInterrupt(exit) => {
                // Acknowledged on exit, so the vector is known.
                let vector = exit.interruption().information.vector();
                self.guest.host_was_interrupted();
                Some(VmExit::ExternalInterrupt { vector: Some(vector) })
            }
            Exit::PmlFull(exit) => self.modification_log_full(exit),
            Exit::EptMisconfiguration(exit) => self.ept_misconfiguration(exit),
            Exit::ExceptionOrNmi(exit) => self.exception_or_nmi(exit),
            Exit::PreemptionTimer(exit) => self.preemption_timer(exit.source()),
            Exit::TprBelowThreshold(_) => self.task_priority_fell(),
            Exit::ApicAccess(exit) => self.apic_access(exit),
            Exit::ApicWrite(exit) => self.apic_write(exit),
            Exit::VirtualizedEoi(exit) => self.virtualized_eoi(exit),
            Exit::TripleFault(_) => Some(VmExit::Shutdown),
            Exit::TaskSwitch(exit) => self.task_switch(exit),
            _ => self.unhandled(vmcs, reason),
        }
    }

    /// An exit that needs the VMM, or that nobody knows: total, whatever the CPU reports.
    ///
    /// The VMM gets what the fields hold, whether or not the exit is one that fills them in.
    #[cold]
    pub(super) fn unhandled(&mut self, vmcs: &Vmcs<'_>, reason: ExitReasonWord) -> Option<VmExit> {
        self.recover_from_any_exit(vmcs);
        Some(VmExit::Unhandled(Unhandled {
            code: reason.bits().into(),
            info1: vmcs.read(EXIT_QUALIFICATION),
            info2: vmcs.read(VM_EXIT_INSTRUCTION_INFORMATION).into(),
        }))
    }

    /// The guest goes on behind the instruction.
    #[inline(always)]
    fn skipped<K: HasInstructionLength>(&mut self, exit: OnExit<'_, K>) -> Option<VmExit> {
        self.skip_instruction(exit.source(), exit.instruction_length())
    }

    fn skip_instruction(&mut self, vmcs: &Vmcs<'_>, length: u32) -> Option<VmExit> {
        self.skip_by(vmcs, length);
        None
    }

    /// The guest goes on behind an instruction that guests execute all the time.
    #[inline(always)]
    fn go_on_behind<K: HasInstructionLength>(&mut self, exit: OnExit<'_, K>, rip: Option<u64>) -> Outcome {
        self.skip_from(exit.source(), rip, exit.instruction_length());
        Outcome::Again
    }

    /// The guest gets #GP(0).
    fn fault(&mut self) -> Outcome {
        self.guest.events.raise(Event::general_protection());
        Outcome::Again
    }

    pub(super) fn raise(&mut self, event: Event) -> Option<VmExit> {
        self.guest.events.raise(event);
        None
    }

    /// The VMM is told, and the next run goes on behind the instruction.
    #[inline(always)]
    fn leave_with_skip<const OBSERVED: bool>(
        &mut self,
        exit: OnExit<'_, impl HasInstructionLength>,
        answer: VmExit,
    ) -> Outcome {
        self.guest.skip = exit.instruction_length() as u8;
        self.leave::<OBSERVED>(answer)
    }

    #[inline(always)]
    fn io_instruction<const OBSERVED: bool>(&mut self, exit: OnExit<'_, payloads::IoInstruction>) -> Outcome {
        let qualification = exit.qualification();
        if OBSERVED {
            self.guest.observer.information([qualification.bits(), 0]);
        }
        // The field holds the number of bytes less one, of which 3 bytes do not exist.
        const WIDTHS: [Width; 4] = [Width::Byte, Width::Word, Width::Dword, Width::Dword];
        const _: () = assert!(IoAccessSize::TWO_BYTE.0 == 1 && IoAccessSize::FOUR_BYTE.0 == 3);
        let width = WIDTHS[usize::from(qualification.size().0 & 3)];
        if qualification.contains(IoQualification::STRING) {
            let exit = self.string_io(exit, qualification, width);
            return self.finish::<OBSERVED>(exit);
        }
        let port = qualification.port();
        let length = exit.instruction_length() as u8;
        if qualification.contains(IoQualification::DIRECTION_IN) {
            self.guest.pending = Pending::In { width, length };
            self.leave::<OBSERVED>(VmExit::IoRead { port, width })
        } else {
            self.guest.skip = length;
            let data = (self.guest.registers.rax & width.mask()) as u32;
            self.leave::<OBSERVED>(VmExit::IoWrite { port, width, data })
        }
    }

    #[inline(always)]
    fn rdmsr<const OBSERVED: bool>(&mut self, exit: OnExit<'_, payloads::Rdmsr>, rip: Option<u64>) -> Outcome {
        let msr = Msr(self.guest.registers.rcx as u32);
        let value = match self.guest.msrs.read(msr) {
            Answer::Value(value) => value,
            Answer::Vendor(VendorMsr::LocalApic) => match self.guest.read_apic_msr(msr) {
                Ok(value) => value,
                Err(Fault) => return self.fault(),
            },
            Answer::Vendor(register) => self.read_vendor_msr(exit.source(), register),
            Answer::Fault => return self.fault(),
            Answer::Ask => {
                self.guest.pending = Pending::MsrRead { length: exit.instruction_length() as u8 };
                return self.leave::<OBSERVED>(VmExit::MsrRead { msr: msr.0 });
            }
        };
        if OBSERVED {
            self.guest.observer.completed(value);
        }
        self.guest.registers.set_edx_eax(value);
        self.go_on_behind(exit, rip)
    }

    fn read_vendor_msr(&self, vmcs: &Vmcs<'_>, register: VendorMsr) -> u64 {
        match register {
            VendorMsr::Efer => self.control_state(vmcs).efer.bits(),
            VendorMsr::Pat => vmcs.has().map_or(IA32_PAT_RESET, |witness| vmcs.read_if(GUEST_IA32_PAT, witness).bits()),
            VendorMsr::Tsc => self.guest.tsc.at(self.guest.timestamp()),
            VendorMsr::TscAdjust => self.guest.tsc.adjust(),
            // Answered before.
            VendorMsr::LocalApic => 0,
            VendorMsr::Speculation(register) => self.guest.xstate.edges.read_msr(register),
        }
    }

    #[inline(always)]
    fn wrmsr<const OBSERVED: bool>(&mut self, exit: OnExit<'_, payloads::Wrmsr>, rip: Option<u64>) -> Outcome {
        let vmcs = exit.source();
        let msr = Msr(self.guest.registers.rcx as u32);
        let value = self.guest.registers.edx_eax();
        if OBSERVED {
            self.guest.observer.information([exit.qualification().bits(), 0]);
            self.guest.observer.completed(value);
        }
        match self.guest.msrs.write(msr, value) {
            Answer::Value(_) => {}
            Answer::Vendor(VendorMsr::Efer) => {
                let state = self.control_state(vmcs).write_efer(value, self.guest.offered);
                let exit = self.finish_control_write(exit, state);
                return self.finish::<OBSERVED>(exit);
            }
            Answer::Vendor(VendorMsr::Pat) => {
                if let Some(witness) = vmcs.has() {
                    vmcs.write_if(GUEST_IA32_PAT, Pat::from_bits(value), witness);
                }
            }
            Answer::Vendor(VendorMsr::Tsc) => {
                self.guest.tsc.write(value, self.guest.timestamp());
                self.write_tsc_offset(vmcs);
            }
            Answer::Vendor(VendorMsr::Speculation(register)) => {
                if !self.guest.xstate.edges.write_msr(register, value) {
                    return self.fault();
                }
            }
            Answer::Vendor(VendorMsr::TscAdjust) => {
                self.guest.tsc.write_adjust(value);
                self.write_tsc_offset(vmcs);
            }
            Answer::Vendor(VendorMsr::LocalApic) => {
                let exit = self.write_apic_msr(exit, msr, value);
                return self.finish::<OBSERVED>(exit);
            }
            Answer::Fault => return self.fault(),
            Answer::Ask => {
                self.guest.pending = Pending::MsrWrite;
                return self.leave_with_skip::<OBSERVED>(exit, VmExit::MsrWrite { msr: msr.0, value });
            }
        }
        self.go_on_behind(exit, rip)
    }

    /// VMCALL exits at every privilege; a hypercall is the kernel's, not its programs'.
    #[inline(always)]
    fn vmcall<const OBSERVED: bool>(&mut self, exit: OnExit<'_, payloads::Vmcall>) -> Outcome {
        if exit.source().read(GUEST_SS_ACCESS_RIGHTS).dpl() != 0 {
            let exit = self.raise(Event::invalid_opcode());
            return self.finish::<OBSERVED>(exit);
        }
        self.leave_with_skip::<OBSERVED>(exit, self.guest.hypercall())
    }

    #[inline(always)]
    fn hlt<const OBSERVED: bool>(&mut self, exit: OnExit<'_, payloads::Hlt>, rip: Option<u64>) -> Outcome {
        let enabled = || exit.source().read(GUEST_RFLAGS).contains(Rflags::IF);
        // Of what the CPU delivers itself, the events need not know.
        let waits = self.guest.events.any() || self.local_apic.delivers();
        if waits && self.guest.would_wake(enabled()) {
            self.guest.events.wake();
            return self.go_on_behind(exit, rip);
        }
        if self.guest.deadlines.next.is_some() && !self.prepare_to_halt(enabled()) {
            return self.go_on_behind(exit, rip);
        }
        self.leave_with_skip::<OBSERVED>(exit, VmExit::Halt)
    }

    fn cr_access(&mut self, exit: OnExit<'_, payloads::CrAccess>) -> Option<VmExit> {
        let (vmcs, qualification) = (exit.source(), exit.qualification());
        let register = RegisterIndex::new(qualification.register().0);
        let state = self.control_state(vmcs);
        // L alone: what a MOV to CR0 refuses when it would activate long mode.
        let cs_long = vmcs.read(GUEST_CS_ACCESS_RIGHTS).contains(SegmentAccessRights::L);
        // Outside 64-bit mode the operand has 32 bits.
        let wide = cs_long && state.efer.contains(Efer::LMA);
        let mask = if wide { Width::Qword.mask() } else { Width::Dword.mask() };
        match (qualification.access_type(), qualification.cr_number()) {
            (CrAccessType::MOV_TO_CR, 0) => {
                let value = self.read_register(vmcs, register) & mask;
                self.finish_control_write(exit, state.write_cr0(value, cs_long))
            }
            (CrAccessType::MOV_TO_CR, 4) => {
                let value = self.read_register(vmcs, register) & mask;
                self.finish_control_write(exit, state.write_cr4(value, self.guest.offered, vmcs.read(GUEST_CR3).bits()))
            }
            (CrAccessType::MOV_TO_CR, 8) => {
                let value = self.read_register(vmcs, register);
                self.guest.count_local_apic_exit();
                if value > 0xf {
                    return self.raise(Event::general_protection());
                }
                self.guest.interrupts.set_task_priority(value as u8);
                // A lower one may let an interrupt through.
                self.guest.events.wake();
                self.skipped(exit)
            }
            (CrAccessType::MOV_FROM_CR, 8) => {
                self.guest.count_local_apic_exit();
                self.write_register(vmcs, register, self.guest.interrupts.task_priority().into());
                self.skipped(exit)
            }
            (CrAccessType::CLTS, _) => {
                self.finish_control_write(exit, state.write_cr0(state.cr0.without(Cr0::TS).bits(), cs_long))
            }
            (CrAccessType::LMSW, _) => {
                let value = state.load_machine_status_word(qualification.lmsw_source_data());
                self.finish_control_write(exit, state.write_cr0(value, cs_long))
            }
            // CR3 does not exit, and no other register exists.
            _ => self.unhandled(vmcs, vmcs.read(EXIT_REASON)),
        }
    }

    /// Applies a checked write of CR0, CR4 or EFER, or raises #GP.
    #[inline(always)]
    fn finish_control_write<K: HasInstructionLength>(
        &mut self,
        exit: OnExit<'_, K>,
        new: Result<ControlState, Fault>,
    ) -> Option<VmExit> {
        self.finish_control_write_and_skip(exit.source(), new, exit.instruction_length())
    }

    fn finish_control_write_and_skip(
        &mut self,
        vmcs: &Vmcs<'_>,
        new: Result<ControlState, Fault>,
        length: u32,
    ) -> Option<VmExit> {
        let Ok(new) = new else { return self.raise(Event::general_protection()) };
        let old = self.control_state(vmcs);
        if new.loads_pdptes(&old) {
            match self.load_pdptes(vmcs) {
                Ok(()) => {}
                Err(outcome) => return outcome,
            }
        }
        if self.write_control_state(vmcs, new, true).is_err() {
            // A mode that this CPU cannot run a guest in.
            return self.unhandled(vmcs, vmcs.read(EXIT_REASON));
        }
        if new.efer.contains(Efer::LMA) && !old.efer.contains(Efer::LMA) {
            self.fix_task_register(vmcs);
        }
        self.skip_instruction(vmcs, length)
    }

    fn mov_dr(&mut self, exit: OnExit<'_, payloads::MovDr>) -> Option<VmExit> {
        let (vmcs, qualification) = (exit.source(), exit.qualification());
        let register = RegisterIndex::new(qualification.register().0);
        let number = qualification.dr_number();
        let debug_extensions = self.control_state(vmcs).cr4.contains(Cr4::DE);
        let Some(old) = self.guest.debug.read(number, debug_extensions) else {
            return self.raise(Event::invalid_opcode());
        };
        // The exit comes before the CPU looks at the privilege and at DR7.GD.
        if vmcs.read(GUEST_SS_ACCESS_RIGHTS).dpl() != 0 {
            return self.raise(Event::general_protection());
        }
        if self.guest.debug.detects_accesses() {
            self.guest.raise_debug(Dr6::BD);
            return None;
        }
        let mask = if is_64_bit(vmcs) { Width::Qword.mask() } else { Width::Dword.mask() };
        if qualification.contains(MovDrQualification::DIRECTION_FROM_DR) {
            self.write_register(vmcs, register, old & mask);
        } else {
            let value = self.read_register(vmcs, register) & mask;
            if self.guest.debug.write(number, value).is_err() {
                return self.raise(Event::general_protection());
            }
            vmcs.write(GUEST_DR7, self.guest.debug.hardware_dr7());
            self.guest.load_breakpoints();
        }
        self.skipped(exit)
    }

    fn xsetbv(&mut self, exit: OnExit<'_, payloads::Xsetbv>) -> Option<VmExit> {
        let registers = &self.guest.registers;
        let Ok(xcr0) = control::write_xcr(registers.rcx as u32, registers.edx_eax(), self.guest.offered) else {
            return self.raise(Event::general_protection());
        };
        self.guest.xstate.set_guest_xcr0(xcr0);
        let cr4 = self.control_state(exit.source()).cr4;
        self.cpuid.update(cr4, xcr0);
        self.skipped(exit)
    }

    #[inline(always)]
    fn ept_violation<const OBSERVED: bool>(&mut self, exit: OnExit<'_, payloads::EptViolation>) -> Outcome {
        let (vmcs, qualification) = (exit.source(), exit.qualification());
        self.recover_interrupted_event(exit);
        self.keep_nmis_blocked(vmcs, qualification.contains(EptViolationQualification::NMI_UNBLOCKING));
        let has_linear = qualification.contains(EptViolationQualification::LINEAR_ADDRESS_VALID);
        let entry_permissions = EptViolationQualification::ENTRY_READABLE
            .with(EptViolationQualification::ENTRY_WRITABLE)
            .with(EptViolationQualification::ENTRY_EXECUTABLE);
        let fault = NestedFault {
            gpa: exit.guest_physical_address(),
            gva: if has_linear { Some(exit.guest_linear_address()) } else { None },
            access: Access {
                read: qualification.contains(EptViolationQualification::READ),
                write: qualification.contains(EptViolationQualification::WRITE),
                fetch: qualification.contains(EptViolationQualification::FETCH),
            },
            present: qualification.intersects(entry_permissions),
            table_walk: has_linear && !qualification.contains(EptViolationQualification::TRANSLATED_ACCESS),
        };
        if OBSERVED {
            self.guest.observer.information([qualification.bits(), fault.gpa]);
        }
        // Only an entry that is there may be one whose writes are logged.
        if fault.present && self.guest.log_write(NestedFormat::Ept, fault.access.write, fault.gpa) {
            return Outcome::Again;
        }
        if self.guest.is_apic_page(&fault) {
            return self.apic_page_fault::<OBSERVED>(vmcs, fault.gpa, fault.gva, fault.access, fault.present);
        }
        self.guest.pending = Pending::NestedFault(fault);
        self.leave::<OBSERVED>(VmExit::NestedPageFault(fault))
    }

    /// An access to the page of the local APIC. Its parts and not the whole, which the frequent way keeps in registers.
    #[inline(never)]
    fn apic_page_fault<const OBSERVED: bool>(
        &mut self,
        vmcs: &Vmcs<'_>,
        gpa: u64,
        gva: Option<u64>,
        access: Access,
        present: bool,
    ) -> Outcome {
        let exit = self.apic_page_access(vmcs, NestedFault { gpa, gva, access, present, table_walk: false });
        self.finish::<OBSERVED>(exit)
    }

    fn exception_or_nmi(&mut self, exit: OnExit<'_, payloads::ExceptionOrNmi>) -> Option<VmExit> {
        let event = exit.interruption();
        let information = event.information;
        self.recover_interrupted_event(exit);
        self.keep_nmis_blocked(exit.source(), information.contains(ExitInterruptionInformation::NMI_UNBLOCKING));
        if information.interruption_type() == InterruptionType::NMI {
            // NMIs stay blocked until an IRET: the host's handler, called as by an NMI, executes one.
            host::raise::<{ ExceptionVector::NMI.0 }>();
            return None;
        }
        let vector = ExceptionVector(information.vector());
        match vector {
            ExceptionVector::MC => {
                // It belongs to the host.
                host::raise::<{ ExceptionVector::MC.0 }>();
                return None;
            }
            ExceptionVector::DB => {
                // An intercepted #DB leaves DR6 to us.
                let cause = DebugExceptionQualification::from_bits(exit.qualification());
                let mut causes = Dr6::from_bits(cause.bits());
                // INT1 is no step, even where TF is 1.
                causes.set(Dr6::BS, causes.contains(Dr6::BS) && information.interruption_type() != INT1);
                self.guest.debug.delivered(causes);
            }
            _ => {}
        }
        self.raise(Event {
            vector: vector.0,
            kind: information.interruption_type(),
            error_code: event.error_code,
            instruction_length: exit.instruction_length() as u8,
        })
    }
}
