//! Valid states to start from: a guest in each mode, with few controls and with all that this CPU has.

use alloc::vec;
use alloc::vec::Vec;

use x86_vcpu::spec::FieldInfo;
use x86_vcpu::spec::intel::controls::{EntryControls, ExitControls, PinControls, PrimaryControls, SecondaryControls};
use x86_vcpu::spec::intel::structures::SegmentAccessRights;
use x86_vcpu::spec::intel::{msrs, vmcs::*};
use x86_vcpu::spec::x86::msrs::{IA32_FS_BASE, IA32_PAT_RESET, IA32_SYSENTER_CS};
use x86_vcpu::spec::x86::registers::{Cr0, Cr4, Efer, Rflags};

use super::capabilities::Capabilities;
use super::host::{Host, LANDING};
use crate::gdt;

/// The areas of MSRs to load at entry and at exit. A single bit of the second one's address flipped, from 4 to 27, gives free memory
/// that holds the same.
pub const ENTRY_AREA: u64 = 0x0B80_0000;
pub const EXIT_AREA: u64 = 0x0DA0_0000;
/// An MSR that no entry loads.
pub const FORBIDDEN_MSR: u64 = IA32_FS_BASE.0 as u64;
/// Where the guest's page tables would be; the page is empty, so there are no translations.
const GUEST_ROOT: u64 = 0x0A00_0000;
/// Pages for whatever controls want, and how far they are apart.
const PAGES: u64 = 0x0B00_0000;
const PAGE_DISTANCE: u64 = 0x1_0000;

/// A valid state.
pub struct Base {
    pub name: &'static str,
    /// The value of each field that the CPU has.
    pub values: Vec<u64>,
}

/// The mode of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Long,
    Compatibility,
    Pae,
    Paging,
    Protected,
    Real,
    Virtual8086,
}

/// The order of [`all`].
pub const RICH: usize = 0;
pub const POOR: usize = 1;

/// Every valid state that this CPU can have.
pub fn all(capabilities: &Capabilities, host: &Host, fields: &[FieldInfo]) -> Vec<Base> {
    fill_exit_area();
    let mut bases = Vec::new();
    for (name, mode, rich) in [
        ("long", Mode::Long, true),
        ("long-few-controls", Mode::Long, false),
        ("compatibility", Mode::Compatibility, true),
        ("pae", Mode::Pae, true),
        ("pae-few-controls", Mode::Pae, false),
        ("32-bit", Mode::Paging, true),
        ("virtual-8086", Mode::Virtual8086, true),
        ("protected", Mode::Protected, true),
        ("real", Mode::Real, true),
    ] {
        let unrestricted = capabilities.allowed().secondary.contains(SecondaryControls::UNRESTRICTED_GUEST);
        if matches!(mode, Mode::Protected | Mode::Real) && !unrestricted {
            continue;
        }
        let mut state = State { fields, values: vec![0; fields.len()] };
        controls(&mut state, capabilities, mode, rich);
        pages(&mut state, capabilities);
        host_state(&mut state, host);
        guest_state(&mut state, capabilities, mode);
        bases.push(Base { name, values: state.values });
    }
    bases
}

struct State<'a> {
    fields: &'a [FieldInfo],
    values: Vec<u64>,
}

impl State<'_> {
    /// Sets a field, if there is one.
    fn set(&mut self, encoding: u32, value: u64) {
        if let Some(index) = super::find(self.fields, encoding) {
            self.values[index] = value;
        }
    }
}

fn controls(state: &mut State, capabilities: &Capabilities, mode: Mode, rich: bool) {
    use msrs::*;
    let pin = PinControls::EXTERNAL_INTERRUPT_EXITING
        .with(PinControls::NMI_EXITING)
        .with(PinControls::VIRTUAL_NMIS)
        .with(PinControls::ACTIVATE_VMX_PREEMPTION_TIMER);
    let primary = PrimaryControls::HLT_EXITING
        .with(PrimaryControls::USE_TSC_OFFSETTING)
        .with(PrimaryControls::USE_TPR_SHADOW)
        .with(PrimaryControls::USE_IO_BITMAPS)
        .with(PrimaryControls::USE_MSR_BITMAPS)
        .with(PrimaryControls::ACTIVATE_SECONDARY_CONTROLS);
    let secondary = SecondaryControls::ENABLE_EPT
        .with(SecondaryControls::ENABLE_VPID)
        .with(SecondaryControls::UNRESTRICTED_GUEST)
        .with(SecondaryControls::VIRTUALIZE_APIC_ACCESSES)
        .with(SecondaryControls::APIC_REGISTER_VIRTUALIZATION)
        .with(SecondaryControls::VIRTUAL_INTERRUPT_DELIVERY)
        .with(SecondaryControls::ENABLE_VM_FUNCTIONS)
        .with(SecondaryControls::VMCS_SHADOWING)
        .with(SecondaryControls::ENABLE_PML)
        .with(SecondaryControls::EPT_VIOLATION_VE)
        .with(SecondaryControls::ENABLE_XSAVES_XRSTORS)
        .with(SecondaryControls::SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT)
        .with(SecondaryControls::USE_TSC_SCALING)
        .with(SecondaryControls::PAUSE_LOOP_EXITING);
    let exit = ExitControls::SAVE_DEBUG_CONTROLS
        .with(ExitControls::ACKNOWLEDGE_INTERRUPT_ON_EXIT)
        .with(ExitControls::SAVE_IA32_PAT)
        .with(ExitControls::LOAD_IA32_PAT)
        .with(ExitControls::SAVE_IA32_EFER)
        .with(ExitControls::LOAD_IA32_EFER)
        .with(ExitControls::LOAD_IA32_PERF_GLOBAL_CTRL)
        .with(ExitControls::SAVE_VMX_PREEMPTION_TIMER_VALUE)
        .with(ExitControls::CLEAR_IA32_BNDCFGS)
        .with(ExitControls::LOAD_CET_STATE)
        .with(ExitControls::LOAD_PKRS);
    let entry = EntryControls::LOAD_DEBUG_CONTROLS
        .with(EntryControls::LOAD_IA32_PAT)
        .with(EntryControls::LOAD_IA32_EFER)
        .with(EntryControls::LOAD_IA32_PERF_GLOBAL_CTRL)
        .with(EntryControls::LOAD_IA32_BNDCFGS)
        .with(EntryControls::LOAD_CET_STATE)
        .with(EntryControls::LOAD_PKRS);
    let few = |bits: u32| if rich { bits } else { 0 };
    let long = matches!(mode, Mode::Long | Mode::Compatibility);
    let entry = few(entry.bits()) | if long { EntryControls::IA32E_MODE_GUEST.bits() } else { 0 };
    let exit = few(exit.bits()) | ExitControls::HOST_ADDRESS_SPACE_SIZE.bits();
    let word = |plain, with_true, wanted| capabilities.word(plain, with_true).make(wanted);
    state
        .set(PIN_BASED_CONTROLS.encoding(), word(IA32_VMX_PINBASED_CTLS, IA32_VMX_TRUE_PINBASED_CTLS, few(pin.bits())));
    state.set(
        PRIMARY_PROCESSOR_CONTROLS.encoding(),
        word(IA32_VMX_PROCBASED_CTLS, IA32_VMX_TRUE_PROCBASED_CTLS, few(primary.bits())),
    );
    state.set(
        SECONDARY_PROCESSOR_CONTROLS.encoding(),
        word(IA32_VMX_PROCBASED_CTLS2, IA32_VMX_PROCBASED_CTLS2, few(secondary.bits())),
    );
    state.set(PRIMARY_VM_EXIT_CONTROLS.encoding(), word(IA32_VMX_EXIT_CTLS, IA32_VMX_TRUE_EXIT_CTLS, exit));
    state.set(VM_ENTRY_CONTROLS.encoding(), word(IA32_VMX_ENTRY_CTLS, IA32_VMX_TRUE_ENTRY_CTLS, entry));
    state.set(VM_FUNCTION_CONTROLS.encoding(), few(1).into());
    state.set(VM_EXIT_MSR_LOAD_COUNT.encoding(), few(1).into());
    state.set(VM_EXIT_MSR_STORE_COUNT.encoding(), few(1).into());
}

/// What the controls point to, whether they use it or not.
fn pages(state: &mut State, capabilities: &Capabilities) {
    let ept = capabilities.msr(msrs::IA32_VMX_EPT_VPID_CAP.0).unwrap_or_default();
    let accessed_dirty = ept & msrs::EptVpidCap::ACCESSED_DIRTY.bits() != 0;
    const WRITE_BACK_4_LEVELS: u64 = 3 << 3 | 6;
    for (index, field) in [
        IO_BITMAP_A.encoding(),
        IO_BITMAP_B.encoding(),
        MSR_BITMAPS.encoding(),
        VM_EXIT_MSR_STORE_ADDRESS.encoding(),
        PML_ADDRESS.encoding(),
        VIRTUAL_APIC_ADDRESS.encoding(),
        APIC_ACCESS_ADDRESS.encoding(),
        POSTED_INTERRUPT_DESCRIPTOR_ADDRESS.encoding(),
        EPTP_LIST_ADDRESS.encoding(),
        VMREAD_BITMAP_ADDRESS.encoding(),
        VMWRITE_BITMAP_ADDRESS.encoding(),
        VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS.encoding(),
        SUB_PAGE_PERMISSION_TABLE_POINTER.encoding(),
    ]
    .into_iter()
    .enumerate()
    {
        state.set(field, PAGES + index as u64 * PAGE_DISTANCE);
    }
    let flags = WRITE_BACK_4_LEVELS | if accessed_dirty { 1 << 6 } else { 0 };
    state.set(EPT_POINTER.encoding(), (PAGES + 0x40_0000) | flags);
    state.set(VM_ENTRY_MSR_LOAD_ADDRESS.encoding(), ENTRY_AREA);
    state.set(VM_EXIT_MSR_LOAD_ADDRESS.encoding(), EXIT_AREA);
    state.set(VIRTUAL_PROCESSOR_ID.encoding(), 1);
    state.set(TSC_MULTIPLIER.encoding(), 1 << 48);
    state.set(VMCS_LINK_POINTER.encoding(), u64::MAX);
}

fn host_state(state: &mut State, host: &Host) {
    for (field, value) in [
        (HOST_CR0.encoding(), host.cr0),
        (HOST_CR3.encoding(), host.cr3),
        (HOST_CR4.encoding(), host.cr4),
        (HOST_CS_SELECTOR.encoding(), gdt::CODE.into()),
        (HOST_SS_SELECTOR.encoding(), gdt::DATA.into()),
        (HOST_DS_SELECTOR.encoding(), gdt::DATA.into()),
        (HOST_ES_SELECTOR.encoding(), gdt::DATA.into()),
        (HOST_TR_SELECTOR.encoding(), host.task_selector.into()),
        (HOST_TR_BASE.encoding(), host.task),
        (HOST_FS_BASE.encoding(), host.fs),
        (HOST_GS_BASE.encoding(), host.gs),
        (HOST_GDTR_BASE.encoding(), host.gdt),
        (HOST_IDTR_BASE.encoding(), host.idt),
        (HOST_IA32_EFER.encoding(), host.efer),
        (HOST_IA32_PAT.encoding(), host.pat),
        (HOST_RSP.encoding(), 0x1000),
        (HOST_RIP.encoding(), LANDING),
    ] {
        state.set(field, value);
    }
}

fn guest_state(state: &mut State, capabilities: &Capabilities, mode: Mode) {
    let msr = |msr: x86_vcpu::spec::Msr| capabilities.msr(msr.0).unwrap_or_default();
    let paging = !matches!(mode, Mode::Protected | Mode::Real);
    let mut cr0 = Cr0::from_bits(msr(msrs::IA32_VMX_CR0_FIXED0)).with(Cr0::ET);
    cr0.set(Cr0::PG, paging);
    cr0.set(Cr0::PE, mode != Mode::Real);
    let mut cr4 = Cr4::from_bits(msr(msrs::IA32_VMX_CR4_FIXED0));
    cr4.set(Cr4::PAE, matches!(mode, Mode::Long | Mode::Compatibility | Mode::Pae));
    let long = matches!(mode, Mode::Long | Mode::Compatibility);
    let efer = if long { Efer::LME.with(Efer::LMA).bits() } else { 0 };
    let real = matches!(mode, Mode::Real | Mode::Virtual8086);
    let sixteen = u64::from(u16::MAX);
    let accessed_code = SegmentAccessRights::S.with(SegmentAccessRights::P).with_segment_type(11);
    let accessed_data = SegmentAccessRights::S.with(SegmentAccessRights::P).with_segment_type(3);
    let big = SegmentAccessRights::G.with(SegmentAccessRights::DB);
    let (code, data) = match mode {
        Mode::Long => {
            (accessed_code.with(SegmentAccessRights::G).with(SegmentAccessRights::L), accessed_data.with(big))
        }
        Mode::Real => (accessed_code, accessed_data),
        Mode::Virtual8086 => (accessed_data.with_dpl(3), accessed_data.with_dpl(3)),
        _ => (accessed_code.with(big), accessed_data.with(big)),
    };
    let segments = [
        (GUEST_CS_SELECTOR, GUEST_CS_BASE, GUEST_CS_LIMIT, GUEST_CS_ACCESS_RIGHTS, 8),
        (GUEST_SS_SELECTOR, GUEST_SS_BASE, GUEST_SS_LIMIT, GUEST_SS_ACCESS_RIGHTS, 16),
        (GUEST_DS_SELECTOR, GUEST_DS_BASE, GUEST_DS_LIMIT, GUEST_DS_ACCESS_RIGHTS, 16),
        (GUEST_ES_SELECTOR, GUEST_ES_BASE, GUEST_ES_LIMIT, GUEST_ES_ACCESS_RIGHTS, 16),
        (GUEST_FS_SELECTOR, GUEST_FS_BASE, GUEST_FS_LIMIT, GUEST_FS_ACCESS_RIGHTS, 16),
        (GUEST_GS_SELECTOR, GUEST_GS_BASE, GUEST_GS_LIMIT, GUEST_GS_ACCESS_RIGHTS, 16),
    ];
    for (selector, base, limit, rights, value) in segments {
        let is_code = value == 8;
        state.set(selector.encoding(), value);
        state.set(base.encoding(), if real { value << 4 } else { 0 });
        state.set(limit.encoding(), if real { sixteen } else { u32::MAX.into() });
        state.set(rights.encoding(), if is_code { code.bits() } else { data.bits() }.into());
    }
    let busy_task = SegmentAccessRights::P.with_segment_type(11);
    for (field, value) in [
        (GUEST_LDTR_ACCESS_RIGHTS.encoding(), SegmentAccessRights::UNUSABLE.bits().into()),
        (GUEST_TR_ACCESS_RIGHTS.encoding(), busy_task.bits().into()),
        (GUEST_TR_SELECTOR.encoding(), 24),
        (GUEST_TR_LIMIT.encoding(), 0x67),
        (GUEST_GDTR_LIMIT.encoding(), sixteen),
        (GUEST_IDTR_LIMIT.encoding(), sixteen),
        (GUEST_CR0.encoding(), cr0.bits()),
        (GUEST_CR3.encoding(), GUEST_ROOT),
        (GUEST_CR4.encoding(), cr4.bits()),
        (GUEST_IA32_EFER.encoding(), efer),
        (GUEST_IA32_PAT.encoding(), IA32_PAT_RESET),
        (GUEST_DR7.encoding(), 1 << 10),
        (GUEST_RSP.encoding(), 0x2000),
        (GUEST_RIP.encoding(), 0x1000),
        (GUEST_RFLAGS.encoding(), 1 << 1 | if mode == Mode::Virtual8086 { Rflags::VM.bits() } else { 0 }),
    ] {
        state.set(field, value);
    }
}

/// Entries that store and load what is there anyway, behind the address and behind each that differs from it in a bit.
fn fill_exit_area() {
    let store = PAGES + 3 * PAGE_DISTANCE;
    for address in (4..28).map(|bit| EXIT_AREA ^ 1 << bit).chain([EXIT_AREA, store]) {
        for entry in 0..4 {
            // SAFETY: free memory that is the harness's.
            unsafe {
                let entry = (address as *mut u64).add(2 * entry);
                entry.write(IA32_SYSENTER_CS.0.into());
                entry.add(1).write(0);
            }
        }
    }
}
