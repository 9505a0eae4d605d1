//! A vCPU for tests, on a map in place of a VMCS.

extern crate std;

use super::{Capabilities, MapBackend, Vmcs, VmxVcpu};
use crate::{VcpuConfig, nested::mock::MockFrames};

pub(super) type Vcpu = VmxVcpu<MockFrames>;

/// A CPU that has everything.
pub(super) fn capabilities() -> &'static Capabilities {
    std::boxed::Box::leak(std::boxed::Box::new(Capabilities::with_everything()))
}

/// A vCPU with its fields as after reset.
pub(super) fn vcpu() -> (Vcpu, Vmcs<'static>) {
    let capabilities = capabilities();
    let mut vcpu = Vcpu::with_capabilities(VcpuConfig::new(0), capabilities).expect("frames");
    let vmcs = Vmcs::with_backend(MapBackend::new(), &capabilities.allowed);
    vcpu.write_initial_state(&vmcs, 1).expect("a map takes everything");
    (vcpu, vmcs)
}
