//! What a program without an operating system brings itself.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::asm;
use core::hint::{black_box, spin_loop};
use core::panic::PanicInfo;
use core::ptr::null_mut;

/// Nothing is ever allocated: this image only has to link.
struct NoHeap;

// SAFETY: null says that there is no memory. The optimizer is not to know: it would leave out all that needs some.
unsafe impl GlobalAlloc for NoHeap {
    unsafe fn alloc(&self, _layout: Layout) -> *mut u8 {
        black_box(null_mut())
    }

    unsafe fn dealloc(&self, _pointer: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static HEAP: NoHeap = NoHeap;

#[panic_handler]
fn panic(_info: &PanicInfo) -> ! {
    stop()
}

pub fn stop() -> ! {
    loop {
        spin_loop();
    }
}

/// # Safety
/// As of the C function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller vouches for both ranges. Inline assembly, so that no compiler makes this a call of itself.
    unsafe { asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _) };
    to
}

/// # Safety
/// As of the C function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= length {
        // SAFETY: copying upwards never overwrites what is still to be read.
        return unsafe { memcpy(to, from, length) };
    }
    // SAFETY: as above, downwards.
    unsafe {
        asm!(
            "std", "rep movsb", "cld",
            inout("rcx") length => _,
            inout("rdi") to.wrapping_add(length).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(length).wrapping_sub(1) => _,
        );
    }
    to
}

/// # Safety
/// As of the C function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    // SAFETY: the caller vouches for the range.
    unsafe { asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") byte as u8) };
    to
}

/// # Safety
/// As of the C function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    for index in 0..length {
        // SAFETY: the caller vouches for both ranges. Volatile, so that no compiler makes this a call of itself.
        let (left, right) = unsafe { (left.add(index).read_volatile(), right.add(index).read_volatile()) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}

/// # Safety
/// As of the C function.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    // SAFETY: passed on.
    unsafe { memcmp(left, right, length) }
}
