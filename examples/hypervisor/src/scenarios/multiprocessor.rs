//! Two host CPUs.

use alloc::format;
use core::sync::atomic::{AtomicBool, Ordering};

use axerrno::AxResult;

use super::fpu::NUMBER_REGISTER;
use super::machine::{Machine, judge, print_output, unexpected};
use super::{Outcome, check, refused};
use crate::vm::{Exit, SCRATCH, Vm, VmCpu};
use crate::{apic, cpu, guests, interrupts, smp};

/// The other CPU.
const OTHER: usize = 1;

/// Two vCPUs of one machine, each on a CPU of its own, at the same time.
pub fn smp() -> Outcome {
    let vm = Vm::new()?;
    let mut first = numbered(&vm, 1)?;
    let mut second = numbered(&vm, 2)?;
    let (here, there) = smp::both(OTHER, || run_to_end(&vm, &mut first), || run_to_end(&vm, &mut second));
    print_output(&first);
    print_output(&second);
    here?;
    there
}

/// A vCPU that changes its CPU whenever it lets the VMM do something.
pub fn migration() -> Outcome {
    let vm = Vm::new()?;
    let vcpu = numbered(&vm, 7)?;
    migrate(&vm, vcpu)
}

/// The same with everything that XSAVE manages.
pub fn vectors_migration() -> Outcome {
    let vm = Vm::new()?;
    let mut vcpu = VmCpu::new(&vm, 3, guests::vectors()).map_err(refused)?;
    vcpu.set_register(NUMBER_REGISTER, 3);
    migrate(&vm, vcpu)
}

fn migrate(vm: &Vm, mut vcpu: VmCpu) -> Outcome {
    let mut elsewhere = false;
    let outcome = loop {
        let exit = if elsewhere { smp::on(OTHER, || vcpu.run(vm))? } else { vcpu.run(vm)? };
        match exit {
            Exit::Yield => elsewhere = !elsewhere,
            Exit::Done(verdict) => break judge(verdict),
            other => {
                if let Err(reason) = unexpected(&other) {
                    break Err(reason);
                }
            }
        }
    };
    print_output(&vcpu);
    outcome
}

/// A guest that never exits, on the other CPU: this one stops it, and tells it to end.
pub fn kick() -> Outcome {
    let Machine { vm, cpu: mut vcpu } = Machine::new(guests::host_timer())?;
    let handle = vcpu.inner().handle();
    let stopped = AtomicBool::new(false);
    let (kicks, outcome) = smp::both(
        OTHER,
        || {
            let mut kicks = 0;
            while !stopped.load(Ordering::Acquire) {
                if let Some(number) = handle.running_on() {
                    handle.request_exit();
                    apic::send(number as u32, interrupts::KICK);
                    kicks += 1;
                }
                apic::pause(100_000);
            }
            kicks
        },
        || {
            let outcome = stop_twice(&vm, &mut vcpu);
            stopped.store(true, Ordering::Release);
            outcome
        },
    );
    print_output(&vcpu);
    outcome?;
    check(kicks > 0, || "nobody kicked".into())
}

/// The guest of the timer scenario, stopped by its two kicks instead.
fn stop_twice(vm: &Vm, vcpu: &mut VmCpu) -> Outcome {
    loop {
        match vcpu.run(vm)? {
            // Take the interrupt, if that is what it was, and let the guest go on.
            Exit::Interrupt => {
                cpu::take_pending_interrupts();
                vm.memory.lock().write_u32(SCRATCH, 1);
            }
            Exit::Yield => {}
            Exit::Done(verdict) => return judge(verdict),
            other => unexpected(&other)?,
        }
    }
}

/// The host gets non-maskable interrupts while its guest spins, which has a handler of its own for them.
pub fn host_nmi() -> Outcome {
    const NMIS: u64 = 3;
    /// Longer than any delivery takes.
    const PATIENCE: usize = 10_000;
    let Machine { vm, cpu: mut vcpu } = Machine::new(guests::host_nmi())?;
    let handle = vcpu.inner().handle();
    let spinning = AtomicBool::new(false);
    let before = interrupts::nmis();
    interrupts::expect_nmis(true);
    let ((), outcome) = smp::both(
        OTHER,
        || {
            let mut sent = 0;
            for _ in 0..PATIENCE {
                if interrupts::nmis() - before == NMIS {
                    break;
                }
                // One at a time: the CPU keeps one more at most.
                if spinning.load(Ordering::Acquire)
                    && interrupts::nmis() - before == sent
                    && let Some(number) = handle.running_on()
                {
                    apic::send_nmi(number as u32);
                    sent += 1;
                }
                apic::pause(100_000);
            }
            // Whether they came or not, the guest shall end.
            vm.memory.lock().write_u32(SCRATCH, 1);
        },
        || vcpu_to_end(&vm, &mut vcpu, || spinning.store(true, Ordering::Release)),
    );
    interrupts::expect_nmis(false);
    print_output(&vcpu);
    outcome?;
    let handled = interrupts::nmis() - before;
    check(handled == NMIS, || format!("the host handled {handled} non-maskable interrupts, not {NMIS}"))
}

fn vcpu_to_end(vm: &Vm, vcpu: &mut VmCpu, yielded: impl Fn()) -> Outcome {
    loop {
        match vcpu.run(vm)? {
            Exit::Yield => yielded(),
            Exit::Interrupt => cpu::take_pending_interrupts(),
            Exit::Done(verdict) => return judge(verdict),
            other => unexpected(&other)?,
        }
    }
}

fn numbered(vm: &Vm, number: usize) -> Result<VmCpu, super::Reason> {
    let mut vcpu = VmCpu::new(vm, number, guests::numbered()).map_err(refused)?;
    vcpu.set_register(NUMBER_REGISTER, number as u64);
    Ok(vcpu)
}

fn run_to_end(vm: &Vm, vcpu: &mut VmCpu) -> Outcome {
    loop {
        let exit: AxResult<Exit> = vcpu.run(vm);
        match exit? {
            Exit::Yield => {}
            Exit::Done(verdict) => return judge(verdict),
            other => unexpected(&other)?,
        }
    }
}
