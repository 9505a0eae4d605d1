//! A vCPU that is saved, dropped, and restored in a new one again and again: a guest must not notice.

use alloc::vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use spin::Mutex;
use x86_vcpu::{ApicBus, ApicConfig, Error, Result, State, Vcpu, VcpuConfig};

use crate::println;

/// Before every so manieth run; 0: never.
static EVERY: AtomicUsize = AtomicUsize::new(0);
static RUNS: AtomicUsize = AtomicUsize::new(0);
/// How often a vCPU was replaced, and how often it could not be, in the middle of an instruction.
static REPLACED: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// What of a vCPU is not part of its state: how it is made.
pub struct Make {
    /// How it is created.
    pub config: VcpuConfig,
    /// Its local APIC, and the bus.
    pub apic: Option<(ApicConfig, ApicBus)>,
    /// The root of its nested page table.
    pub root: memory_addr::PhysAddr,
    /// Whether it is bound to this CPU.
    pub bound: bool,
}

/// Runs `f` while every vCPU is replaced before every so manieth run. The result is that of `f`, how often a vCPU was replaced, and how often
/// it could not be.
pub fn while_replacing<R>(every: usize, f: impl FnOnce() -> R) -> (R, usize, usize) {
    REPLACED.store(0, Ordering::Relaxed);
    REFUSED.store(0, Ordering::Relaxed);
    RUNS.store(0, Ordering::Relaxed);
    EVERY.store(every, Ordering::Relaxed);
    let result = f();
    EVERY.store(0, Ordering::Relaxed);
    (result, REPLACED.load(Ordering::Relaxed), REFUSED.load(Ordering::Relaxed))
}

/// How many runs it is until a vCPU is to be stopped.
static LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Whether it is stopped where it halts, and nowhere else.
static AT_HALT: AtomicBool = AtomicBool::new(false);
/// In which state it is stopped then.
static WHEN: Mutex<fn(&State) -> bool> = Mutex::new(|_| true);

/// Makes the next vCPU stop before that run of its, or the first one later where it can be saved and its state is such.
pub fn suspend_after(runs: usize, when: fn(&State) -> bool) {
    *WHEN.lock() = when;
    AT_HALT.store(false, Ordering::Relaxed);
    LEFT.store(runs, Ordering::Relaxed);
}

/// Makes the next vCPU stop where it halts and its state is such.
pub fn suspend_halted(when: fn(&State) -> bool) {
    *WHEN.lock() = when;
    AT_HALT.store(true, Ordering::Relaxed);
    LEFT.store(0, Ordering::Relaxed);
}

/// No vCPU stops any more.
pub fn suspend_none() {
    LEFT.store(usize::MAX, Ordering::Relaxed);
}

/// Whether it stops here, before a run.
pub fn is_suspended(vcpu: &mut Vcpu) -> bool {
    !AT_HALT.load(Ordering::Relaxed) && stops(vcpu)
}

/// Whether it stops here, where it halts.
pub fn is_suspended_halted(vcpu: &mut Vcpu) -> bool {
    AT_HALT.load(Ordering::Relaxed) && stops(vcpu)
}

fn stops(vcpu: &mut Vcpu) -> bool {
    match LEFT.load(Ordering::Relaxed) {
        usize::MAX => return false,
        0 => {}
        left => {
            LEFT.store(left - 1, Ordering::Relaxed);
            return false;
        }
    }
    let stops = vcpu.save().is_ok_and(|state| WHEN.lock()(&state));
    if stops {
        suspend_none();
    }
    stops
}

/// Replaces a vCPU, if that is wanted now.
pub fn replace_if_wanted(vcpu: &mut Vcpu, make: impl FnOnce() -> Make) -> Result {
    let every = EVERY.load(Ordering::Relaxed);
    if every != 0 && RUNS.fetch_add(1, Ordering::Relaxed) % every == every - 1 {
        let done = replace(vcpu, &make())?;
        if done { &REPLACED } else { &REFUSED }.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Saves a vCPU to the binary form, drops it, and restores it in a new one. `false`: it is in the middle of an instruction.
pub fn replace(vcpu: &mut Vcpu, make: &Make) -> Result<bool> {
    let state = match vcpu.save() {
        Ok(state) => state,
        Err(Error::BadState(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; state.encoded_len()];
    state.write_to(&mut bytes)?;
    let (cpuid, msrs) = (vcpu.cpuid().clone(), vcpu.msr_policy().clone());
    // The others of the guest's vCPUs go on: the time must too.
    let offset = vcpu.tsc_offset();
    if make.bound {
        vcpu.unbind()?;
    }
    // The old one leaves its bus before the new one comes to it.
    *vcpu = Vcpu::new(make.config)?;
    if let Some((config, bus)) = &make.apic {
        vcpu.add_local_apic(*config, Some(bus))?;
    }
    *vcpu.cpuid_mut() = cpuid;
    vcpu.set_msr_policy(msrs)?;
    // SAFETY: it is the table of the machine that the old vCPU had, which outlives both.
    unsafe { vcpu.set_nested_root(make.root) }?;
    vcpu.restore(&State::read_from(&bytes)?)?;
    vcpu.set_tsc_offset(offset)?;
    if make.bound {
        vcpu.bind()?;
    }
    let again = vcpu.save()?;
    if again.hash() != state.hash() {
        state.differences(&again, |name, values| println!("{name}: {} became {}", values.mine, values.theirs));
        return Err(Error::BadState("the restored vCPU is not what was saved"));
    }
    Ok(true)
}
