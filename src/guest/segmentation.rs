//! From an offset in a segment to a linear address, with the checks on the way.
//!
//! SDM volume 3A, "Protection": "Limit Checking" and "Type Checking"; volume 1, "Canonical Addressing".

use super::registers::Segment;
use crate::spec::{
    intel::structures::SegmentAccessRights,
    x86::{
        paging::SegmentType,
        registers::{Cr4, ExceptionVector},
    },
};

/// The segment registers, in the order in which instructions encode them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SegmentRegister {
    Es = 0,
    Cs = 1,
    Ss = 2,
    Ds = 3,
    Fs = 4,
    Gs = 5,
}

/// How many bits an address computation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSize {
    /// 16 bits.
    Bits16,
    /// 32 bits.
    Bits32,
    /// 64 bits.
    Bits64,
}

impl AddressSize {
    /// The bits that an offset has.
    #[inline]
    pub const fn mask(self) -> u64 {
        match self {
            Self::Bits16 => 0xffff,
            Self::Bits32 => 0xffff_ffff,
            Self::Bits64 => u64::MAX,
        }
    }
}

/// What kind of code the CPU executes: the sizes that instructions have without a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeSize {
    /// Real mode, virtual-8086 mode, or a segment with D = 0.
    Bits16,
    /// A segment with D = 1, in protected or compatibility mode.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

impl CodeSize {
    /// What code this is, by the rights of CS and EFER.LMA.
    #[inline]
    pub fn new(cs: SegmentAccessRights, long_mode: bool) -> Self {
        if long_mode && cs.contains(SegmentAccessRights::L) {
            Self::Bits64
        } else if cs.contains(SegmentAccessRights::DB) {
            Self::Bits32
        } else {
            Self::Bits16
        }
    }

    /// The linear address of the instruction at `rip`.
    #[inline]
    pub fn linear(self, cs_base: u64, rip: u64) -> u64 {
        match self {
            Self::Bits64 => rip,
            _ => cs_base.wrapping_add(rip) & 0xffff_ffff,
        }
    }
}

/// The exception that an access to a segment raises, with error code 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFault(pub ExceptionVector);

/// A data access by an offset in a segment.
#[derive(Clone, Copy, Debug)]
pub struct SegmentAccess<'a> {
    /// The register.
    pub register: SegmentRegister,
    /// Its content. In 64-bit mode only the base counts, and only that of FS and GS.
    pub segment: &'a Segment,
    /// The code that does the access.
    pub code_size: CodeSize,
    /// The offset, cut to the address size.
    pub offset: u64,
    /// How many bytes are accessed.
    pub bytes: u64,
    /// Whether they are written.
    pub write: bool,
    /// CR4.LA57 decides what is canonical.
    pub cr4: Cr4,
}

impl SegmentAccess<'_> {
    /// The linear address of the first byte.
    ///
    /// # Errors
    /// #SS(0) for SS and #GP(0) for the others: beyond the limit, not of a type that can be accessed so, or not canonical.
    pub fn linear(&self) -> Result<u64, SegmentFault> {
        if self.code_size == CodeSize::Bits64 {
            let base = match self.register {
                SegmentRegister::Fs | SegmentRegister::Gs => self.segment.base,
                _ => 0,
            };
            let linear = base.wrapping_add(self.offset);
            let last = linear.wrapping_add(self.bytes.saturating_sub(1));
            return if self.canonical(linear) && self.canonical(last) { Ok(linear) } else { Err(self.fault()) };
        }
        if !self.type_allows() || !self.limit_allows() {
            return Err(self.fault());
        }
        Ok(self.segment.base.wrapping_add(self.offset) & 0xffff_ffff)
    }

    fn fault(&self) -> SegmentFault {
        SegmentFault(match self.register {
            SegmentRegister::Ss => ExceptionVector::SS,
            _ => ExceptionVector::GP,
        })
    }

    fn canonical(&self, linear: u64) -> bool {
        is_canonical(linear, self.cr4)
    }

    fn segment_type(&self) -> SegmentType {
        SegmentType::from_bits(self.segment.rights.bits() & SegmentAccessRights::SEGMENT_TYPE_MASK.bits())
    }

    fn type_allows(&self) -> bool {
        let rights = self.segment.rights;
        let segment_type = self.segment_type();
        // The same bit permits writing data and reading code; code is never written.
        let allowed = match (segment_type.contains(SegmentType::CODE), self.write) {
            (false, false) => true,
            (true, true) => false,
            _ => segment_type.contains(SegmentType::WRITABLE_OR_READABLE),
        };
        allowed && !rights.contains(SegmentAccessRights::UNUSABLE) && rights.contains(SegmentAccessRights::P)
    }

    fn limit_allows(&self) -> bool {
        let limit = u64::from(self.segment.limit);
        let last = self.offset.saturating_add(self.bytes.saturating_sub(1));
        let segment_type = self.segment_type();
        let expands_down =
            !segment_type.contains(SegmentType::CODE) && segment_type.contains(SegmentType::EXPAND_DOWN_OR_CONFORMING);
        if expands_down {
            let top = if self.segment.rights.contains(SegmentAccessRights::DB) { 0xffff_ffff } else { 0xffff };
            self.offset > limit && last <= top
        } else {
            last <= limit
        }
    }
}

/// Whether the upper bits of a linear address repeat its highest meaningful bit.
#[inline]
pub fn is_canonical(linear: u64, cr4: Cr4) -> bool {
    let unused = if cr4.contains(Cr4::LA57) { 64 - 57 } else { 64 - 48 };
    ((linear << unused) as i64 >> unused) as u64 == linear
}
