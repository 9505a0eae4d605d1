//! Which registers and ports a guest reaches without an exit: none, but for the few that the policy names.
//!
//! APM volume 2, "MSR Intercepts" and "I/O Permissions Map".

use core::ops::RangeInclusive;

use super::vcpu::SvmVcpu;
use crate::{
    Result,
    frame::{ContiguousFrames, FrameSource},
    guest::msr::MsrPolicy,
    spec::{
        Msr,
        x86::msrs::{IA32_CSTAR, IA32_FS_BASE, IA32_GS_BASE, IA32_KERNEL_GS_BASE, IA32_LSTAR},
    },
};

/// A bit for each port; accesses of several bytes look at up to three bits behind the last port.
pub(super) type IoMap<S> = ContiguousFrames<3, S>;

/// Two bits for each register of three ranges: the lower for reads, the upper for writes.
pub(super) type MsrMap<S> = ContiguousFrames<2, S>;

/// The registers that are passed through and take canonical addresses only.
pub(super) const ADDRESSES: [Msr; 5] = [IA32_LSTAR, IA32_CSTAR, IA32_FS_BASE, IA32_GS_BASE, IA32_KERNEL_GS_BASE];

/// Every access to a port exits.
pub(super) fn io_map<S: FrameSource>() -> Result<IoMap<S>> {
    IoMap::alloc(u8::MAX)
}

/// Every access to a register exits, but those that the policy passes through. `check_addresses`: the CPU may not.
pub(super) fn fill_msr_map<S: FrameSource>(map: &mut MsrMap<S>, policy: &MsrPolicy, check_addresses: bool) {
    map.fill(u8::MAX);
    let open = |msr: Msr, write: bool| !(check_addresses && write && ADDRESSES.contains(&msr));
    for bit in policy.open_bits_of(open) {
        if let Some(byte) = map.byte_mut(bit / 8) {
            *byte &= !(1 << (bit % 8));
        }
    }
}

impl<S: FrameSource> SvmVcpu<S> {
    /// Lets the guest reach these ports of the host without an exit. An access that touches another port too exits.
    ///
    /// # Errors
    /// None on SVM.
    ///
    /// # Safety
    /// Nothing that can be done to the devices at these ports harms the host: they read and write no memory but the guest's,
    /// and reset nothing.
    pub unsafe fn pass_ports_through(&mut self, ports: RangeInclusive<u16>) -> Result {
        self.set_port_exits(ports, false);
        Ok(())
    }

    /// Makes accesses to these ports exit again.
    pub fn intercept_ports(&mut self, ports: RangeInclusive<u16>) {
        self.set_port_exits(ports, true);
    }

    fn set_port_exits(&mut self, ports: RangeInclusive<u16>, exits: bool) {
        for port in ports.map(usize::from) {
            if let Some(byte) = self.io_map.byte_mut(port / 8) {
                *byte = *byte & !(1 << (port % 8)) | u8::from(exits) << (port % 8);
            }
        }
        // The CPU may have kept parts of the map: writing its address takes the clean bit away.
        self.vmcb.set_iopm_base_pa(self.io_map.address());
    }
}
