//! AMD's tables: the VMCB, the VMSA, intercepts.

use super::intel::keywords;
use super::{BitRange, Head, LayoutField, ModuleId, Spanned};

keywords! {
    /// A part of a structure in memory.
    Area {
        /// The VMCB's control area.
        Control = "control",
        /// The VMCB's state save area.
        Save = "save",
        /// The save area of encrypted-state guests, a structure of its own.
        Vmsa = "vmsa",
    }
}

impl Area {
    /// Bytes.
    pub fn size(self) -> u64 {
        match self {
            Area::Control => 0x400,
            Area::Save => 0xc00,
            Area::Vmsa => 0x1000,
        }
    }

    /// Where it starts in its structure.
    pub fn base(self) -> u64 {
        match self {
            Area::Control | Area::Vmsa => 0,
            Area::Save => 0x400,
        }
    }
}

/// `[[clean]]`: a clean-bit group of the VMCB.
#[derive(Clone, Debug)]
pub struct Clean {
    /// The file.
    pub module: ModuleId,
    /// What every row has.
    pub head: Head,
    /// Which bit of the clean field; of a reserved row which bits.
    pub bits: BitRange,
    /// The value that reserved bits must have.
    pub reserved: Option<u64>,
}

/// `[[member]]`: a member of the VMCB or of the VMSA.
#[derive(Clone, Debug)]
pub struct Member {
    /// The file.
    pub module: ModuleId,
    /// What every row has.
    pub head: Head,
    /// The part of the structure.
    pub area: Area,
    /// Bytes from the start of the area.
    pub offset: Spanned<u64>,
    /// Bytes.
    pub size: Spanned<u64>,
    /// The type of its value, when it is no plain integer; the type that its bits generate, when it has any.
    pub ty: Option<Spanned<String>>,
    /// The clean-bit group; none where the processor does not cache it.
    pub clean: Option<Spanned<String>>,
    /// The value that a reserved member must have.
    pub reserved: Option<u64>,
    /// `[[member.bit]]`
    pub bits: Vec<LayoutField>,
}

/// `[[word]]`: an intercept word of the VMCB.
#[derive(Clone, Debug)]
pub struct InterceptWord {
    /// The file.
    pub module: ModuleId,
    /// What every row has; the name is that of the Rust type.
    pub head: Head,
    /// 0 to 5.
    pub number: Spanned<u64>,
    /// The member of the control area that holds it.
    pub member: Spanned<String>,
}

/// `[[intercept]]`
#[derive(Clone, Debug)]
pub struct Intercept {
    /// The file.
    pub module: ModuleId,
    /// What every row has.
    pub head: Head,
    /// The number of a `[[word]]`.
    pub word: Spanned<u64>,
    /// Which bit of it; of a reserved row which bits.
    pub bits: BitRange,
    /// The value that reserved bits must have.
    pub reserved: Option<u64>,
}
