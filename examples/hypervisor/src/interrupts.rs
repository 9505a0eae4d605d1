//! Interrupts and exceptions of the host.
//!
//! The host runs with interrupts off, except where it asks for them. An interrupt that arrives while a guest runs makes
//! the vCPU exit; on Intel the CPU has taken it from the interrupt controller then, and whoever runs the vCPU calls
//! [`external`] with its vector; on AMD it is still pending, and comes through the IDT as soon as interrupts are on.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::gdt::{self, Stack};
use crate::{apic, end};

global_asm!(include_str!("interrupts.S"), options(att_syntax, raw));

/// The vector of the local APIC's timer.
pub const TIMER: u8 = 0x40;
/// The vector with which one CPU gets the attention of another; its handler does nothing.
pub const KICK: u8 = 0x41;
/// The vector of the local APIC's spurious interrupts.
pub const SPURIOUS: u8 = 0xFF;

const EXCEPTIONS: u8 = 32;
const DEBUG: u8 = 1;
const NMI: u8 = 2;
const DOUBLE_FAULT: u8 = 8;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
const MACHINE_CHECK: u8 = 18;

/// How many timer interrupts the host has handled, on all CPUs.
static TICKS: AtomicU64 = AtomicU64::new(0);

/// Whether somebody sends non-maskable interrupts; else one is a mistake.
static NMIS_EXPECTED: AtomicBool = AtomicBool::new(false);
/// How many non-maskable interrupts the host has handled, on all CPUs.
static NMIS: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy)]
#[repr(C)]
struct Gate([u64; 2]);

impl Gate {
    /// A gate to a handler that runs with interrupts off, on this entry of the interrupt stack table (0: on the stack that
    /// was interrupted).
    fn new(handler: u64, stack: u64) -> Self {
        const PRESENT_INTERRUPT_GATE: u64 = 0x8E00;
        let low = handler & 0xFFFF | u64::from(gdt::CODE) << 16;
        let high = PRESENT_INTERRUPT_GATE | stack | handler & 0xFFFF_0000;
        Self([low | high << 32, handler >> 32])
    }
}

struct Table(UnsafeCell<[Gate; 256]>);

// SAFETY: written by `init` on the first CPU before the others start; only read afterwards, by hardware.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([Gate([0; 2]); 256]));

/// What `interrupts.S` pushes, and the CPU before it.
#[derive(Debug)]
#[repr(C)]
struct Frame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rcx: u64,
    rax: u64,
    vector: u64,
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Fills the table that all CPUs share.
///
/// # Safety
/// Called once, on the first CPU, before any other runs.
pub unsafe fn init() {
    unsafe extern "C" {
        static interrupt_gates: u8;
        static debug_gate: u8;
    }
    // SAFETY: nobody else refers to the table yet.
    let table = unsafe { &mut *TABLE.0.get() };
    for (vector, gate) in (0u8..=255).zip(table.iter_mut()) {
        let stack = match vector {
            NMI => Stack::Nmi,
            DOUBLE_FAULT | MACHINE_CHECK => Stack::Abort,
            0..EXCEPTIONS => Stack::Exception,
            _ => Stack::Interrupt,
        };
        let handler = (&raw const interrupt_gates) as u64 + 16 * u64::from(vector);
        *gate = Gate::new(handler, stack as u64);
    }
    // On whatever stack it finds: see there.
    table[usize::from(DEBUG)] = Gate::new((&raw const debug_gate) as u64, 0);
}

/// Loads the table on this CPU.
pub fn load() {
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: u64,
    }
    let pointer = Pointer { limit: size_of::<Table>() as u16 - 1, base: TABLE.0.get() as u64 };
    // SAFETY: the table is static and was filled by `init`; its gates use stacks that `gdt::init` has set up.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) };
}

/// Handles an interrupt whose vector is known: from the IDT, or from a vCPU's exit on Intel.
pub fn external(vector: u8) {
    match vector {
        TIMER => {
            TICKS.fetch_add(1, Ordering::Relaxed);
            apic::end_of_interrupt();
        }
        KICK => apic::end_of_interrupt(),
        SPURIOUS => {}
        _ => end::failure(format_args!("unexpected interrupt {vector:#x}")),
    }
}

/// How many timer interrupts have been handled.
pub fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// From now on non-maskable interrupts are counted, or again a mistake.
pub fn expect_nmis(expected: bool) {
    NMIS_EXPECTED.store(expected, Ordering::SeqCst);
}

/// How many non-maskable interrupts have been handled.
pub fn nmis() -> u64 {
    NMIS.load(Ordering::SeqCst)
}

/// Where `interrupts.S` arrives.
#[unsafe(no_mangle)]
extern "C" fn interrupt_entry(frame: &mut Frame) {
    let vector = frame.vector as u8;
    if vector >= EXCEPTIONS {
        return external(vector);
    }
    // The library asks for registers that a CPU may not have; such a fault means that it has not.
    if vector == GENERAL_PROTECTION
        && let Some(rip) = x86_vcpu::fixup::fixup(frame.rip as usize)
    {
        frame.rip = rip as u64;
        return;
    }
    if vector == NMI && NMIS_EXPECTED.load(Ordering::SeqCst) {
        NMIS.fetch_add(1, Ordering::SeqCst);
        return;
    }
    end::failure(format_args!("exception {vector}{frame}"));
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, " error code {:#x}", self.error_code)?;
        if self.vector as u8 == PAGE_FAULT {
            let address: u64;
            // SAFETY: reading CR2 changes nothing.
            unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
            write!(f, " at address {address:#x}")?;
        }
        writeln!(f)?;
        for registers in [
            [("rip", self.rip), ("rflags", self.rflags), ("cs", self.cs), ("ss", self.ss)],
            [("rax", self.rax), ("rbx", self.rbx), ("rcx", self.rcx), ("rdx", self.rdx)],
            [("rsi", self.rsi), ("rdi", self.rdi), ("rbp", self.rbp), ("rsp", self.rsp)],
            [("r8", self.r8), ("r9", self.r9), ("r10", self.r10), ("r11", self.r11)],
            [("r12", self.r12), ("r13", self.r13), ("r14", self.r14), ("r15", self.r15)],
        ] {
            for (name, value) in registers {
                write!(f, "{name:>7} {value:016x}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
