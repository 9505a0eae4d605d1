//! Per-CPU variables on bare metal: a stand-in for `percpu` 0.2.
//!
//! `percpu` links `std` unless `target_os = "none"`, and this image is built with a hosted target. The macro
//! `def_percpu` does not care; this crate supplies what its output calls. As there, the current CPU's variables are
//! found through the GS base:
//!
//! - the linker gathers the variables in the section `.percpu`, which becomes the pattern;
//! - [`init`] copies the pattern to the CPU's own area, and points GS so that `gs:[address of a variable in the
//!   pattern]` is the variable in the area;
//! - at `gs:[__PERCPU_SELF_PTR]` is the GS base itself, because reading the register is slower.

#![no_std]

use core::arch::asm;
use core::cell::UnsafeCell;
use core::ptr::{addr_of, addr_of_mut, copy_nonoverlapping};

pub use percpu_macros::def_percpu;

/// How many CPUs have an area.
pub const MAX_CPUS: usize = 8;

/// The size of one CPU's area: a bound on the section `.percpu`, which [`init`] checks.
const AREA_SIZE: usize = 4096;

/// IA32_GS_BASE, the model-specific register that holds the base of GS in 64-bit mode.
const GS_BASE: u32 = 0xC000_0101;

/// The GS base of the CPU whose area it is in. The name is known to the macro's output.
///
/// Not zero, or it would be a candidate for `.bss`, whatever section it asks for.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".percpu")]
static mut __PERCPU_SELF_PTR: usize = usize::MAX;

unsafe extern "C" {
    static _percpu_start: u8;
    static _percpu_end: u8;
}

#[repr(align(64))]
struct Areas(UnsafeCell<[[u8; AREA_SIZE]; MAX_CPUS]>);

// SAFETY: an area is written by `init` on its own CPU and afterwards only through per-CPU variables, whose accessors
// ask their callers for exclusion.
unsafe impl Sync for Areas {}

static AREAS: Areas = Areas(UnsafeCell::new([[0; AREA_SIZE]; MAX_CPUS]));

/// What must be added to a variable's address in the pattern, so that it is the variable of CPU `cpu_id`.
///
/// # Panics
/// When `cpu_id` is not below [`MAX_CPUS`].
pub fn percpu_area_base(cpu_id: usize) -> usize {
    assert!(cpu_id < MAX_CPUS, "no per-CPU area for CPU {cpu_id}");
    let area = AREAS.0.get() as usize + cpu_id * AREA_SIZE;
    area.wrapping_sub(addr_of!(_percpu_start) as usize)
}

/// Gives this CPU, which is number `cpu_id`, fresh per-CPU variables, and points GS at them.
///
/// # Panics
/// When `cpu_id` is not below [`MAX_CPUS`], or when there are more variables than an area holds.
///
/// # Safety
/// Called once per CPU, in ring 0, with a number that no other CPU uses.
pub unsafe fn init(cpu_id: usize) {
    let base = percpu_area_base(cpu_id);
    let pattern = addr_of!(_percpu_start);
    let size = addr_of!(_percpu_end) as usize - pattern as usize;
    assert!(size <= AREA_SIZE, "{size} bytes of per-CPU variables are too many");

    // SAFETY: the linker script puts `size` bytes between the two symbols; the area is this CPU's alone (the caller
    // promises the number), large enough (checked above), and distinct from the pattern.
    unsafe { copy_nonoverlapping(pattern, pattern.wrapping_add(base) as *mut u8, size) };
    // SAFETY: the variable's copy in the area that was filled just now.
    unsafe { addr_of_mut!(__PERCPU_SELF_PTR).wrapping_byte_add(base).write(base) };
    // SAFETY: nothing else in the image uses GS; the caller promises ring 0.
    unsafe {
        asm!("wrmsr", in("ecx") GS_BASE, in("eax") base as u32, in("edx") (base >> 32) as u32,
             options(nostack, preserves_flags));
    }
}
