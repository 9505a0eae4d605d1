//! The page of the guest's code that was read last, for CPUs that do not say how long an instruction is.
//!
//! Guests execute CPUID and the like again and again in the same place, and the walks of two page tables are what reading the
//! instruction costs most. So the host's address of the page is kept, as a TLB would keep it: until the nested page table
//! changes (who changes it has to say so) or the guest's control registers do. The guest's own page tables may change without
//! our knowledge, as nobody tells us of INVLPG; therefore the bytes are read anew each time, and only an instruction that is
//! exactly the one that exited, without a prefix, is taken.

use super::{emulation::code_size, run::Code};
use crate::{
    frame::FrameSource,
    guest::{
        decode::{DecodeError, Expected, skip_length, unprefixed_length},
        walk::{LinearAccess, WalkFault},
    },
    spec::amd::vmcb::Vmcb,
};

const PAGE: u64 = memory_addr::PAGE_SIZE_4K as u64;

/// Where it is; the host's address is null when there is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodePage {
    linear: u64,
    cr3: u64,
    host: *const u8,
}

// SAFETY: the address of guest memory, which all CPUs see at the same place.
unsafe impl Send for CodePage {}

impl CodePage {
    /// Nothing is remembered.
    pub(super) const NONE: Self = Self { linear: 0, cr3: 0, host: core::ptr::null() };

    /// The length of the instruction that has just exited, if its page is this one, and it is `expected` without a prefix.
    #[inline(always)]
    pub(super) fn length(&self, vmcb: &Vmcb, expected: Expected) -> Option<u8> {
        let linear = code_size(vmcb).linear(vmcb.cs_base(), vmcb.rip());
        let offset = linear % PAGE;
        if self.host.is_null() || self.linear != linear - offset || self.cr3 != vmcb.cr3() || offset > PAGE - 4 {
            return None;
        }
        // SAFETY: the page was found in the nested page table, and nothing of it was removed since: whoever does calls
        // `forget_nested_translations` before the frame is used for anything else. Four bytes from `offset` lie in it. The
        // guest may write them meanwhile; the read is volatile and of bytes.
        let bytes = unsafe { self.host.add(offset as usize).cast::<[u8; 4]>().read_volatile() };
        unprefixed_length(&bytes, expected)
    }

    /// The same by walking the page tables; the page is remembered. `None` if it is another instruction (by now).
    ///
    /// # Errors
    /// The CPU has fetched this instruction just before, so a fault means that another CPU took the page away since.
    #[cold]
    pub(super) fn length_by_walk<S: FrameSource>(
        code: &mut Code<'_, S>,
        expected: Expected,
    ) -> Result<(Option<u8>, Self), WalkFault> {
        let found = code.decode(|bytes, size| skip_length(bytes, size, expected).ok_or(DecodeError::Truncated))?;
        let gpa = code.paging.translate(&mut code.memory, code.at.linear, LinearAccess::Done)?;
        let page = |address: u64| address & !(PAGE - 1);
        let host = code.memory.code_at(page(gpa))?;
        Ok((found.ok(), Self { linear: page(code.at.linear), cr3: code.paging.cr3, host }))
    }
}
