//! The guest's linear memory for a task switch.

use super::{
    linear::{AccessFault, Span},
    memory::GuestMemory,
    task_switch::TaskMemory,
    walk::{LinearAccess, Paging, Privilege},
};
use crate::frame::FrameSource;

/// The guest's memory through its page tables.
pub(crate) struct LinearMemory<'a, S: FrameSource> {
    pub(crate) memory: GuestMemory<'a, S>,
    pub(crate) paging: Paging,
}

/// The CPU looks at tables and task-state segments with its own rights, and SMAP holds for them.
const SUPERVISOR: Privilege = Privilege { user: false, alignment_check: false };
/// How much is moved at once.
const PIECE: u8 = 8;

impl<S: FrameSource> LinearMemory<'_, S> {
    fn span(&mut self, linear: u64, length: usize, access: LinearAccess) -> Result<Span, AccessFault> {
        let linear = linear & u64::from(u32::MAX);
        Ok(Span::translate(&mut self.memory, &self.paging, linear, length as u8, access)?)
    }
}

impl<S: FrameSource> TaskMemory for LinearMemory<'_, S> {
    fn read(&mut self, mut linear: u64, bytes: &mut [u8]) -> Result<(), AccessFault> {
        for piece in bytes.chunks_mut(PIECE.into()) {
            let span = self.span(linear, piece.len(), LinearAccess::Read(SUPERVISOR))?;
            let value = span.read(&mut self.memory)?.to_le_bytes();
            for (byte, from) in piece.iter_mut().zip(value) {
                *byte = from;
            }
            linear = linear.wrapping_add(piece.len() as u64);
        }
        Ok(())
    }

    fn write(&mut self, mut linear: u64, bytes: &[u8], user: bool) -> Result<(), AccessFault> {
        for piece in bytes.chunks(PIECE.into()) {
            let span = self.span(linear, piece.len(), LinearAccess::Write(Privilege { user, ..SUPERVISOR }))?;
            span.probe_write(&mut self.memory)?;
            let mut value = [0; PIECE as usize];
            for (byte, from) in value.iter_mut().zip(piece) {
                *byte = *from;
            }
            span.write(&mut self.memory, u64::from_le_bytes(value))?;
            linear = linear.wrapping_add(piece.len() as u64);
        }
        Ok(())
    }

    fn probe_write(&mut self, linear: u64, length: u64) -> Result<(), AccessFault> {
        let last = length.saturating_sub(1);
        for linear in [linear, linear.wrapping_add(last)] {
            let span = self.span(linear, 1, LinearAccess::Write(SUPERVISOR))?;
            span.probe_write(&mut self.memory)?;
        }
        Ok(())
    }

    fn set_cr3(&mut self, cr3: u64) {
        self.paging.cr3 = cr3;
        // PAE paging reads its entries anew.
        self.paging.pdptes = None;
    }
}
