//! What other CPUs may do to a vCPU: send it interrupts, and ask it to stop.

use core::{
    marker::PhantomData,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use crate::{
    Result,
    cpu::CpuIndex,
    frame::{FrameSource, HostFrames, PhysFrame},
};

/// The vCPU's letter box, in a frame of its own because the vCPU itself may move.
pub(crate) struct Mailbox {
    /// Whether anything below is new: the one word that the run loop looks at.
    flags: AtomicU32,
    /// The embedder's number of the CPU that runs the vCPU, plus one; 0 while it is not in `run`.
    running_on: AtomicUsize,
    /// How many own the frame.
    owners: AtomicUsize,
    /// A bit for each vector that was sent.
    interrupts: [AtomicU64; 4],
}

impl Mailbox {
    const EXIT: u32 = 1 << 0;
    const NMI: u32 = 1 << 1;
    const INTERRUPTS: u32 = 1 << 2;
}

/// A handle to a vCPU for other CPUs and threads; it keeps working (to no effect) when the vCPU is gone.
pub struct VcpuHandle<S: FrameSource = HostFrames> {
    mailbox: NonNull<Mailbox>,
    frame: memory_addr::PhysAddr,
    _source: PhantomData<S>,
}

// SAFETY: all that a handle touches is the mailbox, which consists of atomics and lives until its last owner is gone.
unsafe impl<S: FrameSource> Send for VcpuHandle<S> {}
// SAFETY: as above.
unsafe impl<S: FrameSource> Sync for VcpuHandle<S> {}

/// The embedder's number of a CPU, as the letter box keeps it: plus one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTag(usize);

impl From<CpuIndex> for CpuTag {
    fn from(cpu: CpuIndex) -> Self {
        Self(cpu.number().wrapping_add(1))
    }
}

/// What was in the letter box.
pub(crate) struct Mail {
    /// Somebody wants `run` to come back.
    pub exit: bool,
    /// An NMI was sent.
    pub nmi: bool,
    /// The vectors that were sent.
    pub interrupts: [u64; 4],
}

impl<S: FrameSource> VcpuHandle<S> {
    pub(crate) fn new() -> Result<Self> {
        let frame = PhysFrame::<S>::alloc_zero()?;
        let mailbox = frame.as_mut_ptr().cast::<Mailbox>();
        // SAFETY: the frame is ours, large enough and aligned; atomics may start as zero bytes, which it is filled with.
        unsafe { (*mailbox).owners.store(1, Ordering::Relaxed) };
        let paddr = frame.start_paddr();
        // The last owner gives it back, see `drop`.
        core::mem::forget(frame);
        // SAFETY: `PhysFrame` never has a null address.
        Ok(Self { mailbox: unsafe { NonNull::new_unchecked(mailbox) }, frame: paddr, _source: PhantomData })
    }

    fn mailbox(&self) -> &Mailbox {
        // SAFETY: the frame lives as long as any owner does, and `self` is one.
        unsafe { self.mailbox.as_ref() }
    }

    /// Makes an external interrupt pending, as if the vCPU's interrupt controller asked for it.
    ///
    /// It does not stop a running guest: the caller sends the CPU that [`running_on`](Self::running_on) names an
    /// interrupt, after this call.
    pub fn inject_interrupt(&self, vector: u8) {
        let mailbox = self.mailbox();
        let word = usize::from(vector >> 6) & 3;
        mailbox.interrupts[word].fetch_or(1 << (vector & 63), Ordering::Relaxed);
        mailbox.flags.fetch_or(Mailbox::INTERRUPTS, Ordering::Release);
    }

    /// Makes an NMI pending.
    pub fn inject_nmi(&self) {
        self.mailbox().flags.fetch_or(Mailbox::NMI, Ordering::Release);
    }

    /// Makes the current or the next `run` come back with [`VmExit::Interrupted`](crate::VmExit::Interrupted).
    ///
    /// The flag is looked at with the host's interrupts off before each entry; an interrupt that the caller sends to the
    /// CPU *after* this call therefore either comes before that look, or makes the guest exit.
    pub fn request_exit(&self) {
        self.mailbox().flags.fetch_or(Mailbox::EXIT, Ordering::Release);
    }

    /// The embedder's number of the CPU on which the vCPU is inside `run`, if it is.
    pub fn running_on(&self) -> Option<usize> {
        // Sequentially consistent, as the other side's store: either the caller sees the CPU here and interrupts it, or
        // the vCPU sees the caller's mail before it enters.
        self.mailbox().running_on.load(Ordering::SeqCst).checked_sub(1)
    }

    #[inline(always)]
    pub(crate) fn enter_run(&self, cpu: CpuTag) {
        self.mailbox().running_on.store(cpu.0, Ordering::SeqCst);
    }

    #[inline(always)]
    pub(crate) fn leave_run(&self) {
        // Nobody's interrupt is missed by going; release suffices.
        self.mailbox().running_on.store(0, Ordering::Release);
    }

    /// Whether there is mail: one load, for the hot path.
    #[inline(always)]
    pub(crate) fn has_mail(&self) -> bool {
        self.mailbox().flags.load(Ordering::Relaxed) != 0
    }

    /// Empties the letter box.
    pub(crate) fn take(&self) -> Mail {
        let mailbox = self.mailbox();
        let flags = mailbox.flags.swap(0, Ordering::Acquire);
        let mut interrupts = [0; 4];
        if flags & Mailbox::INTERRUPTS != 0 {
            for (taken, word) in interrupts.iter_mut().zip(&mailbox.interrupts) {
                *taken = word.swap(0, Ordering::Acquire);
            }
        }
        Mail { exit: flags & Mailbox::EXIT != 0, nmi: flags & Mailbox::NMI != 0, interrupts }
    }
}

impl<S: FrameSource> Clone for VcpuHandle<S> {
    fn clone(&self) -> Self {
        self.mailbox().owners.fetch_add(1, Ordering::Relaxed);
        Self { mailbox: self.mailbox, frame: self.frame, _source: PhantomData }
    }
}

impl<S: FrameSource> Drop for VcpuHandle<S> {
    fn drop(&mut self) {
        // Release: what this owner did is before the last owner's freeing; acquire: and the last one sees it.
        if self.mailbox().owners.fetch_sub(1, Ordering::AcqRel) == 1 {
            S::dealloc_frame(self.frame);
        }
    }
}

impl<S: FrameSource> core::fmt::Debug for VcpuHandle<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VcpuHandle").field("running_on", &self.running_on()).finish_non_exhaustive()
    }
}
