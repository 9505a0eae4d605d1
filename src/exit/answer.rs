//! What becomes of exits, by number and by name. `xtask` compiles this very file for the traces that it reads: nothing here
//! depends on the rest of the library.

macro_rules! answers {
    ($($(#[$attribute:meta])* $answer:ident = $number:literal, $name:literal;)*) => {
        /// What became of an exit. The numbers are those of traces and of recordings that are kept in files: none ever changes its
        /// meaning.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Answer {
            $($(#[$attribute])* $answer = $number,)*
        }

        impl Answer {
            /// The one with this number; [`Other`](Self::Other) when there is none.
            pub(crate) fn numbered(number: u8) -> Self {
                match number {
                    $($number => Self::$answer,)*
                    _ => Self::Other,
                }
            }

            /// `inside`, or the name of the [`VmExit`](crate::VmExit).
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$answer => $name,)*
                }
            }
        }
    };
}

answers! {
    /// [`run`](crate::Vcpu::run) answered it, and the guest went on without the VMM.
    #[default]
    Inside = 0, "inside";
    /// `run` came back with [`VmExit::IoRead`](crate::VmExit::IoRead).
    IoRead = 1, "IoRead";
    /// `run` came back with [`VmExit::IoWrite`](crate::VmExit::IoWrite).
    IoWrite = 2, "IoWrite";
    /// `run` came back with [`VmExit::MsrRead`](crate::VmExit::MsrRead).
    MsrRead = 3, "MsrRead";
    /// `run` came back with [`VmExit::MsrWrite`](crate::VmExit::MsrWrite).
    MsrWrite = 4, "MsrWrite";
    /// [`decode_mmio`](crate::Vcpu::decode_mmio) found [`VmExit::MmioRead`](crate::VmExit::MmioRead).
    MmioRead = 5, "MmioRead";
    /// [`decode_mmio`](crate::Vcpu::decode_mmio) found [`VmExit::MmioWrite`](crate::VmExit::MmioWrite).
    MmioWrite = 6, "MmioWrite";
    /// `run` came back with [`VmExit::NestedPageFault`](crate::VmExit::NestedPageFault).
    NestedPageFault = 7, "NestedPageFault";
    /// `run` came back with [`VmExit::NestedMisconfiguration`](crate::VmExit::NestedMisconfiguration).
    NestedMisconfiguration = 8, "NestedMisconfiguration";
    /// `run` came back with [`VmExit::Hypercall`](crate::VmExit::Hypercall).
    Hypercall = 9, "Hypercall";
    /// `run` came back with [`VmExit::InterruptWindow`](crate::VmExit::InterruptWindow).
    InterruptWindow = 10, "InterruptWindow";
    /// `run` came back with [`VmExit::Halt`](crate::VmExit::Halt).
    Halt = 11, "Halt";
    /// `run` came back with [`VmExit::ExternalInterrupt`](crate::VmExit::ExternalInterrupt).
    ExternalInterrupt = 12, "ExternalInterrupt";
    /// `run` came back with [`VmExit::EndOfInterrupt`](crate::VmExit::EndOfInterrupt).
    EndOfInterrupt = 13, "EndOfInterrupt";
    /// `run` came back with [`VmExit::Ipi`](crate::VmExit::Ipi).
    Ipi = 14, "Ipi";
    /// `run` came back with [`VmExit::WaitForStartup`](crate::VmExit::WaitForStartup).
    WaitForStartup = 15, "WaitForStartup";
    /// `run` came back with [`VmExit::TimeSlice`](crate::VmExit::TimeSlice).
    TimeSlice = 16, "TimeSlice";
    /// `run` came back with [`VmExit::Shutdown`](crate::VmExit::Shutdown).
    Shutdown = 17, "Shutdown";
    /// `run` came back with [`VmExit::EntryFailure`](crate::VmExit::EntryFailure).
    EntryFailure = 18, "EntryFailure";
    /// `run` came back with [`VmExit::Interrupted`](crate::VmExit::Interrupted).
    Interrupted = 19, "Interrupted";
    /// `run` came back with [`VmExit::Unhandled`](crate::VmExit::Unhandled).
    Unhandled = 20, "Unhandled";
    /// What this list does not have.
    Other = 21, "other";
    /// [`decode_mmio`](crate::Vcpu::decode_mmio) found [`VmExit::Nothing`](crate::VmExit::Nothing).
    Nothing = 22, "Nothing";
}

#[cfg(test)]
mod tests {
    use super::Answer;

    #[test]
    fn answers_have_their_numbers() {
        for number in 0..=u8::MAX {
            let answer = Answer::numbered(number);
            assert!(answer as u8 == number || answer == Answer::Other, "{number}");
        }
        assert_eq!(Answer::numbered(Answer::Unhandled as u8).name(), "Unhandled");
        assert_eq!(Answer::numbered(0).name(), "inside");
    }
}
