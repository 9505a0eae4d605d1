//! The registers that neither the VMCS or VMCB nor the world switch carries: the guest has them from bind to unbind.
//!
//! They are used in ring 3, by SWAPGS, and by RDTSCP and RDPID. Host code in ring 0 that only answers exits uses none of them;
//! a host that returns to its own user programs between bind and unbind has to unbind first.

use crate::{
    host::{rdmsr, wrmsr},
    spec::{Msr, msr_policy::MsrFeature},
};

/// The guest's and the host's values; while the vCPU is bound the guest's are in the CPU.
pub(crate) struct SwitchedMsrs<const N: usize> {
    msrs: &'static [(Msr, Option<MsrFeature>); N],
    rdtscp: bool,
    guest: [u64; N],
    host: [u64; N],
}

impl<const N: usize> SwitchedMsrs<N> {
    /// All registers of the guest 0, on a CPU that offers RDTSCP or does not.
    pub(crate) const fn new(msrs: &'static [(Msr, Option<MsrFeature>); N], rdtscp: bool) -> Self {
        Self { msrs, rdtscp, guest: [0; N], host: [0; N] }
    }

    /// Gives the registers to the guest.
    pub(crate) fn load(&mut self) {
        Self::exchange(self.msrs, self.rdtscp, &mut self.host, &self.guest);
    }

    /// Gives the registers back to the host.
    pub(crate) fn store(&mut self) {
        Self::exchange(self.msrs, self.rdtscp, &mut self.guest, &self.host);
    }

    /// The guest's value of one, while it is not in the CPU; `None`: it is none of them.
    pub(crate) fn get(&self, msr: Msr) -> Option<u64> {
        self.msrs.iter().zip(self.guest).find(|((known, _), _)| *known == msr).map(|(_, value)| value)
    }

    /// Sets it, to a value that WRMSR takes.
    pub(crate) fn set(&mut self, msr: Msr, value: u64) {
        let place = self.msrs.iter().zip(&mut self.guest).find(|((known, _), _)| *known == msr);
        if let Some((_, place)) = place {
            *place = value;
        }
    }

    fn exchange(msrs: &[(Msr, Option<MsrFeature>); N], rdtscp: bool, to_save: &mut [u64; N], to_load: &[u64; N]) {
        for (((msr, needs), save), load) in msrs.iter().zip(to_save).zip(to_load) {
            let is_there = match needs {
                None => true,
                Some(MsrFeature::Rdtscp) => rdtscp,
            };
            if !is_there {
                continue;
            }
            // SAFETY: every CPU with 64-bit mode has these registers, and IA32_TSC_AUX where it has RDTSCP. The values were
            // read from them, so they are valid; what they do to the host is this module's subject.
            unsafe {
                *save = rdmsr(*msr);
                if *save != *load {
                    wrmsr(*msr, *load);
                }
            }
        }
    }
}
