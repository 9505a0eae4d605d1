//! Reading a snapshot. Nothing in it is trusted: what does not hold together is an error in words.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use lz4_flex::block;

use super::codec::{Saved, whole};
use super::{Checksum, Description, HEADER, MAGIC, PIECE, SavedCpu, VERSION, section};
use crate::machine::board::Devices;
use crate::machine::memory::GuestMemory;

/// A file that was found to be whole.
pub struct Snapshot {
    /// What machine it is.
    pub machine: Description,
    /// Its vCPUs, by number.
    pub vcpus: Vec<SavedCpu>,
    /// Its devices.
    pub devices: Devices,
    memory: Vec<&'static [u8]>,
}

impl Snapshot {
    /// Reads a file.
    pub fn read(file: &'static [u8]) -> Result<Self, String> {
        if !file.starts_with(&MAGIC) {
            return Err("this is no snapshot of a guest".into());
        }
        let header = file.get(MAGIC.len()..HEADER).ok_or_else(truncated)?;
        let version = header.first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes));
        if version != VERSION {
            return Err(format!("the snapshot has version {version}, and {VERSION} alone is read"));
        }
        let mut machine = None;
        let mut vcpus = Vec::new();
        let mut devices = None;
        let mut memory = Vec::new();
        let mut rest = file.get(HEADER..).ok_or_else(truncated)?;
        loop {
            let before = file.len() - rest.len();
            let (id, version, length) = take_head(&mut rest).ok_or_else(truncated)?;
            let (bytes, behind) = rest.split_at_checked(length).ok_or_else(truncated)?;
            rest = behind;
            if version != VERSION {
                return Err(format!("section {id} of the snapshot has version {version}, and {VERSION} alone is read"));
            }
            match id {
                section::MACHINE => machine = Some(whole(bytes).ok_or_else(|| damaged("the machine"))?),
                section::VCPU => vcpus.push(whole(bytes).ok_or_else(|| damaged("a vCPU"))?),
                section::DEVICES => devices = Some(whole(bytes).ok_or_else(|| damaged("the devices"))?),
                section::MEMORY => memory.push(bytes),
                section::END => {
                    let mut checksum = Checksum::START;
                    checksum.add(file.get(..before).unwrap_or_default());
                    if whole(bytes) != Some(checksum.0) {
                        return Err("the snapshot is damaged: its checksum is wrong".into());
                    }
                    break;
                }
                _ => return Err(format!("the snapshot has section {id}, which is not known")),
            }
        }
        let machine: Description = machine.ok_or_else(|| damaged("no machine"))?;
        if vcpus.len() as u64 != u64::from(machine.vcpus) {
            return Err(damaged("not as many vCPUs as it says"));
        }
        Ok(Self { machine, vcpus, devices: devices.ok_or_else(|| damaged("no devices"))?, memory })
    }

    /// Fills a guest's memory.
    pub fn fill(self, memory: &mut GuestMemory) -> Result<Self, String> {
        let mut piece = alloc::vec![0; PIECE];
        for section in &self.memory {
            let mut rest = *section;
            let place = u64::take(&mut rest).zip(u32::take(&mut rest));
            let (address, length) = place.ok_or_else(|| damaged("a piece of memory"))?;
            let target = piece.get_mut(..length as usize).ok_or_else(|| damaged("a piece of memory"))?;
            match block::decompress_into(rest, target) {
                Ok(found) if found == length as usize => memory.write(address, target)?,
                _ => return Err(damaged("a piece of memory")),
            }
        }
        Ok(self)
    }
}

fn take_head(rest: &mut &[u8]) -> Option<(u16, u16, usize)> {
    Some((u16::take(rest)?, u16::take(rest)?, u32::take(rest)? as usize))
}

fn truncated() -> String {
    "the snapshot ends too early".into()
}

fn damaged(what: &str) -> String {
    format!("the snapshot is damaged: {what}")
}
