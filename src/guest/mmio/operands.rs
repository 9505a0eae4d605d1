//! Where the memory operands of an instruction are, with the checks that a CPU makes before it accesses them.

use super::{MmioContext, MmioError, PAGE, Segments, signed_value};
use crate::{
    exit::Width,
    frame::FrameSource,
    guest::{
        decode::{Address, BitIndex, BitOperation, MemoryOperand, MmioInstruction, Operation, StringAddress},
        linear::{AccessFault, Span},
        memory::{GuestMemory, Want},
        registers::RegisterIndex,
        segmentation::{AddressSize, CodeSize, SegmentAccess, SegmentFault, SegmentRegister},
        string,
        walk::LinearAccess,
    },
    spec::{intel::structures::SegmentAccessRights, x86::registers::ExceptionVector},
};

/// The guest-physical pages that the VMM has called devices, as far as one instruction can access them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Devices([u64; 4]);

/// No page has all bits set.
const NO_PAGE: u64 = u64::MAX;

impl Devices {
    /// None.
    pub const NONE: Self = Self([NO_PAGE; 4]);

    /// The page of this address too. Two operands of two pages each are all that there can be; the oldest is forgotten.
    pub fn with(self, gpa: u64) -> Self {
        let [first, second, third, _] = self.0;
        Self([page(gpa), first, second, third])
    }

    fn contains(self, gpa: u64) -> bool {
        self.0.contains(&page(gpa))
    }
}

fn page(gpa: u64) -> u64 {
    gpa & !(PAGE - 1)
}

/// An operand in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub(super) span: Span,
    /// Whether its part in the first page is in a device, and that in the second.
    pub(super) devices: [bool; 2],
}

impl Operand {
    /// Whether an access of the CPU to it may have met a device at this address.
    fn has(&self, gpa: u64, whole_page: bool) -> bool {
        let of_device = |(part, device): (u64, bool)| device && page(part) == page(gpa);
        self.span.parts().into_iter().zip(self.devices).any(of_device) && (whole_page || self.span.contains(gpa))
    }
}

/// The operands of an instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands {
    pub(super) reads: [Option<Operand>; 2],
    pub(super) write: Option<Operand>,
}

impl Operands {
    pub(super) const NONE: Self = Self { reads: [None; 2], write: None };

    /// A shift by nothing writes nothing.
    pub(super) fn drop_write_if(&mut self, nothing: bool) {
        if nothing {
            self.write = None;
        }
    }

    /// Finds all of them.
    ///
    /// # Errors
    /// See [`MmioError`].
    pub(super) fn find<S: FrameSource, G: Segments>(
        instruction: &MmioInstruction,
        context: &MmioContext<'_, G>,
        memory: &mut GuestMemory<'_, S>,
    ) -> Result<Self, MmioError> {
        let size = instruction.size;
        let mut at = |segment, offset, write| locate(context, memory, (segment, offset, size), write);
        let found = match &instruction.address {
            Address::Operand(operand) => {
                let (segment, offset) = (operand.segment, operand_offset(instruction, operand, context));
                if let Some(alignment) = alignment(instruction)
                    && linear_address(segment, offset, context) & (alignment - 1) != 0
                {
                    return Err(AccessFault::Segment(SegmentFault(ExceptionVector::GP)).into());
                }
                match instruction.operation {
                    Operation::Push => {
                        let read = at(segment, offset, false)?;
                        let stack = at(SegmentRegister::Ss, stack_top(context, -i64::from(size)), true)?;
                        Self { reads: [Some(read), None], write: Some(stack) }
                    }
                    Operation::Pop => {
                        let stack = at(SegmentRegister::Ss, stack_top(context, 0), false)?;
                        let write = at(segment, offset, true)?;
                        Self { reads: [Some(stack), None], write: Some(write) }
                    }
                    operation => {
                        let (reads, writes) = accesses(operation);
                        let operand = at(segment, offset, writes)?;
                        Self { reads: [reads.then_some(operand), None], write: writes.then_some(operand) }
                    }
                }
            }
            Address::String(string) => {
                let StringAddress { source, address_size, repeat } = *string;
                if repeat.is_some() && string::count(context.registers, address_size) == 0 {
                    return Err(MmioError::Changed);
                }
                let offset = |index| string::offset(context.registers, index, address_size);
                let (rsi, rdi) = (offset(RegisterIndex::RSI), offset(RegisterIndex::RDI));
                let mut read = |segment, offset| at(segment, offset, false).map(Some);
                match instruction.operation {
                    Operation::LoadString => Self { reads: [read(source, rsi)?, None], write: None },
                    Operation::ScanString => Self { reads: [read(SegmentRegister::Es, rdi)?, None], write: None },
                    Operation::CompareString => {
                        Self { reads: [read(source, rsi)?, read(SegmentRegister::Es, rdi)?], write: None }
                    }
                    Operation::MoveString => {
                        Self { reads: [read(source, rsi)?, None], write: Some(at(SegmentRegister::Es, rdi, true)?) }
                    }
                    _ => Self { reads: [None; 2], write: Some(at(SegmentRegister::Es, rdi, true)?) },
                }
            }
        };
        // A CPU may access several elements of a string at once.
        let whole_page = matches!(instruction.address, Address::String(_));
        let all = [found.reads[0], found.reads[1], found.write];
        if all.into_iter().flatten().any(|operand| operand.has(context.gpa, whole_page)) {
            Ok(found)
        } else {
            Err(MmioError::Changed)
        }
    }
}

/// Whether an instruction reads its memory operand, and whether it writes it.
fn accesses(operation: Operation) -> (bool, bool) {
    match operation {
        Operation::Store { .. } | Operation::Set(_) | Operation::StoreVector { .. } => (false, true),
        Operation::OnMemory(op, _) => (true, !op.only_compares()),
        Operation::Bit(op, _) => (true, op != BitOperation::Test),
        Operation::Unary(_)
        | Operation::Shift(..)
        | Operation::DoubleShift(..)
        | Operation::Exchange(_)
        | Operation::ExchangeAdd(_)
        | Operation::CompareExchange(_)
        | Operation::CompareExchangePair => (true, true),
        _ => (true, false),
    }
}

impl MmioInstruction {
    /// The linear address of the operand that faulted, and whether it is written: what the guest's breakpoints compare.
    pub(crate) fn watched<G: Segments>(&self, fault_is_write: bool, context: &MmioContext<'_, G>) -> (u64, bool) {
        match &self.address {
            Address::Operand(operand) => {
                let offset = operand_offset(self, operand, context);
                let writes = self.operation == Operation::Pop || accesses(self.operation).1;
                (linear_address(operand.segment, offset, context), writes)
            }
            Address::String(StringAddress { source, address_size, .. }) => {
                let is_source = match self.operation {
                    Operation::LoadString | Operation::CompareString => true,
                    Operation::MoveString => !fault_is_write,
                    _ => false,
                };
                let (segment, index) =
                    if is_source { (*source, RegisterIndex::RSI) } else { (SegmentRegister::Es, RegisterIndex::RDI) };
                let offset = string::offset(context.registers, index, *address_size);
                (linear_address(segment, offset, context), fault_is_write)
            }
        }
    }
}

/// What the address of its operand has to be a multiple of, by an instruction that says so. SDM volume 1, "Alignment of Data in
/// Memory" of the SSE chapters; volume 2A, "CMPXCHG8B/CMPXCHG16B".
fn alignment(instruction: &MmioInstruction) -> Option<u64> {
    match instruction.operation {
        Operation::LoadVector { aligned: true, .. } | Operation::StoreVector { aligned: true, .. } => Some(16),
        Operation::CompareExchangePair if instruction.width == Width::Qword => Some(16),
        _ => None,
    }
}

/// Finds the operand of so many bytes at an offset in a segment.
fn locate<S: FrameSource, G: Segments>(
    context: &MmioContext<'_, G>,
    memory: &mut GuestMemory<'_, S>,
    (register, offset, size): (SegmentRegister, u64, u8),
    write: bool,
) -> Result<Operand, MmioError> {
    let linear = SegmentAccess {
        register,
        segment: &context.segments.segment(register),
        code_size: context.code_size,
        offset,
        bytes: size.into(),
        write,
        cr4: context.paging.cr4,
    }
    .linear()
    .map_err(AccessFault::from)?;
    let (access, want) = if write {
        (LinearAccess::Write(context.privilege), Want::Write)
    } else {
        (LinearAccess::Read(context.privilege), Want::Read)
    };
    let span = Span::translate(memory, context.paging, linear, size, access).map_err(AccessFault::from)?;
    let mut devices = [false; 2];
    for (device, gpa) in devices.iter_mut().zip(span.parts()) {
        if context.devices.contains(gpa) {
            *device = true;
        } else {
            memory.probe(want, gpa).map_err(MmioError::Elsewhere)?;
        }
    }
    Ok(Operand { span, devices })
}

/// The offset of a memory operand in its segment.
pub(super) fn operand_offset<G: Segments>(
    instruction: &MmioInstruction,
    operand: &MemoryOperand,
    context: &MmioContext<'_, G>,
) -> u64 {
    let next_rip = context.rip.wrapping_add(instruction.length.into());
    let offset = operand.offset(context.registers, next_rip);
    let further = match instruction.operation {
        // The bit may lie outside of the operand: the CPU accesses the word that it is in.
        Operation::Bit(_, BitIndex::Register(register)) => {
            let words = signed_value(register, context.registers) >> (3 + instruction.width.bytes().trailing_zeros());
            words.wrapping_mul(instruction.width.bytes() as i64)
        }
        // The address is computed with the stack pointer behind the POP.
        Operation::Pop if operand.base == Some(RegisterIndex::RSP) => instruction.size.into(),
        _ => 0,
    };
    offset.wrapping_add(further as u64) & operand.address_size.mask()
}

#[inline]
pub(super) fn linear_address<G: Segments>(segment: SegmentRegister, offset: u64, context: &MmioContext<'_, G>) -> u64 {
    let long = context.code_size == CodeSize::Bits64;
    let base = match segment {
        SegmentRegister::Fs | SegmentRegister::Gs => context.segments.base(segment),
        _ if long => 0,
        _ => context.segments.base(segment),
    };
    let linear = base.wrapping_add(offset);
    if long { linear } else { linear & 0xffff_ffff }
}

/// How wide the stack pointer is.
pub(super) fn stack_size<G: Segments>(context: &MmioContext<'_, G>) -> AddressSize {
    if context.code_size == CodeSize::Bits64 {
        AddressSize::Bits64
    } else if context.segments.segment(SegmentRegister::Ss).rights.contains(SegmentAccessRights::DB) {
        AddressSize::Bits32
    } else {
        AddressSize::Bits16
    }
}

fn stack_top<G: Segments>(context: &MmioContext<'_, G>, further: i64) -> u64 {
    context.registers.rsp.wrapping_add(further as u64) & stack_size(context).mask()
}
