//! Reading a log.

use super::{Header, LogError, MAGIC, Record, VERSION, wire::Wire};
use crate::replay::hash::Hasher;

/// Where a log comes from.
pub trait Source {
    /// Gives the next bytes of the log, as many as there are and fit; 0 at its end. Called with the host's interrupts off.
    fn read(&mut self, buffer: &mut [u8]) -> usize;
}

impl<T: Source + ?Sized> Source for &mut T {
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        (**self).read(buffer)
    }
}

impl Source for &[u8] {
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.len().min(buffer.len());
        let (now, later) = self.split_at_checked(count).unwrap_or((&[], self));
        for (to, from) in buffer.iter_mut().zip(now) {
            *to = *from;
        }
        *self = later;
        count
    }
}

/// Reads a log.
#[derive(Debug)]
pub struct LogReader<R: Source> {
    source: R,
    buffer: [u8; 256],
    /// What of the buffer is not used yet.
    next: usize,
    filled: usize,
    hasher: Hasher,
    offset: u64,
    header: Header,
}

impl<R: Source> Wire for LogReader<R> {
    fn byte(&mut self, byte: &mut u8) -> Result<(), LogError> {
        *byte = self.raw_byte()?;
        self.hasher.bytes(&[*byte]);
        Ok(())
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn number(&mut self, number: &mut u64) -> Result<(), LogError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let mut byte = 0;
            self.byte(&mut byte)?;
            let part = u64::from(byte & 0x7f);
            if part.wrapping_shl(shift).wrapping_shr(shift) != part {
                return Err(LogError::Damaged(self.offset));
            }
            value |= part.wrapping_shl(shift);
            if byte & 0x80 == 0 {
                *number = value;
                return Ok(());
            }
        }
        Err(LogError::Damaged(self.offset))
    }
}

impl<R: Source> LogReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`LogError::NoLog`], [`LogError::Version`], and as [`record`](Self::record).
    pub fn new(source: R) -> Result<Self, LogError> {
        let mut new = Self {
            source,
            buffer: [0; 256],
            next: 0,
            filled: 0,
            hasher: Hasher::new(),
            offset: 0,
            header: Header::default(),
        };
        let mut start = [0; MAGIC.len() + 2];
        for byte in &mut start {
            new.byte(byte).map_err(|_| LogError::NoLog)?;
        }
        let [magic @ .., low, high] = start;
        if magic != MAGIC {
            return Err(LogError::NoLog);
        }
        let version = u16::from_le_bytes([low, high]);
        if version != VERSION {
            return Err(LogError::Version(version));
        }
        let mut header = Header::default();
        header.fields(&mut new)?;
        new.check()?;
        new.header = header;
        Ok(new)
    }

    /// What the log begins with.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next record.
    ///
    /// # Errors
    /// [`LogError::Truncated`], [`LogError::Damaged`].
    pub fn record(&mut self) -> Result<Record, LogError> {
        let start = self.offset;
        let mut tag = 0;
        self.byte(&mut tag)?;
        let mut record = Record::of_tag(tag).ok_or(LogError::Damaged(start))?;
        record.fields(self)?;
        self.check()?;
        Ok(record)
    }

    /// How many bytes of the log were read.
    pub fn read(&self) -> u64 {
        self.offset
    }

    fn check(&mut self) -> Result<(), LogError> {
        let expected = self.hasher.value() as u8;
        let start = self.offset;
        let found = self.raw_byte()?;
        self.hasher.bytes(&[found]);
        if found == expected { Ok(()) } else { Err(LogError::Damaged(start)) }
    }

    fn raw_byte(&mut self) -> Result<u8, LogError> {
        if self.next >= self.filled {
            self.next = 0;
            self.filled = self.source.read(&mut self.buffer);
        }
        let byte = if self.filled == 0 { None } else { self.buffer.get(self.next) };
        let byte = *byte.ok_or(LogError::Truncated(self.offset))?;
        self.next += 1;
        self.offset += 1;
        Ok(byte)
    }
}
