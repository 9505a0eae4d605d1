//! What this CPU's SVM can do: APM volume 3, "CPUID Fn8000_000A: SVM Features".

use raw_cpuid::native_cpuid::cpuid_count;

use crate::{
    Error, Result, count,
    spec::{
        amd::msrs::{Cpuid8000000aEax, Cpuid8000000aEdx},
        x86::cpuid::CpuidLeaf,
    },
};

/// The SVM capabilities of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The revision of SVM; there is only 1 so far.
    pub revision: u8,
    /// How many address-space identifiers there are, the host's included.
    pub asids: u32,
    /// The features, those that the library does not use too. What it uses when it is there: `NRIPS` (else instructions are
    /// decoded), `DECODE_ASSISTS` (else control-register accesses are), `FLUSH_BY_ASID` (else a flush takes a new
    /// identifier), `VMCB_CLEAN`.
    pub features: Cpuid8000000aEdx,
}

impl Capabilities {
    /// Those of the CPU that executes this.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when it has no SVM.
    pub fn get() -> Result<Self> {
        count::cpuid();
        if !super::has_hardware_support() || cpuid_count(CpuidLeaf::EXTENDED_MAXIMUM.0, 0).eax < CpuidLeaf::SVM.0 {
            return Err(Error::Unsupported("SVM (CPUID Fn8000_0001 ECX.SVM)"));
        }
        count::cpuid();
        let leaf = cpuid_count(CpuidLeaf::SVM.0, 0);
        Ok(Self {
            revision: Cpuid8000000aEax::from_bits(leaf.eax).svm_revision(),
            asids: leaf.ebx,
            features: Cpuid8000000aEdx::from_bits(leaf.edx),
        })
    }

    /// What the library cannot do without, or the name of what is missing.
    pub(super) fn check(&self) -> Result {
        if self.revision == 0 {
            return Err(Error::Unsupported("a revision of SVM (CPUID Fn8000_000A EAX)"));
        }
        if !self.has(Cpuid8000000aEdx::NP) {
            return Err(Error::Unsupported("nested paging (NP)"));
        }
        // One for the host and one for guests.
        if self.asids < 2 {
            return Err(Error::Unsupported("address-space identifiers (CPUID Fn8000_000A EBX)"));
        }
        Ok(())
    }

    /// Whether the CPU has all of these features.
    pub fn has(&self, features: Cpuid8000000aEdx) -> bool {
        self.features.contains(features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Capabilities = Capabilities { revision: 1, asids: 16, features: Cpuid8000000aEdx::NP };

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(PLAIN.check(), Ok(()));
        let without = |capabilities: Capabilities| capabilities.check().expect_err("something is missing");
        assert_eq!(
            without(Capabilities { features: Cpuid8000000aEdx::empty(), ..PLAIN }),
            Error::Unsupported("nested paging (NP)")
        );
        assert!(matches!(without(Capabilities { asids: 1, ..PLAIN }), Error::Unsupported(_)));
        assert!(matches!(without(Capabilities { revision: 0, ..PLAIN }), Error::Unsupported(_)));
    }
}
