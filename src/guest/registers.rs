//! The registers of a guest, in words that VMX and SVM share.

use crate::{
    exit::Width,
    spec::{
        intel::structures::SegmentAccessRights,
        x86::registers::{Cr0, Cr4, Efer, Rflags},
    },
};

/// The general-purpose registers, in the order in which instructions encode them.
///
/// The world switch loads and stores this structure; its layout is part of that code.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "a register's name says it all")]
pub struct GuestRegisters {
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rbx: u64,
    /// Valid while the vCPU is not running; the hardware's copy is fetched on demand.
    pub rsp: u64,
    pub rbp: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
}

/// The number of a general-purpose register, as instructions encode it: 0 is RAX, 4 is RSP, 15 is R15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterIndex(u8);

impl RegisterIndex {
    /// RAX.
    pub const RAX: Self = Self(0);
    /// RCX.
    pub const RCX: Self = Self(1);
    /// RDX.
    pub const RDX: Self = Self(2);
    /// RBX.
    pub const RBX: Self = Self(3);
    /// RSP.
    pub const RSP: Self = Self(4);
    /// RBP.
    pub const RBP: Self = Self(5);
    /// RSI.
    pub const RSI: Self = Self(6);
    /// RDI.
    pub const RDI: Self = Self(7);

    /// The register of this number; the upper bits are ignored, as an encoding of four bits has none.
    pub const fn new(number: u8) -> Self {
        Self(number & 15)
    }

    /// Its number, 0 to 15.
    pub const fn number(self) -> usize {
        (self.0 & 15) as usize
    }
}

impl GuestRegisters {
    /// The value of a register.
    #[inline]
    pub fn get(&self, register: RegisterIndex) -> u64 {
        self.as_array()[register.number()]
    }

    /// Sets all 64 bits of a register.
    #[inline]
    pub fn set(&mut self, register: RegisterIndex, value: u64) {
        self.as_mut_array()[register.number()] = value;
    }

    /// Writes the low `width` of a register as an instruction does: 8 and 16 bits leave the rest alone, 32 bits clear the
    /// upper half.
    #[inline]
    pub fn write(&mut self, register: RegisterIndex, width: Width, value: u64) {
        let slot = &mut self.as_mut_array()[register.number()];
        *slot = match width {
            Width::Byte | Width::Word => *slot & !width.mask() | value & width.mask(),
            Width::Dword | Width::Qword => value & width.mask(),
        };
    }

    /// RDI, RSI, RDX, RCX, R8, R9: where a hypercall's arguments are.
    pub const fn hypercall_arguments(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.rcx, self.r8, self.r9]
    }

    /// EDX:EAX as one number.
    #[inline]
    pub fn edx_eax(&self) -> u64 {
        self.rdx << 32 | self.rax & Width::Dword.mask()
    }

    /// Sets EDX:EAX; the upper halves of RDX and RAX become zero.
    #[inline]
    pub fn set_edx_eax(&mut self, value: u64) {
        self.rax = value & Width::Dword.mask();
        self.rdx = value >> 32;
    }

    fn as_array(&self) -> &[u64; 16] {
        // SAFETY: the structure is `repr(C)` with sixteen `u64` and nothing else, so it is laid out as the array is.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    fn as_mut_array(&mut self) -> &mut [u64; 16] {
        // SAFETY: as in `as_array`; every bit pattern is valid for both.
        unsafe { &mut *core::ptr::from_mut(self).cast() }
    }
}

const _: () = assert!(size_of::<GuestRegisters>() == 16 * 8);

/// A segment register with its hidden part.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The selector.
    pub selector: u16,
    /// The base address.
    pub base: u64,
    /// The limit in bytes, scaled already.
    pub limit: u32,
    /// Type, S, DPL, P, AVL, L, D/B, G in the layout of the second doubleword of a descriptor, shifted right by 8, with
    /// VMX's "unusable" in bit 16.
    pub rights: SegmentAccessRights,
}

/// A descriptor-table register.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DescriptorTable {
    /// The linear base address.
    pub base: u64,
    /// The limit in bytes.
    pub limit: u16,
}

/// The segment registers, GDTR, IDTR, the control registers, RFLAGS, RIP, RSP and EFER of a guest.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "a register's name says it all")]
pub struct SystemRegisters {
    pub es: Segment,
    pub cs: Segment,
    pub ss: Segment,
    pub ds: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub ldtr: Segment,
    pub tr: Segment,
    pub gdtr: DescriptorTable,
    pub idtr: DescriptorTable,
    /// As the guest reads it.
    pub cr0: Cr0,
    pub cr2: u64,
    pub cr3: u64,
    /// As the guest reads it.
    pub cr4: Cr4,
    pub efer: Efer,
    pub rflags: Rflags,
    pub rip: u64,
    pub rsp: u64,
}

/// How a vCPU starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartState {
    /// 16-bit real mode. Below 64 KiB CS is 0 and IP the entry; above, CS's base is the entry rounded down to 16 bytes and
    /// IP the rest, with the selector of that base if it has one. Needs an unrestricted guest on Intel.
    RealMode {
        /// The guest-physical address of the first instruction.
        entry: u64,
    },
    /// 32-bit protected mode without paging, flat segments. Needs an unrestricted guest on Intel.
    Protected {
        /// The linear and guest-physical address of the first instruction.
        entry: u32,
    },
    /// 64-bit mode with the guest's own page tables.
    Long {
        /// The linear address of the first instruction.
        entry: u64,
        /// The guest-physical address of the level-4 table (PML4).
        cr3: u64,
    },
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn state_survives_serialization() {
        let start = SystemRegisters::start(StartState::Long { entry: 0x1000, cr3: 0x2000 }).expect("canonical");
        let text = serde_json::to_string(&start).expect("plain data");
        assert_eq!(serde_json::from_str::<SystemRegisters>(&text).expect("the same format"), start);
        let registers = GuestRegisters { rax: 1, r15: u64::MAX, ..GuestRegisters::default() };
        let text = serde_json::to_string(&registers).expect("plain data");
        assert!(text.contains("\"r15\":18446744073709551615"));
        assert_eq!(serde_json::from_str::<GuestRegisters>(&text).expect("the same format"), registers);
    }
}
