//! What a guest's write to CR0, CR4, EFER or XCR0 means: the faults that it raises and the state that it leaves.
//!
//! Pure; VMX and SVM apply the result each to its own structure. Intel SDM volume 3, "Control Registers", "Initializing
//! IA-32e Mode", "Switching Out of IA-32e Mode"; AMD APM volume 2, "Long Mode Activation".

use crate::spec::x86::registers::{Cr0, Cr4, Efer, Xcr0};

/// The registers that decide a guest's mode, as the guest sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlState {
    /// CR0.
    pub cr0: Cr0,
    /// CR4.
    pub cr4: Cr4,
    /// EFER.
    pub efer: Efer,
}

/// What a vCPU offers its guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The bits of CR4 that the guest may set.
    pub cr4: Cr4,
    /// The bits of EFER that the guest may set.
    pub efer: Efer,
    /// The bits of XCR0 that the guest may set; empty when it has no XSAVE.
    pub xcr0: Xcr0,
}

/// The write raises #GP(0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// The bits that CR0 has.
pub(crate) const CR0_DEFINED: Cr0 = Cr0::PE
    .with(Cr0::MP)
    .with(Cr0::EM)
    .with(Cr0::TS)
    .with(Cr0::ET)
    .with(Cr0::NE)
    .with(Cr0::WP)
    .with(Cr0::AM)
    .with(Cr0::NW)
    .with(Cr0::CD)
    .with(Cr0::PG);

impl ControlState {
    /// The state after power-up or INIT.
    pub const RESET: Self = Self { cr0: Cr0::ET.with(Cr0::NW).with(Cr0::CD), cr4: Cr4::empty(), efer: Efer::empty() };

    /// Whether the guest uses PAE paging, whose four PDPTEs the CPU holds.
    pub const fn uses_pae_paging(&self) -> bool {
        self.cr0.contains(Cr0::PG) && self.cr4.contains(Cr4::PAE) && !self.efer.contains(Efer::LMA)
    }

    /// Whether the instruction that made this state of `old` loads the PDPTEs from memory: SDM volume 3, "PDPTE Registers". What
    /// changes other bits leaves those alone that the CPU holds.
    pub const fn loads_pdptes(&self, old: &Self) -> bool {
        const CR0: u64 = Cr0::CD.with(Cr0::NW).with(Cr0::PG).bits();
        const CR4: u64 = Cr4::PAE.with(Cr4::PGE).with(Cr4::PSE).with(Cr4::SMEP).bits();
        let changed = (self.cr0.bits() ^ old.cr0.bits()) & CR0 | (self.cr4.bits() ^ old.cr4.bits()) & CR4;
        self.uses_pae_paging() && changed != 0
    }

    /// MOV to CR0 (all 64 bits in 64-bit mode), with CS.L as it stands, whatever the mode. Long mode becomes active with PG and inactive
    /// without.
    pub const fn write_cr0(self, value: u64, cs_long: bool) -> Result<Self, Fault> {
        // Bits 63:32 are reserved: #GP. Reserved bits below are ignored, and ET is always 1.
        if value >> 32 != 0 {
            return Err(Fault);
        }
        let cr0 = Cr0::from_bits(value & CR0_DEFINED.bits()).with(Cr0::ET);
        if cr0.contains(Cr0::PG) && !cr0.contains(Cr0::PE) || cr0.contains(Cr0::NW) && !cr0.contains(Cr0::CD) {
            return Err(Fault);
        }
        let mut efer = self.efer;
        if cr0.contains(Cr0::PG) && !self.cr0.contains(Cr0::PG) && efer.contains(Efer::LME) {
            // Activation: needs PAE, and not from a 64-bit code segment.
            if !self.cr4.contains(Cr4::PAE) || cs_long {
                return Err(Fault);
            }
            efer = efer.with(Efer::LMA);
        }
        if !cr0.contains(Cr0::PG) && self.cr0.contains(Cr0::PG) {
            // Not in 64-bit mode, and not with PCIDs.
            if efer.contains(Efer::LMA) && cs_long || self.cr4.contains(Cr4::PCIDE) {
                return Err(Fault);
            }
            efer = efer.without(Efer::LMA);
        }
        Ok(Self { cr0, efer, ..self })
    }

    /// The value that LMSW writes to CR0: the low four bits are the operand's, but PE cannot be cleared.
    pub const fn load_machine_status_word(self, operand: u16) -> u64 {
        let word = Cr0::PE.with(Cr0::MP).with(Cr0::EM).with(Cr0::TS);
        self.cr0.bits() & !word.without(Cr0::PE).bits() | operand as u64 & word.bits()
    }

    /// MOV to CR4, with the guest's CR3.
    pub const fn write_cr4(self, value: u64, offered: Offered, cr3: u64) -> Result<Self, Fault> {
        let cr4 = Cr4::from_bits(value);
        if !offered.cr4.contains(cr4) {
            return Err(Fault);
        }
        let long = self.efer.contains(Efer::LMA);
        if long && !cr4.contains(Cr4::PAE) {
            return Err(Fault);
        }
        // The depth of the page tables cannot change under a long-mode guest.
        if long && cr4.contains(Cr4::LA57) != self.cr4.contains(Cr4::LA57) {
            return Err(Fault);
        }
        if cr4.contains(Cr4::PCIDE) && !self.cr4.contains(Cr4::PCIDE) && (!long || cr3 & 0xfff != 0) {
            return Err(Fault);
        }
        Ok(Self { cr4, ..self })
    }

    /// WRMSR of IA32_EFER. LMA is the CPU's: what the guest writes there is ignored.
    pub const fn write_efer(self, value: u64, offered: Offered) -> Result<Self, Fault> {
        let efer = Efer::from_bits(value).without(Efer::LMA);
        if !offered.efer.contains(efer) {
            return Err(Fault);
        }
        if self.cr0.contains(Cr0::PG) && efer.contains(Efer::LME) != self.efer.contains(Efer::LME) {
            return Err(Fault);
        }
        let active = self.efer.contains(Efer::LMA);
        Ok(Self { efer: if active { efer.with(Efer::LMA) } else { efer }, ..self })
    }
}

/// XSETBV of register `index` with `value`; the result is the new XCR0.
pub const fn write_xcr(index: u32, value: u64, offered: Offered) -> Result<Xcr0, Fault> {
    let xcr0 = Xcr0::from_bits(value);
    if index != 0 || !offered.xcr0.contains(xcr0) || !xcr0.contains(Xcr0::X87) {
        return Err(Fault);
    }
    if xcr0.contains(Xcr0::AVX) && !xcr0.contains(Xcr0::SSE) {
        return Err(Fault);
    }
    // The three parts of AVX-512 come together, and need AVX.
    let avx512 = Xcr0::OPMASK.with(Xcr0::ZMM_HI256).with(Xcr0::HI16_ZMM);
    if xcr0.intersects(avx512) && !xcr0.contains(avx512.with(Xcr0::AVX)) {
        return Err(Fault);
    }
    Ok(xcr0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: Offered = Offered {
        cr4: Cr4::PAE.with(Cr4::PGE).with(Cr4::PCIDE).with(Cr4::LA57),
        efer: Efer::SCE.with(Efer::LME).with(Efer::NXE),
        xcr0: Xcr0::X87.with(Xcr0::SSE).with(Xcr0::AVX),
    };
    const PAGED: u64 = Cr0::PG.with(Cr0::PE).bits();

    fn long_mode() -> ControlState {
        ControlState::RESET
            .write_cr4(Cr4::PAE.bits(), OFFERED, 0)
            .and_then(|state| state.write_efer(Efer::LME.bits(), OFFERED))
            .and_then(|state| state.write_cr0(PAGED, false))
            .expect("the documented sequence")
    }

    #[test]
    fn long_mode_starts_and_ends_with_paging() {
        let long = long_mode();
        assert!(long.efer.contains(Efer::LMA));
        let compatibility = long.write_cr0(Cr0::PE.bits(), false).expect("from compatibility mode");
        assert!(!compatibility.efer.contains(Efer::LMA) && compatibility.efer.contains(Efer::LME));
        assert_eq!(long.write_cr0(Cr0::PE.bits(), true), Err(Fault));
    }

    #[test]
    fn without_lme_paging_is_not_long_mode() {
        let state = ControlState::RESET.write_cr4(Cr4::PAE.bits(), OFFERED, 0).and_then(|s| s.write_cr0(PAGED, false));
        let state = state.expect("PAE paging");
        assert!(!state.efer.contains(Efer::LMA) && state.uses_pae_paging());
        assert!(!long_mode().uses_pae_paging());
    }

    #[test]
    fn pdptes_are_loaded_when_the_manual_says_so() {
        let old = ControlState { cr0: Cr0::from_bits(PAGED), cr4: Cr4::PAE, efer: Efer::empty() };
        for bit in 0..32 {
            let cr0 = ControlState { cr0: Cr0::from_bits(old.cr0.bits() ^ 1 << bit), ..old };
            assert_eq!(cr0.loads_pdptes(&old), matches!(bit, 29 | 30), "CR0, bit {bit}");
            let cr4 = ControlState { cr4: Cr4::from_bits(old.cr4.bits() ^ 1 << bit), ..old };
            assert_eq!(cr4.loads_pdptes(&old), matches!(bit, 4 | 7 | 20), "CR4, bit {bit}");
        }
        let unpaged = ControlState { cr0: Cr0::PE, ..old };
        assert!(old.loads_pdptes(&unpaged) && !unpaged.loads_pdptes(&old));
        assert!(old.loads_pdptes(&ControlState { cr4: Cr4::empty(), ..old }));
    }

    #[test]
    fn cr0_faults() {
        let reset = ControlState::RESET;
        for value in [1 << 32, Cr0::PG.bits(), Cr0::NW.bits()] {
            assert_eq!(reset.write_cr0(value, false), Err(Fault), "{value:#x}");
        }
        let no_pae = reset.write_efer(Efer::LME.bits(), OFFERED).expect("LME without paging");
        assert_eq!(no_pae.write_cr0(PAGED, false), Err(Fault));
        // Reserved bits in the lower half are ignored, ET is 1.
        assert_eq!(reset.write_cr0(0x1ff8_ffc0 & !CR0_DEFINED.bits(), false).map(|s| s.cr0), Ok(Cr0::ET));
    }

    #[test]
    fn cr4_and_efer_faults() {
        let long = long_mode();
        assert_eq!(long.write_cr4(0, OFFERED, 0), Err(Fault));
        assert_eq!(long.write_cr4(Cr4::VMXE.with(Cr4::PAE).bits(), OFFERED, 0), Err(Fault));
        assert_eq!(long.write_cr4(Cr4::PAE.with(Cr4::LA57).bits(), OFFERED, 0), Err(Fault));
        let pcide = Cr4::PAE.with(Cr4::PCIDE).bits();
        assert_eq!(long.write_cr4(pcide, OFFERED, 0x1001), Err(Fault));
        assert!(long.write_cr4(pcide, OFFERED, 0x1000).is_ok());
        assert_eq!(ControlState::RESET.write_cr4(pcide, OFFERED, 0), Err(Fault));
        assert_eq!(long.write_efer(0, OFFERED), Err(Fault));
        assert_eq!(long.write_efer(Efer::LME.with(Efer::SVME).bits(), OFFERED), Err(Fault));
        let kept = long.write_efer(Efer::LME.bits(), OFFERED).expect("unchanged LME");
        assert!(kept.efer.contains(Efer::LMA));
    }

    #[test]
    fn xcr0_faults() {
        assert_eq!(write_xcr(0, 7, OFFERED), Ok(Xcr0::from_bits(7)));
        assert_eq!(write_xcr(0, 1, OFFERED), Ok(Xcr0::X87));
        for (index, value) in [(1, 1), (0, 0), (0, 2), (0, 5), (0, 0xe7), (0, 1 << 62), (0, 9)] {
            assert_eq!(write_xcr(index, value, OFFERED), Err(Fault), "{value:#x}");
        }
    }
}
