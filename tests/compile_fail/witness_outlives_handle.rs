//! A witness kept for longer than the VMCS is loaded.

use x86_vcpu::spec::intel::conditions::{AllowedControls, EnableEpt};
use x86_vcpu::vmx::{MapBackend, Vmcs, Witness};

fn keep(allowed: &AllowedControls) -> Witness<'_, EnableEpt> {
    let vmcs = Vmcs::with_backend(MapBackend::new(), allowed);
    vmcs.has().unwrap()
}

fn main() {}
