//! The messages that local APICs, I/O APICs and devices send each other.

use crate::spec::x86::apic::{
    ApicDeliveryMode, ApicDestinationShorthand, InterruptCommand, MsiAddress, MsiData, X2apicInterruptCommand,
};

/// To whom a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApicDestination {
    /// To the local APIC with this id.
    Physical(u32),
    /// To the local APICs whose logical id matches, as the destination format register and the mode of each say.
    Logical(u32),
    /// To all, the sender's own too.
    All,
    /// To all but the sender's own.
    Others,
}

/// An interrupt on its way to one local APIC or several: an interprocessor interrupt, or a device's.
///
/// SDM volume 3, "Interrupt Command Register (ICR)", "Message Signalled Interrupts".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApicMessage {
    /// To whom it goes.
    pub destination: ApicDestination,
    /// How it is delivered.
    pub delivery: ApicDeliveryMode,
    /// The vector; that of a start-up message is the page where the CPU starts.
    pub vector: u8,
    /// Whether a fixed interrupt is triggered by level: its EOI is then reported with
    /// [`VmExit::EndOfInterrupt`](crate::VmExit::EndOfInterrupt).
    pub level: bool,
}

impl ApicMessage {
    /// A fixed, edge-triggered interrupt for the local APIC with this id.
    pub const fn fixed(id: u32, vector: u8) -> Self {
        Self { destination: ApicDestination::Physical(id), delivery: ApicDeliveryMode::FIXED, vector, level: false }
    }

    /// The message of a device's write of `data` to `address`; `None` when the address is none of the local APICs'.
    pub fn from_msi(address: u64, data: u32) -> Option<Self> {
        let target = u32::try_from(address).ok().map(MsiAddress::from_bits)?;
        if target.prefix() != MsiAddress::from_bits(crate::spec::x86::msrs::IA32_APIC_BASE_RESET as u32).prefix() {
            return None;
        }
        let data = MsiData::from_bits(data);
        Some(Self {
            destination: narrow(target.destination_id(), target.contains(MsiAddress::LOGICAL)),
            delivery: data.delivery_mode(),
            vector: data.vector(),
            level: data.contains(MsiData::LEVEL),
        })
    }

    /// The message of an entry of an I/O APIC's redirection table, given by its fields.
    pub fn from_io_apic(destination: u8, logical: bool, delivery: ApicDeliveryMode, vector: u8, level: bool) -> Self {
        Self { destination: narrow(destination, logical), delivery, vector, level }
    }

    /// The message of an interrupt command of the xAPIC, if it is not for the sender alone.
    pub(super) fn from_command(command: InterruptCommand) -> Self {
        Self {
            destination: match command.shorthand() {
                ApicDestinationShorthand::ALL => ApicDestination::All,
                ApicDestinationShorthand::OTHERS => ApicDestination::Others,
                _ => narrow(command.destination(), command.contains(InterruptCommand::LOGICAL)),
            },
            delivery: command.delivery_mode(),
            vector: command.vector(),
            // An interprocessor interrupt is an edge, whatever the bit says; level-triggered are INITs.
            level: false,
        }
    }

    /// The same of the x2APIC.
    pub(super) fn from_x2apic_command(command: X2apicInterruptCommand) -> Self {
        let destination = command.destination();
        Self {
            destination: match command.shorthand() {
                ApicDestinationShorthand::ALL => ApicDestination::All,
                ApicDestinationShorthand::OTHERS => ApicDestination::Others,
                _ if destination == u32::MAX => ApicDestination::All,
                _ if command.contains(X2apicInterruptCommand::LOGICAL) => ApicDestination::Logical(destination),
                _ => ApicDestination::Physical(destination),
            },
            delivery: command.delivery_mode(),
            vector: command.vector(),
            level: false,
        }
    }
}

/// A destination of 8 bits: all of them 1 is everybody.
fn narrow(destination: u8, logical: bool) -> ApicDestination {
    match (destination, logical) {
        (u8::MAX, false) => ApicDestination::All,
        (id, false) => ApicDestination::Physical(id.into()),
        (mask, true) => ApicDestination::Logical(mask.into()),
    }
}

/// How a local APIC is addressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: u32,
    /// The logical id: 8 bits of the xAPIC's, or that of the x2APIC.
    pub(super) logical: u32,
    pub(super) addressing: Addressing,
}

/// What a logical destination means to a local APIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Addressing {
    /// Nothing: the guest has set a model that does not exist.
    #[default]
    None,
    Flat,
    Cluster,
    X2apic,
}

impl Identity {
    /// Whether a message is for this local APIC. `is_sender`: it has sent it.
    pub(super) fn matches(&self, destination: ApicDestination, is_sender: bool) -> bool {
        match destination {
            ApicDestination::All => true,
            ApicDestination::Others => !is_sender,
            ApicDestination::Physical(id) => id == self.id,
            ApicDestination::Logical(mask) => match self.addressing {
                Addressing::None => false,
                Addressing::Flat => mask <= u8::MAX.into() && mask & self.logical != 0,
                // SDM volume 3, "Logical Destination Mode": all bits set is every member of every cluster.
                Addressing::Cluster => {
                    mask == u32::from(u8::MAX)
                        || mask <= u8::MAX.into() && mask >> 4 == self.logical >> 4 && mask & self.logical & 0xf != 0
                }
                Addressing::X2apic => {
                    mask >> 16 == self.logical >> 16 && mask & self.logical & u32::from(u16::MAX) != 0
                }
            },
        }
    }
}
