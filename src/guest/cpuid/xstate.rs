//! Leaf DH: the components that XSAVE manages, and how much room they take.
//!
//! SDM volume 1, "XSAVE-Supported Features and State-Component Bitmaps" and "XSAVE Area".

use super::{CpuidEntry, CpuidPolicy};
use crate::{
    Result,
    spec::x86::{
        cpuid::{CpuidDSubNEcx, CpuidLeaf},
        registers::{CpuidDSub1Eax, Xcr0},
    },
};

const LEAF: u32 = CpuidLeaf::EXTENDED_STATE.0;
/// The legacy region and the header of an XSAVE area: what x87 and SSE state take.
const BASE_SIZE: u32 = 512 + 64;
/// Sub-leaves 0 and 1 are about the whole, the others about a component each.
const FIRST_COMPONENT: u32 = 2;
const COMPONENTS: u32 = 63;

/// Fills the leaf from the host's, cut to `supported`; components that do not end within `room` bytes are left out. Gives
/// the components that are left.
pub(super) fn fill(
    policy: &mut CpuidPolicy,
    host: &mut impl FnMut(u32, u32) -> CpuidEntry,
    supported: Xcr0,
    room: u32,
) -> Result<Xcr0> {
    let host_zero = host(LEAF, 0);
    let mut left = supported & Xcr0::from_bits(u64::from(host_zero.edx) << 32 | u64::from(host_zero.eax));
    for component in FIRST_COMPONENT..COMPONENTS {
        let bit = Xcr0::from_bits(1 << component);
        if left.contains(bit) {
            let CpuidEntry { eax: size, ebx: offset, .. } = host(LEAF, component);
            if offset.checked_add(size).is_none_or(|end| end > room) {
                left.remove(bit);
            }
        }
    }
    drop_incomplete(&mut left);
    // Supervisor components are the host's: without XSAVES none is seen.
    let features = CpuidDSub1Eax::XSAVEOPT | CpuidDSub1Eax::XSAVEC | CpuidDSub1Eax::XGETBV_ECX1;
    let bits = left.bits();
    policy.set(LEAF, 0, CpuidEntry { eax: bits as u32, edx: (bits >> 32) as u32, ..CpuidEntry::ZERO })?;
    policy.set(LEAF, 1, CpuidEntry { eax: host(LEAF, 1).eax & features.bits(), ..CpuidEntry::ZERO })?;
    for component in FIRST_COMPONENT..COMPONENTS {
        if left.contains(Xcr0::from_bits(1 << component)) {
            let entry = host(LEAF, component);
            let ecx = entry.ecx & CpuidDSubNEcx::ALIGNED.bits();
            policy.set(LEAF, component, CpuidEntry { ecx, edx: 0, ..entry })?;
        }
    }
    Ok(left)
}

/// Components that XSETBV accepts only together. SDM volume 1, "Enabling the XSAVE Feature Set".
fn drop_incomplete(left: &mut Xcr0) {
    let avx_512 = Xcr0::OPMASK | Xcr0::ZMM_HI256 | Xcr0::HI16_ZMM;
    let tiles = Xcr0::TILECFG | Xcr0::TILEDATA;
    let bounds = Xcr0::BNDREGS | Xcr0::BNDCSR;
    if !left.contains(Xcr0::SSE) {
        left.remove(Xcr0::AVX);
    }
    if !left.contains(avx_512 | Xcr0::AVX) {
        left.remove(avx_512);
    }
    for group in [tiles, bounds] {
        if !left.contains(group) {
            left.remove(group);
        }
    }
}

/// The sizes that follow XCR0, and the one of everything that the guest may enable.
pub(super) fn update_sizes(policy: &mut CpuidPolicy, xcr0: Xcr0) {
    let Some(zero) = policy.get(LEAF, 0) else { return };
    let all = Xcr0::from_bits(u64::from(zero.edx) << 32 | u64::from(zero.eax));
    let (now, most) = (standard_size(policy, xcr0), standard_size(policy, all));
    let compacted = compacted_size(policy, xcr0);
    if let Some(zero) = policy.get_mut(LEAF, 0) {
        zero.ebx = now;
        zero.ecx = most;
    }
    if let Some(one) = policy.get_mut(LEAF, 1) {
        one.ebx = if CpuidDSub1Eax::from_bits(one.eax).contains(CpuidDSub1Eax::XSAVEC) { compacted } else { 0 };
    }
}

fn components(policy: &CpuidPolicy, mask: Xcr0) -> impl Iterator<Item = CpuidEntry> {
    (FIRST_COMPONENT..COMPONENTS)
        .filter(move |component| mask.contains(Xcr0::from_bits(1 << component)))
        .filter_map(|component| policy.get(LEAF, component))
}

/// In the standard format each component has its place.
fn standard_size(policy: &CpuidPolicy, mask: Xcr0) -> u32 {
    components(policy, mask).fold(BASE_SIZE, |size, component| size.max(component.ebx.saturating_add(component.eax)))
}

/// In the compacted format they follow each other.
fn compacted_size(policy: &CpuidPolicy, mask: Xcr0) -> u32 {
    components(policy, mask).fold(BASE_SIZE, |size, component| {
        let aligned = CpuidDSubNEcx::from_bits(component.ecx).contains(CpuidDSubNEcx::ALIGNED);
        let start = if aligned { size.saturating_add(63) & !63 } else { size };
        start.saturating_add(component.eax)
    })
}
