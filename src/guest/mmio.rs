//! Instructions that access a device: what the VMM is asked, and what its answer does to the guest.
//!
//! An access that the nested page table does not allow has not happened; the guest's state is that before the instruction.
//! [`MmioEmulation::begin`] gives the first thing that the VMM has to do, [`MmioEmulation::read_done`] and
//! [`MmioEmulation::write_done`] the next, until it is done. Registers and flags change with the last step, so that an
//! emulation may be given up before and the guest execute the instruction again.
//!
//! The CPU has checked the instruction's rights and limits, except those of the second operand of MOVS, which are checked
//! here.

mod alu;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod native;
#[cfg(test)]
mod tests;

use super::{
    decode::{
        Address, Arithmetic, BitIndex, BitOperation, MemoryOperand, MmioInstruction, Operation, Register, Repeat,
        StringAddress,
    },
    linear::{AccessFault, Span},
    memory::{GuestMemory, MemoryFaultReason},
    registers::{GuestRegisters, RegisterIndex, Segment},
    segmentation::{CodeSize, SegmentAccess, SegmentRegister},
    string,
    walk::{LinearAccess, Paging, Privilege},
};
use crate::{exit::Width, frame::FrameSource, spec::x86::registers::Rflags};

/// The guest's segment registers, each read when it is needed.
pub trait Segments {
    /// The base address of a segment register.
    fn base(&self, register: SegmentRegister) -> u64;
    /// All of a segment register.
    fn segment(&self, register: SegmentRegister) -> Segment;
}

/// The fault and the state of the guest that an emulation starts from.
#[derive(Clone, Copy, Debug)]
pub struct MmioContext<'a, G: Segments> {
    /// The guest-physical address of the access.
    pub gpa: u64,
    /// Whether the access was a write.
    pub write: bool,
    /// The kind of code.
    pub code_size: CodeSize,
    /// RIP: the instruction's address in CS.
    pub rip: u64,
    /// The general-purpose registers.
    pub registers: &'a GuestRegisters,
    /// RFLAGS. Only instructions for which [`MmioInstruction::uses_flags`] look at it.
    pub rflags: Rflags,
    /// The segment registers.
    pub segments: G,
    /// How linear addresses are translated.
    pub paging: &'a Paging,
    /// On whose behalf.
    pub privilege: Privilege,
}

/// Why an access cannot be emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmioError {
    /// The instruction that was read does not access the address of the fault: another CPU changed it. The guest may execute
    /// it again.
    Changed,
    /// The access reaches into a second page.
    CrossesPage,
    /// The other operand of the instruction cannot be accessed.
    Access(AccessFault),
}

impl From<AccessFault> for MmioError {
    fn from(fault: AccessFault) -> Self {
        Self::Access(fault)
    }
}

/// What an emulation needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmioStep {
    /// The VMM reads the device; then [`MmioEmulation::read_done`].
    Read {
        /// The guest-physical address.
        gpa: u64,
        /// The width.
        width: Width,
    },
    /// The VMM writes to the device; then [`MmioEmulation::write_done`].
    Write {
        /// The guest-physical address.
        gpa: u64,
        /// The width.
        width: Width,
        /// The data, zero-extended.
        data: u64,
    },
    /// The data has to be written to the guest's memory by [`Span::write`]; then [`MmioEmulation::write_done`].
    Store {
        /// Where.
        span: Span,
        /// The data, zero-extended.
        data: u64,
    },
    /// The guest's registers are as behind the instruction. With a length, RIP moves on by it; without, elements of a
    /// repeated string instruction are left, and the guest executes it again.
    Done {
        /// The length of the instruction.
        skip: Option<u8>,
    },
}

/// The emulation of one access by one instruction.
#[derive(Clone, Copy, Debug)]
pub struct MmioEmulation {
    /// The instruction.
    pub instruction: MmioInstruction,
    gpa: u64,
    /// Where a MOVS from a device puts its element.
    target: Target,
    /// What the device gave, once it did.
    value: u64,
    /// RFLAGS behind an instruction that still has to write.
    rflags: Rflags,
}

/// See [`MmioEmulation::target`].
#[derive(Clone, Copy, Debug)]
enum Target {
    None,
    Memory(Span),
    Device(u64),
}

const PAGE: u64 = 0x1000;

impl MmioInstruction {
    /// Whether it reads or writes RFLAGS: if not, the caller need not fetch it.
    pub fn uses_flags(&self) -> bool {
        !matches!(self.operation, Operation::Load { .. } | Operation::Store { .. } | Operation::Exchange(_))
    }

    /// Whether it writes to its operand in memory, or else says what the fault was about.
    pub(crate) fn writes(&self, fault_is_write: bool) -> bool {
        match self.operation {
            Operation::OnMemory(Arithmetic::Compare | Arithmetic::Test, _) | Operation::Bit(BitOperation::Test, _) => {
                false
            }
            Operation::OnMemory(..)
            | Operation::Unary(_)
            | Operation::Exchange(_)
            | Operation::ExchangeAdd(_)
            | Operation::CompareExchange(_)
            | Operation::Bit(..) => true,
            _ => fault_is_write,
        }
    }

    /// The linear address of the operand that faulted.
    pub(crate) fn linear<G: Segments>(&self, context: &MmioContext<'_, G>) -> u64 {
        match &self.address() {
            Address::Operand(operand) => operand_address(self, operand, context),
            Address::String(string) => string_address(self, string, context),
        }
    }

    /// Where a read goes: the register, how much of it is written, and whether the value is sign-extended to that. `None`
    /// for instructions that do more than load a register.
    pub fn destination(&self) -> Option<(RegisterIndex, Width, bool)> {
        match self.operation {
            Operation::Load { register, sign_extend, .. } if !register.high => {
                Some((register.index, register.width, sign_extend))
            }
            Operation::LoadString => Some((RegisterIndex::RAX, self.width, false)),
            _ => None,
        }
    }
}

impl MmioEmulation {
    /// Room for one.
    pub const EMPTY: Self =
        Self { instruction: MmioInstruction::EMPTY, gpa: 0, target: Target::None, value: 0, rflags: Rflags::empty() };

    /// Starts the emulation of an instruction that accessed a device.
    ///
    /// # Errors
    /// As [`MmioEmulation::start`].
    #[cfg(test)]
    pub fn begin<S: FrameSource, G: Segments>(
        instruction: MmioInstruction,
        context: &MmioContext<'_, G>,
        memory: &mut GuestMemory<'_, S>,
    ) -> Result<(Self, MmioStep), MmioError> {
        let mut emulation = Self { instruction, ..Self::EMPTY };
        let step = emulation.start(context, memory)?;
        Ok((emulation, step))
    }

    /// Starts the emulation of [`MmioEmulation::instruction`], which accessed a device. In place, so that the whole is not
    /// copied.
    ///
    /// # Errors
    /// See [`MmioError`]. Nothing has changed then.
    #[inline]
    pub fn start<S: FrameSource, G: Segments>(
        &mut self,
        context: &MmioContext<'_, G>,
        memory: &mut GuestMemory<'_, S>,
    ) -> Result<MmioStep, MmioError> {
        // The CPU says where the access went, so the operand need not be computed, unless the fault may be about the second
        // part of an access that began in the page before.
        let offset = context.gpa & (PAGE - 1);
        let width = self.instruction.width;
        if offset + width.bytes() as u64 > PAGE {
            return Err(MmioError::CrossesPage);
        }
        if offset == 0 && width != Width::Byte {
            check_offset(&self.instruction, context)?;
        }
        self.gpa = context.gpa;
        self.first(context, memory)
    }

    #[inline]
    fn first<S: FrameSource, G: Segments>(
        &mut self,
        context: &MmioContext<'_, G>,
        memory: &mut GuestMemory<'_, S>,
    ) -> Result<MmioStep, MmioError> {
        let width = self.instruction.width;
        match self.instruction.operation {
            Operation::Load { .. } => Ok(self.read()),
            Operation::Store { source, swap } => {
                let value = source.read(context.registers);
                Ok(self.write(if swap { swapped(value, width) } else { value }))
            }
            _ => self.first_of_others(context, memory),
        }
    }

    #[inline(never)]
    fn first_of_others<S: FrameSource, G: Segments>(
        &mut self,
        context: &MmioContext<'_, G>,
        memory: &mut GuestMemory<'_, S>,
    ) -> Result<MmioStep, MmioError> {
        match self.instruction.operation {
            Operation::StoreString => Ok(self.write(context.registers.rax)),
            Operation::Set(condition) => Ok(self.write(condition.holds(context.rflags).into())),
            Operation::MoveString => self.first_of_move(context, memory),
            _ => Ok(self.read()),
        }
    }

    /// MOVS: the fault says which operand is the device. The other one is memory, or for a destination a device too.
    fn first_of_move<S: FrameSource, G: Segments>(
        &mut self,
        context: &MmioContext<'_, G>,
        memory: &mut GuestMemory<'_, S>,
    ) -> Result<MmioStep, MmioError> {
        let StringAddress { source, address_size, .. } = self.instruction.string();
        let width = self.instruction.width;
        let (register, index, access) = if context.write {
            (source, RegisterIndex::RSI, LinearAccess::Read(context.privilege))
        } else {
            (SegmentRegister::Es, RegisterIndex::RDI, LinearAccess::Write(context.privilege))
        };
        let linear = SegmentAccess {
            register,
            segment: &context.segments.segment(register),
            code_size: context.code_size,
            offset: string::offset(context.registers, index, address_size),
            bytes: width.bytes() as u64,
            write: !context.write,
            cr4: context.paging.cr4,
        }
        .linear()
        .map_err(AccessFault::from)?;
        let span = Span::translate(memory, context.paging, linear, width, access).map_err(AccessFault::from)?;
        if context.write {
            let value = span.read(memory).map_err(AccessFault::from)?;
            return Ok(self.write(value));
        }
        self.target = match span.probe_write(memory) {
            Ok(()) => Target::Memory(span),
            Err(fault) if span.is_within_page() && fault.reason != MemoryFaultReason::NotPermitted => {
                Target::Device(span.gpa)
            }
            Err(fault) => return Err(AccessFault::from(fault).into()),
        };
        Ok(self.read())
    }

    fn read(&self) -> MmioStep {
        MmioStep::Read { gpa: self.gpa, width: self.instruction.width }
    }

    fn write(&self, data: u64) -> MmioStep {
        let width = self.instruction.width;
        MmioStep::Write { gpa: self.gpa, width, data: data & width.mask() }
    }

    fn done(&self) -> MmioStep {
        MmioStep::Done { skip: Some(self.instruction.length) }
    }

    /// Takes what the device gave to an [`MmioStep::Read`].
    #[inline]
    pub fn read_done(&mut self, value: u64, registers: &mut GuestRegisters, rflags: &mut Rflags) -> MmioStep {
        let width = self.instruction.width;
        let value = value & width.mask();
        match self.instruction.operation {
            Operation::Load { register, sign_extend, swap } => {
                let value = if swap { swapped(value, width) } else { value };
                register.write(registers, if sign_extend { sign_extended(value, width) } else { value });
                self.done()
            }
            _ => self.other_read_done(value, registers, rflags),
        }
    }

    fn other_read_done(&mut self, value: u64, registers: &mut GuestRegisters, rflags: &mut Rflags) -> MmioStep {
        let width = self.instruction.width;
        self.value = value;
        match self.instruction.operation {
            Operation::OnMemory(op, source) => {
                let (result, flags) = alu::arithmetic(op, value, source.read(registers), width, *rflags);
                if op.only_compares() {
                    *rflags = flags;
                    return self.done();
                }
                self.rflags = flags;
                self.write(result)
            }
            Operation::OnRegister(op, register) => {
                let (result, flags) = alu::arithmetic(op, register.read(registers), value, width, *rflags);
                if !op.only_compares() {
                    register.write(registers, result);
                }
                *rflags = flags;
                self.done()
            }
            Operation::Unary(op) => {
                let (result, flags) = alu::unary(op, value, width, *rflags);
                self.rflags = flags;
                self.write(result)
            }
            Operation::Exchange(register) => self.write(register.read(registers)),
            Operation::ExchangeAdd(register) => {
                let op = Arithmetic::Add;
                let (result, flags) = alu::arithmetic(op, value, register.read(registers), width, *rflags);
                self.rflags = flags;
                self.write(result)
            }
            Operation::CompareExchange(register) => {
                let op = Arithmetic::Compare;
                let (_, flags) = alu::arithmetic(op, registers.rax, value, width, *rflags);
                self.rflags = flags;
                // A CPU that finds them different writes back what it read.
                self.write(if flags.contains(Rflags::ZF) { register.read(registers) } else { value })
            }
            Operation::Bit(op, index) => {
                let bit = 1 << (bit_number(index, registers) & (width.bytes() as i64 * 8 - 1));
                let mut flags = *rflags;
                flags.set(Rflags::CF, value & bit != 0);
                let result = match op {
                    BitOperation::Test => {
                        *rflags = flags;
                        return self.done();
                    }
                    BitOperation::Set => value | bit,
                    BitOperation::Reset => value & !bit,
                    BitOperation::Complement => value ^ bit,
                };
                self.rflags = flags;
                self.write(result)
            }
            Operation::ConditionalMove(condition, register) => {
                // A register of 32 bits is zero-extended even when nothing is moved.
                let value = if condition.holds(*rflags) { value } else { register.read(registers) };
                register.write(registers, value);
                self.done()
            }
            Operation::LoadString => {
                registers.write(RegisterIndex::RAX, width, value);
                self.next_element(registers, *rflags)
            }
            Operation::ScanString => {
                let op = Arithmetic::Compare;
                (_, *rflags) = alu::arithmetic(op, registers.rax, value, width, *rflags);
                self.next_element(registers, *rflags)
            }
            Operation::MoveString => match self.target {
                Target::Memory(span) => MmioStep::Store { span, data: value },
                Target::Device(gpa) => MmioStep::Write { gpa, width, data: value },
                Target::None => self.done(),
            },
            // The others do not read.
            Operation::Load { .. } | Operation::Store { .. } | Operation::StoreString | Operation::Set(_) => {
                self.done()
            }
        }
    }

    /// Goes on behind an [`MmioStep::Write`] or an [`MmioStep::Store`].
    #[inline]
    pub fn write_done(&mut self, registers: &mut GuestRegisters, rflags: &mut Rflags) -> MmioStep {
        match self.instruction.operation {
            Operation::Store { .. } | Operation::Set(_) => self.done(),
            _ => self.other_write_done(registers, rflags),
        }
    }

    fn other_write_done(&mut self, registers: &mut GuestRegisters, rflags: &mut Rflags) -> MmioStep {
        let width = self.instruction.width;
        match self.instruction.operation {
            Operation::StoreString | Operation::MoveString => return self.next_element(registers, *rflags),
            Operation::Exchange(register) => register.write(registers, self.value),
            Operation::ExchangeAdd(register) => {
                register.write(registers, self.value);
                *rflags = self.rflags;
            }
            Operation::CompareExchange(_) => {
                if !self.rflags.contains(Rflags::ZF) {
                    registers.write(RegisterIndex::RAX, width, self.value);
                }
                *rflags = self.rflags;
            }
            Operation::OnMemory(..) | Operation::Unary(_) | Operation::Bit(..) => *rflags = self.rflags,
            _ => {}
        }
        self.done()
    }

    /// Moves the registers of a string instruction behind one element.
    fn next_element(&self, registers: &mut GuestRegisters, rflags: Rflags) -> MmioStep {
        let StringAddress { address_size, repeat, .. } = self.instruction.string();
        let operation = self.instruction.operation;
        let width = self.instruction.width;
        if matches!(operation, Operation::MoveString | Operation::LoadString) {
            string::advance_index(registers, RegisterIndex::RSI, address_size, width, rflags);
        }
        if operation != Operation::LoadString {
            string::advance_index(registers, RegisterIndex::RDI, address_size, width, rflags);
        }
        let Some(repeat) = repeat else { return self.done() };
        let left = string::advance_count(registers, address_size);
        let wanted = repeat == Repeat::WhileZero;
        let ends = operation == Operation::ScanString && rflags.contains(Rflags::ZF) != wanted;
        MmioStep::Done { skip: (left == 0 || ends).then_some(self.instruction.length) }
    }
}

/// Makes sure that an access whose fault was at the start of a page began there.
#[inline(never)]
fn check_offset<G: Segments>(instruction: &MmioInstruction, context: &MmioContext<'_, G>) -> Result<(), MmioError> {
    let offset = instruction.linear(context) & (PAGE - 1);
    if offset == 0 {
        Ok(())
    } else if offset + instruction.width.bytes() as u64 > PAGE {
        Err(MmioError::CrossesPage)
    } else {
        Err(MmioError::Changed)
    }
}

/// The linear address of a memory operand.
fn operand_address<G: Segments>(
    instruction: &MmioInstruction,
    operand: &MemoryOperand,
    context: &MmioContext<'_, G>,
) -> u64 {
    let next_rip = context.rip.wrapping_add(instruction.length.into());
    let mut offset = operand.offset(context.registers, next_rip);
    if let Operation::Bit(_, BitIndex::Register(register)) = instruction.operation {
        // The bit may lie outside of the operand: the CPU accesses the word that it is in.
        let words = signed_value(register, context.registers) >> (3 + instruction.width.bytes().trailing_zeros());
        let bytes = words.wrapping_mul(instruction.width.bytes() as i64);
        offset = offset.wrapping_add(bytes as u64) & operand.address_size.mask();
    }
    linear_address(operand.segment, offset, context)
}

/// The linear address of the operand of a string instruction that faulted.
fn string_address<G: Segments>(
    instruction: &MmioInstruction,
    string: &StringAddress,
    context: &MmioContext<'_, G>,
) -> u64 {
    let reads_source = match instruction.operation {
        Operation::LoadString => true,
        Operation::MoveString => !context.write,
        _ => false,
    };
    let (segment, index) =
        if reads_source { (string.source, RegisterIndex::RSI) } else { (SegmentRegister::Es, RegisterIndex::RDI) };
    linear_address(segment, super::string::offset(context.registers, index, string.address_size), context)
}

#[inline]
fn linear_address<G: Segments>(segment: SegmentRegister, offset: u64, context: &MmioContext<'_, G>) -> u64 {
    let long = context.code_size == CodeSize::Bits64;
    let base = match segment {
        SegmentRegister::Fs | SegmentRegister::Gs => context.segments.base(segment),
        _ if long => 0,
        _ => context.segments.base(segment),
    };
    let linear = base.wrapping_add(offset);
    if long { linear } else { linear & 0xffff_ffff }
}

fn bit_number(index: BitIndex, registers: &GuestRegisters) -> i64 {
    match index {
        BitIndex::Immediate(number) => number.into(),
        BitIndex::Register(register) => signed_value(register, registers),
    }
}

fn signed_value(register: Register, registers: &GuestRegisters) -> i64 {
    sign_extended(register.read(registers), register.width) as i64
}

#[inline]
fn sign_extended(value: u64, width: Width) -> u64 {
    let unused = 64 - 8 * width.bytes() as u32;
    ((value << unused) as i64 >> unused) as u64
}

/// The bytes in the other order.
fn swapped(value: u64, width: Width) -> u64 {
    (value & width.mask()).swap_bytes() >> (64 - 8 * width.bytes() as u32)
}
