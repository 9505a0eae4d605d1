//! A guest's whole machine as the image saves it: what of the file has to be known before it is booted. The format, and everything else
//! that is checked, are the image's (`examples/hypervisor/src/machine/snapshot/mod.rs`).

use anyhow::{Context, Result, bail, ensure};

use self::format::{HEADER, MAGIC, VERSION, section};
use super::memory::Mebibytes;

/// The image's own numbers, so that there are no second ones to go stale.
#[allow(dead_code, reason = "the image alone looks at the other sections")]
#[path = "../../../examples/hypervisor/src/machine/snapshot/format.rs"]
mod format;

/// A section's id and version, 16 bits each, and its length, 32 bits.
const HEAD: usize = 8;

/// What machine a guest has that was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    pub memory: Mebibytes,
    pub cpus: u32,
    pub common_cpu: bool,
    /// The rate of its time-stamp counter, in Hz, and how far that has come.
    pub hz: u64,
    pub passed: u64,
}

impl Description {
    /// Of a whole file.
    pub fn read(file: &[u8]) -> Result<Description> {
        let length = length(file)?;
        ensure!(length == file.len(), "there are {} bytes behind the snapshot's end", file.len() - length);
        let first = &file[HEADER..];
        ensure!(number(first, 0, 2) == Some(section::MACHINE.into()), "the snapshot does not begin with its machine");
        let bytes = &first[HEAD..];
        let field = |at, width| number(bytes, at, width).context("the snapshot is damaged: the machine");
        let memory = field(0, 8)?;
        let memory =
            format!("{}M", memory >> 20).parse().map_err(|why| anyhow::anyhow!("the snapshot's memory: {why}"))?;
        Ok(Description {
            memory,
            cpus: field(8, 4)? as u32,
            common_cpu: field(12, 1)? != 0,
            hz: field(13, 8)?.max(1),
            passed: field(21, 8)?,
        })
    }

    /// How long the guest had run, by its own clock.
    pub fn seconds(&self) -> f64 {
        self.passed as f64 / self.hz as f64
    }
}

/// How much memory the image needs for the snapshot of a guest with so much, in MiB: compression makes noise a little longer.
pub fn room(memory: Mebibytes) -> u32 {
    memory.0 + memory.0 / 128 + 2
}

/// The snapshot at the start of what was found in that memory.
pub fn take(mut room: Vec<u8>) -> Result<Vec<u8>> {
    room.truncate(length(&room)?);
    Ok(room)
}

/// How many bytes at the start of these are a snapshot.
fn length(bytes: &[u8]) -> Result<usize> {
    ensure!(bytes.starts_with(&MAGIC), "this is no snapshot of a guest");
    match number(bytes, MAGIC.len(), 2) {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => bail!("the snapshot has version {version}, and {VERSION} alone is read"),
        None => bail!("the snapshot ends too early"),
    }
    let mut place = HEADER;
    loop {
        let id = number(bytes, place, 2).context("the snapshot ends too early")?;
        let length = number(bytes, place + 4, 4).context("the snapshot ends too early")?;
        place += HEAD + length as usize;
        ensure!(place <= bytes.len(), "the snapshot ends too early");
        if id == u64::from(section::END) {
            return Ok(place);
        }
    }
}

/// A number of so many bytes.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + width)?;
    Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// A text for the image's command line, which has words.
pub fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section_of(id: u16, bytes: &[u8]) -> Vec<u8> {
        let mut section = [id.to_le_bytes(), VERSION.to_le_bytes()].concat();
        section.extend((bytes.len() as u32).to_le_bytes());
        section.extend(bytes);
        section
    }

    fn file() -> Vec<u8> {
        let mut machine = (128_u64 << 20).to_le_bytes().to_vec();
        machine.extend(2_u32.to_le_bytes());
        machine.push(1);
        machine.extend(1_000_000_000_u64.to_le_bytes());
        machine.extend(2_500_000_000_u64.to_le_bytes());
        let mut file = [MAGIC, [1, 0, 0, 0, 0, 0, 0, 0]].concat();
        for (id, bytes) in [(section::MACHINE, machine.as_slice()), (4, &[1, 2, 3]), (section::END, &[0; 8])] {
            file.extend(section_of(id, bytes));
        }
        file
    }

    #[test]
    fn the_machine_is_found() {
        let found = Description::read(&file()).expect("a snapshot");
        assert_eq!((found.memory, found.cpus, found.common_cpu), (Mebibytes(128), 2, true));
        assert!((found.seconds() - 2.5).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        let (file, why) = (file(), |bytes: &[u8]| Description::read(bytes).expect_err("refused").to_string());
        assert!(why(b"\x7fELF").contains("no snapshot"));
        assert!(why(&[file.as_slice(), b"x"].concat()).contains("behind"));
        for length in 0..file.len() {
            assert!(Description::read(&file[..length]).is_err(), "{length}");
        }
        let mut newer = file.clone();
        newer[8] = 2;
        assert!(why(&newer).contains("version 2"));
        let mut other = file;
        other[HEADER] = 9;
        assert!(why(&other).contains("does not begin"));
    }

    #[test]
    fn it_is_the_start_of_the_memory() {
        assert_eq!(take([file().as_slice(), &[0; 100]].concat()).expect("a snapshot"), file());
        assert!(take(vec![0; 100]).is_err());
    }

    #[test]
    fn texts_become_words() {
        assert_eq!(hexadecimal("a b\n"), "6120620a");
    }
}
