//! Writing a snapshot: to memory that the image uses for nothing else, where the emulator takes it from. A port would take minutes.

use alloc::string::{String, ToString};
use alloc::vec;
use core::ops::Range;
use core::ptr;

use lz4_flex::block;

use super::codec::bytes_of;
use super::{Checksum, Description, HEADER, MAGIC, PIECE, SavedCpu, VERSION, head, section};
use crate::machine::board::Devices;
use crate::machine::memory::GuestMemory;
use crate::memory;

/// The memory that is written to.
pub struct Output {
    room: Range<usize>,
    checksum: Checksum,
    /// How many bytes have been written.
    pub written: usize,
}

impl Output {
    /// Writes to physical memory, which is mapped one to one, behind all that the image uses.
    pub fn new(room: Range<usize>) -> Result<Self, String> {
        if room.is_empty() || room.start < memory::end() || room.end > memory::MAPPED {
            return Err("there is no memory to save the guest to: save_room= and host_memory= say where it is".into());
        }
        Ok(Self { room, checksum: Checksum::START, written: 0 })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() > self.room.len() - self.written {
            return Err("there is too little memory to save the guest to".into());
        }
        self.checksum.add(bytes);
        // SAFETY: as far as the room goes, which nobody else uses.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), (self.room.start + self.written) as *mut u8, bytes.len()) };
        self.written += bytes.len();
        Ok(())
    }

    fn section(&mut self, id: u16, parts: &[&[u8]]) -> Result<(), String> {
        self.send(&head(id, parts.iter().map(|part| part.len()).sum()))?;
        parts.iter().try_for_each(|part| self.send(part))
    }
}

/// Writes a machine.
pub fn write(
    output: &mut Output,
    machine: &Description,
    vcpus: &[SavedCpu],
    devices: &Devices,
    memory: &GuestMemory,
) -> Result<(), String> {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    output.send(&header)?;
    output.section(section::MACHINE, &[&bytes_of(machine)])?;
    for vcpu in vcpus {
        output.section(section::VCPU, &[&bytes_of(vcpu)])?;
    }
    output.section(section::DEVICES, &[&bytes_of(devices)])?;
    let mut packed = vec![0; block::get_maximum_output_size(PIECE)];
    memory.for_each_piece(PIECE, |address, bytes| {
        let length = block::compress_into(bytes, &mut packed).map_err(|error| error.to_string())?;
        let length_of_all = bytes_of(&(bytes.len() as u32));
        output
            .section(section::MEMORY, &[&bytes_of(&address), &length_of_all, packed.get(..length).unwrap_or_default()])
    })?;
    let checksum = output.checksum.0;
    output.section(section::END, &[&bytes_of(&checksum)])
}
