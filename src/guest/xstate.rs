//! The guest's x87, SSE and AVX registers, kept apart from the host's.
//!
//! Two levels, because hosts differ:
//! - Between bind and unbind the extended registers (everything that XSAVE manages) belong to the guest: bind saves the
//!   host's and loads the guest's, unbind does the reverse. No exit pays for that.
//! - A host whose own code uses SSE (any target with that feature) would overwrite the guest's XMM registers at the first
//!   exit. On such a target the world switch saves and loads the legacy region (x87, XMM, MXCSR) around each entry; host
//!   code that uses AVX cannot be built (see below), so the upper halves stay the guest's.
//!
//! XCR0 is switched at the edges of `run`, and only when the guest can tell: it has CR4.OSXSAVE set and another value. So are
//! two registers that would act on host code, where they can: PKRU, if the host uses protection keys, and IA32_XSS, if the host has
//! supervisor components (the guest has none; nothing else keeps it from saving and loading the host's with XSAVES on SVM).

mod saved;

use core::arch::x86_64 as intrinsics;

pub(crate) use self::saved::takes_mxcsr;
use crate::{
    Result,
    frame::{FrameSource, HostFrames, PhysFrame},
    guest::{
        edges::{Edges, saved_pkru},
        protection_keys::Pkru,
    },
    host::InterruptsOff,
    spec::x86::{
        cpuid::CpuidLeaf,
        registers::{Cr4, Xcr0},
    },
};

#[cfg(target_feature = "avx")]
compile_error!("x86_vcpu needs a host target without AVX: its exits would overwrite the guest's upper vector halves");

/// Whether host code may use XMM registers, so that each entry and exit has to switch them.
pub(crate) const HOST_USES_SSE: bool = cfg!(target_feature = "sse");

/// The components that the library switches: what fits into one frame, and needs no host-wide policy of its own. AMX's tiles are
/// left out: they take 8 KiB, which no frame has.
pub(crate) const SWITCHED: Xcr0 = Xcr0::X87
    .with(Xcr0::SSE)
    .with(Xcr0::AVX)
    .with(Xcr0::OPMASK)
    .with(Xcr0::ZMM_HI256)
    .with(Xcr0::HI16_ZMM)
    .with(Xcr0::PKRU);

/// MXCSR and the x87 control word after reset, as the calling convention expects them in host code.
pub(crate) const DEFAULT_MXCSR: u32 = 0x1f80;
pub(crate) const DEFAULT_FCW: u16 = 0x037f;

/// The saved extended state of a guest, and room for the host's.
pub(crate) struct ExtendedState<S: FrameSource = HostFrames> {
    guest: PhysFrame<S>,
    host: PhysFrame<S>,
    /// The components that guests may enable; empty when the host has not enabled XSAVE.
    available: Xcr0,
    /// XCR0 as the guest has it.
    pub(crate) guest_xcr0: Xcr0,
    host_xcr0: Xcr0,
    /// CR4.OSXSAVE of the guest: while it is 0 no instruction of the guest's can tell what is in XCR0.
    guest_osxsave: bool,
    /// Whether the edges of `run` have to switch XCR0.
    switches_xcr0: bool,
    /// What else they have to switch.
    pub(crate) edges: Edges,
    host_control: HostControl,
}

/// The guest's PKRU in this CPU, and room for it: RDPKRU needs CR4.PKE, which the host may not have.
#[derive(Clone, Copy, Debug)]
pub struct SavedPkru {
    /// The guest's area.
    area: *mut u8,
    available: Xcr0,
}

impl SavedPkru {
    /// Reads it.
    pub(crate) fn read(self) -> u32 {
        let _interrupts_off = InterruptsOff::new();
        let xcr0 = read_xcr0();
        // SAFETY: `ExtendedState::pkru` made this for a bound vCPU, whose area nothing else is kept in but the legacy region,
        // which XSAVE of this component leaves alone, and which lives while the exit is handled. XCR0 gets a value that this
        // CPU supports, and its own back; no code that uses extended registers is between.
        unsafe {
            write_xcr0(self.available);
            intrinsics::_xsave64(self.area, Xcr0::PKRU.bits());
            write_xcr0(xcr0);
            saved_pkru(self.area)
        }
    }
}

/// What the calling convention wants preserved of the host's floating-point state.
#[derive(Clone, Copy, Default)]
struct HostControl {
    mxcsr: u32,
    fcw: u16,
}

impl<S: FrameSource> ExtendedState<S> {
    /// The state after reset.
    pub(crate) fn new() -> Result<Self> {
        let mut state = Self {
            guest: PhysFrame::alloc_zero()?,
            host: PhysFrame::alloc_zero()?,
            available: available(),
            guest_xcr0: Xcr0::X87,
            host_xcr0: Xcr0::X87,
            guest_osxsave: false,
            switches_xcr0: false,
            edges: Edges::new(),
            host_control: HostControl { mxcsr: DEFAULT_MXCSR, fcw: DEFAULT_FCW },
        };
        state.reset();
        Ok(state)
    }

    /// What a guest may set in XCR0.
    pub(crate) fn available(&self) -> Xcr0 {
        self.available
    }

    /// Where FXSAVE and FXRSTOR of the world switch work: the legacy region at the start of the guest's area.
    pub(crate) fn legacy_region(&self) -> *mut u8 {
        self.guest.as_mut_ptr()
    }

    fn reset(&mut self) {
        // All zero but the control words: with XSTATE_BV zero every component is in its initial configuration, and FXRSTOR
        // reads FCW (offset 0) and MXCSR (offset 24) of the legacy region.
        let area = self.guest.as_mut_ptr();
        // SAFETY: both offsets lie inside the frame and are aligned for their types.
        unsafe {
            area.cast::<u16>().write(DEFAULT_FCW);
            area.add(24).cast::<u32>().write(DEFAULT_MXCSR);
        }
        // SAFETY: the XSTATE_BV field of the XSAVE header lies at offset 512. The legacy components are marked as present,
        // so that what FXRSTOR loads from the region and what XRSTOR loads are the same.
        unsafe { area.add(512).cast::<u64>().write(Xcr0::X87.with(Xcr0::SSE).bits()) };
    }

    /// Makes the extended registers the guest's. Host interrupts must be off.
    pub(crate) fn load_guest(&mut self) {
        if self.available.is_empty() {
            // SAFETY: both areas are 4096 bytes and aligned to 16, and hold what FXSAVE wrote or a valid initial image.
            unsafe {
                intrinsics::_fxsave64(self.host.as_mut_ptr());
                intrinsics::_fxrstor64(self.guest.as_mut_ptr());
            }
            return;
        }
        self.host_xcr0 = read_xcr0();
        self.choose_switching();
        // SAFETY: XSAVE is enabled (`available` is not empty). The areas hold every component of the masks: `available`
        // leaves those out that would not fit into a frame, and the host's mask is cut to them. XCR0 gets a value that
        // this CPU supports, and its own back.
        unsafe {
            write_xcr0(self.available);
            intrinsics::_xsave64(self.host.as_mut_ptr(), self.available.bits());
            intrinsics::_xrstor64(self.guest.as_mut_ptr(), self.available.bits());
            write_xcr0(self.host_xcr0);
        }
        // SAFETY: the frame holds what was saved above with the same components, of which the CPU's registers have the guest's.
        unsafe { self.edges.arrive(self.available, self.host.as_mut_ptr()) };
    }

    /// Gives the extended registers back to the host. Host interrupts must be off.
    pub(crate) fn unload_guest(&mut self) {
        if HOST_USES_SSE {
            // The registers hold what host code left; the guest's are in the legacy region.
            // SAFETY: the world switch wrote the region with FXSAVE, or `reset` did.
            unsafe { intrinsics::_fxrstor64(self.guest.as_mut_ptr()) };
        }
        if self.available.is_empty() {
            // SAFETY: as in `load_guest`.
            unsafe {
                intrinsics::_fxsave64(self.guest.as_mut_ptr());
                intrinsics::_fxrstor64(self.host.as_mut_ptr());
            }
            return;
        }
        // SAFETY: as in `load_guest`; the host's area was written by XSAVE with the same mask.
        unsafe {
            self.edges.depart();
            write_xcr0(self.available);
            intrinsics::_xsave64(self.guest.as_mut_ptr(), self.available.bits());
            intrinsics::_xrstor64(self.host.as_mut_ptr(), self.available.bits());
            write_xcr0(self.host_xcr0);
        }
    }

    /// Brings the registers of a guest that is bound to this CPU to memory. Nothing of the caller's is in vector registers then.
    #[inline(never)]
    pub(crate) fn put_down(&mut self) {
        self.unload_guest();
    }

    /// Brings them back.
    #[inline(never)]
    pub(crate) fn take_up(&mut self) {
        self.load_guest();
    }

    /// Where the PKRU of a guest with CR4.PKE set is. `bound`: the vCPU is bound to this CPU.
    pub(crate) fn pkru(&self, bound: bool) -> Pkru {
        if !self.available.contains(Xcr0::PKRU) {
            return Pkru::Unused;
        }
        if !bound {
            // SAFETY: `unload_guest` has written the area, or `reset`, and the CPU has the component.
            return Pkru::Value(unsafe { saved_pkru(self.guest.as_mut_ptr()) });
        }
        match self.edges.pkru() {
            Some(value) => Pkru::Value(value),
            None => Pkru::InCpu(SavedPkru { area: self.guest.as_mut_ptr(), available: self.available }),
        }
    }

    /// At the start of `run`: the guest's XCR0, and what the convention wants back is remembered.
    #[inline]
    pub(crate) fn enter_run(&mut self) {
        if HOST_USES_SSE {
            self.host_control.read();
        }
        if self.edges.any() {
            self.enter_edge();
        }
    }

    #[cold]
    fn enter_edge(&mut self) {
        if self.switches_xcr0 {
            // SAFETY: the value was checked against `available` when the guest set it.
            unsafe { write_xcr0(self.guest_xcr0) };
        }
        self.edges.enter();
    }

    /// At the end of `run`.
    #[inline]
    pub(crate) fn leave_run(&mut self) {
        if self.edges.any() {
            self.leave_edge();
        }
        if HOST_USES_SSE {
            self.host_control.restore();
        }
    }

    #[cold]
    fn leave_edge(&mut self) {
        self.edges.leave();
        if self.switches_xcr0 {
            // SAFETY: the host's own value.
            unsafe { write_xcr0(self.host_xcr0) };
        }
    }

    /// The guest's XSETBV inside `run`, with a value that was found valid.
    pub(crate) fn set_guest_xcr0(&mut self, value: Xcr0) {
        self.guest_xcr0 = value;
        self.choose_switching();
        // SAFETY: the value was checked against `available`, which this CPU supports.
        unsafe { write_xcr0(value) };
    }

    /// The guest's CR4 changes, inside `run` or not.
    pub(crate) fn follow_cr4(&mut self, cr4: Cr4, inside_run: bool) {
        let switched_before = self.switches_xcr0;
        self.guest_osxsave = cr4.contains(Cr4::OSXSAVE);
        self.choose_switching();
        if inside_run && self.switches_xcr0 != switched_before {
            // SAFETY: both values are valid; OSXSAVE of the guest is offered only when the host has it.
            unsafe { write_xcr0(if self.switches_xcr0 { self.guest_xcr0 } else { self.host_xcr0 }) };
        }
    }

    /// Takes in an XSETBV of the guest that did not exit, at the end of `run`. Says whether there was one.
    #[cfg(feature = "amd")]
    pub(crate) fn follow_xcr0(&mut self) -> bool {
        if !self.guest_osxsave {
            return false;
        }
        let now = read_xcr0();
        let changed = now != self.guest_xcr0;
        if changed {
            self.guest_xcr0 = now & self.available | Xcr0::X87;
            self.choose_switching();
            // SAFETY: a part of what this CPU supports and the guest has chosen.
            unsafe { write_xcr0(self.guest_xcr0) };
        }
        changed
    }

    /// An XMM register (0 to 15) of a guest that is bound to this CPU. Host interrupts must be off.
    pub(crate) fn vector(&mut self, number: u8) -> [u8; 16] {
        self.save_legacy();
        let mut value = [0; 16];
        // SAFETY: `vector_place` is 16 bytes within the frame.
        unsafe { self.vector_place(number).copy_to_nonoverlapping(value.as_mut_ptr(), value.len()) };
        value
    }

    /// Sets an XMM register of a guest that is bound to this CPU. Host interrupts must be off.
    pub(crate) fn set_vector(&mut self, number: u8, value: [u8; 16]) {
        self.save_legacy();
        // SAFETY: as in `vector`.
        unsafe { self.vector_place(number).copy_from_nonoverlapping(value.as_ptr(), value.len()) };
        if !HOST_USES_SSE {
            // SAFETY: the region was written by FXSAVE just before, and XMM registers may hold any bits.
            unsafe { intrinsics::_fxrstor64(self.guest.as_mut_ptr()) };
        }
    }

    /// Brings the legacy region up to date. While the guest is bound, nothing else is kept in it.
    fn save_legacy(&mut self) {
        if !HOST_USES_SSE {
            // SAFETY: the area is 4096 bytes and aligned to 16.
            unsafe { intrinsics::_fxsave64(self.guest.as_mut_ptr()) };
        }
    }

    /// SDM volume 1, "FXSAVE Area": XMM0 is at offset 160, and the others follow.
    fn vector_place(&self, number: u8) -> *mut u8 {
        self.guest.as_mut_ptr().wrapping_add(160 + 16 * usize::from(number & 15))
    }

    fn choose_switching(&mut self) {
        self.switches_xcr0 = self.guest_osxsave && self.guest_xcr0 != self.host_xcr0;
        self.edges.follow_xcr0(self.switches_xcr0);
    }
}

impl HostControl {
    #[inline(always)]
    fn read(&mut self) {
        // SAFETY: both instructions store to these fields and change nothing else.
        unsafe {
            core::arch::asm!(
                "stmxcsr [{}]", "fnstcw [{}]",
                in(reg) &raw mut self.mxcsr, in(reg) &raw mut self.fcw, options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    fn restore(&self) {
        // SAFETY: FNINIT empties the x87 stack, as the convention wants it at a return; the control words are the host's.
        unsafe {
            core::arch::asm!(
                "fninit", "fldcw [{}]", "ldmxcsr [{}]",
                in(reg) &raw const self.fcw, in(reg) &raw const self.mxcsr, options(nostack, preserves_flags),
            );
        }
    }
}

/// The components that this CPU, this host and this library can give a guest.
fn available() -> Xcr0 {
    if !crate::host::cr4().contains(Cr4::OSXSAVE) {
        return Xcr0::empty();
    }
    let leaf = raw_cpuid::native_cpuid::cpuid_count(CpuidLeaf::EXTENDED_STATE.0, 0);
    let supported = Xcr0::from_bits(u64::from(leaf.edx) << 32 | u64::from(leaf.eax)) & SWITCHED;
    // AVX-512's state ends below 2.7 KiB: with `SWITCHED` everything fits. A CPU that places them elsewhere loses them.
    let mut fitting = supported;
    for component in 2..63 {
        let bit = Xcr0::from_bits(1 << component);
        if supported.contains(bit) {
            let place = raw_cpuid::native_cpuid::cpuid_count(CpuidLeaf::EXTENDED_STATE.0, component);
            if u64::from(place.eax) + u64::from(place.ebx) > memory_addr::PAGE_SIZE_4K as u64 {
                fitting = fitting.without(bit);
            }
        }
    }
    fitting
}

fn read_xcr0() -> Xcr0 {
    let (low, high): (u32, u32);
    // SAFETY: callers know that CR4.OSXSAVE is 1; reading XCR0 has no effect.
    unsafe {
        core::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    Xcr0::from_bits(u64::from(high) << 32 | u64::from(low))
}

/// # Safety
/// CR4.OSXSAVE must be 1 and the value one that this CPU supports; what host code may use shrinks to it.
unsafe fn write_xcr0(value: Xcr0) {
    crate::count::xsetbv();
    let bits = value.bits();
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!(
            "xsetbv", in("ecx") 0, in("eax") bits as u32, in("edx") (bits >> 32) as u32, options(nomem, nostack, preserves_flags),
        );
    }
}
