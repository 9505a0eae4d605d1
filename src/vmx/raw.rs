//! VMCS fields by their encodings, for a VMM that looks at, or tries, what the library has no method for.

use super::{
    entry::field_info,
    loaded::{Backend, Vmcs},
    vcpu::VmxVcpu,
};
use crate::{
    Error, Result,
    frame::FrameSource,
    spec::{FieldInfo, Width},
};

/// What is known of the field, if this CPU has it.
fn field(vmcs: &Vmcs<'_>, encoding: u32) -> Result<&'static FieldInfo> {
    let field = field_info(encoding).ok_or(Error::InvalidInput("no VMCS field has this encoding"))?;
    if field.exists(vmcs.allowed()) { Ok(field) } else { Err(Error::Unsupported("this VMCS field")) }
}

fn read(vmcs: &Vmcs<'_>, encoding: u32) -> Result<u64> {
    field(vmcs, encoding)?;
    vmcs.backend().try_read(encoding).map_err(|fail| fail.of("VMREAD"))
}

fn write(vmcs: &Vmcs<'_>, encoding: u32, value: u64) -> Result {
    let field = field(vmcs, encoding)?;
    if !field.is_writable() {
        return Err(Error::InvalidInput("this VMCS field is VM-exit information, which is read-only"));
    }
    let widest = match field.width() {
        Width::W16 => u16::MAX.into(),
        Width::W32 => u32::MAX.into(),
        Width::W64 | Width::Natural => u64::MAX,
    };
    if value > widest {
        return Err(Error::InvalidInput("the value is wider than the VMCS field"));
    }
    vmcs.backend().try_write(encoding, value).map_err(|fail| fail.of("VMWRITE"))
}

impl<S: FrameSource> VmxVcpu<S> {
    /// The value of a VMCS field, by its encoding as [`FIELDS`](crate::spec::intel::vmcs::FIELDS) has it. Encodings of the upper halves of 64-bit fields are not
    /// among those.
    ///
    /// The VMCS holds the guest's state as the CPU has it, and not all of it: [`registers`](Self::registers) are kept
    /// elsewhere, and what the guest sees of CR0 and CR4 may differ, see [`system`](Self::system).
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an encoding of no field, [`Error::Unsupported`] for a field that this CPU does not have,
    /// [`Error::Vmx`] when the CPU refuses it nevertheless; and those of [`system`](Self::system).
    pub fn read_vmcs_field(&mut self, encoding: u32) -> Result<u64> {
        self.with_vmcs(|_, vmcs| read(vmcs, encoding))
    }

    /// Writes a VMCS field, by its encoding as [`FIELDS`](crate::spec::intel::vmcs::FIELDS) has it.
    ///
    /// The library does not learn of it. It writes fields itself when it has a reason, and what it remembers of them, it does
    /// not read again; so the value stays in the field until then:
    ///
    /// | fields | written by the library |
    /// |---|---|
    /// | host state | by [`bind`](Self::bind); then CR0, CR3, CR4, FS base and GS base when the host's registers have changed since the last write, RSP and RIP when [`run`](Self::run) is called with another stack than the last time |
    /// | VM-execution controls (pin-based, primary, secondary) | with its own choice of all bits when a window opens or closes, and when the local APIC, open ports or the dirty log ask for another one |
    /// | VM-entry controls, CR0, CR4, their read shadows, EFER | when the guest changes its mode, and by [`set_system`](Self::set_system) |
    /// | VM-entry interruption information, its error code, the instruction length | before an entry that injects; the CPU clears "valid" after any entry that succeeds |
    /// | interruptibility, pending debug exceptions, activity state | when an event is injected, and when an instruction was completed |
    /// | RIP | behind each instruction that was completed |
    /// | EPTP, PML address and index, APIC addresses, TPR threshold, TSC offset and multiplier, preemption timer | by the methods that are about them, and when [`run`](Self::run) finds them due |
    ///
    /// # Errors
    /// Those of [`read_vmcs_field`](Self::read_vmcs_field), and [`Error::InvalidInput`] for VM-exit information and for a value
    /// that is wider than the field.
    ///
    /// # Safety
    /// With the field so, an entry that succeeds does no harm to the host: the guest reaches no memory, register or device that
    /// is not its own, and an exit finds the host as [`run`](Self::run) expects it. That an entry fails does no harm.
    ///
    /// As long as `VM_ENTRY_MSR_LOAD_COUNT` is not 0 and `VM_ENTRY_MSR_LOAD_ADDRESS` is aligned to 16 bytes, there is an area of
    /// so many entries (512 of them count) that the host can read where the frame source's `phys_to_virt` sees it: after an
    /// entry that failed, and to check one, the library looks at it. Whoever writes both writes the address first.
    pub unsafe fn write_vmcs_field(&mut self, encoding: u32, value: u64) -> Result {
        self.with_vmcs(|_, vmcs| write(vmcs, encoding, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        spec::intel::{
            conditions::AllowedControls,
            controls::SecondaryControls,
            vmcs::{EPT_POINTER, EXIT_REASON, GUEST_CS_SELECTOR, GUEST_RIP},
        },
        vmx::MapBackend,
    };

    #[test]
    fn what_the_cpu_has_can_be_read_and_written() {
        let allowed = AllowedControls { secondary: SecondaryControls::ENABLE_EPT, ..AllowedControls::default() };
        let vmcs = Vmcs::with_backend(MapBackend::new(), &allowed);
        for (encoding, value) in [(GUEST_RIP.encoding(), u64::MAX), (EPT_POINTER.encoding(), 0x1000)] {
            assert_eq!(write(&vmcs, encoding, value), Ok(()));
            assert_eq!(read(&vmcs, encoding), Ok(value));
        }
    }

    #[test]
    fn everything_else_is_refused_before_the_cpu_is_asked() {
        let allowed = AllowedControls::default();
        let vmcs = Vmcs::with_backend(MapBackend::new(), &allowed);
        for encoding in [u32::MAX, EPT_POINTER.encoding() | 1, 0x6f00] {
            assert!(matches!(read(&vmcs, encoding), Err(Error::InvalidInput(_))), "{encoding:#x}");
            assert!(matches!(write(&vmcs, encoding, 0), Err(Error::InvalidInput(_))), "{encoding:#x}");
        }
        assert_eq!(read(&vmcs, EPT_POINTER.encoding()), Err(Error::Unsupported("this VMCS field")));
        assert!(matches!(write(&vmcs, EXIT_REASON.encoding(), 0), Err(Error::InvalidInput(_))));
        assert!(read(&vmcs, EXIT_REASON.encoding()).is_ok());
        assert!(matches!(write(&vmcs, GUEST_CS_SELECTOR.encoding(), 0x1_0000), Err(Error::InvalidInput(_))));
    }
}
