//! What each exit reason leads to: SDM volume 3, appendix "VMX Basic Exit Reasons", and chapter "VMX Non-Root Operation",
//! "Instructions That Cause VM Exits".

#[cfg(test)]
mod tests;

use super::{loaded::Vmcs, vcpu::VmxVcpu};
use crate::{
    exit::{Access, NestedFault, Unhandled, VmExit, Width},
    frame::FrameSource,
    guest::{
        control::{self, ControlState, Fault},
        events::Event,
        msr::{Answer, VendorMsr, pat_is_valid},
        registers::RegisterIndex,
        state::Pending,
    },
    host,
    spec::{
        Msr,
        intel::{
            exit_qualifications::{
                CrAccessQualification, CrAccessType, DebugExceptionQualification, EptViolationQualification,
                IoAccessSize, IoQualification, MovDrQualification,
            },
            exits::{ExitReason, ExitReasonWord},
            structures::{ExitInterruptionInformation, InterruptionType, SegmentAccessRights},
            vmcs::*,
        },
        x86::registers::{Cr0, Dr6, Efer, ExceptionVector, Rflags},
    },
};

impl<S: FrameSource> VmxVcpu<S> {
    /// Answers an exit, or says what the VMM has to do.
    ///
    /// What guests do all the time is inlined into the run loop; the rest is kept out of it, and out of its registers.
    #[inline]
    pub(super) fn handle_exit(&mut self, vmcs: &Vmcs<'_>, reason: ExitReasonWord) -> Option<VmExit> {
        match ExitReason(reason.basic_reason()) {
            // The instructions first: nothing was being delivered when one of them exited.
            ExitReason::IO_INSTRUCTION => self.io_instruction(vmcs),
            ExitReason::RDMSR => self.rdmsr(vmcs),
            ExitReason::WRMSR => self.wrmsr(vmcs),
            ExitReason::HLT => self.hlt(vmcs),
            ExitReason::VMCALL => self.leave_with_skip(vmcs, self.guest.hypercall()),
            ExitReason::EPT_VIOLATION => self.ept_violation(vmcs),
            _ => self.handle_rare_exit(vmcs, reason),
        }
    }

    #[inline(never)]
    fn handle_rare_exit(&mut self, vmcs: &Vmcs<'_>, reason: ExitReasonWord) -> Option<VmExit> {
        match ExitReason(reason.basic_reason()) {
            ExitReason::CR_ACCESS => self.cr_access(vmcs),
            ExitReason::MOV_DR => self.mov_dr(vmcs),
            ExitReason::XSETBV => self.xsetbv(vmcs),
            ExitReason::CPUID => {
                self.execute_cpuid();
                self.skipped(vmcs)
            }
            // The guest's caches are the host's: a write-back has nothing to do, and dropping them must not happen.
            ExitReason::INVD | ExitReason::WBINVD | ExitReason::PAUSE => self.skipped(vmcs),
            ExitReason::RDPMC => self.raise(Event::general_protection()),
            // The guest's CPUID does not have these.
            ExitReason::MONITOR
            | ExitReason::MWAIT
            | ExitReason::GETSEC
            | ExitReason::RSM
            | ExitReason::INVEPT
            | ExitReason::INVVPID
            | ExitReason::VMCLEAR
            | ExitReason::VMLAUNCH
            | ExitReason::VMPTRLD
            | ExitReason::VMPTRST
            | ExitReason::VMREAD
            | ExitReason::VMRESUME
            | ExitReason::VMWRITE
            | ExitReason::VMXOFF
            | ExitReason::VMXON
            | ExitReason::VMFUNC
            | ExitReason::ENCLS
            | ExitReason::ENCLV
            | ExitReason::PCONFIG
            | ExitReason::XSAVES
            | ExitReason::XRSTORS
            | ExitReason::UMWAIT
            | ExitReason::TPAUSE
            | ExitReason::LOADIWKEY => self.raise(Event::invalid_opcode()),
            ExitReason::INTERRUPT_WINDOW | ExitReason::NMI_WINDOW => {
                self.close_windows(vmcs);
                None
            }
            ExitReason::EXTERNAL_INTERRUPT => {
                let information = vmcs.read(VM_EXIT_INTERRUPTION_INFORMATION);
                Some(VmExit::ExternalInterrupt { vector: Some(information.vector()) })
            }
            ExitReason::EXCEPTION_OR_NMI => self.exception_or_nmi(vmcs),
            ExitReason::TRIPLE_FAULT => Some(VmExit::Shutdown),
            _ => self.unhandled(vmcs, reason),
        }
    }

    /// An exit that needs the VMM, or that nobody knows: total, whatever the CPU reports.
    #[cold]
    fn unhandled(&mut self, vmcs: &Vmcs<'_>, reason: ExitReasonWord) -> Option<VmExit> {
        self.recover_interrupted_event(vmcs);
        Some(VmExit::Unhandled(Unhandled {
            code: reason.bits().into(),
            info1: vmcs.read(EXIT_QUALIFICATION),
            info2: vmcs.read(VM_EXIT_INSTRUCTION_INFORMATION).into(),
        }))
    }

    fn skipped(&mut self, vmcs: &Vmcs<'_>) -> Option<VmExit> {
        self.skip(vmcs);
        None
    }

    fn raise(&mut self, event: Event) -> Option<VmExit> {
        self.guest.events.raise(event);
        None
    }

    /// The VMM is told, and the next run goes on behind the instruction.
    fn leave_with_skip(&mut self, vmcs: &Vmcs<'_>, exit: VmExit) -> Option<VmExit> {
        self.guest.skip = vmcs.read(VM_EXIT_INSTRUCTION_LENGTH) as u8;
        Some(exit)
    }

    fn io_instruction(&mut self, vmcs: &Vmcs<'_>) -> Option<VmExit> {
        let qualification = IoQualification::from_bits(vmcs.read(EXIT_QUALIFICATION));
        // The field holds the number of bytes less one, of which 3 bytes do not exist.
        const WIDTHS: [Width; 4] = [Width::Byte, Width::Word, Width::Dword, Width::Dword];
        const _: () = assert!(IoAccessSize::TWO_BYTE.0 == 1 && IoAccessSize::FOUR_BYTE.0 == 3);
        let width = WIDTHS[usize::from(qualification.size().0 & 3)];
        if qualification.contains(IoQualification::STRING) {
            return self.string_io(vmcs, qualification, width);
        }
        let port = qualification.port();
        let length = vmcs.read(VM_EXIT_INSTRUCTION_LENGTH) as u8;
        if qualification.contains(IoQualification::DIRECTION_IN) {
            self.guest.pending = Pending::In { width, length };
            Some(VmExit::IoRead { port, width })
        } else {
            self.guest.skip = length;
            let data = (self.guest.registers.rax & width.mask()) as u32;
            Some(VmExit::IoWrite { port, width, data })
        }
    }

    fn rdmsr(&mut self, vmcs: &Vmcs<'_>) -> Option<VmExit> {
        let msr = Msr(self.guest.registers.rcx as u32);
        let value = match self.guest.msrs.read(msr) {
            Answer::Value(value) => value,
            Answer::Vendor(register) => self.read_vendor_msr(vmcs, register),
            Answer::Fault => return self.raise(Event::general_protection()),
            Answer::Ask => {
                self.guest.pending = Pending::MsrRead { length: vmcs.read(VM_EXIT_INSTRUCTION_LENGTH) as u8 };
                return Some(VmExit::MsrRead { msr: msr.0 });
            }
        };
        self.guest.registers.set_edx_eax(value);
        self.skipped(vmcs)
    }

    fn read_vendor_msr(&self, vmcs: &Vmcs<'_>, register: VendorMsr) -> u64 {
        match register {
            VendorMsr::Efer => self.control_state(vmcs).efer.bits(),
            VendorMsr::Pat => {
                vmcs.has().map_or(super::setup::PAT_RESET, |witness| vmcs.read_if(GUEST_IA32_PAT, witness))
            }
            VendorMsr::Tsc => host::timestamp().wrapping_add(vmcs.read(TSC_OFFSET)),
        }
    }

    fn wrmsr(&mut self, vmcs: &Vmcs<'_>) -> Option<VmExit> {
        let msr = Msr(self.guest.registers.rcx as u32);
        let value = self.guest.registers.edx_eax();
        match self.guest.msrs.write(msr, value) {
            Answer::Value(_) => {}
            Answer::Vendor(VendorMsr::Efer) => {
                let state = self.control_state(vmcs).write_efer(value, self.guest.offered);
                return self.finish_control_write(vmcs, state);
            }
            Answer::Vendor(VendorMsr::Pat) if !pat_is_valid(value) => return self.raise(Event::general_protection()),
            Answer::Vendor(VendorMsr::Pat) => {
                if let Some(witness) = vmcs.has() {
                    vmcs.write_if(GUEST_IA32_PAT, value, witness);
                }
            }
            Answer::Vendor(VendorMsr::Tsc) => vmcs.write(TSC_OFFSET, value.wrapping_sub(host::timestamp())),
            Answer::Fault => return self.raise(Event::general_protection()),
            Answer::Ask => {
                self.guest.pending = Pending::MsrWrite;
                self.guest.skip = vmcs.read(VM_EXIT_INSTRUCTION_LENGTH) as u8;
                return Some(VmExit::MsrWrite { msr: msr.0, value });
            }
        }
        self.skipped(vmcs)
    }

    fn hlt(&mut self, vmcs: &Vmcs<'_>) -> Option<VmExit> {
        if self.guest.events.any() && self.guest.events.would_wake(vmcs.read(GUEST_RFLAGS).contains(Rflags::IF)) {
            return self.skipped(vmcs);
        }
        self.leave_with_skip(vmcs, VmExit::Halt)
    }

    fn cr_access(&mut self, vmcs: &Vmcs<'_>) -> Option<VmExit> {
        let qualification = CrAccessQualification::from_bits(vmcs.read(EXIT_QUALIFICATION));
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
                self.finish_control_write(vmcs, state.write_cr0(value, cs_long))
            }
            (CrAccessType::MOV_TO_CR, 4) => {
                let value = self.read_register(vmcs, register) & mask;
                self.finish_control_write(vmcs, state.write_cr4(value, self.guest.offered, vmcs.read(GUEST_CR3)))
            }
            (CrAccessType::MOV_TO_CR, 8) => {
                let value = self.read_register(vmcs, register);
                if value > 0xf {
                    return self.raise(Event::general_protection());
                }
                self.guest.events.set_task_priority(value as u8);
                self.skipped(vmcs)
            }
            (CrAccessType::MOV_FROM_CR, 8) => {
                self.write_register(vmcs, register, self.guest.events.task_priority().into());
                self.skipped(vmcs)
            }
            (CrAccessType::CLTS, _) => {
                self.finish_control_write(vmcs, state.write_cr0(state.cr0.without(Cr0::TS).bits(), cs_long))
            }
            (CrAccessType::LMSW, _) => {
                let value = state.load_machine_status_word(qualification.lmsw_source_data());
                self.finish_control_write(vmcs, state.write_cr0(value, cs_long))
            }
            // CR3 does not exit, and no other register exists.
            _ => self.unhandled(vmcs, vmcs.read(EXIT_REASON)),
        }
    }

    /// Applies a checked write of CR0, CR4 or EFER, or raises #GP.
    fn finish_control_write(&mut self, vmcs: &Vmcs<'_>, new: Result<ControlState, Fault>) -> Option<VmExit> {
        let Ok(new) = new else { return self.raise(Event::general_protection()) };
        let old = self.control_state(vmcs);
        if new.uses_pae_paging() && (!old.uses_pae_paging() || old.cr0 != new.cr0 || old.cr4 != new.cr4) {
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
        self.skipped(vmcs)
    }

    fn mov_dr(&mut self, vmcs: &Vmcs<'_>) -> Option<VmExit> {
        let qualification = MovDrQualification::from_bits(vmcs.read(EXIT_QUALIFICATION));
        let register = RegisterIndex::new(qualification.register().0);
        let number = crate::guest::debug::canonical_number(qualification.dr_number());
        if qualification.contains(MovDrQualification::DIRECTION_FROM_DR) {
            self.write_register(vmcs, register, crate::guest::debug::read(&self.guest.debug, number));
        } else {
            let value = self.read_register(vmcs, register);
            if crate::guest::debug::write(&mut self.guest.debug, number, value).is_err() {
                return self.raise(Event::general_protection());
            }
        }
        self.skipped(vmcs)
    }

    fn xsetbv(&mut self, vmcs: &Vmcs<'_>) -> Option<VmExit> {
        let registers = &self.guest.registers;
        let Ok(xcr0) = control::write_xcr(registers.rcx as u32, registers.edx_eax(), self.guest.offered) else {
            return self.raise(Event::general_protection());
        };
        self.guest.xstate.set_guest_xcr0(xcr0);
        let cr4 = self.control_state(vmcs).cr4;
        self.cpuid.update(cr4, xcr0);
        self.skipped(vmcs)
    }

    fn ept_violation(&mut self, vmcs: &Vmcs<'_>) -> Option<VmExit> {
        let qualification = EptViolationQualification::from_bits(vmcs.read(EXIT_QUALIFICATION));
        self.recover_interrupted_event(vmcs);
        if qualification.contains(EptViolationQualification::NMI_UNBLOCKING) && !self.guest.events.any() {
            self.block_nmis_again(vmcs);
        }
        let gpa = vmcs.has().map_or(0, |witness| vmcs.read_if(GUEST_PHYSICAL_ADDRESS, witness));
        let has_linear = qualification.contains(EptViolationQualification::LINEAR_ADDRESS_VALID);
        let entry_permissions = EptViolationQualification::ENTRY_READABLE
            .with(EptViolationQualification::ENTRY_WRITABLE)
            .with(EptViolationQualification::ENTRY_EXECUTABLE);
        let fault = NestedFault {
            gpa,
            gva: if has_linear { Some(vmcs.read(GUEST_LINEAR_ADDRESS)) } else { None },
            access: Access {
                read: qualification.contains(EptViolationQualification::READ),
                write: qualification.contains(EptViolationQualification::WRITE),
                fetch: qualification.contains(EptViolationQualification::FETCH),
            },
            present: qualification.intersects(entry_permissions),
            table_walk: has_linear && !qualification.contains(EptViolationQualification::TRANSLATED_ACCESS),
        };
        self.guest.pending = Pending::NestedFault(fault);
        Some(VmExit::NestedPageFault(fault))
    }

    fn exception_or_nmi(&mut self, vmcs: &Vmcs<'_>) -> Option<VmExit> {
        let information = vmcs.read(VM_EXIT_INTERRUPTION_INFORMATION);
        self.recover_interrupted_event(vmcs);
        if information.contains(ExitInterruptionInformation::NMI_UNBLOCKING) && !self.guest.events.any() {
            self.block_nmis_again(vmcs);
        }
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
                let cause = DebugExceptionQualification::from_bits(vmcs.read(EXIT_QUALIFICATION));
                crate::guest::debug::set_cause(&mut self.guest.debug, Dr6::from_bits(cause.bits()));
            }
            _ => {}
        }
        let has_code = information.contains(ExitInterruptionInformation::ERROR_CODE_VALID);
        self.raise(Event {
            vector: vector.0,
            kind: information.interruption_type(),
            error_code: has_code.then(|| vmcs.read(VM_EXIT_INTERRUPTION_ERROR_CODE)),
            instruction_length: vmcs.read(VM_EXIT_INSTRUCTION_LENGTH) as u8,
        })
    }
}
