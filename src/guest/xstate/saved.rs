//! The extended registers as a part of a saved vCPU: out of the area that XSAVE wrote, and into the one that XRSTOR reads.
//!
//! SDM volume 1, "FXSAVE Area", "Standard Format of the XSAVE Area", "XSAVE-Managed State"; APM volume 2, "XSAVE Header".

use core::arch::x86_64 as intrinsics;

use super::{ExtendedState, HOST_USES_SSE};
use crate::{
    frame::FrameSource,
    guest::{edges::Edges, snapshot::ExtendedRegisters},
    spec::x86::{cpuid::CpuidLeaf, registers::Xcr0},
};

/// The places in the legacy region.
const FCW: usize = 0;
const FSW: usize = 2;
const FTW: usize = 4;
const FOP: usize = 6;
const FIP: usize = 8;
const FDP: usize = 16;
const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
const ST: usize = 32;
const XMM: usize = 160;
/// The header: XSTATE_BV, and behind it what has to be 0 in the standard format.
const XSTATE_BV: usize = 512;
const HEADER_END: usize = 576;

/// What MXCSR has on CPUs that leave the mask 0.
const DEFAULT_MASK: u32 = 0xffbf;

/// Whether this CPU takes such an MXCSR: it raises #GP for others when they are loaded.
pub(crate) fn takes_mxcsr(value: u32) -> bool {
    #[repr(C, align(16))]
    struct Region([u8; 512]);
    let mut region = Region([0; 512]);
    // SAFETY: the region has the size and the alignment; FXSAVE changes no register. CPUs with 64-bit mode have it.
    unsafe { intrinsics::_fxsave64(region.0.as_mut_ptr()) };
    let mask = match Area(&mut region.0).read(MXCSR_MASK).map(u32::from_le_bytes) {
        None | Some(0) => DEFAULT_MASK,
        Some(mask) => mask,
    };
    value & !mask == 0
}

/// Memory in the standard format.
struct Area<'a>(&'a mut [u8]);

impl Area<'_> {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.get(offset..)?.first_chunk().copied()
    }

    fn write<const N: usize>(&mut self, offset: usize, value: [u8; N]) {
        if let Some(place) = self.0.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) {
            *place = value;
        }
    }

    /// 128-bit parts of registers that follow each other.
    fn read_registers(&self, offset: usize, registers: &mut [u128]) {
        for (place, register) in (offset..).step_by(16).zip(registers) {
            *register = self.read(place).map_or(0, u128::from_le_bytes);
        }
    }

    fn write_registers(&mut self, offset: usize, registers: &[u128]) {
        for (place, register) in (offset..).step_by(16).zip(registers) {
            self.write(place, register.to_le_bytes());
        }
    }
}

/// The registers in an area that XSAVE, or FXSAVE, has written, of the components that are `available`.
fn read_area(area: &Area<'_>, available: Xcr0, place: impl Fn(Xcr0) -> usize) -> ExtendedRegisters {
    let mut registers = ExtendedRegisters::default();
    let in_use = if available.is_empty() {
        // FXSAVE knows no initial configuration.
        Xcr0::X87.with(Xcr0::SSE)
    } else {
        area.read(XSTATE_BV).map_or(Xcr0::empty(), |bits| Xcr0::from_bits(u64::from_le_bytes(bits))) & available
    };
    let word = |offset| area.read(offset).map_or(0, u16::from_le_bytes);
    let wide = |offset| area.read(offset).map_or(0, u64::from_le_bytes);
    if in_use.contains(Xcr0::X87) {
        registers.fcw = word(FCW);
        registers.fsw = word(FSW);
        registers.ftw = word(FTW) as u8;
        registers.fop = word(FOP);
        registers.fip = wide(FIP);
        registers.fdp = wide(FDP);
        area.read_registers(ST, &mut registers.st);
        // The areas have 128 bits for each, of which 80 are the register.
        registers.st.iter_mut().for_each(|register| *register &= (1 << 80) - 1);
    }
    // Written and loaded whether or not the other registers are as after a reset.
    registers.mxcsr = area.read(MXCSR).map_or(registers.mxcsr, u32::from_le_bytes);
    if in_use.contains(Xcr0::SSE) {
        area.read_registers(XMM, &mut registers.xmm);
    }
    if in_use.contains(Xcr0::AVX) {
        area.read_registers(place(Xcr0::AVX), &mut registers.ymm_high);
    }
    if in_use.contains(Xcr0::OPMASK) {
        for (offset, register) in (place(Xcr0::OPMASK)..).step_by(8).zip(&mut registers.opmask) {
            *register = wide(offset);
        }
    }
    if in_use.contains(Xcr0::ZMM_HI256) {
        area.read_registers(place(Xcr0::ZMM_HI256), registers.zmm_high.as_flattened_mut());
    }
    if in_use.contains(Xcr0::HI16_ZMM) {
        area.read_registers(place(Xcr0::HI16_ZMM), registers.zmm_16_to_31.as_flattened_mut());
    }
    if in_use.contains(Xcr0::PKRU) {
        registers.pkru = area.read(place(Xcr0::PKRU)).map_or(0, u32::from_le_bytes);
    }
    registers
}

/// Fills an area for XRSTOR, or FXRSTOR, with the components that are `available`.
fn write_area(area: &mut Area<'_>, registers: &ExtendedRegisters, available: Xcr0, place: impl Fn(Xcr0) -> usize) {
    area.write(FCW, registers.fcw.to_le_bytes());
    area.write(FSW, registers.fsw.to_le_bytes());
    area.write(FTW, u16::from(registers.ftw).to_le_bytes());
    area.write(FOP, registers.fop.to_le_bytes());
    area.write(FIP, registers.fip.to_le_bytes());
    area.write(FDP, registers.fdp.to_le_bytes());
    area.write(MXCSR, registers.mxcsr.to_le_bytes());
    area.write_registers(ST, &registers.st);
    area.write_registers(XMM, &registers.xmm);
    if let Some(header) = area.0.get_mut(XSTATE_BV..HEADER_END) {
        header.fill(0);
    }
    // The legacy components are always marked as present: FXRSTOR of the world switch loads them in any case.
    let in_use = registers.in_use() & available | Xcr0::X87 | Xcr0::SSE;
    area.write(XSTATE_BV, in_use.bits().to_le_bytes());
    if in_use.contains(Xcr0::AVX) {
        area.write_registers(place(Xcr0::AVX), &registers.ymm_high);
    }
    if in_use.contains(Xcr0::OPMASK) {
        for (offset, register) in (place(Xcr0::OPMASK)..).step_by(8).zip(registers.opmask) {
            area.write(offset, register.to_le_bytes());
        }
    }
    if in_use.contains(Xcr0::ZMM_HI256) {
        area.write_registers(place(Xcr0::ZMM_HI256), registers.zmm_high.as_flattened());
    }
    if in_use.contains(Xcr0::HI16_ZMM) {
        area.write_registers(place(Xcr0::HI16_ZMM), registers.zmm_16_to_31.as_flattened());
    }
    if in_use.contains(Xcr0::PKRU) {
        area.write(place(Xcr0::PKRU), registers.pkru.to_le_bytes());
    }
}

/// Where this CPU has a component.
fn place(component: Xcr0) -> usize {
    if component == Xcr0::PKRU {
        return Edges::pkru_offset();
    }
    let number = component.bits().trailing_zeros();
    raw_cpuid::native_cpuid::cpuid_count(CpuidLeaf::EXTENDED_STATE.0, number).ebx as usize
}

impl<S: FrameSource> ExtendedState<S> {
    fn area(&mut self) -> Area<'_> {
        // SAFETY: the frame is ours, 4096 bytes, and initialized when it was allocated; `&mut self` excludes other users, and
        // the CPU uses it only in the functions of the parent module.
        Area(unsafe { core::slice::from_raw_parts_mut(self.guest.as_mut_ptr(), memory_addr::PAGE_SIZE_4K) })
    }

    /// The guest's registers, while they are not in the CPU.
    pub(crate) fn save(&mut self, to: &mut ExtendedRegisters) {
        let available = self.available;
        *to = ExtendedRegisters { xcr0: self.guest_xcr0, ..read_area(&self.area(), available, place) };
    }

    /// Sets the guest's registers, while they are not in the CPU, to what was found to fit this CPU.
    pub(crate) fn restore(&mut self, from: &ExtendedRegisters) {
        self.guest_xcr0 = from.xcr0;
        self.choose_switching();
        let available = self.available;
        write_area(&mut self.area(), from, available, place);
    }
}

const _: () = assert!(!HOST_USES_SSE || XMM == 160);

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of two CPUs.
    fn first(component: Xcr0) -> usize {
        match component.bits().trailing_zeros() {
            2 => 576,
            5 => 1088,
            6 => 1152,
            7 => 1664,
            _ => 2688,
        }
    }

    fn second(component: Xcr0) -> usize {
        match component.bits().trailing_zeros() {
            2 => 576,
            5 => 832,
            6 => 896,
            7 => 1408,
            _ => 2432,
        }
    }

    fn filled() -> ExtendedRegisters {
        let mut seed = 0x1234_5678u128;
        let mut next = || {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d_1405_7b7e_f767_814f).wrapping_add(1);
            seed ^ seed >> 64
        };
        let mut registers = ExtendedRegisters {
            fcw: 0x27f,
            fsw: 0x3800,
            ftw: 0x81,
            fop: 0x123,
            fip: 0x1111_2222_3333,
            fdp: 0x4444_5555,
            mxcsr: 0x1fa0,
            pkru: 0x5555_0004,
            ..ExtendedRegisters::default()
        };
        registers.st.iter_mut().for_each(|register| *register = next() & ((1 << 80) - 1));
        registers.xmm.iter_mut().for_each(|register| *register = next());
        registers.ymm_high.iter_mut().for_each(|register| *register = next());
        registers.opmask.iter_mut().for_each(|register| *register = next() as u64);
        registers.zmm_high.as_flattened_mut().iter_mut().for_each(|register| *register = next());
        registers.zmm_16_to_31.as_flattened_mut().iter_mut().for_each(|register| *register = next());
        registers
    }

    #[test]
    fn registers_move_between_cpus_with_other_places() {
        let registers = filled();
        let (mut one, mut other) = ([0xa5; 4096], [0x5a; 4096]);
        write_area(&mut Area(&mut one), &registers, super::super::SWITCHED, first);
        let read = read_area(&Area(&mut one), super::super::SWITCHED, first);
        assert_eq!(read, registers);
        write_area(&mut Area(&mut other), &read, super::super::SWITCHED, second);
        assert_eq!(read_area(&Area(&mut other), super::super::SWITCHED, second), registers);
        assert_ne!(read_area(&Area(&mut other), super::super::SWITCHED, first), registers);
    }

    #[test]
    fn what_is_not_in_use_is_as_after_a_reset() {
        let mut memory = [0xa5; 4096];
        let fresh = ExtendedRegisters::default();
        write_area(&mut Area(&mut memory), &fresh, super::super::SWITCHED, first);
        assert_eq!(read_area(&Area(&mut memory), super::super::SWITCHED, first), fresh);
        // The CPU marks components as unused, and what is left in the area means nothing, but for MXCSR.
        Area(&mut memory).write(XSTATE_BV, [0; 8]);
        Area(&mut memory).write(FCW, [0; 2]);
        Area(&mut memory).write(XMM, [1; 16]);
        assert_eq!(read_area(&Area(&mut memory), super::super::SWITCHED, first), fresh);
        Area(&mut memory).write(MXCSR, 0x9fc0u32.to_le_bytes());
        assert_eq!(read_area(&Area(&mut memory), super::super::SWITCHED, first).mxcsr, 0x9fc0);
        assert!(takes_mxcsr(0x9fc0) && !takes_mxcsr(1 << 16));
    }

    #[test]
    fn a_cpu_without_xsave_has_the_legacy_registers() {
        let mut memory = [0; 4096];
        let mut registers = filled();
        write_area(&mut Area(&mut memory), &registers, Xcr0::empty(), first);
        let fresh = ExtendedRegisters::default();
        let ExtendedRegisters { ymm_high, opmask, zmm_high, zmm_16_to_31, pkru, .. } = fresh;
        registers = ExtendedRegisters { ymm_high, opmask, zmm_high, zmm_16_to_31, pkru, ..registers };
        assert_eq!(read_area(&Area(&mut memory), Xcr0::empty(), first), registers);
    }
}
