//! A virtual machine: memory and devices, which its vCPUs share, and the vCPUs.

mod cpu;
mod devices;
mod memory;
pub mod replacement;

use spin::Mutex;
use x86_vcpu::Result;

pub use self::cpu::{Exit, VmCpu};
pub use self::devices::Devices;
pub use self::memory::{GuestMemory, PAGE_MAP, SCRATCH};

/// What the vCPUs of a virtual machine share.
pub struct Vm {
    /// Its memory.
    pub memory: Mutex<GuestMemory>,
    /// Its devices.
    pub devices: Mutex<Devices>,
}

impl Vm {
    /// A virtual machine with the guests' code in its memory.
    pub fn new() -> Result<Self> {
        Ok(Self { memory: Mutex::new(GuestMemory::new()?), devices: Mutex::new(Devices::default()) })
    }
}
