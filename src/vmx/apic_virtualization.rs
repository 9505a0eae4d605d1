//! The CPU's own virtualization of the local APIC: SDM volume 3, chapter "APIC Virtualization and Virtual Interrupts".
//!
//! The virtual-APIC page is the page of the library's local APIC. What the CPU does not do, it exits for, and the local
//! APIC does; between exits the page is all that there is, so that each part of this may be there or not. What the CPU
//! has to know besides the page is written when the events are planned: whoever changes the local APIC wakes them.

use super::{capabilities::Capabilities, loaded::Vmcs, payload::OnExit, setup::Controls, vcpu::VmxVcpu};
use crate::{
    exit::{Access, NestedFault, VmExit},
    frame::{FrameSource, PhysFrame},
    guest::{
        apic::{ApicMode, ApicVirtualization, LocalApic, msr_of},
        events::InterruptSource,
        state::Pending,
    },
    spec::{
        intel::{
            controls::{PrimaryControls, SecondaryControls},
            exit_qualifications::ApicAccessType,
            payloads,
            structures::GuestInterruptStatus,
            vmcs::*,
        },
        msr_policy::INTEL_BITMAP,
        x86::apic::ApicRegister,
    },
};

/// What the CPU does of a vCPU's local APIC: nothing, for one that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ApicFeatures {
    /// It keeps the task priority.
    tpr_shadow: bool,
    /// It knows which page is that of the registers.
    accesses: bool,
    /// It answers reads of registers, and takes writes.
    registers: bool,
    /// It delivers interrupts, and ends them.
    delivery: bool,
    /// It answers some of the x2APIC's MSRs.
    x2apic: bool,
}

/// The same with what it has been told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ApicHardware {
    features: ApicFeatures,
    /// Whether it delivers interrupts now.
    delivers: bool,
    /// What of them is in use, in which mode; `None`: the CPU has not been told.
    now: Option<(ApicFeatures, ApicMode)>,
    /// The task priority below which it exits.
    threshold: u8,
    /// The interrupts at whose end it exits.
    ends: [u64; 4],
}

/// The registers that the CPU may answer RDMSR of from the page: all that can be read and need no arithmetic.
const READABLE: [ApicRegister; 37] = [
    ApicRegister::ID,
    ApicRegister::VERSION,
    ApicRegister::LOGICAL_DESTINATION,
    ApicRegister::SPURIOUS_INTERRUPT_VECTOR,
    ApicRegister::IN_SERVICE_0,
    ApicRegister::IN_SERVICE_1,
    ApicRegister::IN_SERVICE_2,
    ApicRegister::IN_SERVICE_3,
    ApicRegister::IN_SERVICE_4,
    ApicRegister::IN_SERVICE_5,
    ApicRegister::IN_SERVICE_6,
    ApicRegister::IN_SERVICE_7,
    ApicRegister::TRIGGER_MODE_0,
    ApicRegister::TRIGGER_MODE_1,
    ApicRegister::TRIGGER_MODE_2,
    ApicRegister::TRIGGER_MODE_3,
    ApicRegister::TRIGGER_MODE_4,
    ApicRegister::TRIGGER_MODE_5,
    ApicRegister::TRIGGER_MODE_6,
    ApicRegister::TRIGGER_MODE_7,
    ApicRegister::INTERRUPT_REQUEST_0,
    ApicRegister::INTERRUPT_REQUEST_1,
    ApicRegister::INTERRUPT_REQUEST_2,
    ApicRegister::INTERRUPT_REQUEST_3,
    ApicRegister::INTERRUPT_REQUEST_4,
    ApicRegister::INTERRUPT_REQUEST_5,
    ApicRegister::INTERRUPT_REQUEST_6,
    ApicRegister::INTERRUPT_REQUEST_7,
    ApicRegister::ERROR_STATUS,
    ApicRegister::INTERRUPT_COMMAND_LOW,
    ApicRegister::LVT_TIMER,
    ApicRegister::LVT_THERMAL,
    ApicRegister::LVT_PERFORMANCE,
    ApicRegister::LVT_LINT0,
    ApicRegister::LVT_LINT1,
    ApicRegister::LVT_ERROR,
    ApicRegister::INITIAL_COUNT,
];

impl ApicFeatures {
    /// What this CPU offers. Whatever else does a part needs the TPR shadow.
    fn of(capabilities: &Capabilities, wanted: ApicVirtualization, has_access_page: bool) -> Self {
        let has = |control| capabilities.allowed.secondary.contains(control);
        // Even if each access is to exit: the VMM may have mapped the page.
        let accesses = has_access_page && has(SecondaryControls::VIRTUALIZE_APIC_ACCESSES);
        let tpr_shadow = capabilities.allowed.primary.contains(PrimaryControls::USE_TPR_SHADOW);
        if wanted == ApicVirtualization::Software || !tpr_shadow {
            return Self { accesses, ..Self::default() };
        }
        Self {
            tpr_shadow,
            accesses,
            registers: has(SecondaryControls::APIC_REGISTER_VIRTUALIZATION),
            delivery: has(SecondaryControls::VIRTUAL_INTERRUPT_DELIVERY),
            x2apic: has(SecondaryControls::VIRTUALIZE_X2APIC_MODE),
        }
    }

    /// What of them is of use now. To an APIC that software has turned off interrupts must not get, and the CPU does not look
    /// at that.
    fn while_enabled(self, software_enabled: bool) -> Self {
        if software_enabled { self } else { Self { registers: false, delivery: false, ..self } }
    }

    /// The secondary controls of a mode. "Virtualize APIC accesses" and "virtualize x2APIC mode" exclude each other.
    fn secondary(self, mode: ApicMode) -> SecondaryControls {
        let mut controls = SecondaryControls::empty();
        controls.set(SecondaryControls::VIRTUALIZE_APIC_ACCESSES, self.accesses && mode == ApicMode::Page);
        controls.set(SecondaryControls::VIRTUALIZE_X2APIC_MODE, self.x2apic && mode == ApicMode::X2apic);
        controls.set(SecondaryControls::APIC_REGISTER_VIRTUALIZATION, self.registers);
        controls.set(SecondaryControls::VIRTUAL_INTERRUPT_DELIVERY, self.delivery);
        controls
    }

    /// The primary controls, of those of a vCPU without a local APIC; `insisted`: those that cannot be 0.
    fn primary(self, controls: PrimaryControls, insisted: PrimaryControls) -> PrimaryControls {
        if !self.tpr_shadow {
            return controls;
        }
        let cr8 = PrimaryControls::CR8_LOAD_EXITING.with(PrimaryControls::CR8_STORE_EXITING);
        controls.without(cr8.without(insisted)).with(PrimaryControls::USE_TPR_SHADOW)
    }
}

/// All controls that this may set.
const SECONDARY: SecondaryControls = SecondaryControls::VIRTUALIZE_APIC_ACCESSES
    .with(SecondaryControls::VIRTUALIZE_X2APIC_MODE)
    .with(SecondaryControls::APIC_REGISTER_VIRTUALIZATION)
    .with(SecondaryControls::VIRTUAL_INTERRUPT_DELIVERY);

/// The interrupts of a local APIC that the CPU delivers: none is injected, and no window asked for.
pub(super) struct DeliveredByHardware<'a, S: FrameSource>(pub(super) Option<&'a LocalApic<S>>);

impl<S: FrameSource> InterruptSource for DeliveredByHardware<'_, S> {
    fn highest(&self) -> Option<u8> {
        None
    }

    fn acknowledge(&mut self, _: u8) {}

    /// While one is requested, an instruction that the library completes may end the shadow that holds it back.
    fn any(&self) -> bool {
        self.0.is_some_and(|apic| apic.requested_and_in_service().0 != 0)
    }
}

impl ApicHardware {
    /// Whether the CPU delivers the interrupts.
    #[inline(always)]
    pub(super) fn delivers(&self) -> bool {
        self.delivers
    }

    /// The bitmap was filled anew.
    pub(super) fn forget_bitmap(&mut self) {
        self.now = None;
    }
}

impl<S: FrameSource> VmxVcpu<S> {
    /// The vCPU has got a local APIC: chooses what the CPU does of it.
    pub(super) fn choose_apic_virtualization(&mut self, wanted: ApicVirtualization) {
        let Some(apic) = self.guest.interrupts.apic() else { return };
        let offered = ApicFeatures::of(self.capabilities, wanted, apic.access_page().is_some());
        let insisted = PrimaryControls::from_bits(self.capabilities.primary.must_be_1);
        let works = |features: ApicFeatures| {
            let primary = features.primary(self.controls.primary, insisted);
            [ApicMode::Page, ApicMode::X2apic, ApicMode::Other].into_iter().all(|mode| {
                let secondary = features.secondary(mode);
                let mut controls: Controls = self.controls.with_secondary(SECONDARY, secondary);
                controls.primary = primary;
                !controls.conflict()
            })
        };
        // What would not go together with another control is left out; the last of these is nothing at all.
        let candidates = [
            offered,
            ApicFeatures { delivery: false, ..offered },
            ApicFeatures { delivery: false, registers: false, x2apic: false, ..offered },
        ];
        let features = candidates.into_iter().find(|features| works(*features)).unwrap_or_default();
        self.controls.primary = features.primary(self.controls.primary, insisted);
        self.local_apic = ApicHardware { features, ..ApicHardware::default() };
    }

    /// Tells the CPU where the local APIC's page is. What changes while the guest runs follows with the first entry.
    pub(super) fn write_apic_fields(&mut self, vmcs: &Vmcs<'_>) {
        let Some(apic) = self.guest.interrupts.apic() else { return };
        if self.local_apic.features.tpr_shadow
            && let Some(witness) = vmcs.has()
        {
            vmcs.write_if(VIRTUAL_APIC_ADDRESS, apic.page_address(), witness);
            vmcs.write_if(TPR_THRESHOLD, 0u32, witness);
            vmcs.write(PRIMARY_PROCESSOR_CONTROLS, self.controls.primary);
        }
        if let (Some(page), Some(witness)) = (apic.access_page(), vmcs.has()) {
            vmcs.write_if(APIC_ACCESS_ADDRESS, page, witness);
        }
        if self.local_apic.features.delivery
            && let Some(witness) = vmcs.has()
        {
            for field in [EOI_EXIT_BITMAP_0, EOI_EXIT_BITMAP_1, EOI_EXIT_BITMAP_2, EOI_EXIT_BITMAP_3] {
                vmcs.write_if(field, 0u64, witness);
            }
        }
        self.local_apic = ApicHardware { features: self.local_apic.features, ..ApicHardware::default() };
    }

    /// What the guest has made of the local APIC decides what the CPU does of it: before the events are planned.
    #[inline]
    pub(super) fn update_apic_mode(&mut self, vmcs: &Vmcs<'_>) {
        let Some(apic) = self.guest.interrupts.apic() else { return };
        let features = self.local_apic.features.while_enabled(apic.is_software_enabled());
        let now = (features, apic.mode());
        if self.local_apic.now != Some(now) {
            self.local_apic.now = Some(now);
            self.set_apic_mode(vmcs, features, now.1);
        }
    }

    /// The CPU is told what software has changed in the local APIC since the last entry: after the events are planned.
    #[inline]
    pub(super) fn update_apic_state(&mut self, vmcs: &Vmcs<'_>) {
        let Some(apic) = self.guest.interrupts.apic() else { return };
        if self.local_apic.delivers {
            let Some(witness) = vmcs.has() else { return };
            let (requested, in_service) = apic.requested_and_in_service();
            let status = GuestInterruptStatus::empty().with_rvi(requested).with_svi(in_service);
            vmcs.write_if(GUEST_INTERRUPT_STATUS, status, witness);
            let ends = apic.level_triggered();
            if ends != self.local_apic.ends {
                self.local_apic.ends = ends;
                let [first, second, third, fourth] = ends;
                vmcs.write_if(EOI_EXIT_BITMAP_0, first, witness);
                vmcs.write_if(EOI_EXIT_BITMAP_1, second, witness);
                vmcs.write_if(EOI_EXIT_BITMAP_2, third, witness);
                vmcs.write_if(EOI_EXIT_BITMAP_3, fourth, witness);
            }
        } else if self.local_apic.features.tpr_shadow {
            // Never above the task priority: such an entry would be refused, or exit at once.
            let threshold = apic.awaited_task_priority();
            if threshold != self.local_apic.threshold
                && let Some(witness) = vmcs.has()
            {
                self.local_apic.threshold = threshold;
                vmcs.write_if(TPR_THRESHOLD, u32::from(threshold), witness);
            }
        }
    }

    #[cold]
    fn set_apic_mode(&mut self, vmcs: &Vmcs<'_>, features: ApicFeatures, mode: ApicMode) {
        self.local_apic.delivers = features.delivery;
        self.set_secondary_of(vmcs, SECONDARY, features.secondary(mode));
        // Without "virtualize x2APIC mode" an open register is the host's.
        let open = features.x2apic && mode == ApicMode::X2apic;
        let frame = &mut self.msr_bitmap;
        for register in READABLE {
            set_exit(frame, register, false, !(open && features.registers));
        }
        for write in [false, true] {
            set_exit(frame, ApicRegister::TASK_PRIORITY, write, !open);
        }
        set_exit(frame, ApicRegister::DIVIDE_CONFIGURATION, false, !(open && features.registers));
        // The CPU keeps this one if it knows which interrupt is in service.
        set_exit(frame, ApicRegister::PROCESSOR_PRIORITY, false, !(open && features.registers && features.delivery));
        for register in [ApicRegister::END_OF_INTERRUPT, ApicRegister::SELF_IPI] {
            set_exit(frame, register, true, !(open && features.delivery));
        }
    }

    /// The task priority fell below the threshold: an interrupt may come through. The instruction is done.
    pub(super) fn task_priority_fell(&mut self) -> Option<VmExit> {
        self.guest.count_local_apic_exit();
        self.guest.events.wake();
        None
    }

    /// An access to the page of the registers that the CPU leaves to the library.
    pub(super) fn apic_access(&mut self, exit: OnExit<'_, payloads::ApicAccess>) -> Option<VmExit> {
        let (vmcs, qualification) = (exit.source(), exit.qualification());
        self.recover_interrupted_event(exit);
        let page = self.guest.interrupts.apic().map(LocalApic::base_page)?;
        let kind = qualification.access_type();
        let is_linear = matches!(
            kind,
            ApicAccessType::LINEAR_READ
                | ApicAccessType::LINEAR_WRITE
                | ApicAccessType::LINEAR_FETCH
                | ApicAccessType::LINEAR_EVENT_DELIVERY
        );
        let offset = if is_linear { u64::from(qualification.offset()) } else { 0 };
        let fault = NestedFault {
            gpa: page << 12 | offset,
            gva: None,
            access: Access {
                read: !matches!(kind, ApicAccessType::LINEAR_WRITE | ApicAccessType::LINEAR_FETCH),
                write: kind == ApicAccessType::LINEAR_WRITE,
                fetch: kind == ApicAccessType::LINEAR_FETCH,
            },
            present: true,
            // Paging structures on this page.
            table_walk: !is_linear,
        };
        if matches!(kind, ApicAccessType::LINEAR_READ | ApicAccessType::LINEAR_WRITE) && self.guest.is_apic_page(&fault)
        {
            return self.apic_page_access(vmcs, fault);
        }
        self.guest.pending = Pending::NestedFault(fault);
        Some(VmExit::NestedPageFault(fault))
    }

    /// The guest has written a register, and the CPU left the value on the page. The instruction is done.
    pub(super) fn apic_write(&mut self, exit: OnExit<'_, payloads::ApicWrite>) -> Option<VmExit> {
        self.guest.count_local_apic_exit();
        let now = self.guest.now();
        let offset = exit.qualification().offset();
        let apic = self.guest.interrupts.apic_mut()?;
        let effect = apic.written_by_hardware(offset, now);
        self.guest.follow_effect(effect)
    }

    /// The guest has ended an interrupt that other interrupt controllers may have to know of. The instruction is done.
    pub(super) fn virtualized_eoi(&mut self, exit: OnExit<'_, payloads::VirtualizedEoi>) -> Option<VmExit> {
        self.guest.count_local_apic_exit();
        let vector = exit.qualification().vector();
        let effect = self.guest.interrupts.apic_mut()?.ended_by_hardware(vector);
        self.guest.follow_effect(effect)
    }
}

/// Whether accesses to a register of the x2APIC exit.
fn set_exit<S: FrameSource>(bitmap: &mut PhysFrame<S>, register: ApicRegister, write: bool, exits: bool) {
    let msr = msr_of(register).0;
    let bit = INTEL_BITMAP.iter().find_map(|range| range.bit(msr, write));
    let Some(bit) = bit.filter(|bit| bit / 8 < memory_addr::PAGE_SIZE_4K) else { return };
    // SAFETY: the byte lies inside the frame, which is ours.
    let byte = unsafe { &mut *bitmap.as_mut_ptr().add(bit / 8) };
    *byte = *byte & !(1 << (bit % 8)) | u8::from(exits) << (bit % 8);
}

/// Whether the CPUs of this machine have "virtualize APIC accesses".
pub(crate) fn has_apic_access_pages() -> bool {
    Capabilities::get()
        .is_ok_and(|capabilities| capabilities.allowed.secondary.contains(SecondaryControls::VIRTUALIZE_APIC_ACCESSES))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: ApicFeatures =
        ApicFeatures { tpr_shadow: true, accesses: true, registers: true, delivery: true, x2apic: true };

    fn offered(primary: PrimaryControls, secondary: SecondaryControls) -> ApicFeatures {
        let mut capabilities = Capabilities::with_everything();
        capabilities.allowed.primary = primary;
        capabilities.allowed.secondary = secondary;
        ApicFeatures::of(&capabilities, ApicVirtualization::Auto, true)
    }

    #[test]
    fn what_the_cpu_has_is_used() {
        let shadow = PrimaryControls::USE_TPR_SHADOW;
        assert_eq!(offered(shadow, SECONDARY), ALL);
        let accesses = SecondaryControls::VIRTUALIZE_APIC_ACCESSES;
        let only_accesses = ApicFeatures { accesses: true, ..ApicFeatures::default() };
        assert_eq!(offered(PrimaryControls::empty(), SECONDARY), only_accesses, "the rest needs the TPR shadow");
        assert_eq!(offered(shadow, accesses), ApicFeatures { tpr_shadow: true, ..only_accesses });
        let nothing = offered(shadow, SecondaryControls::empty());
        assert_eq!(nothing, ApicFeatures { tpr_shadow: true, ..ApicFeatures::default() });
    }

    #[test]
    fn software_and_a_machine_without_the_page() {
        let everything = Capabilities::with_everything();
        let of = |wanted, page| ApicFeatures::of(&everything, wanted, page);
        assert_eq!(of(ApicVirtualization::Auto, false), ApicFeatures { accesses: false, ..ALL });
        assert_eq!(of(ApicVirtualization::Software, false), ApicFeatures::default());
        let trapped = ApicFeatures { accesses: true, ..ApicFeatures::default() };
        assert_eq!(of(ApicVirtualization::Software, true), trapped, "a page that is mapped exits all the same");
    }

    #[test]
    fn the_modes_exclude_each_other() {
        let (page, x2apic) = (ALL.secondary(ApicMode::Page), ALL.secondary(ApicMode::X2apic));
        assert_eq!(page, SECONDARY.without(SecondaryControls::VIRTUALIZE_X2APIC_MODE));
        assert_eq!(x2apic, SECONDARY.without(SecondaryControls::VIRTUALIZE_APIC_ACCESSES));
        let other = page.without(SecondaryControls::VIRTUALIZE_APIC_ACCESSES);
        assert_eq!(ALL.secondary(ApicMode::Other), other);
    }

    #[test]
    fn cr8_exits_unless_the_cpu_keeps_it() {
        let cr8 = PrimaryControls::CR8_LOAD_EXITING.with(PrimaryControls::CR8_STORE_EXITING);
        let none = PrimaryControls::empty();
        assert_eq!(ApicFeatures::default().primary(cr8, none), cr8);
        assert_eq!(ALL.primary(cr8, none), PrimaryControls::USE_TPR_SHADOW);
        let insists = PrimaryControls::CR8_LOAD_EXITING;
        assert_eq!(ALL.primary(cr8, insists), insists.with(PrimaryControls::USE_TPR_SHADOW));
    }
}
