//! What other CPUs may do to a vCPU: send it interrupts, and ask it to stop.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::{
    Result,
    cpu::CpuIndex,
    frame::{FrameSource, HostFrames, Shared},
};

/// The vCPU's letter box, in a frame of its own because the vCPU itself may move.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// Whether anything below is new: the one word that the run loop looks at.
    flags: AtomicU32,
    /// The embedder's number of the CPU that runs the vCPU, plus one; 0 while it is not in `run`.
    running_on: AtomicUsize,
    /// A bit for each vector that was sent.
    interrupts: [AtomicU64; 4],
    /// For each of them, whether it is triggered by level.
    levels: [AtomicU64; 4],
    /// How often the vCPU was asked to forget its nested translations, and the last of these requests that it has answered.
    forget: AtomicU64,
    forgotten: AtomicU64,
}

impl Mailbox {
    const EXIT: u32 = 1 << 0;
    const NMI: u32 = 1 << 1;
    const INTERRUPTS: u32 = 1 << 2;
    const INIT: u32 = 1 << 3;
    /// A SIPI was sent, with the vector in the bits from `START_VECTOR` on.
    const START_UP: u32 = 1 << 4;
    const START_VECTOR: u32 = 8;
    const START: u32 = Self::START_UP | 0xff << Self::START_VECTOR;
    const FORGET: u32 = 1 << 31;
}

/// A handle to a vCPU for other CPUs and threads; it keeps working (to no effect) when the vCPU is gone.
pub struct VcpuHandle<S: FrameSource = HostFrames> {
    mailbox: Shared<Mailbox, S>,
}

/// The embedder's number of a CPU, as the letter box keeps it: plus one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTag(usize);

impl From<CpuIndex> for CpuTag {
    fn from(cpu: CpuIndex) -> Self {
        Self(cpu.number().wrapping_add(1))
    }
}

/// What was in the letter box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mail {
    /// Somebody wants `run` to come back.
    pub exit: bool,
    /// An NMI was sent.
    pub nmi: bool,
    /// An INIT was sent.
    pub init: bool,
    /// A start-up message (SIPI) was sent, after the INIT if there is one too.
    pub start_up: Option<u8>,
    /// The vectors that were sent.
    pub interrupts: [u64; 4],
    /// Those of them that are triggered by level.
    pub levels: [u64; 4],
    /// The nested page table has changed: what to answer to whoever changed it.
    pub forget: Option<Forget>,
}

/// A request to a vCPU to forget its nested translations: see [`VcpuHandle::forget_nested_translations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forget(u64);

impl<S: FrameSource> VcpuHandle<S> {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { mailbox: Shared::new(Mailbox::default())? })
    }

    /// Gives the ownership away, as an address that is not null.
    pub(crate) fn into_raw(self) -> *mut () {
        self.mailbox.into_raw()
    }

    /// The handle that [`into_raw`](Self::into_raw) gave away.
    ///
    /// # Safety
    /// `pointer` comes of `into_raw` of the same type, and is taken back once.
    pub(crate) unsafe fn from_raw(pointer: *mut ()) -> Self {
        // SAFETY: the caller's promise.
        Self { mailbox: unsafe { Shared::from_raw(pointer) } }
    }

    /// Makes an external interrupt pending, as if the vCPU's interrupt controller asked for it: its local APIC gets a fixed,
    /// edge-triggered interrupt, if it has one.
    ///
    /// It does not stop a running guest: the caller sends the CPU that [`running_on`](Self::running_on) names an
    /// interrupt, after this call.
    pub fn inject_interrupt(&self, vector: u8) {
        self.send_interrupt(vector, false);
    }

    /// Makes a fixed interrupt pending.
    pub(crate) fn send_interrupt(&self, vector: u8, level: bool) {
        let (word, bit) = (usize::from(vector >> 6) & 3, 1 << (vector & 63));
        if level {
            self.mailbox.levels[word].fetch_or(bit, Ordering::Relaxed);
        } else {
            self.mailbox.levels[word].fetch_and(!bit, Ordering::Relaxed);
        }
        // Release: whoever sees the request sees how it is triggered.
        self.mailbox.interrupts[word].fetch_or(bit, Ordering::Release);
        self.flag(Mailbox::INTERRUPTS);
    }

    /// Makes an NMI pending.
    pub fn inject_nmi(&self) {
        self.flag(Mailbox::NMI);
    }

    /// Sends an INIT. A start-up message that was sent before it and not taken is lost, as it is by a CPU that does not wait
    /// for one.
    pub(crate) fn send_init(&self) {
        self.change_flags(|flags| flags & !Mailbox::START | Mailbox::INIT);
    }

    /// Sends a start-up message (SIPI). While one waits, another is lost.
    pub(crate) fn send_start_up(&self, vector: u8) {
        self.change_flags(|flags| match flags & Mailbox::START_UP {
            0 => flags | Mailbox::START_UP | u32::from(vector) << Mailbox::START_VECTOR,
            _ => flags,
        });
    }

    /// Makes the current or the next `run` come back with [`VmExit::Interrupted`](crate::VmExit::Interrupted).
    ///
    /// The flag is looked at with the host's interrupts off before each entry; an interrupt that the caller sends to the
    /// CPU *after* this call therefore either comes before that look, or makes the guest exit.
    pub fn request_exit(&self) {
        self.flag(Mailbox::EXIT);
    }

    /// Asks the vCPU to forget what its CPU derived from the nested page table, after something was taken away from it. To be
    /// called once the table is changed; the caller then interrupts the CPU that [`running_on`](Self::running_on) names, and waits
    /// until [`has_forgotten`](Self::has_forgotten), before the memory that was mapped is used for anything else. A running
    /// guest goes on at once, without an exit to its VMM.
    pub fn forget_nested_translations(&self) -> Forget {
        let mailbox = &*self.mailbox;
        let request = mailbox.forget.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        mailbox.flags.fetch_or(Mailbox::FORGET, Ordering::SeqCst);
        Forget(request)
    }

    /// Whether the vCPU cannot use any more what it knew at that request: it has answered it, or it is not in `run`, which
    /// looks for requests before it enters the guest.
    pub fn has_forgotten(&self, request: Forget) -> bool {
        // As in `running_on`: a vCPU that is seen outside sees the request when it comes in.
        let mailbox = &*self.mailbox;
        mailbox.running_on.load(Ordering::SeqCst) == 0 || mailbox.forgotten.load(Ordering::SeqCst) >= request.0
    }

    /// The request was read where it cannot be answered: it comes again.
    #[cold]
    pub(crate) fn put_off_forgetting(&self) {
        self.mailbox.flags.fetch_or(Mailbox::FORGET, Ordering::SeqCst);
    }

    /// The answer to a request.
    pub(crate) fn forgotten(&self, request: Forget) {
        self.mailbox.forgotten.store(request.0, Ordering::SeqCst);
    }

    /// The embedder's number of the CPU on which the vCPU is inside `run`, if it is.
    pub fn running_on(&self) -> Option<usize> {
        // Sequentially consistent, as the other side's store: either the caller sees the CPU here and interrupts it, or
        // the vCPU sees the caller's mail before it enters.
        self.mailbox.running_on.load(Ordering::SeqCst).checked_sub(1)
    }

    fn flag(&self, flag: u32) {
        // Before the caller's look at `running_on`.
        self.mailbox.flags.fetch_or(flag, Ordering::SeqCst);
    }

    fn change_flags(&self, change: impl Fn(u32) -> u32) {
        let flags = &self.mailbox.flags;
        let mut old = flags.load(Ordering::Relaxed);
        while let Err(now) = flags.compare_exchange_weak(old, change(old), Ordering::SeqCst, Ordering::Relaxed) {
            old = now;
        }
    }

    #[inline(always)]
    pub(crate) fn enter_run(&self, cpu: CpuTag) {
        self.mailbox.running_on.store(cpu.0, Ordering::SeqCst);
    }

    /// As [`enter_run`](Self::enter_run), on the CPU with this number.
    #[cfg(test)]
    pub(crate) fn enter_run_on(&self, number: usize) {
        self.enter_run(CpuTag(number + 1));
    }

    #[inline(always)]
    pub(crate) fn leave_run(&self) {
        // Nobody's interrupt is missed by going; release suffices.
        self.mailbox.running_on.store(0, Ordering::Release);
    }

    /// Whether there is mail: one load, for the hot path.
    #[inline(always)]
    pub(crate) fn has_mail(&self) -> bool {
        // After the store of `enter_run`.
        self.mailbox.flags.load(Ordering::SeqCst) != 0
    }

    /// Empties the letter box.
    pub(crate) fn take(&self) -> Mail {
        let flags = self.mailbox.flags.swap(0, Ordering::Acquire);
        let mut mail = Mail {
            exit: flags & Mailbox::EXIT != 0,
            nmi: flags & Mailbox::NMI != 0,
            init: flags & Mailbox::INIT != 0,
            start_up: (flags & Mailbox::START_UP != 0).then_some((flags >> Mailbox::START_VECTOR) as u8),
            ..Mail::default()
        };
        if flags & Mailbox::INTERRUPTS != 0 {
            for (taken, word) in mail.interrupts.iter_mut().zip(&self.mailbox.interrupts) {
                *taken = word.swap(0, Ordering::Acquire);
            }
            for ((taken, word), sent) in mail.levels.iter_mut().zip(&self.mailbox.levels).zip(&mail.interrupts) {
                *taken = word.load(Ordering::Relaxed) & sent;
            }
        }
        if flags & Mailbox::FORGET != 0 {
            // Whoever has counted itself has changed the table before.
            mail.forget = Some(Forget(self.mailbox.forget.load(Ordering::SeqCst)));
        }
        mail
    }
}

impl<S: FrameSource> Clone for VcpuHandle<S> {
    fn clone(&self) -> Self {
        Self { mailbox: self.mailbox.clone() }
    }
}

impl<S: FrameSource> core::fmt::Debug for VcpuHandle<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VcpuHandle").field("running_on", &self.running_on()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nested::mock::MockFrames;

    #[test]
    fn what_is_sent_arrives_once() {
        let handle = VcpuHandle::<MockFrames>::new().expect("a frame");
        let other = handle.clone();
        other.inject_interrupt(0x20);
        other.send_interrupt(0xff, true);
        other.send_interrupt(0x41, true);
        other.inject_interrupt(0x41);
        other.inject_nmi();
        assert!(handle.has_mail());
        let mail = handle.take();
        assert_eq!(mail.interrupts, [1 << 0x20, 1 << 1, 0, 1 << 63]);
        assert_eq!(mail.levels, [0, 0, 0, 1 << 63]);
        assert!(mail.nmi && !mail.exit && !mail.init && mail.start_up.is_none());
        assert!(!handle.has_mail());
        assert_eq!(handle.take(), Mail::default());
    }

    #[test]
    fn a_start_up_message_before_an_init_is_lost() {
        let handle = VcpuHandle::<MockFrames>::new().expect("a frame");
        handle.send_start_up(0x12);
        handle.send_init();
        assert_eq!(handle.take(), Mail { init: true, ..Mail::default() });
        handle.send_init();
        handle.send_start_up(0x9a);
        handle.send_start_up(0x12);
        assert_eq!(handle.take(), Mail { init: true, start_up: Some(0x9a), ..Mail::default() });
    }

    #[test]
    fn the_last_owner_gives_the_frame_back() {
        let handle = VcpuHandle::<MockFrames>::new().expect("a frame");
        let other = handle.clone();
        drop(handle);
        assert_eq!(MockFrames::live(), 1);
        other.inject_nmi();
        drop(other);
        assert_eq!(MockFrames::live(), 0);
    }
}
