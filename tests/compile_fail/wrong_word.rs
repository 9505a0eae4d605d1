//! A word of another kind, of the right width.

use x86_vcpu::spec::intel::controls::EntryControls;
use x86_vcpu::spec::intel::vmcs::PRIMARY_VM_EXIT_CONTROLS;
use x86_vcpu::vmx::Vmcs;

fn set(vmcs: &Vmcs) {
    vmcs.write(PRIMARY_VM_EXIT_CONTROLS, EntryControls::empty());
}

fn main() {}
