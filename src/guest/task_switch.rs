//! Task switches through task-state segments, which VMX leaves to the hypervisor; with SVM the CPU does them.
//!
//! SDM volume 3A, "Task Management": "Task Switching", "Exception Conditions Checked During a Task Switch". The CPU has checked
//! rights and gates before the exit; the descriptor of the new task-state segment is checked once more, because another CPU of
//! the guest may have changed it since.

#[cfg(test)]
mod tests;

use super::{
    events::Event,
    linear::AccessFault,
    registers::{GuestRegisters, Segment, SystemRegisters},
    segmentation::{CodeSize, SegmentAccess, SegmentFault, SegmentRegister},
    start::{CODE, DATA, DEFINED_FLAGS, RFLAGS_FIXED},
};
use crate::spec::{
    intel::structures::SegmentAccessRights,
    x86::{
        paging::{SegmentType, SystemSegmentType},
        registers::{Cr0, ExceptionVector, Rflags},
        tasks::{Tss16Offset, Tss32Offset},
    },
};

/// What wants the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A far CALL.
    Call,
    /// A far JMP.
    Jump,
    /// IRET with NT.
    Return,
    /// An event whose vector has a task gate. `external`: it is not the program's own doing; the code is pushed in the new task.
    Event { external: bool, error_code: Option<u32> },
}

/// The guest's linear memory, as the CPU itself accesses it.
pub(crate) trait TaskMemory {
    /// Reads.
    fn read(&mut self, linear: u64, bytes: &mut [u8]) -> Result<(), AccessFault>;
    /// Writes; `user`: with the rights of CPL 3.
    fn write(&mut self, linear: u64, bytes: &[u8], user: bool) -> Result<(), AccessFault>;
    /// Whether `length` bytes could be written.
    fn probe_write(&mut self, linear: u64, length: u64) -> Result<(), AccessFault>;
    /// The new task's CR3 is loaded.
    fn set_cr3(&mut self, cr3: u64);
}

/// Why there is no switch, or why the new task does not get to its first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The guest gets this exception.
    Raise(Event),
    /// The guest's memory could not be accessed.
    Access(AccessFault),
}

impl From<AccessFault> for Refused {
    fn from(fault: AccessFault) -> Self {
        Self::Access(fault)
    }
}

/// The switch has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Switched {
    /// The new task cannot run yet.
    pub(crate) fault: Option<Refused>,
    /// Its task-state segment asks for a #DB.
    pub(crate) debug_trap: bool,
}

/// A descriptor in the global or the local table.
#[derive(Clone, Copy)]
struct Descriptor {
    /// Where it is.
    linear: u64,
    raw: u64,
}

/// The size of a descriptor, and what of a selector is its place.
const DESCRIPTOR: u64 = 8;
/// TI of a selector: the local table.
const LOCAL: u16 = 1 << 2;
/// RPL of a selector.
const RPL: u16 = 3;
/// EXT of an error code.
const EXTERNAL: u32 = 1;
/// The accessed bit, and the one by which a busy task-state segment differs from an available one.
const ACCESSED: u64 = (SegmentType::ACCESSED.bits() as u64) << RIGHTS;
const BUSY: u64 = ((SystemSegmentType::TSS_BUSY.0 ^ SystemSegmentType::TSS_AVAILABLE.0) as u64) << RIGHTS;
/// The lowest bit of a descriptor's access rights.
const RIGHTS: u32 = 40;
/// The rights that a descriptor has; the rest of these bits are the limit's.
const IN_DESCRIPTOR: SegmentAccessRights = SegmentAccessRights::SEGMENT_TYPE_MASK
    .with(SegmentAccessRights::S)
    .with(SegmentAccessRights::DPL_MASK)
    .with(SegmentAccessRights::P)
    .with(SegmentAccessRights::AVL)
    .with(SegmentAccessRights::L)
    .with(SegmentAccessRights::DB)
    .with(SegmentAccessRights::G);
/// A task-state segment of 32 bits, and one of 16, with what the CPU needs of them.
const SIZE_32: usize = 104;
const SIZE_16: usize = 44;

impl Descriptor {
    fn segment(self, selector: u16) -> Segment {
        let rights = SegmentAccessRights::from_bits((self.raw >> RIGHTS) as u32) & IN_DESCRIPTOR;
        let limit = (self.raw & 0xffff | self.raw >> 32 & 0xf_0000) as u32;
        let limit = if rights.contains(SegmentAccessRights::G) { limit << 12 | 0xfff } else { limit };
        let base = self.raw >> 16 & 0xff_ffff | self.raw >> 32 & 0xff00_0000;
        Segment { selector, base, limit, rights }
    }
}

/// One switch on its way.
struct Switch<'a, M> {
    system: &'a mut SystemRegisters,
    memory: &'a mut M,
    external: bool,
}

/// Switches to the task of `selector`. RIP of `system` is where the old task will go on. Without a result nothing has changed
/// but perhaps the old task's image in memory.
pub(crate) fn switch<M: TaskMemory>(
    system: &mut SystemRegisters,
    registers: &mut GuestRegisters,
    memory: &mut M,
    selector: u16,
    cause: Cause,
) -> Result<Switched, Refused> {
    let external = matches!(cause, Cause::Event { external: true, .. });
    Switch { system, memory, external }.run(registers, selector, cause)
}

impl<M: TaskMemory> Switch<'_, M> {
    fn fault(&self, vector: ExceptionVector, selector: u16) -> Refused {
        let code = u32::from(selector & !RPL) | if self.external { EXTERNAL } else { 0 };
        Refused::Raise(Event::exception(vector, Some(code)))
    }

    fn run(&mut self, registers: &mut GuestRegisters, selector: u16, cause: Cause) -> Result<Switched, Refused> {
        let (descriptor, new) = self.new_tss(selector, cause)?;
        let wide = is_wide(&new);
        let old = self.system.tr;
        let old_descriptor = match cause {
            Cause::Jump | Cause::Return => self.descriptor(old.selector)?,
            Cause::Call | Cause::Event { .. } => None,
        };
        // All that may meet a page fault, before anything changes.
        let mut image = [0; SIZE_32];
        let image = image.get_mut(..if wide { SIZE_32 } else { SIZE_16 }).unwrap_or_default();
        self.memory.read(new.base, image)?;
        let links = matches!(cause, Cause::Call | Cause::Event { .. });
        if links {
            self.memory.probe_write(new.base, 2)?;
        }
        let (place, saved, length) = self.old_image(registers, is_wide(&old), cause);
        let saved = saved.get(..length).unwrap_or_default();
        self.memory.probe_write(old.base.wrapping_add(place), length as u64)?;
        for descriptor in [Some(descriptor), old_descriptor].into_iter().flatten() {
            self.memory.probe_write(descriptor.linear, DESCRIPTOR)?;
        }

        self.memory.write(old.base.wrapping_add(place), saved, false)?;
        if let Some(old) = old_descriptor {
            self.memory.write(old.linear, &(old.raw & !BUSY).to_le_bytes(), false)?;
        }
        if cause != Cause::Return {
            self.memory.write(descriptor.linear, &(descriptor.raw | BUSY).to_le_bytes(), false)?;
        }
        if links {
            self.memory.write(new.base, &old.selector.to_le_bytes(), false)?;
        }
        // Again: the new task may be the old one, saved just now.
        self.memory.read(new.base, image)?;

        self.system.tr = new;
        self.system.tr.rights = SegmentAccessRights::from_bits(new.rights.bits() | (BUSY >> RIGHTS) as u32);
        self.system.cr0.insert(Cr0::TS);
        let debug_trap = wide && word(image, Tss32Offset::DEBUG_TRAP.0) & 1 != 0;
        let selectors = self.load_registers(registers, image, wide, links);
        let fault = self.load_segments(selectors).and_then(|()| match cause {
            Cause::Event { error_code: Some(code), .. } => self.push(code, wide),
            _ => Ok(()),
        });
        registers.rsp = self.system.rsp;
        Ok(Switched { fault: fault.err(), debug_trap })
    }

    /// The new task-state segment, which must be what the cause wants.
    fn new_tss(&mut self, selector: u16, cause: Cause) -> Result<(Descriptor, Segment), Refused> {
        let vector = if cause == Cause::Return { ExceptionVector::TS } else { ExceptionVector::GP };
        let found = if selector & LOCAL == 0 { self.descriptor(selector)? } else { None };
        let Some(descriptor) = found else { return Err(self.fault(vector, selector)) };
        let segment = descriptor.segment(selector);
        let kind = segment.rights.segment_type() & !((BUSY >> RIGHTS) as u8);
        let busy = descriptor.raw & BUSY != 0;
        if segment.rights.contains(SegmentAccessRights::S)
            || ![SystemSegmentType::TSS_AVAILABLE.0, SystemSegmentType::TSS_16_AVAILABLE.0].contains(&kind)
            || busy != (cause == Cause::Return)
        {
            return Err(self.fault(vector, selector));
        }
        if !segment.rights.contains(SegmentAccessRights::P) {
            return Err(self.fault(ExceptionVector::NP, selector));
        }
        let size = if is_wide(&segment) { SIZE_32 } else { SIZE_16 };
        if (segment.limit as usize) < size - 1 {
            return Err(self.fault(ExceptionVector::TS, selector));
        }
        Ok((descriptor, segment))
    }

    /// `None` for a null selector, or one beyond its table.
    fn descriptor(&mut self, selector: u16) -> Result<Option<Descriptor>, Refused> {
        let (base, limit) = if selector & LOCAL == 0 {
            (self.system.gdtr.base, u32::from(self.system.gdtr.limit))
        } else {
            let table = &self.system.ldtr;
            if table.rights.contains(SegmentAccessRights::UNUSABLE) {
                return Ok(None);
            }
            (table.base, table.limit)
        };
        let offset = selector & !(RPL | LOCAL);
        if selector & !RPL == 0 || u32::from(offset | (DESCRIPTOR as u16 - 1)) > limit {
            return Ok(None);
        }
        let linear = base.wrapping_add(offset.into()) & u64::from(u32::MAX);
        let mut raw = [0; DESCRIPTOR as usize];
        self.memory.read(linear, &mut raw)?;
        Ok(Some(Descriptor { linear, raw: u64::from_le_bytes(raw) }))
    }

    /// What is saved of the old task, and where in its segment.
    fn old_image(&self, registers: &GuestRegisters, wide: bool, cause: Cause) -> (u64, [u8; SIZE_32], usize) {
        let system = &*self.system;
        let mut flags = system.rflags;
        if cause == Cause::Return {
            flags.remove(Rflags::NT);
        }
        let general = [
            system.rip,
            flags.bits(),
            registers.rax,
            registers.rcx,
            registers.rdx,
            registers.rbx,
            system.rsp,
            registers.rbp,
            registers.rsi,
            registers.rdi,
        ];
        let selectors = [&system.es, &system.cs, &system.ss, &system.ds, &system.fs, &system.gs];
        let values = general.into_iter().chain(selectors.into_iter().map(|segment| segment.selector.into()));
        let mut bytes = [0; SIZE_32];
        // A segment of 16 bits has neither FS nor GS.
        let (place, width, count) = if wide { (Tss32Offset::EIP.0, 4, 16) } else { (Tss16Offset::IP.0, 2, 14) };
        for (chunk, value) in bytes.chunks_exact_mut(width).zip(values.take(count)) {
            for (byte, from) in chunk.iter_mut().zip(value.to_le_bytes()) {
                *byte = from;
            }
        }
        (place.into(), bytes, width * count)
    }

    /// Loads what needs no check; gives the selectors, LDT's first.
    fn load_registers(&mut self, registers: &mut GuestRegisters, image: &[u8], wide: bool, nested: bool) -> [u16; 7] {
        let (first, width) = if wide { (Tss32Offset::EIP.0, 4) } else { (Tss16Offset::IP.0, 2) };
        let value = |index: u8| {
            let value = word(image, first.wrapping_add(index.wrapping_mul(width)));
            if wide { value } else { value & 0xffff }
        };
        if wide && self.system.cr0.contains(Cr0::PG) {
            self.system.cr3 = word(image, Tss32Offset::CR3.0);
            self.memory.set_cr3(self.system.cr3);
        }
        self.system.rip = value(0);
        let mut flags = Rflags::from_bits(value(1)) & DEFINED_FLAGS | RFLAGS_FIXED;
        if nested {
            flags.insert(Rflags::NT);
        }
        self.system.rflags = flags;
        registers.rax = value(2);
        registers.rcx = value(3);
        registers.rdx = value(4);
        registers.rbx = value(5);
        self.system.rsp = value(6);
        registers.rbp = value(7);
        registers.rsi = value(8);
        registers.rdi = value(9);
        let ldt = if wide { Tss32Offset::LDT_SELECTOR.0 } else { Tss16Offset::TASK_LDT_SELECTOR.0 };
        let selector = |index| value(index) as u16;
        let [fs, gs] = if wide { [selector(14), selector(15)] } else { [0, 0] };
        [word(image, ldt) as u16, selector(10), selector(11), selector(12), selector(13), fs, gs]
    }

    /// The new task's segments. After a fault those that are not loaded yet cannot be used; CS and SS have something with which
    /// the CPU can enter the handler.
    fn load_segments(&mut self, [ldt, es, cs, ss, ds, fs, gs]: [u16; 7]) -> Result<(), Refused> {
        let virtual_8086 = self.system.rflags.contains(Rflags::VM);
        let cpl = if virtual_8086 { 3 } else { (cs & RPL) as u8 };
        let unusable = |selector| Segment { selector, rights: SegmentAccessRights::UNUSABLE, ..Segment::default() };
        let present = SegmentAccessRights::P.with(SegmentAccessRights::S).with_dpl(cpl);
        self.system.ldtr = unusable(ldt);
        for (segment, selector) in self.data_segments([es, ds, fs, gs]) {
            *segment = unusable(selector);
        }
        let db = self.system.cs.rights & SegmentAccessRights::DB;
        self.system.cs.selector = cs;
        self.system.cs.rights = (present | db | self.system.cs.rights & SegmentAccessRights::G).with_segment_type(CODE);
        let granular = self.system.ss.rights & SegmentAccessRights::G;
        if self.system.ss.rights.contains(SegmentAccessRights::UNUSABLE) {
            self.system.ss = Segment { limit: 0, base: 0, ..self.system.ss };
        }
        self.system.ss.selector = ss;
        self.system.ss.rights = (present | db | granular).with_segment_type(DATA);

        if ldt & !RPL != 0 {
            let found = if ldt & LOCAL == 0 { self.descriptor(ldt)? } else { None };
            let segment = found.map(|found| found.segment(ldt)).filter(|segment| {
                !segment.rights.contains(SegmentAccessRights::S)
                    && segment.rights.segment_type() == SystemSegmentType::LDT.0
                    && segment.rights.contains(SegmentAccessRights::P)
            });
            self.system.ldtr = segment.ok_or_else(|| self.fault(ExceptionVector::TS, ldt))?;
        }
        if virtual_8086 {
            let real = |selector: u16| Segment {
                selector,
                base: u64::from(selector) << 4,
                limit: 0xffff,
                rights: present.with_segment_type(DATA),
            };
            (self.system.cs, self.system.ss) = (real(cs), real(ss));
            for (segment, selector) in self.data_segments([es, ds, fs, gs]) {
                *segment = real(selector);
            }
            return Ok(());
        }
        self.load_code(cs)?;
        self.load_stack(ss, cpl)?;
        for (index, selector) in [es, ds, fs, gs].into_iter().enumerate() {
            let loaded = self.data(selector, cpl)?;
            if let Some((segment, _)) = self.data_segments([es, ds, fs, gs]).into_iter().nth(index) {
                *segment = loaded;
            }
        }
        Ok(())
    }

    fn data_segments(&mut self, selectors: [u16; 4]) -> [(&mut Segment, u16); 4] {
        let [es, ds, fs, gs] = selectors;
        let system = &mut *self.system;
        [(&mut system.es, es), (&mut system.ds, ds), (&mut system.fs, fs), (&mut system.gs, gs)]
    }

    fn load_code(&mut self, selector: u16) -> Result<(), Refused> {
        let Some(descriptor) = self.descriptor(selector)? else {
            return Err(self.fault(ExceptionVector::TS, selector));
        };
        let segment = descriptor.segment(selector);
        let (kind, dpl, rpl) = (kind(&segment), segment.rights.dpl(), (selector & RPL) as u8);
        let allowed = if kind.contains(SegmentType::EXPAND_DOWN_OR_CONFORMING) { dpl <= rpl } else { dpl == rpl };
        if !segment.rights.contains(SegmentAccessRights::S) || !kind.contains(SegmentType::CODE) || !allowed {
            return Err(self.fault(ExceptionVector::TS, selector));
        }
        if !segment.rights.contains(SegmentAccessRights::P) {
            return Err(self.fault(ExceptionVector::NP, selector));
        }
        self.system.cs = self.accessed(descriptor, segment)?;
        Ok(())
    }

    fn load_stack(&mut self, selector: u16, cpl: u8) -> Result<(), Refused> {
        let Some(descriptor) = self.descriptor(selector)? else {
            return Err(self.fault(ExceptionVector::TS, selector));
        };
        let segment = descriptor.segment(selector);
        let kind = kind(&segment);
        if !segment.rights.contains(SegmentAccessRights::S)
            || kind.contains(SegmentType::CODE)
            || !kind.contains(SegmentType::WRITABLE_OR_READABLE)
            || segment.rights.dpl() != cpl
            || (selector & RPL) as u8 != cpl
        {
            return Err(self.fault(ExceptionVector::TS, selector));
        }
        if !segment.rights.contains(SegmentAccessRights::P) {
            return Err(self.fault(ExceptionVector::SS, selector));
        }
        self.system.ss = self.accessed(descriptor, segment)?;
        Ok(())
    }

    fn data(&mut self, selector: u16, cpl: u8) -> Result<Segment, Refused> {
        if selector & !RPL == 0 {
            return Ok(Segment { selector, rights: SegmentAccessRights::UNUSABLE, ..Segment::default() });
        }
        let Some(descriptor) = self.descriptor(selector)? else {
            return Err(self.fault(ExceptionVector::TS, selector));
        };
        let segment = descriptor.segment(selector);
        let kind = kind(&segment);
        let code = kind.contains(SegmentType::CODE);
        let conforming = code && kind.contains(SegmentType::EXPAND_DOWN_OR_CONFORMING);
        if !segment.rights.contains(SegmentAccessRights::S)
            || code && !kind.contains(SegmentType::WRITABLE_OR_READABLE)
            || !conforming && segment.rights.dpl() < cpl.max((selector & RPL) as u8)
        {
            return Err(self.fault(ExceptionVector::TS, selector));
        }
        if !segment.rights.contains(SegmentAccessRights::P) {
            return Err(self.fault(ExceptionVector::NP, selector));
        }
        self.accessed(descriptor, segment)
    }

    /// The segment with its accessed bit set, in memory too.
    fn accessed(&mut self, descriptor: Descriptor, segment: Segment) -> Result<Segment, Refused> {
        if descriptor.raw & ACCESSED == 0 {
            self.memory.write(descriptor.linear, &(descriptor.raw | ACCESSED).to_le_bytes(), false)?;
        }
        let kind = segment.rights.segment_type() | SegmentType::ACCESSED.bits() as u8;
        Ok(Segment { rights: segment.rights.with_segment_type(kind), ..segment })
    }

    /// The error code of the event, on the new task's stack.
    fn push(&mut self, code: u32, wide: bool) -> Result<(), Refused> {
        let bytes = code.to_le_bytes();
        let bytes = bytes.get(..if wide { 4 } else { 2 }).unwrap_or_default();
        let ss = self.system.ss;
        let mask = if ss.rights.contains(SegmentAccessRights::DB) { u64::from(u32::MAX) } else { 0xffff };
        let offset = self.system.rsp.wrapping_sub(bytes.len() as u64) & mask;
        let access = SegmentAccess {
            register: SegmentRegister::Ss,
            segment: &ss,
            code_size: CodeSize::Bits32,
            offset,
            bytes: bytes.len() as u64,
            write: true,
            cr4: self.system.cr4,
        };
        let linear = match access.linear() {
            Ok(linear) => linear,
            Err(SegmentFault(vector)) => return Err(self.fault(vector, 0)),
        };
        self.memory.write(linear, bytes, ss.rights.dpl() == 3)?;
        self.system.rsp = self.system.rsp & !mask | offset;
        Ok(())
    }
}

fn kind(segment: &Segment) -> SegmentType {
    SegmentType::from_bits(segment.rights.segment_type().into())
}

/// Whether a task-state segment has 32 bits.
fn is_wide(tss: &Segment) -> bool {
    let kind = tss.rights.segment_type();
    [SystemSegmentType::TSS_AVAILABLE.0, SystemSegmentType::TSS_BUSY.0].contains(&kind)
}

/// Up to four bytes of an image.
fn word(image: &[u8], offset: u8) -> u64 {
    let mut bytes = [0; 8];
    let from = image.get(usize::from(offset)..).unwrap_or_default();
    for (byte, from) in bytes.iter_mut().zip(from.iter().take(4)) {
        *byte = *from;
    }
    u64::from_le_bytes(bytes)
}
