//! Calls in the wrong order are errors, not accidents.

use alloc::format;

use x86_vcpu::{Error, PhysFrame, Result, StartState, Vcpu, VcpuConfig};

use super::{Outcome, check};
use crate::vm::{GuestMemory, PAGE_MAP};
use crate::{guests, virtualization};

/// The library's own interface, used wrongly.
pub fn misuse() -> Outcome {
    let memory = GuestMemory::new()?;
    let make = || -> Result<Vcpu> {
        let mut vcpu = Vcpu::new(VcpuConfig::new(0))?;
        // SAFETY: what the table maps is the guest's own memory, and both outlive the vCPUs.
        unsafe { vcpu.set_nested_root(memory.root()) }?;
        vcpu.start(StartState::Long { entry: guests::long().entry, cr3: PAGE_MAP })?;
        Ok(vcpu)
    };
    let mut vcpu = make()?;
    bad_state("running an unbound vCPU", vcpu.run())?;
    bad_state("unbinding an unbound vCPU", vcpu.unbind())?;
    bad_state("an answer that nobody waits for", vcpu.complete_read(0))?;
    bad_state("a rejection of nothing", vcpu.reject())?;
    vcpu.bind()?;
    bad_state("binding twice", vcpu.bind())?;
    let mut second = make()?;
    bad_state("binding a second vCPU", second.bind())?;
    vcpu.run()?;
    bad_state("decoding without a fault", vcpu.decode_mmio())?;
    vcpu.unbind()?;
    second.bind()?;
    second.unbind()?;

    let frame: PhysFrame = PhysFrame::alloc()?;
    let crooked = memory_addr::PhysAddr::from(frame.start_paddr().as_usize() + 1);
    // SAFETY: it is refused, and the vCPU does not run any more.
    let answer = unsafe { second.set_nested_root(crooked) };
    check(matches!(answer, Err(Error::InvalidInput(_))), || format!("a crooked root: {answer:?}"))?;

    let answer = virtualization::enable();
    check(answer.is_err(), || "enabling a CPU twice is possible".into())
}

fn bad_state<T: core::fmt::Debug>(what: &str, answer: Result<T>) -> Outcome {
    check(matches!(answer, Err(Error::BadState(_))), || format!("{what}: {answer:?}"))
}
