//! Guest memory that appears when it is touched, and the host's frames: none is lost, and running out of them is no
//! catastrophe.

use alloc::format;

use axerrno::AxError;
use x86_vcpu::{Error, StartState, Vcpu, VcpuConfig};

use super::machine::{Machine, unexpected};
use super::{Outcome, Reason, check, no_leak, refused};
use crate::memory::{frame_counts, with_failure_after};
use crate::vm::{GuestMemory, PAGE_MAP, Vm, VmCpu};
use crate::{guests, println};

/// A guest that touches memory which the VMM then maps, readable at first and writable when it writes.
pub fn nested_fault() -> Outcome {
    let vm = Vm::new()?;
    let cpu = VmCpu::on_demand(&vm, 0, guests::nested_fault()).map_err(refused)?;
    Machine { vm, cpu }.run(|_, _, exit| unexpected(&exit))
}

/// Machines that come and go, having run or not: as many frames are given back as were taken.
pub fn frames() -> Outcome {
    let start = frame_counts();
    for round in 0..8 {
        let vm = Vm::new()?;
        let mut cpu = VmCpu::new(&vm, 0, guests::long()).map_err(refused)?;
        if round % 2 == 0 {
            cpu.run(&vm)?;
        }
        if round % 4 == 0 {
            // Dropped while it is bound.
            cpu.inner().bind()?;
        }
        drop(cpu);
        drop(vm);
        no_leak(start, frame_counts())?;
    }
    Ok(())
}

/// Making a machine, once for each allocation that may fail: it says so, and keeps nothing.
pub fn out_of_memory() -> Outcome {
    fn make() -> Result<(), Error> {
        let memory = GuestMemory::new()?;
        let mut vcpu: Vcpu = Vcpu::new(VcpuConfig::new(0))?;
        // SAFETY: what the table maps is the guest's own memory, and both outlive the vCPU, which does not even run.
        unsafe { vcpu.set_nested_root(memory.root()) }?;
        vcpu.start(StartState::Long { entry: guests::ADDRESS, cr3: PAGE_MAP })?;
        vcpu.bind()?;
        vcpu.unbind()
    }

    const MORE_THAN_ENOUGH: u64 = 10_000;
    let start = frame_counts();
    for successes in 0..MORE_THAN_ENOUGH {
        let made = with_failure_after(successes, make);
        no_leak(start, frame_counts())?;
        match made {
            Ok(()) => {
                println!("{successes} allocations; with each of them failing, nothing was lost");
                return through_the_traits(successes);
            }
            Err(Error::NoMemory) => {}
            Err(other) => return Err(Reason::Failed(format!("after {successes} allocations: {other}"))),
        }
    }
    Err(Reason::Failed(format!("{MORE_THAN_ENOUGH} allocations are not enough")))
}

/// The same through the traits of `axvcpu`, up to the number of allocations that is known to suffice.
fn through_the_traits(enough: u64) -> Outcome {
    let start = frame_counts();
    for successes in 0..=enough {
        let made = with_failure_after(successes, || {
            let vm = Vm::new().map_err(AxError::from)?;
            VmCpu::new(&vm, 0, guests::long()).map(drop)
        });
        no_leak(start, frame_counts())?;
        check(matches!(made, Ok(()) | Err(AxError::NoMemory)), || format!("after {successes} allocations: {made:?}"))?;
    }
    Ok(())
}
