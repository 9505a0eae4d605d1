//! Writing what only the CPU writes.

use x86_vcpu::spec::intel::vmcs::VM_EXIT_INSTRUCTION_LENGTH;
use x86_vcpu::vmx::Vmcs;

fn set(vmcs: &Vmcs) {
    vmcs.write(VM_EXIT_INSTRUCTION_LENGTH, 2_u32);
}

fn main() {}
