//! A handle kept for longer than its VMCS is loaded.

use x86_vcpu::spec::intel::conditions::AllowedControls;
use x86_vcpu::spec::intel::vmcs::GUEST_RIP;
use x86_vcpu::vmx::Vmcs;

fn main() {
    let vmcs;
    {
        let allowed = AllowedControls::default();
        // SAFETY: only compiled, and refused.
        vmcs = unsafe { Vmcs::assume_current(&allowed) };
    }
    vmcs.read(GUEST_RIP);
}
