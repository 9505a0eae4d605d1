//! A handle, or a witness, taken to another CPU.

use x86_vcpu::spec::intel::conditions::EnableEpt;
use x86_vcpu::vmx::{Vmcs, Witness};

fn to_another_thread<T: Send>() {}
fn from_several_threads<T: Sync>() {}

fn main() {
    to_another_thread::<Vmcs>();
    from_several_threads::<Vmcs>();
    to_another_thread::<Witness<EnableEpt>>();
}
