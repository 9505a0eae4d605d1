//! From an ELF file to the bytes that stand in memory, which is what Bochs loads.

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSegment};

/// The loadable segments of a file as one block.
#[derive(Debug, PartialEq, Eq)]
pub struct Flat {
    /// The address of the first byte.
    pub base: u64,
    pub bytes: Vec<u8>,
}

/// Larger than any image here: a stray segment would otherwise ask for gigabytes.
const LARGEST: u64 = 64 << 20;

impl Flat {
    /// The segments of the ELF file `data`; the gaps between them, and what a file leaves out of its last one, are zero.
    pub fn of_elf(data: &[u8]) -> Result<Flat> {
        let file = object::File::parse(data).context("not an object file")?;
        let mut parts = Vec::new();
        for segment in file.segments() {
            parts.push((segment.address(), segment.size(), segment.data()?));
        }
        Flat::of_parts(&parts)
    }

    fn of_parts(parts: &[(u64, u64, &[u8])]) -> Result<Flat> {
        let parts: Vec<_> = parts.iter().filter(|(_, size, _)| *size > 0).collect();
        let base = parts.iter().map(|part| part.0).min().context("nothing to load")?;
        // What follows the last byte of the file is zero in memory already: the image clears its own .bss.
        let end = parts.iter().map(|part| part.0 + part.2.len() as u64).max().unwrap_or(base).max(base);
        if end - base > LARGEST {
            bail!("the segments span {} MiB", (end - base) >> 20);
        }
        let mut bytes = vec![0; (end - base) as usize];
        for (address, _, data) in parts {
            let start = (address - base) as usize;
            bytes[start..start + data.len()].copy_from_slice(data);
        }
        Ok(Flat { base, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_zero() {
        let flat = Flat::of_parts(&[(0x10, 2, &[1, 2]), (0x14, 8, &[3]), (0x30, 0, &[])]).expect("it fits");
        assert_eq!(flat, Flat { base: 0x10, bytes: vec![1, 2, 0, 0, 3] });
    }

    #[test]
    fn a_stray_segment_is_refused() {
        assert!(Flat::of_parts(&[(0, 1, &[1]), (1 << 40, 1, &[1])]).is_err());
        assert!(Flat::of_parts(&[]).is_err());
    }
}
