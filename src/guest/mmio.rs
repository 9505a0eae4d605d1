//! Instructions that access a device: what the VMM is asked, and what its answer does to the guest.
//!
//! An access that the nested page table does not allow has not happened; the guest's state is that before the instruction.
//! An emulation first finds where all its memory operands are, with the checks that the CPU makes (segments, page tables,
//! alignment), so that a fault comes before any effect. Then it reads, computes, writes, and last changes the registers. What
//! is memory it accesses itself; what is a device becomes accesses of up to eight bytes that lie in one page, which the VMM
//! makes one by one. An emulation may be given up at any of them, and the guest executes the instruction again.
//!
//! A locked instruction is atomic as far as the VMM makes it so: the read and the write of a device are two steps. The part
//! of an operand that is memory, where the rest is a device, is not locked.

mod alu;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod native;
mod operands;
#[cfg(test)]
mod tests;

use super::{
    decode::{
        Address, Arithmetic, BitIndex, BitOperation, Count, MmioInstruction, Operation, Register, Repeat, StringAddress,
    },
    linear::{AccessFault, LONGEST},
    memory::{GuestMemory, MemoryFault},
    registers::{GuestRegisters, RegisterIndex, Segment},
    segmentation::{AddressSize, CodeSize, SegmentRegister},
    string,
    walk::{Paging, Privilege},
};
use crate::{exit::Width, frame::FrameSource, spec::x86::registers::Rflags};

pub use self::operands::Devices;
use self::operands::{Operand, Operands};

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
    /// What the VMM has called a device.
    pub devices: Devices,
    /// The kind of code.
    pub code_size: CodeSize,
    /// RIP: the instruction's address in CS.
    pub rip: u64,
    /// The general-purpose registers.
    pub registers: &'a GuestRegisters,
    /// The XMM register that the instruction stores ([`MmioInstruction::stored_vector`]).
    pub vector: Vector,
    /// The segment registers.
    pub segments: G,
    /// How linear addresses are translated.
    pub paging: &'a Paging,
    /// On whose behalf.
    pub privilege: Privilege,
}

/// An XMM register, lowest byte first.
pub type Vector = [u8; LONGEST];

/// Why an access cannot be emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmioError {
    /// The instruction that was read does not access the address of the fault: another CPU changed it, or what it goes by. The
    /// guest may execute it again.
    Changed,
    /// An operand of the instruction cannot be accessed: the guest gets an exception, or its page tables are not there.
    Access(AccessFault),
    /// Another part of the instruction's operands is not in memory that is mapped, and nobody has said that it is a device.
    Elsewhere(MemoryFault),
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
    /// The guest's registers are as behind the instruction, but for [`MmioEmulation::loaded_vector`]. RIP moves on by this
    /// length; with 0, elements of a repeated string instruction are left, and the guest executes it again.
    Done {
        /// The length of the instruction.
        skip: u8,
    },
}

const PAGE: u64 = memory_addr::PAGE_SIZE_4K as u64;

/// How far an emulation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Reads an operand, 0 or 1.
    Read(u8),
    Write,
}

/// The emulation of one access by one instruction.
#[derive(Clone, Copy, Debug)]
pub struct MmioEmulation {
    /// The instruction.
    pub instruction: MmioInstruction,
    operands: Operands,
    phase: Phase,
    /// How many bytes of the phase's operand are done.
    done: u8,
    /// What was read.
    values: [Vector; 2],
    /// What is written; before that is computed, the XMM register that is stored.
    result: Vector,
    /// RFLAGS behind the instruction.
    rflags: Rflags,
    /// The width of addresses on the stack, for PUSH and POP.
    stack_size: AddressSize,
}

impl MmioInstruction {
    /// Where a read goes: the register, how much of it is written, and whether the value is sign-extended to that. `None`
    /// for instructions that do more than load a register.
    pub fn destination(&self) -> Option<(RegisterIndex, Width, bool)> {
        match self.operation {
            Operation::Load { register, sign_extend, swap: false } if !register.high => {
                Some((register.index, register.width, sign_extend))
            }
            Operation::LoadString => Some((RegisterIndex::RAX, self.width, false)),
            _ => None,
        }
    }

    /// The XMM register that it stores.
    pub fn stored_vector(&self) -> Option<u8> {
        match self.operation {
            Operation::StoreVector { number, .. } => Some(number),
            _ => None,
        }
    }
}

impl MmioEmulation {
    /// Room for one.
    pub const EMPTY: Self = Self {
        instruction: MmioInstruction::EMPTY,
        operands: Operands::NONE,
        phase: Phase::Read(0),
        done: 0,
        values: [[0; LONGEST]; 2],
        result: [0; LONGEST],
        rflags: Rflags::empty(),
        stack_size: AddressSize::Bits64,
    };

    /// Starts the emulation of an instruction that accessed a device. [`MmioEmulation::next`] is the first step.
    ///
    /// # Errors
    /// See [`MmioError`]. Nothing has changed then but accessed and dirty bits of the guest's page tables.
    pub fn begin<S: FrameSource, G: Segments>(
        instruction: MmioInstruction,
        context: &MmioContext<'_, G>,
        memory: &mut GuestMemory<'_, S>,
    ) -> Result<Self, MmioError> {
        let operands = Operands::find(&instruction, context, memory)?;
        Ok(Self {
            instruction,
            operands,
            result: context.vector,
            stack_size: operands::stack_size(context),
            ..Self::EMPTY
        })
    }

    /// Whether what the VMM reads is all that is read, and only loaded.
    pub fn is_single_read(&self) -> bool {
        let whole =
            |operand: Operand| operand.span.piece(0).is_some_and(|(_, width, _)| width == self.instruction.width);
        self.operands.reads[0].is_some_and(whole)
    }

    /// Goes on until the VMM is needed, or to the end.
    ///
    /// # Errors
    /// When memory is not mapped any more that was: the VMM gets to know, and the guest executes the instruction again.
    pub fn next<S: FrameSource>(
        &mut self,
        registers: &mut GuestRegisters,
        rflags: &mut Rflags,
        memory: &mut GuestMemory<'_, S>,
    ) -> Result<MmioStep, MemoryFault> {
        loop {
            let operand = match self.phase {
                Phase::Read(number) => self.operands.reads.get(usize::from(number)).copied().flatten(),
                Phase::Write => self.operands.write,
            };
            let piece = operand.and_then(|operand| Some((operand, operand.span.piece(self.done)?)));
            let Some((operand, (gpa, width, in_second))) = piece else {
                if self.next_phase(registers, *rflags) {
                    continue;
                }
                return Ok(MmioStep::Done { skip: self.commit(registers, rflags) });
            };
            let is_device = operand.devices[usize::from(in_second)];
            match self.phase {
                Phase::Read(_) if is_device => return Ok(MmioStep::Read { gpa, width }),
                Phase::Read(_) => {
                    let mut bytes = [0; 8];
                    memory.read(gpa, bytes.get_mut(..width.bytes()).unwrap_or(&mut []))?;
                    self.read_done(u64::from_le_bytes(bytes));
                }
                Phase::Write => {
                    let mut bytes = [0; 8];
                    copy(&mut bytes, self.result.get(self.done.into()..).unwrap_or(&[]), width);
                    if is_device {
                        return Ok(MmioStep::Write { gpa, width, data: u64::from_le_bytes(bytes) });
                    }
                    memory.write(gpa, bytes.get(..width.bytes()).unwrap_or(&[]))?;
                    self.done = self.done.wrapping_add(width as u8);
                }
            }
        }
    }

    /// Takes what the device gave to an [`MmioStep::Read`].
    pub fn read_done(&mut self, value: u64) {
        let Phase::Read(number) = self.phase else { return };
        let Some(operand) = self.operands.reads.get(usize::from(number)).copied().flatten() else { return };
        let Some((_, width, _)) = operand.span.piece(self.done) else { return };
        if let Some(place) = self.values.get_mut(usize::from(number)).and_then(|v| v.get_mut(self.done.into()..)) {
            copy(place, &value.to_le_bytes(), width);
        }
        self.done = self.done.wrapping_add(width as u8);
    }

    /// Goes on behind an [`MmioStep::Write`].
    pub fn write_done(&mut self) {
        if let (Phase::Write, Some(operand)) = (self.phase, self.operands.write)
            && let Some((_, width, _)) = operand.span.piece(self.done)
        {
            self.done = self.done.wrapping_add(width as u8);
        }
    }

    /// Whether there is another phase. Computes behind the last read.
    fn next_phase(&mut self, registers: &GuestRegisters, rflags: Rflags) -> bool {
        self.done = 0;
        self.phase = match self.phase {
            Phase::Read(0) if self.operands.reads[1].is_some() => Phase::Read(1),
            Phase::Read(_) => {
                self.compute(registers, rflags);
                Phase::Write
            }
            Phase::Write => return false,
        };
        true
    }

    /// What was read, as a number.
    fn value(&self, number: usize) -> u64 {
        self.values.get(number).and_then(|value| value.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
            & self.instruction.width.mask()
    }

    fn set_result(&mut self, value: u64) {
        if let Some(low) = self.result.first_chunk_mut() {
            *low = value.to_le_bytes();
        }
    }

    /// What is to be written, and the flags.
    fn compute(&mut self, registers: &GuestRegisters, rflags: Rflags) {
        let width = self.instruction.width;
        let value = self.value(0);
        let (result, flags) = match self.instruction.operation {
            Operation::Store { source, swap } => {
                let value = source.read(registers);
                (if swap { swapped(value, width) } else { value }, rflags)
            }
            Operation::OnMemory(op, source) => alu::arithmetic(op, value, source.read(registers), width, rflags),
            Operation::OnRegister(op, register) => alu::arithmetic(op, register.read(registers), value, width, rflags),
            Operation::Unary(op) => alu::unary(op, value, width, rflags),
            Operation::Shift(op, count) => {
                let count = shift_count(count, width, registers);
                self.operands.drop_write_if(count == 0);
                alu::shift(op, value, count, width, rflags)
            }
            Operation::DoubleShift(op, register, count) => {
                let count = shift_count(count, width, registers);
                self.operands.drop_write_if(count == 0);
                alu::double_shift(op, value, register.read(registers), count, width, rflags)
            }
            Operation::Exchange(register) => (register.read(registers), rflags),
            Operation::ExchangeAdd(register) => {
                alu::arithmetic(Arithmetic::Add, value, register.read(registers), width, rflags)
            }
            Operation::CompareExchange(register) => {
                let (_, flags) = alu::arithmetic(Arithmetic::Compare, registers.rax, value, width, rflags);
                // A CPU that finds them different writes back what it read.
                (if flags.contains(Rflags::ZF) { register.read(registers) } else { value }, flags)
            }
            Operation::CompareExchangePair => {
                self.compare_exchange_pair(registers, rflags);
                return;
            }
            Operation::Bit(op, index) => {
                let bit = 1_u64.wrapping_shl((bit_number(index, registers) & (width.bytes() as i64 * 8 - 1)) as u32);
                let mut flags = rflags;
                flags.set(Rflags::CF, value & bit != 0);
                let result = match op {
                    BitOperation::Test => value,
                    BitOperation::Set => value | bit,
                    BitOperation::Reset => value & !bit,
                    BitOperation::Complement => value ^ bit,
                };
                (result, flags)
            }
            Operation::Set(condition) => (condition.holds(rflags).into(), rflags),
            // A register of 32 bits is zero-extended even when nothing is moved.
            Operation::ConditionalMove(condition, register) => {
                (if condition.holds(rflags) { value } else { register.read(registers) }, rflags)
            }
            Operation::StoreString => (registers.rax, rflags),
            Operation::ScanString => alu::arithmetic(Arithmetic::Compare, registers.rax, value, width, rflags),
            Operation::CompareString => alu::arithmetic(Arithmetic::Compare, value, self.value(1), width, rflags),
            Operation::Load { .. }
            | Operation::Push
            | Operation::Pop
            | Operation::MoveString
            | Operation::LoadString => (value, rflags),
            // Their bytes are in place, or stay where they were read.
            Operation::StoreVector { .. } | Operation::LoadVector { .. } => return,
        };
        self.set_result(result);
        self.rflags = flags;
    }

    /// CMPXCHG8B and CMPXCHG16B: RDX:RAX against memory, which becomes RCX:RBX.
    fn compare_exchange_pair(&mut self, registers: &GuestRegisters, rflags: Rflags) {
        let [low, high] = self.pair();
        let mask = self.instruction.width.mask();
        let equal = low == registers.rax & mask && high == registers.rdx & mask;
        self.rflags = rflags;
        self.rflags.set(Rflags::ZF, equal);
        self.result = self.values[0];
        if equal {
            let width = self.instruction.width;
            copy(&mut self.result, &registers.rbx.to_le_bytes(), width);
            copy(self.result.get_mut(width.bytes()..).unwrap_or_default(), &registers.rcx.to_le_bytes(), width);
        }
    }

    /// The two halves of what was read.
    fn pair(&self) -> [u64; 2] {
        let value = u128::from_le_bytes(self.values[0]);
        let width = self.instruction.width;
        [value as u64 & width.mask(), (value >> (8 * width.bytes())) as u64 & width.mask()]
    }

    /// Changes the registers. Gives the length by which RIP moves on.
    fn commit(&mut self, registers: &mut GuestRegisters, rflags: &mut Rflags) -> u8 {
        let width = self.instruction.width;
        let value = self.value(0);
        let result = u128::from_le_bytes(self.result) as u64;
        match self.instruction.operation {
            Operation::Store { .. }
            | Operation::Set(_)
            | Operation::StoreVector { .. }
            | Operation::LoadVector { .. } => {}
            Operation::Load { register, sign_extend, swap } => {
                let value = if swap { swapped(value, width) } else { value };
                register.write(registers, if sign_extend { sign_extended(value, width) } else { value });
            }
            Operation::OnRegister(op, register) => {
                if !op.only_compares() {
                    register.write(registers, result);
                }
                *rflags = self.rflags;
            }
            Operation::OnMemory(..)
            | Operation::Unary(_)
            | Operation::Bit(..)
            | Operation::Shift(..)
            | Operation::DoubleShift(..) => *rflags = self.rflags,
            Operation::Exchange(register) => register.write(registers, value),
            Operation::ExchangeAdd(register) => {
                register.write(registers, value);
                *rflags = self.rflags;
            }
            Operation::CompareExchange(_) => {
                if !self.rflags.contains(Rflags::ZF) {
                    registers.write(RegisterIndex::RAX, width, value);
                }
                *rflags = self.rflags;
            }
            Operation::CompareExchangePair => {
                if !self.rflags.contains(Rflags::ZF) {
                    let [low, high] = self.pair();
                    registers.write(RegisterIndex::RAX, width, low);
                    registers.write(RegisterIndex::RDX, width, high);
                }
                *rflags = self.rflags;
            }
            Operation::ConditionalMove(_, register) => register.write(registers, result),
            Operation::Push | Operation::Pop => {
                let bytes = width.bytes() as u64;
                let pop = self.instruction.operation == Operation::Pop;
                let rsp = if pop { registers.rsp.wrapping_add(bytes) } else { registers.rsp.wrapping_sub(bytes) };
                registers.write(RegisterIndex::RSP, self.stack_size.register_width(), rsp);
            }
            Operation::MoveString | Operation::StoreString => return self.next_element(registers, *rflags),
            Operation::LoadString => {
                registers.write(RegisterIndex::RAX, width, value);
                return self.next_element(registers, *rflags);
            }
            Operation::ScanString | Operation::CompareString => {
                *rflags = self.rflags;
                return self.next_element(registers, *rflags);
            }
        }
        self.instruction.length
    }

    /// At the end: the XMM register that was loaded, and its value.
    pub fn loaded_vector(&self) -> Option<(u8, Vector)> {
        match self.instruction.operation {
            Operation::LoadVector { number, .. } => Some((number, self.values[0])),
            _ => None,
        }
    }

    /// Moves the registers of a string instruction behind one element.
    fn next_element(&self, registers: &mut GuestRegisters, rflags: Rflags) -> u8 {
        let Address::String(StringAddress { address_size, repeat, .. }) = self.instruction.address else { return 0 };
        let operation = self.instruction.operation;
        let width = self.instruction.width;
        if matches!(operation, Operation::MoveString | Operation::LoadString | Operation::CompareString) {
            string::advance_index(registers, RegisterIndex::RSI, address_size, width, rflags);
        }
        if operation != Operation::LoadString {
            string::advance_index(registers, RegisterIndex::RDI, address_size, width, rflags);
        }
        let Some(repeat) = repeat else { return self.instruction.length };
        let left = string::advance_count(registers, address_size);
        let compares = matches!(operation, Operation::ScanString | Operation::CompareString);
        let ends = compares && rflags.contains(Rflags::ZF) != (repeat == Repeat::WhileZero);
        if left == 0 || ends { self.instruction.length } else { 0 }
    }
}

/// Copies as many bytes as `width` has and both sides have room for.
fn copy(to: &mut [u8], from: &[u8], width: Width) {
    for (to, from) in to.iter_mut().zip(from).take(width.bytes()) {
        *to = *from;
    }
}

/// By how many bits a shift of that width really shifts.
fn shift_count(count: Count, width: Width, registers: &GuestRegisters) -> u32 {
    let count = match count {
        Count::Immediate(number) => number,
        Count::Cl => registers.rcx as u8,
    };
    u32::from(count) & if width == Width::Qword { 63 } else { 31 }
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
