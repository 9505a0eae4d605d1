//! A handle that loading did not give.

use x86_vcpu::spec::intel::conditions::AllowedControls;
use x86_vcpu::vmx::{Hardware, Vmcs};

fn promise_nothing(allowed: &AllowedControls) -> Vmcs<'_> {
    Vmcs::assume_current(allowed)
}

fn build(allowed: &AllowedControls) -> Vmcs<'_> {
    Vmcs::with_backend(Hardware(()), allowed)
}

fn main() {}
