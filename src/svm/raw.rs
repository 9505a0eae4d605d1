//! Bytes of the VMCB by their offsets, for a VMM that looks at, or tries, what the library has no method for.

use memory_addr::PAGE_SIZE_4K;

use super::{code_page::CodePage, vcpu::SvmVcpu, vmcb::VmcbFrame};
use crate::{Error, Result, frame::FrameSource};

/// The offset, if as many bytes of a VMCB are there.
fn place(offset: u32, bytes: u32) -> Result<(usize, usize)> {
    if !matches!(bytes, 1 | 2 | 4 | 8) {
        return Err(Error::InvalidInput("of the VMCB 1, 2, 4 or 8 bytes are read or written"));
    }
    let (offset, bytes) = (offset as usize, bytes as usize);
    match offset.checked_add(bytes) {
        Some(end) if end <= PAGE_SIZE_4K => Ok((offset, bytes)),
        _ => Err(Error::InvalidInput("the offset is behind the end of the VMCB")),
    }
}

pub(super) fn read(vmcb: &[u8; PAGE_SIZE_4K], offset: u32, bytes: u32) -> Result<u64> {
    let (offset, bytes) = place(offset, bytes)?;
    let mut value = [0; 8];
    value.iter_mut().zip(vmcb.iter().skip(offset)).take(bytes).for_each(|(to, from)| *to = *from);
    Ok(u64::from_le_bytes(value))
}

fn write<S: FrameSource>(vmcb: &mut VmcbFrame<S>, offset: u32, bytes: u32, value: u64) -> Result {
    let (offset, bytes) = place(offset, bytes)?;
    if bytes < 8 && value >> (8 * bytes) != 0 {
        return Err(Error::InvalidInput("the value is wider than the bytes of the VMCB"));
    }
    let to = vmcb.bytes_mut().iter_mut().skip(offset).take(bytes);
    to.zip(value.to_le_bytes()).for_each(|(to, from)| *to = from);
    vmcb.mark_all_dirty();
    Ok(())
}

impl<S: FrameSource> SvmVcpu<S> {
    /// 1, 2, 4 or 8 bytes of the VMCB, `offset` bytes from its start: the control area, and from 400H on the state save area.
    ///
    /// It holds the guest's state as the CPU has it, and not all of it: [`registers`](Self::registers) are kept elsewhere (RAX
    /// too), and what the guest sees of CR0, CR4 and EFER may differ, see [`system`](Self::system).
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for another number of bytes, and for bytes behind the VMCB's end.
    pub fn read_vmcb(&self, offset: u32, bytes: u32) -> Result<u64> {
        read(self.vmcb.bytes(), offset, bytes)
    }

    /// Writes 1, 2, 4 or 8 bytes of the VMCB, `offset` bytes from its start. The next entry takes all of the VMCB for changed (no
    /// clean bit is set).
    ///
    /// The library does not learn of it otherwise. It writes members itself when it has a reason, so the value stays until
    /// then:
    ///
    /// | members | written by the library |
    /// |---|---|
    /// | RAX, VMCB clean bits | before each entry |
    /// | TLB_CONTROL, GUEST_ASID | before an entry that forgets translations; TLB_CONTROL after it, too |
    /// | EVENTINJ, V_IRQ and the rest of V_INTR, the intercepts of VINTR, IRET, #DB | when an event is injected, or waits for its window |
    /// | CR0, CR4, EFER and the intercepts that go with them | when the guest changes its mode, and by [`set_system`](Self::set_system) |
    /// | CR2 | by [`set_system`](Self::set_system) and when #PF is injected |
    /// | RIP, RFLAGS, the interrupt shadow | behind each instruction that was completed |
    /// | nCR3, permission maps' addresses, TSC offset | by the methods that are about them |
    /// | exit codes and their information, and the save area | by the CPU, at each exit |
    ///
    /// # Errors
    /// Those of [`read_vmcb`](Self::read_vmcb), and [`Error::InvalidInput`] for a value that has more bytes.
    ///
    /// # Safety
    /// With these bytes so, an entry that succeeds does no harm to the host: the guest reaches no memory, register or device
    /// that is not its own. That an entry fails does no harm.
    pub unsafe fn write_vmcb(&mut self, offset: u32, bytes: u32, value: u64) -> Result {
        write(&mut self.vmcb, offset, bytes, value)?;
        // The CPU has not seen this, and may overwrite it when it refuses it.
        self.proven = false;
        self.code_page = CodePage::NONE;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{nested::mock::MockFrames, spec::amd::vmcb::CleanBits};

    #[test]
    fn what_is_written_is_read_and_no_clean_bit_stays() {
        let mut vmcb = VmcbFrame::<MockFrames>::new().expect("a frame");
        vmcb.mark_all_clean();
        assert_eq!(write(&mut vmcb, 0x578, 8, 0x1234_5678_9abc_def0), Ok(()));
        assert_eq!(vmcb.rip(), 0x1234_5678_9abc_def0);
        assert_eq!(vmcb.clean_bits(), CleanBits::empty());
        assert_eq!(read(vmcb.bytes(), 0x57c, 2), Ok(0x5678));
        assert_eq!(write(&mut vmcb, 0xfff, 1, 0xff), Ok(()));
        assert_eq!(read(vmcb.bytes(), 0xfff, 1), Ok(0xff));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let mut vmcb = VmcbFrame::<MockFrames>::new().expect("a frame");
        for (offset, bytes) in [(0, 0), (0, 3), (0, 16), (0xfff, 2), (0x1000, 1), (u32::MAX, 8)] {
            assert!(matches!(read(vmcb.bytes(), offset, bytes), Err(Error::InvalidInput(_))), "{offset:#x} {bytes}");
            assert!(matches!(write(&mut vmcb, offset, bytes, 0), Err(Error::InvalidInput(_))), "{offset:#x} {bytes}");
        }
        assert!(matches!(write(&mut vmcb, 0x400, 2, 0x1_0000), Err(Error::InvalidInput(_))));
    }
}
