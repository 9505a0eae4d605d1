//! Valid states to start from: a guest in each mode.

use alloc::boxed::Box;
use alloc::vec::Vec;

use x86_vcpu::spec::amd::exit_info::SegmentAttributes;
use x86_vcpu::spec::amd::intercepts::{InterceptExceptions, InterceptMisc1, InterceptMisc2};
use x86_vcpu::spec::amd::vmcb::{NestedControl, Vmcb};
use x86_vcpu::spec::x86::msrs::{IA32_PAT_RESET, Pat};
use x86_vcpu::spec::x86::registers::{Cr0, Cr4, Dr6, Dr7, Efer, Rflags};

/// A valid state.
pub struct Base {
    pub name: &'static str,
    pub vmcb: Box<Vmcb>,
}

/// Pages of free memory, all zero; a single bit of their addresses flipped gives others that are as free.
const NESTED_ROOT: u64 = 0x0C00_0000;
const GUEST_ROOT: u64 = 0x0A00_0000;
const IO_MAP: u64 = 0x0B00_0000;
/// Where the guests start.
pub const ENTRY: u64 = 0x1000;
const MSR_MAP: u64 = 0x0B10_0000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Long,
    Compatibility,
    Pae,
    Paging,
    Virtual8086,
    Protected,
    Real,
}

/// All of them; the first is that of a 64-bit guest.
pub fn all() -> Vec<Base> {
    let mut bases = Vec::new();
    for (name, mode, nested) in [
        ("long", Mode::Long, true),
        ("long-shadow", Mode::Long, false),
        ("compatibility", Mode::Compatibility, true),
        ("pae", Mode::Pae, true),
        ("32-bit", Mode::Paging, true),
        ("virtual-8086", Mode::Virtual8086, true),
        ("protected", Mode::Protected, true),
        ("real", Mode::Real, true),
    ] {
        bases.push(Base { name, vmcb: make(mode, nested) });
    }
    bases
}

fn make(mode: Mode, nested: bool) -> Box<Vmcb> {
    // SAFETY: a VMCB is made of integers, for which zeros are a value.
    let mut vmcb: Box<Vmcb> = Box::new(unsafe { core::mem::zeroed() });
    vmcb.set_intercept_exceptions(InterceptExceptions::from_bits(u32::MAX));
    vmcb.set_intercept_misc1(InterceptMisc1::from_bits(u32::MAX));
    vmcb.set_intercept_misc2(InterceptMisc2::VMRUN.with(InterceptMisc2::VMMCALL));
    vmcb.set_iopm_base_pa(IO_MAP);
    vmcb.set_msrpm_base_pa(MSR_MAP);
    vmcb.set_guest_asid(1);
    vmcb.set_nested_control(if nested { NestedControl::NP_ENABLE } else { NestedControl::empty() });
    vmcb.set_n_cr3(NESTED_ROOT);
    let long = matches!(mode, Mode::Long | Mode::Compatibility);
    let mut cr0 = Cr0::ET;
    cr0.set(Cr0::PE, mode != Mode::Real);
    cr0.set(Cr0::PG, !matches!(mode, Mode::Real | Mode::Protected));
    let mut cr4 = Cr4::empty();
    cr4.set(Cr4::PAE, long || mode == Mode::Pae);
    vmcb.set_cr0(cr0);
    vmcb.set_cr4(cr4);
    vmcb.set_cr3(GUEST_ROOT);
    let long_mode = Efer::LME.with(Efer::LMA);
    vmcb.set_efer(if long { Efer::SVME.with(long_mode) } else { Efer::SVME });
    vmcb.set_rflags(Rflags::from_bits(1 << 1 | if mode == Mode::Virtual8086 { Rflags::VM.bits() } else { 0 }));
    vmcb.set_rip(ENTRY);
    vmcb.set_rsp(0x2000);
    vmcb.set_dr6(Dr6::from_bits(0xFFFF_0FF0));
    vmcb.set_dr7(Dr7::from_bits(1 << 10));
    vmcb.set_g_pat(Pat::from_bits(IA32_PAT_RESET));
    let real = matches!(mode, Mode::Real | Mode::Virtual8086);
    let present = SegmentAttributes::S.with(SegmentAttributes::P);
    let big = SegmentAttributes::G.with(SegmentAttributes::DB);
    let code = present.with_segment_type(11);
    let data = present.with_segment_type(3);
    let (code, data) = match mode {
        Mode::Long => (code.with(SegmentAttributes::G).with(SegmentAttributes::L), data.with(big)),
        Mode::Real => (code, data),
        Mode::Virtual8086 => (data.with_dpl(3), data.with_dpl(3)),
        _ => (code.with(big), data.with(big)),
    };
    let limit = if real { 0xFFFF } else { u32::MAX };
    let base = |selector: u64| if real { selector << 4 } else { 0 };
    vmcb.set_cpl(if mode == Mode::Virtual8086 { 3 } else { 0 });
    vmcb.set_cs_selector(8);
    vmcb.set_cs_attributes(code);
    vmcb.set_cs_limit(limit);
    vmcb.set_cs_base(base(8));
    macro_rules! segment {
        ($($selector:ident $attributes:ident $limit:ident $base:ident;)*) => {$(
            vmcb.$selector(16);
            vmcb.$attributes(data);
            vmcb.$limit(limit);
            vmcb.$base(base(16));
        )*};
    }
    segment! {
        set_ss_selector set_ss_attributes set_ss_limit set_ss_base;
        set_ds_selector set_ds_attributes set_ds_limit set_ds_base;
        set_es_selector set_es_attributes set_es_limit set_es_base;
        set_fs_selector set_fs_attributes set_fs_limit set_fs_base;
        set_gs_selector set_gs_attributes set_gs_limit set_gs_base;
    }
    vmcb.set_gdtr_limit(0xFFFF);
    vmcb.set_idtr_limit(0xFFFF);
    vmcb.set_tr_selector(24);
    vmcb.set_tr_attributes(SegmentAttributes::P.with_segment_type(11));
    vmcb.set_tr_limit(0x67);
    vmcb
}
