//! What the shared emulation reads and writes of the VMCB.

use super::{exits::Outcome, state::data_segment, vcpu::SvmVcpu};
use crate::{
    Error, Result,
    exit::{VmExit, Width},
    frame::FrameSource,
    guest::{
        decode::string_operands,
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
        amd::{
            exit_info::{EventInfo, IoioInfo, IoioSegment, SegmentAttributes},
            vmcb::Vmcb,
        },
        x86::registers::{Cr0, Efer, Rflags},
    },
};

/// The state save area, for one emulation.
pub(super) struct VmcbCpu<'a> {
    pub(super) vmcb: &'a mut Vmcb,
    pub(super) physical_bits: u8,
}

impl Segments for VmcbCpu<'_> {
    fn base(&self, register: SegmentRegister) -> u64 {
        match register {
            SegmentRegister::Es => self.vmcb.es_base(),
            SegmentRegister::Cs => self.vmcb.cs_base(),
            SegmentRegister::Ss => self.vmcb.ss_base(),
            SegmentRegister::Ds => self.vmcb.ds_base(),
            SegmentRegister::Fs => self.vmcb.fs_base(),
            SegmentRegister::Gs => self.vmcb.gs_base(),
        }
    }

    fn segment(&self, register: SegmentRegister) -> Segment {
        data_segment(self.vmcb, register)
    }
}

impl Cpu for VmcbCpu<'_> {
    const FORMAT: NestedFormat = NestedFormat::Npt;

    fn paging(&self) -> Paging {
        Paging {
            cr0: self.vmcb.cr0(),
            cr3: self.vmcb.cr3(),
            cr4: self.vmcb.cr4(),
            efer: efer(self.vmcb),
            // With nested paging the CPU reads them from memory at each walk: APM volume 2, "Nested Paging and VMRUN/#VMEXIT".
            pdptes: None,
            physical_bits: self.physical_bits,
            pkru: Pkru::Unused,
        }
    }

    fn privilege(&self) -> Privilege {
        Privilege { user: self.vmcb.cpl() == 3, alignment_check: self.rflags().contains(Rflags::AC) }
    }

    fn code_size(&self) -> CodeSize {
        code_size(self.vmcb)
    }

    fn rip(&self) -> u64 {
        self.vmcb.rip()
    }

    fn rflags(&self) -> Rflags {
        self.vmcb.rflags()
    }

    fn set_rflags(&mut self, value: Rflags) {
        self.vmcb.set_rflags(value);
    }

    fn rsp(&self) -> u64 {
        self.vmcb.rsp()
    }

    fn set_rsp(&mut self, value: u64) {
        self.vmcb.set_rsp(value);
    }
}

/// EFER as the CPU uses it for the guest. LMA is derived, as a CPU may do too: one emulator has changed it already when a MOV to
/// CR0 exits.
pub(super) fn efer(vmcb: &Vmcb) -> Efer {
    let mut efer = vmcb.efer();
    efer.set(Efer::LMA, efer.contains(Efer::LME) && vmcb.cr0().contains(Cr0::PG));
    efer
}

/// What kind of code the guest executes.
#[inline]
pub(super) fn code_size(vmcb: &Vmcb) -> CodeSize {
    let attributes = vmcb.cs_attributes();
    if attributes.contains(SegmentAttributes::L) && efer(vmcb).contains(Efer::LMA) {
        CodeSize::Bits64
    } else if attributes.contains(SegmentAttributes::DB) {
        CodeSize::Bits32
    } else {
        CodeSize::Bits16
    }
}

impl<S: FrameSource> SvmVcpu<S> {
    /// INS or OUTS.
    pub(super) fn string_io(&mut self, info: IoioInfo, width: Width, length: u8) -> Outcome {
        let (address_size, segment) = match self.string_operands(info) {
            Ok(operands) => operands,
            Err(outcome) => return outcome,
        };
        let input = info.contains(IoioInfo::TYPE_IN);
        let io = StringIo { input, width, repeat: info.contains(IoioInfo::REP), address_size, segment };
        let progress = self.with_host_segments(|vcpu| {
            let cpu = VmcbCpu { physical_bits: vcpu.cpuid.physical_bits(), vmcb: &mut vcpu.vmcb };
            vcpu.guest.string_io(&cpu, io, info.port(), length)
        });
        self.after(progress)
    }

    /// The address size and the segment of OUTS. The latter needs decode assists, and not every CPU without fills in the former.
    fn string_operands(&mut self, info: IoioInfo) -> core::result::Result<(AddressSize, SegmentRegister), Outcome> {
        if self.assists.decode.is_some() {
            let size = if info.contains(IoioInfo::ADDRESS16) {
                AddressSize::Bits16
            } else if info.contains(IoioInfo::ADDRESS32) {
                AddressSize::Bits32
            } else {
                AddressSize::Bits64
            };
            let segment = match info.segment() {
                IoioSegment::ES => SegmentRegister::Es,
                IoioSegment::CS => SegmentRegister::Cs,
                IoioSegment::SS => SegmentRegister::Ss,
                IoioSegment::FS => SegmentRegister::Fs,
                IoioSegment::GS => SegmentRegister::Gs,
                _ => SegmentRegister::Ds,
            };
            return Ok((size, segment));
        }
        match self.with_memory(|code| code.decode(string_operands))? {
            Ok(Ok(operands)) => Ok(operands),
            // Another instruction than the one that exited: somebody has changed it meanwhile.
            Ok(Err(_)) => Err(Outcome::Again),
            Err(fault) => Err(self.fetch_failed(fault)),
        }
    }

    /// Goes on with the emulation that the VMM was asked for. The host's segments are loaded.
    #[cold]
    pub(super) fn resume_emulation(&mut self) -> Outcome {
        let mut cpu = VmcbCpu { physical_bits: self.cpuid.physical_bits(), vmcb: &mut self.vmcb };
        let progress = self.guest.resume(&mut cpu);
        self.after(progress)
    }

    /// What an emulation leads to.
    pub(super) fn after(&mut self, progress: Progress) -> Outcome {
        match progress {
            Progress::Exit(exit) => return self.leave(exit),
            Progress::Again => {}
            Progress::Repeat => self.repeat(),
            Progress::Skip(length) => self.skip_by(length),
            Progress::Raise(event) => self.guest.events.raise(event),
            Progress::PageFault(fault) => {
                self.vmcb.set_cr2(fault.address);
                // One emulator does not load it from there.
                host::set_cr2(fault.address);
                self.guest.events.raise(fault.event());
            }
        }
        Outcome::Again
    }

    pub(super) fn decode_mmio_with(&mut self) -> Result<VmExit> {
        // No instruction's access, even where the event is not injected again.
        if self.vmcb.exitintinfo().contains(EventInfo::VALID) {
            return Err(Error::Unsupported("a device as the stack of an event"));
        }
        let mut cpu = VmcbCpu { physical_bits: self.cpuid.physical_bits(), vmcb: &mut self.vmcb };
        self.guest.decode_mmio(&mut cpu)
    }
}
