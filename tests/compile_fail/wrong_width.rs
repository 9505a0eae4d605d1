//! A value that is wider than its field.

use x86_vcpu::spec::intel::vmcs::GUEST_CS_SELECTOR;
use x86_vcpu::vmx::Vmcs;

fn set(vmcs: &Vmcs) {
    vmcs.write(GUEST_CS_SELECTOR, 8_u32);
}

fn main() {}
