#![no_std]
#![no_main]
//! An image that holds `axvm` 0.3 and implements nothing but what `axvm`'s embedders implement: `axvisor_api`. That it
//! links says that this `x86_vcpu` asks for nothing else. It is not meant to be run.

mod api;
mod freestanding;

use core::hint::black_box;

use axvm::config::{AxVMConfig, AxVMCrateConfig};

/// Where a loader would start: keeps everything that `axvm` reaches.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".boot")]
extern "C" fn _start() -> ! {
    // SAFETY: nothing else uses the cell.
    let cpu = unsafe { &mut *check_axvm::PER_CPU.0.get() };
    let enabled = cpu.init(0).is_ok() && cpu.hardware_enable().is_ok();
    let ran = enabled && check_axvm::run(AxVMConfig::from(black_box(AxVMCrateConfig::default())));
    let disabled = cpu.hardware_disable().is_ok();
    black_box((ran, disabled));
    freestanding::stop()
}
