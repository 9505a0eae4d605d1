//! Writing a log.

use super::{Header, LogError, MAGIC, Record, VERSION, wire::Wire};
use crate::replay::hash::Hasher;

/// The longest record, in bytes: all system registers.
const LONGEST: usize = 1024;

/// Where a log goes.
pub trait Sink {
    /// Takes these bytes, all of them; `false` when it cannot. Called with the host's interrupts off.
    fn write(&mut self, bytes: &[u8]) -> bool;
}

impl<T: Sink + ?Sized> Sink for &mut T {
    fn write(&mut self, bytes: &[u8]) -> bool {
        (**self).write(bytes)
    }
}

/// Writes a log.
#[derive(Debug)]
pub struct LogWriter<W: Sink> {
    sink: W,
    hasher: Hasher,
    written: u64,
}

/// A record in the making.
struct Encoded {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Wire for Encoded {
    fn byte(&mut self, byte: &mut u8) -> Result<(), LogError> {
        let slot = self.bytes.get_mut(self.length).ok_or(LogError::Full)?;
        *slot = *byte;
        self.length += 1;
        Ok(())
    }

    fn offset(&self) -> u64 {
        self.length as u64
    }

    fn number(&mut self, number: &mut u64) -> Result<(), LogError> {
        let mut left = *number;
        loop {
            let mut byte = (left & 0x7f) as u8;
            left >>= 7;
            if left != 0 {
                byte |= 0x80;
            }
            self.byte(&mut byte)?;
            if left == 0 {
                return Ok(());
            }
        }
    }
}

impl<W: Sink> LogWriter<W> {
    /// Begins a log.
    ///
    /// # Errors
    /// [`LogError::Full`].
    pub fn new(sink: W, mut header: Header) -> Result<Self, LogError> {
        let mut new = Self { sink, hasher: Hasher::new(), written: 0 };
        let mut encoded = Encoded { bytes: [0; LONGEST], length: 0 };
        for mut byte in MAGIC.into_iter().chain(VERSION.to_le_bytes()) {
            encoded.byte(&mut byte)?;
        }
        header.fields(&mut encoded)?;
        new.put(encoded)?;
        Ok(new)
    }

    /// Writes a record.
    ///
    /// # Errors
    /// [`LogError::Full`].
    pub fn record(&mut self, record: &Record) -> Result<(), LogError> {
        let mut record = *record;
        let mut encoded = Encoded { bytes: [0; LONGEST], length: 0 };
        encoded.byte(&mut record.tag())?;
        record.fields(&mut encoded)?;
        self.put(encoded)
    }

    fn put(&mut self, mut encoded: Encoded) -> Result<(), LogError> {
        self.hasher.bytes(encoded.bytes.get(..encoded.length).unwrap_or(&[]));
        let check = self.hasher.value() as u8;
        self.hasher.bytes(&[check]);
        encoded.byte(&mut { check })?;
        let bytes = encoded.bytes.get(..encoded.length).unwrap_or(&[]);
        self.written += bytes.len() as u64;
        if self.sink.write(bytes) { Ok(()) } else { Err(LogError::Full) }
    }

    /// How many bytes the log has.
    pub fn written(&self) -> u64 {
        self.written
    }
}
