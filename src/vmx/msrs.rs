//! The registers that neither the VMCS nor the world switch carries: the guest has them from bind to unbind.
//!
//! SYSCALL's registers and KERNEL_GS_BASE are used in ring 3 and by SWAPGS. Host code in ring 0 that only answers exits
//! uses none of them; a host that returns to its own user programs between bind and unbind has to unbind first.

use super::vcpu::VmxVcpu;
use crate::{
    frame::FrameSource,
    host::{rdmsr, wrmsr},
    spec::{
        Msr,
        x86::msrs::{IA32_CSTAR, IA32_FMASK, IA32_KERNEL_GS_BASE, IA32_LSTAR, IA32_STAR},
    },
};

/// The registers, in the order in which their values are kept.
const SWITCHED: [Msr; 5] = [IA32_STAR, IA32_LSTAR, IA32_CSTAR, IA32_FMASK, IA32_KERNEL_GS_BASE];

/// The guest's and the host's values; while the vCPU is bound the guest's are in the CPU.
#[derive(Clone, Copy, Default)]
pub(super) struct SwitchedMsrs {
    guest: [u64; SWITCHED.len()],
    host: [u64; SWITCHED.len()],
}

impl SwitchedMsrs {
    fn exchange(to_save: &mut [u64; SWITCHED.len()], to_load: &[u64; SWITCHED.len()]) {
        for ((msr, save), load) in SWITCHED.into_iter().zip(to_save).zip(to_load) {
            // SAFETY: every CPU with 64-bit mode has these registers. The values were read from them, so they are valid;
            // what they do to the host is this module's subject.
            unsafe {
                *save = rdmsr(msr);
                if *save != *load {
                    wrmsr(msr, *load);
                }
            }
        }
    }
}

impl<S: FrameSource> VmxVcpu<S> {
    /// Gives the registers to the guest.
    pub(super) fn load_msrs(&mut self) {
        SwitchedMsrs::exchange(&mut self.msrs.host, &self.msrs.guest);
    }

    /// Gives the registers back to the host.
    pub(super) fn store_msrs(&mut self) {
        SwitchedMsrs::exchange(&mut self.msrs.guest, &self.msrs.host);
    }
}
