//! The registers with which a guest starts: SDM volume 3, "Processor State After Reset", and what the modes need.

use super::{
    control::ControlState,
    registers::{DescriptorTable, Segment, StartState, SystemRegisters},
};
use crate::{
    Error, Result,
    spec::{
        intel::structures::SegmentAccessRights,
        x86::{
            paging::{SegmentType, SystemSegmentType},
            registers::{Cr0, Cr4, Efer, Rflags},
        },
    },
};

/// Segment types: SDM volume 3, "Code- and Data-Segment Types", "System-Segment and Gate-Descriptor Types".
pub(super) const DATA: u8 = SegmentType::WRITABLE_OR_READABLE.with(SegmentType::ACCESSED).bits() as u8;
pub(super) const CODE: u8 = DATA | SegmentType::CODE.bits() as u8;
const LDT: u8 = SystemSegmentType::LDT.0;
pub(crate) const BUSY_TSS: u8 = SystemSegmentType::TSS_BUSY.0;

const PRESENT: SegmentAccessRights = SegmentAccessRights::P;
const MEMORY: SegmentAccessRights = PRESENT.with(SegmentAccessRights::S);
const FLAT: SegmentAccessRights = MEMORY.with(SegmentAccessRights::G).with(SegmentAccessRights::DB);

impl SystemRegisters {
    /// The registers for a start in this state.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an entry point that the mode cannot reach.
    pub fn start(state: StartState) -> Result<Self> {
        match state {
            StartState::RealMode { entry } => real_mode(entry),
            StartState::Protected { entry } => Ok(protected(entry)),
            StartState::Long { entry, cr3 } => long(entry, cr3),
        }
    }
}

impl SystemRegisters {
    /// The registers after a start-up message: real mode, at the start of this page. SDM volume 3, "MP Initialization Example".
    pub(crate) fn start_up(page: u8) -> Self {
        real_mode_at(u32::from(page) << 12, u16::from(page) << 8, 0)
    }

    /// The registers after a reset. SDM volume 3, "First Instruction Executed".
    pub(crate) fn reset_vector() -> Self {
        real_mode_at(!0xffff, 0xf000, 0xfff0)
    }
}

fn real_mode(entry: u64) -> Result<SystemRegisters> {
    // As an interrupt vector would: 16 bits of offset, the rest in the base. Of that, what would be the selector's requested
    // privilege level stays in the offset: it means nothing in real mode, and yet one CPU refuses an entry where it is not 0.
    let (base, rip) = if entry < 1 << 16 { (0, entry) } else { (entry & !0x3f, entry & 0x3f) };
    if base >> 32 != 0 {
        return Err(Error::InvalidInput("a real-mode entry point above 4 GiB"));
    }
    let selector = u16::try_from(base >> 4).unwrap_or(0);
    Ok(real_mode_at(base as u32, selector, rip))
}

fn real_mode_at(base: u32, selector: u16, rip: u64) -> SystemRegisters {
    let segment = |kind, base: u32, selector| Segment {
        selector,
        base: base.into(),
        limit: 0xffff,
        rights: MEMORY.with_segment_type(kind),
    };
    let data = segment(DATA, 0, 0);
    SystemRegisters {
        // A code segment in real mode is written as data, and executed all the same.
        cs: segment(CODE, base, selector),
        ss: data,
        ds: data,
        es: data,
        fs: data,
        gs: data,
        gdtr: DescriptorTable { base: 0, limit: 0xffff },
        idtr: DescriptorTable { base: 0, limit: 0xffff },
        cr0: ControlState::RESET.cr0,
        rip,
        ..reset()
    }
}

fn protected(entry: u32) -> SystemRegisters {
    let data = Segment { selector: 0x10, base: 0, limit: u32::MAX, rights: FLAT.with_segment_type(DATA) };
    SystemRegisters {
        cs: Segment { selector: 8, rights: FLAT.with_segment_type(CODE), ..data },
        ss: data,
        ds: data,
        es: data,
        fs: data,
        gs: data,
        cr0: Cr0::PE.with(Cr0::ET),
        rip: entry.into(),
        ..reset()
    }
}

fn long(entry: u64, cr3: u64) -> Result<SystemRegisters> {
    if cr3 & 0xfff != 0 {
        return Err(Error::InvalidInput("CR3 is not aligned to 4 KiB"));
    }
    if (entry << 16) as i64 >> 16 != entry as i64 {
        return Err(Error::InvalidInput("a 64-bit entry point that is not canonical"));
    }
    let code = MEMORY.with(SegmentAccessRights::G).with(SegmentAccessRights::L);
    Ok(SystemRegisters {
        cs: Segment { selector: 8, base: 0, limit: u32::MAX, rights: code.with_segment_type(CODE) },
        cr0: Cr0::PE.with(Cr0::PG).with(Cr0::ET).with(Cr0::WP),
        cr3,
        cr4: Cr4::PAE.with(Cr4::OSFXSR).with(Cr4::OSXMMEXCPT),
        efer: Efer::LME.with(Efer::LMA),
        rip: entry,
        ..protected(0)
    })
}

/// What all starts share: no LDT, an empty task-state segment, tables at 0.
fn reset() -> SystemRegisters {
    SystemRegisters {
        ldtr: Segment { limit: 0xffff, rights: PRESENT.with_segment_type(LDT), ..Segment::default() },
        tr: Segment { limit: 0xffff, rights: PRESENT.with_segment_type(BUSY_TSS), ..Segment::default() },
        rflags: RFLAGS_FIXED,
        ..SystemRegisters::default()
    }
}

/// The flags that there are, without the bits that are always 1.
pub(super) const DEFINED_FLAGS: Rflags = Rflags::CF
    .with(Rflags::PF)
    .with(Rflags::AF)
    .with(Rflags::ZF)
    .with(Rflags::SF)
    .with(Rflags::TF)
    .with(Rflags::IF)
    .with(Rflags::DF)
    .with(Rflags::OF)
    .with(Rflags::IOPL_MASK)
    .with(Rflags::NT)
    .with(Rflags::RF)
    .with(Rflags::VM)
    .with(Rflags::AC)
    .with(Rflags::VIF)
    .with(Rflags::VIP)
    .with(Rflags::ID);

/// Bit 1 of RFLAGS is always 1.
pub(crate) const RFLAGS_FIXED: Rflags = Rflags::RESERVED_TO_1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_mode_entries() {
        let low = SystemRegisters::start(StartState::RealMode { entry: 0x8000 }).expect("below 64 KiB");
        assert_eq!((low.cs.base, low.cs.selector, low.rip), (0, 0, 0x8000));
        let high = SystemRegisters::start(StartState::RealMode { entry: 0xf_fff8 }).expect("below 1 MiB");
        assert_eq!((high.cs.base, high.cs.selector, high.rip), (0xf_ffc0, 0xfffc, 0x38));
        assert!(SystemRegisters::start(StartState::RealMode { entry: 1 << 32 }).is_err());
    }

    #[test]
    fn long_mode_entries() {
        assert!(SystemRegisters::start(StartState::Long { entry: 1 << 47, cr3: 0 }).is_err());
        assert!(SystemRegisters::start(StartState::Long { entry: 0, cr3: 8 }).is_err());
        let start = SystemRegisters::start(StartState::Long { entry: !0xfff, cr3: 0x1000 }).expect("canonical");
        assert!(start.efer.contains(Efer::LMA) && start.cs.rights.contains(SegmentAccessRights::L));
    }
}
