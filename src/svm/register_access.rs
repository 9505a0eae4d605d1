//! Accesses to control and debug registers: APM volume 2, "Control Register Access Intercepts", "MOV CRx/DRx Intercepts
//! Decode Assist".
//!
//! Which register it is, the exit code says. The operand is in EXITINFO1 where the CPU has decode assists; else, and for
//! CLTS, LMSW and SMSW, it is in the instruction.

use super::{emulation::code_size, exits::Outcome, payload::OnExit, vcpu::SvmVcpu};
use crate::{
    exit::Width,
    frame::FrameSource,
    guest::{
        control::{ControlState, Fault},
        decode::{ControlAccess, DecodeError, MemoryOperand, WordOperand},
        emulation::{Cpu, access_fault},
        events::Event,
        linear::{AccessFault, Span},
        mmio::Segments,
        registers::RegisterIndex,
        segmentation::{CodeSize, SegmentAccess},
        walk::LinearAccess,
    },
    spec::{
        amd::{
            exit_info::{CrAccessInfo, DrAccessInfo, SegmentAttributes},
            payloads::DecodeAssists,
        },
        payload::{HasExitInfo1, InfoIf, SvmKind},
        x86::registers::{Cr0, Cr4, Dr6},
    },
};

impl<S: FrameSource> SvmVcpu<S> {
    /// MOV to or from CR0, CR4 or CR8, CLTS, LMSW, SMSW.
    #[cold]
    pub(super) fn cr_access<K>(&mut self, exit: OnExit<K>, write: bool) -> Outcome
    where
        K: SvmKind + HasExitInfo1<Value = CrAccessInfo> + InfoIf<Condition = DecodeAssists>,
    {
        let info = self.assists.decode.map(|assists| exit.exit_info1_if(assists));
        let named = info.filter(|info| info.contains(CrAccessInfo::MOV_CR)).map(CrAccessInfo::gpr);
        self.access_control_register(exit.index(), named, write)
    }

    fn access_control_register(&mut self, number: u8, named: Option<u8>, write: bool) -> Outcome {
        let (access, length) = match self.control_access(named, write) {
            Ok(decoded) => decoded,
            Err(outcome) => return outcome,
        };
        let state = self.control_state();
        // L alone: what a MOV to CR0 refuses when it would activate long mode.
        let cs_long = self.vmcb.cs_attributes().contains(SegmentAttributes::L);
        let new = match (access, number) {
            (ControlAccess::MovTo(register), 0) => state.write_cr0(self.operand(register), cs_long),
            (ControlAccess::MovTo(register), 4) => {
                state.write_cr4(self.operand(register), self.guest.offered, self.vmcb.cr3())
            }
            (ControlAccess::MovTo(register), 8) => return self.write_cr8(register, length),
            (ControlAccess::MovFrom(register), 0) => return self.read_control(register, state.cr0.bits(), length),
            (ControlAccess::MovFrom(register), 4) => return self.read_control(register, state.cr4.bits(), length),
            (ControlAccess::Clts, 0) => state.write_cr0(state.cr0.without(Cr0::TS).bits(), cs_long),
            (ControlAccess::Lmsw(operand), 0) => match self.read_word(operand, length) {
                Ok(word) => state.write_cr0(state.load_machine_status_word(word), cs_long),
                Err(outcome) => return outcome,
            },
            (ControlAccess::Smsw(operand), 0) => return self.store_machine_status_word(operand, state.cr0, length),
            // Another instruction than the one that exited: somebody has changed it meanwhile.
            _ => return Outcome::Again,
        };
        self.finish_control_write(new, length)
    }

    /// Applies a checked write of CR0, CR4 or EFER, or raises #GP.
    pub(super) fn finish_control_write(&mut self, new: Result<ControlState, Fault>, length: u8) -> Outcome {
        let Ok(new) = new else { return self.raise(Event::general_protection()) };
        self.write_control_state(new, true);
        self.skip_by(length);
        Outcome::Again
    }

    /// MOV to CR8, which exits only while interrupts wait for it.
    fn write_cr8(&mut self, register: RegisterIndex, length: u8) -> Outcome {
        let value = self.operand(register);
        let Some(priority) = u8::try_from(value).ok().filter(|priority| *priority <= 0xf) else {
            return self.raise(Event::general_protection());
        };
        let interrupt = self.vmcb.virtual_interrupt();
        self.vmcb.set_virtual_interrupt(interrupt.with_v_tpr(priority));
        // A lower one may let an interrupt through.
        self.guest.events.wake();
        self.skip_by(length);
        Outcome::Again
    }

    fn read_control(&mut self, register: RegisterIndex, value: u64, length: u8) -> Outcome {
        self.set_register(register, value & self.operand_mask());
        self.skip_by(length);
        Outcome::Again
    }

    /// MOV to or from a debug register.
    #[cold]
    pub(super) fn dr_access<K>(&mut self, exit: OnExit<K>, write: bool) -> Outcome
    where
        K: SvmKind + HasExitInfo1<Value = DrAccessInfo> + InfoIf<Condition = DecodeAssists>,
    {
        let named = self.assists.decode.map(|assists| exit.exit_info1_if(assists).gpr());
        self.access_debug_register(exit.index(), named, write)
    }

    fn access_debug_register(&mut self, number: u8, named: Option<u8>, write: bool) -> Outcome {
        let (access, length) = match self.control_access(named, write) {
            Ok(decoded) => decoded,
            Err(outcome) => return outcome,
        };
        self.collect_debug_causes();
        let debug_extensions = self.control_state().cr4.contains(Cr4::DE);
        let Some(old) = self.guest.debug.read(number, debug_extensions) else {
            return self.raise(Event::invalid_opcode());
        };
        // The exit comes before the CPU looks at DR7.GD.
        if self.guest.debug.detects_accesses() {
            self.guest.raise_debug(Dr6::BD);
            return Outcome::Again;
        }
        match access {
            ControlAccess::MovTo(register) if write => {
                let value = self.operand(register);
                if self.guest.debug.write(number, value).is_err() {
                    return self.raise(Event::general_protection());
                }
                self.load_debug();
                self.skip_by(length);
                Outcome::Again
            }
            ControlAccess::MovFrom(register) if !write => self.read_control(register, old, length),
            _ => Outcome::Again,
        }
    }

    /// What the instruction does, and its length: with the register that the CPU has named, or by decoding.
    fn control_access(&mut self, named: Option<u8>, write: bool) -> Result<(ControlAccess, u8), Outcome> {
        if self.assists.next_rip
            && let Some(number) = named
        {
            let register = RegisterIndex::new(number);
            let access = if write { ControlAccess::MovTo(register) } else { ControlAccess::MovFrom(register) };
            return Ok((access, self.length_to_next_rip()));
        }
        let decode = |bytes: &[u8], size| ControlAccess::decode(bytes, size).ok_or(DecodeError::Truncated);
        match self.with_memory(|code| code.decode(decode))? {
            Ok(Ok((ControlAccess::MovTo(_), _))) if !write => Err(Outcome::Again),
            Ok(Ok((ControlAccess::MovFrom(_), _))) if write => Err(Outcome::Again),
            Ok(Ok(decoded)) => Ok(decoded),
            Ok(Err(_)) => Err(self.unhandled()),
            Err(fault) => Err(self.fetch_failed(fault)),
        }
    }

    /// The value that a MOV to a control or debug register writes.
    fn operand(&self, register: RegisterIndex) -> u64 {
        self.register(register) & self.operand_mask()
    }

    /// These moves have 64 bits in 64-bit mode and else 32.
    fn operand_mask(&self) -> u64 {
        if code_size(&self.vmcb) == CodeSize::Bits64 { Width::Qword.mask() } else { Width::Dword.mask() }
    }

    fn read_word(&mut self, operand: WordOperand, length: u8) -> Result<u16, Outcome> {
        match operand {
            WordOperand::Register(register, _) => Ok(self.register(register) as u16),
            WordOperand::Memory(operand) => {
                let word = self.word_in_memory(&operand, length, None)?;
                Ok(word as u16)
            }
        }
    }

    /// SMSW.
    fn store_machine_status_word(&mut self, operand: WordOperand, cr0: Cr0, length: u8) -> Outcome {
        match operand {
            WordOperand::Register(register, width) => {
                self.fetch_rsp();
                self.guest.registers.write(register, width, cr0.bits());
                let value = self.guest.registers.get(register);
                self.set_register(register, value);
            }
            WordOperand::Memory(operand) => {
                if let Err(outcome) = self.word_in_memory(&operand, length, Some(cr0.bits())) {
                    return outcome;
                }
            }
        }
        self.skip_by(length);
        Outcome::Again
    }

    /// Reads an operand in memory, or writes it.
    fn word_in_memory(&mut self, operand: &MemoryOperand, length: u8, write: Option<u64>) -> Result<u64, Outcome> {
        self.fetch_rsp();
        let next_rip = self.vmcb.rip().wrapping_add(length.into());
        let offset = operand.offset(&self.guest.registers, next_rip);
        let done = self.with_memory(|code| {
            let target = SegmentAccess {
                register: operand.segment,
                segment: &code.cpu.segment(operand.segment),
                code_size: code.at.size,
                offset,
                bytes: Width::Word.bytes() as u64,
                write: write.is_some(),
                cr4: code.paging.cr4,
            };
            let privilege = code.cpu.privilege();
            let access = if write.is_some() { LinearAccess::Write(privilege) } else { LinearAccess::Read(privilege) };
            let memory = &mut code.memory;
            let span = Span::translate(memory, &code.paging, target.linear()?, Width::Word as u8, access)?;
            match write {
                Some(value) => {
                    span.probe_write(memory)?;
                    span.write(memory, value).map(|()| value)
                }
                None => span.read(memory),
            }
            .map_err(AccessFault::from)
        })?;
        done.map_err(|fault| self.after(access_fault(&fault)))
    }
}
