//! Data accesses of up to 16 bytes at a guest's linear addresses, which may lie in two pages.

use super::{
    memory::{GuestMemory, MemoryFault, Want},
    segmentation::SegmentFault,
    walk::{LinearAccess, PageFault, Paging, WalkFault},
};
use crate::{exit::Width, frame::FrameSource};

/// Why an access on the guest's behalf did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFault {
    /// The guest gets #GP(0) or #SS(0).
    Segment(SegmentFault),
    /// The guest gets #PF.
    Page(PageFault),
    /// The nested page table does not allow it: the VMM is told as of any other access.
    Memory(MemoryFault),
}

impl From<SegmentFault> for AccessFault {
    fn from(fault: SegmentFault) -> Self {
        Self::Segment(fault)
    }
}

impl From<MemoryFault> for AccessFault {
    fn from(fault: MemoryFault) -> Self {
        Self::Memory(fault)
    }
}

impl From<WalkFault> for AccessFault {
    fn from(fault: WalkFault) -> Self {
        match fault {
            WalkFault::PageFault(fault) => Self::Page(fault),
            WalkFault::Memory(fault) => Self::Memory(fault),
        }
    }
}

/// Where the bytes of an access are in guest-physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it starts.
    pub gpa: u64,
    /// Where its part in the second page starts.
    second: u64,
    /// How many bytes are in the first page.
    in_first: u8,
    /// How many bytes it has.
    bytes: u8,
}

const PAGE: u64 = 0x1000;

/// The largest access.
pub const LONGEST: usize = 16;

impl Span {
    /// Translates a linear address, and the one in the next page if the access of `bytes` (at most [`LONGEST`]) reaches into
    /// it.
    ///
    /// # Errors
    /// As [`Paging::translate`].
    pub fn translate<S: FrameSource>(
        memory: &mut GuestMemory<'_, S>,
        paging: &Paging,
        linear: u64,
        bytes: u8,
        access: LinearAccess,
    ) -> Result<Self, WalkFault> {
        let gpa = paging.translate(memory, linear, access)?;
        let in_page = PAGE - (linear & (PAGE - 1));
        if u64::from(bytes) <= in_page {
            return Ok(Self { gpa, second: gpa, in_first: bytes, bytes });
        }
        let second = paging.translate(memory, linear.wrapping_add(in_page), access)?;
        Ok(Self { gpa, second, in_first: in_page as u8, bytes })
    }

    /// The first byte of each of its parts.
    pub fn parts(&self) -> [u64; 2] {
        [self.gpa, self.second]
    }

    /// Whether a byte belongs to it.
    pub fn contains(&self, gpa: u64) -> bool {
        let within = |start: u64, length: u8| gpa.wrapping_sub(start) < length.into();
        within(self.gpa, self.in_first) || within(self.second, self.bytes.saturating_sub(self.in_first))
    }

    /// The piece that starts with byte number `at` and can be moved by one access, and whether it is in the second page.
    /// `None` behind the end.
    ///
    /// A part of 1, 2, 4, 8 or 16 bytes is moved by accesses of up to 8, wherever it starts; any other by aligned ones.
    pub fn piece(&self, at: u8) -> Option<(u64, Width, bool)> {
        let in_second = at >= self.in_first;
        let (start, length, done) = if in_second {
            (self.second, self.bytes.saturating_sub(self.in_first), at - self.in_first)
        } else {
            (self.gpa, self.in_first, at)
        };
        let left = u64::from(length.checked_sub(done)?);
        let gpa = start.wrapping_add(done.into());
        let width = if length.is_power_of_two() {
            [Width::Qword, Width::Dword, Width::Word, Width::Byte]
                .into_iter()
                .find(|width| width.bytes() as u64 <= left)
        } else {
            [Width::Qword, Width::Dword, Width::Word, Width::Byte].into_iter().find(|width| {
                let bytes = width.bytes() as u64;
                bytes <= left && gpa & (bytes - 1) == 0
            })
        };
        width.map(|width| (gpa, width, in_second))
    }

    /// Reads at most its first eight bytes, zero-extended.
    ///
    /// # Errors
    /// As [`GuestMemory::read`].
    pub fn read<S: FrameSource>(&self, memory: &mut GuestMemory<'_, S>) -> Result<u64, MemoryFault> {
        let mut bytes = [0; 8];
        let (first, second) = bytes.split_at_mut(usize::from(self.in_first).min(8));
        memory.read(self.gpa, first)?;
        let left = usize::from(self.bytes.saturating_sub(self.in_first));
        if let Some(second) = second.get_mut(..left) {
            memory.read(self.second, second)?;
        }
        Ok(u64::from_le_bytes(bytes))
    }

    /// Says whether it could be written.
    ///
    /// # Errors
    /// As [`GuestMemory::write`], before anything is written.
    pub fn probe_write<S: FrameSource>(&self, memory: &mut GuestMemory<'_, S>) -> Result<(), MemoryFault> {
        memory.probe(Want::Write, self.gpa)?;
        memory.probe(Want::Write, self.second)
    }

    /// Writes `value` to at most its first eight bytes.
    ///
    /// # Errors
    /// As [`GuestMemory::write`].
    pub fn write<S: FrameSource>(&self, memory: &mut GuestMemory<'_, S>, value: u64) -> Result<(), MemoryFault> {
        let bytes = value.to_le_bytes();
        let (first, second) = bytes.split_at(usize::from(self.in_first).min(8));
        memory.write(self.gpa, first)?;
        let left = usize::from(self.bytes.saturating_sub(self.in_first));
        memory.write(self.second, second.get(..left).unwrap_or(&[]))
    }
}
