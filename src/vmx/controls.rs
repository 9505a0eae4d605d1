//! Choosing control bits that this CPU allows: SDM volume 3, appendix "VMX Capability Reporting Facility", "VM-Execution
//! Controls" and the sections after it.

use bitflags::Flags;

use crate::{Error, Result, spec::intel::msrs::VmxControlsCapability};

/// Which settings of a control word a CPU allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    /// The bits that must be 1.
    pub(super) must_be_1: u32,
    /// The bits that may be 1.
    pub(super) may_be_1: u32,
}

impl Allowed {
    /// From the capability MSR's two halves.
    pub(super) const fn from_msr(value: u64) -> Self {
        let capability = VmxControlsCapability::from_bits(value);
        Self { must_be_1: capability.allowed0(), may_be_1: capability.allowed1() }
    }

    /// The word with all of `required`, what there is of `optional`, and what the CPU insists on.
    ///
    /// # Errors
    /// [`Error::MissingControls`] names required bits that are not offered, and bits of `forbidden` that cannot be 0.
    pub(super) fn adjust<W>(self, word: &'static str, required: W, optional: W, forbidden: W) -> Result<W>
    where
        W: Flags<Bits = u32> + Copy,
    {
        let missing = required.bits() & !self.may_be_1;
        let stuck = forbidden.bits() & self.must_be_1;
        for bits in [missing, stuck] {
            if bits != 0 {
                return Err(Error::MissingControls { word, bits: bits.into(), first: name_of::<W>(bits) });
            }
        }
        Ok(W::from_bits_retain(required.bits() | optional.bits() & self.may_be_1 | self.must_be_1))
    }
}

/// The table's name of the lowest of these bits.
fn name_of<W: Flags<Bits = u32>>(bits: u32) -> &'static str {
    let lowest = bits & bits.wrapping_neg();
    W::FLAGS.iter().find(|flag| flag.value().bits() == lowest).map_or("a bit without a name", |flag| flag.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::intel::controls::PinControls;

    const NONE: PinControls = PinControls::empty();
    const TIMER: PinControls = PinControls::ACTIVATE_VMX_PREEMPTION_TIMER;
    const NMI: PinControls = PinControls::NMI_EXITING;

    #[test]
    fn optional_bits_fall_back_and_fixed_bits_stay() {
        let allowed = Allowed { must_be_1: 0x16, may_be_1: 0x16 | NMI.bits() };
        assert_eq!(allowed.adjust("pin", NMI, TIMER, NONE).map(PinControls::bits), Ok(0x16 | NMI.bits()));
    }

    #[test]
    fn a_missing_bit_is_named() {
        let allowed = Allowed { must_be_1: 0, may_be_1: TIMER.bits() };
        let error = allowed.adjust("pin-based VM-execution controls", NMI.with(TIMER), NONE, NONE);
        assert_eq!(
            error,
            Err(Error::MissingControls {
                word: "pin-based VM-execution controls",
                bits: NMI.bits().into(),
                first: "NMI_EXITING"
            })
        );
    }

    #[test]
    fn a_bit_that_cannot_be_0_is_named() {
        let allowed = Allowed { must_be_1: TIMER.bits(), may_be_1: u32::MAX };
        assert!(matches!(
            allowed.adjust("pin", NONE, NONE, TIMER),
            Err(Error::MissingControls { first: "ACTIVATE_VMX_PREEMPTION_TIMER", .. })
        ));
    }
}
