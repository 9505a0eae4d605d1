//! The content of a new VMCS: controls, host state, and the few fields that never change.
//!
//! SDM volume 3, "Preparation and Launching a Virtual Machine", "VM-Execution Control Fields".

use bit_field::BitField;
use memory_addr::PAGE_SIZE_4K;
use x86::{
    dtables::{self, DescriptorTablePointer},
    segmentation::{self, SegmentSelector},
};

use super::{
    capabilities::Capabilities,
    fail::VmFail,
    loaded::Vmcs,
    vcpu::{HostState, VmxVcpu},
};
use crate::{
    Error, Result,
    frame::{FrameSource, PhysFrame},
    guest::{
        msr::MsrPolicy,
        registers::{DescriptorTable, StartState, SystemRegisters},
    },
    host,
    spec::{
        intel::{
            controls::{ControlSet, EntryControls, ExitControls, PinControls, PrimaryControls, SecondaryControls},
            structures::ActivityState,
            vmcs::*,
        },
        x86::{
            msrs::{IA32_EFER, IA32_PAT, IA32_PAT_RESET, IA32_SYSENTER_CS, IA32_SYSENTER_EIP, IA32_SYSENTER_ESP, Pat},
            registers::{Cr0, Cr3, Cr4, Efer, ExceptionVector, PageFaultErrorCode},
        },
    },
};

/// The control words of a vCPU, as this CPU allows them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Controls {
    pub(super) pin: PinControls,
    pub(super) primary: PrimaryControls,
    pub(super) secondary: SecondaryControls,
    exit: ExitControls,
    pub(super) entry: EntryControls,
}

impl Controls {
    /// Default deny: whatever could reach the host exits.
    pub(super) fn choose(capabilities: &Capabilities) -> Result<Self> {
        // An external interrupt and an NMI of the host must never go through the guest's IDT.
        let pin = capabilities.pin.adjust(
            "pin-based VM-execution controls",
            PinControls::EXTERNAL_INTERRUPT_EXITING.with(PinControls::NMI_EXITING),
            PinControls::VIRTUAL_NMIS,
            PinControls::PROCESS_POSTED_INTERRUPTS,
        )?;
        let primary = capabilities.primary.adjust(
            "primary processor-based VM-execution controls",
            PrimaryControls::HLT_EXITING
                .with(PrimaryControls::MWAIT_EXITING)
                .with(PrimaryControls::MONITOR_EXITING)
                .with(PrimaryControls::RDPMC_EXITING)
                .with(PrimaryControls::MOV_DR_EXITING)
                .with(PrimaryControls::CR8_LOAD_EXITING)
                .with(PrimaryControls::CR8_STORE_EXITING)
                .with(PrimaryControls::UNCONDITIONAL_IO_EXITING)
                .with(PrimaryControls::USE_MSR_BITMAPS)
                .with(PrimaryControls::USE_TSC_OFFSETTING)
                .with(PrimaryControls::ACTIVATE_SECONDARY_CONTROLS),
            PrimaryControls::empty(),
            // With EPT the guest's CR3 is its own business.
            PrimaryControls::CR3_LOAD_EXITING
                .with(PrimaryControls::CR3_STORE_EXITING)
                .with(PrimaryControls::INVLPG_EXITING),
        )?;
        // VPIDs need one of the types of INVVPID with which the library forgets.
        let invvpid = capabilities.ept_vpid.contains(crate::spec::intel::msrs::EptVpidCap::INVVPID)
            && capabilities.ept_vpid.intersects(
                crate::spec::intel::msrs::EptVpidCap::INVVPID_SINGLE_CONTEXT
                    .with(crate::spec::intel::msrs::EptVpidCap::INVVPID_ALL_CONTEXT),
            );
        let vpid = if invvpid { SecondaryControls::ENABLE_VPID } else { SecondaryControls::empty() };
        let secondary = capabilities.secondary.adjust(
            "secondary processor-based VM-execution controls",
            SecondaryControls::ENABLE_EPT,
            SecondaryControls::UNRESTRICTED_GUEST
                .with(SecondaryControls::ENABLE_RDTSCP)
                .with(SecondaryControls::ENABLE_INVPCID)
                .with(SecondaryControls::WBINVD_EXITING)
                .with(SecondaryControls::ENABLE_ENCLS_EXITING)
                .with(vpid),
            SecondaryControls::empty(),
        )?;
        let exit = capabilities.exit.adjust(
            "VM-exit controls",
            ExitControls::HOST_ADDRESS_SPACE_SIZE
                .with(ExitControls::ACKNOWLEDGE_INTERRUPT_ON_EXIT)
                .with(ExitControls::SAVE_DEBUG_CONTROLS)
                .with(ExitControls::LOAD_IA32_EFER),
            ExitControls::LOAD_IA32_PAT,
            ExitControls::empty(),
        )?;
        let entry = capabilities.entry.adjust(
            "VM-entry controls",
            EntryControls::LOAD_DEBUG_CONTROLS.with(EntryControls::LOAD_IA32_EFER),
            EntryControls::LOAD_IA32_PAT,
            EntryControls::ENTRY_TO_SMM.with(EntryControls::DEACTIVATE_DUAL_MONITOR_TREATMENT),
        )?;
        let chosen = Self { pin, primary, secondary, exit, entry };
        match chosen.set().conflicts().next() {
            None => Ok(chosen),
            // What this CPU insists on does not go together: no guest could be entered.
            Some(conflict) => Err(Error::ConflictingControls(conflict)),
        }
    }

    fn set(&self) -> ControlSet {
        let Self { pin, primary, secondary, exit, entry } = *self;
        // A CPU that insists on words that the library does not use would make it write them.
        ControlSet { pin, primary, secondary, exit, entry, ..ControlSet::default() }
    }

    /// With these of the secondary controls set to `value`.
    pub(super) fn with_secondary(self, which: SecondaryControls, value: SecondaryControls) -> Self {
        Self { secondary: self.secondary.without(which) | value, ..self }
    }

    /// Whether VM entry would refuse them together.
    pub(super) fn conflict(&self) -> bool {
        self.set().conflicts().next().is_some()
    }

    pub(super) fn unrestricted_guest(&self) -> bool {
        self.secondary.contains(SecondaryControls::UNRESTRICTED_GUEST)
    }

    pub(super) fn uses_vpid(&self) -> bool {
        self.secondary.contains(SecondaryControls::ENABLE_VPID)
    }

    pub(super) fn rdtscp(&self) -> bool {
        self.secondary.contains(SecondaryControls::ENABLE_RDTSCP)
    }

    pub(super) fn invpcid(&self) -> bool {
        self.secondary.contains(SecondaryControls::ENABLE_INVPCID)
    }

    pub(super) fn virtual_nmis(&self) -> bool {
        self.pin.contains(PinControls::VIRTUAL_NMIS)
    }
}

impl<S: FrameSource> VmxVcpu<S> {
    /// Changes a secondary control that is not part of the first choice.
    pub(super) fn set_secondary(&mut self, vmcs: &Vmcs<'_>, control: SecondaryControls, on: bool) {
        self.set_secondary_of(vmcs, control, if on { control } else { SecondaryControls::empty() });
    }

    /// Changes these to `value`.
    pub(super) fn set_secondary_of(&mut self, vmcs: &Vmcs<'_>, which: SecondaryControls, value: SecondaryControls) {
        let new = self.controls.with_secondary(which, value).secondary;
        if new != self.controls.secondary
            && let Some(witness) = vmcs.has()
        {
            self.controls.secondary = new;
            vmcs.write_if(SECONDARY_PROCESSOR_CONTROLS, new, witness);
        }
    }
}

/// The bits of CR0 that the guest changes without an exit: they concern nobody else.
pub(super) const CR0_GUEST_OWNED: Cr0 = Cr0::MP.with(Cr0::EM).with(Cr0::TS).with(Cr0::WP).with(Cr0::AM);

/// The bits of CR4 that the guest changes without an exit, if it is offered them.
const CR4_GUEST_OWNED: Cr4 = Cr4::VME
    .with(Cr4::PVI)
    .with(Cr4::TSD)
    .with(Cr4::DE)
    .with(Cr4::PSE)
    .with(Cr4::PGE)
    .with(Cr4::PCE)
    .with(Cr4::OSFXSR)
    .with(Cr4::OSXMMEXCPT)
    .with(Cr4::UMIP)
    .with(Cr4::FSGSBASE)
    .with(Cr4::SMEP)
    .with(Cr4::SMAP);

/// What a guest may set in CR4: what VMX allows and the CPU has, without what the library does not virtualize.
pub(super) fn offered_cr4(capabilities: &Capabilities, controls: &Controls) -> Cr4 {
    let mut offered = capabilities.cr4_allowed & (CR4_GUEST_OWNED | Cr4::PAE | Cr4::MCE | Cr4::PCIDE | Cr4::PKE);
    // A guest that cannot execute INVPCID has no use for the tags.
    if !controls.secondary.contains(SecondaryControls::ENABLE_INVPCID) {
        offered.remove(Cr4::PCIDE);
    }
    offered
}

/// Every access exits, but those that the policy passes through. SDM volume 3, "MSR-Bitmap Address".
pub(super) fn fill_msr_bitmap<S: FrameSource>(frame: &mut PhysFrame<S>, policy: &MsrPolicy) {
    frame.fill(u8::MAX);
    let base = frame.as_mut_ptr();
    for bit in policy.open_bits().filter(|bit| bit / 8 < PAGE_SIZE_4K) {
        // SAFETY: the byte lies inside the frame, which is ours; a CPU that runs a guest meanwhile runs another vCPU's.
        unsafe { *base.add(bit / 8) &= !(1 << (bit % 8)) };
    }
}

/// What exits clobber in the host, and `unbind` puts back.
pub(super) struct SavedHost {
    gdtr: DescriptorTablePointer<u64>,
    idtr: DescriptorTablePointer<u64>,
    ldtr: SegmentSelector,
    ds: SegmentSelector,
    es: SegmentSelector,
}

impl Default for SavedHost {
    fn default() -> Self {
        let null = SegmentSelector::from_raw(0);
        Self {
            gdtr: DescriptorTablePointer::default(),
            idtr: DescriptorTablePointer::default(),
            ldtr: null,
            ds: null,
            es: null,
        }
    }
}

impl SavedHost {
    fn read() -> Self {
        let mut saved = Self { ds: segmentation::ds(), es: segmentation::es(), ..Self::default() };
        // SAFETY: these instructions only store registers, to variables of the right size.
        unsafe {
            dtables::sgdt(&mut saved.gdtr);
            dtables::sidt(&mut saved.idtr);
            saved.ldtr = dtables::ldtr();
        }
        saved
    }

    /// An exit leaves GDTR and IDTR with limit FFFFH, LDTR null, and DS and ES as the host-state fields have them.
    pub(super) fn restore(&self) {
        // SAFETY: these are the host's own values from `bind` on this CPU. FS and GS keep the selectors that they were
        // entered with, whose bases an exit restores; reloading them would lose the bases.
        unsafe {
            dtables::lgdt(&self.gdtr);
            dtables::lidt(&self.idtr);
            if self.ldtr.bits() != 0 {
                dtables::load_ldtr(self.ldtr);
            }
            if host_selector(self.ds) != self.ds.bits() {
                segmentation::load_ds(self.ds);
            }
            if host_selector(self.es) != self.es.bits() {
                segmentation::load_es(self.es);
            }
        }
    }
}

/// A selector as the host-state fields take it: RPL 0 and no LDT, or null.
fn host_selector(selector: SegmentSelector) -> u16 {
    if selector.bits() & 7 == 0 { selector.bits() } else { 0 }
}

impl<S: FrameSource> VmxVcpu<S> {
    /// Everything but host state, once in the life of a VMCS.
    pub(super) fn write_initial_state(&mut self, vmcs: &Vmcs<'_>, vpid: u16) -> Result {
        let controls = self.controls;
        let fail = |fail: VmFail| fail.of("VMWRITE");
        let missing = Error::Unsupported("a VMCS field that the chosen controls need");
        vmcs.try_write(PIN_BASED_CONTROLS, controls.pin).map_err(fail)?;
        vmcs.try_write(PRIMARY_PROCESSOR_CONTROLS, controls.primary).map_err(fail)?;
        vmcs.try_write_if(SECONDARY_PROCESSOR_CONTROLS, controls.secondary, vmcs.has().ok_or(missing)?)
            .map_err(fail)?;
        vmcs.try_write(PRIMARY_VM_EXIT_CONTROLS, controls.exit).map_err(fail)?;
        vmcs.try_write(VM_ENTRY_CONTROLS, controls.entry).map_err(fail)?;
        vmcs.try_write_if(MSR_BITMAPS, self.msr_bitmap.address(), vmcs.has().ok_or(missing)?).map_err(fail)?;
        if controls.uses_vpid() {
            vmcs.try_write_if(VIRTUAL_PROCESSOR_ID, vpid, vmcs.has().ok_or(missing)?).map_err(fail)?;
        }
        // SGX is not offered: each leaf of ENCLS exits.
        if controls.secondary.contains(SecondaryControls::ENABLE_ENCLS_EXITING)
            && let Some(witness) = vmcs.has()
        {
            vmcs.try_write_if(ENCLS_EXITING_BITMAP, u64::MAX, witness).map_err(fail)?;
        }
        // An endless delivery of #AC or #DB would hang the CPU: SDM volume 3, "Unintended Exceptions". A machine check is
        // the host's.
        let exceptions = [ExceptionVector::AC, ExceptionVector::DB, ExceptionVector::MC];
        let bitmap = exceptions.iter().fold(0, |bitmap, vector| bitmap | 1u32 << (vector.0 & 31));
        vmcs.try_write(EXCEPTION_BITMAP, bitmap).map_err(fail)?;
        vmcs.try_write(CR0_GUEST_HOST_MASK, !CR0_GUEST_OWNED).map_err(fail)?;
        vmcs.try_write(CR4_GUEST_HOST_MASK, !(CR4_GUEST_OWNED & self.guest.offered.cr4)).map_err(fail)?;
        // "None": the fields that must have a value and that nothing else writes.
        vmcs.try_write(VMCS_LINK_POINTER, u64::MAX).map_err(fail)?;
        for field in [PAGE_FAULT_ERROR_CODE_MASK, PAGE_FAULT_ERROR_CODE_MATCH] {
            vmcs.try_write(field, PageFaultErrorCode::empty()).map_err(fail)?;
        }
        for field in [CR3_TARGET_COUNT, VM_EXIT_MSR_STORE_COUNT, VM_EXIT_MSR_LOAD_COUNT, VM_ENTRY_MSR_LOAD_COUNT] {
            vmcs.try_write(field, 0).map_err(fail)?;
        }
        vmcs.try_write(TSC_OFFSET, 0).map_err(fail)?;
        vmcs.try_write(GUEST_ACTIVITY_STATE, ActivityState::ACTIVE).map_err(fail)?;
        if let Some(witness) = vmcs.has() {
            vmcs.try_write_if(GUEST_IA32_PAT, Pat::from_bits(IA32_PAT_RESET), witness).map_err(fail)?;
        }
        // As after reset, where the CPU can run a guest in real mode; where it cannot, a state that it can.
        let start = if controls.unrestricted_guest() {
            StartState::RealMode { entry: 0 }
        } else {
            StartState::Long { entry: 0, cr3: 0 }
        };
        self.write_apic_fields(vmcs);
        self.write_system(vmcs, &SystemRegisters::start(start)?)
    }

    /// This CPU's host state, at each bind.
    pub(super) fn write_host_state(&mut self, vmcs: &Vmcs<'_>) -> Result {
        let saved = SavedHost::read();
        // SAFETY: reading the task register has no effect.
        let tr = unsafe { x86::task::tr() };
        if tr.bits() == 0 {
            return Err(Error::BadState("the host has no task register (TR) loaded, which VMX needs"));
        }
        for (field, selector) in [
            (HOST_CS_SELECTOR, segmentation::cs()),
            (HOST_SS_SELECTOR, segmentation::ss()),
            (HOST_DS_SELECTOR, saved.ds),
            (HOST_ES_SELECTOR, saved.es),
            (HOST_FS_SELECTOR, segmentation::fs()),
            (HOST_GS_SELECTOR, segmentation::gs()),
            (HOST_TR_SELECTOR, tr),
        ] {
            vmcs.write(field, host_selector(selector));
        }
        let gdt = DescriptorTable { base: saved.gdtr.base as u64, limit: saved.gdtr.limit };
        vmcs.write(HOST_GDTR_BASE, gdt.base);
        let idt_base = saved.idtr.base as u64;
        vmcs.write(HOST_IDTR_BASE, idt_base);
        vmcs.write(HOST_TR_BASE, tss_base(gdt, tr.bits())?);
        // SAFETY: every CPU with VMX has these registers.
        unsafe {
            vmcs.write(HOST_IA32_SYSENTER_CS, host::rdmsr(IA32_SYSENTER_CS) as u32);
            vmcs.write(HOST_IA32_SYSENTER_ESP, host::rdmsr(IA32_SYSENTER_ESP));
            vmcs.write(HOST_IA32_SYSENTER_EIP, host::rdmsr(IA32_SYSENTER_EIP));
            if let Some(witness) = vmcs.has() {
                vmcs.write_if(HOST_IA32_PAT, Pat::from_bits(host::rdmsr(IA32_PAT)), witness);
            }
            if let Some(witness) = vmcs.has() {
                vmcs.write_if(HOST_IA32_EFER, Efer::from_bits(host::rdmsr(IA32_EFER)), witness);
            }
        }
        self.host = HostState { saved, ..HostState::default() };
        // HOST_RSP and HOST_RIP are written by the next entry.
        self.context.host_rsp = 0;
        self.refresh_host_state(vmcs, host::cr4(), true);
        Ok(())
    }

    /// What goes stale when the host's thread moves on between two runs, by comparison; all of it when `force` says so.
    #[inline]
    pub(super) fn refresh_host_state(&mut self, vmcs: &Vmcs<'_>, cr4: Cr4, force: bool) {
        let (cr0, cr3) = (host::cr0(), host::cr3());
        let (fs_base, gs_base) = (host::fs_base(cr4), host::gs_base(cr4));
        if force || cr3 != self.host.cr3 {
            self.host.cr3 = cr3;
            vmcs.write(HOST_CR3, Cr3::from_bits(cr3));
        }
        if force || gs_base != self.host.gs_base {
            self.host.gs_base = gs_base;
            vmcs.write(HOST_GS_BASE, gs_base);
        }
        if force || fs_base != self.host.fs_base {
            self.host.fs_base = fs_base;
            vmcs.write(HOST_FS_BASE, fs_base);
        }
        if force || cr0 != self.host.cr0 {
            self.host.cr0 = cr0;
            vmcs.write(HOST_CR0, Cr0::from_bits(cr0));
        }
        if force || cr4 != self.host.cr4 {
            self.host.cr4 = cr4;
            vmcs.write(HOST_CR4, cr4);
        }
    }
}

/// The base in the 16-byte TSS descriptor that `selector` names.
fn tss_base(gdt: DescriptorTable, selector: u16) -> Result<u64> {
    let offset = u64::from(selector & !7);
    if selector & 4 != 0 || offset.wrapping_add(15) > u64::from(gdt.limit) {
        return Err(Error::BadState("the host's task register does not point into its GDT"));
    }
    // SAFETY: the descriptor lies inside the host's GDT, which is mapped and stays as it is while it is in use.
    let [low, high] = unsafe { (gdt.base.wrapping_add(offset) as *const [u64; 2]).read_unaligned() };
    // SDM volume 3, "Format of TSS and LDT Descriptors in 64-bit Mode": base bits 15:0 and 23:16 in bits 39:16, 31:24 in
    // bits 63:56, 63:32 in the upper half.
    Ok(low.get_bits(16..40) | low.get_bits(56..64) << 24 | high << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tss_base_is_put_together() {
        let table = [0u64, 0x1234_5678_9abc_def0, 0xfedc_ba98_7654_3210];
        let gdt = DescriptorTable { base: table.as_ptr() as u64, limit: 23 };
        let base = tss_base(gdt, 8).expect("inside");
        assert_eq!(base, 0x7654_3210_1278_9abc);
        assert!(tss_base(gdt, 16).is_err());
        assert!(tss_base(gdt, 12).is_err());
    }
}
