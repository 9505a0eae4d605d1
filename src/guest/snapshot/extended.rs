//! The x87, SSE, AVX and AVX-512 registers and PKRU, apart from where a CPU's XSAVE area has them.
//!
//! The places of the components differ between CPUs (CPUID leaf 0DH says them), so that a state has registers and no area.

use super::{
    FormatError,
    item::{Differs, Input, Item, Listed, Name, Path, Sink, item},
};
use crate::spec::x86::registers::Xcr0;

/// The registers that XSAVE manages, and XCR0.
///
/// Those that the guest's CPU does not have are as after a reset.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtendedRegisters {
    /// XCR0.
    pub xcr0: Xcr0,
    /// The x87 control word.
    pub fcw: u16,
    /// The x87 status word.
    pub fsw: u16,
    /// The x87 tag word as FXSAVE abridges it: a bit for each register that is not empty.
    pub ftw: u8,
    /// The opcode of the last x87 instruction.
    pub fop: u16,
    /// The address of the last x87 instruction.
    pub fip: u64,
    /// The address of its operand.
    pub fdp: u64,
    /// MXCSR.
    pub mxcsr: u32,
    /// ST(0) to ST(7), 80 bits each.
    pub st: [u128; 8],
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
    /// The upper halves of YMM0 to YMM15.
    pub ymm_high: [u128; 16],
    /// The opmask registers k0 to k7.
    pub opmask: [u64; 8],
    /// The upper halves of ZMM0 to ZMM15, each its lower 128 bits first.
    pub zmm_high: [[u128; 2]; 16],
    /// ZMM16 to ZMM31, each its lower 128 bits first.
    pub zmm_16_to_31: [[u128; 4]; 16],
    /// PKRU.
    pub pkru: u32,
}

/// After a reset.
impl Default for ExtendedRegisters {
    fn default() -> Self {
        use crate::guest::xstate::{DEFAULT_FCW, DEFAULT_MXCSR};
        Self {
            xcr0: Xcr0::X87,
            fcw: DEFAULT_FCW,
            fsw: 0,
            ftw: 0,
            fop: 0,
            fip: 0,
            fdp: 0,
            mxcsr: DEFAULT_MXCSR,
            st: [0; 8],
            xmm: [0; 16],
            ymm_high: [0; 16],
            opmask: [0; 8],
            zmm_high: [[0; 2]; 16],
            zmm_16_to_31: [[0; 4]; 16],
            pkru: 0,
        }
    }
}

/// The part of it that every CPU has.
#[derive(Clone, Copy, Default)]
pub(super) struct Basic {
    xcr0: Xcr0,
    fcw: u16,
    fsw: u16,
    ftw: u8,
    fop: u16,
    fip: u64,
    fdp: u64,
    mxcsr: u32,
    st: [u128; 8],
    xmm: [u128; 16],
}

/// That of AVX-512.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct Avx512 {
    opmask: [u64; 8],
    zmm_high: [[u128; 2]; 16],
    zmm_16_to_31: [[u128; 4]; 16],
}

item!(ExtendedRegisters {
    xcr0,
    fcw,
    fsw,
    ftw,
    fop,
    fip,
    fdp,
    mxcsr,
    st,
    xmm,
    ymm_high,
    opmask,
    zmm_high,
    zmm_16_to_31,
    pkru
});
item!(Basic { xcr0, fcw, fsw, ftw, fop, fip, fdp, mxcsr, st, xmm });
item!(Avx512 { opmask, zmm_high, zmm_16_to_31 });

/// The parts that the binary form has in sections of their own, each if it is not as after a reset.
impl ExtendedRegisters {
    pub(super) fn basic(&self) -> Basic {
        let Self { xcr0, fcw, fsw, ftw, fop, fip, fdp, mxcsr, st, xmm, .. } = *self;
        Basic { xcr0, fcw, fsw, ftw, fop, fip, fdp, mxcsr, st, xmm }
    }

    pub(super) fn set_basic(&mut self, basic: Basic) {
        let Basic { xcr0, fcw, fsw, ftw, fop, fip, fdp, mxcsr, st, xmm } = basic;
        *self = Self { xcr0, fcw, fsw, ftw, fop, fip, fdp, mxcsr, st, xmm, ..*self };
    }

    pub(super) fn avx(&self) -> Option<[u128; 16]> {
        (self.ymm_high != [0; 16]).then_some(self.ymm_high)
    }

    pub(super) fn avx512(&self) -> Option<Avx512> {
        let Self { opmask, zmm_high, zmm_16_to_31, .. } = *self;
        let part = Avx512 { opmask, zmm_high, zmm_16_to_31 };
        (part != Avx512::default()).then_some(part)
    }

    pub(super) fn set_avx512(&mut self, part: Avx512) {
        let Avx512 { opmask, zmm_high, zmm_16_to_31 } = part;
        *self = Self { opmask, zmm_high, zmm_16_to_31, ..*self };
    }

    /// The components that are not as after a reset.
    pub fn in_use(&self) -> Xcr0 {
        let reset = Self::default();
        let mut used = Xcr0::empty();
        let x87 = |of: &Self| (of.fcw, of.fsw, of.ftw, of.fop, of.fip, of.fdp, of.st);
        used.set(Xcr0::X87, x87(self) != x87(&reset));
        used.set(Xcr0::SSE, self.xmm != reset.xmm || self.mxcsr != reset.mxcsr);
        used.set(Xcr0::AVX, self.ymm_high != reset.ymm_high);
        used.set(Xcr0::OPMASK, self.opmask != reset.opmask);
        used.set(Xcr0::ZMM_HI256, self.zmm_high != reset.zmm_high);
        used.set(Xcr0::HI16_ZMM, self.zmm_16_to_31 != reset.zmm_16_to_31);
        used.set(Xcr0::PKRU, self.pkru != reset.pkru);
        used
    }
}
