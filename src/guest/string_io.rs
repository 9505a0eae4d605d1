//! INS and OUTS: one element at a time.
//!
//! The CPU checks the I/O permission before the exit, but it has not touched memory yet: limits, page tables and accessed
//! bits are ours. After each element but the last the guest goes on at the same instruction and exits again, so that
//! interrupts come between the elements as they do on hardware.
//!
//! SDM volume 2, "INS/INSB/INSW/INSD", "OUTS/OUTSB/OUTSW/OUTSD".

#[cfg(test)]
mod tests;

use super::{
    linear::{AccessFault, Span},
    memory::{GuestMemory, MemoryFault},
    registers::{GuestRegisters, RegisterIndex, Segment},
    segmentation::{AddressSize, CodeSize, SegmentAccess, SegmentRegister},
    string,
    walk::{LinearAccess, Paging, Privilege},
};
use crate::{exit::Width, frame::FrameSource, spec::x86::registers::Rflags};

/// The instruction, as the exit describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringIo {
    /// INS; else OUTS.
    pub input: bool,
    /// The size of an element, never [`Width::Qword`].
    pub width: Width,
    /// Whether there is a REP prefix.
    pub repeat: bool,
    /// The size of the index and count registers.
    pub address_size: AddressSize,
    /// The segment of OUTS; INS always writes to ES.
    pub segment: SegmentRegister,
}

/// What an element's memory access depends on.
#[derive(Clone, Copy, Debug)]
pub struct StringContext<'a> {
    /// How linear addresses are translated.
    pub paging: &'a Paging,
    /// On whose behalf.
    pub privilege: Privilege,
    /// The kind of code.
    pub code_size: CodeSize,
    /// The content of [`StringIo::segment`], or of ES for INS.
    pub segment: &'a Segment,
}

/// What to do for the next element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// The count is 0: the instruction does nothing and is done.
    None,
    /// OUTS: this goes to the port. Then [`StringIo::advance`].
    Out(u32),
    /// INS: what comes from the port goes here, by [`Span::write`]. Then [`StringIo::advance`].
    In(Span),
}

impl StringIo {
    fn index(&self) -> RegisterIndex {
        if self.input { RegisterIndex::RDI } else { RegisterIndex::RSI }
    }

    /// The next element. For INS it is made sure that its memory can be written before the port is read, since reading a port
    /// cannot be undone.
    ///
    /// # Errors
    /// What the guest or the VMM has to be told instead. Nothing has changed but accessed and dirty bits.
    pub fn start<S: FrameSource>(
        &self,
        memory: &mut GuestMemory<'_, S>,
        registers: &GuestRegisters,
        context: &StringContext<'_>,
    ) -> Result<Element, AccessFault> {
        if self.repeat && string::count(registers, self.address_size) == 0 {
            return Ok(Element::None);
        }
        let linear = SegmentAccess {
            register: if self.input { SegmentRegister::Es } else { self.segment },
            segment: context.segment,
            code_size: context.code_size,
            offset: string::offset(registers, self.index(), self.address_size),
            bytes: self.width.bytes() as u64,
            write: self.input,
            cr4: context.paging.cr4,
        }
        .linear()?;
        let access =
            if self.input { LinearAccess::Write(context.privilege) } else { LinearAccess::Read(context.privilege) };
        let span = Span::translate(memory, context.paging, linear, self.width as u8, access)?;
        if self.input {
            span.probe_write(memory)?;
            Ok(Element::In(span))
        } else {
            Ok(Element::Out(span.read(memory)? as u32))
        }
    }

    /// Stores what the port gave.
    ///
    /// # Errors
    /// When the nested page table has changed since [`StringIo::start`].
    pub fn store<S: FrameSource>(
        &self,
        memory: &mut GuestMemory<'_, S>,
        span: &Span,
        value: u32,
    ) -> Result<(), MemoryFault> {
        span.write(memory, value.into())
    }

    /// Moves the registers behind the element. Says whether the instruction is done: then RIP moves on, else the guest
    /// executes it again.
    pub fn advance(&self, registers: &mut GuestRegisters, rflags: Rflags) -> bool {
        string::advance_index(registers, self.index(), self.address_size, self.width, rflags);
        !self.repeat || string::advance_count(registers, self.address_size) == 0
    }
}
