//! What the shared emulation reads and writes of the VMCS.

use super::{loaded::Vmcs, payload::OnExit, state::segment, vcpu::VmxVcpu};
use crate::{
    Result,
    exit::{VmExit, Width},
    frame::FrameSource,
    guest::{
        control::ControlState,
        emulation::{Cpu, Progress},
        mmio::Segments,
        protection_keys::Pkru,
        registers::Segment,
        segmentation::{AddressSize, CodeSize, SegmentRegister},
        string_io::StringIo,
        walk::{Paging, Privilege},
    },
    host,
    nested::NestedFormat,
    spec::{
        intel::{
            exit_qualifications::{self, IoQualification},
            msrs::VmxBasic,
            payloads::IoInstruction,
            structures::SegmentAccessRights,
            vmcs::*,
        },
        x86::{
            paging::PaePdpte,
            registers::{Efer, Rflags},
        },
    },
};

/// The guest-state area, for one emulation.
pub(super) struct VmcsCpu<'a> {
    vmcs: &'a Vmcs<'a>,
    control: ControlState,
    physical_bits: u8,
}

impl Segments for VmcsCpu<'_> {
    fn base(&self, register: SegmentRegister) -> u64 {
        self.vmcs.read(match register {
            SegmentRegister::Es => GUEST_ES_BASE,
            SegmentRegister::Cs => GUEST_CS_BASE,
            SegmentRegister::Ss => GUEST_SS_BASE,
            SegmentRegister::Ds => GUEST_DS_BASE,
            SegmentRegister::Fs => GUEST_FS_BASE,
            SegmentRegister::Gs => GUEST_GS_BASE,
        })
    }

    fn segment(&self, register: SegmentRegister) -> Segment {
        segment(self.vmcs, register)
    }
}

impl Cpu for VmcsCpu<'_> {
    const FORMAT: NestedFormat = NestedFormat::Ept;

    fn paging(&self) -> Paging {
        let pdptes = self.control.uses_pae_paging().then(|| {
            self.vmcs.has().map_or([0; 4], |witness| {
                [GUEST_PDPTE0, GUEST_PDPTE1, GUEST_PDPTE2, GUEST_PDPTE3]
                    .map(|field| self.vmcs.read_if(field, witness).bits())
            })
        });
        Paging {
            cr0: self.control.cr0,
            cr3: self.vmcs.read(GUEST_CR3).bits(),
            cr4: self.control.cr4,
            efer: self.control.efer,
            pdptes,
            physical_bits: self.physical_bits,
            pkru: Pkru::Unused,
        }
    }

    fn privilege(&self) -> Privilege {
        // SS.DPL is the CPL in every mode: SDM volume 3, "Checks on Guest Segment Registers".
        let user = self.vmcs.read(GUEST_SS_ACCESS_RIGHTS).dpl() == 3;
        Privilege { user, alignment_check: self.rflags().contains(Rflags::AC) }
    }

    fn code_size(&self) -> CodeSize {
        let rights: SegmentAccessRights = self.vmcs.read(GUEST_CS_ACCESS_RIGHTS);
        CodeSize::new(rights, self.control.efer.contains(Efer::LMA))
    }

    fn rip(&self) -> u64 {
        self.vmcs.read(GUEST_RIP)
    }

    fn rflags(&self) -> Rflags {
        self.vmcs.read(GUEST_RFLAGS)
    }

    fn set_rflags(&mut self, value: Rflags) {
        self.vmcs.write(GUEST_RFLAGS, value);
    }

    fn rsp(&self) -> u64 {
        self.vmcs.read(GUEST_RSP)
    }

    fn set_rsp(&mut self, value: u64) {
        self.vmcs.write(GUEST_RSP, value);
    }
}

impl<S: FrameSource> VmxVcpu<S> {
    pub(super) fn cpu_of<'a>(&self, vmcs: &'a Vmcs<'a>) -> VmcsCpu<'a> {
        VmcsCpu { vmcs, control: self.control_state(vmcs), physical_bits: self.cpuid.physical_bits() }
    }

    /// INS or OUTS.
    #[inline(never)]
    pub(super) fn string_io(
        &mut self,
        exit: OnExit<'_, IoInstruction>,
        qualification: IoQualification,
        width: Width,
    ) -> Option<VmExit> {
        let vmcs = exit.source();
        let input = qualification.contains(IoQualification::DIRECTION_IN);
        let (address_size, segment) = self.string_operands(exit, input);
        let io = StringIo { input, width, repeat: qualification.contains(IoQualification::REP), address_size, segment };
        let length = exit.instruction_length() as u8;
        let cpu = self.cpu_of(vmcs);
        let progress = self.guest.string_io(&cpu, io, qualification.port(), length);
        self.after(vmcs, progress)
    }

    /// The address size and the segment of OUTS, which CPUs report since long; without, what the code's mode says.
    fn string_operands(&self, exit: OnExit<'_, IoInstruction>, input: bool) -> (AddressSize, SegmentRegister) {
        if !self.capabilities.basic.contains(VmxBasic::INS_OUTS_INFORMATION) {
            let size = match self.cpu_of(exit.source()).code_size() {
                CodeSize::Bits16 => AddressSize::Bits16,
                CodeSize::Bits32 => AddressSize::Bits32,
                CodeSize::Bits64 => AddressSize::Bits64,
            };
            return (size, SegmentRegister::Ds);
        }
        let information = exit.instruction_information();
        let size = match information.address_size() {
            exit_qualifications::AddressSize::BITS_16 => AddressSize::Bits16,
            exit_qualifications::AddressSize::BITS_32 => AddressSize::Bits32,
            _ => AddressSize::Bits64,
        };
        // For INS the field is undefined.
        let segment = match information.segment() {
            _ if input => SegmentRegister::Es,
            exit_qualifications::SegmentRegister::ES => SegmentRegister::Es,
            exit_qualifications::SegmentRegister::CS => SegmentRegister::Cs,
            exit_qualifications::SegmentRegister::SS => SegmentRegister::Ss,
            exit_qualifications::SegmentRegister::FS => SegmentRegister::Fs,
            exit_qualifications::SegmentRegister::GS => SegmentRegister::Gs,
            _ => SegmentRegister::Ds,
        };
        (size, segment)
    }

    /// Goes on with the emulation that the VMM was asked for.
    #[inline(never)]
    pub(super) fn resume_emulation(&mut self, vmcs: &Vmcs<'_>) -> Option<VmExit> {
        let mut cpu = self.cpu_of(vmcs);
        let progress = self.guest.resume(&mut cpu);
        self.after(vmcs, progress)
    }

    pub(super) fn after(&mut self, vmcs: &Vmcs<'_>, progress: Progress) -> Option<VmExit> {
        match progress {
            Progress::Exit(exit) => Some(exit),
            Progress::Again => None,
            Progress::Repeat => {
                self.repeat(vmcs);
                None
            }
            Progress::Skip(length) => {
                self.skip_by(vmcs, length.into());
                None
            }
            Progress::Raise(event) => {
                self.guest.events.raise(event);
                None
            }
            Progress::PageFault(fault) => {
                // Inside `run` the guest's CR2 is in the CPU.
                host::set_cr2(fault.address);
                self.guest.events.raise(fault.event());
                None
            }
        }
    }

    pub(super) fn decode_mmio_with(&mut self, vmcs: &Vmcs<'_>) -> Result<VmExit> {
        let mut cpu = self.cpu_of(vmcs);
        self.guest.decode_mmio(&mut cpu)
    }

    /// The guest turned PAE paging on or changed it: the CPU wants the four entries that CR3 points at. SDM volume 3,
    /// "PDPTE Registers".
    pub(super) fn load_pdptes(&mut self, vmcs: &Vmcs<'_>) -> core::result::Result<(), Option<VmExit>> {
        let entries = self.read_pdptes(vmcs.read(GUEST_CR3).bits())?;
        if !self.takes_pdptes(&entries) {
            self.guest.events.raise(crate::Event::general_protection());
            return Err(None);
        }
        write_pdptes(vmcs, entries);
        Ok(())
    }

    /// The four entries that a CR3 points at, in the guest's memory.
    pub(super) fn read_pdptes(&self, cr3: u64) -> core::result::Result<[PaePdpte; 4], Option<VmExit>> {
        let table = cr3 & 0xffff_ffe0;
        let mut entries = [PaePdpte::empty(); 4];
        let Some(mut memory) = self.guest.memory::<VmcsCpu<'_>>() else { return Err(None) };
        for (entry, gpa) in entries.iter_mut().zip((table..).step_by(8)) {
            match memory.read_u64(gpa) {
                Ok(value) => *entry = PaePdpte::from_bits(value),
                Err(fault) => return Err(Some(crate::guest::emulation::nested_fault(&fault))),
            }
        }
        Ok(entries)
    }

    /// Whether the CPU can hold these.
    pub(super) fn takes_pdptes(&self, entries: &[PaePdpte; 4]) -> bool {
        let bits = self.cpuid.physical_bits();
        !entries.iter().any(|entry| has_reserved_bits(*entry, bits))
    }
}

/// What the CPU holds of the four entries of PAE paging, if it does.
pub(super) fn pdptes(vmcs: &Vmcs<'_>) -> Option<[PaePdpte; 4]> {
    let witness = vmcs.has()?;
    Some([GUEST_PDPTE0, GUEST_PDPTE1, GUEST_PDPTE2, GUEST_PDPTE3].map(|field| vmcs.read_if(field, witness)))
}

/// Makes the CPU hold these.
pub(super) fn write_pdptes(vmcs: &Vmcs<'_>, entries: [PaePdpte; 4]) {
    if let Some(witness) = vmcs.has() {
        for (field, entry) in [GUEST_PDPTE0, GUEST_PDPTE1, GUEST_PDPTE2, GUEST_PDPTE3].into_iter().zip(entries) {
            vmcs.write_if(field, entry, witness);
        }
    }
}

/// Whether a present entry has a bit that must be 0, on a CPU with so many physical-address bits.
fn has_reserved_bits(entry: PaePdpte, physical_bits: u8) -> bool {
    let reserved =
        PaePdpte::MUST_BE_ZERO_LOW_MASK.with(PaePdpte::MUST_BE_ZERO_HIGH_MASK).with(PaePdpte::MUST_BE_ZERO_TOP_MASK);
    let beyond = match physical_bits {
        0 | 52.. => 0,
        bits => PaePdpte::ADDRESS_PAGE_MASK.bits() & (u64::MAX << bits),
    };
    entry.contains(PaePdpte::P) && entry.bits() & (reserved.bits() | beyond) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_bits_of_present_entries() {
        let entry = |bits: u64| PaePdpte::from_bits(bits);
        assert!(!has_reserved_bits(entry(0x1_2000 | 0x19), 40));
        for bit in [1, 2, 5, 8, 40, 51, 52, 63] {
            assert!(has_reserved_bits(entry(1 | 1 << bit), 40), "bit {bit}");
            assert!(!has_reserved_bits(entry(1 << bit), 40), "bit {bit} of an absent entry");
        }
        assert!(!has_reserved_bits(entry(1 | 1 << 51), 0));
    }
}
