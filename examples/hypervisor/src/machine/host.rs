//! What the library asks of the host while it runs the guest's vCPUs: vCPU n runs on CPU n, and each CPU's timer serves both its
//! vCPU's local APIC and the devices.

use core::sync::atomic::{AtomicU64, Ordering};

use x86_vcpu::VcpuHost;

use crate::cpu::timestamp;
use crate::smp::{self, MAX_CPUS};
use crate::{apic, interrupts};

/// The host.
pub struct Host {
    timers: [Timer; MAX_CPUS],
}

/// A CPU's timer, which only that CPU looks at. All times are those of the time-stamp counter.
struct Timer {
    vcpu: AtomicU64,
    devices: AtomicU64,
    /// What the hardware was last asked for.
    armed: AtomicU64,
}

/// The only one.
pub static HOST: Host = Host { timers: [const { Timer::idle() }; MAX_CPUS] };

const NEVER: u64 = u64::MAX;

impl Timer {
    const fn idle() -> Self {
        Self { vcpu: AtomicU64::new(NEVER), devices: AtomicU64::new(NEVER), armed: AtomicU64::new(NEVER) }
    }

    fn arm(&self) {
        let due = self.vcpu.load(Ordering::Relaxed).min(self.devices.load(Ordering::Relaxed));
        if self.armed.swap(due, Ordering::Relaxed) == due {
            return;
        }
        if due == NEVER {
            apic::stop_timer();
        } else {
            apic::start_timer_once(due);
        }
    }
}

impl Host {
    fn timer(&self) -> Option<&Timer> {
        self.timers.get(smp::number())
    }

    /// Asks for an interrupt on this CPU when something is due for the devices.
    pub fn set_device_timer(&self, due: u64) {
        if let Some(timer) = self.timer() {
            timer.devices.store(due, Ordering::Relaxed);
            timer.arm();
        }
    }

    /// This CPU had an interrupt, perhaps its timer's: what is over is forgotten, and what is not is asked for again.
    pub fn interrupted(&self) {
        let Some(timer) = self.timer() else { return };
        let now = timestamp();
        for due in [&timer.vcpu, &timer.devices] {
            if due.load(Ordering::Relaxed) <= now {
                due.store(NEVER, Ordering::Relaxed);
            }
        }
        timer.armed.store(NEVER, Ordering::Relaxed);
        timer.arm();
    }

    /// Interrupts another CPU.
    pub fn interrupt(&self, cpu: usize) {
        apic::send(cpu as u32, interrupts::KICK);
    }
}

impl VcpuHost for Host {
    fn kick(&self, cpu: usize) {
        self.interrupt(cpu);
    }

    fn wake(&self, apic_id: u32) {
        self.interrupt(apic_id as usize);
    }

    fn set_timer(&self, deadline: Option<u64>) {
        if let Some(timer) = self.timer() {
            timer.vcpu.store(deadline.unwrap_or(NEVER), Ordering::Relaxed);
            timer.arm();
        }
    }
}
