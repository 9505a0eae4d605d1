//! The log: everything comes back as it was written, and what was damaged gives errors.

use std::vec::Vec;

use super::log::{Header, LogError, LogReader, LogWriter, MEMORY_BYTES, Record, Sink, VERSION};
use crate::random::Random;
use crate::{Event, StartState, SystemRegisters, spec::x86::registers::ExceptionVector};

impl Sink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.extend_from_slice(bytes);
        true
    }
}

/// Takes so many bytes.
struct Small(usize);

impl Sink for Small {
    fn write(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= self.0;
        self.0 = self.0.saturating_sub(bytes.len());
        fits
    }
}

fn all() -> Vec<Record> {
    let system = SystemRegisters::start(StartState::Long { entry: 0xffff_8000_0000_1234, cr3: 0x2000 }).unwrap();
    let mut records = std::vec![
        Record::Run,
        Record::Exit { reason: 10, state: 0x0123_4567_89ab_cdef, time: None },
        Record::Exit { reason: 0x400, state: u64::MAX, time: Some(1 << 63) },
        Record::Position { instructions: 1_000_000, rip: u64::MAX, resume: true, state: 7 },
        Record::Resumed,
        Record::Mail { what: 15, start_up: 0x9a, interrupts: [1, 0, u64::MAX, 0], levels: [0, 0, 5, 0] },
        Record::Due { time: 99, slice: false },
        Record::Due { time: 0, slice: true },
        Record::CompleteRead(u64::MAX),
        Record::Reject,
        Record::DecodeMmio { kind: 5, digest: 77 },
        Record::Register { number: 15, value: 1 << 40 },
        Record::System(system),
        Record::Interrupt(0x30),
        Record::InterruptWindow,
        Record::Nmi,
        Record::Exception(Event::exception(ExceptionVector::PF, Some(u32::MAX))),
        Record::Exception(Event::software_interrupt(0x80, 2)),
        Record::Signal(3),
        Record::TscOffset(0u64.wrapping_sub(5)),
        Record::Checkpoint(12),
        Record::Returned { kind: 21, digest: 1 },
    ];
    for length in [0, 1, MEMORY_BYTES] {
        let mut bytes = [0; MEMORY_BYTES];
        bytes[..length].fill(0x5a);
        records.push(Record::Memory { gpa: 0xfffff, length: length as u8, bytes });
    }
    records.push(Record::End);
    records
}

const HEADER: Header = Header { vendor: 1, state: 2, tsc_ratio: 1 << 48, tsc_offset: u64::MAX, tsc_adjust: 4 };

fn log() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut log = LogWriter::new(&mut bytes, HEADER).unwrap();
    for record in all() {
        log.record(&record).unwrap();
    }
    let written = log.written();
    assert_eq!(written, bytes.len() as u64);
    bytes
}

/// Reads to the first error or the end, which comes sooner or later.
fn read(bytes: &[u8]) -> Result<Vec<Record>, LogError> {
    let mut reader = LogReader::new(bytes)?;
    let mut records = Vec::new();
    loop {
        let record = reader.record()?;
        records.push(record);
        if record == Record::End {
            return Ok(records);
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let bytes = log();
    assert_eq!(read(&bytes).unwrap(), all());
    assert_eq!(*LogReader::new(&bytes[..]).unwrap().header(), HEADER);
    for record in all() {
        assert!(!record.name().is_empty());
    }
}

#[test]
fn a_cut_log_is_truncated() {
    let bytes = log();
    for length in 0..bytes.len() {
        let expected = if length < 10 { LogError::NoLog } else { LogError::Truncated(length as u64) };
        assert_eq!(read(&bytes[..length]), Err(expected));
    }
}

#[test]
fn other_versions_are_refused() {
    let mut bytes = log();
    bytes[8..10].copy_from_slice(&(VERSION + 1).to_le_bytes());
    assert_eq!(read(&bytes), Err(LogError::Version(VERSION + 1)));
    bytes[0] ^= 1;
    assert_eq!(read(&bytes), Err(LogError::NoLog));
}

#[test]
fn a_full_sink_is_an_error() {
    let size = log().len();
    let write = |room| {
        let mut log = LogWriter::new(Small(room), HEADER)?;
        all().iter().try_for_each(|record| log.record(record))
    };
    assert_eq!(write(size), Ok(()));
    for room in 0..size {
        assert_eq!(write(room), Err(LogError::Full));
    }
}

#[test]
fn damaged_logs_give_errors_only() {
    let bytes = log();
    // Each single bit: the check byte that follows notices it.
    for bit in 80..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&damaged).is_err(), "bit {bit}");
    }
    // Random ones, from a fixed seed: whatever is read is an error or records, and ends.
    let mut numbers = Random(0x9e37_79b9_7f4a_7c15);
    let mut random = move || numbers.next();
    let mut whole = 0;
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..1 + random() % 8 {
            let at = 10 + random() as usize % (damaged.len() - 10);
            damaged[at] = random() as u8;
        }
        damaged.truncate(10 + random() as usize % bytes.len());
        whole += usize::from(read(&damaged).is_ok());
    }
    assert!(whole < 100, "{whole} of 20000 were not noticed");
}
