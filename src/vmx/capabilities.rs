//! What this CPU's VMX can do: the capability MSRs of the SDM's appendix "VMX Capability Reporting Facility".

use spin::Once;

use super::controls::Allowed;
use crate::{
    Error, Result,
    host::rdmsr,
    spec::{
        Msr,
        intel::{
            conditions::AllowedControls,
            controls::{EntryControls, ExitControls, PinControls, PrimaryControls, SecondaryControls},
            msrs::{self, *},
        },
        x86::registers::{Cr0, Cr4},
    },
};

/// The VMX capabilities of the CPUs of this machine.
///
/// Read once, when the first CPU is enabled; a CPU whose capabilities differ is refused, so that a vCPU can move freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// IA32_VMX_BASIC.
    pub basic: VmxBasic,
    /// IA32_VMX_MISC.
    pub misc: VmxMisc,
    /// IA32_VMX_EPT_VPID_CAP; empty when there is neither EPT nor VPID.
    pub ept_vpid: EptVpidCap,
    /// The controls that may be 1.
    pub allowed: AllowedControls,
    /// The pin-based controls that may be 1 and that must be 1.
    pub(super) pin: Allowed,
    pub(super) primary: Allowed,
    pub(super) secondary: Allowed,
    pub(super) exit: Allowed,
    pub(super) entry: Allowed,
    /// The bits of CR0 that must be 1 in VMX operation.
    pub cr0_fixed_to_1: Cr0,
    /// The bits of CR0 that may be 1 in VMX operation.
    pub cr0_allowed: Cr0,
    /// The bits of CR4 that must be 1 in VMX operation.
    pub cr4_fixed_to_1: Cr4,
    /// The bits of CR4 that may be 1 in VMX operation.
    pub cr4_allowed: Cr4,
}

static CAPABILITIES: Once<Capabilities> = Once::new();

impl Capabilities {
    /// The capabilities that the enabled CPUs share.
    ///
    /// # Errors
    /// [`Error::BadState`] before the first CPU is enabled.
    pub fn get() -> Result<&'static Self> {
        CAPABILITIES.get().ok_or(Error::BadState("VMX was not enabled on any CPU"))
    }

    /// Reads this CPU's, and makes them those of the machine when it is the first.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when they differ from the first CPU's.
    ///
    /// # Safety
    /// CPUID says that this CPU has VMX.
    pub(super) unsafe fn establish() -> Result<&'static Self> {
        // SAFETY: the caller's promise.
        let own = unsafe { Self::read() };
        let first = CAPABILITIES.call_once(|| own);
        if *first == own { Ok(first) } else { Err(Error::Unsupported("CPUs whose VMX capabilities differ")) }
    }

    /// # Safety
    /// CPUID says that this CPU has VMX.
    unsafe fn read() -> Self {
        // SAFETY: with VMX the registers from IA32_VMX_BASIC to IA32_VMX_VMCS_ENUM exist; the others are read only when a
        // control or bit announces them, as the appendix says.
        unsafe {
            let basic = VmxBasic::from_bits(rdmsr(IA32_VMX_BASIC));
            let is_true = basic.contains(VmxBasic::TRUE_CONTROLS);
            let choose = |plain: Msr, with_true: Msr| Allowed::from_msr(rdmsr(if is_true { with_true } else { plain }));
            let pin = choose(IA32_VMX_PINBASED_CTLS, IA32_VMX_TRUE_PINBASED_CTLS);
            let primary = choose(IA32_VMX_PROCBASED_CTLS, IA32_VMX_TRUE_PROCBASED_CTLS);
            let exit = choose(IA32_VMX_EXIT_CTLS, IA32_VMX_TRUE_EXIT_CTLS);
            let entry = choose(IA32_VMX_ENTRY_CTLS, IA32_VMX_TRUE_ENTRY_CTLS);
            let mut allowed = AllowedControls {
                pin: PinControls::from_bits(pin.may_be_1),
                primary: PrimaryControls::from_bits(primary.may_be_1),
                exit: ExitControls::from_bits(exit.may_be_1),
                entry: EntryControls::from_bits(entry.may_be_1),
                ..AllowedControls::default()
            };
            let secondary = if allowed.primary.contains(PrimaryControls::ACTIVATE_SECONDARY_CONTROLS) {
                Allowed::from_msr(rdmsr(IA32_VMX_PROCBASED_CTLS2))
            } else {
                Allowed::default()
            };
            allowed.secondary = SecondaryControls::from_bits(secondary.may_be_1);
            let has_tags = SecondaryControls::ENABLE_EPT.with(SecondaryControls::ENABLE_VPID);
            let ept_vpid = if allowed.secondary.intersects(has_tags) { rdmsr(IA32_VMX_EPT_VPID_CAP) } else { 0 };
            if allowed.primary.contains(PrimaryControls::ACTIVATE_TERTIARY_CONTROLS) {
                allowed.tertiary = FromBits::from_bits(rdmsr(IA32_VMX_PROCBASED_CTLS3));
            }
            if allowed.exit.contains(ExitControls::ACTIVATE_SECONDARY_CONTROLS) {
                allowed.exit2 = FromBits::from_bits(rdmsr(IA32_VMX_EXIT_CTLS2));
            }
            if allowed.secondary.contains(SecondaryControls::ENABLE_VM_FUNCTIONS) {
                allowed.vmfunc = FromBits::from_bits(rdmsr(IA32_VMX_VMFUNC));
            }
            allowed.read_cpuid(crate::cpu::cpuid);
            Self {
                basic,
                misc: VmxMisc::from_bits(rdmsr(IA32_VMX_MISC)),
                ept_vpid: EptVpidCap::from_bits(ept_vpid),
                allowed,
                pin,
                primary,
                secondary,
                exit,
                entry,
                cr0_fixed_to_1: Cr0::from_bits(rdmsr(IA32_VMX_CR0_FIXED0)),
                cr0_allowed: Cr0::from_bits(rdmsr(IA32_VMX_CR0_FIXED1)),
                cr4_fixed_to_1: Cr4::from_bits(rdmsr(IA32_VMX_CR4_FIXED0)),
                cr4_allowed: Cr4::from_bits(rdmsr(IA32_VMX_CR4_FIXED1)),
            }
        }
    }

    /// A CPU that has everything, for tests.
    #[cfg(test)]
    pub(super) fn with_everything() -> Self {
        let any = Allowed { must_be_1: 0, may_be_1: u32::MAX };
        Self {
            basic: VmxBasic::TRUE_CONTROLS
                .with(VmxBasic::INS_OUTS_INFORMATION)
                .with_region_size(4096)
                .with_memory_type(msrs::VmcsMemoryType::WB),
            misc: VmxMisc::empty(),
            ept_vpid: EptVpidCap::from_bits(u64::MAX),
            allowed: AllowedControls {
                pin: PinControls::from_bits(u32::MAX),
                primary: PrimaryControls::from_bits(u32::MAX),
                secondary: SecondaryControls::from_bits(u32::MAX),
                exit: ExitControls::from_bits(u32::MAX),
                entry: EntryControls::from_bits(u32::MAX),
                ..AllowedControls::default()
            },
            pin: any,
            primary: any,
            secondary: any,
            exit: any,
            entry: any,
            cr0_fixed_to_1: Cr0::PE.with(Cr0::NE).with(Cr0::PG),
            cr0_allowed: Cr0::from_bits(u32::MAX.into()),
            cr4_fixed_to_1: Cr4::VMXE,
            cr4_allowed: Cr4::from_bits(u64::MAX),
        }
    }

    /// Whether guests may run without paging and in real mode.
    pub fn unrestricted_guest(&self) -> bool {
        self.allowed.secondary.contains(SecondaryControls::UNRESTRICTED_GUEST)
    }

    /// What the library cannot do without, or the name of what is missing.
    pub(super) fn check(&self) -> Result {
        if self.basic.region_size() == 0 || usize::from(self.basic.region_size()) > memory_addr::PAGE_SIZE_4K {
            return Err(Error::Unsupported("VMCS regions larger than 4 KiB"));
        }
        if self.basic.memory_type() != msrs::VmcsMemoryType::WB {
            return Err(Error::Unsupported("VMCS regions in uncached memory"));
        }
        if !self.allowed.secondary.contains(SecondaryControls::ENABLE_EPT) {
            return Err(Error::Unsupported("extended page tables (EPT)"));
        }
        for (bit, name) in [
            (EptVpidCap::PAGE_WALK_LENGTH_4, "an EPT page-walk length of 4"),
            (EptVpidCap::WB, "write-back memory for EPT paging structures"),
            (EptVpidCap::INVEPT, "INVEPT"),
        ] {
            if !self.ept_vpid.contains(bit) {
                return Err(Error::Unsupported(name));
            }
        }
        if !self.ept_vpid.intersects(EptVpidCap::INVEPT_SINGLE_CONTEXT.with(EptVpidCap::INVEPT_ALL_CONTEXT)) {
            return Err(Error::Unsupported("a type of INVEPT"));
        }
        Ok(())
    }
}

/// The generated words of 64 bits, by what they have in common here.
trait FromBits {
    fn from_bits(bits: u64) -> Self;
}

macro_rules! from_bits {
    ($($word:ty)*) => {$(
        impl FromBits for $word {
            fn from_bits(bits: u64) -> Self {
                Self::from_bits(bits as _)
            }
        }
    )*};
}
from_bits!(
    crate::spec::intel::controls::TertiaryControls
    crate::spec::intel::controls::SecondaryExitControls
    crate::spec::intel::controls::VmFunctionControls
);
