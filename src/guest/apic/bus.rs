//! What connects the local APICs of a virtual machine: it finds out for whom a message is, and puts it into their letter
//! boxes.

use core::{
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

use memory_addr::PhysAddr;

use super::message::{Addressing, ApicMessage, Identity};
use crate::{
    Error, Result, VcpuHandle,
    frame::{FrameSource, HostFrames, PhysFrame, Shared},
    spec::x86::apic::ApicDeliveryMode,
};

/// What the host does for a virtual machine: the library calls it from inside [`run`](crate::Vcpu::run), with the host's
/// interrupts off and its segments loaded, and from [`ApicBus::deliver`].
pub trait VcpuHost: Sync {
    /// Interrupts a CPU, by the embedder's number for it, so that a guest which runs there exits. An interrupt whose handler
    /// does nothing is enough; it may arrive late, but not be lost.
    fn kick(&self, cpu: usize);

    /// Something arrived for a vCPU that is not inside `run`. A VMM whose thread sleeps because the guest has halted, or
    /// waits for its start, wakes it: the vCPU's [`has_pending_event`](crate::Vcpu::has_pending_event) may be true now.
    fn wake(&self, apic_id: u32) {
        let _ = apic_id;
    }

    /// Asks for an interrupt on the CPU that executes this when its time-stamp counter reaches `deadline`: of the guest's
    /// timer, or of its time slice. An earlier request is void; `None`: there is nothing to wait for. A host that does
    /// nothing here makes timers late, until the next exit, where the CPU cannot time its guest itself.
    fn set_timer(&self, deadline: Option<u64>) {
        let _ = deadline;
    }
}

/// How many vCPUs a bus has room for.
const SLOTS: usize = 120;

struct Content<S: FrameSource> {
    host: &'static dyn VcpuHost,
    /// What stands for the registers in the nested page table, if the CPU makes something of it.
    access_page: Option<PhysFrame<S>>,
    /// Where the next arbitration between equals begins.
    turn: AtomicU32,
    slots: [Slot; SLOTS],
}

/// What the others know of a vCPU.
struct Slot {
    /// How many are about to use the letter box: as long, it stays.
    users: AtomicU32,
    /// Bits of `Slot`.
    state: AtomicU32,
    id: AtomicU32,
    logical: AtomicU32,
    /// The processor priority, as it was last written by software: a hint for the arbitration.
    priority: AtomicU32,
    /// A handle that was given away; null: the slot is free.
    handle: AtomicPtr<()>,
}

impl Slot {
    /// Whether anybody may be addressed here.
    const ENABLED: u32 = 1 << 0;
    /// Whether fixed interrupts are taken.
    const SOFTWARE_ENABLED: u32 = 1 << 1;
    const FLAT: u32 = 1 << 2;
    const CLUSTER: u32 = 1 << 3;
    const X2APIC: u32 = 1 << 4;
    /// Whether the slot is taken.
    const TAKEN: u32 = 1 << 5;

    fn identity(&self, state: u32) -> Identity {
        Identity {
            id: self.id.load(Ordering::Relaxed),
            logical: self.logical.load(Ordering::Relaxed),
            addressing: match state & (Self::FLAT | Self::CLUSTER | Self::X2APIC) {
                Self::FLAT => Addressing::Flat,
                Self::CLUSTER => Addressing::Cluster,
                Self::X2APIC => Addressing::X2apic,
                _ => Addressing::None,
            },
        }
    }

    /// Whether a message is for this one.
    fn takes(&self, message: &ApicMessage, is_sender: bool) -> bool {
        let state = self.state.load(Ordering::SeqCst);
        let wanted = match message.delivery {
            ApicDeliveryMode::FIXED | ApicDeliveryMode::LOWEST_PRIORITY => Self::ENABLED | Self::SOFTWARE_ENABLED,
            _ => Self::ENABLED,
        };
        state & wanted == wanted && self.identity(state).matches(message.destination, is_sender)
    }
}

/// The local APICs of a virtual machine, for those who send them messages: its vCPUs, and the VMM's devices.
///
/// It has room for 120 vCPUs, and lives in a frame that its last owner gives back. All methods may be called on every CPU at
/// any time.
pub struct ApicBus<S: FrameSource = HostFrames> {
    content: Shared<Content<S>, S>,
}

impl<S: FrameSource> ApicBus<S> {
    /// A bus without vCPUs.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn new(host: &'static dyn VcpuHost) -> Result<Self> {
        let access_page = if has_access_pages() { Some(PhysFrame::alloc_zero()?) } else { None };
        let content = Content { host, access_page, turn: AtomicU32::new(0), slots: [const { Slot::free() }; SLOTS] };
        Ok(Self { content: Shared::new(content)? })
    }

    /// The host, as [`new`](Self::new) was told.
    pub fn host(&self) -> &'static dyn VcpuHost {
        self.content.host
    }

    /// The frame that the VMM may map for the guest, readable and writable, at the guest-physical address FEE00000H, where the
    /// registers are: the CPU then answers accesses to it (VMX: the APIC-access page, SDM volume 3, "Virtualizing
    /// Memory-Mapped APIC Accesses"), or makes the vCPU exit with less work than a page that is not mapped. `None` where
    /// the CPU makes nothing of it: mapped there, such a page would be mere memory.
    ///
    /// A VMM that maps it maps it for all vCPUs of the machine, each of which is on this bus; while a guest has turned its
    /// local APIC off, moved it or switched it to x2APIC mode, the page is memory without a purpose. One that maps nothing
    /// at this address loses speed alone. The frame stays as long as the bus or a vCPU on it does.
    pub fn access_page(&self) -> Option<PhysAddr> {
        self.content.access_page.as_ref().map(PhysFrame::start_paddr)
    }

    /// Delivers the message of a device: an MSI, or an I/O APIC's. The result says whether there was anybody for it.
    ///
    /// Messages of a kind that the bus does not carry (SMI, ExtINT) are for nobody: the output of a PIC goes to the vCPU
    /// that [accepts it](crate::Vcpu::accepts_pic).
    pub fn deliver(&self, message: ApicMessage) -> bool {
        self.send(None, message)
    }

    fn send(&self, sender: Option<usize>, message: ApicMessage) -> bool {
        let slots = &self.content.slots;
        let matches = |index: usize, slot: &Slot| slot.takes(&message, sender == Some(index));
        if message.delivery == ApicDeliveryMode::LOWEST_PRIORITY {
            let Some((index, slot)) = self.arbitrate(matches) else { return false };
            return self.post(index, slot, sender, &message);
        }
        let mut found = false;
        for (index, slot) in (0..SLOTS).zip(slots) {
            if matches(index, slot) {
                found |= self.post(index, slot, sender, &message);
            }
        }
        found
    }

    /// Which of those for whom a message is has the lowest priority. Among equals it is somebody else's turn each time.
    fn arbitrate(&self, matches: impl Fn(usize, &Slot) -> bool) -> Option<(usize, &Slot)> {
        let turn = self.content.turn.fetch_add(1, Ordering::Relaxed) as usize;
        let candidates = || (0..SLOTS).zip(&self.content.slots).filter(|(index, slot)| matches(*index, slot));
        let lowest = candidates().map(|(_, slot)| slot.class()).min()?;
        let equals = || candidates().filter(|(_, slot)| slot.class() == lowest);
        // Somebody may just have changed their address.
        let skip = turn.checked_rem(equals().fold(0usize, |count, _| count.wrapping_add(1))).unwrap_or(0);
        equals().nth(skip).or_else(|| candidates().next())
    }

    /// Puts a message into a letter box, and gets its owner to look.
    fn post(&self, index: usize, slot: &Slot, sender: Option<usize>, message: &ApicMessage) -> bool {
        slot.users.fetch_add(1, Ordering::SeqCst);
        // Whoever leaves takes the state away first and then waits for the users: after this look the letter box stays.
        let pointer = if slot.takes(message, sender == Some(index)) {
            slot.handle.load(Ordering::SeqCst)
        } else {
            ptr::null_mut()
        };
        let mut running_on = None;
        let mut sent = false;
        if !pointer.is_null() {
            // SAFETY: `join` put the pointer there; `leave` takes it back when nobody uses it, which this one does until
            // below. The handle is borrowed, so it is not dropped.
            let handle = core::mem::ManuallyDrop::new(unsafe { VcpuHandle::<S>::from_raw(pointer) });
            sent = true;
            match message.delivery {
                ApicDeliveryMode::FIXED | ApicDeliveryMode::LOWEST_PRIORITY => {
                    handle.send_interrupt(message.vector, message.level);
                }
                ApicDeliveryMode::NMI => handle.inject_nmi(),
                // Nobody but the sender knows itself.
                ApicDeliveryMode::INIT if sender != Some(index) => handle.send_init(),
                ApicDeliveryMode::START_UP if sender != Some(index) => handle.send_start_up(message.vector),
                _ => sent = false,
            }
            running_on = handle.running_on();
        }
        let id = slot.id.load(Ordering::Relaxed);
        slot.users.fetch_sub(1, Ordering::SeqCst);
        // The sender itself looks for its mail before it enters its guest.
        if sent && sender != Some(index) {
            match running_on {
                Some(cpu) => self.content.host.kick(cpu),
                None => self.content.host.wake(id),
            }
        }
        sent
    }

    /// Whether more than one vCPU is here.
    #[cfg(feature = "replay")]
    pub(crate) fn is_shared(&self) -> bool {
        let taken = |slot: &&Slot| slot.state.load(Ordering::SeqCst) & Slot::TAKEN != 0;
        self.content.slots.iter().filter(taken).nth(1).is_some()
    }

    /// A place for one more vCPU.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when there is one with this id, or no room.
    pub(crate) fn join(&self, id: u32, handle: VcpuHandle<S>) -> Result<BusLink<S>> {
        let slots = &self.content.slots;
        let has_id =
            |slot: &Slot| slot.state.load(Ordering::SeqCst) & Slot::TAKEN != 0 && slot.id.load(Ordering::Relaxed) == id;
        if slots.iter().any(has_id) {
            return Err(Error::InvalidInput("two vCPUs with the same APIC id on one bus"));
        }
        let pointer = handle.into_raw();
        for (index, slot) in slots.iter().enumerate() {
            let taken = slot.handle.compare_exchange(ptr::null_mut(), pointer, Ordering::SeqCst, Ordering::Relaxed);
            if taken.is_ok() {
                slot.id.store(id, Ordering::Relaxed);
                slot.priority.store(0, Ordering::Relaxed);
                slot.state.store(Slot::TAKEN, Ordering::SeqCst);
                return Ok(BusLink { bus: self.clone(), index });
            }
        }
        // SAFETY: it was given away just above.
        drop(unsafe { VcpuHandle::<S>::from_raw(pointer) });
        Err(Error::InvalidInput("more vCPUs than an APIC bus has room for"))
    }
}

/// Whether the CPUs of this machine have "virtualize APIC accesses".
fn has_access_pages() -> bool {
    #[cfg(feature = "vmx")]
    if crate::vmx::has_apic_access_pages() {
        return true;
    }
    false
}

impl Slot {
    const fn free() -> Self {
        Self {
            users: AtomicU32::new(0),
            state: AtomicU32::new(0),
            id: AtomicU32::new(0),
            logical: AtomicU32::new(0),
            priority: AtomicU32::new(0),
            handle: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The class of the priority.
    fn class(&self) -> u32 {
        self.priority.load(Ordering::Relaxed) >> 4
    }
}

impl<S: FrameSource> Clone for ApicBus<S> {
    fn clone(&self) -> Self {
        Self { content: self.content.clone() }
    }
}

impl<S: FrameSource> core::fmt::Debug for ApicBus<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let taken = |slot: &&Slot| slot.state.load(Ordering::Relaxed) & Slot::TAKEN != 0;
        f.debug_struct("ApicBus")
            .field("vcpus", &self.content.slots.iter().filter(taken).count())
            .finish_non_exhaustive()
    }
}

/// A vCPU's place on a bus.
pub(crate) struct BusLink<S: FrameSource> {
    bus: ApicBus<S>,
    index: usize,
}

impl<S: FrameSource> BusLink<S> {
    fn slot(&self) -> Option<&Slot> {
        self.bus.content.slots.get(self.index)
    }

    pub(super) fn publish(&self, identity: Identity, enabled: bool, software_enabled: bool) {
        let Some(slot) = self.slot() else { return };
        slot.id.store(identity.id, Ordering::Relaxed);
        slot.logical.store(identity.logical, Ordering::Relaxed);
        let addressing = match identity.addressing {
            Addressing::None => 0,
            Addressing::Flat => Slot::FLAT,
            Addressing::Cluster => Slot::CLUSTER,
            Addressing::X2apic => Slot::X2APIC,
        };
        let flag = |bit, value| if value { bit } else { 0 };
        let state = addressing | flag(Slot::ENABLED, enabled) | flag(Slot::SOFTWARE_ENABLED, software_enabled);
        slot.state.store(state | Slot::TAKEN, Ordering::SeqCst);
    }

    pub(super) fn publish_priority(&self, priority: u32) {
        if let Some(slot) = self.slot() {
            slot.priority.store(priority, Ordering::Relaxed);
        }
    }

    /// Sends a message of this vCPU.
    pub(super) fn send(&self, message: ApicMessage) {
        self.bus.send(Some(self.index), message);
    }

    pub(crate) fn bus(&self) -> &ApicBus<S> {
        &self.bus
    }
}

impl<S: FrameSource> Drop for BusLink<S> {
    fn drop(&mut self) {
        let Some(slot) = self.slot() else { return };
        slot.state.store(0, Ordering::SeqCst);
        // Those who have seen the state before are done soon: they neither wait nor call anybody meanwhile.
        while slot.users.load(Ordering::SeqCst) != 0 {
            core::hint::spin_loop();
        }
        let pointer = slot.handle.swap(ptr::null_mut(), Ordering::SeqCst);
        if !pointer.is_null() {
            // SAFETY: `join` put the pointer there, it is taken back once, and nobody uses it any more.
            drop(unsafe { VcpuHandle::<S>::from_raw(pointer) });
        }
    }
}

const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<ApicBus>();
};
