//! Segments and the task-state segment: one set per CPU.
//!
//! Every vector has a stack of its own (see [`Stack`]): the prebuilt `core` has a few functions that keep data below the
//! stack pointer, where an interrupt on the same stack would write.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::size_of;

use crate::smp::MAX_CPUS;

/// The selector of 64-bit code.
pub const CODE: u16 = 8;
/// The selector of data.
pub const DATA: u16 = 16;
const TASK_STATE: u16 = 24;

const CODE_DESCRIPTOR: u64 = 0x00AF_9B00_0000_FFFF;
const DATA_DESCRIPTOR: u64 = 0x00CF_9300_0000_FFFF;
/// A 64-bit task-state segment, present, without base and limit.
const TASK_STATE_DESCRIPTOR: u64 = 0x0000_8900_0000_0000;

/// The entries of the interrupt stack table, numbered from 1 as in a gate.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Stack {
    /// External interrupts.
    Interrupt = 1,
    /// Exceptions.
    Exception = 2,
    /// Non-maskable interrupts, which may meet any of the others.
    Nmi = 3,
    /// Double faults and machine checks, after which nothing goes on.
    Abort = 4,
}

const STACKS: usize = 4;
const STACK_SIZE: usize = 16 * 1024;

#[repr(C, packed(4))]
struct TaskState {
    reserved_0: u32,
    privilege_stacks: [u64; 3],
    reserved_1: u64,
    interrupt_stacks: [u64; 7],
    reserved_2: [u16; 5],
    io_map: u16,
}

const _: () = assert!(size_of::<TaskState>() == 104);

#[repr(C, align(16))]
struct CpuTables {
    descriptors: [u64; 5],
    task_state: TaskState,
    stacks: [AlignedStack; STACKS],
}

#[repr(C, align(16))]
struct AlignedStack([u8; STACK_SIZE]);

struct Tables(UnsafeCell<[CpuTables; MAX_CPUS]>);

// SAFETY: each CPU writes its own element, once, in `init`.
unsafe impl Sync for Tables {}

// All zeros, so that the stacks take no room in the image.
static TABLES: Tables = Tables(UnsafeCell::new(
    [const {
        CpuTables {
            descriptors: [0; 5],
            task_state: TaskState {
                reserved_0: 0,
                privilege_stacks: [0; 3],
                reserved_1: 0,
                interrupt_stacks: [0; 7],
                reserved_2: [0; 5],
                io_map: 0,
            },
            stacks: [const { AlignedStack([0; STACK_SIZE]) }; STACKS],
        }
    }; MAX_CPUS],
));

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Loads this CPU's own GDT and task register. GS is left alone: its base is that of the per-CPU variables.
///
/// # Safety
/// Called once per CPU, with a number that no other CPU uses.
pub unsafe fn init(cpu: usize) {
    assert!(cpu < MAX_CPUS);
    // SAFETY: the element is this CPU's (the caller promises the number), and nobody else refers to it.
    let tables = unsafe { &mut (*TABLES.0.get())[cpu] };

    let mut stacks = [0; 7];
    for (top, stack) in stacks.iter_mut().zip(&tables.stacks) {
        *top = stack.0.as_ptr_range().end as u64;
    }
    tables.task_state.interrupt_stacks = stacks;
    // No map.
    tables.task_state.io_map = size_of::<TaskState>() as u16;

    let base = &raw const tables.task_state as u64;
    let limit = size_of::<TaskState>() as u64 - 1;
    let task_state = TASK_STATE_DESCRIPTOR | limit | (base & 0xFF_FFFF) << 16 | (base >> 24 & 0xFF) << 56;
    tables.descriptors = [0, CODE_DESCRIPTOR, DATA_DESCRIPTOR, task_state, base >> 32];

    let pointer =
        Pointer { limit: size_of_val(&tables.descriptors) as u16 - 1, base: tables.descriptors.as_ptr() as u64 };
    // SAFETY: the table is static; its code and data descriptors are those of the boot code's table at the same
    // selectors, so the loaded segments stay what they are; the task-state segment is available (not busy).
    unsafe {
        asm!("lgdt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags));
        asm!("mov ds, {0:e}", "mov es, {0:e}", "mov ss, {0:e}", in(reg) u32::from(DATA),
             options(nostack, preserves_flags));
        asm!("ltr {0:x}", in(reg) TASK_STATE, options(nostack, preserves_flags));
    }
}
