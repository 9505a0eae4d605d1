//! The binary form of a state: a header, a table of sections, and the sections.
//!
//! All numbers are little-endian.
//!
//! | offset | |
//! |---|---|
//! | 0 | the 8 bytes `x86vcpu\0` |
//! | 8 | the major version, 16 bits: a reader refuses one that it does not know |
//! | 10 | the minor version, 16 bits: a reader of another one leaves out what it does not know |
//! | 12 | how many bytes there are, header included, 32 bits |
//! | 16 | the checksum of all other bytes, 64 bits: FNV-1a |
//! | 24 | how many sections there are, 32 bits |
//! | 28 | 0, 32 bits |
//! | 32 | for each section 16 bytes: its id, 16 bits; flags, 16 bits (bit 0: a reader that does not know the id refuses the whole); its offset and length, 32 bits each; 0, 32 bits |
//!
//! Within a major version a section grows at its end alone.

use core::fmt;

use super::{
    State,
    item::{Input, Item, Sink},
};

/// The major version of the binary form that this library writes, and the one that it reads.
pub const FORMAT_MAJOR: u16 = 1;
/// The minor version of the binary form that this library writes. It reads all.
pub const FORMAT_MINOR: u16 = 0;

/// No binary form that this library writes is longer, in bytes.
pub const MAX_ENCODED: usize = 8192;

const MAGIC: [u8; 8] = *b"x86vcpu\0";
const CHECKSUM_AT: usize = 16;
const HEADER: usize = 32;
const ROW: usize = 16;
/// The flag of a section that a reader must know.
const CRITICAL: u16 = 1;

/// Why bytes are not the binary form of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// They do not begin as one.
    NotAState,
    /// They are of a version of the format that this library is too old, or too new, for.
    Version {
        /// The major version.
        major: u16,
        /// The minor version.
        minor: u16,
    },
    /// They end too early.
    Truncated,
    /// The checksum is wrong: something has changed them.
    Checksum,
    /// There is a section that this library does not know, and that must not be left out.
    UnknownSection(u16),
    /// A section is missing.
    MissingSection(&'static str),
    /// A section is there twice.
    RepeatedSection(u16),
    /// A value is none that this library writes; the text says of what.
    Damaged(&'static str),
    /// The memory to write to is too small; so many bytes are needed.
    NoRoom(usize),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAState => f.write_str("this is no saved state of a vCPU"),
            Self::Version { major, minor } => write!(
                f,
                "the saved state has version {major}.{minor}, and this library reads version {FORMAT_MAJOR} alone"
            ),
            Self::Truncated => f.write_str("the saved state ends too early"),
            Self::Checksum => f.write_str("the saved state is damaged: its checksum is wrong"),
            Self::UnknownSection(id) => {
                write!(f, "the saved state has section {id}, which this library does not know and must not leave out")
            }
            Self::MissingSection(name) => write!(f, "the saved state has no section \"{name}\""),
            Self::RepeatedSection(id) => write!(f, "the saved state has section {id} twice"),
            Self::Damaged(what) => write!(f, "the saved state is damaged: there is no such value of {what}"),
            Self::NoRoom(needed) => write!(f, "the binary form needs {needed} bytes"),
        }
    }
}

impl core::error::Error for FormatError {}

impl From<FormatError> for crate::Error {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::NotAState => Self::InvalidInput("this is no saved state of a vCPU"),
            FormatError::Version { .. } => Self::Unsupported("the version of the saved state"),
            FormatError::UnknownSection(_) => Self::Unsupported("a section of the saved state"),
            FormatError::NoRoom(_) => Self::NoMemory,
            FormatError::Truncated
            | FormatError::Checksum
            | FormatError::MissingSection(_)
            | FormatError::RepeatedSection(_)
            | FormatError::Damaged(_) => Self::InvalidInput("the saved state is damaged"),
        }
    }
}

/// FNV-1a: the standard 64-bit offset basis and prime.
#[derive(Clone, Copy)]
pub(super) struct Fnv(pub(super) u64);

impl Fnv {
    pub(super) const START: Self = Self(0xcbf2_9ce4_8422_2325);
}

impl Sink for Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

struct Count(usize);

impl Sink for Count {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }
}

/// Memory that was found large enough; what goes beyond it is dropped.
struct Memory<'a> {
    left: &'a mut [u8],
}

impl Sink for Memory<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        if let Some((first, rest)) = core::mem::take(&mut self.left).split_at_mut_checked(bytes.len()) {
            first.copy_from_slice(bytes);
            self.left = rest;
        }
    }
}

/// The sections of a state, in the order in which they are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Registers,
    System,
    Cr8,
    Pdptes,
    Debug,
    Msrs,
    Emulated,
    Legacy,
    Avx,
    Avx512,
    Pkru,
    Events,
    Time,
    LocalApic,
}

use Section::*;

const SECTIONS: [(Section, u16, &str); 14] = [
    (Registers, 1, "registers"),
    (System, 2, "system registers"),
    (Cr8, 3, "CR8"),
    (Pdptes, 4, "PDPTEs"),
    (Debug, 5, "debug registers"),
    (Msrs, 6, "model-specific registers"),
    (Emulated, 7, "emulated model-specific registers"),
    (Legacy, 8, "x87 and SSE registers"),
    (Avx, 9, "AVX registers"),
    (Avx512, 10, "AVX-512 registers"),
    (Pkru, 11, "PKRU"),
    (Events, 12, "events"),
    (Time, 13, "time"),
    (LocalApic, 14, "local APIC"),
];

impl Section {
    /// Whether a state always has it.
    fn is_required(self) -> bool {
        !matches!(self, Pdptes | Avx | Avx512 | Pkru | LocalApic)
    }

    /// Whether a state of these values has it.
    fn is_in(self, state: &State) -> bool {
        match self {
            Pdptes => state.pdptes.is_some(),
            Avx => state.extended.avx().is_some(),
            Avx512 => state.extended.avx512().is_some(),
            Pkru => state.extended.pkru != 0,
            LocalApic => state.local_apic.is_some(),
            _ => true,
        }
    }

    fn put(self, state: &State, out: &mut dyn Sink) {
        match self {
            Registers => state.registers.put(out),
            System => state.system.put(out),
            Cr8 => state.cr8.put(out),
            Pdptes => state.pdptes.unwrap_or_default().put(out),
            Debug => state.debug.put(out),
            Msrs => state.msrs.put(out),
            Emulated => state.emulated.put(out),
            Legacy => state.extended.basic().put(out),
            Avx => state.extended.ymm_high.put(out),
            Avx512 => state.extended.avx512().unwrap_or_default().put(out),
            Pkru => state.extended.pkru.put(out),
            Events => state.events.put(out),
            Time => state.time.put(out),
            LocalApic => state.local_apic.unwrap_or_default().put(out),
        }
    }

    fn take(self, state: &mut State, input: &mut Input<'_>) -> Result<(), FormatError> {
        match self {
            Registers => state.registers = Item::take(input)?,
            System => state.system = Item::take(input)?,
            Cr8 => state.cr8 = Item::take(input)?,
            Pdptes => state.pdptes = Some(Item::take(input)?),
            Debug => state.debug = Item::take(input)?,
            Msrs => state.msrs = Item::take(input)?,
            Emulated => state.emulated = Item::take(input)?,
            Legacy => state.extended.set_basic(Item::take(input)?),
            Avx => state.extended.ymm_high = Item::take(input)?,
            Avx512 => state.extended.set_avx512(Item::take(input)?),
            Pkru => state.extended.pkru = Item::take(input)?,
            Events => state.events = Item::take(input)?,
            Time => state.time = Item::take(input)?,
            LocalApic => state.local_apic = Some(Item::take(input)?),
        }
        Ok(())
    }

    fn length(self, state: &State) -> usize {
        let mut count = Count(0);
        self.put(state, &mut count);
        count.0
    }
}

/// All but the checksum itself.
fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = Fnv::START;
    sum.bytes(bytes.get(..CHECKSUM_AT).unwrap_or_default());
    sum.bytes(bytes.get(CHECKSUM_AT + 8..).unwrap_or_default());
    sum.0
}

/// Makes the checksum right again, after a test has changed something.
#[cfg(test)]
pub(crate) fn mend_checksum(bytes: &mut [u8]) {
    let sum = checksum(bytes).to_le_bytes();
    bytes[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&sum);
}

impl State {
    fn sections(&self) -> impl Iterator<Item = (Section, u16)> + '_ {
        SECTIONS.iter().filter(|(section, ..)| section.is_in(self)).map(|(section, id, _)| (*section, *id))
    }

    /// How many bytes the binary form has: some 2 KiB, 4 KiB with AVX-512, and never more than [`MAX_ENCODED`].
    pub fn encoded_len(&self) -> usize {
        self.sections().fold(HEADER, |sum, (section, _)| sum + ROW + section.length(self))
    }

    /// Writes the binary form: the same bytes for equal states. Says how many there are.
    ///
    /// # Errors
    /// [`FormatError::NoRoom`] says how many bytes are needed.
    pub fn write_to(&self, to: &mut [u8]) -> Result<usize, FormatError> {
        let length = self.encoded_len();
        let to = to.get_mut(..length).ok_or(FormatError::NoRoom(length))?;
        let count = self.sections().count();
        let mut out = Memory { left: &mut *to };
        out.bytes(&MAGIC);
        FORMAT_MAJOR.put(&mut out);
        FORMAT_MINOR.put(&mut out);
        (length as u32).put(&mut out);
        0u64.put(&mut out);
        (count as u32).put(&mut out);
        0u32.put(&mut out);
        let mut offset = HEADER + ROW * count;
        for (section, id) in self.sections() {
            let length = section.length(self);
            id.put(&mut out);
            CRITICAL.put(&mut out);
            (offset as u32).put(&mut out);
            (length as u32).put(&mut out);
            0u32.put(&mut out);
            offset += length;
        }
        self.sections().for_each(|(section, _)| section.put(self, &mut out));
        let sum = checksum(to).to_le_bytes();
        if let Some(place) = to.get_mut(CHECKSUM_AT..CHECKSUM_AT + 8) {
            place.copy_from_slice(&sum);
        }
        Ok(length)
    }

    /// Reads the binary form; bytes behind its end are not looked at. Whatever they are, the result is an error or a state
    /// whose values are checked when it is restored.
    ///
    /// # Errors
    /// A [`FormatError`] for each way in which the bytes are not such a form, or not one that this library knows all of.
    pub fn read_from(from: &[u8]) -> Result<Self, FormatError> {
        let mut state = Self::default();
        state.read_into(from)?;
        Ok(state)
    }

    /// The same in the memory of another state, which is lost.
    ///
    /// # Errors
    /// As [`read_from`](Self::read_from).
    pub fn read_into(&mut self, from: &[u8]) -> Result<(), FormatError> {
        let mut header = Input::new(from);
        if header.array().is_ok_and(|magic: [u8; 8]| magic != MAGIC)
            || !from.starts_with(&MAGIC) && !MAGIC.starts_with(from)
        {
            return Err(FormatError::NotAState);
        }
        if from.len() < MAGIC.len() {
            return Err(FormatError::Truncated);
        }
        let (major, minor) = (u16::take(&mut header)?, u16::take(&mut header)?);
        if major != FORMAT_MAJOR {
            return Err(FormatError::Version { major, minor });
        }
        let length = u32::take(&mut header)? as usize;
        let from = from.get(..length).ok_or(FormatError::Truncated)?;
        let sum = u64::take(&mut header)?;
        if sum != checksum(from) {
            return Err(FormatError::Checksum);
        }
        let count = u32::take(&mut header)?;
        let mut table = Input::new(from.get(HEADER..).ok_or(FormatError::Truncated)?);
        *self = Self::default();
        let mut seen = [false; SECTIONS.len()];
        for _ in 0..count {
            let (id, flags) = (u16::take(&mut table)?, u16::take(&mut table)?);
            let (offset, length) = (u32::take(&mut table)? as usize, u32::take(&mut table)? as usize);
            u32::take(&mut table)?;
            let end = offset.checked_add(length).ok_or(FormatError::Truncated)?;
            let bytes = from.get(offset..end).ok_or(FormatError::Truncated)?;
            let known = SECTIONS.iter().zip(&mut seen).find(|((_, known, _), _)| *known == id);
            let Some(((section, ..), seen)) = known else {
                if flags & CRITICAL != 0 {
                    return Err(FormatError::UnknownSection(id));
                }
                continue;
            };
            if core::mem::replace(seen, true) {
                return Err(FormatError::RepeatedSection(id));
            }
            section.take(self, &mut Input::new(bytes))?;
        }
        let missing = SECTIONS.iter().zip(seen).find(|((section, ..), seen)| section.is_required() && !seen);
        missing.map_or(Ok(()), |((_, _, name), _)| Err(FormatError::MissingSection(name)))
    }

    /// A number that is the same for equal states, on every machine and with every version of the library that has the same
    /// parts: of everything but the time, which is the counters of [`TimeState`](super::TimeState) and what is left of the local APIC's timer.
    pub fn hash(&self) -> u64 {
        let mut sum = Fnv::START;
        for (section, id, _) in SECTIONS {
            if !section.is_in(self) || matches!(section, Time | LocalApic) {
                continue;
            }
            id.put(&mut sum);
            section.put(self, &mut sum);
        }
        if let Some(apic) = self.local_apic {
            super::ApicState { timer_left: apic.timer_left.map(|_| 0), tsc_deadline: 0, ..apic }.put(&mut sum);
        }
        sum.0
    }
}
