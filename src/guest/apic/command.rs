//! Interprocessor interrupts: SDM volume 3, "Issuing Interprocessor Interrupts", "SELF IPI Register".

use super::{ApicMessage, Effect, LocalApic, interrupts::FIRST_VECTOR};
use crate::{
    frame::FrameSource,
    guest::control::Fault,
    spec::x86::apic::{
        ApicDeliveryMode, ApicDestinationShorthand, ApicRegister, ErrorStatus, InterruptCommand, X2apicInterruptCommand,
    },
};

impl<S: FrameSource> LocalApic<S> {
    /// The lower half of the xAPIC's interrupt command is written.
    pub(super) fn write_command(&mut self, command: InterruptCommand) -> Effect {
        let kept = InterruptCommand::VECTOR_MASK
            .with(InterruptCommand::DELIVERY_MODE_MASK)
            .with(InterruptCommand::LOGICAL)
            .with(InterruptCommand::ASSERT)
            .with(InterruptCommand::LEVEL)
            .with(InterruptCommand::SHORTHAND_MASK);
        // The message is gone at once: the delivery status stays "idle".
        self.page.write(ApicRegister::INTERRUPT_COMMAND_LOW, (command & kept).bits() as u32);
        let message = ApicMessage::from_command(command);
        let deassert = command.contains(InterruptCommand::LEVEL) && !command.contains(InterruptCommand::ASSERT);
        self.command(message, command.shorthand(), deassert)
    }

    /// The x2APIC's interrupt command is written.
    ///
    /// # Errors
    /// #GP(0) for reserved bits.
    pub(super) fn write_x2apic_command(&mut self, command: X2apicInterruptCommand) -> Result<Effect, Fault> {
        let defined = X2apicInterruptCommand::VECTOR_MASK
            .with(X2apicInterruptCommand::DELIVERY_MODE_MASK)
            .with(X2apicInterruptCommand::LOGICAL)
            .with(X2apicInterruptCommand::ASSERT)
            .with(X2apicInterruptCommand::LEVEL)
            .with(X2apicInterruptCommand::SHORTHAND_MASK)
            .with(X2apicInterruptCommand::DESTINATION_MASK);
        if !command.without(defined).is_empty() {
            return Err(Fault);
        }
        self.page.write_wide(ApicRegister::INTERRUPT_COMMAND_LOW, command.bits());
        let message = ApicMessage::from_x2apic_command(command);
        let deassert =
            command.contains(X2apicInterruptCommand::LEVEL) && !command.contains(X2apicInterruptCommand::ASSERT);
        Ok(self.command(message, command.shorthand(), deassert))
    }

    fn command(&mut self, message: ApicMessage, shorthand: ApicDestinationShorthand, deassert: bool) -> Effect {
        let to_self = shorthand == ApicDestinationShorthand::SELF;
        match message.delivery {
            ApicDeliveryMode::FIXED | ApicDeliveryMode::LOWEST_PRIORITY if message.vector < FIRST_VECTOR => {
                // It is not sent.
                self.error(ErrorStatus::SEND_ILLEGAL_VECTOR);
                Effect::None
            }
            ApicDeliveryMode::FIXED if to_self => {
                self.send_to_self(message.vector, false);
                Effect::None
            }
            // "INIT level de-assert" synchronizes arbitration ids, which nobody has any more.
            ApicDeliveryMode::INIT if deassert => Effect::None,
            // Nobody can start or reset itself so, and no other kind has this shorthand.
            _ if to_self => Effect::None,
            ApicDeliveryMode::FIXED
            | ApicDeliveryMode::LOWEST_PRIORITY
            | ApicDeliveryMode::NMI
            | ApicDeliveryMode::INIT
            | ApicDeliveryMode::START_UP => Effect::Send(message),
            // The guest has no system-management mode; the other modes are reserved.
            _ => Effect::None,
        }
    }

    pub(super) fn send_to_self(&mut self, vector: u8, level: bool) {
        if vector < FIRST_VECTOR {
            self.error(ErrorStatus::SEND_ILLEGAL_VECTOR);
        } else {
            self.receive(vector, level);
        }
    }
}
