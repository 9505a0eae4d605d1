//! Tables that any vendor may have: layouts, enumerations, MSRs.

use super::intel::keywords;
use super::{Head, ModuleId, Span, Spanned};

/// `bits = [high, low]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitRange {
    /// The highest bit.
    pub high: u32,
    /// The lowest bit.
    pub low: u32,
    /// Where it stands.
    pub span: Span,
}

impl BitRange {
    /// How many bits.
    pub fn width(self) -> u32 {
        (self.high + 1).saturating_sub(self.low)
    }

    /// Ones in these bits. Total: a range that a lint refuses gives some mask too.
    pub fn mask(self) -> u64 {
        if self.low > 63 {
            return 0;
        }
        let ones = if self.width() >= 64 { u64::MAX } else { (1 << self.width()) - 1 };
        ones << self.low
    }
}

/// `[[layout]]`: a word with bits.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The file.
    pub module: ModuleId,
    /// What every row has.
    pub head: Head,
    /// 8, 16, 32 or 64.
    pub width: u32,
    /// Where CPUID reports it.
    pub cpuid: Option<CpuidPlace>,
    /// `[[layout.field]]`
    pub fields: Vec<LayoutField>,
}

keywords! {
    /// A register that CPUID fills.
    CpuidRegister {
        /// EAX.
        Eax = "eax",
        /// EBX.
        Ebx = "ebx",
        /// ECX.
        Ecx = "ecx",
        /// EDX.
        Edx = "edx",
    }
}

/// `cpuid = { leaf = 7, subleaf = 1, register = "eax" }`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuidPlace {
    /// What goes into EAX.
    pub leaf: u32,
    /// What goes into ECX.
    pub subleaf: u32,
    /// What comes back with the word.
    pub register: CpuidRegister,
}

/// `[[layout.field]]` and `[[member.bit]]`: a bit or a range of bits of a word.
#[derive(Clone, Debug)]
pub struct LayoutField {
    /// What every row has.
    pub head: Head,
    /// Which bits.
    pub bits: BitRange,
    /// The type of their value.
    pub ty: Option<Spanned<String>>,
    /// The value that reserved bits must have.
    pub reserved: Option<u64>,
}

impl LayoutField {
    /// Whether this becomes a constant; the others that are not reserved become a getter and a setter.
    pub fn is_flag(&self) -> bool {
        self.reserved.is_none() && self.bits.high == self.bits.low && self.ty.is_none()
    }
}

/// `[[enum]]`: values with names.
#[derive(Clone, Debug)]
pub struct Enum {
    /// The file.
    pub module: ModuleId,
    /// What every row has.
    pub head: Head,
    /// The width of the Rust integer: 8, 16, 32 or 64.
    pub width: u32,
    /// What values that are not listed mean: `reserved` or `none`.
    pub others: String,
    /// `[[enum.value]]`
    pub values: Vec<EnumValue>,
}

/// `[[enum.value]]`
#[derive(Clone, Debug)]
pub struct EnumValue {
    /// What every row has.
    pub head: Head,
    /// The value.
    pub number: Spanned<u64>,
}

/// `[[msr]]`
#[derive(Clone, Debug)]
pub struct Msr {
    /// The file.
    pub module: ModuleId,
    /// What every row has.
    pub head: Head,
    /// What goes into ECX.
    pub address: Spanned<u64>,
    /// The layout of its bits.
    pub layout: Option<Spanned<String>>,
    /// Its value after RESET, where that is no CPU's own.
    pub reset: Option<Spanned<u64>>,
}
