//! A field that this CPU may not have, without the witness that it does.

use x86_vcpu::spec::intel::structures::EptPointer;
use x86_vcpu::spec::intel::vmcs::EPT_POINTER;
use x86_vcpu::vmx::Vmcs;

fn get(vmcs: &Vmcs) -> EptPointer {
    vmcs.read(EPT_POINTER)
}

fn set(vmcs: &Vmcs) {
    vmcs.write(EPT_POINTER, EptPointer::empty());
}

fn main() {}
