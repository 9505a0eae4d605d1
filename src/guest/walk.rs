//! From a guest's linear addresses to its physical ones, as the CPU's page walk does it.
//!
//! SDM volume 3A, "Paging"; APM volume 2, "Page Translation and Protection". All modes: none, 32-bit with 4 MiB pages, PAE,
//! 4-level and 5-level. Decisions where the manuals leave a choice:
//! - 4 MiB pages reach 40 bits of physical address (PSE-36), bit 21 of their entry is reserved.
//! - 1 GiB pages exist whenever 4-level paging does.
//! - The PK flag of an error code is set whenever the key forbids the access, also beside another reason, as Intel has it.
//! - Accessed and dirty bits are set as for the CPU's own accesses, except for [`LinearAccess::Done`].

#[cfg(test)]
mod tests;

use super::{
    memory::{GuestMemory, MemoryFault},
    protection_keys::Pkru,
};
use crate::{
    frame::FrameSource,
    spec::x86::{
        paging::{Cr3Pae, LargePageEntry, PaeEntry, PageDirectoryEntry4M, PageTableEntry32},
        registers::{Cr0, Cr4, Efer, PageFaultErrorCode, PageTableEntry},
    },
};

/// The registers that decide about a page walk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paging {
    /// CR0 as the CPU uses it for the guest.
    pub cr0: Cr0,
    /// CR3.
    pub cr3: u64,
    /// CR4 as the CPU uses it for the guest.
    pub cr4: Cr4,
    /// EFER; LMA decides between PAE and 4-level paging.
    pub efer: Efer,
    /// The page-directory-pointer-table entries that the CPU holds (VMX: GUEST_PDPTE0 to 3). With `None` PAE paging reads
    /// them from memory.
    pub pdptes: Option<[u64; 4]>,
    /// How many bits physical addresses have, as CPUID tells the guest; bits above are reserved in entries. 0: all 52.
    pub physical_bits: u8,
    /// The guest's PKRU, if CR4.PKE is 1.
    pub pkru: Pkru,
}

/// What is done at a linear address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearAccess {
    /// What the CPU has done itself just before, as fetching the instruction that exited: it had the right to, and the
    /// accessed bits are set.
    Done,
    /// A data read.
    Read(Privilege),
    /// A data write.
    Write(Privilege),
    /// An instruction fetch.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "no emulation fetches what the CPU has not; the walk knows it all the same")
    )]
    Fetch(Privilege),
}

/// On whose behalf an access is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privilege {
    /// CPL is 3.
    pub user: bool,
    /// RFLAGS.AC, which lifts SMAP.
    pub alignment_check: bool,
}

/// A #PF that the guest has to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    /// What becomes its error code.
    pub error_code: PageFaultErrorCode,
    /// What becomes its CR2.
    pub address: u64,
}

/// Why a linear address leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkFault {
    /// The guest's page tables do not allow it.
    PageFault(PageFault),
    /// The guest's page tables themselves cannot be read or marked.
    Memory(MemoryFault),
}

impl From<MemoryFault> for WalkFault {
    fn from(fault: MemoryFault) -> Self {
        Self::Memory(fault)
    }
}

const PRESENT: u64 = PageTableEntry::P.bits();
const WRITABLE: u64 = PageTableEntry::RW.bits();
const USER: u64 = PageTableEntry::US.bits();
const ACCESSED: u64 = PageTableEntry::A.bits();
const DIRTY: u64 = PageTableEntry::D.bits();
const LARGE: u64 = PageTableEntry::PS.bits();
const NO_EXECUTE: u64 = PageTableEntry::NX.bits();
const ADDRESS: u64 = PageTableEntry::ADDRESS_PAGE_MASK.bits();

const ADDRESS_32: u32 = PageTableEntry32::ADDRESS_PAGE_MASK.bits();
const LARGE_PAT: u64 = LargePageEntry::PAT.bits();
/// Ignored in long mode.
const PAE_RESERVED: u64 = PaeEntry::MUST_BE_ZERO_MASK.bits();

/// How often a walk starts again because another CPU changed an entry between its being read and its being marked. Whoever
/// keeps changing entries under its own accesses goes without marks.
const ATTEMPTS: u32 = 4;

/// What a walk found.
struct Found {
    gpa: u64,
    /// All entries ANDed, with NX inverted: a set bit permits.
    all: u64,
    /// The leaf entry.
    leaf: u64,
}

/// A mask of so many bits, below 64.
#[inline(always)]
fn low_bits(count: u32) -> u64 {
    1u64.wrapping_shl(count).wrapping_sub(1)
}

/// No guest-physical address.
const NOWHERE: u64 = u64::MAX;

impl Paging {
    /// Whether 64-bit or compatibility mode is active.
    #[inline]
    pub fn long_mode(&self) -> bool {
        self.efer.contains(Efer::LMA)
    }

    /// Finds the guest-physical address of a linear one. It is valid to the end of its 4 KiB page.
    ///
    /// The caller has checked that the address is canonical; outside long mode only the low 32 bits count.
    ///
    /// # Errors
    /// The #PF that the access has to raise, or the part of guest memory that stood in the way.
    #[inline(always)]
    pub fn translate<S: FrameSource>(
        &self,
        memory: &mut GuestMemory<'_, S>,
        linear: u64,
        access: LinearAccess,
    ) -> Result<u64, WalkFault> {
        if !self.cr0.contains(Cr0::PG) {
            return Ok(linear & 0xffff_ffff);
        }
        if access == LinearAccess::Done && self.long_mode() {
            let gpa = self.walk_executed(memory, linear);
            if gpa != NOWHERE {
                return Ok(gpa);
            }
        }
        self.translate_checked(memory, linear, access)
    }

    /// [`Paging::translate`] for everything that is paged, but the executed instruction of a 64-bit guest.
    #[inline(never)]
    fn translate_checked<S: FrameSource>(
        &self,
        memory: &mut GuestMemory<'_, S>,
        linear: u64,
        access: LinearAccess,
    ) -> Result<u64, WalkFault> {
        let found = self.walk(memory, linear, access, false)?;
        if access == LinearAccess::Done {
            return Ok(found.gpa);
        }
        self.check(&found, linear, access)?;
        let wanted = if matches!(access, LinearAccess::Write(_)) { ACCESSED | DIRTY } else { ACCESSED };
        if found.all & ACCESSED != 0 && found.leaf & wanted == wanted {
            return Ok(found.gpa);
        }
        self.translate_and_mark(memory, linear, access, wanted)
    }

    /// The walk for an instruction that the CPU has just executed in long mode: no rights to check, nothing to mark. This is
    /// what nearly every emulated instruction costs most, so it is kept apart. Gives [`NOWHERE`] for any fault; the general
    /// walk finds out which.
    #[inline(never)]
    fn walk_executed<S: FrameSource>(&self, memory: &mut GuestMemory<'_, S>, linear: u64) -> u64 {
        let mut table = self.cr3 & ADDRESS;
        let mut shift = if self.cr4.contains(Cr4::LA57) { 48 } else { 39 };
        // The bits of the address that are still to be used, at the top.
        let mut index = linear.wrapping_shl(64 - 9 - shift);
        loop {
            let Some(entry) = memory.read_entry(table | (index >> 52 & 0xff8)) else { return NOWHERE };
            // Reserved bits are not asked for: with one, the CPU would not have come here.
            if entry & PRESENT == 0 {
                return NOWHERE;
            }
            table = entry & ADDRESS;
            if shift == 12 {
                return table | linear & 0xfff;
            }
            if entry & LARGE != 0 {
                let offset = low_bits(shift);
                return if shift > 30 { NOWHERE } else { table & !offset | linear & offset };
            }
            index <<= 9;
            shift = shift.wrapping_sub(9);
        }
    }

    /// The second half of [`Paging::translate`], for entries that lack accessed or dirty bits.
    #[cold]
    fn translate_and_mark<S: FrameSource>(
        &self,
        memory: &mut GuestMemory<'_, S>,
        linear: u64,
        access: LinearAccess,
        wanted: u64,
    ) -> Result<u64, WalkFault> {
        for _ in 0..ATTEMPTS {
            self.walk(memory, linear, access, true)?;
            let found = self.walk(memory, linear, access, false)?;
            self.check(&found, linear, access)?;
            if found.all & ACCESSED != 0 && found.leaf & wanted == wanted {
                return Ok(found.gpa);
            }
        }
        let found = self.walk(memory, linear, access, false)?;
        self.check(&found, linear, access)?;
        Ok(found.gpa)
    }

    #[inline]
    fn walk<S: FrameSource>(
        &self,
        memory: &mut GuestMemory<'_, S>,
        linear: u64,
        access: LinearAccess,
        mark: bool,
    ) -> Result<Found, WalkFault> {
        if self.long_mode() {
            let top = if self.cr4.contains(Cr4::LA57) { 48 } else { 39 };
            return self.walk_64(memory, linear, access, mark, self.cr3 & ADDRESS, top, self.reserved());
        }
        let linear = linear & 0xffff_ffff;
        if self.cr4.contains(Cr4::PAE) {
            let index = linear >> 30 & 3;
            let pdpte = match &self.pdptes {
                Some(pdptes) => pdptes[(index & 3) as usize],
                None => memory.read_u64(u64::from(self.cr3 as u32 & Cr3Pae::ADDRESS_PDPT_MASK.bits()) + index * 8)?,
            };
            if pdpte & PRESENT == 0 {
                return Err(self.fault(linear, access, PageFaultErrorCode::empty()));
            }
            self.walk_64(memory, linear, access, mark, pdpte & ADDRESS, 21, self.reserved() | PAE_RESERVED)
        } else {
            self.walk_32(memory, linear, access, mark)
        }
    }

    /// The bits that no entry of 64 bits may have.
    #[inline]
    fn reserved(&self) -> u64 {
        let beyond = match self.physical_bits {
            0 | 52.. => 0,
            bits => ADDRESS & (u64::MAX << bits),
        };
        if self.efer.contains(Efer::NXE) { beyond } else { beyond | NO_EXECUTE }
    }

    /// Walks tables of 512 entries of 64 bits; `top` is the lowest bit of a linear address that selects an entry of `table`.
    #[expect(clippy::too_many_arguments, reason = "two callers, and each argument is a register here")]
    #[inline]
    fn walk_64<S: FrameSource>(
        &self,
        memory: &mut GuestMemory<'_, S>,
        linear: u64,
        access: LinearAccess,
        mark: bool,
        mut table: u64,
        top: u32,
        reserved: u64,
    ) -> Result<Found, WalkFault> {
        let mut all = u64::MAX;
        let mut shift = top;
        loop {
            let at = table | (linear.wrapping_shr(shift) & 0x1ff) << 3;
            let entry = memory.read_u64(at)?;
            if entry & PRESENT == 0 {
                return Err(self.fault(linear, access, PageFaultErrorCode::empty()));
            }
            if entry & reserved != 0 {
                return Err(self.reserved_bit(linear, access));
            }
            all &= entry ^ NO_EXECUTE;
            let leaf = shift == 12 || entry & LARGE != 0;
            if mark {
                let bits = if leaf && matches!(access, LinearAccess::Write(_)) { ACCESSED | DIRTY } else { ACCESSED };
                if entry & bits != bits {
                    // Whether it failed shows in the walk that follows.
                    memory.set_bits_u64(at, entry, bits)?;
                }
            }
            if !leaf {
                table = entry & ADDRESS;
                shift = shift.wrapping_sub(9);
                continue;
            }
            let offset = low_bits(shift);
            if shift != 12 {
                // Levels 4 and 5 have no leaves: the bit is reserved there. In a leaf the address bits below its size are
                // reserved, except the lowest, which is PAT.
                if shift > 30 || entry & ADDRESS & offset & !LARGE_PAT != 0 {
                    return Err(self.reserved_bit(linear, access));
                }
            }
            return Ok(Found { gpa: entry & ADDRESS & !offset | linear & offset, all, leaf: entry });
        }
    }

    /// Walks the two levels of 1024 entries of 32 bits.
    fn walk_32<S: FrameSource>(
        &self,
        memory: &mut GuestMemory<'_, S>,
        linear: u64,
        access: LinearAccess,
        mark: bool,
    ) -> Result<Found, WalkFault> {
        let mut table = u64::from(self.cr3 as u32 & ADDRESS_32);
        let mut all = u64::MAX;
        for shift in [22, 12] {
            let at = table | (linear >> shift & 0x3ff) << 2;
            let value = memory.read_u32(at)?;
            let entry = u64::from(value);
            if entry & PRESENT == 0 {
                return Err(self.fault(linear, access, PageFaultErrorCode::empty()));
            }
            // There is no NX bit: everything may be executed.
            all &= entry | NO_EXECUTE;
            let address = u64::from(value & ADDRESS_32);
            let large = shift == 22 && entry & LARGE != 0 && self.cr4.contains(Cr4::PSE);
            let large_entry = PageDirectoryEntry4M::from_bits(value);
            if large && large_entry.contains(PageDirectoryEntry4M::MUST_BE_ZERO) {
                return Err(self.reserved_bit(linear, access));
            }
            let leaf = large || shift == 12;
            if mark {
                let bits = if leaf && matches!(access, LinearAccess::Write(_)) { ACCESSED | DIRTY } else { ACCESSED };
                if entry & bits != bits {
                    memory.set_bits_u32(at, value, bits as u32)?;
                }
            }
            if large {
                let base = u64::from(large_entry.address_high()) << 32 | u64::from(large_entry.address_low()) << shift;
                if base & self.reserved() & ADDRESS != 0 {
                    return Err(self.reserved_bit(linear, access));
                }
                return Ok(Found { gpa: base | linear & 0x003f_ffff, all, leaf: entry });
            }
            if leaf {
                return Ok(Found { gpa: address | linear & 0xfff, all, leaf: entry });
            }
            table = address;
        }
        // The second round returns; a compiler cannot know.
        Err(self.fault(linear, access, PageFaultErrorCode::empty()))
    }

    /// Checks the rights of a walk that came to an end.
    fn check(&self, found: &Found, linear: u64, access: LinearAccess) -> Result<(), WalkFault> {
        let user_page = found.all & USER != 0;
        let data = match access {
            LinearAccess::Read(privilege) => Some((privilege, false)),
            LinearAccess::Write(privilege) => Some((privilege, true)),
            LinearAccess::Done | LinearAccess::Fetch(_) => None,
        };
        let key_forbids = user_page
            && self.long_mode()
            && self.cr4.contains(Cr4::PKE)
            && data.is_some_and(|(privilege, write)| self.key_forbids(found.leaf, write, privilege.user));
        let smap_forbids = |privilege: Privilege| {
            user_page && !privilege.user && self.cr4.contains(Cr4::SMAP) && !privilege.alignment_check
        };
        let allowed = match access {
            LinearAccess::Done => true,
            LinearAccess::Read(privilege) => (user_page || !privilege.user) && !smap_forbids(privilege),
            LinearAccess::Write(privilege) => {
                let writable = found.all & WRITABLE != 0 || !privilege.user && !self.cr0.contains(Cr0::WP);
                (user_page || !privilege.user) && writable && !smap_forbids(privilege)
            }
            LinearAccess::Fetch(privilege) => {
                let smep_forbids = user_page && !privilege.user && self.cr4.contains(Cr4::SMEP);
                (user_page || !privilege.user) && !smep_forbids && found.all & NO_EXECUTE != 0
            }
        };
        if allowed && !key_forbids {
            return Ok(());
        }
        let key = if key_forbids { PageFaultErrorCode::PK } else { PageFaultErrorCode::empty() };
        Err(self.fault(linear, access, PageFaultErrorCode::P | key))
    }

    /// Whether the protection key of a user page forbids a data access: SDM volume 3, "Protection Keys for User-Mode
    /// Addresses".
    #[cold]
    fn key_forbids(&self, leaf: u64, write: bool, user: bool) -> bool {
        let rights = self.pkru.of_key(PageTableEntry::from_bits(leaf).protection_key());
        rights.access_disable || write && rights.write_disable && (user || self.cr0.contains(Cr0::WP))
    }

    #[cold]
    fn reserved_bit(&self, linear: u64, access: LinearAccess) -> WalkFault {
        self.fault(linear, access, PageFaultErrorCode::P | PageFaultErrorCode::RSVD)
    }

    /// The #PF of an access: `code` says why, and the rest of the error code what was wanted.
    #[cold]
    fn fault(&self, linear: u64, access: LinearAccess, code: PageFaultErrorCode) -> WalkFault {
        let (privilege, write, fetch) = match access {
            LinearAccess::Read(privilege) => (Some(privilege), false, false),
            LinearAccess::Write(privilege) => (Some(privilege), true, false),
            LinearAccess::Fetch(privilege) => (Some(privilege), false, true),
            LinearAccess::Done => (None, false, true),
        };
        let mut error_code = code;
        if write {
            error_code |= PageFaultErrorCode::W;
        }
        if privilege.is_some_and(|privilege| privilege.user) {
            error_code |= PageFaultErrorCode::U;
        }
        // Fetches are told apart only where a fetch can fault for being one.
        let tells_fetches =
            self.cr4.contains(Cr4::SMEP) || self.cr4.contains(Cr4::PAE) && self.efer.contains(Efer::NXE);
        if fetch && tells_fetches {
            error_code |= PageFaultErrorCode::I;
        }
        WalkFault::PageFault(PageFault { error_code, address: linear })
    }
}
