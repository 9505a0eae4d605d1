//! A local APIC: its state, what it is told of from outside, and how it begins.

use core::num::NonZeroU16;

use super::{ApicMessage, VcpuHost, bus::BusLink, page::RegisterPage, timer::Timer};
use crate::{
    Result,
    frame::FrameSource,
    spec::x86::{
        apic::{ApicDeliveryMode, ApicRegister, ErrorStatus, LvtError, LvtLint, LvtMonitor, SpuriousInterruptVector},
        msrs::{ApicBase, IA32_APIC_BASE_RESET},
    },
};

/// What a local APIC offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApicConfig {
    /// How often the host's time-stamp counter counts while the undivided timer counts once.
    pub timer_ratio: NonZeroU16,
    /// The shortest period of a periodic timer, in counts of the host's time-stamp counter: a shorter one is stretched, lest
    /// a guest keep its host busy with nothing but its timer.
    pub least_timer_period: u32,
    /// Whether the timer has TSC-deadline mode.
    pub tsc_deadline: bool,
    /// Whether the guest may change to x2APIC mode.
    pub x2apic: bool,
    /// Whether the guest may turn the broadcast of EOIs off: it then tells I/O APICs itself, which those of the VMM must have
    /// a register for.
    pub eoi_broadcast_suppression: bool,
    /// Whether the bootstrap processor begins as firmware leaves it: turned on, with LINT0 as the input of a PIC (ExtINT) and
    /// LINT1 as that of NMIs. Else it begins as after a reset, with both masked.
    pub virtual_wire: bool,
    /// Whether the CPU's own virtualization of local APICs is used.
    pub virtualization: ApicVirtualization,
}

/// Who does what a local APIC does. The guest cannot tell, but for the time that it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApicVirtualization {
    /// The CPU, as far as it can; the library does the rest.
    #[default]
    Auto,
    /// The library: each access exits.
    Software,
}

impl ApicConfig {
    /// A timer that counts as the time-stamp counter does, with TSC-deadline and x2APIC modes.
    pub const fn new() -> Self {
        Self {
            timer_ratio: NonZeroU16::MIN,
            least_timer_period: 1 << 14,
            tsc_deadline: true,
            x2apic: true,
            eoi_broadcast_suppression: false,
            virtual_wire: false,
            virtualization: ApicVirtualization::Auto,
        }
    }
}

impl Default for ApicConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// A source of interrupts that has an entry of its own in the local vector table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalInterrupt {
    /// The first input pin.
    Lint0,
    /// The second input pin: NMIs, most often.
    Lint1,
    /// The thermal sensor.
    Thermal,
    /// The performance-monitoring counters.
    Performance,
}

/// What an access to a register leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing more.
    None,
    /// When the timer is due may have changed.
    Timer,
    /// The I/O APICs have to know.
    EndOfInterrupt { vector: u8 },
    /// A message leaves.
    Send(ApicMessage),
}

/// A local APIC.
pub(crate) struct LocalApic<S: FrameSource> {
    pub(super) page: RegisterPage<S>,
    pub(super) base: ApicBase,
    pub(super) id: u32,
    bootstrap: bool,
    /// What has gone wrong since the last write of the error status register.
    pub(super) errors: ErrorStatus,
    pub(super) timer: Timer,
    pub(super) config: ApicConfig,
    pub(super) link: Option<BusLink<S>>,
}

impl<S: FrameSource> LocalApic<S> {
    /// The local APIC with this id after a reset.
    ///
    /// # Errors
    /// [`Error::NoMemory`](crate::Error::NoMemory).
    pub(crate) fn new(id: u32, bootstrap: bool, config: ApicConfig) -> Result<Self> {
        let mut apic = Self {
            page: RegisterPage::new()?,
            base: ApicBase::empty(),
            id,
            bootstrap,
            errors: ErrorStatus::empty(),
            timer: Timer::default(),
            config,
            link: None,
        };
        apic.reset();
        Ok(apic)
    }

    /// A reset, and what firmware would do then.
    pub(crate) fn reset(&mut self) {
        self.base = ApicBase::from_bits(IA32_APIC_BASE_RESET);
        self.base.set(ApicBase::BSP, self.bootstrap);
        self.reset_registers();
        if self.config.virtual_wire && self.bootstrap {
            self.use_virtual_wire();
        }
        self.publish();
    }

    /// Connects it to the others.
    pub(crate) fn connect(&mut self, link: BusLink<S>) {
        self.link = Some(link);
        self.publish();
    }

    /// An INIT: a reset but for the id and the mode. SDM volume 3, "Local APIC State After an INIT Reset".
    pub(crate) fn init(&mut self) {
        self.reset_registers();
        self.publish();
    }

    fn use_virtual_wire(&mut self) {
        let spurious = self.spurious().with(SpuriousInterruptVector::ENABLE);
        self.page.write(ApicRegister::SPURIOUS_INTERRUPT_VECTOR, spurious.bits());
        for (pin, mode) in
            [(ApicRegister::LVT_LINT0, ApicDeliveryMode::EXT_INT), (ApicRegister::LVT_LINT1, ApicDeliveryMode::NMI)]
        {
            self.page.write(pin, LvtLint::empty().with_delivery_mode(mode).bits());
        }
    }

    pub(super) fn spurious(&self) -> SpuriousInterruptVector {
        SpuriousInterruptVector::from_bits(self.page.read(ApicRegister::SPURIOUS_INTERRUPT_VECTOR))
    }

    /// Whether it is there and software has turned it on.
    pub(crate) fn is_software_enabled(&self) -> bool {
        self.is_enabled() && self.spurious().contains(SpuriousInterruptVector::ENABLE)
    }

    /// Whether the CPU takes the interrupts of a PIC that is wired to LINT0. Without a local APIC, the wire leads to the CPU.
    pub(crate) fn accepts_pic(&self) -> bool {
        let entry = LvtLint::from_bits(self.page.read(ApicRegister::LVT_LINT0));
        !self.is_enabled() || !entry.contains(LvtLint::MASKED) && entry.delivery_mode() == ApicDeliveryMode::EXT_INT
    }

    /// A local source signals. The result says whether the CPU gets an NMI; a fixed interrupt is requested here.
    #[must_use]
    pub(crate) fn signal(&mut self, source: LocalInterrupt) -> bool {
        let register = match source {
            LocalInterrupt::Lint0 => ApicRegister::LVT_LINT0,
            LocalInterrupt::Lint1 => ApicRegister::LVT_LINT1,
            LocalInterrupt::Thermal => ApicRegister::LVT_THERMAL,
            LocalInterrupt::Performance => ApicRegister::LVT_PERFORMANCE,
        };
        if !self.is_enabled() {
            // The pins are the CPU's own: INTR and NMI.
            return source == LocalInterrupt::Lint1;
        }
        let entry = LvtMonitor::from_bits(self.page.read(register));
        if entry.contains(LvtMonitor::MASKED) {
            return false;
        }
        match entry.delivery_mode() {
            ApicDeliveryMode::FIXED => {
                let level = matches!(source, LocalInterrupt::Lint0 | LocalInterrupt::Lint1) && {
                    let pin = LvtLint::from_bits(self.page.read(register));
                    // Until its EOI, a level is not taken again.
                    if pin.contains(LvtLint::LEVEL.with(LvtLint::REMOTE_IRR)) {
                        return false;
                    }
                    if pin.contains(LvtLint::LEVEL) {
                        self.page.write(register, pin.with(LvtLint::REMOTE_IRR).bits());
                    }
                    pin.contains(LvtLint::LEVEL)
                };
                self.request(entry.vector(), level);
                false
            }
            ApicDeliveryMode::NMI => true,
            // ExtINT is asked for with `accepts_pic`; there is no SMM, and what INIT does to its own CPU nobody uses.
            _ => false,
        }
    }

    /// Something went wrong; software learns of it with its next write of the error status register, and by an interrupt.
    pub(super) fn error(&mut self, error: ErrorStatus) {
        let is_new = !self.errors.contains(error);
        self.errors.insert(error);
        let entry = LvtError::from_bits(self.page.read(ApicRegister::LVT_ERROR));
        // The interrupt's own illegal vector makes no further one.
        if is_new && !entry.contains(LvtError::MASKED) {
            self.request(entry.vector(), false);
        }
    }

    /// Lets the others know how this one is addressed.
    pub(super) fn publish(&self) {
        if let Some(link) = &self.link {
            link.publish(self.identity(), self.is_enabled(), self.is_software_enabled());
        }
    }

    /// Whether others are on the same bus.
    #[cfg(feature = "replay")]
    pub(crate) fn shares_bus(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.bus().is_shared())
    }

    /// The host of the bus.
    pub(crate) fn host(&self) -> Option<&'static dyn VcpuHost> {
        self.link.as_ref().map(|link| link.bus().host())
    }

    /// Sends a message; `false` when there is nobody to send it to, and the VMM has to.
    #[must_use]
    pub(crate) fn send(&self, message: ApicMessage) -> bool {
        let Some(link) = &self.link else { return false };
        link.send(message);
        true
    }
}
