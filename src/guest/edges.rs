//! What the edges of `run` switch on few hosts, behind one flag: XCR0 (by its owner), PKRU, IA32_XSS, and what
//! speculation asks for.

use super::speculation::{Features, Hardware, Speculation, SpeculationMsr, SpeculationPolicy};
use crate::{
    host,
    spec::x86::{
        cpuid::CpuidLeaf,
        msrs::IA32_XSS,
        registers::{CpuidDSub1Eax, Cr4, Xcr0},
    },
};

/// What is switched, and between which values.
pub(crate) struct Edges {
    /// Whether there is anything to do.
    any: bool,
    /// The owner of this switches XCR0 there.
    xcr0: bool,
    /// The host uses protection keys: the guest's PKRU, while the host's is in the CPU.
    pkru: Option<u32>,
    host_pkru: u32,
    /// Between [`enter`](Self::enter) and [`leave`](Self::leave).
    inside: bool,
    /// The host's IA32_XSS, if it is not 0 as the guest's.
    host_xss: u64,
    speculation: Speculation,
}

impl Edges {
    /// As this CPU needs it.
    pub(crate) fn new() -> Self {
        let speculation = Speculation::new(Features::of_this_cpu());
        Self {
            any: speculation.at_edges(),
            xcr0: false,
            pkru: None,
            host_pkru: 0,
            inside: false,
            host_xss: 0,
            speculation,
        }
    }

    /// Whether [`enter`](Self::enter) and [`leave`](Self::leave) have anything to do.
    #[inline(always)]
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// Whether the edges switch XCR0.
    pub(crate) fn follow_xcr0(&mut self, switched: bool) {
        self.xcr0 = switched;
        self.decide();
    }

    fn decide(&mut self) {
        self.any = self.xcr0 || self.pkru.is_some() || self.host_xss != 0 || self.speculation.at_edges();
    }

    /// At bind, with the guest's extended registers in the CPU: the host's PKRU is put back until `run`.
    ///
    /// # Safety
    /// XSAVE must have written the host's state to the frame `saved`, in the standard format, and `available` be the components of
    /// which it did.
    pub(crate) unsafe fn arrive(&mut self, available: Xcr0, saved: *const u8) {
        let one = raw_cpuid::native_cpuid::cpuid_count(CpuidLeaf::EXTENDED_STATE.0, 1);
        let xsaves = CpuidDSub1Eax::from_bits(one.eax).contains(CpuidDSub1Eax::XSAVES);
        // SAFETY: a CPU with XSAVES has the register.
        self.host_xss = if xsaves { unsafe { host::rdmsr(IA32_XSS) } } else { 0 };
        (self.pkru, self.inside) = (None, false);
        if available.contains(Xcr0::PKRU) && host::cr4().contains(Cr4::PKE) {
            // SAFETY: the host has CR4.PKE set, and the caller vouches for the area.
            unsafe {
                self.pkru = Some(read_pkru());
                self.host_pkru = saved_pkru(saved);
                write_pkru(self.host_pkru);
            }
        }
        self.decide();
    }

    /// At unbind, before the guest's extended registers are saved.
    pub(crate) fn depart(&mut self) {
        if let Some(guest) = self.pkru {
            // SAFETY: the host has CR4.PKE set; its own PKRU is back when its registers are.
            unsafe { write_pkru(guest) };
        }
    }

    /// The guest's PKRU, if it is not in the CPU, to which the vCPU is bound.
    pub(crate) fn pkru(&self) -> Option<u32> {
        if self.inside { None } else { self.pkru }
    }

    /// At the start of `run`.
    #[cold]
    pub(crate) fn enter(&mut self) {
        self.inside = true;
        if let Some(guest) = self.pkru {
            // SAFETY: the host has CR4.PKE set.
            unsafe {
                self.host_pkru = read_pkru();
                write_pkru(guest);
            }
        }
        if self.host_xss != 0 {
            // SAFETY: the register is there; with interrupts off nothing of the host uses XSAVES until `leave`.
            unsafe { host::wrmsr(IA32_XSS, 0) };
        }
        self.speculation.enter(&mut Hardware);
    }

    /// At the end of `run`.
    #[cold]
    pub(crate) fn leave(&mut self) {
        self.inside = false;
        self.speculation.leave(&mut Hardware);
        if let Some(guest) = &mut self.pkru {
            // SAFETY: as above; what is loaded is the host's own.
            unsafe {
                *guest = read_pkru();
                write_pkru(self.host_pkru);
            }
        }
        if self.host_xss != 0 {
            // SAFETY: the host's own value.
            unsafe { host::wrmsr(IA32_XSS, self.host_xss) };
        }
    }

    /// At bind, on a CPU where `last` says whether this vCPU was also the last one.
    pub(crate) fn change_vcpu(&mut self, last: bool) {
        self.speculation.arrive(&mut Hardware, last);
    }

    pub(crate) fn policy(&self) -> SpeculationPolicy {
        self.speculation.policy()
    }

    pub(crate) fn set_policy(&mut self, policy: SpeculationPolicy) {
        self.speculation.set_policy(policy);
        self.decide();
    }

    /// Whether each exit fills the return stack buffer.
    pub(crate) fn fills_return_stack(&self) -> bool {
        self.speculation.fills_return_stack()
    }

    /// What the VMCB's SPEC_CTRL has to be, on a CPU that uses it.
    pub(crate) fn control_for_vmcb(&self) -> Option<u64> {
        self.speculation.control_for_vmcb()
    }

    /// The guest's IA32_SPEC_CTRL.
    pub(crate) fn control(&self) -> u64 {
        self.speculation.read(SpeculationMsr::Control)
    }

    /// Whether the guest may have such an IA32_SPEC_CTRL.
    pub(crate) fn takes_control(&self, value: u64) -> bool {
        self.speculation.takes_control(value)
    }

    /// Sets it, outside of `run`, to a value that the guest may have.
    pub(crate) fn restore_control(&mut self, value: u64) {
        self.speculation.restore_control(value);
        self.decide();
    }

    /// Where PKRU is in an XSAVE area.
    pub(crate) fn pkru_offset() -> usize {
        pkru_offset()
    }

    /// The guest's RDMSR.
    pub(crate) fn read_msr(&self, register: SpeculationMsr) -> u64 {
        self.speculation.read(register)
    }

    /// The guest's WRMSR, in `run`; false: #GP(0).
    pub(crate) fn write_msr(&mut self, register: SpeculationMsr, value: u64) -> bool {
        let valid = self.speculation.write(&mut Hardware, register, value);
        self.decide();
        valid
    }
}

/// The place of PKRU in an XSAVE area where CPUID names none.
const UNNAMED_PKRU: usize = 2688;

/// PKRU in an XSAVE area that holds it in the standard format.
///
/// # Safety
/// The area must be a frame that XSAVE has written, and the CPU have protection keys.
pub(crate) unsafe fn saved_pkru(area: *const u8) -> u32 {
    let offset = pkru_offset();
    // SAFETY: `available` has made sure that the component lies in the frame. Bit 9 of XSTATE_BV, at offset 512, is 0 when it
    // has its initial value, 0.
    unsafe {
        let present = area.add(512).cast::<u64>().read() & Xcr0::PKRU.bits() != 0;
        if present { area.add(offset).cast::<u32>().read() } else { 0 }
    }
}

fn pkru_offset() -> usize {
    let place = raw_cpuid::native_cpuid::cpuid_count(CpuidLeaf::EXTENDED_STATE.0, Xcr0::PKRU.bits().trailing_zeros());
    // One emulator does not say where it is; it is where Intel's CPUs have it.
    if place.eax == 0 { UNNAMED_PKRU } else { place.ebx as usize & 0xffc }
}

/// # Safety
/// CR4.PKE must be 1.
unsafe fn read_pkru() -> u32 {
    let value;
    // SAFETY: the caller's promise; it reads a register.
    unsafe {
        core::arch::asm!("rdpkru", in("ecx") 0, out("eax") value, out("edx") _, options(nomem, nostack, preserves_flags));
    }
    value
}

/// # Safety
/// CR4.PKE must be 1, and the host must get by with the value until its own is back.
unsafe fn write_pkru(value: u32) {
    // SAFETY: the caller's promise. It is no `nomem`: accesses must not move across it.
    unsafe {
        core::arch::asm!("wrpkru", in("ecx") 0, in("edx") 0, in("eax") value, options(nostack, preserves_flags));
    }
}
