//! Accesses to the registers: through the page of the xAPIC, and as MSRs of the x2APIC.
//!
//! SDM volume 3, "Local APIC Register Address Map", "x2APIC Register Address Space", "Reserved Bit Checking in x2APIC Mode".

use super::{Effect, LocalApic, Moment, page};
use crate::{
    exit::Width,
    frame::FrameSource,
    guest::control::Fault,
    spec::{
        Msr,
        x86::{
            apic::{
                ApicRegister, ApicTimerMode, DestinationFormat, DivideConfiguration, ErrorStatus, InterruptCommand,
                LocalApicVersion, LogicalDestination, LvtError, LvtLint, LvtMonitor, LvtTimer, SelfIpi,
                SpuriousInterruptVector, TaskPriority, X2apicInterruptCommand,
            },
            msrs::IA32_X2APIC_APICID,
        },
    },
};

/// The bits of the divide configuration that mean something.
pub(super) const DIVIDE_BITS: u32 = crate::spec::x86::apic::ApicTimerDivide::BY_1.0 as u32;

/// The entries of the local vector table.
pub(super) const LVT: [ApicRegister; 6] = [
    ApicRegister::LVT_TIMER,
    ApicRegister::LVT_THERMAL,
    ApicRegister::LVT_PERFORMANCE,
    ApicRegister::LVT_LINT0,
    ApicRegister::LVT_LINT1,
    ApicRegister::LVT_ERROR,
];

/// The bits of the error status register.
pub(super) const ERRORS: u32 = ErrorStatus::SEND_CHECKSUM
    .with(ErrorStatus::RECEIVE_CHECKSUM)
    .with(ErrorStatus::SEND_ACCEPT)
    .with(ErrorStatus::RECEIVE_ACCEPT)
    .with(ErrorStatus::REDIRECTABLE_IPI)
    .with(ErrorStatus::SEND_ILLEGAL_VECTOR)
    .with(ErrorStatus::RECEIVE_ILLEGAL_VECTOR)
    .with(ErrorStatus::ILLEGAL_REGISTER_ADDRESS)
    .bits();

/// The mask bit, which is the same in all of them.
pub(super) const MASKED: u32 = LvtTimer::MASKED.bits();
const _: () = assert!(MASKED == LvtLint::MASKED.bits() && MASKED == LvtError::MASKED.bits());

/// The register that an MSR of the x2APIC's range is: a 16th of the offset, from the start of the range.
pub(crate) fn register_of(msr: Msr) -> Option<ApicRegister> {
    let number = msr.0.checked_sub(IA32_X2APIC_APICID.0 - u32::from(ApicRegister::ID.0 / 16))?;
    u16::try_from(number).ok().filter(|number| *number <= u8::MAX.into()).map(|number| ApicRegister(number * 16))
}

/// The MSR that is this register.
#[cfg(feature = "vmx")]
pub(crate) fn msr_of(register: ApicRegister) -> Msr {
    Msr(IA32_X2APIC_APICID.0.wrapping_add(u32::from(register.0 / 16)).wrapping_sub(u32::from(ApicRegister::ID.0 / 16)))
}

/// What may be done to a register.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Absent,
    ReadOnly,
    WriteOnly,
    ReadWrite,
}

fn kind(register: ApicRegister, x2apic: bool) -> Kind {
    match register {
        ApicRegister::ID | ApicRegister::LOGICAL_DESTINATION if x2apic => Kind::ReadOnly,
        ApicRegister::DESTINATION_FORMAT | ApicRegister::INTERRUPT_COMMAND_HIGH if x2apic => Kind::Absent,
        ApicRegister::SELF_IPI if !x2apic => Kind::Absent,
        // The id is what the VMM gave; CPUs that can change it are old ones.
        ApicRegister::ID | ApicRegister::VERSION | ApicRegister::PROCESSOR_PRIORITY | ApicRegister::CURRENT_COUNT => {
            Kind::ReadOnly
        }
        ApicRegister::END_OF_INTERRUPT | ApicRegister::SELF_IPI => Kind::WriteOnly,
        ApicRegister::TASK_PRIORITY
        | ApicRegister::LOGICAL_DESTINATION
        | ApicRegister::DESTINATION_FORMAT
        | ApicRegister::SPURIOUS_INTERRUPT_VECTOR
        | ApicRegister::ERROR_STATUS
        | ApicRegister::INTERRUPT_COMMAND_LOW
        | ApicRegister::INTERRUPT_COMMAND_HIGH
        | ApicRegister::INITIAL_COUNT
        | ApicRegister::DIVIDE_CONFIGURATION => Kind::ReadWrite,
        other if LVT.contains(&other) => Kind::ReadWrite,
        other if page::is_vector_set(other) => Kind::ReadOnly,
        _ => Kind::Absent,
    }
}

impl<S: FrameSource> LocalApic<S> {
    /// The bits of a register that software writes.
    fn writable(&self, register: ApicRegister) -> u32 {
        match register {
            ApicRegister::TASK_PRIORITY => TaskPriority::CLASS_MASK.with(TaskPriority::SUBCLASS_MASK).bits(),
            ApicRegister::LOGICAL_DESTINATION => LogicalDestination::LOGICAL_ID_MASK.bits(),
            ApicRegister::DESTINATION_FORMAT => DestinationFormat::MODEL_MASK.bits(),
            ApicRegister::SPURIOUS_INTERRUPT_VECTOR => {
                let mut bits = SpuriousInterruptVector::VECTOR_MASK
                    .with(SpuriousInterruptVector::ENABLE)
                    .with(SpuriousInterruptVector::FOCUS_CHECKING_DISABLE);
                bits.set(SpuriousInterruptVector::EOI_BROADCAST_SUPPRESSION, self.config.eoi_broadcast_suppression);
                bits.bits()
            }
            ApicRegister::LVT_TIMER => {
                let mut bits = LvtTimer::VECTOR_MASK.with(LvtTimer::MASKED).with(LvtTimer::MODE_MASK);
                if !self.config.tsc_deadline {
                    // Without the mode, its bit is reserved.
                    bits.remove(LvtTimer::empty().with_mode(ApicTimerMode::TSC_DEADLINE));
                }
                bits.bits()
            }
            ApicRegister::LVT_THERMAL | ApicRegister::LVT_PERFORMANCE => {
                LvtMonitor::VECTOR_MASK.with(LvtMonitor::DELIVERY_MODE_MASK).with(LvtMonitor::MASKED).bits()
            }
            ApicRegister::LVT_LINT0 | ApicRegister::LVT_LINT1 => LvtLint::VECTOR_MASK
                .with(LvtLint::DELIVERY_MODE_MASK)
                .with(LvtLint::ACTIVE_LOW)
                .with(LvtLint::LEVEL)
                .with(LvtLint::MASKED)
                .bits(),
            ApicRegister::LVT_ERROR => LvtError::VECTOR_MASK.with(LvtError::MASKED).bits(),
            ApicRegister::INITIAL_COUNT => u32::MAX,
            ApicRegister::DIVIDE_CONFIGURATION => DIVIDE_BITS,
            ApicRegister::SELF_IPI => SelfIpi::VECTOR_MASK.bits(),
            _ => 0,
        }
    }

    /// The bits that software reads, and may write back to no effect.
    fn ignored(register: ApicRegister) -> u32 {
        match register {
            ApicRegister::LVT_LINT0 | ApicRegister::LVT_LINT1 => LvtLint::SEND_PENDING.with(LvtLint::REMOTE_IRR).bits(),
            other if LVT.contains(&other) => LvtTimer::SEND_PENDING.bits(),
            _ => 0,
        }
    }

    /// Whether a register may hold this.
    pub(super) fn can_hold(&self, register: ApicRegister, value: u32) -> bool {
        let bits = match register {
            ApicRegister::ERROR_STATUS => ERRORS,
            _ => self.writable(register) | Self::ignored(register),
        };
        value & !bits == 0
    }

    /// A read of the page, at this offset. What is not a register reads as 0.
    pub(crate) fn read_page(&mut self, offset: u16, width: Width, now: Moment) -> u64 {
        let register = ApicRegister(offset & !15);
        let value = match kind(register, false) {
            Kind::Absent => {
                self.error(ErrorStatus::ILLEGAL_REGISTER_ADDRESS);
                0
            }
            Kind::WriteOnly => 0,
            Kind::ReadOnly | Kind::ReadWrite => u64::from(self.read(register, now)),
        };
        // A part of a register, or more: what lies behind the 32 bits is 0.
        value.checked_shr(u32::from(offset & 15) * 8).unwrap_or(0) & width.mask()
    }

    /// A write of the page, at this offset. Only 32 bits at the start of a register are one: the manual leaves open what any
    /// other does, and here it is nothing.
    pub(crate) fn write_page(&mut self, offset: u16, width: Width, value: u64, now: Moment) -> Effect {
        let register = ApicRegister(offset);
        if offset & 15 != 0 || width != Width::Dword {
            return Effect::None;
        }
        match kind(register, false) {
            Kind::Absent => {
                self.error(ErrorStatus::ILLEGAL_REGISTER_ADDRESS);
                Effect::None
            }
            Kind::ReadOnly => Effect::None,
            Kind::WriteOnly | Kind::ReadWrite => self.write(register, value as u32, now),
        }
    }

    /// RDMSR of a register in x2APIC mode.
    ///
    /// # Errors
    /// #GP(0).
    pub(crate) fn read_msr(&mut self, msr: Msr, now: Moment) -> Result<u64, Fault> {
        let register = register_of(msr).filter(|_| self.is_x2apic()).ok_or(Fault)?;
        match kind(register, true) {
            Kind::Absent | Kind::WriteOnly => Err(Fault),
            Kind::ReadOnly | Kind::ReadWrite if register == ApicRegister::INTERRUPT_COMMAND_LOW => {
                Ok(self.page.read_wide(register))
            }
            Kind::ReadOnly | Kind::ReadWrite => Ok(self.read(register, now).into()),
        }
    }

    /// WRMSR of a register in x2APIC mode.
    ///
    /// # Errors
    /// #GP(0).
    pub(crate) fn write_msr(&mut self, msr: Msr, value: u64, now: Moment) -> Result<Effect, Fault> {
        let register = register_of(msr).filter(|_| self.is_x2apic()).ok_or(Fault)?;
        if let Kind::Absent | Kind::ReadOnly = kind(register, true) {
            return Err(Fault);
        }
        if register == ApicRegister::INTERRUPT_COMMAND_LOW {
            return self.write_x2apic_command(X2apicInterruptCommand::from_bits(value));
        }
        // EOI and ESR take only 0.
        if value & !u64::from(self.writable(register) | Self::ignored(register)) != 0 {
            return Err(Fault);
        }
        Ok(self.write(register, value as u32, now))
    }

    fn read(&mut self, register: ApicRegister, now: Moment) -> u32 {
        match register {
            ApicRegister::CURRENT_COUNT => self.current_count(now),
            ApicRegister::PROCESSOR_PRIORITY => {
                self.update_priority();
                self.page.read(register)
            }
            _ => self.page.read(register),
        }
    }

    /// Writes a register that can be written. Reserved bits are left out.
    pub(super) fn write(&mut self, register: ApicRegister, value: u32, now: Moment) -> Effect {
        let value_kept = value & self.writable(register);
        match register {
            ApicRegister::TASK_PRIORITY => self.write_task_priority(TaskPriority::from_bits(value_kept)),
            ApicRegister::END_OF_INTERRUPT => {
                return match self.end_of_interrupt() {
                    Some(vector) => Effect::EndOfInterrupt { vector },
                    None => Effect::None,
                };
            }
            ApicRegister::LOGICAL_DESTINATION => {
                self.page.write(register, value_kept);
                self.publish();
            }
            ApicRegister::DESTINATION_FORMAT => {
                self.page.write(register, value_kept | DestinationFormat::RESERVED_TO_1.bits());
                self.publish();
            }
            ApicRegister::SPURIOUS_INTERRUPT_VECTOR => {
                self.page.write(register, value_kept);
                if !self.is_software_enabled() {
                    self.mask_all(now);
                }
                self.publish();
                return Effect::Timer;
            }
            ApicRegister::ERROR_STATUS => {
                // What has gone wrong since the last write shows up.
                let errors = core::mem::take(&mut self.errors);
                self.page.write(register, errors.bits());
            }
            ApicRegister::INTERRUPT_COMMAND_LOW => {
                let high = u64::from(self.page.read(ApicRegister::INTERRUPT_COMMAND_HIGH)) << 32;
                return self.write_command(InterruptCommand::from_bits(high | u64::from(value)));
            }
            ApicRegister::INTERRUPT_COMMAND_HIGH => {
                let destination = InterruptCommand::DESTINATION_MASK.bits() >> 32;
                self.page.write(register, value & destination as u32);
            }
            ApicRegister::LVT_TIMER => {
                self.write_timer_entry(LvtTimer::from_bits(value_kept | self.mask_bit()), now);
                return Effect::Timer;
            }
            ApicRegister::LVT_LINT0 | ApicRegister::LVT_LINT1 => {
                let level = LvtLint::from_bits(value_kept).contains(LvtLint::LEVEL);
                let read_only = if level { self.page.read(register) & LvtLint::REMOTE_IRR.bits() } else { 0 };
                self.page.write(register, value_kept | read_only | self.mask_bit());
            }
            ApicRegister::INITIAL_COUNT => {
                self.write_initial_count(value, now);
                return Effect::Timer;
            }
            ApicRegister::DIVIDE_CONFIGURATION => {
                self.write_divide_configuration(value_kept, now);
                return Effect::Timer;
            }
            ApicRegister::SELF_IPI => self.send_to_self(SelfIpi::from_bits(value_kept).vector(), false),
            // The others of the local vector table.
            _ => self.page.write(register, value_kept | self.mask_bit()),
        }
        Effect::None
    }

    /// What a write of the local vector table cannot clear: while software has turned the APIC off, the entries are masked.
    fn mask_bit(&self) -> u32 {
        if self.is_software_enabled() { 0 } else { MASKED }
    }

    fn mask_all(&mut self, now: Moment) {
        self.advance_timer(now);
        for entry in LVT {
            let value = self.page.read(entry);
            self.page.write(entry, value | MASKED);
        }
    }

    /// The registers after a reset, in the mode that is set: SDM volume 3, "Local APIC State After Power-Up or Reset",
    /// "Local APIC State After It Has Been Software Disabled".
    pub(super) fn reset_registers(&mut self) {
        self.page.clear();
        self.errors = ErrorStatus::empty();
        self.reset_timer();
        // An integrated one. No CMCI entry: the guest has no machine-check banks.
        const VERSION: u8 = 0x14;
        let mut version = LocalApicVersion::empty().with_version(VERSION).with_max_lvt_entry(LVT.len() as u8 - 1);
        version.set(LocalApicVersion::EOI_BROADCAST_SUPPRESSION, self.config.eoi_broadcast_suppression);
        self.page.write(ApicRegister::VERSION, version.bits());
        self.page.write(ApicRegister::SPURIOUS_INTERRUPT_VECTOR, SpuriousInterruptVector::VECTOR_MASK.bits());
        for entry in LVT {
            self.page.write(entry, MASKED);
        }
        self.write_identity();
        self.update_priority();
    }
}

const _: () = assert!(DIVIDE_BITS & !DivideConfiguration::DIVIDE_MASK.bits() == 0);
