//! A field that this CPU may not have, with the witness for another.

use x86_vcpu::spec::intel::conditions::EnableVpid;
use x86_vcpu::spec::intel::structures::EptPointer;
use x86_vcpu::spec::intel::vmcs::EPT_POINTER;
use x86_vcpu::vmx::Vmcs;

fn get(vmcs: &Vmcs) -> Option<EptPointer> {
    let witness = vmcs.has::<EnableVpid>()?;
    Some(vmcs.read_if(EPT_POINTER, witness))
}

fn main() {}
