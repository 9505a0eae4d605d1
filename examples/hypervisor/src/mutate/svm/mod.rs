//! SVM: a VMCB of the harness's own, entered by VMRUN.

mod base;
mod cases;

use alloc::string::String;
use alloc::vec::Vec;
use core::arch::naked_asm;

use x86_vcpu::entry::{EntryCapabilities, EntryState};
use x86_vcpu::spec::VmcbMember;
use x86_vcpu::spec::amd::exits::ExitCode;
use x86_vcpu::spec::amd::vmcb::{MEMBERS, Vmcb};
use x86_vcpu::spec::amd::{entry_checks, msrs::SYSCFG};

use super::doctor::{Opinion, Outcome};
use super::registers::{cpuid, physical};
use super::session::{Change, Harness};
use crate::memory;
use base::Base;
pub use cases::cases;

/// The harness.
pub struct Svm {
    /// The members of 1 to 8 bytes, and pieces of the larger ones.
    pub fields: Vec<VmcbMember>,
    pub bases: Vec<Base>,
    vmcb: u64,
    end: u64,
}

impl Svm {
    /// `free` is the first byte of memory that nobody uses, to its end.
    pub fn new(free: core::ops::Range<usize>) -> Result<Self, String> {
        let vmcb = memory::allocate_frames(1).ok_or("no memory")? as u64;
        let mut fields = Vec::new();
        for member in MEMBERS {
            // Of what is larger, which is reserved or text, the first bytes and the last.
            match member.size {
                1 | 2 | 4 | 8 => fields.push(*member),
                size if size > 8 => {
                    let aligned = member.offset.next_multiple_of(8);
                    fields.push(VmcbMember { offset: aligned, size: 8, ..*member });
                    let last = (member.offset + size - 8) & !7;
                    if last > aligned {
                        fields.push(VmcbMember { offset: last, size: 8, ..*member });
                    }
                }
                size => fields.push(VmcbMember { size: if size >= 4 { 4 } else { 2 }, ..*member }),
            }
        }
        // A guest with neither paging nor nested paging runs what is in memory: HLT, which makes it exit.
        // SAFETY: below 1 MiB nobody uses anything any more but the startup code of other CPUs, of which there are none.
        unsafe { (base::ENTRY as *mut u8).write_bytes(0xF4, memory::FRAME_SIZE) };
        let bases = base::all();
        Ok(Self { fields, bases, vmcb, end: free.end as u64 })
    }

    /// The index of a member.
    pub fn find(&self, name: &str) -> usize {
        self.fields.iter().position(|field| field.name == name).unwrap_or_default()
    }

    /// The value of a member in a valid state.
    pub fn valid(&self, base: usize, field: usize) -> u64 {
        let field = &self.fields[field];
        read(&raw const *self.bases[base].vmcb as u64, field)
    }
}

fn read(vmcb: u64, field: &VmcbMember) -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: a VMCB, which is memory of ours, and a member of it.
    unsafe { bytes.as_mut_ptr().copy_from((vmcb + u64::from(field.offset)) as *const u8, field.size.into()) };
    u64::from_le_bytes(bytes)
}

impl Harness for Svm {
    type Stop = ();

    fn name(&self, field: usize) -> &'static str {
        self.fields[field].name
    }

    fn base(&self, base: usize) -> &'static str {
        self.bases[base].name
    }

    fn prepare(&mut self, base: usize, _: (), changes: &[Change]) {
        let vmcb = self.vmcb as *mut u8;
        // SAFETY: the frame is ours and as large as a VMCB.
        unsafe { vmcb.copy_from((&raw const *self.bases[base].vmcb).cast(), size_of::<Vmcb>()) };
        for (field, value) in changes {
            let field = &self.fields[*field];
            // SAFETY: a member of the VMCB.
            unsafe { vmcb.add(field.offset.into()).copy_from(value.to_le_bytes().as_ptr(), field.size.into()) };
        }
    }

    fn opinion(&self) -> Opinion {
        Opinion::of(entry_checks::check(&State { vmcb: self.vmcb, end: self.end }, &Capabilities))
    }

    fn enter(&mut self) -> Outcome {
        // SAFETY: SVM is on; the guest reaches no memory, as the nested page tables map none, or its own map none, and every
        // exception makes it exit. What the CPU does with other states is what this is about.
        unsafe { core::arch::asm!("call {}", sym enter_raw, in("rdi") self.vmcb, clobber_abi("sysv64")) };
        // SAFETY: the frame holds a VMCB, which the CPU has left.
        let code = unsafe { (*(self.vmcb as *const Vmcb)).exitcode() };
        // QEMU reports -1 in 32 bits.
        if code == ExitCode::INVALID || code.0 == u64::from(u32::MAX) { Outcome::Invalid } else { Outcome::Entered }
    }
}

/// A VMCB, and memory up to `end`.
struct State {
    vmcb: u64,
    end: u64,
}

impl EntryState for State {
    fn field(&self, number: u32, bytes: u32) -> Option<u64> {
        if number.checked_add(bytes)? as usize > size_of::<Vmcb>() {
            return None;
        }
        // SAFETY: bytes of the harness's VMCB.
        unsafe { physical(self.vmcb + u64::from(number), bytes, self.end) }
    }

    fn memory(&self, address: u64, bytes: u32) -> Option<u64> {
        // SAFETY: what the VMCB points to is memory that nobody has references to.
        unsafe { physical(address, bytes, self.end) }
    }
}

/// This CPU.
struct Capabilities;

impl EntryCapabilities for Capabilities {
    fn msr(&self, address: u32) -> Option<u64> {
        // No emulator encrypts memory, nor do they all have the register.
        (address == SYSCFG.0).then_some(0)
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        Some(cpuid(leaf, subleaf))
    }
}

/// VMRUN, with every general-purpose register 0, and interrupts held back.
#[unsafe(naked)]
unsafe extern "sysv64" fn enter_raw(vmcb: u64) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov rax, rdi",
        "xor ebx, ebx",
        "xor ecx, ecx",
        "xor edx, edx",
        "xor esi, esi",
        "xor edi, edi",
        "xor ebp, ebp",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "xor r10d, r10d",
        "xor r11d, r11d",
        "xor r12d, r12d",
        "xor r13d, r13d",
        "xor r14d, r14d",
        "xor r15d, r15d",
        "clgi",
        "vmrun rax",
        "stgi",
        "cld",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}
