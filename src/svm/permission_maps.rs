//! Which registers and ports a guest reaches without an exit: none, but for the few that the policy names.
//!
//! APM volume 2, "MSR Intercepts" and "I/O Permissions Map".

use crate::{
    Result,
    frame::{ContiguousFrames, FrameSource},
    guest::msr::PASS_THROUGH,
    spec::Msr,
};

/// A bit for each port; accesses of several bytes look at up to three bits behind the last port.
pub(super) type IoMap<S> = ContiguousFrames<3, S>;

/// Two bits for each register of three ranges: the lower for reads, the upper for writes.
pub(super) type MsrMap<S> = ContiguousFrames<2, S>;

/// Every access to a port exits.
pub(super) fn io_map<S: FrameSource>() -> Result<IoMap<S>> {
    IoMap::alloc(u8::MAX)
}

/// Every access to a register exits, but those that the policy passes through.
pub(super) fn msr_map<S: FrameSource>() -> Result<MsrMap<S>> {
    let mut map = MsrMap::alloc(u8::MAX)?;
    for bit in allowed() {
        if let Some(byte) = map.byte_mut(bit / 8) {
            *byte &= !(1 << (bit % 8));
        }
    }
    Ok(map)
}

/// The bits of the accesses that do not exit.
fn allowed() -> impl Iterator<Item = usize> {
    let both = PASS_THROUGH.into_iter().flat_map(|msr| [(msr, false), (msr, true)]);
    both.filter_map(|(msr, write)| msr_map_bit(msr, write))
}

/// The bit for an access: the table "MSR Ranges Covered by MSRPM". Registers of no range always exit.
fn msr_map_bit(msr: Msr, write: bool) -> Option<usize> {
    const REGISTERS: u32 = 0x2000;
    const STARTS: [u32; 3] = [0, 0xc000_0000, 0xc001_0000];
    let (range, start) = STARTS.iter().enumerate().find(|(_, start)| msr.0.wrapping_sub(**start) < REGISTERS)?;
    let index = range * REGISTERS as usize + (msr.0 - start) as usize;
    Some(2 * index + usize::from(write))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{
        amd::msrs::{VM_CR, VM_HSAVE_PA},
        x86::msrs::*,
    };

    #[test]
    fn only_what_is_switched_passes() {
        let passes = |msr, write| allowed().any(|bit| Some(bit) == msr_map_bit(msr, write));
        for msr in [IA32_LSTAR, IA32_KERNEL_GS_BASE, IA32_SYSENTER_EIP] {
            assert!(passes(msr, false) && passes(msr, true), "{msr:?}");
        }
        for msr in [IA32_TSC, IA32_EFER, IA32_PAT, IA32_APIC_BASE, VM_HSAVE_PA, VM_CR] {
            assert!(!passes(msr, false) && !passes(msr, true), "{msr:?}");
        }
    }

    #[test]
    fn msr_map_places() {
        assert_eq!(msr_map_bit(Msr(0), false), Some(0));
        assert_eq!(msr_map_bit(Msr(0), true), Some(1));
        assert_eq!(msr_map_bit(Msr(0x1fff), true), Some(0x800 * 8 - 1));
        assert_eq!(msr_map_bit(Msr(0x2000), false), None);
        assert_eq!(msr_map_bit(Msr(0xc000_0000), false), Some(0x800 * 8));
        assert_eq!(msr_map_bit(Msr(0xc000_0080), true), Some(0x800 * 8 + 0x101));
        assert_eq!(msr_map_bit(Msr(0xc001_0000), false), Some(0x1000 * 8));
        assert_eq!(msr_map_bit(Msr(0xc001_1fff), true), Some(0x1800 * 8 - 1));
        assert_eq!(msr_map_bit(Msr(0xc001_2000), true), None);
        assert_eq!(msr_map_bit(Msr(0xffff_ffff), true), None);
    }
}
