//! IA32_APIC_BASE: SDM volume 3, "Enabling or Disabling the Local APIC", "x2APIC State Transitions".

use super::{
    LocalApic,
    message::{Addressing, Identity},
};
use crate::{
    frame::FrameSource,
    guest::control::Fault,
    spec::x86::{
        apic::{
            ApicDestinationModel, ApicRegister, DestinationFormat, LocalApicId, LogicalDestination,
            X2apicLogicalDestination,
        },
        msrs::ApicBase,
    },
};

impl<S: FrameSource> LocalApic<S> {
    /// IA32_APIC_BASE.
    pub(crate) fn base(&self) -> u64 {
        self.base.bits()
    }

    /// Whether the local APIC is there at all.
    pub(crate) fn is_enabled(&self) -> bool {
        self.base.contains(ApicBase::GLOBAL_ENABLE)
    }

    /// Whether it is in x2APIC mode.
    pub(crate) fn is_x2apic(&self) -> bool {
        self.base.contains(ApicBase::GLOBAL_ENABLE.with(ApicBase::X2APIC_ENABLE))
    }

    /// The number of the guest's page where the registers are, if they are on one.
    #[cfg(feature = "vmx")]
    pub(crate) fn base_page(&self) -> u64 {
        self.base.address_page()
    }

    /// Whether this is the bootstrap processor.
    pub(crate) fn is_bootstrap(&self) -> bool {
        self.base.contains(ApicBase::BSP)
    }

    /// The offset of a guest-physical address on the page of the registers, if it is there.
    pub(crate) fn offset_of(&self, gpa: u64) -> Option<u16> {
        let here = self.is_enabled() && !self.is_x2apic() && gpa >> 12 == self.base.address_page();
        here.then_some((gpa & 0xfff) as u16)
    }

    /// WRMSR of IA32_APIC_BASE, on a CPU with so many physical-address bits (0: not known).
    ///
    /// The page may move. It is answered where the guest put it, as long as the VMM has mapped nothing there.
    ///
    /// # Errors
    /// #GP(0).
    pub(crate) fn set_base(&mut self, value: u64, physical_bits: u8) -> Result<(), Fault> {
        let new = ApicBase::from_bits(value);
        let mut defined = ApicBase::BSP.with(ApicBase::GLOBAL_ENABLE).with(ApicBase::ADDRESS_PAGE_MASK);
        defined.set(ApicBase::X2APIC_ENABLE, self.config.x2apic);
        let beyond = match physical_bits {
            1..64 => u64::MAX << physical_bits,
            _ => 0,
        };
        if !new.without(defined).is_empty() || value & beyond != 0 {
            return Err(Fault);
        }
        let mode = |base: ApicBase| (base.contains(ApicBase::GLOBAL_ENABLE), base.contains(ApicBase::X2APIC_ENABLE));
        let old = core::mem::replace(&mut self.base, new);
        match (mode(old), mode(new)) {
            (from, to) if from == to => {}
            // x2APIC mode is entered from xAPIC mode alone, and left by turning the APIC off.
            (_, (false, true)) | ((true, true), (true, false)) | ((false, _), (true, true)) => {
                self.base = old;
                return Err(Fault);
            }
            ((true, false), (true, true)) => {
                self.page.write_wide(ApicRegister::INTERRUPT_COMMAND_LOW, 0);
                self.page.write(ApicRegister::INTERRUPT_COMMAND_HIGH, 0);
                self.page.write(ApicRegister::DESTINATION_FORMAT, 0);
                self.write_identity();
            }
            // Turned off or on: the manual lets an APIC that was off come back as after a reset.
            _ => self.reset_registers(),
        }
        self.publish();
        Ok(())
    }

    /// The registers that say who this is, as the mode wants them.
    pub(super) fn write_identity(&mut self) {
        if self.is_x2apic() {
            self.page.write(ApicRegister::ID, self.id);
            self.page.write(ApicRegister::LOGICAL_DESTINATION, x2apic_logical_id(self.id).bits());
        } else {
            self.page.write(ApicRegister::ID, LocalApicId::empty().with_id(self.id as u8).bits());
            self.page.write(ApicRegister::LOGICAL_DESTINATION, 0);
            let format = DestinationFormat::RESERVED_TO_1.with_model(ApicDestinationModel::FLAT);
            self.page.write(ApicRegister::DESTINATION_FORMAT, format.bits());
        }
    }

    pub(super) fn identity(&self) -> Identity {
        let logical = self.page.read(ApicRegister::LOGICAL_DESTINATION);
        if self.is_x2apic() {
            return Identity { id: self.id, logical, addressing: Addressing::X2apic };
        }
        let format = DestinationFormat::from_bits(self.page.read(ApicRegister::DESTINATION_FORMAT));
        Identity {
            id: self.id,
            logical: LogicalDestination::from_bits(logical).logical_id().into(),
            addressing: match format.model() {
                ApicDestinationModel::FLAT => Addressing::Flat,
                ApicDestinationModel::CLUSTER => Addressing::Cluster,
                _ => Addressing::None,
            },
        }
    }
}

/// The logical id in x2APIC mode, which is derived: 16 ids make a cluster.
fn x2apic_logical_id(id: u32) -> X2apicLogicalDestination {
    X2apicLogicalDestination::empty().with_cluster_id((id >> 4) as u16).with_logical_id(1 << (id & 15))
}
