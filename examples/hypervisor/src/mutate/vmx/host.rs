//! The host's side of an entry: a VM exit that lands here whatever the host state says, as far as that can be had.
//!
//! The host runs on page tables of the harness's own. All memory is mapped one to one, and every other canonical address is one and
//! the same page of NOPs that ends in a jump to the code that puts the host's registers back: a HOST_RIP that the CPU accepts
//! brings us there. The page tables' root stands at several places, so that HOST_CR3 may have any single bit flipped as long as it
//! points to memory.

use alloc::string::String;
use core::arch::{asm, naked_asm};
use core::ops::Range;

use x86_vcpu::spec::x86::msrs::{IA32_EFER, IA32_FS_BASE, IA32_GS_BASE, IA32_PAT};

use super::super::registers::{self, Table, rdmsr, read};
use super::text;
use crate::{gdt, memory};

/// The root of the page tables: a single bit flipped, from 12 to 27, gives an address of free memory.
const ROOT: usize = 0x0C00_0000;
/// An address that is mapped to the page of NOPs, and so is every address that differs from it in one bit.
pub const LANDING: u64 = 0x0000_6AAA_AAAA_A800;

const PAGE: usize = memory::FRAME_SIZE;
const LARGE: usize = 1 << 21;
const PRESENT_WRITABLE: u64 = 3;
const LARGE_PAGE: u64 = 1 << 7;

/// What an exit may have changed: read by [`enter_raw`], at an address below 4 GiB.
#[repr(C)]
struct Saved {
    rsp: u64,
    cr0: u64,
    cr3: u64,
    cr4: u64,
    efer: u64,
    pat: u64,
    fs: u64,
    gs: u64,
    gdtr: Table,
    idtr: Table,
    /// The byte of the task's descriptor with the busy bit.
    task_descriptor: u64,
}

static mut SAVED: Saved = Saved {
    rsp: 0,
    cr0: 0,
    cr3: 0,
    cr4: 0,
    efer: 0,
    pat: 0,
    fs: 0,
    gs: 0,
    gdtr: Table { limit: 0, base: 0 },
    idtr: Table { limit: 0, base: 0 },
    task_descriptor: 0,
};

/// The host's registers as they are and have to be again.
pub struct Host {
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub pat: u64,
    pub fs: u64,
    pub gs: u64,
    pub gdt: u64,
    pub idt: u64,
    pub task: u64,
    pub task_selector: u16,
}

impl Host {
    /// Builds the page tables and goes over to them.
    pub fn new(free: &Range<usize>) -> Result<Self, String> {
        let root = tables(free)?;
        for bit in 12..28 {
            let copy = ROOT ^ 1 << bit;
            if !free.contains(&copy) {
                return Err(text("too little memory for the page tables"));
            }
            // SAFETY: both are pages of free memory.
            unsafe { (copy as *mut u8).copy_from_nonoverlapping(ROOT as *const u8, PAGE) };
        }
        let (gdtr, idtr) = (registers::gdtr(), registers::idtr());
        let task_selector = registers::task_register();
        let descriptor = gdtr.base + u64::from(task_selector);
        // SAFETY: the task's descriptor has 16 bytes in the table.
        let (low, high) = unsafe {
            let descriptor = descriptor as *const u64;
            (descriptor.read(), descriptor.add(1).read())
        };
        // SAFETY: every CPU with VMX and long mode has them.
        let [efer, pat, fs, gs] = [IA32_EFER, IA32_PAT, IA32_FS_BASE, IA32_GS_BASE].map(|msr| unsafe { rdmsr(msr.0) });
        let task = low >> 16 & 0xFF_FFFF | (low >> 56) << 24 | high << 32;
        // SAFETY: the tables map what is in use at the same addresses.
        unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
        let host = Self {
            cr0: read!("cr0"),
            cr3: root,
            cr4: read!("cr4"),
            efer,
            pat,
            fs,
            gs,
            gdt: gdtr.base,
            idt: idtr.base,
            task,
            task_selector,
        };
        // SAFETY: one CPU runs, and nobody has a reference.
        unsafe {
            (&raw mut SAVED).write(Saved {
                rsp: 0,
                cr0: host.cr0,
                cr3: root,
                cr4: host.cr4,
                efer,
                pat,
                fs,
                gs,
                gdtr,
                idtr,
                task_descriptor: descriptor + 5,
            });
        }
        Ok(host)
    }

    /// VMLAUNCH. 0 after an exit, 1 and 2 when it failed without and with an error number.
    ///
    /// # Safety
    /// The current VMCS is the harness's, not launched, and its HOST_RIP leads to [`LANDING`] or a case is about that.
    pub unsafe fn enter(&self) -> u64 {
        let outcome: u64;
        // SAFETY: the caller's promise. The function keeps RBX, RBP, RSP and R12 to R15, and the vector registers are those of
        // the host: no guest instruction runs that changes them.
        unsafe { asm!("call {}", sym enter_raw, out("rax") outcome, clobber_abi("sysv64")) };
        outcome
    }
}

/// Makes the page tables; their root's address.
fn tables(free: &Range<usize>) -> Result<u64, String> {
    let frame = || memory::allocate_frames(1).map(|frame| frame as u64).ok_or_else(|| text("no memory"));
    let fill = |table: u64, entry: &dyn Fn(usize) -> u64| {
        // SAFETY: a page that is ours.
        (0..512).for_each(|index| unsafe { (table as *mut u64).add(index).write(entry(index)) });
    };
    let (sled, level1, level2, level3) = (frame()?, frame()?, frame()?, frame()?);
    slide(sled);
    fill(level1, &|_| sled | PRESENT_WRITABLE);
    fill(level2, &|_| level1 | PRESENT_WRITABLE);
    fill(level3, &|_| level2 | PRESENT_WRITABLE);
    // The first MiB has nothing that is needed any more: a small HOST_RIP leads to the NOPs as well.
    let (first, low) = (frame()?, frame()?);
    fill(first, &|page| if page < 256 { sled | PRESENT_WRITABLE } else { (page * PAGE) as u64 | PRESENT_WRITABLE });
    let mut directories = [0; 4];
    for (gib, directory) in directories.iter_mut().enumerate() {
        *directory = frame()?;
        fill(*directory, &|index| {
            let address = (gib << 30) | (index * LARGE);
            match address {
                0 => first | PRESENT_WRITABLE,
                // Devices.
                _ if gib == 3 => address as u64 | PRESENT_WRITABLE | LARGE_PAGE | 0x18,
                _ if address < free.end => address as u64 | PRESENT_WRITABLE | LARGE_PAGE,
                _ => level1 | PRESENT_WRITABLE,
            }
        });
    }
    fill(low, &|gib| directories.get(gib).copied().unwrap_or(level2) | PRESENT_WRITABLE);
    fill(ROOT as u64, &|index| if index == 0 { low | PRESENT_WRITABLE } else { level3 | PRESENT_WRITABLE });
    Ok(ROOT as u64)
}

/// NOPs, then a jump to [`back`] from wherever the page is mapped.
fn slide(page: u64) {
    const JUMP: usize = 12;
    let target = back as *const () as u64;
    // SAFETY: a page that is ours.
    unsafe {
        let page = page as *mut u8;
        page.write_bytes(0x90, PAGE);
        let jump = page.add(PAGE - 16);
        jump.cast::<[u8; 2]>().write([0x48, 0xB8]); // MOV RAX, imm64
        jump.add(2).cast::<u64>().write_unaligned(target);
        jump.add(10).cast::<[u8; 2]>().write([0xFF, 0xE0]); // JMP RAX
        const _: () = assert!(JUMP <= 16);
    }
}

/// Saves what a call keeps, launches, and goes on in [`back`] when the launch failed.
#[unsafe(naked)]
unsafe extern "sysv64" fn enter_raw() {
    naked_asm!(
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
        "mov [{saved} + {rsp}], rsp",
        "vmlaunch",
        "setc al",
        "setz bl",
        "movzx eax, al",
        "movzx ebx, bl",
        "lea eax, [rax + 2 * rbx]",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret",
        saved = sym SAVED,
        rsp = const core::mem::offset_of!(Saved, rsp),
    )
}

/// Where every exit arrives, with whatever registers the host state said: no stack, no segments, another root.
#[unsafe(naked)]
unsafe extern "sysv64" fn back() {
    naked_asm!(
        "mov rax, [{saved} + {cr4}]",
        "mov cr4, rax",
        "mov rax, [{saved} + {cr0}]",
        "mov cr0, rax",
        "mov rax, [{saved} + {cr3}]",
        "mov cr3, rax",
        "mov ecx, {efer_register}",
        "mov eax, [{saved} + {efer}]",
        "mov edx, [{saved} + {efer} + 4]",
        "wrmsr",
        "mov ecx, {pat_register}",
        "mov eax, [{saved} + {pat}]",
        "mov edx, [{saved} + {pat} + 4]",
        "wrmsr",
        "lgdt [{saved} + {gdtr}]",
        "lidt [{saved} + {idtr}]",
        "mov eax, {data}",
        "mov ds, eax",
        "mov es, eax",
        "mov ss, eax",
        "xor eax, eax",
        "mov fs, eax",
        "mov gs, eax",
        "mov ecx, {fs_register}",
        "mov eax, [{saved} + {fs}]",
        "mov edx, [{saved} + {fs} + 4]",
        "wrmsr",
        "mov ecx, {gs_register}",
        "mov eax, [{saved} + {gs}]",
        "mov edx, [{saved} + {gs} + 4]",
        "wrmsr",
        "mov rsp, [{saved} + {rsp}]",
        "mov rax, [{saved} + {task}]",
        "and byte ptr [rax], 0xFD",
        "mov eax, 24",
        "ltr ax",
        "lea rax, [rip + 2f]",
        "push {code}",
        "push rax",
        "retfq",
        "2:",
        "cld",
        "xor eax, eax",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret",
        saved = sym SAVED,
        cr0 = const core::mem::offset_of!(Saved, cr0),
        cr3 = const core::mem::offset_of!(Saved, cr3),
        cr4 = const core::mem::offset_of!(Saved, cr4),
        efer = const core::mem::offset_of!(Saved, efer),
        pat = const core::mem::offset_of!(Saved, pat),
        fs = const core::mem::offset_of!(Saved, fs),
        gs = const core::mem::offset_of!(Saved, gs),
        gdtr = const core::mem::offset_of!(Saved, gdtr),
        idtr = const core::mem::offset_of!(Saved, idtr),
        rsp = const core::mem::offset_of!(Saved, rsp),
        task = const core::mem::offset_of!(Saved, task_descriptor),
        efer_register = const IA32_EFER.0,
        pat_register = const IA32_PAT.0,
        fs_register = const IA32_FS_BASE.0,
        gs_register = const IA32_GS_BASE.0,
        code = const gdt::CODE,
        data = const gdt::DATA,
    )
}
