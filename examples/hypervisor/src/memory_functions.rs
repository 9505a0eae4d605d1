//! `memcpy` and its relatives, which the compiler calls by name and a hosted target expects from its C library.
//!
//! Written with string instructions, so that the compiler cannot turn them into calls of themselves.

use core::arch::asm;

/// # Safety
/// As in C: both regions are valid for `length` bytes and do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(target: *mut u8, source: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's promise; eight bytes at a time, then the rest.
    unsafe {
        asm!("rep movsq", "mov ecx, {rest:e}", "rep movsb", rest = in(reg) length & 7,
             inout("rcx") length / 8 => _, inout("rdi") target => _, inout("rsi") source => _,
             options(nostack, preserves_flags));
    }
    target
}

/// # Safety
/// As in C: both regions are valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(target: *mut u8, source: *const u8, length: usize) -> *mut u8 {
    if (target as usize).wrapping_sub(source as usize) >= length {
        // SAFETY: the target begins before the source or after its end, so going upward overwrites nothing unread.
        return unsafe { memcpy(target, source, length) };
    }
    // SAFETY: the caller's promise; downward, because the target begins inside the source.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") length => _,
             inout("rdi") target.wrapping_add(length).wrapping_sub(1) => _,
             inout("rsi") source.wrapping_add(length).wrapping_sub(1) => _, options(nostack));
    }
    target
}

/// # Safety
/// As in C: the region is valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(target: *mut u8, byte: i32, length: usize) -> *mut u8 {
    let pattern = u64::from(byte as u8) * 0x0101_0101_0101_0101;
    // SAFETY: the caller's promise; eight bytes at a time, then the rest.
    unsafe {
        asm!("rep stosq", "mov ecx, {rest:e}", "rep stosb", rest = in(reg) length & 7, in("rax") pattern,
             inout("rcx") length / 8 => _, inout("rdi") target => _, options(nostack, preserves_flags));
    }
    target
}

/// # Safety
/// As in C: both regions are valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    for index in 0..length {
        // SAFETY: the index is inside both regions.
        let (left, right) = unsafe { (left.add(index).read_volatile(), right.add(index).read_volatile()) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}

/// # Safety
/// As in C: both regions are valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { memcmp(left, right, length) }
}

/// # Safety
/// As in C: a NUL-terminated string.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: up to its NUL the string is readable.
    while unsafe { string.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// Named by the prebuilt `core`, which was compiled to unwind. Nothing here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As above.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    crate::cpu::stop()
}
