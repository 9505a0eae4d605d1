//! What hardware leaves to the library and takes more than one step: string I/O, and instructions that access a device.
//!
//! An emulation starts at an exit, asks the VMM, and goes on at the start of the next `run`. The guest's registers change with
//! the last step; an emulation that the VMM does not answer is given up, and the guest executes the instruction again.

use core::ptr::NonNull;

use super::{
    debug,
    decode::{DecodeError, Padded},
    events::Event,
    fast_mov::{self, Mov, MovOperation},
    fetch::{CodeAddress, InstructionBytes},
    linear::{AccessFault, Span},
    memory::{GuestMemory, MemoryFault, MemoryFaultReason, NestedRoot},
    mmio::{Devices, MmioContext, MmioEmulation, MmioError, MmioStep, Segments},
    registers::RegisterIndex,
    segmentation::{CodeSize, SegmentFault, SegmentRegister},
    state::{GuestState, Pending},
    string_io::{Element, StringContext, StringIo},
    walk::{LinearAccess, PageFault, Paging, Privilege},
};
use crate::{
    Error, NotEmulated, Result,
    exit::{NestedFault, VmExit},
    frame::FrameSource,
    nested::{DirtyLog, NestedFormat},
    spec::x86::registers::{Cr4, ExceptionVector, Rflags},
};

/// What an emulation reads and writes of the VMCS or the VMCB.
pub(crate) trait Cpu: Segments {
    /// The format of the nested page table.
    const FORMAT: NestedFormat;

    /// Without PKRU, which is kept elsewhere.
    fn paging(&self) -> Paging;
    fn privilege(&self) -> Privilege;
    fn code_size(&self) -> CodeSize;
    fn rip(&self) -> u64;
    fn rflags(&self) -> Rflags;
    fn set_rflags(&mut self, value: Rflags);
    fn rsp(&self) -> u64;
    fn set_rsp(&mut self, value: u64);
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The VMM has to do something.
    Exit(VmExit),
    /// The instruction of this length is done.
    Skip(u8),
    /// The guest goes on where it is.
    Again,
    /// One element of a repeated string instruction is done; the guest goes on with the next.
    Repeat,
    /// The instruction raises an exception.
    Raise(Event),
    /// The instruction raises #PF, with this address in CR2.
    PageFault(PageFault),
}

/// An emulation between two runs.
#[derive(Debug)]
pub(crate) struct Emulation {
    stage: Stage,
    /// The instruction at a device. It stays in its place: it is large, and this is a hot path of many guests.
    mmio: MmioEmulation,
    /// What the VMM has called devices for the instruction at hand.
    devices: Devices,
    code: CodePage,
}

/// The guest-physical page of the code that accessed a device last.
///
/// Drivers do so again and again in the same place, and walking the guest's page tables is the largest part of the work. Nobody
/// tells us of INVLPG, so the page may be stale: the bytes are read anew through the nested page table each time, and are
/// taken only if they are a plain MOV that makes the very access that faulted.
#[derive(Debug)]
struct CodePage {
    /// The linear address of the page; no page has all bits set.
    linear: u64,
    cr3: u64,
    /// The bits of CR0, CR4 and EFER, mixed: they change rarely, and a page that is taken wrongly is found out.
    mode: u64,
    gpa: u64,
}

/// The place of an address in its page.
const IN_PAGE: u64 = 0xfff;

impl CodePage {
    const NONE: Self = Self { linear: u64::MAX, cr3: 0, mode: 0, gpa: 0 };

    #[inline]
    fn mode(paging: &Paging) -> u64 {
        paging.cr0.bits() ^ paging.cr4.bits().rotate_left(32) ^ paging.efer.bits().rotate_left(16)
    }

    /// The guest-physical page of the code at `linear`, as far as is known.
    #[inline]
    fn recall(&self, linear: u64, paging: &Paging) -> Option<u64> {
        let known = self.linear == linear & !IN_PAGE && self.cr3 == paging.cr3 && self.mode == Self::mode(paging);
        known.then_some(self.gpa)
    }
}

/// How far an emulation has come.
#[derive(Debug, Default)]
enum Stage {
    /// There is none.
    #[default]
    None,
    /// INS: the port's value goes there.
    In { io: StringIo, span: Span, length: u8 },
    /// OUTS: the VMM got the element.
    Out { io: StringIo, length: u8 },
    /// The VMM reads a device.
    MmioRead,
    /// The VMM has written to a device.
    MmioWritten,
    /// The instruction raises an exception.
    Raise(AccessFault),
}

impl Emulation {
    pub(crate) const NONE: Self =
        Self { stage: Stage::None, mmio: MmioEmulation::EMPTY, devices: Devices::NONE, code: CodePage::NONE };

    /// Gives up the one that the next run would go on with.
    pub(crate) fn abort(&mut self) {
        self.stage = Stage::None;
    }

    /// Whether the next run goes on with one.
    #[inline(always)]
    pub(crate) fn is_active(&self) -> bool {
        !matches!(self.stage, Stage::None)
    }
}

/// The guest's memory, for the time of one exit.
///
/// # Safety
/// The result must not outlive the handling of the exit: the VMM may change the table afterwards. `root` is what
/// `set_nested_root` was given, and the log lives as long as the result.
unsafe fn memory_of<'a, C: Cpu, S: FrameSource>(
    root: Option<u64>,
    accessed_dirty: bool,
    log: Option<NonNull<DirtyLog<S>>>,
) -> Option<GuestMemory<'a, S>> {
    let nested = NestedRoot {
        root: memory_addr::PhysAddr::from(root? as usize),
        format: C::FORMAT,
        accessed_dirty,
        // What is uncacheable is a device of the host, which a read may change.
        refuse_uncacheable: true,
    };
    // SAFETY: whoever called `set_nested_root` promised that the table is of this format, and that it and the memory it maps
    // stay as long as the vCPU uses it; both can be reached by `phys_to_virt`.
    // The log is the caller's promise.
    Some(unsafe { GuestMemory::new(nested).with_log(log) })
}

impl<S: FrameSource> GuestState<S> {
    /// The guest's memory, for the time of this exit.
    pub(crate) fn memory<C: Cpu>(&self) -> Option<GuestMemory<'_, S>> {
        // SAFETY: the borrow ends before the VMM runs again, and the root is `set_nested_root`'s.
        unsafe { memory_of::<C, S>(self.nested_root, self.nested_flags, self.dirty_log.as_ref().map(NonNull::from)) }
    }

    /// How the guest's addresses are translated, protection keys included.
    #[inline(always)]
    fn paging_of<C: Cpu>(&self, cpu: &C) -> Paging {
        let mut paging = cpu.paging();
        if paging.cr4.contains(Cr4::PKE) {
            paging.pkru = self.xstate.pkru(self.cpu.is_some());
        }
        paging
    }

    /// The next element of INS or OUTS.
    pub(crate) fn string_io<C: Cpu>(&mut self, cpu: &C, io: StringIo, port: u16, length: u8) -> Progress {
        let Some(mut memory) = self.memory::<C>() else { return Progress::Again };
        let segment = cpu.segment(if io.input { SegmentRegister::Es } else { io.segment });
        let paging = self.paging_of(cpu);
        let context = StringContext {
            paging: &paging,
            privilege: cpu.privilege(),
            code_size: cpu.code_size(),
            segment: &segment,
        };
        match io.start(&mut memory, &self.registers, &context) {
            Ok(Element::None) => Progress::Skip(length),
            Ok(Element::Out(data)) => {
                self.emulation.stage = Stage::Out { io, length };
                Progress::Exit(VmExit::IoWrite { port, width: io.width, data })
            }
            Ok(Element::In(span)) => {
                self.emulation.stage = Stage::In { io, span, length };
                self.pending = Pending::Emulation;
                Progress::Exit(VmExit::IoRead { port, width: io.width })
            }
            Err(fault) => access_fault(&fault),
        }
    }

    /// At the start of a run: goes on with the emulation that the VMM was asked for.
    #[cold]
    pub(crate) fn resume<C: Cpu>(&mut self, cpu: &mut C) -> Progress {
        let answer = self.answer.take();
        match (core::mem::take(&mut self.emulation.stage), answer) {
            (Stage::Out { io, length }, _) => self.after_element(cpu, io, length),
            (Stage::In { io, span, length }, Some(value)) => {
                let Some(mut memory) = self.memory::<C>() else { return Progress::Again };
                match io.store(&mut memory, &span, value as u32) {
                    Ok(()) => self.after_element(cpu, io, length),
                    Err(fault) => memory_fault(&fault),
                }
            }
            (Stage::MmioRead, Some(value)) => {
                self.emulation.mmio.read_done(value);
                self.go_on(cpu)
            }
            (Stage::MmioWritten, _) => {
                self.emulation.mmio.write_done();
                self.go_on(cpu)
            }
            (Stage::Raise(fault), _) => access_fault(&fault),
            // Nothing was asked, or nothing answered.
            (Stage::None | Stage::In { .. } | Stage::MmioRead, _) => Progress::Again,
        }
    }

    fn after_element<C: Cpu>(&mut self, cpu: &C, io: StringIo, length: u8) -> Progress {
        if io.advance(&mut self.registers, cpu.rflags()) { Progress::Skip(length) } else { Progress::Repeat }
    }

    /// The access to a device that the guest's instruction wanted when it met the pending nested page fault.
    pub(crate) fn decode_mmio<C: Cpu>(&mut self, cpu: &mut C) -> Result<VmExit> {
        if !self.debug.watch().is_empty() {
            self.watch_access(cpu);
        }
        self.decode_access(cpu)
    }

    /// Remembers the access for the guest's breakpoints.
    #[cold]
    fn watch_access<C: Cpu>(&mut self, cpu: &C) {
        let Pending::NestedFault(fault) = self.pending else { return };
        // SAFETY: it is used in this function only, which writes nothing, and the root is `set_nested_root`'s.
        let memory = unsafe { memory_of::<C, S>(self.nested_root, self.nested_flags, None) };
        let Some(mut memory) = memory else { return };
        let (paging, size, rip) = (self.paging_of(cpu), cpu.code_size(), cpu.rip());
        let code = CodeAddress { linear: size.linear(cpu.base(SegmentRegister::Cs), rip), size };
        self.registers.rsp = cpu.rsp();
        let mut bytes = InstructionBytes::EMPTY;
        if bytes.fetch_into(&mut memory, &paging, code).is_err() {
            return;
        }
        let Ok(Ok(instruction)) = bytes.decode_mmio(&mut memory, &paging, code) else { return };
        let context = MmioContext {
            gpa: fault.gpa,
            devices: Devices::NONE,
            code_size: size,
            rip,
            registers: &self.registers,
            vector: Default::default(),
            segments: cpu,
            paging: &paging,
            privilege: cpu.privilege(),
        };
        let (linear, write) = instruction.watched(fault.access.write, &context);
        self.debug.will_access(debug::Access::Memory { linear, size: instruction.size, write });
    }

    fn decode_access<C: Cpu>(&mut self, cpu: &mut C) -> Result<VmExit> {
        let (fault, is_first) = match self.pending {
            Pending::NestedFault(fault) => (fault, true),
            Pending::NestedFaultElsewhere(fault) => (fault, false),
            _ => return Err(Error::BadState("the last exit was no nested page fault")),
        };
        if fault.access.fetch || fault.table_walk || self.events.is_delivering() {
            return Err(Error::Unsupported("a device as code, page table or stack"));
        }
        let log = self.dirty_log.as_ref().map(NonNull::from);
        // SAFETY: it is used in this function only, which does not touch the log, and the root is `set_nested_root`'s.
        let memory = unsafe { memory_of::<C, S>(self.nested_root, self.nested_flags, log) };
        let mut memory = memory.ok_or(Error::BadState("the vCPU has no nested page table"))?;
        let (paging, size, rip) = (self.paging_of(cpu), cpu.code_size(), cpu.rip());
        let code = CodeAddress { linear: size.linear(cpu.base(SegmentRegister::Cs), rip), size };
        self.registers.rsp = cpu.rsp();
        let place = code.linear & IN_PAGE;
        if is_first
            && let Some(page) = self.emulation.code.recall(code.linear, &paging)
            && place <= IN_PAGE - 15
            && let Ok(halves) = memory.read_code_16(page | place)
        {
            let mut bytes = Padded::EMPTY;
            bytes.set_16(halves);
            if let Some(mov) = fast_mov::decode(&bytes.bytes, bytes.length, size, &self.registers, rip)
                && is_access(&mov, &fault, size, cpu)
            {
                return Ok(self.move_at_device(&mov, fault.gpa));
            }
        }
        let mut bytes = InstructionBytes::EMPTY;
        if bytes.fetch_into(&mut memory, &paging, code).is_err() {
            return Ok(self.execute_again());
        }
        if let Ok(gpa) = paging.translate(&mut memory, code.linear, LinearAccess::Done) {
            let (linear, gpa) = (code.linear & !IN_PAGE, gpa & !IN_PAGE);
            self.emulation.code = CodePage { linear, cr3: paging.cr3, mode: CodePage::mode(&paging), gpa };
        }
        let padded = bytes.padded();
        if is_first
            && let Some(mov) = fast_mov::decode(&padded.bytes, padded.length, size, &self.registers, rip)
            && is_access(&mov, &fault, size, cpu)
        {
            return Ok(self.move_at_device(&mov, fault.gpa));
        }
        self.emulation.devices = if is_first { Devices::NONE } else { self.emulation.devices }.with(fault.gpa);
        self.decode_in_general(cpu, &mut memory, &paging, code, bytes, &fault)
    }

    /// Everything but plain MOVs within a page.
    #[inline(never)]
    fn decode_in_general<C: Cpu>(
        &mut self,
        cpu: &mut C,
        memory: &mut GuestMemory<'_, S>,
        paging: &Paging,
        code: CodeAddress,
        mut bytes: InstructionBytes,
        fault: &NestedFault,
    ) -> Result<VmExit> {
        let instruction = match bytes.decode_mmio(memory, paging, code) {
            Ok(Ok(instruction)) => instruction,
            Ok(Err(DecodeError::NotLockable)) => return Ok(self.raise(ExceptionVector::UD)),
            Ok(Err(DecodeError::TooLong)) => return Ok(self.raise(ExceptionVector::GP)),
            Ok(Err(DecodeError::Truncated | DecodeError::Unsupported)) => {
                return Err(Error::NotEmulated(NotEmulated::new(bytes.as_slice())));
            }
            Err(_) => return Ok(self.execute_again()),
        };
        let vector = match instruction.stored_vector() {
            // Unbound, they are where they cannot be read one by one.
            Some(_) if self.cpu.is_none() => return Err(Error::BadState("the vCPU is not bound to this CPU")),
            Some(number) => self.xstate.vector(number),
            None => Default::default(),
        };
        let context = MmioContext {
            gpa: fault.gpa,
            devices: self.emulation.devices,
            code_size: code.size,
            rip: cpu.rip(),
            registers: &self.registers,
            vector,
            segments: &*cpu,
            paging,
            privilege: cpu.privilege(),
        };
        match MmioEmulation::begin(instruction, &context, memory) {
            Ok(emulation) => self.emulation.mmio = emulation,
            Err(MmioError::Changed) => return Ok(self.execute_again()),
            Err(MmioError::Access(AccessFault::Memory(fault))) => {
                let fault = NestedFault { table_walk: true, ..nested_fault_of(&fault) };
                return Ok(self.fault_elsewhere(fault));
            }
            Err(MmioError::Access(fault)) => {
                self.emulation.stage = Stage::Raise(fault);
                return Ok(self.execute_again());
            }
            Err(MmioError::Elsewhere(fault)) => return Ok(self.fault_elsewhere(nested_fault_of(&fault))),
        }
        // The registers change with the last step, and each instruction here has one before that.
        let mut rflags = cpu.rflags();
        Ok(match self.emulation.mmio.next(&mut self.registers, &mut rflags, memory) {
            Ok(MmioStep::Read { gpa, width }) => self.ask_for_read(gpa, width),
            Ok(MmioStep::Write { gpa, width, data }) => self.ask_for_write(gpa, width, data),
            Ok(MmioStep::Done { .. }) => self.execute_again(),
            Err(fault) => self.fault_elsewhere(nested_fault_of(&fault)),
        })
    }

    /// Another page that the instruction accesses is not there: the VMM maps it, or says that it is a device too.
    fn fault_elsewhere(&mut self, fault: NestedFault) -> VmExit {
        self.pending = Pending::NestedFaultElsewhere(fault);
        VmExit::NestedPageFault(fault)
    }

    /// The guest goes on where it is.
    fn execute_again(&mut self) -> VmExit {
        self.pending = Pending::None;
        VmExit::Nothing
    }

    /// The instruction raises an exception with the next run.
    fn raise(&mut self, vector: ExceptionVector) -> VmExit {
        self.emulation.stage = Stage::Raise(AccessFault::Segment(SegmentFault(vector)));
        self.execute_again()
    }

    /// A plain MOV: there is nothing to do but what the VMM does, and one register.
    #[inline]
    fn move_at_device(&mut self, mov: &Mov, gpa: u64) -> VmExit {
        let Mov { width, length, .. } = *mov;
        let data = match mov.operation {
            MovOperation::Load(register) => {
                self.pending = Pending::Load { register, width, length };
                return VmExit::MmioRead {
                    gpa,
                    width,
                    register: (!register.high).then_some(register.index),
                    register_width: register.width,
                    sign_extend: false,
                };
            }
            MovOperation::Store(register) => register.read(&self.registers),
            MovOperation::StoreImmediate(value) => value,
        };
        self.pending = Pending::None;
        self.skip = length;
        VmExit::MmioWrite { gpa, width, data: data & width.mask() }
    }

    fn ask_for_read(&mut self, gpa: u64, width: crate::Width) -> VmExit {
        self.emulation.stage = Stage::MmioRead;
        self.pending = Pending::Emulation;
        let mmio = &self.emulation.mmio;
        match mmio.instruction.destination().filter(|_| mmio.is_single_read()) {
            Some((register, register_width, sign_extend)) => {
                VmExit::MmioRead { gpa, width, register: Some(register), register_width, sign_extend }
            }
            None => VmExit::MmioRead { gpa, width, register: None, register_width: width, sign_extend: false },
        }
    }

    fn ask_for_write(&mut self, gpa: u64, width: crate::Width, data: u64) -> VmExit {
        self.emulation.stage = Stage::MmioWritten;
        self.pending = Pending::None;
        VmExit::MmioWrite { gpa, width, data }
    }

    /// The next steps, with the guest's registers at hand, RSP and RFLAGS included.
    fn go_on<C: Cpu>(&mut self, cpu: &mut C) -> Progress {
        // SAFETY: it is used in this function only, and the root is `set_nested_root`'s.
        let memory = unsafe {
            memory_of::<C, S>(self.nested_root, self.nested_flags, self.dirty_log.as_ref().map(NonNull::from))
        };
        let Some(mut memory) = memory else { return Progress::Again };
        let (rsp, old) = (cpu.rsp(), cpu.rflags());
        let mut rflags = old;
        self.registers.rsp = rsp;
        let step = self.emulation.mmio.next(&mut self.registers, &mut rflags, &mut memory);
        if self.registers.rsp != rsp {
            cpu.set_rsp(self.registers.rsp);
        }
        if rflags != old {
            cpu.set_rflags(rflags);
        }
        match step {
            Ok(MmioStep::Read { gpa, width }) => Progress::Exit(self.ask_for_read(gpa, width)),
            Ok(MmioStep::Write { gpa, width, data }) => Progress::Exit(self.ask_for_write(gpa, width, data)),
            Ok(MmioStep::Done { skip }) => {
                if let Some((number, value)) = self.emulation.mmio.loaded_vector() {
                    self.xstate.set_vector(number, value);
                }
                if skip == 0 { Progress::Repeat } else { Progress::Skip(skip) }
            }
            Err(fault) => memory_fault(&fault),
        }
    }
}

/// Whether the instruction that was read makes the access that faulted: another CPU may have changed it meanwhile. What
/// writes RSP is left to the general path, and so is what reaches into another page.
#[inline]
fn is_access<C: Cpu>(mov: &Mov, fault: &NestedFault, size: CodeSize, cpu: &C) -> bool {
    let load = match mov.operation {
        MovOperation::Load(register) if register.index == RegisterIndex::RSP => return false,
        MovOperation::Load(_) => true,
        MovOperation::Store(_) | MovOperation::StoreImmediate(_) => false,
    };
    let place = fault.gpa & IN_PAGE;
    let base = if size == CodeSize::Bits64 { 0 } else { cpu.base(mov.segment) };
    load != fault.access.write
        && base.wrapping_add(mov.offset) & IN_PAGE == place
        && place + mov.width.bytes() as u64 <= IN_PAGE + 1
}

/// What an access on the guest's behalf led to.
pub(crate) fn access_fault(fault: &AccessFault) -> Progress {
    match fault {
        AccessFault::Segment(SegmentFault(ExceptionVector::UD)) => {
            Progress::Raise(Event::exception(ExceptionVector::UD, None))
        }
        AccessFault::Segment(fault) => Progress::Raise(Event::exception(fault.0, Some(0))),
        AccessFault::Page(fault) => Progress::PageFault(*fault),
        AccessFault::Memory(fault) => memory_fault(fault),
    }
}

fn memory_fault(fault: &MemoryFault) -> Progress {
    Progress::Exit(nested_fault(fault))
}

/// What the VMM is told of guest memory that the library could not access.
pub(crate) fn nested_fault(fault: &MemoryFault) -> VmExit {
    VmExit::NestedPageFault(nested_fault_of(fault))
}

fn nested_fault_of(fault: &MemoryFault) -> NestedFault {
    NestedFault {
        gpa: fault.gpa,
        gva: None,
        access: fault.access,
        present: fault.reason != MemoryFaultReason::NotMapped,
        table_walk: false,
    }
}

impl PageFault {
    /// The exception, whose address goes to CR2.
    pub(crate) fn event(&self) -> Event {
        Event::exception(ExceptionVector::PF, Some(self.error_code.bits()))
    }
}

impl<G: Segments> Segments for &G {
    fn base(&self, register: SegmentRegister) -> u64 {
        (**self).base(register)
    }

    fn segment(&self, register: SegmentRegister) -> super::registers::Segment {
        (**self).segment(register)
    }
}
